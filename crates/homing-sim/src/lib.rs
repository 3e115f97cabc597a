//! homing-sim
