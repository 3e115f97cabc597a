//! What the node whose role this registry is tells it and asks of it, without HTTP in between.
//!
//! Records that the node publishes or hears become entities like registered ones; nothing is spread again, the node
//! has done that. A record's card is fetched when a new one is named, a few at a time; who cannot be reached now is
//! asked again when the next record comes or somebody asks for the card.

use homing_api::ApiError;
use homing_base::Record;

use super::problem::Problem;
use super::search::SearchBody;
use super::{Registry, card, clock, describe, federation};
use crate::entity::Source;
use crate::storage::{Put, Registration};

/// Records indexed in one transaction.
const BATCH: usize = 512;

impl Registry {
    /// Lists a verified record that the node published (`registered`) or heard.
    pub async fn hear(&self, record: Record, source: Source) {
        let app = &self.shared;
        let (now, id) = (clock::now(), record.node_id());
        if record.check_lifetime(now).is_err() {
            return;
        }
        // A card that is known goes on being known while the record names it.
        let known = app.storage.entity(&id).await.ok().flatten().and_then(|entity| entity.card);
        let named = record.card.as_ref().map(|named| named.sha256);
        let card = known.filter(|card| Some(card.sha256) == named);
        let listing = describe::listing(now, &record, card.as_ref().map(|c| c.bytes.as_slice()));
        let wanted = named.is_some() && card.is_none() && !record.is_withdrawn();
        let registration = Registration { record: record.clone(), listing, card, source };
        match app.storage.put(now, registration).await {
            Ok(Put::Created | Put::Updated) => {
                app.flights.forget_misses(&record);
                app.changed(&id, record.name.as_ref());
            }
            Ok(_) => {}
            Err(error) => return tracing::warn!(%error, "a heard record is not listed"),
        }
        if wanted {
            self.bring_card(record);
        }
    }

    fn bring_card(&self, record: Record) {
        let app = self.shared.clone();
        tokio::spawn(async move {
            if let Err(problem) = card::bring(&app, &record).await {
                let who = record.node_id().fmt_short();
                tracing::debug!(%who, ?problem, "a card is not here yet");
            }
        });
    }

    /// Lists many verified records at once, without their cards.
    pub async fn index(&self, records: Vec<Record>) {
        let now = clock::now();
        let mut records = records.into_iter().filter(|r| r.check_lifetime(now).is_ok()).peekable();
        while records.peek().is_some() {
            let listed = records.by_ref().take(BATCH).map(|record| {
                let listing = describe::listing(now, &record, None);
                Registration { record, listing, card: None, source: Source::Gossip }
            });
            if let Err(error) = self.shared.storage.put_many(now, listed.collect()).await {
                return tracing::warn!(%error, "records are not listed");
            }
        }
    }

    /// `POST /v1/search` for the node's own user: the body and the answer are those of the route.
    ///
    /// # Errors
    /// As the route's, with the same codes.
    pub async fn search(&self, body: serde_json::Value) -> Result<serde_json::Value, ApiError> {
        let body: SearchBody = serde_json::from_value(body)
            .map_err(|e| Problem::usage("the search cannot be read").why(e.to_string()))?;
        let found = federation::search(&self.shared, &body).await.map_err(|problem| *problem)?;
        Ok(serde_json::to_value(&found).expect("plain values serialise"))
    }
}
