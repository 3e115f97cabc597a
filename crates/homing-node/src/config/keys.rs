//! Every key: its name, kind, default and meaning. The one list that everything else reads.

use super::layers::Value;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number, not negative.
    Number,
    /// A list of strings; separated by commas in the environment and on the command line.
    List,
}

/// One thing that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, as in `relay.listen`.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// In text form; empty: not set.
    pub default: &'static str,
    /// One line: what it is, and what it expects.
    pub about: &'static str,
}

macro_rules! keys {
    ($($name:literal $kind:ident $default:literal $about:literal;)*) => {
        /// All keys, in the order in which `homing config list` shows them.
        pub const KEYS: &[Key] =
            &[$(Key { name: $name, kind: Kind::$kind, default: $default, about: $about }),*];
    };
}

keys! {
    "name" Text "" "the name to claim: a DNS label such as my-agent";
    "listen" Text "" "UDP address such as 0.0.0.0:41641; unset: any free port";
    "relays" List "" "relays as `homing relay serve` prints them, https://HOST:PORT/#sha256=…";
    "peers" List "" "peers to join through: tickets or ADDRESS@HOST:PORT";
    "publish_addresses" Bool "false" "publish direct addresses to everybody";
    "services" List "" "services to advertise, such as mcp or 8080";
    "transport.congestion" Text "auto" "how fast to send: auto (by distance), bbr3, cubic or newreno";
    "transport.port_prediction" Bool "true" "against symmetric NATs: guess ports, with trusted peers that do so, too";
    "record_lifetime" Text "24h" "life of the published record, 1m to 24h";
    "log.level" Text "info" "error, warn, info, debug, trace, or directives";
    "relay.enabled" Bool "false" "carry packets for others";
    "relay.listen" Text "[::]:3340" "TCP address of the relay";
    "relay.quic_port" Number "7842" "UDP port of QUIC address discovery, the next one too; 0: any free pair";
    "relay.cert" Text "" "PEM certificate chain; unset: a self-made one";
    "relay.key" Text "" "PEM private key of relay.cert";
    "relay.hostname" Text "" "host name or IP that others reach the relay by";
    "relay.access" Text "open" "open, or allow: only the node IDs of relay.allow";
    "relay.allow" List "" "node IDs that may use the relay";
    "relay.rate_limit_bytes_per_second" Number "0" "per client; 0: no limit";
    "dht.enabled" Bool "true" "take part in the distributed hash table";
    "dht.mode" Text "kademlia" "kademlia; cluster: everybody of a neighbourhood knows everybody; auto: as the network chose";
    "dht.network_key" Text "" "whose choice dht.mode = auto follows: the node ID that signs it";
    "dht.decide" Bool "false" "on the agent of dht.network_key: choose the mode by the size and churn that it measures";
    "dht.decide_after_seconds" Number "600" "a reason to change the mode must hold so long, 10 to 86400";
    "dht.cluster_size" Number "64" "members above which a cluster splits, 8 to 256";
    "dht.server" Text "auto" "serve others: auto (when publicly reachable), always, never";
    "dht.k" Number "20" "replicas of a record and size of a bucket, 2 to 40";
    "dht.alpha" Number "3" "requests in flight per lookup, 1 to 10";
    "dht.republish_interval_seconds" Number "3600" "the own record is stored anew this often, 60 or more";
    "dht.expiry_seconds" Number "86400" "the longest that others' records are kept, at most 86400";
    "audit.enabled" Bool "true" "keep an audit log in the home";
    "audit.bytes_max" Number "1073741824" "the most that the audit log may take on disk, in bytes";
    "audit.anchor.kind" Text "" "anchor the audit log outside: evm or rfc3161; unset: nowhere";
    "audit.anchor.url" Text "" "JSON-RPC endpoint of a chain node, or URL of a time-stamp authority";
    "audit.anchor.contract" Text "" "address of the anchor contract: 0x and 40 hexadecimal digits";
    "audit.anchor.chain_id" Number "0" "id of the chain, such as 11155111; the node must be of it";
    "audit.anchor.key_file" Text "" "file with the account's private key, mode 0600";
    "audit.anchor.keystore" Text "" "instead of key_file: Web3 keystore of the account, mode 0600";
    "audit.anchor.passphrase_file" Text "" "file with the keystore's passphrase, mode 0600";
    "audit.anchor.mode" Text "checkpoint" "checkpoint: the newest; update: every update of a reference";
    "audit.anchor.batch" Number "1" "updates in one transaction, 1 to 1000; together they cost a fifth each";
    "audit.anchor.interval" Text "10m" "least time between two anchors, 1s or more";
    "audit.anchor.max_fee_gwei" Number "50" "the most that is paid per gas, in gwei";
    "audit.anchor.max_gas" Number "16000000" "the most gas of one transaction";
    "audit.anchor.confirmations" Number "0" "blocks on top before an anchor counts; 0: what the chain calls final";
    "audit.anchor.start_block" Number "0" "block of the contract's creation: a search for lost anchors begins there";
    "audit.anchor.ca_file" Text "" "PEM certificates of the time-stamp authority or its issuers";
    "gossip.enabled" Bool "true" "tell and hear records through trusted peers and public neighbours";
    "gateway.enabled" Bool "true" "serve programs on this machine: paths, HTTP proxy and SOCKS5 on one loopback port";
    "gateway.listen" Text "" "loopback TCP address; unset: 127.0.0.1:7420, or any free port when that one is taken";
    "gateway.mesh_only" Bool "false" "reach only agents through the gateway's proxies, no other hosts";
    "dns.listen" Text "" "answer DNS for NAME.agent.internal at this UDP and TCP address, such as 127.0.0.1:5354; unset: not";
    "dns.scope" Text "trusted" "whose names DNS answers: trusted (this agent and trusted peers), or all";
    "tun.enabled" Bool "false" "a network interface on which trusted peers' addresses are reachable; needs CAP_NET_ADMIN";
    "tun.name" Text "homing0" "name of that interface";
    "tun.mtu" Number "1280" "largest packet of that interface in bytes, 1280 to 1500";
    "messages.file_bytes_max" Number "1073741824" "the largest file that is fetched when a peer sends one";
    "messages.unasked_bytes_max" Number "16777216" "a larger file waits at its sender until somebody here runs homing recv";
    "references.lifetime" Text "7d" "how long a published reference is valid without a renewal, 30s to 366d";
    "references.keep" List "" "references of others to keep alive, such as agent-b/planner/checkpoint or k51…";
    "references.keep_for_trusted" Bool "true" "keep alive what trusted peers ask this agent to keep";
    "content.serve" Bool "true" "serve kept content to peers that are trusted for it";
    "content.max_bytes" Number "10737418240" "bytes of content that are kept and served, published or fetched";
    "registry.enabled" Bool "false" "serve an HTTP registry of agents";
    "registry.listen" Text "127.0.0.1:7400" "TCP address of the registry";
    "registry.database" Text "" "postgres://USER@HOST/DATABASE; unset: SQLite in the home";
    "registry.public_url" Text "" "where programs reach the registry; unset: http:// and where it listens";
    "registry.title" Text "Homing registry" "what the registry is called in catalogues";
    "registry.peers" List "" "URLs of other registries to ask in searches";
    "registry.cors_origins" List "" "origins whose pages may read the registry's answers";
    "registry.allowed_hosts" List "" "hosts that requests may name besides localhost, addresses and the public URL's";
    "registry.trusted_proxies" List "" "addresses or ranges of proxies whose X-Forwarded-For is believed";
    "registry.rate_per_second" Number "100" "requests per socket address; 0: no limit";
    "registry.card_networks" List "" "private networks that agent cards may be fetched from, such as 10.0.0.0/8";
    "trust.lifetime" Text "" "default life of handshakes and approvals, such as 30d; unset: until revoked";
}

impl Key {
    /// The key called `name`.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key that somebody who wrote `name` probably meant.
    #[must_use]
    pub fn nearest(name: &str) -> Option<&'static str> {
        let last = name.rsplit('.').next().unwrap_or(name);
        let candidates = KEYS.iter().map(|key| {
            let own_last = key.name.rsplit('.').next().unwrap_or(key.name);
            let whole = distance(name, key.name);
            (whole.min(distance(last, own_last) + 1), whole, key.name)
        });
        let (distance, _, nearest) = candidates.min()?;
        (distance <= 1 + name.len() / 4).then_some(nearest)
    }

    /// The environment variable that sets it: `HOMING_RELAY_LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("HOMING_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// The default as a value; `None`: not set.
    #[must_use]
    pub fn default_value(&self) -> Option<Value> {
        match self.default {
            "" if self.kind == Kind::List => Some(Value::List(Vec::new())),
            "" => None,
            text => Some(self.parse(text).expect("the defaults have the right kind")),
        }
    }

    /// Reads a text from the environment or the command line.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Value> {
        match self.kind {
            Kind::Text => Some(Value::Text(text.to_owned())),
            Kind::Bool => match text {
                "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
                "false" | "0" | "no" | "off" => Some(Value::Bool(false)),
                _ => None,
            },
            Kind::Number => text.parse().ok().map(Value::Number),
            Kind::List => {
                let parts = text.split([',', ' ', '\n']).map(str::trim).filter(|p| !p.is_empty());
                Some(Value::List(parts.map(str::to_owned).collect()))
            }
        }
    }
}

impl Kind {
    /// For error messages.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Bool => "true or false",
            Kind::Number => "a whole number, 0 or more",
            Kind::List => "a list of strings",
        }
    }
}

/// The one of `names` that somebody who wrote `text` probably meant.
pub(crate) fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let (distance, nearest) = names.map(|name| (distance(text, name), name)).min()?;
    (distance < text.len() && distance <= 1 + text.len() / 4).then_some(nearest)
}

/// Levenshtein distance: insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
