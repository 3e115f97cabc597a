//! Bounds of the lab.

/// Most agents of one trial that live at the same time: 100,000 take some 4 GB.
pub const AGENTS_MAX: usize = 200_000;
/// Fewest agents that make a network.
pub const AGENTS_MIN: usize = 2;
/// What one simulated agent takes at most, in bytes: 38 kB measured at 100,000 agents with a record each, and room
/// for messages on their way.
pub const AGENT_BYTES: u64 = 60_000;
/// Longest simulated time of one trial, in seconds: a week.
pub const DURATION_SECONDS_MAX: f64 = 7.0 * 86_400.0;
/// Most agents times seconds of one trial: beyond it a trial takes days.
pub const AGENT_SECONDS_MAX: f64 = 2e9;
/// Most regions.
pub const REGIONS_MAX: usize = 64;
/// Longest event log, in lines.
pub const LOG_LINES_MAX: usize = 1_000_000;
/// Largest event log, in bytes.
pub const LOG_BYTES_MAX: u64 = 256 << 20;
/// Longest line of an event log, in bytes.
pub const LOG_LINE_BYTES_MAX: usize = 1_024;
/// Longest time between the first and the last line of an event log, in seconds: 100 years.
pub const LOG_SECONDS_MAX: f64 = 100.0 * 365.25 * 86_400.0;
/// Largest time in an event log, in seconds: the end of the year 9999, counted from 1970.
pub const LOG_AT_SECONDS_MAX: f64 = 253_402_300_800.0;
/// Largest scenario file, in bytes.
pub const FLEET_BYTES_MAX: u64 = 1 << 20;
/// Longest name and remark of a scenario, in bytes.
pub const TEXT_BYTES_MAX: usize = 500;
/// Most trials of one run.
pub const TRIALS_MAX: usize = 5_000;
/// Events per agent-second above which a network counts as diverged: a sound one needs one to eight.
pub const EVENTS_PER_AGENT_SECOND_MAX: f64 = 30.0;
/// No trial ends as diverged before it had so many events.
pub const EVENTS_MIN: u64 = 5_000_000;
/// Agents whose neighbours are compared with the truth, per look.
pub const LOOKED_AT_MAX: usize = 300;
/// Operations whose state is kept at once: older ones are forgotten as failed.
pub const LOOKUPS_PER_MINUTE_MAX: f64 = 600.0;

const _: () = assert!(AGENTS_MIN >= 2 && AGENTS_MAX as u64 * AGENT_BYTES < 16 << 30);
