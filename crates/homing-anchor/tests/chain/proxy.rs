//! A door between worker and chain that fails when a transaction is sent: before the chain hears of it, or after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::anvil::post;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fail {
    Never = 0,
    /// The chain never hears of the transaction.
    BeforeSend = 1,
    /// The chain has it, the answer is lost.
    AfterSend = 2,
    /// The node answers that it does not take it.
    Refuse = 3,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    fail: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) async fn start(chain: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fail = Arc::new(AtomicU8::new(0));
        let shared = fail.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, chain, shared.clone()));
            }
        });
        Self { port, fail }
    }

    pub(crate) fn set(&self, fail: Fail) {
        self.fail.store(fail as u8, Ordering::SeqCst);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// One request, one answer, and the end of the connection.
async fn carry(mut stream: TcpStream, chain: u16, fail: Arc<AtomicU8>) -> Option<()> {
    let mut request = Vec::new();
    let (start, length) = loop {
        let mut part = [0; 65_536];
        let count = stream.read(&mut part).await.ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&part[..count]);
        if let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)?
                .split("\r\n")
                .next()?
                .parse::<usize>()
                .ok()?;
            if request.len() >= end + 4 + length {
                break (end + 4, length);
            }
        }
    };
    let body = String::from_utf8(request[start..start + length].to_vec()).ok()?;
    let is_send = body.contains("eth_sendRawTransaction");
    let fail = if is_send { fail.load(Ordering::SeqCst) } else { 0 };
    if fail == Fail::BeforeSend as u8 {
        return None;
    }
    let answer = match fail == Fail::Refuse as u8 {
        true => {
            br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"not today"}}"#.to_vec()
        }
        false => post(chain, &body).await.ok()?,
    };
    if fail == Fail::AfterSend as u8 {
        return None;
    }
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&answer).await.ok()
}
