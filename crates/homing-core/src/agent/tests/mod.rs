//! Agents that talk to each other, in sentences.

mod cards;
mod finding;
mod gossiping;
mod handshakes;
mod instances;
mod links;
mod lookups;
mod predicting;
mod world;
