//! A private PostgreSQL cluster, for tests of whatever talks to one.
//!
//! ```text
//! initdb in a new folder ─► server with its socket in that folder, no TCP
//! shell: postgres & ; wait for the end of its input ; stop the server by its pid ; remove the folder
//! ```
//! The server refuses root: then it runs as `postgres`, or as root by another number in a user namespace.
//! The input is a pipe that only this process holds: however it ends, the server ends and nothing stays.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by tests, each of which uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A slow machine needs seconds; one that never gets there fails the tests.
const START_MAX: Duration = Duration::from_secs(60);

/// Where Debian and others put binaries that are not in `PATH`; the newest version last.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql", "/usr/local/pgsql"];

/// Starts one, durable or quick; the folder that holds its socket. Once per process.
///
/// # Errors
/// Why there is none, for the skip line.
pub(crate) fn start_cluster(durable: bool) -> Result<PathBuf, String> {
    let binaries = binaries().ok_or("no server binaries (package postgresql)")?;
    let folder = std::env::temp_dir().join(format!("homing-pg-{}", std::process::id()));
    let mut reasons = Vec::new();
    for who in Who::candidates() {
        match start(&binaries, &folder, &who, durable) {
            Ok(()) => return Ok(folder),
            Err(reason) => reasons.push(reason),
        }
        // What is left behind by who could not.
        let _ = std::fs::remove_dir_all(&folder);
    }
    Err(reasons.join("; "))
}

fn start(binaries: &Path, folder: &Path, who: &Who, durable: bool) -> Result<(), String> {
    private_folder(folder, who).map_err(|e| format!("{}: {e}", folder.display()))?;
    initialise(binaries, folder, who)?;
    run(binaries, folder, who, durable)
}

/// The folder with `initdb` and `postgres`.
fn binaries() -> Option<PathBuf> {
    folders().into_iter().find(|f| f.join("initdb").is_file() && f.join("postgres").is_file())
}

/// The client.
pub(crate) fn psql() -> Option<PathBuf> {
    folders().into_iter().map(|folder| folder.join("psql")).find(|psql| psql.is_file())
}

/// Where programs may be, in the order of preference.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for parent in FOLDERS {
        folders.push(Path::new(parent).join("bin"));
        let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<_> = versions.map(|v| v.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    folders
}

/// Who runs the server.
enum Who {
    Myself,
    User(nix::unistd::User),
    /// Root in the eyes of files, another number in the eyes of the server (unshare(1)).
    Namespace,
}

impl Who {
    fn candidates() -> Vec<Self> {
        if !nix::unistd::geteuid().is_root() {
            return vec![Self::Myself];
        }
        let named = |name| nix::unistd::User::from_name(name).ok().flatten();
        let user = named("postgres").or_else(|| named("nobody"));
        user.map(Self::User).into_iter().chain([Self::Namespace]).collect()
    }

    /// A command as this one, inside the folder.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = match self {
            Self::Namespace => {
                let mut command = Command::new("unshare");
                command.args(["--user", "--map-user=1000", "--map-group=1000", "--"]).arg(program);
                command
            }
            Self::Myself | Self::User(_) => Command::new(program),
        };
        if let Self::User(user) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

fn private_folder(folder: &Path, who: &Who) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    let Who::User(user) = who else { return Ok(()) };
    nix::unistd::chown(folder, Some(user.uid), Some(user.gid)).map_err(Into::into)
}

fn initialise(binaries: &Path, folder: &Path, who: &Who) -> Result<(), String> {
    let options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
    let made = who
        .command(&binaries.join("initdb"), folder)
        .args(options)
        .arg("-D")
        .arg(folder.join("data"))
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("initdb: {e}"))?;
    match made.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&made.stderr);
            Err(format!("initdb: {}", said.lines().next().unwrap_or("")))
        }
    }
}

const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=300 \
  -c fsync="$3" -c synchronous_commit="$3" -c full_page_writes="$3" > "$2/log" 2>&1 &
server=$!
cat > /dev/null
kill -INT $server
wait $server
rm -rf "$2"
"#;

fn run(binaries: &Path, folder: &Path, who: &Who, durable: bool) -> Result<(), String> {
    static KEEPER_CHILD: OnceLock<Child> = OnceLock::new();
    let child = who
        .command(Path::new("/bin/sh"), folder)
        .args(["-c", KEEPER, "keeper"])
        .args([binaries, folder])
        .arg(if durable { "on" } else { "off" })
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| format!("sh: {e}"))?;
    // Held to the end of the process, and with it the pipe.
    let _ = KEEPER_CHILD.set(child);
    let socket = folder.join(".s.PGSQL.5432");
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        if begun.elapsed() > START_MAX {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(format!("the server does not start: {log}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_until_ready(folder, begun)
}

/// The socket answers a little before the server takes clients.
fn wait_until_ready(folder: &Path, begun: Instant) -> Result<(), String> {
    loop {
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        if log.contains("ready to accept connections") {
            return Ok(());
        }
        if begun.elapsed() > START_MAX {
            return Err(format!("the server is not ready: {log}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
