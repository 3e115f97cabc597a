//! `openssl ts -reply` behind HTTP, with a certification authority made for one test.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONFIG: &str = "
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[stamper]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
[tsa]
default_tsa = stamping
[stamping]
dir = .
serial = ./serial
crypto_device = builtin
signer_cert = ./stamper.pem
signer_key = ./stamper.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
";

/// What the server does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good = 0,
    /// Closes the connection.
    Away = 1,
    /// Answers as an authority that will not.
    Refuse = 2,
    /// Answers something else.
    Noise = 3,
    /// Answers with a valid token for the same bytes that was made for another request.
    Replay = 4,
}

pub(crate) struct Authority {
    dir: Arc<tempfile::TempDir>,
    port: u16,
    behaviour: Arc<AtomicU8>,
}

/// Whether it succeeded, and what it wrote.
pub(crate) fn openssl(dir: &Path, args: &[&str]) -> (bool, Vec<u8>) {
    let ran = Command::new("openssl").current_dir(dir).args(args).output().expect("openssl runs");
    if !ran.status.success() {
        println!("openssl {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    (ran.status.success(), ran.stdout)
}

impl Authority {
    /// `None`, and a word about it, where there is no `openssl`.
    pub(crate) async fn start(test: &str, algorithm: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            let line = format!("SKIPPED: {test}: `openssl` is missing\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            return None;
        }
        let dir = Arc::new(tempfile::tempdir().unwrap());
        make(dir.path(), algorithm);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behaviour = Arc::new(AtomicU8::new(0));
        let (shared, files) = (behaviour.clone(), dir.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behaviour = shared.load(Ordering::SeqCst);
                answer(stream, files.path(), behaviour).await;
            }
        });
        Some(Self { dir, port, behaviour })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.behaviour.store(behaviour as u8, Ordering::SeqCst);
    }
}

/// An authority, one that has nothing to do with it, and the stamping certificate.
fn make(dir: &Path, algorithm: &str) {
    std::fs::write(dir.join("openssl.cnf"), CONFIG).unwrap();
    std::fs::write(dir.join("serial"), "01\n").unwrap();
    let key: &[&str] = match algorithm {
        "rsa" => &["-newkey", "rsa:2048"],
        _ => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    };
    let request = |more: &[&str]| {
        let args = [&["req", "-config", "openssl.cnf", "-nodes", "-sha256"], key, more].concat();
        assert!(openssl(dir, &args).0);
    };
    for (name, subject) in [("ca", "/CN=Test Root"), ("other", "/CN=Other Root")] {
        let (out, keyout) = (format!("{name}.pem"), format!("{name}.key"));
        request(&[
            "-x509",
            "-days",
            "2",
            "-extensions",
            "ca",
            "-subj",
            subject,
            "-out",
            &out,
            "-keyout",
            &keyout,
        ]);
    }
    request(&["-subj", "/CN=Test Authority", "-out", "stamper.csr", "-keyout", "stamper.key"]);
    let sign = [
        "x509",
        "-req",
        "-in",
        "stamper.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-sha256",
        "-extfile",
        "openssl.cnf",
        "-extensions",
        "stamper",
        "-out",
        "stamper.pem",
    ];
    assert!(openssl(dir, &sign).0);
}

async fn answer(mut stream: TcpStream, dir: &Path, behaviour: u8) -> Option<()> {
    if behaviour == Behaviour::Away as u8 {
        return None;
    }
    let query = body(&mut stream).await?;
    let reply = match behaviour {
        b if b == Behaviour::Noise as u8 => b"<html>busy</html>".to_vec(),
        // PKIStatusInfo: rejection, badRequest (RFC 3161 §2.4.2).
        b if b == Behaviour::Refuse as u8 => {
            vec![0x30, 0x09, 0x30, 0x07, 0x02, 0x01, 0x02, 0x03, 0x02, 0x05, 0x20]
        }
        b if b == Behaviour::Replay as u8 => stamp(dir, &other_nonce(query)),
        _ => stamp(dir, &query),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        reply.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&reply).await.ok()
}

fn stamp(dir: &Path, query: &[u8]) -> Vec<u8> {
    std::fs::write(dir.join("query.tsq"), query).unwrap();
    let args = [
        "ts",
        "-reply",
        "-config",
        "openssl.cnf",
        "-section",
        "stamping",
        "-queryfile",
        "query.tsq",
        "-out",
        "reply.tsr",
    ];
    assert!(openssl(dir, &args).0);
    std::fs::read(dir.join("reply.tsr")).unwrap()
}

/// The same query with another nonce: it is the last integer, before `certReq`.
fn other_nonce(mut query: Vec<u8>) -> Vec<u8> {
    let at = query.len() - 4;
    query[at] ^= 1;
    query
}

async fn body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let count = stream.read(&mut part).await.ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&part[..count]);
        let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length =
            head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        if request.len() >= end + 4 + length {
            return Some(request[end + 4..].to_vec());
        }
    }
}
