//! What a card's signature covers: canonical JSON (JCS, RFC 8785) of the card without `signatures`.
//!
//! A2A 1.0 §8.4.1 leaves fields at their default out of it, by the presence rules of the protocol
//! buffer schema (§5.7): *required* fields always stand, *explicit* (`optional`, messages, oneof) ones
//! when they are set, *implicit* ones only when they differ from their default. The tables below are
//! that schema. Unknown fields are kept as written: nobody knows their default.
//!
//! Signers in the field do one of three things, and all three mean the same card, since "absent" and
//! "default" have one meaning: the rule above; the card as written; every empty value left out (the
//! drafts before 1.0). A signature is good if it is good for one of the three; ours are over the first.
//! The crate `serde_json_canonicalizer` sorts keys by UTF-16 and writes numbers as ECMAScript does.

use serde_json::{Map, Value};

use super::Card;

/// How a field's absence is told from its default.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Always stands.
    Required,
    /// Stands when set.
    Explicit,
    /// Stands when it is not the default.
    Implicit,
}
use Presence::{Explicit, Implicit, Required};

/// What a field holds.
#[derive(Clone, Copy)]
enum Shape {
    /// A scalar, a list of scalars, or free JSON.
    Plain,
    /// One message.
    One(&'static [Field]),
    /// A list of messages.
    List(&'static [Field]),
    /// A map to messages.
    Named(&'static [Field]),
}
use Shape::{List, Named, One, Plain};

struct Field(&'static str, Presence, Shape);

const CARD: &[Field] = &[
    Field("name", Required, Plain),
    Field("description", Required, Plain),
    Field("supportedInterfaces", Required, List(INTERFACE)),
    Field("provider", Explicit, One(&[])),
    Field("version", Required, Plain),
    Field("documentationUrl", Explicit, Plain),
    Field("capabilities", Required, One(CAPABILITIES)),
    Field("securitySchemes", Implicit, Named(SCHEME)),
    Field("securityRequirements", Implicit, List(REQUIREMENT)),
    Field("defaultInputModes", Required, Plain),
    Field("defaultOutputModes", Required, Plain),
    Field("skills", Required, List(SKILL)),
    Field("iconUrl", Explicit, Plain),
];
const INTERFACE: &[Field] = &[
    Field("url", Required, Plain),
    Field("protocolBinding", Required, Plain),
    Field("tenant", Implicit, Plain),
    Field("protocolVersion", Required, Plain),
];
const CAPABILITIES: &[Field] = &[
    Field("streaming", Explicit, Plain),
    Field("pushNotifications", Explicit, Plain),
    Field("extensions", Implicit, List(EXTENSION)),
    Field("extendedAgentCard", Explicit, Plain),
];
const EXTENSION: &[Field] = &[
    Field("uri", Implicit, Plain),
    Field("description", Implicit, Plain),
    Field("required", Implicit, Plain),
    Field("params", Explicit, Plain),
];
const SKILL: &[Field] = &[
    Field("id", Required, Plain),
    Field("name", Required, Plain),
    Field("description", Required, Plain),
    Field("tags", Required, Plain),
    Field("examples", Implicit, Plain),
    Field("inputModes", Implicit, Plain),
    Field("outputModes", Implicit, Plain),
    Field("securityRequirements", Implicit, List(REQUIREMENT)),
];
const REQUIREMENT: &[Field] = &[Field("schemes", Implicit, Named(SCOPES))];
const SCOPES: &[Field] = &[Field("list", Implicit, Plain)];
const SCHEME: &[Field] = &[
    Field("apiKeySecurityScheme", Explicit, One(DESCRIBED)),
    Field("httpAuthSecurityScheme", Explicit, One(HTTP)),
    Field("oauth2SecurityScheme", Explicit, One(OAUTH2)),
    Field("openIdConnectSecurityScheme", Explicit, One(DESCRIBED)),
    Field("mtlsSecurityScheme", Explicit, One(DESCRIBED)),
];
const DESCRIBED: &[Field] = &[Field("description", Implicit, Plain)];
const HTTP: &[Field] =
    &[Field("description", Implicit, Plain), Field("bearerFormat", Implicit, Plain)];
const OAUTH2: &[Field] = &[
    Field("description", Implicit, Plain),
    Field("flows", Required, One(FLOWS)),
    Field("oauth2MetadataUrl", Implicit, Plain),
];
const FLOWS: &[Field] = &[
    Field("authorizationCode", Explicit, One(FLOW)),
    Field("clientCredentials", Explicit, One(FLOW)),
    Field("implicit", Explicit, One(FLOW_DEPRECATED)),
    Field("password", Explicit, One(FLOW_DEPRECATED)),
    Field("deviceCode", Explicit, One(FLOW)),
];
const FLOW: &[Field] =
    &[Field("refreshUrl", Implicit, Plain), Field("pkceRequired", Implicit, Plain)];
const FLOW_DEPRECATED: &[Field] = &[
    Field("authorizationUrl", Implicit, Plain),
    Field("tokenUrl", Implicit, Plain),
    Field("refreshUrl", Implicit, Plain),
    Field("scopes", Implicit, Plain),
];

/// Canonical JSON of a value, RFC 8785.
#[must_use]
pub fn jcs(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("a JSON value without NaN serialises to memory")
}

/// What a signature of ours covers: A2A 1.0 §8.4.1.
#[must_use]
pub fn payload(card: &Card) -> Vec<u8> {
    jcs(&Value::Object(without_defaults(&unsigned(card), CARD)))
}

/// Everything that a signature over this card may cover, the specification's form first.
#[must_use]
pub(super) fn payloads(card: &Card) -> Vec<Vec<u8>> {
    let plain = Value::Object(unsigned(card));
    let mut forms = vec![payload(card)];
    for form in [jcs(&plain), jcs(&without_empties(&plain).unwrap_or_default())] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

fn unsigned(card: &Card) -> Map<String, Value> {
    let kept = card.fields().iter().filter(|(key, _)| key.as_str() != "signatures");
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn without_defaults(message: &Map<String, Value>, schema: &[Field]) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in message {
        let known = schema.iter().find(|Field(name, ..)| name == key);
        let Some(Field(_, presence, shape)) = known else {
            kept.insert(key.clone(), value.clone());
            continue;
        };
        let is_absent = match presence {
            Required => false,
            Explicit => value.is_null(),
            Implicit => is_default(value),
        };
        if !is_absent {
            kept.insert(key.clone(), reduced(value, *shape));
        }
    }
    kept
}

fn reduced(value: &Value, shape: Shape) -> Value {
    let inner = |value: &Value, schema| match value {
        Value::Object(map) => Value::Object(without_defaults(map, schema)),
        other => other.clone(),
    };
    match (shape, value) {
        (One(schema), value) => inner(value, schema),
        (List(schema), Value::Array(list)) => list.iter().map(|v| inner(v, schema)).collect(),
        (Named(schema), Value::Object(map)) => {
            map.iter().map(|(k, v)| (k.clone(), inner(v, schema))).collect()
        }
        _ => value.clone(),
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Without `null`, empty strings, lists and objects, inside out; `None`: nothing is left.
fn without_empties(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(list) => {
            let list: Vec<_> = list.iter().filter_map(without_empties).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Object(map) => {
            let kept = |(k, v): (&String, &Value)| Some((k.clone(), without_empties(v)?));
            let map: Map<_, _> = map.iter().filter_map(kept).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        other => Some(other.clone()),
    }
}
