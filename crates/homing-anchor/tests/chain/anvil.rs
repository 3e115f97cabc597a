//! A development chain of its own for one test, and questions to it that do not go through the code under test.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The first account of every development chain of this kind; worth nothing anywhere else.
pub(crate) const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Development chains have this id.
pub(crate) const CHAIN_ID: u64 = 31_337;

pub(crate) struct Anvil {
    process: Child,
    pub(crate) port: u16,
}

/// The chain's binary; says that the test is skipped where there is none.
pub(crate) fn binary(test: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("HOMING_CHAIN_TOOLS").map(PathBuf::from);
    let packages = tools.map(|t| t.join("node_modules/@foundry-rs"));
    let folders = packages.and_then(|p| std::fs::read_dir(p).ok()).into_iter().flatten().flatten();
    let found = folders.map(|f| f.path().join("bin/anvil")).find(|b| b.is_file());
    if found.is_none() {
        // Not `println!`, whose output a passing test keeps to itself: then nobody counts it.
        let line = format!(
            "SKIPPED: {test}: HOMING_CHAIN_TOOLS names no folder with a development chain\n"
        );
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
    found
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Anvil {
    /// A chain that makes a block of every transaction at once.
    pub(crate) async fn start(binary: &std::path::Path) -> Self {
        Self::start_on(binary, free_port(), &[]).await
    }

    pub(crate) async fn start_on(binary: &std::path::Path, port: u16, more: &[&str]) -> Self {
        let process = Command::new(binary)
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--hardfork",
                "osaka",
                "--silent",
            ])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let chain = Self { process, port };
        for _ in 0..600 {
            if chain.try_ask("eth_chainId", json!([])).await.is_ok() {
                return chain;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the development chain did not start within a minute");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.try_ask(method, params).await.unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.ask("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    pub(crate) async fn height(&self) -> u64 {
        number(&self.ask("eth_blockNumber", json!([])).await)
    }

    async fn try_ask(&self, method: &str, params: Value) -> std::io::Result<Value> {
        let body =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = post(self.port, &body).await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One HTTP/1.1 request on a connection of its own.
pub(crate) async fn post(port: u16, body: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end =
        answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(
        head.contains("content-length"),
        "answers of the development chain have a length: {head}"
    );
    Ok(answer[end + 4..].to_vec())
}

/// `"0x1f"`
pub(crate) fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}
