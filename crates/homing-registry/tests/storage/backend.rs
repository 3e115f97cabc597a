//! The backends under test.

use std::path::Path;
use std::sync::Arc;

use homing_registry::storage::{SqliteStorage, Storage};
use tempfile::TempDir;

pub(crate) struct Sqlite {
    pub(crate) storage: Arc<dyn Storage>,
    concrete: Arc<SqliteStorage>,
    pub(crate) folder: TempDir,
}

impl Sqlite {
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("registry.db")
    }

    /// Pages, index and rows agree.
    pub(crate) async fn check(&self) {
        self.concrete.check().await.unwrap();
    }
}

pub(crate) fn sqlite() -> Sqlite {
    let folder = tempfile::tempdir().unwrap();
    let concrete = Arc::new(open(folder.path()));
    Sqlite { storage: concrete.clone(), concrete, folder }
}

pub(crate) fn open(folder: &Path) -> SqliteStorage {
    SqliteStorage::open(folder.join("registry.db")).unwrap()
}
