//! The main door's allow-list: endpoint keys that trusted peers have proven to be theirs.
//!
//! Filled and emptied by the core only (`Admit`, `Expel`); bounded by the core's bound on links. A peer
//! may knock before the core's `Admit` has arrived: [`Admission::wait_for`] holds it a moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homing_base::{InstanceId, NodeId};
use tokio::sync::Notify;

/// Who may use the main door.
#[derive(Default)]
pub(super) struct Admission {
    admitted: Mutex<BTreeMap<InstanceId, NodeId>>,
    changed: Notify,
}

impl Admission {
    pub(super) fn admit(&self, endpoint: InstanceId, peer: NodeId) {
        self.table().insert(endpoint, peer);
        self.changed.notify_waiters();
    }

    pub(super) fn expel(&self, endpoint: InstanceId) {
        self.table().remove(&endpoint);
    }

    pub(super) fn holds(&self, endpoint: InstanceId) -> bool {
        self.table().contains_key(&endpoint)
    }

    pub(super) fn endpoints_of(&self, peer: NodeId) -> Vec<InstanceId> {
        self.table().iter().filter(|(_, p)| **p == peer).map(|(e, _)| *e).collect()
    }

    /// Whether `endpoint` is admitted now or within `grace`.
    pub(super) async fn wait_for(&self, endpoint: InstanceId, grace: Duration) -> bool {
        let admitted = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.holds(endpoint) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(grace, admitted).await.is_ok()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, NodeId>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_knock_just_before_the_admission_is_let_in() {
        let admission = std::sync::Arc::new(Admission::default());
        let endpoint = InstanceId([7; 32]);
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.wait_for(endpoint, Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        admission.admit(endpoint, NodeId([1; 32]));
        assert!(waiting.await.unwrap());
        admission.expel(endpoint);
        assert!(!admission.wait_for(endpoint, Duration::from_millis(5)).await);
    }
}
