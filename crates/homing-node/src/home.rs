//! `$HOMING_HOME`: where one agent keeps its files, and the lock that makes it one.
//!
//! ```text
//! ~/.homing/           0700
//! ├── identity.json    0600   the key; the only file that must not be lost
//! ├── config.toml             what the user set
//! ├── registry.db     0600   the registry role's entities
//! ├── card.json               the agent card that was published
//! ├── services.json   0600   what is exposed
//! ├── homing.db       0600   what was promised: own record, trust, names, peers
//! ├── audit/         0700   the audit log
//! ├── homing.sock      0600   the local API (elsewhere with HOMING_SOCKET)
//! ├── daemon.log              JSON lines
//! └── daemon.pid              process id of the daemon that holds the lock on this very file
//! ```
//! The lock is `flock` on `daemon.pid`: it ends with its process however that ends, so there is no
//! stale state to clean up. A stale socket is removed under the lock only. A `.homing` that others may enter is
//! closed to them; a directory of any other name is left as its owner made it, its files are 0600 all the same.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// `sun_path` has 108 bytes on Linux, one of them the final zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The files of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    identity: Option<PathBuf>,
    socket: Option<PathBuf>,
}

impl Home {
    /// The home in `dir`.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), identity: None, socket: None }
    }

    /// The home that the environment names: `flag`, else `HOMING_HOME`, else `~/.homing`; with
    /// `HOMING_SOCKET` for the socket.
    ///
    /// # Errors
    /// [`HomeError::Unknown`] when neither `HOMING_HOME` nor `HOME` is set.
    pub fn locate(flag: Option<PathBuf>) -> Result<Self, HomeError> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = flag.or_else(|| set("HOMING_HOME"));
        let dir = dir.or_else(|| set("HOME").map(|home| home.join(".homing")));
        let dir = std::path::absolute(dir.ok_or(HomeError::Unknown)?)
            .map_err(|source| HomeError::Directory { path: PathBuf::from("."), source })?;
        Ok(Self { dir, identity: set("HOMING_IDENTITY"), socket: set("HOMING_SOCKET") })
    }

    /// With the identity file elsewhere.
    #[must_use]
    pub fn with_identity(self, path: impl Into<PathBuf>) -> Self {
        Self { identity: Some(path.into()), ..self }
    }

    /// With the socket elsewhere.
    #[must_use]
    pub fn with_socket(self, path: impl Into<PathBuf>) -> Self {
        Self { socket: Some(path.into()), ..self }
    }

    /// The directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The identity file.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.identity.clone().unwrap_or_else(|| self.dir.join("identity.json"))
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// The published agent card.
    #[must_use]
    pub fn card(&self) -> PathBuf {
        self.dir.join("card.json")
    }

    /// What is exposed.
    #[must_use]
    pub fn services(&self) -> PathBuf {
        self.dir.join("services.json")
    }

    /// The store.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.dir.join("homing.db")
    }

    /// The entities of the registry role.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.dir.join("registry.db")
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.dir.join("audit")
    }

    /// The daemon's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    /// Process id and lock.
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.dir.join("daemon.pid")
    }

    /// The local API's socket.
    ///
    /// # Errors
    /// [`HomeError::SocketPath`] when the path is longer than the kernel takes.
    pub fn socket(&self) -> Result<PathBuf, HomeError> {
        let path = self.socket.clone().unwrap_or_else(|| self.dir.join("homing.sock"));
        match path.as_os_str().len() {
            0..=SOCKET_PATH_BYTES_MAX => Ok(path),
            bytes => Err(HomeError::SocketPath { path, bytes }),
        }
    }

    /// Makes the directory (0700) unless it is there. One that is named `.homing` and ours becomes 0700.
    ///
    /// # Errors
    /// [`HomeError::Directory`] when it cannot be made or is something else.
    pub fn ensure(&self) -> Result<(), HomeError> {
        let failed = |source| HomeError::Directory { path: self.dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        if self.dir.file_name().is_some_and(|name| name == ".homing") {
            tighten(&self.dir, 0o700).map_err(failed)?;
        }
        Ok(())
    }

    /// Takes the home for this process, until the lock is dropped.
    ///
    /// # Errors
    /// [`HomeError::Running`] when another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.pid();
        let failed = |source| HomeError::Directory { path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                write_pid(&mut file).map_err(failed)?;
                Ok(HomeLock { _file: file })
            }
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(HomeError::Running { dir: self.dir.clone(), pid: read_pid(file) })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The process that holds the home now, if any. `Some(None)`: one does, its id is not known.
    #[must_use]
    pub fn holder(&self) -> Option<Option<u32>> {
        let file = File::open(self.pid()).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err((file, _)) => Some(read_pid(file)),
        }
    }
}

/// Makes a database file and those beside it (`-wal`, `-shm`) the owner's alone; SQLite gives the mode of the first
/// to the others that it makes.
pub(crate) fn private_database(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        match tighten(Path::new(&file), 0o600) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Takes from others what they may do with `path`, if it is ours.
fn tighten(path: &Path, mode: u32) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    let ours = found.uid() == nix::unistd::geteuid().as_raw();
    match ours && found.mode() & 0o077 != 0 {
        true => std::fs::set_permissions(path, Permissions::from_mode(mode)),
        false => Ok(()),
    }
}

/// This process owns the home while it holds this.
#[derive(Debug)]
pub struct HomeLock {
    _file: Flock<File>,
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.trim().parse().ok()
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// No environment variable says where.
    #[error("neither HOMING_HOME nor HOME is set")]
    Unknown,
    /// The directory cannot be made or used.
    #[error("cannot use {path}")]
    Directory {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another daemon runs on it.
    #[error("a daemon already runs on {dir}")]
    Running {
        /// The home.
        dir: PathBuf,
        /// Its process id, if it could be read.
        pid: Option<u32>,
    },
    /// The kernel takes no such long socket path.
    #[error("the socket path {path} has {bytes} bytes, the kernel takes {SOCKET_PATH_BYTES_MAX}")]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
}
