//! The NAT lab: the real `homing` binary in real network namespaces behind real NATs.
//!
//! ```text
//! exec       bounded child processes
//! namespace  one network namespace: create, configure, run inside
//! nat        what each NAT flavour promises, and its nftables rules
//! topology   a public network, routers behind routers, hosts; moves, cable cuts, rebinding
//! ipv6       hosts on the public network that speak IPv6, alone or too
//! natcheck   does a flavour keep its promise? (RFC 5780 by plain UDP sockets)
//! capability may this machine run the lab at all?
//! agent      daemons, relays and commands inside namespaces
//! ```
//! Nothing here links against Homing: the lab knows the binary and its JSON only. Needs root, `ip` and
//! `nft`. The scenarios are in `tests/lab/`; `README.md` says how to run one.

pub mod agent;
pub mod capability;
pub mod exec;
pub mod ipv6;
pub mod namespace;
pub mod nat;
pub mod natcheck;
pub mod topology;
