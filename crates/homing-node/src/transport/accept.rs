//! Who gets in: one accept loop per door.
//!
//! The main door of a node with two refuses *relayed* connections of endpoints that were not admitted,
//! before the handshake: afterwards QUIC would already have shown our addresses. Who knocks over UDP
//! knows an address anyway, and may speak `homing/mesh/1` (the core proves it); `homing/stream/1` is for
//! admitted endpoints only, whatever the way. A knock up to half a second early is held.

use std::sync::Arc;

use homing_base::InstanceId;
use homing_core::io::Door;
use iroh::Endpoint;
use iroh::endpoint::{Connection, Incoming, IncomingAddr, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::links::{NewLink, remote_of};
use super::tasks::Tasks;
use super::{ALPN_MESH, ALPN_STREAM, Shared, limits, streams};

/// Closes a `homing/stream/1` connection of an endpoint that was not admitted.
pub(super) const CLOSE_NOT_ADMITTED: VarInt = VarInt::from_u32(0x101);

/// Starts the accept loops.
pub(super) fn spawn(shared: &Arc<Shared>, tasks: &Tasks) {
    let Some(doors) = shared.doors.pair() else { return };
    tasks.spawn(serve(shared.clone(), doors.main, Door::Main));
    if !shared.doors.single() {
        tasks.spawn(serve(shared.clone(), doors.front, Door::Front));
    }
}

async fn serve(shared: Arc<Shared>, endpoint: Endpoint, door: Door) {
    let room = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    let guests = Tasks::default();
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = room.clone().try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let crowded = room.available_permits() < limits::HANDSHAKES_UNCHECKED_MAX;
        if crowded && is_unchecked(&incoming) {
            // From here on who knocks must show that its address is its own (RFC 9000 §8.1.2).
            incoming.retry().ok();
            continue;
        }
        guests.spawn(greet(shared.clone(), incoming, door, permit));
    }
}

fn is_unchecked(incoming: &Incoming) -> bool {
    matches!(incoming.remote_addr(), IncomingAddr::Ip(_)) && !incoming.remote_addr_validated()
}

/// One connection from its first packet on. The permit is held until it is a link, or nothing.
async fn greet(shared: Arc<Shared>, incoming: Incoming, door: Door, permit: OwnedSemaphorePermit) {
    if !shared.doors.single() && !may_enter(&shared, door, &incoming).await {
        return incoming.refuse();
    }
    let Ok(handshake) = incoming.accept() else { return };
    let Ok(Ok(connection)) = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, handshake).await
    else {
        return;
    };
    match connection.alpn() {
        ALPN_MESH => welcome(&shared, connection, door).await,
        ALPN_STREAM => host(shared, connection, permit).await,
        _ => connection.close(VarInt::from_u32(0), b"unknown protocol"),
    }
}

/// The rule of a node with two doors, before the handshake: through a relay, the main door lets in
/// admitted endpoints only.
async fn may_enter(shared: &Shared, door: Door, incoming: &Incoming) -> bool {
    let IncomingAddr::Relay { endpoint_id, .. } = incoming.remote_addr() else { return true };
    if [shared.doors.front_id, shared.doors.main_id].contains(&endpoint_id) {
        // The self check: this refusal is its proof.
        return false;
    }
    if door == Door::Front {
        return true;
    }
    let endpoint = InstanceId(*endpoint_id.as_bytes());
    let admitted = shared.admission.wait_for(endpoint, limits::ADMIT_GRACE).await;
    if !admitted {
        tracing::debug!("the main door refused a relayed stranger");
    }
    admitted
}

/// A mesh connection becomes a link once the dialler has opened its stream.
async fn welcome(shared: &Arc<Shared>, connection: Connection, door: Door) {
    let opened = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, connection.accept_bi()).await;
    let Ok(Ok((send, recv))) = opened else {
        return connection.close(VarInt::from_u32(0), b"no stream");
    };
    shared.links.start(shared, NewLink { connection, send, recv, dial: None, door });
}

async fn host(shared: Arc<Shared>, connection: Connection, permit: OwnedSemaphorePermit) {
    if shared.admission.wait_for(remote_of(&connection), limits::ADMIT_GRACE).await {
        drop(permit);
        streams::serve(shared, connection).await;
    } else {
        connection.close(CLOSE_NOT_ADMITTED, b"not admitted");
    }
}
