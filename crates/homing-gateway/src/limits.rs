//! Every bound of the gateway, with its reason and what happens at it.

use std::time::Duration;

/// Connections at once. More wait in the kernel's queue; each holds at most two file descriptors.
pub const CONNECTIONS_MAX: usize = 2_048;
/// Bytes of a request's head; a longer one is answered 431. Twice what common servers take.
pub const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// How long a request's head may take, also while a connection rests between requests.
pub const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long the first byte, or a whole SOCKS request, may take.
pub const GREETING_MAX: Duration = Duration::from_secs(10);
/// How long a connection to a host outside the mesh may take.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection; the protocol makes further ones wait.
pub const REQUESTS_PER_CONNECTION_MAX: u32 = 256;
/// Idle streams kept per peer and service for the next request; further ones are closed.
pub const IDLE_STREAMS_MAX: usize = 32;
/// How long an idle stream is kept.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes moved at once through a tunnel, each way.
pub const CHUNK_BYTES_MAX: usize = 64 * 1_024;
/// How long a refused connection is read, so that its sender sees the answer.
pub const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Bytes read of a refused connection.
pub const FAREWELL_BYTES_MAX: u64 = 64 * 1_024;
/// Times the socket table is read for the owner of a connection: a read may miss a row while others change.
pub const OWNER_LOOKS_MAX: usize = 3;

const _: () = assert!(HEAD_BYTES_MAX >= 8 * 1_024, "hyper takes no smaller buffer");
