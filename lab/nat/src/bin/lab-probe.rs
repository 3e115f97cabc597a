//! `lab-probe`: the lab's socket work, started inside a namespace.
//!
//! ```text
//! lab-probe reflect  IP IP      answer NAT questions until killed
//! lab-probe classify IP IP      print "MAPPING FILTERING"
//! lab-probe follow   IP         print where one socket is seen from, whenever that changes, until killed
//! lab-probe tcp      IP:PORT    exit 0 when a TCP connection opens within a second
//! lab-probe accept   IP:PORT    accept TCP connections until killed
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use homing_lab::natcheck;

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
        _ => {
            return Err(
                "usage: lab-probe reflect|classify IP IP | follow IP | tcp|accept IP:PORT".into()
            );
        }
    }
    Ok(())
}

fn pair(first: &str, second: &str) -> Result<[Ipv4Addr; 2], Box<dyn Error>> {
    Ok([first.parse()?, second.parse()?])
}
