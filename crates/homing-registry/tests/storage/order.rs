//! Records of one identity may come in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use homing_base::{NodeId, Record};
use homing_registry::storage::{Registration, Storage};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::fixtures::{HOUR, at, draft};

const ROUNDS: u32 = 24;

/// One word of identity 0–3: which of few sequences, which bytes, a tombstone or not.
fn words() -> impl Strategy<Value = Vec<(u32, u64, u8, bool)>> {
    prop::collection::vec((0..4u32, 0..4u64, 0..3u8, prop::bool::weighted(0.2)), 1..24)
}

fn registration(first: u32, (n, sequence, variant, gone): (u32, u64, u8, bool)) -> Registration {
    let mut draft = draft(first + n, sequence).varied(variant);
    if gone {
        draft = draft.withdrawn().lives(HOUR);
    }
    draft.done()
}

/// The set as it was drawn and shuffled, by other identities: each time what the rule alone says.
pub(crate) async fn any_order_ends_in_the_same_state(store: Arc<dyn Storage>) {
    let seed: [u8; 32] = std::array::from_fn(|n| n as u8 ^ std::process::id().to_le_bytes()[n % 4]);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for round in 0..ROUNDS {
        let set = words().new_tree(&mut runner).unwrap().current();
        let shuffled = Just(set.clone()).prop_shuffle().new_tree(&mut runner).unwrap().current();
        for (lane, order) in [set, shuffled].into_iter().enumerate() {
            let first = round * 10 + lane as u32 * 5;
            let said = format!("seed {seed:?}, round {round}: {order:?}");
            for (id, wanted) in put_all(&store, first, order).await {
                let kept = store.entity(&id).await.unwrap().map(|e| e.record);
                assert_eq!(kept, Some(wanted), "{said}");
            }
        }
    }
}

/// Puts them in this order; the winners by the rule itself.
async fn put_all(
    store: &Arc<dyn Storage>,
    first: u32,
    order: Vec<(u32, u64, u8, bool)>,
) -> BTreeMap<NodeId, Record> {
    let mut best = BTreeMap::<NodeId, Record>::new();
    for word in order {
        let registration = registration(first, word);
        let record = registration.record.clone();
        let now = best.entry(record.node_id()).or_insert_with(|| record.clone());
        if record.precedence(now).is_gt() {
            *now = record;
        }
        store.put(at(10), registration).await.unwrap();
    }
    best
}
