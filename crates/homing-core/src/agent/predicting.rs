//! Port prediction: with whom it makes sense, over which link its words go. The machine: [`crate::ports`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use homing_base::{NodeId, Now};

use super::Agent;
use crate::io::{LinkId, Output, PortNews};
use crate::message::{Message, Network};
use crate::ports::wire::Word;
use crate::ports::{Pair, PortsOutput, Role};

impl Agent {
    pub(super) fn on_port_news(&mut self, now: Now, news: PortNews) {
        self.dirty = true;
        if let PortNews::Relayed { link, relayed } = news {
            if let Some(link) = self.links.link_mut(link) {
                link.relayed = relayed;
            }
            return;
        }
        self.ports.on_news(now.mono, news);
        self.pump_ports(now);
    }

    pub(super) fn on_port_word(&mut self, now: Now, id: LinkId, peer: NodeId, bytes: &[u8]) {
        let Ok(word) = Word::decode(bytes) else { return self.on_garbage(now, id) };
        self.tend_ports(now);
        if self.active() && self.trust.is_mutual(now, peer) {
            self.ports.on_word(now.mono, peer, word);
        }
        self.pump_ports(now);
    }

    pub(super) fn tend_ports(&mut self, now: Now) {
        let pairs = self.port_pairs(now);
        self.ports.tend(now.mono, pairs);
        self.pump_ports(now);
    }

    /// Trusted peers that stay relayed for the one reason that prediction helps against.
    fn port_pairs(&self, now: Now) -> BTreeMap<NodeId, Pair> {
        if !self.settings.port_prediction || !self.active() {
            return BTreeMap::new();
        }
        let Some(ours) = self.facts.as_ref().map(|facts| facts.network) else {
            return BTreeMap::new();
        };
        let told = self.candidates.iter().filter(|(_, door)| door.port_prediction);
        let pair = |(peer, door): (&NodeId, &super::MainDoor)| {
            let link = self.main_link(*peer).filter(|l| l.relayed && l.is_confirmed())?;
            let named = door.direct.iter().filter_map(|addr| match addr.ip() {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            });
            let pair = Pair {
                role: role(ours, door.network)?,
                since: link.proven?.at,
                endpoint: door.endpoint,
                dialled: link.dial.is_some(),
                named: named.collect(),
            };
            self.trust.is_mutual(now, *peer).then_some((*peer, pair))
        };
        told.filter_map(pair).collect()
    }

    pub(super) fn pump_ports(&mut self, now: Now) {
        while let Some(output) = self.ports.poll_output() {
            match output {
                PortsOutput::Order(order) => self.outputs.push_back(Output::Ports(order)),
                PortsOutput::Send(peer, word) => {
                    let link = self.main_link(peer).map(|link| link.id);
                    if let Some(link) = link.filter(|_| self.trust.is_mutual(now, peer)) {
                        self.send(link, Message::Port(word.encode()));
                    }
                }
            }
        }
        self.counters.ports = self.ports.counts();
    }
}

/// Which side is ours; `None`: prediction is not for these two networks.
fn role(ours: Network, theirs: Network) -> Option<Role> {
    let v4 = |network: Network| network.udp_v4 == Some(true);
    match (ours.mapping_varies?, theirs.mapping_varies?) {
        _ if !v4(ours) || !v4(theirs) => None,
        (false, true) => Some(Role::Easy),
        (true, false) => Some(Role::Hard),
        _ => None,
    }
}
