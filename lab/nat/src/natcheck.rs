//! Does a NAT keep its promise? Plain UDP sockets, after RFC 5780.
//!
//! A *reflector* owns two public addresses with two ports each. A question names the socket that shall
//! answer; the answer is the source address the question was seen from.
//!
//! ```text
//! question: one byte: s(ame) p(ort differs) i(p differs) b(oth differ)
//! answer:   "IP:PORT"
//! ```
//! Mapping: one inside socket asks three of the four and compares what they saw. Filtering: a fresh socket
//! asks one, then has the others write to it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::nat::{Filtering, Mapping};

/// The two ports of the reflector.
pub const PORTS: [u16; 2] = [3478, 3479];

/// How long one answer may take; nothing in the lab is slower than a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(150);

/// Questions asked before silence counts as a refusal: the first packet of a path may wait for ARP.
const TRIES: usize = 3;

/// Answers questions on both addresses until the process ends.
///
/// # Errors
/// When a socket cannot be bound.
pub fn reflect(addresses: [Ipv4Addr; 2]) -> io::Result<()> {
    let mut sockets = Vec::new();
    for address in addresses {
        for port in PORTS {
            sockets.push(UdpSocket::bind((address, port))?);
        }
    }
    let sockets = Arc::new(sockets);
    let serve = |index: usize| {
        let sockets = Arc::clone(&sockets);
        thread::spawn(move || answer_all(&sockets, index))
    };
    let threads: Vec<_> = (0..sockets.len()).map(serve).collect();
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a reflector thread panicked"))??;
    }
    Ok(())
}

/// Serves one socket; index bit 0 is the port, bit 1 the address.
fn answer_all(sockets: &[UdpSocket], index: usize) -> io::Result<()> {
    let mut question = [0; 16];
    loop {
        let (length, source) = sockets[index].recv_from(&mut question)?;
        let flip = match question.first() {
            _ if length != 1 => continue,
            Some(b's') => 0,
            Some(b'p') => 1,
            Some(b'i') => 2,
            Some(b'b') => 3,
            _ => continue,
        };
        sockets[index ^ flip].send_to(source.to_string().as_bytes(), source)?;
    }
}

/// Finds out what stands between this host and a reflector.
///
/// # Errors
/// When a socket cannot be bound. Silence is not an error: it is a verdict.
pub fn classify(addresses: [Ipv4Addr; 2]) -> io::Result<(Mapping, Filtering)> {
    let mapping = mapping(addresses)?;
    if mapping == Mapping::None {
        return Ok((Mapping::None, Filtering::None));
    }
    Ok((mapping, filtering(addresses)?))
}

/// Tells where one and the same socket is seen from, at the start and at every change, until killed.
///
/// # Errors
/// When the socket fails.
pub fn follow(reflector: Ipv4Addr, mut tell: impl FnMut(&str)) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut last = String::new();
    loop {
        if let Some(seen) = ask(&socket, SocketAddrV4::new(reflector, PORTS[0]), b's')?
            && seen != last
        {
            tell(&seen);
            last = seen;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn mapping([first, second]: [Ipv4Addr; 2]) -> io::Result<Mapping> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let seen = |address, port| ask(&socket, SocketAddrV4::new(address, port), b's');
    let Some(base) = seen(first, PORTS[0])? else { return Ok(Mapping::None) };
    let other_port = seen(first, PORTS[1])?;
    let other_address = seen(second, PORTS[0])?;
    Ok(match (other_port == Some(base.clone()), other_address == Some(base)) {
        (true, true) => Mapping::EndpointIndependent,
        (true, false) => Mapping::Address,
        (false, _) => Mapping::AddressAndPort,
    })
}

fn filtering([first, _]: [Ipv4Addr; 2]) -> io::Result<Filtering> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let target = SocketAddrV4::new(first, PORTS[0]);
    ask(&socket, target, b's')?;
    if ask(&socket, target, b'b')?.is_some() && ask(&socket, target, b'i')?.is_some() {
        return Ok(Filtering::EndpointIndependent);
    }
    Ok(match ask(&socket, target, b'p')? {
        Some(_) => Filtering::Address,
        None => Filtering::AddressAndPort,
    })
}

/// Asks until an answer comes or patience ends.
fn ask(socket: &UdpSocket, target: SocketAddrV4, question: u8) -> io::Result<Option<String>> {
    socket.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..TRIES {
        socket.send_to(&[question], target)?;
        let mut answer = [0; 64];
        match socket.recv_from(&mut answer) {
            Ok((length, _)) => {
                return Ok(Some(String::from_utf8_lossy(&answer[..length]).into_owned()));
            }
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | ConnectionRefused)
}
