use std::path::Path;

use super::keys::{KEYS, Key};
use super::*;

fn layers(text: &str, environment: &[(&str, &str)]) -> Result<Layers, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Layers::read(&path, environment.iter().map(|(k, v)| ((*k).into(), (*v).into())))
}

fn refusal(text: &str) -> String {
    let error = layers(text, &[]).and_then(|l| l.resolve()).unwrap_err();
    format!("{error}")
}

#[test]
fn no_file_means_defaults() {
    let layers = Layers::read(Path::new("/nonexistent/config.toml"), std::iter::empty()).unwrap();
    let config = layers.resolve().unwrap();
    assert_eq!(config, Config::default());
    assert_eq!((config.name, config.listen, config.publish_addresses), (None, None, false));
    assert_eq!(config.relay.listen, "[::]:3340".parse().unwrap());
    assert_eq!(layers.settings().len(), KEYS.len());
    assert!(layers.settings().iter().all(|s| s.origin == Origin::Default));
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let text = "name = \"from-file\"\n[log]\nlevel = \"warn\"\n[relay]\nquic_port = 9\n";
    let env = [("HOMING_NAME", "from-env"), ("HOMING_LOG_LEVEL", "debug")];
    let mut layers = layers(text, &env).unwrap();
    layers.flag("name", "from-flag").unwrap();
    let config = layers.resolve().unwrap();
    assert_eq!(config.name.unwrap().as_str(), "from-flag");
    assert_eq!((config.log.level.as_str(), config.relay.quic_port), ("debug", 9));
    let origin = |key| layers.settings().into_iter().find(|s| s.key == key).unwrap().origin;
    assert_eq!(origin("name"), Origin::Flag);
    assert_eq!(origin("log.level"), Origin::Environment("HOMING_LOG_LEVEL".into()));
    assert_eq!(origin("relay.quic_port"), Origin::File);
    assert_eq!(origin("relay.listen"), Origin::Default);
}

#[test]
fn the_dht_is_on_and_every_key_of_it_counts() {
    let dht = Config::default().dht;
    assert!(dht.enabled);
    assert_eq!((dht.server, dht.k, dht.alpha), (DhtServer::Auto, 20, 3));
    let text = "[dht]\nk = 2\nrepublish_interval_seconds = 60\nexpiry_seconds = 60";
    let env = [("HOMING_DHT_ENABLED", "false"), ("HOMING_DHT_SERVER", "always")];
    let dht = layers(text, &env).unwrap().resolve().unwrap().dht;
    let minute = Duration::from_secs(60);
    assert!(!dht.enabled);
    assert_eq!((dht.server, dht.k, dht.alpha), (DhtServer::Always, 2, 2));
    assert_eq!((dht.republish, dht.expiry), (minute, minute));
}

#[test]
fn an_unknown_key_is_refused_with_what_was_probably_meant() {
    for (text, key, nearest) in [
        ("nmae = \"x\"", "nmae", Some("name")),
        ("hostname = \"x\"", "hostname", Some("relay.hostname")),
        ("[relay]\nlisten_addr = 1", "relay.listen_addr", Some("relay.listen")),
        ("zebra_crossing = 1", "zebra_crossing", None),
    ] {
        let error = layers(text, &[]).unwrap_err();
        let ConfigError::UnknownKey { key: found, nearest: suggestion, place } = error else {
            panic!("{text}: {error}")
        };
        assert_eq!((found.as_str(), suggestion), (key, nearest));
        assert!(place.unwrap().ends_with("config.toml"));
    }
}

#[test]
fn a_bad_value_names_key_value_and_reason() {
    for (text, expected) in [
        ("name = \"Not A Label\"", "name = Not A Label is not valid: a name has only a-z"),
        ("name = 7", "name = 7 is not valid: expected a string"),
        ("listen = \"nowhere\"", "listen = nowhere is not valid: invalid socket address"),
        ("relays = [\"ftp://x\"]", "relays = ftp://x is not valid: ftp://x: a relay URL begins"),
        ("peers = [\"homing1zz\"]", "peers = homing1zz is not valid"),
        ("record_lifetime = \"25h\"", "record_lifetime = 25h is not valid: a record lives at most"),
        ("[log]\nlevel = \"a=b=c\"", "log.level = a=b=c is not valid"),
        ("[relay]\nquic_port = 70000", "relay.quic_port = 70000 is not valid: expected a number"),
        ("[relay]\nquic_port = -1", "relay.quic_port = -1 is not valid: expected a whole number"),
        ("[relay]\ncert = \"/x\"", "relay.cert = /x is not valid: it needs relay.key too"),
        ("[relay]\naccess = \"maybe\"", "relay.access = maybe is not valid: expected open or"),
        ("[relay]\nallow = [\"12\"]", "relay.allow = 12 is not valid: 12: a node ID is 64"),
        ("[trust]\nlifetime = \"soon\"", "trust.lifetime = soon is not valid: expected a number"),
        ("[dht]\nmode = \"auto\"", "dht.mode = auto is not valid: it needs dht.network_key"),
        ("[dht]\nmode = \"ring\"", "dht.mode = ring is not valid: expected kademlia, cluster"),
        ("[dht]\nmode = \"auto\"\nnetwork_key = \"12\"", "dht.network_key = 12 is not valid"),
        ("[dht]\ndecide = true", "dht.decide = true is not valid: it needs dht.mode = auto"),
        ("[dht]\ndecide_after_seconds = 9", "dht.decide_after_seconds = 9 is not valid"),
        ("[dht]\ncluster_size = 7", "dht.cluster_size = 7 is not valid: expected a number from 8"),
        ("[dht]\nk = 1", "dht.k = 1 is not valid: expected a number from 2 to 40"),
        ("[dht]\nk = 41", "dht.k = 41 is not valid: expected a number from 2 to 40"),
        ("[dht]\nalpha = 11", "dht.alpha = 11 is not valid: expected a number from 1 to 10"),
        ("[dht]\nk = 4\nalpha = 5", "dht.alpha = 5 is not valid: expected a number from 1 to 4"),
        (
            "[dht]\nrepublish_interval_seconds = 59",
            "dht.republish_interval_seconds = 59 is not valid: expected a number from 60",
        ),
        ("[dht]\nexpiry_seconds = 86401", "dht.expiry_seconds = 86401 is not valid: expected a"),
        (
            "[dht]\nexpiry_seconds = 600",
            "dht.republish_interval_seconds = 3600 is not valid: it is longer than dht.expiry_seco",
        ),
        ("[dht]\nserver = \"maybe\"", "dht.server = maybe is not valid: expected auto, always or"),
        ("publish_addresses = \"yes\"", "publish_addresses = \"yes\" is not valid: expected true"),
    ] {
        let got = refusal(text);
        assert!(got.starts_with(expected), "{text}\n got: {got}");
    }
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    let error = refusal("name = \n");
    assert!(error.contains("not valid TOML") && error.contains("line 1"), "{error}");
    assert!(refusal("a = 1\na = 2").contains("not valid TOML"));
}

#[test]
fn a_bad_environment_variable_is_named() {
    let error = layers("", &[("HOMING_RELAY_ENABLED", "perhaps")]).unwrap_err();
    let ConfigError::Value { key, origin, .. } = error else { panic!("{error}") };
    assert_eq!(key, "relay.enabled");
    assert_eq!(origin.to_string(), "env HOMING_RELAY_ENABLED");
}

#[test]
fn set_changes_one_value_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let text = "# mine\nname = \"a\" # short\n\n[relay]\n# why\nenabled = true\n";
    std::fs::write(&path, text).unwrap();
    assert!(set(&path, "name", Some("b")).unwrap());
    assert!(!set(&path, "name", Some("b")).unwrap());
    assert!(set(&path, "relays", Some("https://r.example:3340/")).unwrap());
    assert!(set(&path, "relay.quic_port", Some("99")).unwrap());
    assert!(set(&path, "trust.lifetime", Some("30d")).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("# mine\nname = \"b\" # short\n"), "{text}");
    assert!(text.contains("# why\nenabled = true\n"), "{text}");
    let config = validate(&path).unwrap();
    assert_eq!((config.relays.len(), config.relay.quic_port), (1, 99));
    assert_eq!(config.trust.lifetime, Some(Duration::from_secs(30 * 86_400)));
    assert!(set(&path, "name", None).unwrap());
    assert_eq!(validate(&path).unwrap().name, None);
}

#[test]
fn set_takes_a_value_that_needs_another_one_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    assert!(set(&path, "dht.mode", Some("auto")).is_err(), "whose choice?");
    assert!(set(&path, "dht.network_key", Some(&"3a".repeat(32))).unwrap());
    assert!(set(&path, "dht.mode", Some("auto")).unwrap());
    assert!(set(&path, "dht.network_key", None).is_err(), "it is needed now");
    assert!(set(&path, "dht.mode", None).unwrap());
    assert!(set(&path, "dht.network_key", None).unwrap());
}

#[test]
fn set_writes_nothing_that_is_not_valid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, "name = \"a\"\n").unwrap();
    for (key, value) in [("name", "UPPER"), ("nmae", "x"), ("relay.cert", "/x")] {
        assert!(set(&path, key, Some(value)).is_err(), "{key}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "name = \"a\"\n");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn peers_are_tickets_or_places() {
    let id = "3a".repeat(32);
    for text in ["127.0.0.1:5", &format!("{id}@127.0.0.1:5"), "fd3a::1@[::1]:5", "bob@127.0.0.1:5"]
    {
        let PeerHint::At { direct, .. } = layers::peer_hint(text).unwrap() else { panic!() };
        assert_eq!(direct[0].port(), 5);
    }
    assert!(layers::peer_hint("BOB@127.0.0.1:5").is_err());
    assert!(layers::peer_hint("127.0.0.1").is_err());
}

#[test]
fn every_key_has_a_default_of_its_kind_and_a_variable() {
    for key in KEYS {
        let _ = key.default_value();
        assert!(!key.about.is_empty());
        assert!(key.variable().starts_with("HOMING_"));
        assert_eq!(Key::find(key.name).map(|k| k.name), Some(key.name));
        assert_eq!(Key::nearest(key.name), Some(key.name));
    }
}
