//! Results as text for people: aligned tables, relative times, short forms.
//!
//! Columns do not move between versions. Meaning is never by colour alone.

pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod words;

pub(crate) use table::{Table, fields, fields_in};
