//! A resumed `forward` while daemons are killed and their hosts move: every byte arrives once and in order.
//!
//! What lives on is what is promised: the two programs, `listen` and `forward`. Each move is `kill -9` of the daemon, another
//! network for its host, and a new daemon from nothing but `identity.json`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use homing_lab::agent::Lines;
use homing_lab::exec;
use homing_lab::nat::Nat::{PortRestricted, Symmetric};
use homing_lab::topology::Place::Behind;
use homing_lab::topology::Segment;

use crate::harness::{Notes, Scenario};
use crate::world::{Seat, World, ms, until_direct};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a_resumed_forward_loses_no_byte_over_four_moves",
    limit_s: 150,
    needs_binary: true,
    run: resumed,
}];

/// What is sent.
const BYTES: usize = 72_000_000;

/// After how many of them one of the two hosts moves.
const MOVES_AT: [usize; 4] = [10_000_000, 24_000_000, 38_000_000, 52_000_000];

/// From the kill to the next byte: start of a daemon, meeting the peer again, resuming.
const GAP_LIMIT: Duration = Duration::from_secs(4);

/// How long no byte may come at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes as they arrive: how many, and when.
struct Arrivals {
    lines: Lines,
    seen: Vec<(Instant, usize)>,
}

impl Arrivals {
    fn until(&mut self, count: usize) -> Result<()> {
        while self.seen.last().is_none_or(|(_, seen)| *seen < count) {
            let arrived = self.seen.last().map_or(0, |(_, seen)| *seen);
            let none = || format!("no byte comes any more after {arrived}");
            let (at, line) = self.lines.next(PATIENCE).with_context(none)?;
            self.seen.push((at, line.parse()?));
        }
        Ok(())
    }

    /// The longest silence that ended after `moment`.
    fn gap_since(&self, moment: Instant) -> Duration {
        let pairs = self.seen.windows(2).filter(|pair| pair[1].0 > moment);
        pairs.map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default()
    }
}

fn resumed(notes: &mut Notes) -> Result<()> {
    let world = World::with_relays(1)?;
    let (mut a, mut b) = world.pair(Behind(PortRestricted), Behind(PortRestricted))?;
    until_direct(&a.agent, "agent-b", Duration::from_secs(8))?;
    let probe = env!("CARGO_BIN_EXE_lab-probe");
    let mut digest = b.host.namespace().command(probe);
    digest.args(["digest", "127.0.0.1:9000"]);
    let mut arrivals = Arrivals { lines: Lines::start(digest)?, seen: Vec::new() };
    let _listener = Lines::listen(&b.agent, &["backup", "--resume", "--to", "9000"])?;
    let forward = ["forward", "0", "agent-b:backup", "--resume", "-o", "name"];
    let forward = Lines::start(a.agent.command(&forward)?)?;
    let (_, place) = forward.next(Duration::from_secs(10)).context("forward says no place")?;
    let mut pour = a.host.namespace().command(probe);
    pour.args(["pour", &place, &BYTES.to_string()]);
    let pouring = thread::spawn(move || exec::run(pour, "", Duration::from_secs(120)));

    let (home, cellar) = (Behind(PortRestricted), Behind(Symmetric));
    let (_first, routers) = world.lab.host_at(home)?;
    let (_second, symmetric) = world.lab.host_at(cellar)?;
    let (_third, last) = world.lab.host_at(home)?;
    let [first, second, third, fourth] = MOVES_AT;
    let mut turn = |who: &mut Seat, at: usize, to: &Segment, what: &str| -> Result<()> {
        arrivals.until(at)?;
        let killed = Instant::now();
        moved(&world, who, to)?;
        arrivals.until(at + 8_000_000)?;
        let gap = arrivals.gap_since(killed);
        notes.add(format!("{what}: gap {}", ms(gap)));
        ensure!(gap < GAP_LIMIT, "{what}: {} without a byte", ms(gap));
        Ok(())
    };
    turn(&mut b, first, routers[0].lan(), "serving host behind another NAT")?;
    turn(&mut b, second, symmetric[0].lan(), "serving host behind a symmetric NAT")?;
    turn(&mut b, third, world.lab.public(), "serving host on the public network")?;
    turn(&mut a, fourth, last[0].lan(), "asking host behind another NAT")?;
    let poured = pouring.join().expect("a thread that does not panic")?;
    ensure!(poured.ok(), "{}", poured.stderr);
    arrivals.until(BYTES)?;
    notes.add(format!("{BYTES} bytes in {}, the same SHA-256", ms(poured.elapsed)));
    Ok(())
}

/// The daemon dies, its host is plugged in elsewhere, and a daemon starts that knows its key only.
fn moved(world: &World, seat: &mut Seat, to: &Segment) -> Result<()> {
    seat.agent.kill()?;
    seat.host.move_to(to)?;
    forget(seat.agent.home())?;
    seat.agent.spawn(&world.all_relays(), &[])
}

/// Removes everything from a home but the key.
fn forget(home: &Path) -> Result<()> {
    ensure!(home.join("identity.json").is_file(), "no identity in {}", home.display());
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("identity.json" | "lab.log") => {}
            Some(_) if path.is_dir() => fs::remove_dir_all(&path)?,
            Some(_) => fs::remove_file(&path)?,
            None => bail!("a strange file in a home: {}", path.display()),
        }
    }
    Ok(())
}
