//! The help of every command, byte for byte. After a deliberate change:
//! `HOMING_UPDATE_GOLDEN=1 cargo test -p homing --test cli_help`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::Home;

fn golden(path: &[String]) -> PathBuf {
    let name = if path.is_empty() { "homing".to_owned() } else { path.join("-") };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help").join(name + ".txt")
}

fn tree(node: &Value, path: &[String], into: &mut Vec<Vec<String>>) {
    into.push(path.to_vec());
    for sub in node["commands"].as_array().unwrap() {
        let name = sub["name"].as_str().unwrap().to_owned();
        tree(sub, &[path, &[name]].concat(), into);
    }
}

#[test]
fn the_help_of_every_command_is_as_recorded() {
    let home = Home::new();
    let mut commands = Vec::new();
    tree(&home.json(&["schema", "commands"])["commands"], &[], &mut commands);
    assert!(commands.len() > 40, "only {} commands", commands.len());
    let update = std::env::var_os("HOMING_UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for path in commands {
        let mut args: Vec<_> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let shown = home.run(&args);
        assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{path:?}");
        let file = golden(&path);
        if update {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &shown.stdout).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != shown.stdout {
            different.push(file);
        }
    }
    assert!(different.is_empty(), "these changed, or are new: {different:#?}");
}

#[test]
fn without_arguments_the_overview_is_shown() {
    let home = Home::new();
    let shown = home.run(&[]);
    assert_eq!(shown.code, 0);
    assert_eq!(shown.stdout, home.run(&["--help"]).stdout);
}

#[test]
fn silent_aliases_are_accepted() {
    let home = Home::new();
    for alias in [["untrust", "x"], ["lookup", "x"], ["peers", "x"]] {
        let args: Vec<_> =
            if alias[0] == "untrust" { vec!["untrust", "x", "--yes"] } else { alias.into() };
        assert_eq!(home.failure(&args)["code"], "daemon_not_running", "{alias:?}");
    }
}
