//! `dht.mode = auto`: follows the network's choice of a mode.
//!
//! ```text
//! the owner's agent ── publish dht-setting /homing/dht/cluster/64 ──► DHT, keepers
//! every node        ── resolve once a minute ──► a higher sequence? ──► Command::DhtMode
//! ```
//! The choice is a reference of the identity that `dht.network_key` names
//! ([`homing_core::dht::setting`]); its proof, its spreading and its ends are those of every reference. Each
//! node keeps it alive, and so finds it in its own store after a restart. A choice that has ended or cannot be
//! found changes nothing: the last one holds. Not here: making the choice (the owner's), changing over
//! ([`homing_core::dht::Dht::set_mode`]).

use std::time::Duration;

use homing_api::ApiError;
use homing_base::Reference;
use homing_core::Command;
use homing_core::dht::Mode;
use homing_core::dht::setting::SETTING_NAME;
use homing_core::io::{ReferenceCommand, ReferenceKey};

use crate::node::Node;

/// Between two looks in a network of few; a network of many looks more rarely, so that those who hold the
/// choice are asked as often.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// … and as long as there is none yet, right after the start.
const LOOK_EVERY_AT_FIRST: Duration = Duration::from_secs(5);
/// So many looks.
const FIRST_LOOKS: u32 = 12;
/// As long may one look take.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// This many nodes are few.
const FEW: f64 = 10_000.0;

impl Node {
    /// Follows the choice until the agent ends, if the configuration says so.
    pub(crate) async fn follow_dht_setting(self) {
        let Some(owner) = self.shared.config.dht.network_key else { return };
        let name = SETTING_NAME.parse().expect("a name of a reference");
        let key = ReferenceKey::Bound { owner, name };
        let (mut adopted, mut kept, mut looks) = (None, owner == self.node_id(), 0);
        while let Ok(pause) = self.setting_pause(looks, adopted.is_some()).await {
            let known = match looks {
                // What the store has needs no network.
                0 => self.known_setting(&key).await,
                _ => self.newest_setting(&key).await,
            };
            if let Ok(Some(reference)) = &known {
                self.adopt(reference, &mut adopted).await;
                let keep = ReferenceCommand::Keep { key: key.clone(), keep: true };
                kept = kept || self.command(SETTING_NAME, Command::Reference(keep)).await.is_ok();
            }
            looks += 1;
            tokio::select! {
                _ = self.ended() => return,
                () = tokio::time::sleep(if looks == 1 { Duration::ZERO } else { pause }) => {}
            }
        }
    }

    async fn setting_pause(&self, looks: u32, adopted: bool) -> Result<Duration, ApiError> {
        if !adopted && looks < FIRST_LOOKS {
            return Ok(LOOK_EVERY_AT_FIRST);
        }
        let nodes = self.dht_numbers().await?.0.and_then(|view| view.network_size).unwrap_or(0.0);
        // Not all at once: up to a quarter later, by ID.
        let phase = f64::from(self.node_id().0[0]) / 1_024.0;
        Ok(LOOK_EVERY.mul_f64((nodes / FEW).clamp(1.0, 60.0) + phase))
    }

    async fn known_setting(&self, key: &ReferenceKey) -> Result<Option<Reference>, ApiError> {
        let key = key.clone();
        self.query(move |agent| agent.known_reference(&key)).await
    }

    async fn newest_setting(&self, key: &ReferenceKey) -> Result<Option<Reference>, ApiError> {
        let found = self.newest_reference(SETTING_NAME, key.clone(), LOOK_MAX).await;
        Ok(found.ok().map(|found| found.reference))
    }

    /// A newer choice than the last takes effect.
    async fn adopt(&self, reference: &Reference, adopted: &mut Option<u64>) {
        let sequence = reference.record.sequence;
        if adopted.is_some_and(|last| sequence <= last) {
            return;
        }
        let value = reference.record.value_text();
        *adopted = Some(sequence);
        match Mode::from_setting(&value) {
            Some(mode) => {
                tracing::info!(%value, sequence, "the network's choice of a DHT mode");
                let _ = self.command(SETTING_NAME, Command::DhtMode(mode)).await;
            }
            None => {
                tracing::warn!(%value, "the network chose a DHT mode that this version has not")
            }
        }
    }
}
