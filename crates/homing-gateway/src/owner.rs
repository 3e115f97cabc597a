//! Whose process is at the other end of a connection: only the daemon's own user and root may use the gateway.
//!
//! A loopback port is open to every user of a machine, and behind this one stand all peers that trust this agent. On
//! Linux the kernel's socket table (`/proc/net/tcp`, `tcp6`) names the user of each socket, columns `uid` and `inode`:
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//!    3: 0100007F:D2F0 0100007F:1CFC 01 00000000:00000000 00:00000000 00000000  1000        0 51234 …
//! ```
//! A socket whose process has closed it already has inode 0 and claims user 0: it counts as nobody's, because otherwise a
//! stranger who sends and closes at once would pass as root. What cannot be seen is refused. Other systems have no such table that
//! a user may read; there only the guard of headers stands ([`crate::guard`]).

use std::net::SocketAddr;

use homing_api::{ApiError, Code};

/// Refuses connections of other users. Looked up once per connection.
#[cfg(target_os = "linux")]
pub(crate) async fn check(client: SocketAddr, server: SocketAddr) -> Result<(), ApiError> {
    let looked = tokio::task::spawn_blocking(move || linux::owner(client, server)).await;
    match looked.ok().flatten() {
        Some(uid) if uid == 0 || uid == nix::unistd::geteuid().as_raw() => Ok(()),
        Some(uid) => Err(refused().why(format!("the connection comes from user {uid}"))),
        None => Err(refused().why("the owner of the connection cannot be seen in /proc/net/tcp")),
    }
}

/// There is nothing to look into.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn check(_: SocketAddr, _: SocketAddr) -> Result<(), ApiError> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn refused() -> ApiError {
    ApiError::new(Code::PermissionDenied, "this gateway serves another user of this machine")
        .hint("run a daemon of your own: homing up")
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use crate::limits::OWNER_LOOKS_MAX;

    /// The user whose process holds the socket that is `client` here and `server` there.
    pub(super) fn owner(client: SocketAddr, server: SocketAddr) -> Option<u32> {
        let read = |table| std::fs::read_to_string(table).unwrap_or_default();
        (0..OWNER_LOOKS_MAX).find_map(|_| {
            // A socket of the family IPv6 may speak IPv4: it stands in the other table.
            row(&read("/proc/net/tcp"), &key(client), &key(server))
                .or_else(|| row(&read("/proc/net/tcp6"), &mapped(client), &mapped(server)))
        })
    }

    /// The user of a row whose socket still has a process.
    pub(super) fn row(table: &str, local: &str, remote: &str) -> Option<u32> {
        table.lines().find_map(|line| {
            let mut columns = line.split_ascii_whitespace().skip(1);
            if columns.next()? != local || columns.next()? != remote {
                return None;
            }
            let uid = columns.nth(4)?.parse().ok()?;
            let inode: u64 = columns.nth(1)?.parse().ok()?;
            (inode != 0).then_some(uid)
        })
    }

    pub(super) fn key(socket: SocketAddr) -> String {
        match socket.ip() {
            IpAddr::V4(ip) => format!("{}:{:04X}", hex(&ip.octets()), socket.port()),
            IpAddr::V6(ip) => v6(ip, socket.port()),
        }
    }

    pub(super) fn mapped(socket: SocketAddr) -> String {
        match socket.ip() {
            IpAddr::V4(ip) => v6(Ipv4Addr::to_ipv6_mapped(&ip), socket.port()),
            IpAddr::V6(ip) => v6(ip, socket.port()),
        }
    }

    fn v6(ip: Ipv6Addr, port: u16) -> String {
        format!("{}:{port:04X}", hex(&ip.octets()))
    }

    /// Words of four bytes in the machine's order, as the kernel prints them.
    fn hex(octets: &[u8]) -> String {
        let words = octets.as_chunks::<4>().0.iter();
        words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::{key, mapped, owner, row};

    #[test]
    fn a_socket_is_found_with_its_user_in_both_families() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(listen) else { continue };
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_server, from) = listener.accept().unwrap();
            let uid = owner(from, client.peer_addr().unwrap());
            assert_eq!(uid, Some(nix::unistd::geteuid().as_raw()), "{listen}");
            drop(client);
            assert_eq!(owner(from, listener.local_addr().unwrap()), None, "closed: nobody's");
        }
    }

    #[test]
    fn an_orphaned_socket_is_not_roots() {
        let (local, remote) =
            ("127.0.0.1:54000".parse().unwrap(), "127.0.0.1:7420".parse().unwrap());
        let line = |uid: u32, inode: u32| {
            format!(
                "   3: {} {} 01 00000000:00000000 00:00000000 00000000 {uid:5}        0 {inode} 1 x\n",
                key(local),
                key(remote)
            )
        };
        let look = |table: &str| row(table, &key(local), &key(remote));
        assert_eq!(look(&line(0, 0)), None);
        assert_eq!(look(&line(0, 7)), Some(0));
        assert_eq!(look(&line(1000, 7)), Some(1000));
        assert_eq!(row(&line(1000, 7), &key(remote), &key(local)), None, "the server's own end");
        assert_eq!(look("  sl  local_address rem_address\n\ntorn"), None);
        assert_ne!(key(local), mapped(local));
    }
}
