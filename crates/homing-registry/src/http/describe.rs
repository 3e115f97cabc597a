//! What the routes need of agent cards: whether bytes are one, what it says, whose signatures it has, where it is.

use std::sync::Arc;

use homing_base::{Now, Record};

use super::Shared;
use crate::cards::signature::{self, Keys};
use crate::cards::{Card, FetchError};
use crate::entity::StoredCard;
use crate::listing::Listing;
use crate::proof::OwnerProof;

/// A card, with its digest.
pub(super) fn stored(bytes: Vec<u8>, now: Now) -> StoredCard {
    use sha2::Digest;
    StoredCard { sha256: sha2::Sha256::digest(&bytes).into(), bytes, fetched: now.wall }
}

/// The words for the search. An owner is among them only if its proof verifies now.
pub(super) fn listing(now: Now, record: &Record, card: Option<&[u8]>) -> Listing {
    let parsed = card.and_then(|bytes| Card::parse(bytes).ok());
    let mut listing = Listing::of(record, parsed.as_ref());
    let owner = card.and_then(|bytes| vouched(now, record, bytes));
    listing.owner = owner.map(|(proof, _)| proof.owner.node_id().to_string());
    listing
}

/// The owner's proof in a card, and its bytes, if it verifies now for this record's agent and name.
pub(super) fn vouched(now: Now, record: &Record, card: &[u8]) -> Option<(OwnerProof, Vec<u8>)> {
    let bytes = owner_proof(card)?;
    let proof = OwnerProof::verify(&bytes, &record.node_id(), now).ok()?;
    let fits = match (&proof.name, &record.name) {
        (Some(vouched), Some(claimed)) => vouched == claimed,
        _ => true,
    };
    fits.then_some((proof, bytes))
}

/// The proof by which an owner vouches for the agent, as the card carries it.
fn owner_proof(card: &[u8]) -> Option<Vec<u8>> {
    let card = Card::parse(card).ok()?;
    let text = card.owner_proof()?.trim_end_matches('=');
    data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// What became of the card's own signatures, in one word.
pub(super) async fn signature(app: &Shared, record: &Record, bytes: &[u8]) -> &'static str {
    let Ok(card) = Card::parse(bytes) else { return "invalid" };
    let url = record.card.as_ref().map(|c| c.url.as_str());
    let identity = Keys::of_identity(record.public_key);
    let keys = app.cards.keys_of(&card, url, identity).await;
    signature::check(&card, &keys).word()
}

/// The card that the record names, from where it names it; its digest was checked.
pub(super) async fn fetch(app: &Shared, record: &Record) -> Result<Vec<u8>, FetchError> {
    let network = Some(Arc::clone(&app.network));
    app.cards.card_of(record, network).await.map(|fetched| fetched.bytes.to_vec())
}
