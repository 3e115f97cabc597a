//! `lab-probe`: the lab's socket work, started inside a namespace.
//!
//! ```text
//! lab-probe reflect  IP IP      answer NAT questions until killed
//! lab-probe classify IP IP      print "MAPPING FILTERING"
//! lab-probe follow   IP         print where one socket is seen from, whenever that changes, until killed
//! lab-probe tcp      IP:PORT    exit 0 when a TCP connection opens within a second
//! lab-probe accept   IP:PORT    accept TCP connections until killed
//! lab-probe digest   IP:PORT    answer every request with its SHA-256; print how much came, as it comes, until killed
//! lab-probe pour     IP:PORT N  send N bytes at 5 MB/s, exit 0 when the answer is their SHA-256
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use homing_lab::natcheck;
use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    match *words {
        ["reflect", first, second] => natcheck::reflect(pair(first, second)?)?,
        ["classify", first, second] => {
            let (mapping, filtering) = natcheck::classify(pair(first, second)?)?;
            println!("{mapping:?} {filtering:?}");
        }
        ["follow", reflector] => natcheck::follow(reflector.parse()?, |seen| println!("{seen}"))?,
        ["tcp", target] => {
            TcpStream::connect_timeout(&target.parse::<SocketAddr>()?, Duration::from_secs(1))?;
        }
        ["accept", at] => {
            for connection in TcpListener::bind(at)?.incoming() {
                drop(connection?);
            }
        }
        ["digest", at] => {
            for connection in TcpListener::bind(at)?.incoming() {
                digest(connection?)?;
            }
        }
        ["pour", at, count] => pour(TcpStream::connect(at)?, count.parse()?)?,
        _ => {
            return Err("usage: lab-probe reflect|classify IP IP | follow IP | \
                        tcp|accept|digest IP:PORT | pour IP:PORT N"
                .into());
        }
    }
    Ok(())
}

/// What `pour` says at once, and how long it then waits.
const PIECE: usize = 50_000;
const PACE: Duration = Duration::from_millis(10);

fn digest(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let (mut hash, mut buffer, mut count) = (Sha256::new(), vec![0; 65_536], 0);
    let mut told = Instant::now();
    loop {
        let read = stream.read(&mut buffer)?;
        hash.update(&buffer[..read]);
        count += read;
        if read == 0 || told.elapsed() > PACE {
            println!("{count}");
            told = Instant::now();
        }
        if read == 0 {
            return Ok(stream.write_all(&hash.finalize())?);
        }
    }
}

/// Bytes that no two places of share.
fn pour(mut stream: TcpStream, count: usize) -> Result<(), Box<dyn Error>> {
    let (mut hash, mut left, mut state) = (Sha256::new(), count, 0x9e37_79b9_7f4a_7c15_u64);
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE + 8);
        while piece.len() < PIECE.min(left) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            piece.extend(state.to_le_bytes());
        }
        piece.truncate(left);
        left -= piece.len();
        hash.update(&piece);
        stream.write_all(&piece)?;
        thread::sleep(PACE);
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer != hash.finalize().to_vec() {
        return Err(format!("another SHA-256 came back, of {} bytes", answer.len()).into());
    }
    Ok(())
}

fn pair(first: &str, second: &str) -> Result<[Ipv4Addr; 2], Box<dyn Error>> {
    Ok([first.parse()?, second.parse()?])
}
