//! A development chain of its own for one test, asked over plain HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The first account of every development chain of this kind; worth nothing anywhere else.
pub(crate) const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// The same key as a Web3 keystore, written by `eth-account` 0.14.
pub(crate) const KEYSTORE: &str = include_str!("keystore.json");
pub(crate) const PASSPHRASE: &str = "correct horse";

/// Ended by its pid when it is dropped.
pub(crate) struct Chain {
    process: Child,
    port: u16,
}

impl Chain {
    /// A chain that makes a block of every transaction; `None`, and said, where there is no program for it.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let Some(binary) = binary() else {
            let line = format!(
                "SKIPPED: {test}: HOMING_CHAIN_TOOLS names no folder with a development chain\n"
            );
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port_text = port.to_string();
        let process = Command::new(binary)
            .args(["--host", "127.0.0.1", "--port", &port_text, "--hardfork", "osaka", "--silent"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let chain = Self { process, port };
        let began = Instant::now();
        while chain.try_ask("eth_chainId", &json!([])).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "the chain does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(chain)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn mine(&self, blocks: u64) {
        let answer = self.try_ask("anvil_mine", &json!([format!("{blocks:#x}")])).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
    }

    fn try_ask(&self, method: &str, params: &Value) -> std::io::Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, json) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(serde_json::from_str(json)?)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary() -> Option<PathBuf> {
    let tools = PathBuf::from(std::env::var_os("HOMING_CHAIN_TOOLS")?);
    let folders = std::fs::read_dir(tools.join("node_modules/@foundry-rs")).ok()?;
    folders.flatten().map(|folder| folder.path().join("bin/anvil")).find(|file| file.is_file())
}

/// A file with this mode.
pub(crate) fn file(path: &Path, text: &str, mode: u32) -> String {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}
