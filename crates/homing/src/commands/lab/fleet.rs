//! A fleet from a scenario file and flags; flags win.

use std::path::PathBuf;

use clap::Args;
use homing_api::{ApiError, Code};
use homing_sim::lab::fleet::{NatMix, Region, Route};
use homing_sim::lab::{Fleet, Lifetimes, Model, Span, Strategy};

use super::course::told_fleet;

/// What the fleet is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The fleet")]
pub(super) struct FleetFlags {
    /// A scenario file (TOML); flags change its fields
    scenario: Option<PathBuf>,
    /// Agents at the same time, 2 to 200000 [default: 300]
    #[arg(long, value_name = "N", conflicts_with = "events")]
    agents: Option<usize>,
    /// kademlia, kademlia-no-pns, reactive, cluster or chord [default: kademlia]
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<Strategy>,
    /// Measured time, simulated [default: 15m, or all of --events]
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// Time before it [default: 5m]
    #[arg(long, value_name = "TIME")]
    warmup: Option<Span>,
    /// Half of the agents live less than this; without it, nobody leaves
    #[arg(long, value_name = "TIME", conflicts_with_all = ["mean", "events"])]
    median: Option<Span>,
    /// Agents live so long on average
    #[arg(long, value_name = "TIME", conflicts_with = "events")]
    mean: Option<Span>,
    /// exponential, weibull, log-normal, pareto or fixed [default: exponential]
    #[arg(long, value_name = "MODEL", conflicts_with = "events")]
    model: Option<Model>,
    /// The model's parameter: weibull 0.5, log-normal 1.5, pareto 1.5 unless given
    #[arg(long, value_name = "NUMBER", conflicts_with = "events")]
    shape: Option<f64>,
    /// Your own log of joins and leaves, as `homing lab record` writes it, instead of a model
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Agents whose record is stored and looked for [default: all]
    #[arg(long, value_name = "N")]
    records: Option<usize>,
    /// Lookups per agent and minute [default: 1]
    #[arg(long, value_name = "RATE")]
    lookups: Option<f64>,
    /// A region, such as eu=2:15ms: its share of the agents, the round trip within it; again for more
    #[arg(long, value_name = "NAME=SHARE:RTT", value_parser = region)]
    region: Vec<Region>,
    /// A way between two regions, such as eu,us=90ms
    #[arg(long, value_name = "FROM,TO=RTT", value_parser = route)]
    route: Vec<Route>,
    /// Median round trip [default: 80ms]
    #[arg(long, value_name = "TIME")]
    rtt: Option<Span>,
    /// Shares behind translators, such as public=3,mapped=6,symmetric=1
    #[arg(long, value_name = "SHARES", value_parser = nat)]
    nat: Option<NatMix>,
    /// Share of packets that get lost, 0 to 0.5
    #[arg(long, value_name = "SHARE")]
    loss: Option<f64>,
    /// Each agent's uplink in bytes per second [default: unlimited]
    #[arg(long, value_name = "BYTES")]
    uplink: Option<f64>,
    /// Share of agents that lie, 0 to 0.5
    #[arg(long, value_name = "SHARE")]
    adversaries: Option<f64>,
    /// Liars show forged records, too
    #[arg(long)]
    forge: bool,
    /// Share of the fleet that dies at once at the end; 0: none [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    reclaim: Option<f64>,
    /// Replicas of a record, width of lookups [default: 20]
    #[arg(long, value_name = "N")]
    k: Option<usize>,
    /// Requests in flight per lookup [default: 3]
    #[arg(long, value_name = "N")]
    alpha: Option<usize>,
    /// Members above which a cluster splits [default: 64]
    #[arg(long, value_name = "N")]
    cluster_size: Option<u16>,
}

impl FleetFlags {
    /// The fleet they describe, not checked yet.
    pub(super) fn fleet(&self) -> Result<Fleet, ApiError> {
        let mut fleet = match &self.scenario {
            Some(path) => Fleet::read(path).map_err(|e| told_fleet(&e))?,
            None => Fleet::default(),
        };
        self.check_routes()?;
        macro_rules! take {
            ($($flag:ident => $field:ident),*) => { $(if let Some(value) = self.$flag.clone() { fleet.$field = value; })* };
        }
        take!(agents => agents, strategy => strategy, duration => duration, warmup => warmup,
            lookups => lookups_per_minute, rtt => rtt, nat => nat, loss => loss,
            adversaries => adversaries, reclaim => reclaim, k => k, alpha => alpha,
            cluster_size => cluster_size);
        fleet.forge |= self.forge;
        fleet.records = self.records.or(fleet.records);
        fleet.uplink_bytes_per_second = self.uplink.or(fleet.uplink_bytes_per_second);
        fleet.events = self.events.clone().or(fleet.events);
        if !self.region.is_empty() {
            (fleet.regions, fleet.routes) = (self.region.clone(), Vec::new());
        }
        fleet.routes.retain(|r| !self.route.iter().any(|given| given.joins(&r.from, &r.to)));
        fleet.routes.extend(self.route.iter().cloned());
        if self.rtt.is_some() && !is_rtt_used(&fleet) {
            let message = "--rtt changes nothing: every way between these regions has its own";
            return Err(ApiError::new(Code::Usage, message)
                .hint("leave it out, or leave out the --route that it is to replace"));
        }
        self.sessions(&mut fleet);
        Ok(fleet)
    }

    fn check_routes(&self) -> Result<(), ApiError> {
        let routes = &self.route;
        let again =
            |(i, r): &(usize, &Route)| routes[..*i].iter().any(|first| first.joins(&r.from, &r.to));
        let Some((_, route)) = routes.iter().enumerate().find(again) else { return Ok(()) };
        let message = format!("--route {},{}: this way is there twice", route.from, route.to);
        Err(ApiError::new(Code::Usage, message).hint("routes are the same both ways; keep one"))
    }

    /// `compare` varies what these flags would set.
    pub(super) fn check_compared(&self) -> Result<(), ApiError> {
        let hint_turnover = "homing lab compare --turnover 20%,100%; --model and --shape are kept";
        let given = [
            ("--strategy", self.strategy.is_some(), "homing lab compare --strategies LIST"),
            ("--median", self.median.is_some(), hint_turnover),
            ("--mean", self.mean.is_some(), hint_turnover),
            (
                "--events",
                self.events.is_some(),
                "homing lab simulate --events FILE --strategy STRATEGY, once per strategy",
            ),
        ];
        match given.into_iter().find(|(_, given, _)| *given) {
            Some((flag, _, hint)) => {
                let message = format!("{flag} is of no use here: compare varies it");
                Err(ApiError::new(Code::Usage, message).hint(hint))
            }
            None => Ok(()),
        }
    }

    fn sessions(&self, fleet: &mut Fleet) {
        let given = (self.median, self.mean, self.model, self.shape);
        if given == (None, None, None, None) {
            return;
        }
        let mut sessions = fleet.sessions.unwrap_or_default();
        if self.median.is_some() || self.mean.is_some() {
            (sessions.median, sessions.mean) = (self.median, self.mean);
        }
        if let Some(model) = self.model {
            sessions = Lifetimes { model, shape: None, ..sessions };
        }
        sessions.shape = self.shape.or(sessions.shape);
        fleet.sessions = Some(sessions);
    }
}

/// Without regions it is the median round trip; with regions, that of ways without a route.
fn is_rtt_used(fleet: &Fleet) -> bool {
    let regions = &fleet.regions;
    let routed = |a: &Region, b: &Region| fleet.routes.iter().any(|r| r.joins(&a.name, &b.name));
    let open = |(i, a): (usize, &Region)| regions[i + 1..].iter().any(|b| !routed(a, b));
    regions.is_empty() || regions.iter().enumerate().any(open)
}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|e: homing_sim::lab::span::NoSpan| e.to_string())
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn region(text: &str) -> Result<Region, String> {
    let (name, rest) = text.split_once('=').ok_or("NAME=SHARE:RTT, such as eu=2:15ms")?;
    let (share, rtt) = rest.split_once(':').ok_or("NAME=SHARE:RTT, such as eu=2:15ms")?;
    Ok(Region { name: name.to_owned(), share: number(share)?, rtt: span(rtt)? })
}

fn route(text: &str) -> Result<Route, String> {
    let (ends, rtt) = text.split_once('=').ok_or("FROM,TO=RTT, such as eu,us=90ms")?;
    let (from, to) = ends.split_once(',').ok_or("FROM,TO=RTT, such as eu,us=90ms")?;
    Ok(Route { from: from.to_owned(), to: to.to_owned(), rtt: span(rtt)? })
}

fn nat(text: &str) -> Result<NatMix, String> {
    let mut mix = NatMix { public: 0.0, mapped: 0.0, symmetric: 0.0 };
    let mut said = Vec::new();
    for part in text.split(',') {
        let (name, share) = part.split_once('=').ok_or("public=3,mapped=6,symmetric=1")?;
        let share = number(share)?;
        match name {
            "public" => mix.public = share,
            "mapped" => mix.mapped = share,
            "symmetric" => mix.symmetric = share,
            _ => return Err(format!("{name:?}: public, mapped or symmetric")),
        }
        if said.contains(&name) {
            return Err(format!("{name} is there twice"));
        }
        said.push(name);
    }
    Ok(mix)
}
