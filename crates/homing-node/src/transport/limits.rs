//! Every number that bounds the transport.

use std::time::Duration;

/// Events that wait for the shell; then the peers wait.
pub const EVENTS_MAX: usize = 1_024;
/// Messages that wait for one slow link; then the link is closed.
pub const LINK_QUEUE_MESSAGES_MAX: usize = 256;
/// Handshakes of strangers in progress at one door; more are ignored until some finish.
pub const HANDSHAKES_MAX: usize = 64;
/// With fewer free places than this, strangers must first prove their address (QUIC retry).
pub const HANDSHAKES_UNCHECKED_MAX: usize = HANDSHAKES_MAX / 2;
/// A handshake, and then the first stream of the connection.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the main door waits for the core to admit an endpoint that is already knocking.
pub const ADMIT_GRACE: Duration = Duration::from_millis(500);
/// Links of an expelled endpoint that the core did not close itself.
pub const EXPEL_GRACE: Duration = Duration::from_secs(2);
/// One dial, everything included. The core is promised an answer within 10 s.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(9_500);
/// Learning the key behind a socket address.
pub const WHOIS_TIMEOUT: Duration = Duration::from_secs(3);
/// Socket addresses asked at once in one dial.
pub const WHOIS_ADDRESSES_MAX: usize = 16;
/// Fetching a relay's record.
pub const WELL_KNOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Body of `/.well-known/homing`.
pub const WELL_KNOWN_BYTES_MAX: usize = 4_096;
/// Reaching a relay's host through a proxy: name, connection and the proxy's answer.
pub const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// What a request to the porch may have, and what of it may be open at once: two doors, a few relays.
pub const PORCH_HEAD_BYTES_MAX: usize = 4_096;
/// Connections through the porch at once; more wait.
pub const PORCH_CONNECTIONS_MAX: usize = 64;
/// Before the next attempt to take one of them in, when that failed.
pub const PORCH_BREATHER: Duration = Duration::from_millis(100);
/// A connection for streams.
pub const STREAM_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The answer to a stream header.
pub const STREAM_REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for streams with one endpoint; an honest peer has one each way, and one more while it replaces one.
pub const STREAM_CONNECTIONS_MAX: usize = 8;
/// Waiting for one of [`STREAMS_PER_CONNECTION_MAX`] streams to end.
pub const STREAM_PLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams that one peer may have open at once on one connection; more wait for one of these to end. Twice the
/// 1,000 that one program may well want, so that a second one is not kept waiting by it.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 2_048;
/// Flushing a link before it is closed.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// From a superseded run's farewell to the end of its streams, when it does not answer; four round trips, if
/// those are longer.
pub const FAREWELL_GRACE: Duration = Duration::from_millis(500);
/// Closing the endpoints: what was said has left by then; the rest is QUIC's waiting for stragglers.
pub const DOOR_CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two looks whether the UDP ports are free again.
pub const PORT_FREE_POLL: Duration = Duration::from_millis(2);
/// Relays learnt from others' records that are remembered.
pub const LEARNT_RELAYS_MAX: usize = 1_024;
/// Period of health probes to the home relay, and of any relay that is down.
pub const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// Period of health probes to the other relays.
pub const PROBE_PERIOD_IDLE: Duration = Duration::from_secs(5);
/// One health probe.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Connections that one eager health probe tries.
pub const PROBES_STAGGERED: u32 = 3;
/// Pause between them.
pub const PROBE_STAGGER: Duration = Duration::from_millis(300);
/// Eager probes after a relay went down: about a minute.
pub const PROBES_EAGER_DOWN: u32 = 60;
/// Eager probes after our own addresses changed.
pub const PROBES_EAGER_MOVED: u32 = 8;
/// From a failed probe to the next, before a relay counts as down.
pub const PROBE_AGAIN: Duration = Duration::from_millis(250);
/// From the kernel's first word of a network change to the look at what came of it.
pub const NETWORK_SETTLES: Duration = Duration::from_millis(20);
/// Before the next look when the kernel's news could not be read.
pub const NEWS_LOST_PAUSE: Duration = Duration::from_millis(250);
/// From that word to the core's trial of its links: the stack waits a quarter of a second for the change to settle, and what
/// is sent before it has moved its sockets is lost with the old path.
pub const STACK_MOVES: Duration = Duration::from_millis(300);
/// The round trip that a path is taken to have until one is measured. RFC 9002, section 6.2.2 says 333 ms, so that a
/// lost first packet costs a second, and so does what was under way on a young path when it is given up: three
/// timeouts of the first guess. Chromium and Google's servers begin with 100 ms as well; where the truth is longer,
/// a first packet is sent twice.
pub const RTT_FIRST_GUESS: Duration = Duration::from_millis(100);
/// Period of the look whether the machine slept.
pub const SLEEP_LOOK: Duration = Duration::from_secs(1);
/// What counts as sleep; less and a NAT has forgotten nothing.
pub const SLEEP_MIN: Duration = Duration::from_secs(1);
/// From a relay's denial to the next attempt, when there is no other relay: its list may have changed.
pub const PROBE_DENIED: Duration = Duration::from_secs(30);
/// The same when another relay serves us meanwhile: trying again costs a change of home.
pub const PROBE_DENIED_REPLACED: Duration = Duration::from_secs(600);
/// Pause before the first knock of the self check; each next one doubles it.
pub const SELF_CHECK_FIRST: Duration = Duration::from_millis(8);
/// Knocks of the self check: the last after half a second.
pub const SELF_CHECK_KNOCKS: u32 = 7;
/// The self check, whole; iroh has measured its relays by then.
pub const SELF_CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a health probe's connection is kept; a relay cuts it off after 30 s.
pub const PROBE_CONNECTION_LIFE: Duration = Duration::from_secs(20);
/// Reaching one address discovery port while asking whether the NAT mapping varies.
pub const MAPPING_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Ticks of port prediction: ten probes each.
pub const PROBE_TICK: Duration = Duration::from_millis(10);
/// From one choice of a pair of ports to its repetition, while it is not answered.
pub const SETTLE_TICK: Duration = Duration::from_millis(50);
/// From one round of the symmetric side's sockets to the next.
pub const UDP_OPEN_AGAIN: Duration = Duration::from_millis(700);
/// A found pair of ports over which the peer has sent nothing for so long is not used: the stack looks after a path
/// every 5 s and gives one up after 15 s.
pub const FORWARDER_IDLE: Duration = Duration::from_secs(20);
/// What may wait in a socket of a forwarder, where the system allows so much.
pub const FORWARDER_QUEUE_BYTES: usize = 4 << 20;
/// How long a peer's entry is offered to the stack: it probes what is new for 4 s.
pub const SHOWN_FOR: Duration = Duration::from_secs(4);

const _: () = assert!(DIAL_TIMEOUT.as_millis() < 10_000);
const _: () = assert!(WHOIS_TIMEOUT.as_millis() + 5_000 < DIAL_TIMEOUT.as_millis());
const _: () = assert!(WELL_KNOWN_TIMEOUT.as_millis() + 5_000 < DIAL_TIMEOUT.as_millis());
