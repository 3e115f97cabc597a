//! homing-api
