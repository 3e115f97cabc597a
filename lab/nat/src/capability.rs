//! May this machine run the lab? If not: which sentence says why.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::exec;
use crate::nat::Nat;
use crate::topology::Lab;

/// `Err` holds the reason why nothing of the lab can run here.
///
/// # Errors
/// No root, no `ip`, no `nft`, or a kernel that refuses what the lab builds.
pub fn check() -> Result<(), String> {
    let uid = output(Command::new("id").arg("-u"))?;
    if uid.trim() != "0" {
        return Err("not root: network namespaces need it".to_owned());
    }
    output(Command::new("ip").arg("-V"))?;
    output(Command::new("nft").arg("-v"))?;
    build_one().map_err(|error| format!("the kernel refuses: {error:#}"))
}

/// The smallest world that uses every kind of thing: namespace, bridge, veth, NAT, dynamic map.
fn build_one() -> Result<()> {
    let lab = Lab::new()?;
    let router = lab.router(Nat::FullCone, lab.public())?;
    lab.host(router.lan()).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut owned = Command::new(&program);
    owned.args(command.get_args());
    match exec::run(owned, "", Duration::from_secs(5)) {
        Ok(finished) if finished.ok() => Ok(finished.stdout),
        Ok(finished) => Err(format!("`{program}` fails: {}", finished.stderr.trim())),
        Err(_) => Err(format!("`{program}` is not installed")),
    }
}
