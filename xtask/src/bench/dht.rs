//! Our DHT beside others: the program of `bench/dht`, which is outside the workspace.
//!
//! It runs in a network of its own where the machine allows that, so that the kernel's count of datagrams is
//! its own count.

use std::path::Path;

use anyhow::Result;

use crate::run;

const MANIFEST: &str = "bench/dht/Cargo.toml";
const ALONE: [&str; 5] = ["--user", "--map-root-user", "--net", "sh", "-c"];

/// Builds it in release and runs it; `args` are its own.
pub fn measure(root: &Path, args: &[String]) -> Result<bool> {
    let target = run::target_dir(root);
    let target_text = target.display().to_string();
    let build = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        MANIFEST,
        "--target-dir",
        &target_text,
    ];
    if !run::cargo(root, &build).stream()?.success {
        return Ok(false);
    }
    let program = target.join("release/homing-bench-dht").display().to_string();
    let mut command = vec![program.as_str()];
    command.extend(args.iter().map(String::as_str));
    if !can_be_alone(root) {
        println!("no network namespace here: datagrams of other programs are counted too");
        return Ok(run::program(root, command[0], &command[1..]).stream()?.success);
    }
    let script = "ip link set lo up && exec \"$0\" \"$@\"";
    let alone: Vec<&str> = ALONE.into_iter().chain([script]).chain(command).collect();
    Ok(run::program(root, "unshare", &alone).stream()?.success)
}

fn can_be_alone(root: &Path) -> bool {
    let probe: Vec<&str> = ALONE.into_iter().chain(["ip link set lo up"]).collect();
    run::is_installed("unshare")
        && run::is_installed("ip")
        && run::program(root, "unshare", &probe).quiet().is_ok_and(|ended| ended.success)
}
