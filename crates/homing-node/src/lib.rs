//! homing-node
