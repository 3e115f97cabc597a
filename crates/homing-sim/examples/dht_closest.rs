//! How long the closest 20 of a table take: `cargo run --release -p homing-sim --example dht_closest`.

#![allow(clippy::print_stdout, reason = "a face")]

use std::hint::black_box;
use std::time::Instant;

use homing_base::{Mono, NodeId};
use homing_core::dht::Contact;
use homing_core::dht::table::Table;
use homing_sim::dht::value::SimPlace;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

fn random(chance: &mut ChaCha8Rng) -> NodeId {
    let mut id = NodeId([0; 32]);
    chance.fill_bytes(&mut id.0);
    id
}

fn main() {
    let mut chance = ChaCha8Rng::from_seed([5; 32]);
    for k in [20, 5_000] {
        let mut table = Table::new(random(&mut chance), k, false);
        for handle in 0..5_000 {
            let contact = Contact { id: random(&mut chance), place: SimPlace { handle, group: 0 } };
            table.admit(&contact, Mono(1));
        }
        let targets: Vec<_> = (0..1_000).map(|_| random(&mut chance)).collect();
        let mut fastest = f64::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for target in &targets {
                black_box(table.closest(target, 20, None));
            }
            fastest = fastest.min(start.elapsed().as_secs_f64() * 1e9 / targets.len() as f64);
        }
        println!("closest 20 of {} contacts (5000 offered): {fastest:.0} ns", table.len());
    }
}
