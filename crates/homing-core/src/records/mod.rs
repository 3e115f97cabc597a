//! Records: what is known about where identities are, and what this one says about itself.
//!
//! [`known`] keeps the newest record per identity, bounded; [`own`] decides when this identity's
//! record must be signed anew, and whether this run may still do so. Not here: who is told.

pub(crate) mod known;
pub(crate) mod own;
#[cfg(test)]
mod tests;
