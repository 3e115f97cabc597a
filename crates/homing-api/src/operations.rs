//! The operations of the local API: one list, from which the client, the server's router test,
//! `homing schema` and `homing api` derive.

use serde::Serialize;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// With `{parameters}` in braces.
    pub path: &'static str,
    /// Query parameters; those in brackets may be left out.
    pub query: &'static [&'static str],
    /// What it does.
    pub summary: &'static str,
    /// The type of the request body; `None`: no body.
    pub request: Option<&'static str>,
    /// The schema or media of the response.
    pub response: &'static str,
    /// How the response comes.
    pub kind: Kind,
}

/// How a response comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One JSON object.
    Json,
    /// Plain text.
    Text,
    /// Server-Sent Events.
    Events,
    /// A raw byte stream after `Upgrade`.
    Upgrade,
}

macro_rules! operations {
    ($($name:ident $method:literal $path:literal $query:expr, $request:expr, $response:literal $kind:ident $summary:literal;)+) => {
        $(
            #[doc = concat!("`", $method, " ", $path, "`: ", $summary)]
            pub const $name: &str = $path;
        )+

        /// Every operation.
        pub const OPERATIONS: &[Operation] = &[$(Operation {
            method: $method, path: $path, query: &$query, summary: $summary,
            request: $request, response: $response, kind: Kind::$kind,
        },)+];
    };
}

operations! {
    VERSION   "GET"  "/v1/version"      [], None, "homing.version/v1" Json "Program and API version";
    INFO      "GET"  "/v1/info"         [], None, "homing.info/v1" Json "Who and where this agent is";
    STATUS    "GET"  "/v1/status"       ["[peer]"], None, "homing.status/v1" Json "The peers of this agent";
    PING      "POST" "/v1/ping"         [], Some("PingRequest"), "homing.pong/v1" Json "One round trip to a trusted peer";
    HANDSHAKE "POST" "/v1/handshake"    [], Some("HandshakeRequest"), "homing.trust_change/v1" Json "Ask a peer for trust and give ours";
    PENDING   "GET"  "/v1/pending"      [], None, "homing.pending/v1" Json "Requests that wait for a decision";
    APPROVE   "POST" "/v1/approve"      [], Some("ApproveRequest"), "homing.trust_change/v1" Json "Say yes to a request";
    REJECT    "POST" "/v1/reject"       [], Some("PeerRequest"), "homing.trust_change/v1" Json "Say no to a request";
    TRUST     "GET"  "/v1/trust"        [], None, "homing.trust/v1" Json "Where trust stands with everybody";
    TRUST_ONE "GET"  "/v1/trust/{peer}" [], None, "homing.trust_entry/v1" Json "Where trust stands with one peer";
    REVOKE    "POST" "/v1/trust/revoke" [], Some("PeerRequest"), "homing.trust_change/v1" Json "Take trust back and close its streams";
    RESOLVE   "POST" "/v1/resolve"      [], Some("ResolveRequest"), "homing.resolution/v1" Json "The current, proven record of an agent";
    FIND      "POST" "/v1/find"         [], Some("FindRequest"), "homing.found/v1" Json "Agents by what they do, here and at registries";
    CONNECT   "POST" "/v1/connect"      ["peer", "service", "[timeout_ms]"], None, "raw bytes" Upgrade "A stream to a service of a trusted peer";
    LISTEN    "POST" "/v1/listen"       [], Some("ListenRequest"), "homing.incoming_stream/v1" Events "Expose a service; streams arrive as events";
    STREAM_TAKE "POST" "/v1/streams/{id}" [], None, "raw bytes" Upgrade "Carry one accepted stream";
    STREAM    "GET"  "/v1/streams/{id}" [], None, "homing.stream/v1" Json "What became of a stream";
    STREAM_ABORT "POST" "/v1/streams/{id}/abort" [], None, "homing.done/v1" Json "End a stream so that the peer sees a break, not an end";
    EXPOSE    "POST" "/v1/services"     [], Some("ExposeRequest"), "homing.exposed/v1" Json "Put a program behind this agent's address";
    SERVICES  "GET"  "/v1/services"     [], None, "homing.services/v1" Json "What is exposed";
    UNEXPOSE  "POST" "/v1/services/rm"  [], Some("UnexposeRequest"), "homing.done/v1" Json "Expose a service no longer, and end its streams";
    EXPOSE_HELD "POST" "/v1/services/held" [], Some("ExposeRequest"), "homing.exposed/v1" Events "Expose as long as the response is read";
    PEERS     "POST" "/v1/peers"        [], Some("AddPeerRequest"), "homing.done/v1" Json "Join through one more peer";
    MESSAGES  "POST" "/v1/messages"     [], Some("SendRequest"), "homing.sent/v1" Json "Send a message to a trusted peer; it is kept until it is delivered";
    OUTBOX    "GET"  "/v1/outbox"       [], None, "homing.outbox/v1" Json "Messages that are not delivered yet";
    OUTBOX_ONE "GET" "/v1/outbox/{id}"  [], None, "homing.outbox_message/v1" Json "What became of a message";
    OUTBOX_CANCEL "POST" "/v1/outbox/{id}/cancel" [], None, "homing.done/v1" Json "Take a message back that was not delivered";
    INBOX     "GET"  "/v1/inbox"        ["[from]"], None, "homing.inbox/v1" Json "Messages that nobody has acknowledged";
    INBOX_EVENTS "GET" "/v1/inbox/events" ["[from]"], None, "homing.message/v1" Events "Those, and what arrives";
    INBOX_ACK "POST" "/v1/inbox/ack"    [], Some("AckRequest"), "homing.done/v1" Json "Messages that were read leave the inbox";
    TOPICS    "GET"  "/v1/topics"       [], None, "homing.topics/v1" Json "Own subscriptions, and others' to own topics";
    TOPIC_EVENTS "GET" "/v1/topics/events" ["topic", "[from]"], None, "homing.message/v1" Events "Events of a topic, subscribed as long as this is read";
    TOPIC_PUBLISH "POST" "/v1/topics/publish" [], Some("PublishRequest"), "homing.published/v1" Json "Tell everybody who subscribed to a topic";
    TOPIC_KEEP "POST" "/v1/topics/keep" [], Some("KeepRequest"), "homing.done/v1" Json "Hear of a topic also while away, or no more";
    CONTENT   "GET"  "/v1/content"      [], None, "homing.content/v1" Json "Files kept under their CID";
    CONTENT_ADD "POST" "/v1/content"    [], Some("AddContentRequest"), "homing.content_added/v1" Json "Keep a copy of a file and serve it to trusted peers";
    CONTENT_RM "POST" "/v1/content/rm"  [], Some("RemoveContentRequest"), "homing.done/v1" Json "Keep and serve it no longer";
    CONTENT_FETCH "POST" "/v1/content/fetch" [], Some("FetchRequest"), "homing.fetched/v1" Events "Get content from whoever has it; progress, then done or error";
    DHT_PEERS "GET"  "/v1/dht/peers"    [], None, "homing.dht_peers/v1" Json "The routing table of the DHT";
    DHT_LOOKUP "POST" "/v1/dht/lookup"  [], Some("DhtLookupRequest"), "homing.dht_lookup/v1" Json "Look a key up in the DHT, step by step";
    DHT_STATS "GET"  "/v1/dht/stats"    [], None, "homing.dht_stats/v1" Json "Role, estimates, intervals and counts of the DHT";
    GOSSIP_STATS "GET" "/v1/gossip/stats" [], None, "homing.gossip_stats/v1" Json "Peers, records, comparisons and traffic of gossip";
    REFERENCES "GET" "/v1/references"   [], None, "homing.references/v1" Json "Own references, and those kept for others";
    REFERENCE_PUBLISH "POST" "/v1/references" [], Some("PublishReference"), "homing.reference/v1" Json "Point a reference of this agent somewhere";
    REFERENCE_RESOLVE "POST" "/v1/references/resolve" [], Some("ResolveReference"), "homing.reference_resolution/v1" Json "The newest of a reference, with its proof";
    REFERENCE_RENEW "POST" "/v1/references/renew" [], Some("ReferenceRequest"), "homing.reference/v1" Json "Sign and announce a reference anew";
    REFERENCE_WITHDRAW "POST" "/v1/references/withdraw" [], Some("ReferenceRequest"), "homing.reference/v1" Json "Take a reference back for good";
    REFERENCE_KEEP "POST" "/v1/references/keep" [], Some("KeepReference"), "homing.done/v1" Json "Keep a reference of another alive, or no longer";
    REFERENCE_TAKE "POST" "/v1/references/take" [], Some("TakeReference"), "homing.done/v1" Json "Tell and keep a reference that was signed elsewhere";
    REFERENCE_HISTORY "GET" "/v1/references/history" ["name"], None, "homing.reference_history/v1" Json "What a reference of this agent pointed to";
    REFERENCE_EXPORT "GET" "/v1/references/export" ["reference"], None, "homing.reference_record/v1" Json "The signed record of a reference that is known here";
    ALIASES   "GET"  "/v1/aliases"      [], None, "homing.aliases/v1" Json "What names mean here";
    ALIAS_SET "POST" "/v1/aliases"      [], Some("AliasRequest"), "homing.done/v1" Json "Call a peer by a local name, or stop doing so";
    CARD      "GET"  "/v1/card"         [], None, "homing.card/v1" Json "The published agent card";
    CARD_SET  "POST" "/v1/card"         [], Some("PublishCardRequest"), "homing.done/v1" Json "Publish an agent card, or withdraw it";
    CONFIG    "GET"  "/v1/config"       [], None, "homing.config/v1" Json "The effective configuration and its origins";
    NETCHECK  "GET"  "/v1/netcheck"     ["[peer]"], None, "homing.netcheck/v1" Json "What the network does to this agent";
    DOCTOR    "GET"  "/v1/doctor"       [], None, "homing.doctor/v1" Json "What the daemon finds wrong with itself";
    METRICS   "GET"  "/v1/metrics"      [], None, "text/plain; version=0.0.4" Text "Counters in the Prometheus text format";
    EVENTS    "GET"  "/v1/events"       [], None, "homing.event/v1" Events "What happens, as it happens";
    STOP      "POST" "/v1/stop"         [], None, "homing.done/v1" Json "Say goodbye and stop the daemon";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_stands_twice() {
        for (i, a) in OPERATIONS.iter().enumerate() {
            assert!(
                OPERATIONS[..i].iter().all(|b| (a.method, a.path) != (b.method, b.path)),
                "{a:?}"
            );
        }
    }
}
