//! The log on disk: what is acknowledged stays, what is changed is found, and others read it.

mod crash;
mod following;
mod foreign;
mod support;
mod tampering;
