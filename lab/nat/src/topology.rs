//! A small internet: one public network, routers behind routers, hosts behind any of them.
//!
//! ```text
//! public 198.18.0.0/16 ──┬── host                          public
//!                        ├── router ── 192.168.R.0/24 ── host       home NAT
//!                        └── router ── 100.64.R.0/24 ── router ── 192.168.S.0/24 ── host   CGNAT
//! ```
//! A [`Segment`] is a bridge in the namespace of whoever routes it; attaching means a veth into that bridge.
//! Every host has a default route (without one iroh waits 5 s at each network change); IPv6: [`crate::ipv6`].
//! Addresses are never given twice in one lab, so that no neighbour cache lies.
//! Not here: what a NAT does ([`crate::nat`]), what runs on a host ([`crate::agent`]).

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use crate::exec;
use crate::namespace::Namespace;
use crate::nat::Nat;

/// Where a host of the matrix stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the public network.
    Public,
    /// Behind one router.
    Behind(Nat),
    /// Behind a port-restricted home router behind a carrier's router of this flavour.
    Carrier(Nat),
}

/// Everything of one scenario. Dropping it (also while unwinding) removes every namespace.
#[derive(Debug)]
pub struct Lab {
    public: Segment,
    names: Rc<Cell<u32>>,
}

/// One IP network: a bridge, a gateway address, and hosts 10, 11, … in it.
#[derive(Clone, Debug)]
pub struct Segment {
    namespace: Namespace,
    bridge: &'static str,
    network: [u8; 2],
    third: u8,
    prefix_len: u8,
    next_host: Rc<Cell<u32>>,
    names: Rc<Cell<u32>>,
}

/// A NAT router: `wan` in its parent segment, `lan` its own.
#[derive(Debug)]
pub struct Router {
    uplink: Attachment,
    lan: Segment,
}

/// A machine with one interface.
#[derive(Debug)]
pub struct Host {
    uplink: Attachment,
}

/// One end of a cable, and where the other end is plugged in.
#[derive(Debug)]
struct Attachment {
    namespace: Namespace,
    device: &'static str,
    address: Ipv4Addr,
    segment: Segment,
    port: String,
}

impl Lab {
    /// An empty public network.
    ///
    /// # Errors
    /// When namespaces cannot be made.
    pub fn new() -> Result<Self> {
        let names = Rc::new(Cell::new(0));
        let namespace = Namespace::create(&label(&names, "inet"))?;
        let public = Segment::create(namespace, "public", [198, 18], 0, 16, &names)?;
        Ok(Self { public, names })
    }

    /// The public network.
    #[must_use]
    pub fn public(&self) -> &Segment {
        &self.public
    }

    /// A router in `parent`.
    ///
    /// # Errors
    /// When `ip` or `nft` refuses.
    pub fn router(&self, nat: Nat, parent: &Segment) -> Result<Router> {
        self.router_with(nat, parent, [192, 168], self.fresh_network())
    }

    /// A router whose inside is 192.168.1.0/24, as a million others: the first host is 192.168.1.10 in
    /// each of them.
    ///
    /// # Errors
    /// When `ip` or `nft` refuses.
    pub fn common_router(&self, nat: Nat) -> Result<Router> {
        self.router_with(nat, &self.public, [192, 168], 1)
    }

    /// A carrier's router on the public network; its inside is shared address space.
    ///
    /// # Errors
    /// When `ip` or `nft` refuses.
    pub fn carrier(&self, nat: Nat) -> Result<Router> {
        self.router_with(nat, &self.public, [100, 64], self.fresh_network())
    }

    /// A number for an inside network that no other one has.
    fn fresh_network(&self) -> u8 {
        2 + u8::try_from(self.names.get() % 250).expect("below 250")
    }

    fn router_with(
        &self,
        nat: Nat,
        parent: &Segment,
        inside: [u8; 2],
        third: u8,
    ) -> Result<Router> {
        let namespace = Namespace::create(&label(&self.names, &nat.to_string()))?;
        let uplink = Attachment::plug(namespace.clone(), "wan", parent)?;
        let lan = Segment::create(namespace.clone(), "lan", inside, third, 24, &self.names)?;
        namespace.nft(&nat.rules())?;
        Ok(Router { uplink, lan })
    }

    /// A machine in `segment`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn host(&self, segment: &Segment) -> Result<Host> {
        let namespace = Namespace::create(&label(&self.names, "host"))?;
        Ok(Host { uplink: Attachment::plug(namespace, "eth0", segment)? })
    }

    /// A machine at a place, with the routers it needs (nearest first).
    ///
    /// # Errors
    /// When `ip` or `nft` refuses.
    pub fn host_at(&self, place: Place) -> Result<(Host, Vec<Router>)> {
        let routers = match place {
            Place::Public => vec![],
            Place::Behind(nat) => vec![self.router(nat, &self.public)?],
            Place::Carrier(nat) => {
                let carrier = self.carrier(nat)?;
                vec![self.router(Nat::PortRestricted, carrier.lan())?, carrier]
            }
        };
        let segment = routers.first().map_or(&self.public, Router::lan);
        Ok((self.host(segment)?, routers))
    }
}

impl Segment {
    fn create(
        namespace: Namespace,
        bridge: &'static str,
        network: [u8; 2],
        third: u8,
        prefix_len: u8,
        names: &Rc<Cell<u32>>,
    ) -> Result<Self> {
        let next_host = Rc::new(Cell::new(10));
        let names = Rc::clone(names);
        let segment = Self { namespace, bridge, network, third, prefix_len, next_host, names };
        segment.namespace.ip(&format!(
            "link add {bridge} type bridge mcast_snooping 0\n\
             address add {}/{prefix_len} dev {bridge}\nlink set {bridge} up",
            segment.gateway()
        ))?;
        Ok(segment)
    }

    /// Where its router is.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The router's address in it.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        let [a, b] = self.network;
        Ipv4Addr::new(a, b, self.third, 1)
    }

    /// An address nobody had before.
    fn fresh_address(&self) -> Ipv4Addr {
        let host = self.next_host.get();
        self.next_host.set(host + 1);
        let [a, b] = self.network;
        Ipv4Addr::new(a, b, self.third, u8::try_from(host).expect("at most 245 hosts per segment"))
    }
}

impl Attachment {
    fn plug(namespace: Namespace, device: &'static str, segment: &Segment) -> Result<Self> {
        let address = segment.fresh_address();
        let port = label(&segment.names, "port");
        let attachment = Self { namespace, device, address, segment: segment.clone(), port };
        attachment.wire()?;
        Ok(attachment)
    }

    /// Makes the cable and configures both ends.
    fn wire(&self) -> Result<()> {
        let Self { namespace, device, address, segment, port } = self;
        let (inside, outside) = (namespace.name(), segment.namespace.name());
        let mut link = Command::new("ip");
        link.args(["link", "add", device, "netns", inside, "type", "veth"]);
        link.args(["peer", "name", port, "netns", outside]);
        exec::must(link, "")?;
        let (bridge, len, gateway) = (segment.bridge, segment.prefix_len, segment.gateway());
        segment.namespace.ip(&format!("link set {port} master {bridge}\nlink set {port} up"))?;
        namespace.ip(&format!(
            "link set {device} up\naddress add {address}/{len} dev {device}\n\
             route replace default via {gateway} dev {device}"
        ))
    }

    /// Another address in the same network, as a renewed lease gives it.
    fn readdress(&mut self) -> Result<()> {
        let (device, len) = (self.device, self.segment.prefix_len);
        let (old, new) = (self.address, self.segment.fresh_address());
        self.address = new;
        self.namespace.ip(&format!(
            "address delete {old}/{len} dev {device}\naddress add {new}/{len} dev {device}\n\
             route replace default via {} dev {device}",
            self.segment.gateway()
        ))
    }
}

impl Router {
    /// The network inside.
    #[must_use]
    pub fn lan(&self) -> &Segment {
        &self.lan
    }

    /// The address outside.
    #[must_use]
    pub fn wan(&self) -> Ipv4Addr {
        self.uplink.address
    }

    /// Takes another outside address; the kernel forgets the mappings of the old one. The next packet of
    /// every flow is seen from somewhere else, and nobody inside is told.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn rebind(&mut self) -> Result<()> {
        self.uplink.readdress()
    }
}

impl Host {
    /// The namespace to run programs in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.uplink.namespace
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.uplink.address
    }

    /// A second address on the same interface.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn extra_address(&self) -> Result<Ipv4Addr> {
        let extra = self.uplink.segment.fresh_address();
        let (device, len) = (self.uplink.device, self.uplink.segment.prefix_len);
        self.namespace().ip(&format!("address add {extra}/{len} dev {device}"))?;
        Ok(extra)
    }

    /// Replaces its address by another one of the same network.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn readdress(&mut self) -> Result<()> {
        self.uplink.readdress()
    }

    /// Unplugs it and plugs it in elsewhere: the machine keeps running, its network is another.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn move_to(&mut self, segment: &Segment) -> Result<()> {
        self.namespace().ip(&format!("link delete {}", self.uplink.device))?;
        self.uplink = Attachment::plug(self.namespace().clone(), self.uplink.device, segment)?;
        Ok(())
    }

    /// Pulls the cable at the far end (`false`) or puts it back: addresses and routes stay.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn cable(&self, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        let Attachment { segment, port, .. } = &self.uplink;
        segment.namespace.ip(&format!("link set {port} {state}"))
    }
}

/// A name unique in this lab, at most 15 bytes when the kind is short.
fn label(names: &Rc<Cell<u32>>, kind: &str) -> String {
    names.set(names.get() + 1);
    format!("{kind}{}", names.get())
}
