//! SOCKS5 (RFC 1928): `CONNECT` only, no authentication, names are looked up here ("socks5h").
//!
//! ```text
//! greeting  5 | n | methods [n]                         answer  5 | 0, or 5 | FF
//! request   5 | 1 | 0 | type | address | port u16       answer  5 | reply | 0 | 1 | 0.0.0.0 | 0
//! type      1: IPv4, 3: length u8 and name, 4: IPv6
//! ```

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use homing_api::{ApiError, Code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::GREETING_MAX;
use crate::serve::Front;
use crate::target::Destination;
use crate::tunnel;

/// The first byte of every message.
pub(crate) const VERSION: u8 = 5;
/// `NO AUTHENTICATION REQUIRED` (§3).
const NO_AUTHENTICATION: u8 = 0;
/// `NO ACCEPTABLE METHODS` (§3).
const NO_METHOD: u8 = 0xff;

/// Replies (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Succeeded = 0,
    Failure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    Expired = 6,
    NoSuchCommand = 7,
    NoSuchAddressType = 8,
}

/// Serves one connection to its end.
pub(crate) async fn serve(front: &Front, mut stream: TcpStream) {
    let Ok(Ok(asked)) = timeout(GREETING_MAX, request(&mut stream)).await else { return };
    let opened = match asked {
        Ok(destination) => {
            let opened = tunnel::open(front, &destination, front.settings.mesh_only).await;
            opened.map_err(|error| {
                tracing::debug!(%error, "a SOCKS request failed");
                reply_of(&error)
            })
        }
        Err(reply) => Err(reply),
    };
    let reply = opened.as_ref().map_or_else(|reply| *reply, |_| Reply::Succeeded);
    let answer = [VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0];
    if stream.write_all(&answer).await.is_ok()
        && let Ok(far) = opened
    {
        tunnel::carry(stream, far).await;
    }
}

/// Reads greeting and request. The inner error is answered, the outer one ends the connection.
async fn request(stream: &mut TcpStream) -> io::Result<Result<Destination, Reply>> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    let mut methods = vec![0; greeting[1].into()];
    stream.read_exact(&mut methods).await?;
    if greeting[0] != VERSION || !methods.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_METHOD]).await?;
        return Err(io::ErrorKind::Unsupported.into());
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    if version != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let Some(host) = address(stream, kind).await? else { return Ok(Err(Reply::NoSuchAddressType)) };
    let port = stream.read_u16().await?;
    match command {
        1 => Ok(Destination::of(&host, port).map_err(|error| reply_of(&error))),
        _ => Ok(Err(Reply::NoSuchCommand)),
    }
}

async fn address(stream: &mut TcpStream, kind: u8) -> io::Result<Option<String>> {
    Ok(match kind {
        1 => Some(Ipv4Addr::from(stream.read_u32().await?).to_string()),
        3 => {
            let mut name = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut name).await?;
            Some(String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?)
        }
        4 => Some(Ipv6Addr::from(stream.read_u128().await?).to_string()),
        _ => None,
    })
}

fn reply_of(error: &ApiError) -> Reply {
    match error.code {
        Code::PeerNotTrusted | Code::TrustExpired | Code::ScopeDenied | Code::PermissionDenied => {
            Reply::NotAllowed
        }
        Code::NoRoute | Code::RelayUnavailable => Reply::NetworkUnreachable,
        Code::NotFound
        | Code::AmbiguousName
        | Code::NameTaken
        | Code::PeerOffline
        | Code::Usage => Reply::HostUnreachable,
        Code::NoSuchService => Reply::Refused,
        Code::Timeout => Reply::Expired,
        _ => Reply::Failure,
    }
}
