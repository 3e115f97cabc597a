//! `dht.decide`: the owner's agent chooses the network's mode by what it measures.
//!
//! Once a minute the core's estimates of size and session go to [`Advisor`], which says when a reason to change has
//! held long enough; the choice is then published as if the owner had typed it. What it says and why is there; how
//! a choice reaches everybody is in [`super::dht_setting`].

use std::time::Duration;

use homing_api::references::PublishReference;
use homing_core::dht::setting::{Advisor, Measured, SETTING_NAME};

use crate::node::Node;

/// Between two looks; oftener if less patience is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Node {
    /// Chooses until the agent ends, if the configuration says so.
    pub(crate) async fn decide_dht_mode(self) {
        let Some(patience) = self.shared.config.dht.decide_after else { return };
        let mut advisor = Advisor::new(patience);
        loop {
            tokio::select! {
                _ = self.ended() => return,
                () = tokio::time::sleep(LOOK_EVERY.min(patience / 2)) => {}
            }
            self.look_at_churn(&mut advisor).await;
        }
    }

    async fn look_at_churn(&self, advisor: &mut Advisor) {
        let Ok((Some(view), _)) = self.dht_numbers().await else { return };
        let now = self.shared.clock.mono();
        let (size, session) = (view.network_size, view.session);
        let measured = Measured { size, session, deaths: view.stats.evicted };
        let Some(mode) = advisor.observe(&measured, view.mode, now) else { return };
        let (value, session_s) = (mode.setting(), session.as_secs());
        tracing::info!(%value, size, session_s, "chooses the network's DHT mode");
        let name = SETTING_NAME.to_owned();
        let request =
            PublishReference { name, value, lifetime_s: None, ttl_s: None, keepers: None };
        if let Err(error) = self.publish_reference(request).await {
            tracing::warn!(%error, "the choice of a DHT mode was not published");
        }
    }
}
