//! The secret key never leaves `identity.json`: a known one is planted and every output searched.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use homing_base::IdentityKey;
use homing_base::identity;
use support::Home;

const SEED: [u8; 32] = *b"a secret that nobody may ever se";

/// The ways in which 32 bytes usually slip out.
fn spellings() -> Vec<String> {
    let hex: String = SEED.iter().map(|b| format!("{b:02x}")).collect();
    let list: Vec<_> = SEED.iter().map(u8::to_string).collect();
    let raw = String::from_utf8(SEED.to_vec()).unwrap();
    // Half is enough to be a leak.
    vec![hex[..32].to_owned(), hex[..32].to_uppercase(), list[..8].join(", "), raw[..16].to_owned()]
}

fn assert_silent(what: &str, text: &str) {
    for spelling in spellings() {
        assert!(!text.contains(&spelling), "{what} shows the secret");
    }
}

#[test]
fn no_command_prints_the_secret() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let write = |text: &str| {
        std::fs::write(home.path("identity.json"), text).unwrap();
        std::fs::set_permissions(home.path("identity.json"), PermissionsExt::from_mode(0o600))
            .unwrap();
    };
    let good = identity::to_json(&IdentityKey::from_seed(SEED));
    assert!(good.contains(&spellings()[0]), "the search would find nothing");
    write(&good);
    home.json(&["up", "--hostname", "keeper", "--listen", "127.0.0.1:0"]);
    let commands: &[&[&str]] = &[
        &["up"],
        &["info"],
        &["info", "--ticket"],
        &["status"],
        &["daemon", "status"],
        &["daemon", "logs"],
        &["doctor"],
        &["key", "show"],
        &["key", "check"],
        &["key", "init"],
        &["config", "list"],
        &["name", "list"],
        &["trust", "list"],
        &["pending"],
        &["netcheck"],
        &["metrics"],
        &["api", "/v1/config"],
        &["api", "/v1/info"],
        &["resolve", "keeper"],
        &["schema"],
        &["events", "--timeout", "300ms"],
        &["down"],
    ];
    for args in commands {
        for format in ["auto", "json", "name"] {
            let done = home.run(&[args, &["-o", format][..]].concat());
            assert_silent(&format!("{args:?}"), &(done.stdout + &done.stderr));
        }
    }
    let damaged = [
        good[..good.len() - 3].to_owned(),
        good.replace("ed25519", "rsa"),
        good.replace("fd", "fe"),
    ];
    for text in &damaged {
        write(text);
        for args in
            [&["key", "check"][..], &["key", "show"], &["up"], &["daemon", "run"], &["doctor"]]
        {
            let done = home.run(args);
            assert_silent(&format!("{args:?} of a damaged file"), &(done.stdout + &done.stderr));
        }
    }
    assert_silent("daemon.log", &std::fs::read_to_string(home.path("daemon.log")).unwrap());
}
