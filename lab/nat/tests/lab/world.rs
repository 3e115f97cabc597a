//! What most scenarios begin with: relays, agents at places, trust between them, a stream of pings.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use homing_lab::agent::{Agent, Lines, Relay};
use homing_lab::ipv6::Families;
use homing_lab::topology::{Host, Lab, Place, Router, Segment};
use serde_json::Value;

/// Pause between two pings of a [`Pings`].
pub(crate) const PING_INTERVAL: Duration = Duration::from_millis(50);

/// After which a ping of a [`Pings`] is lost and the next one is sent.
const PING_TIMEOUT: &str = "300ms";

/// What a relay of both families is called.
const RELAY_NAME: &str = "relay.lab";

/// A lab with relays on the public network. Fields drop in order: processes before their namespaces.
pub(crate) struct World {
    pub(crate) relays: Vec<Relay>,
    relay_hosts: Vec<Host>,
    pub(crate) lab: Lab,
}

/// An agent with the machine and the routers it stands on.
pub(crate) struct Seat {
    pub(crate) agent: Agent,
    pub(crate) host: Host,
    pub(crate) routers: Vec<Router>,
}

impl World {
    /// With this many relays.
    pub(crate) fn with_relays(count: usize) -> Result<Self> {
        let lab = Lab::new()?;
        let mut relays = Vec::new();
        let mut relay_hosts = Vec::new();
        for _ in 0..count {
            let host = lab.host(lab.public())?;
            relays.push(Relay::start(&host)?);
            relay_hosts.push(host);
        }
        Ok(Self { relays, relay_hosts, lab })
    }

    /// With one relay that speaks both families and is called [`RELAY_NAME`].
    pub(crate) fn with_both_families() -> Result<Self> {
        let lab = Lab::new()?;
        let host = lab.host_speaking(Families::Both)?;
        host.namespace().hosts(&naming(&host))?;
        let relays = vec![Relay::start_as(&host, RELAY_NAME)?];
        Ok(Self { relays, relay_hosts: vec![host], lab })
    }

    /// A running agent on the public network that speaks these families and knows the relay's name.
    pub(crate) fn speaking(&self, families: Families, name: &str) -> Result<Seat> {
        let host = self.lab.host_speaking(families)?;
        host.namespace().hosts(&naming(&self.relay_hosts[0]))?;
        let mut seat = Seat { agent: Agent::new(&host, name)?, host, routers: Vec::new() };
        seat.agent.start(&self.all_relays(), &[])?;
        Ok(seat)
    }

    /// Every relay, as `--relay` arguments.
    pub(crate) fn all_relays(&self) -> Vec<&Relay> {
        self.relays.iter().collect()
    }

    /// A machine at a place with an agent that is not started.
    pub(crate) fn seat(&self, place: Place, name: &str) -> Result<Seat> {
        let (host, routers) = self.lab.host_at(place)?;
        let agent = Agent::new(&host, name)?;
        Ok(Seat { agent, host, routers })
    }

    /// A machine in a given network with an agent that uses every relay and is online.
    pub(crate) fn running_in(&self, segment: &Segment, name: &str) -> Result<Seat> {
        let host = self.lab.host(segment)?;
        let mut seat = Seat { agent: Agent::new(&host, name)?, host, routers: Vec::new() };
        seat.agent.start(&self.all_relays(), &[])?;
        Ok(seat)
    }

    /// A machine at a place with an agent that uses every relay and is online.
    pub(crate) fn running(&self, place: Place, name: &str) -> Result<Seat> {
        let mut seat = self.seat(place, name)?;
        seat.agent.start(&self.all_relays(), &[])?;
        Ok(seat)
    }

    /// Two trusted agents, `agent-a` and `agent-b`.
    pub(crate) fn pair(&self, here: Place, there: Place) -> Result<(Seat, Seat)> {
        let (a, b) = self.strangers(here, there)?;
        introduce(&a.agent, &b.agent)?;
        Ok((a, b))
    }

    /// Two running agents, `agent-a` and `agent-b`, without trust.
    pub(crate) fn strangers(&self, here: Place, there: Place) -> Result<(Seat, Seat)> {
        Ok((self.running(here, "agent-a")?, self.running(there, "agent-b")?))
    }
}

/// The relay's lines of `/etc/hosts`.
fn naming(relay: &Host) -> String {
    let addresses = Families::Both.addresses(relay);
    addresses.iter().map(|ip| format!("{ip} {RELAY_NAME}\n")).collect()
}

/// Mutual trust as users make it: a handshake by name, an approval by node ID.
///
/// Returns the moment of the approval: from then on the two may speak directly.
pub(crate) fn introduce(asker: &Agent, approver: &Agent) -> Result<Instant> {
    find(asker, approver)?;
    asker.json(&["handshake", approver.name(), "--reason", "lab"])?;
    approve(asker, approver)
}

/// Waits until a name is known: an agent that came online this instant may not be published yet.
fn find(asker: &Agent, wanted: &Agent) -> Result<()> {
    let what = format!("{} finds {}", asker.name(), wanted.name());
    let found = || Ok(asker.run(&["resolve", wanted.name(), "--json"])?.ok());
    until(&what, Duration::from_secs(5), found).map(drop)
}

/// The second half: waits for the request and approves it.
pub(crate) fn approve(asker: &Agent, approver: &Agent) -> Result<Instant> {
    let asker_id = asker.node_id()?;
    until("the request arrives", Duration::from_secs(5), || {
        let pending = approver.json(&["pending"])?;
        let requests = pending["requests"].as_array().context("requests")?;
        Ok(requests.iter().any(|request| request["node_id"] == *asker_id))
    })?;
    let approved = Instant::now();
    approver.json(&["approve", &asker_id])?;
    asker.json(&["wait", "trusted", approver.name(), "--timeout", "5s"])?;
    ensure!(trust(asker, approver)? == "mutual" && trust(approver, asker)? == "mutual", "mutual");
    Ok(approved)
}

/// Where trust with `peer` stands from the view of `agent`.
pub(crate) fn trust(agent: &Agent, peer: &Agent) -> Result<String> {
    let peer = peer.node_id()?;
    let shown = agent.json(&["trust", "show", &peer])?;
    let state = shown["trust"]["state"].as_str();
    state.map(str::to_owned).with_context(|| format!("trust.state in {shown}"))
}

/// The one entry of `status PEER`.
pub(crate) fn status(agent: &Agent, peer: &str) -> Result<Value> {
    let status = agent.json(&["status", peer])?;
    Ok(status["peers"].get(0).with_context(|| format!("no {peer} in {status}"))?.clone())
}

/// The kind of path that `status PEER` shows.
pub(crate) fn path_kind(agent: &Agent, peer: &str) -> Result<String> {
    let peer = status(agent, peer)?;
    peer["path"]["kind"].as_str().map(str::to_owned).with_context(|| format!("path in {peer}"))
}

/// Pings ten times a second until an answer comes directly.
pub(crate) fn until_direct(agent: &Agent, peer: &str, limit: Duration) -> Result<()> {
    let report = ping_until_direct(agent, peer, limit)?;
    if report["direct_after_ms"].is_null() {
        let seen = status(agent, peer)?;
        bail!("not direct within {limit:?}: {seen}\n{}", agent.log_tail());
    }
    let kind = path_kind(agent, peer)?;
    ensure!(kind == "direct", "ping says direct, status says {kind}\n{}", agent.log_tail());
    Ok(())
}

/// The report of pings that end at the first direct answer or after `limit`.
pub(crate) fn ping_until_direct(agent: &Agent, peer: &str, limit: Duration) -> Result<Value> {
    let count = (limit.as_millis() / 100).to_string();
    agent.json(&["ping", peer, "--until-direct", "-c", &count, "--interval", "100ms"])
}

/// Asks again and again until `question` is answered with yes.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let started = Instant::now();
    while !question()? {
        if started.elapsed() > limit {
            bail!("not within {limit:?}: {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(started.elapsed())
}

/// Pings one after the other, and when each was answered.
pub(crate) struct Pings {
    lines: Lines,
    answers: Vec<Instant>,
    lost: usize,
}

impl Pings {
    /// Starts pinging; the first answer has come when this returns.
    pub(crate) fn start(agent: &Agent, peer: &str) -> Result<Self> {
        let interval = format!("{}ms", PING_INTERVAL.as_millis());
        let arguments = ["ping", peer, "-c", "100000", "--interval", &interval];
        let lines = agent.stream(&[&arguments[..], &["--timeout", PING_TIMEOUT]].concat())?;
        let mut pings = Self { lines, answers: Vec::new(), lost: 0 };
        pings.answered_after(Instant::now(), Duration::from_secs(10))?;
        Ok(pings)
    }

    /// Waits for the first answer that came after `moment`; how long after.
    pub(crate) fn answered_after(&mut self, moment: Instant, limit: Duration) -> Result<Duration> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some((at, line)) = self.lines.next(left) else {
                bail!("no answered ping within {limit:?}");
            };
            if self.take(at, &line) && at > moment {
                return Ok(at - moment);
            }
        }
    }

    /// Keeps reading for a while.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some((at, line)) = self.lines.next(end.saturating_duration_since(Instant::now()))
        {
            self.take(at, &line);
        }
    }

    /// The longest silence that began or ended after `moment`, as the peer's user would feel it.
    pub(crate) fn gap_since(&self, moment: Instant) -> Duration {
        let pairs = self.answers.windows(2).filter(|pair| pair[1] > moment);
        pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// How long after `moment` that silence began.
    pub(crate) fn gap_began(&self, moment: Instant) -> Duration {
        let pairs = self.answers.windows(2).filter(|pair| pair[1] > moment);
        let longest = pairs.max_by_key(|pair| pair[1] - pair[0]);
        longest.map(|pair| pair[0].saturating_duration_since(moment)).unwrap_or_default()
    }

    /// Pings that were not answered so far.
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    /// Whether this line is an answer.
    fn take(&mut self, at: Instant, line: &str) -> bool {
        let Ok(said) = serde_json::from_str::<Value>(line) else { return false };
        if said["rtt_ms"].is_number() {
            self.answers.push(at);
            return true;
        }
        self.lost += usize::from(said["error"].is_string());
        false
    }
}

/// Milliseconds, for tables.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
