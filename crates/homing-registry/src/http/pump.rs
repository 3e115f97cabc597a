//! Follows the storage: tells answers and event streams of changes, also of those that other registries over the same
//! database made, and has the storage drop what has expired.

use std::sync::Weak;
use std::time::Duration;

use super::{Shared, clock};

/// Changes read at once.
const BATCH: u32 = 512;
/// How often expired entities are swept.
const SWEEP: Duration = Duration::from_secs(30);

/// Runs until the registry is gone.
pub(super) async fn follow(registry: Weak<Shared>) {
    let mut position = None;
    let mut swept = clock::mono();
    loop {
        let (poll, woken) = {
            let Some(app) = registry.upgrade() else { return };
            catch_up(&app, &mut position).await;
            if clock::mono().since(swept) >= SWEEP {
                swept = clock::mono();
                sweep(&app).await;
            }
            (app.settings.poll, app.events.woken())
        };
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = woken.notified() => {}
        }
    }
}

async fn catch_up(app: &Shared, position: &mut Option<u64>) {
    let Some(mut at) = *position else {
        if let Ok(totals) = app.storage.totals(clock::now()).await {
            app.events.begin(totals.changes);
            *position = Some(totals.changes);
        }
        return;
    };
    loop {
        let changes = match app.storage.changes(at, BATCH).await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(%error, "changes cannot be read");
                return;
            }
        };
        if changes.is_empty() {
            return;
        }
        for change in &changes {
            app.answers.forget(&change.node_id, change.name.as_ref());
            at = change.number;
        }
        *position = Some(at);
        app.events.push(changes);
    }
}

async fn sweep(app: &Shared) {
    match app.storage.sweep(clock::now()).await {
        Ok(swept) if swept.expired + swept.tombstones > 0 => {
            tracing::debug!(
                "swept {} expired entities, {} tombstones",
                swept.expired,
                swept.tombstones
            );
            app.events.wake();
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "expired entities cannot be swept"),
    }
}
