//! What happens in the demo, in order. Each step is checked; the first that fails ends it.

use std::time::Duration;

use homing_api::agent::Info;
use homing_api::peers::Pong;
use homing_api::trust::{ApproveRequest, HandshakeRequest, TrustState};
use homing_api::{ApiError, Client, Code};
use tokio::time::Instant;

use super::stage::{Stage, broken, free_udp_pair};
use super::{Narrator, Told};
use crate::render::{time, words};

const STEP_TIMEOUT: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_millis(1_800);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn tell(stage: &Stage, to: &Narrator) -> Result<Told, ApiError> {
    let began = Instant::now();
    let relay = open_relay(stage, to).await?;
    let a = start_agent(stage, to, "host-1", "my-agent", "127.0.0.2:0", &relay).await?;
    start_agent(stage, to, "host-2", "agent-b", "127.0.0.1:0", &relay).await?;
    befriend(stage, to, &a).await?;
    let first = until_pong(&stage.client("host-2"), "my-agent", STEP_TIMEOUT).await?;
    to.say("\nagent-b reaches it by name:");
    say_ping(to, &first);

    let (moved, gap, silence) = reborn(stage, to, &relay).await?;
    let same_address = moved.address == a.address && moved.node_id == a.node_id;
    let trust = stage.client("host-2").trust_show("my-agent").await?.entry.trust.state;
    let told = Told {
        schema: "homing.demo/v1",
        address: moved.address,
        same_address,
        trust_survived: trust == TrustState::Mutual,
        gap_ms: gap.as_secs_f64() * 1_000.0,
        silence_ms: silence.as_secs_f64() * 1_000.0,
        elapsed_ms: began.elapsed().as_secs_f64() * 1_000.0,
    };
    check(&told)?;
    conclude(to, &told);
    Ok(told)
}

async fn open_relay(stage: &Stage, to: &Narrator) -> Result<String, ApiError> {
    to.say("Three nodes start on this machine: a relay and two agents, each on its own loopback address.\n");
    let quic = free_udp_pair()?.to_string();
    let flags =
        ["--listen", "127.0.0.1:0", "--quic-port", &quic, "--hostname", "127.0.0.1", "--json"];
    let line = stage.start("relay", &[&["relay", "serve"], flags.as_slice()].concat()).await?;
    let ready: serde_json::Value =
        serde_json::from_str(&line).map_err(|e| broken("the relay", &e))?;
    let url = ready["relay"].as_str().ok_or_else(|| broken("the relay", &"it named no URL"))?;
    let shown = url.split('#').next().unwrap_or(url);
    to.say(&format!("$ homing relay serve\n  {shown}"));
    Ok(url.to_owned())
}

async fn start_agent(
    stage: &Stage,
    to: &Narrator,
    host: &str,
    name: &str,
    listen: &str,
    relay: &str,
) -> Result<Info, ApiError> {
    let began = Instant::now();
    let flags = ["--detached", "--hostname", name, "--listen", listen, "--relay", relay];
    stage.start(host, &[&["daemon", "run"], flags.as_slice()].concat()).await?;
    let client = stage.client(host);
    let what = format!("{name} is reachable");
    let info = until(&what, STEP_TIMEOUT, async || {
        client.info().await.map(|info| info.online.then_some(info))
    })
    .await?;
    let took = time::millis(began.elapsed().as_secs_f64() * 1_000.0);
    let ip = listen.split(':').next().unwrap_or(listen);
    to.say(&format!("$ homing daemon start --hostname {name}        (on {ip}, {took})"));
    to.say(&format!("  address  {}", info.address));
    to.say(&format!("  node ID  {}", info.node_id));
    Ok(info)
}

async fn befriend(stage: &Stage, to: &Narrator, a: &Info) -> Result<(), ApiError> {
    to.say("\nmy-agent asks agent-b for trust, by name; agent-b's owner approves by node ID:");
    let (asker, owner) = (stage.client("host-1"), stage.client("host-2"));
    let request = HandshakeRequest {
        peer: "agent-b".into(),
        reason: Some("the demo".into()),
        services: None,
        lifetime_s: None,
    };
    until("my-agent finds agent-b", STEP_TIMEOUT, async || match asker.handshake(&request).await {
        Ok(change) => Ok(Some(change)),
        // The relay may not have heard of agent-b yet.
        Err(error) if error.code == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    })
    .await?;
    to.say("$ homing handshake agent-b");
    until("agent-b sees the request", STEP_TIMEOUT, async || {
        let pending = owner.pending().await?;
        Ok(pending.requests.iter().any(|r| r.peer.node_id == a.node_id).then_some(()))
    })
    .await?;
    let peer = a.node_id.to_string();
    owner.approve(&ApproveRequest { peer: peer.clone(), services: None, lifetime_s: None }).await?;
    to.say(&format!("$ homing approve {peer}"));
    until("trust is mutual on both sides", STEP_TIMEOUT, async || {
        let state = asker.trust_show("agent-b").await?.entry.trust.state;
        Ok((state == TrustState::Mutual).then_some(()))
    })
    .await
}

/// `kill -9`, then the same key on another address with nothing else kept. Returns the reborn
/// agent, the time from its start to the first answered ping, and the silence as agent-b saw it.
async fn reborn(
    stage: &Stage,
    to: &Narrator,
    relay: &str,
) -> Result<(Info, Duration, Duration), ApiError> {
    to.say("\nThe host of my-agent is reclaimed. All that is kept is identity.json:");
    let killed = Instant::now();
    let pid = stage.kill("host-1").await?;
    to.say(&format!("$ kill -9 {pid}"));
    let new_home = stage.home("host-3");
    std::fs::create_dir_all(&new_home).map_err(|e| broken("host-3", &e))?;
    std::fs::copy(stage.home("host-1").join("identity.json"), new_home.join("identity.json"))
        .map_err(|e| broken("identity.json", &e))?;
    to.say("$ cp identity.json …          (to another host)");
    let began = Instant::now();
    let watcher = stage.client("host-2");
    let starting = start_agent(stage, to, "host-3", "my-agent", "127.0.0.3:0", relay);
    let pinging = answered_by_new(&watcher, stage);
    let (info, pong) = tokio::try_join!(starting, pinging)?;
    let (pong, at) = pong;
    to.say("\nagent-b changed nothing and pings the same name:");
    say_ping(to, &pong);
    Ok((info, at - began, at - killed))
}

/// The old process is dead, so whoever answers is the new one.
async fn answered_by_new(watcher: &Client, stage: &Stage) -> Result<(Pong, Instant), ApiError> {
    let socket = stage.home("host-3").join("homing.sock");
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        match watcher.ping("my-agent", Duration::from_millis(300)).await {
            Ok(pong) if socket.exists() => return Ok((pong, Instant::now())),
            Err(error) if Instant::now() >= deadline => return Err(error),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn until_pong(client: &Client, peer: &str, limit: Duration) -> Result<Pong, ApiError> {
    until(&format!("{peer} answers"), limit, async || {
        Ok(client.ping(peer, PING_TIMEOUT).await.ok())
    })
    .await
}

/// Looks until there is something, or the time is over.
async fn until<T>(
    what: &str,
    limit: Duration,
    look: impl AsyncFn() -> Result<Option<T>, ApiError>,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(ApiError::new(
                Code::Timeout,
                format!("this did not happen in time: {what}"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn say_ping(to: &Narrator, pong: &Pong) {
    let (rtt, via) = (time::millis(pong.rtt_ms), words::via(&pong.path));
    to.say(&format!("$ homing ping my-agent\n  {rtt} {via}"));
}

fn check(told: &Told) -> Result<(), ApiError> {
    if !told.same_address {
        return Err(ApiError::new(Code::Internal, "the reborn agent has another address"));
    }
    if !told.trust_survived {
        return Err(ApiError::new(Code::Internal, "the trust did not survive the move"));
    }
    Ok(())
}

fn conclude(to: &Narrator, told: &Told) {
    to.say(&format!(
        "\n✓ my-agent moved from 127.0.0.2 to 127.0.0.3 and is still {}\n\
         ✓ trust is still mutual; agent-b reconfigured nothing\n\
         ✓ first answered ping {:.0} ms after the new daemon's start\n\n\
         The same across real machines: homing relay serve on one, then homing up --relay … on the others.",
        told.address, told.gap_ms
    ));
}
