//! Where a local end is, as people write it.
//!
//! ```text
//! 8080 · 192.0.2.1:8080 · [::1]:8080 · localhost:8080      TCP; without a host 127.0.0.1
//! unix:/run/db.sock                                        a Unix socket
//! udp:53 · udp:[::1]:53                                    UDP
//! agent-b:mcp · [fd3a::1]:22 · <node ID>:8080              a service of a peer
//! ```

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use homing_api::{ApiError, Code};
use homing_base::Service;
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};

use super::socket::Socket;

const LOOPBACK: &str = "127.0.0.1";

/// A local end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(Host),
    Unix(PathBuf),
    Udp(Host),
}

/// A host and a port. Loopback unless another host is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("unix: wants a path, as in unix:/run/db.sock".into()),
            Some(("unix", path)) => Ok(Place::Unix(path.into())),
            Some(("udp", rest)) => rest.parse().map(Place::Udp),
            Some(("tcp", rest)) => rest.parse().map(Place::Tcp),
            _ => text.parse().map(Place::Tcp),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            None => (LOOPBACK, text),
            Some((host, port)) => (unbracketed(host)?, port),
        };
        let port = port.parse().map_err(|_| {
            format!("{port:?} is no port; write PORT, HOST:PORT, unix:/path or udp:PORT")
        })?;
        Ok(Host { host: host.to_owned(), port })
    }
}

fn unbracketed(host: &str) -> Result<&str, String> {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match inner {
        Some(inner) => Ok(inner),
        None if host.is_empty() => Err("a host is missing before the colon".into()),
        None if host.contains(':') => Err(format!("an IPv6 address wants brackets: [{host}]:PORT")),
        None => Ok(host),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(host) => host.fmt(f),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Udp(host) => write!(f, "udp:{host}"),
        }
    }
}

impl Host {
    fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// A UDP socket here.
    pub(crate) async fn bind_udp(&self) -> Result<UdpSocket, ApiError> {
        UdpSocket::bind(self.pair()).await.map_err(|e| cannot_bind(&format!("udp:{self}"), &e))
    }

    /// A UDP socket that talks to this place.
    pub(crate) async fn connect_udp(&self) -> io::Result<UdpSocket> {
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for to in tokio::net::lookup_host(self.pair()).await? {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            match socket.connect(to).await {
                Ok(()) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// Where local programs connect to.
#[derive(Debug)]
pub(crate) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Place {
    /// Listens here. A Unix socket is open to this user only; one that nobody serves is replaced.
    pub(crate) async fn bind(&self) -> Result<Door, ApiError> {
        let cannot = |e: io::Error| cannot_bind(&self.to_string(), &e);
        match self {
            Place::Tcp(host) => TcpListener::bind(host.pair()).await.map(Door::Tcp).map_err(cannot),
            Place::Unix(path) => {
                clear_stale(path).await.map_err(cannot)?;
                let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
                let bound = UnixListener::bind(path);
                nix::sys::stat::umask(mask);
                Ok(Door::Unix(bound.map_err(cannot)?, path.clone()))
            }
            Place::Udp(_) => {
                Err(ApiError::new(Code::Usage, format!("{self} takes no connections")))
            }
        }
    }

    /// Connects to what serves here.
    pub(crate) async fn connect(&self) -> Result<Socket, ApiError> {
        let connected = match self {
            Place::Tcp(host) => TcpStream::connect(host.pair()).await.map(Socket::tcp),
            Place::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
            Place::Udp(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        connected.map_err(|e| {
            ApiError::new(Code::StreamBroken, format!("nothing serves at {self}"))
                .why(e.to_string())
                .hint("start the program, or name another place with --to")
        })
    }
}

/// Removes a socket file that nobody serves.
async fn clear_stale(path: &Path) -> io::Result<()> {
    let is_socket = path.symlink_metadata().is_ok_and(|m| m.file_type().is_socket());
    // A full queue is an error as well, of a program that lives.
    let is_dead = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    match is_socket && UnixStream::connect(path).await.is_err_and(is_dead) {
        true => std::fs::remove_file(path),
        false => Ok(()),
    }
}

fn cannot_bind(place: &str, error: &io::Error) -> ApiError {
    let code = match error.kind() {
        io::ErrorKind::AddrInUse => Code::PortInUse,
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Usage,
    };
    ApiError::new(code, format!("cannot listen at {place}"))
        .why(error.to_string())
        .hint("choose another port; 0 takes any free one")
}

impl Door {
    /// The next local connection, and who made it.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, String)> {
        match self {
            Door::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Socket::tcp(stream), from.to_string()))
            }
            Door::Unix(listener, path) => {
                let (stream, _) = listener.accept().await?;
                let pid = stream.peer_cred().ok().and_then(|c| c.pid());
                let from = pid.map_or_else(|| path.display().to_string(), |p| format!("pid {p}"));
                Ok((Socket::Unix(stream), from))
            }
        }
    }

    /// Where it really is: with the port that was chosen.
    pub(crate) fn place(&self) -> String {
        match self {
            Door::Tcp(listener) => listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Door::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Door::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `PEER:SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerService {
    pub(crate) peer: String,
    pub(crate) service: Service,
}

impl FromStr for PeerService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (peer, service) = text
            .rsplit_once(':')
            .ok_or("write PEER:SERVICE, as in agent-b:8080 or [fd3a::1]:mcp")?;
        let peer = unbracketed(peer)?.to_owned();
        let service = service.parse().map_err(|e| format!("{service:?}: {e}"))?;
        Ok(Self { peer, service })
    }
}

impl fmt::Display for PeerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer.contains(':') {
            true => write!(f, "[{}]:{}", self.peer, self.service),
            false => write!(f, "{}:{}", self.peer, self.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_loopback_unless_written_out() {
        let shown = |text: &str| text.parse::<Place>().map(|p| p.to_string());
        for (text, expected) in [
            ("8080", "127.0.0.1:8080"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:1", "localhost:1"),
            ("unix:/run/db.sock", "unix:/run/db.sock"),
            ("udp:53", "udp:127.0.0.1:53"),
            ("udp:[::]:53", "udp:[::]:53"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["", "http", "::1:80", "65536", ":80", "unix:", "udp:", "1.2.3.4", "[::1]"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_of_a_peer_reads_back_with_every_kind_of_address() {
        for text in ["agent-b:8080", "[fd3a::1]:mcp", "planner:ssh"] {
            assert_eq!(text.parse::<PeerService>().unwrap().to_string(), text);
        }
        for bad in ["agent-b", "agent-b:", ":22", "fd3a::1:22", "a:B_C"] {
            assert!(bad.parse::<PeerService>().is_err(), "{bad}");
        }
    }
}
