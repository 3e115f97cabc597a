//! One loopback port through which programs that know nothing of Homing reach services of peers.
//!
//! ```text
//! program ──TCP──► serve: owner of the socket? ──0x05──► socks ────────────────┐
//!                            │                                                 ├──► tunnel ──► Mesh::open
//!                            └──HTTP──► http: guard ──CONNECT, Upgrade─────────┘        └──► TCP elsewhere
//!                                         └──/@PEER/SERVICE/…, http://NAME.agent.internal──► upstream (pool)
//! ```
//! Who may use it: processes of the daemon's user and of root, told by the kernel's socket table (Linux), and no page
//! in a browser, told by `Host`, `Origin`, `Referer` and `Sec-Fetch-Site`. What is said to users stands in `docs/gateway.md`.
//!
//! Not here: trust, names, transport. This crate knows [`Mesh`] and nothing behind it.

mod guard;
mod headers;
pub mod hop;
mod http;
pub mod limits;
mod mesh;
mod owner;
mod problem;
mod serve;
mod socks;
mod target;
mod tunnel;
mod upstream;

pub use http::MESH_ONLY_USER;
pub use mesh::{Mesh, MeshStream};
pub use serve::{Settings, serve};
pub use target::{Peer, Target, ZONE};
