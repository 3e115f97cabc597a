//! Strategies that the daemon does not have, for comparison in the lab only.

pub(crate) mod chord;
