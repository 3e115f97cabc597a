//! One network namespace: created, configured, used and removed through `ip`.
//!
//! Names are `homing-lab-PID-LABEL`, so that a run sees which namespaces a dead run left behind.
//! Everything the lab builds lives inside such namespaces; the machine's own network is not touched.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::exec;

/// Start of every name.
const PREFIX: &str = "homing-lab-";

/// Where `ip netns` keeps its names.
const REGISTRY: &str = "/run/netns";

/// Where `ip netns exec` takes files from that a namespace sees in `/etc`.
const FILES: &str = "/etc/netns";

/// A live namespace; the last clone removes it, and ends what still runs inside.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    name: String,
}

impl Namespace {
    /// Creates one with loopback up, IPv6 off, and bridged frames kept away from nftables.
    ///
    /// # Errors
    /// When `ip` refuses: no permission, or the name exists.
    pub fn create(label: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{label}", std::process::id());
        exec::must(ip(&["netns", "add", &name]), "")?;
        let namespace = Self(Arc::new(Owned { name }));
        let mut shell = namespace.command("sh");
        shell.args(["-c", SYSCTLS]);
        exec::must(shell, "")?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A command that will run inside. `ip` replaces itself by the program: the child's pid is its pid.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = ip(&["netns", "exec", self.name()]);
        command.arg(program.as_ref());
        command
    }

    /// Runs `ip` command lines inside, one per line, stopping at the first failure.
    ///
    /// # Errors
    /// When one fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        exec::must(ip(&["-n", self.name(), "-batch", "-"]), lines).map(drop)
    }

    /// Lets IPv6 in, without router advertisements and without waiting for duplicate addresses.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn enable_ipv6(&self) -> Result<()> {
        let mut shell = self.command("sh");
        shell.args(["-ec", IPV6_SYSCTLS]);
        exec::must(shell, "").map(drop)
    }

    /// What programs started from now on find in `/etc/hosts`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn hosts(&self, text: &str) -> Result<()> {
        let folder = Path::new(FILES).join(self.name());
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("hosts"), text).context("/etc/hosts of a namespace")
    }

    /// Loads an nftables script inside, atomically.
    ///
    /// # Errors
    /// When `nft` refuses it.
    pub fn nft(&self, script: &str) -> Result<String> {
        let mut command = self.command("nft");
        command.args(["-f", "-"]);
        exec::must(command, script)
    }

    /// The packets counted by a named counter of table `ip watch`.
    ///
    /// # Errors
    /// When there is no such counter.
    pub fn counted(&self, counter: &str) -> Result<u64> {
        let mut command = self.command("nft");
        command.args(["list", "counter", "ip", "watch", counter]);
        let text = exec::must(command, "")?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).context("no packet count")?.parse().context("packet count")
    }
}

/// Run inside every new namespace.
const SYSCTLS: &str = "cd /proc/sys/net
echo 1 > ipv6/conf/all/disable_ipv6; echo 1 > ipv6/conf/default/disable_ipv6
echo 1 > ipv4/ip_forward
[ -e bridge/bridge-nf-call-iptables ] && echo 0 > bridge/bridge-nf-call-iptables; true";

/// Run where IPv6 is wanted.
const IPV6_SYSCTLS: &str = "cd /proc/sys/net/ipv6/conf
for i in all default; do echo 0 > $i/accept_ra; echo 0 > $i/accept_dad; echo 0 > $i/disable_ipv6; done
echo 1 > all/forwarding";

impl Drop for Owned {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces of lab runs that no longer live.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(REGISTRY) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let alive = rest.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !alive {
            remove(&name);
        }
    }
}

/// Removes the namespaces of this process; for the way out when a test hangs.
pub fn remove_own() {
    let own = format!("{PREFIX}{}-", std::process::id());
    let Ok(entries) = fs::read_dir(REGISTRY) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&own)).for_each(|name| remove(&name));
}

/// Ends the processes inside and deletes the namespace. Best effort: it also runs while unwinding.
fn remove(name: &str) {
    if let Ok(pids) = exec::must(ip(&["netns", "pids", name]), "") {
        for pid in pids.split_whitespace() {
            let mut kill = Command::new("kill");
            kill.args(["-9", pid]);
            let _ = exec::must(kill, "");
        }
    }
    let _ = exec::must(ip(&["netns", "del", name]), "");
    let _ = fs::remove_dir_all(Path::new(FILES).join(name));
}

/// The `ip` tool with these arguments.
fn ip(arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments);
    command
}
