//! `services.json`: what is exposed across restarts.
//!
//! ```json
//! {"schema":"homing.services_file/v1","services":[{"name":"mcp","target":{"kind":"tcp","host":"localhost",
//!  "port":8080},"mode":"auto","keep_host":false,"unlisted":false,"since":"2026-08-01T00:00:00Z"}]}
//! ```
//! Mode 0600: commands may hold secrets. Written beside, synced and renamed. A file that cannot be read is left
//! alone, and nothing is exposed or withdrawn until somebody has looked at it.

use std::io::{self, Write};
use std::path::Path;

use homing_api::exposures::{Mode, Target};
use homing_api::{ApiError, Code, Described, Schema, Stamp};
use homing_base::Service;
use serde::{Deserialize, Serialize};

use super::limits::{FILE_BYTES_MAX, SERVICES_MAX};

/// One service as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: Service,
    pub(super) target: Target,
    pub(super) mode: Mode,
    pub(super) keep_host: bool,
    pub(super) unlisted: bool,
    pub(super) since: Stamp,
}

impl Entry {
    /// Whether both expose the same in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let how = |e: &Self| (e.mode, e.keep_host, e.unlisted);
        self.name == other.name && self.target == other.target && how(self) == how(other)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: Schema<Document>,
    services: Vec<Entry>,
}

impl Described for Document {
    const SCHEMA: &'static str = "homing.services_file/v1";
}

/// What the file says; nothing when there is none.
///
/// # Errors
/// `config_invalid` when it is damaged, too long, or cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ApiError> {
    let damaged = |why: String| {
        ApiError::new(Code::ConfigInvalid, format!("{} is damaged", path.display()))
            .why(why)
            .hint("repair it, or move it away and expose anew; then: homing down, then homing up with the flags you started it with")
    };
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(facts) if facts.len() > FILE_BYTES_MAX => {
            return Err(damaged(format!("it has {} bytes, {FILE_BYTES_MAX} at most", facts.len())));
        }
        _ => std::fs::read(path).map_err(|e| damaged(e.to_string()))?,
    };
    let document: Document = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    let services = document.services;
    if services.len() > SERVICES_MAX {
        return Err(damaged(format!("{} services, {SERVICES_MAX} at most", services.len())));
    }
    for (i, entry) in services.iter().enumerate() {
        entry.target.check().map_err(|e| damaged(format!("{}: {e}", entry.name)))?;
        if services[..i].iter().any(|other| other.name == entry.name) {
            return Err(damaged(format!("{} stands there twice", entry.name)));
        }
    }
    Ok(services)
}

/// Replaces the file, whole or not at all.
///
/// # Errors
/// `disk_full` or `permission_denied`; the old file stands.
pub(super) fn write(path: &Path, services: Vec<Entry>) -> Result<(), ApiError> {
    let document = Document { schema: Schema::new(), services };
    let text = serde_json::to_vec_pretty(&document).expect("services serialise");
    replace(path, &text).map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::StorageFull => Code::DiskFull,
            _ => Code::PermissionDenied,
        };
        ApiError::new(code, format!("{} cannot be written", path.display())).why(error.to_string())
    })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // Made with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".services.").suffix(".tmp").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.parse().unwrap(),
            target: Target::Tcp { host: "localhost".into(), port: 1 },
            mode: Mode::Auto,
            keep_host: false,
            unlisted: false,
            since: Stamp(homing_base::Wall(0)),
        }
    }

    #[test]
    fn what_was_written_reads_back_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.json");
        assert!(read(&path).unwrap().is_empty());
        write(&path, vec![entry("a"), entry("b")]).unwrap();
        let back = read(&path).unwrap();
        assert!(back.len() == 2 && back[1].is_same(&entry("b")) && !back[1].is_same(&entry("a")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.json");
        write(&path, vec![entry("a"), entry("a")]).unwrap();
        assert_eq!(read(&path).unwrap_err().code, Code::ConfigInvalid);
        for text in ["", "{}", "[1]", r#"{"schema":"homing.services_file/v9","services":[]}"#] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap_err().code, Code::ConfigInvalid, "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
