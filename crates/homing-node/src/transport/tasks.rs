//! The tasks of one transport, so that none outlives it.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

/// A set of tasks that is aborted as a whole.
#[derive(Default)]
pub(super) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Runs `task` until it ends or the set stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.spawn(task);
    }

    /// Aborts them all, and waits until what they held is gone.
    pub(super) async fn stop(&self) {
        let mut set = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        set.shutdown().await;
    }
}
