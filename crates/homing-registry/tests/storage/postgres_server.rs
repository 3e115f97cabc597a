//! A PostgreSQL server for the tests: the one that `HOMING_TEST_POSTGRES` names, or a private cluster.

#[path = "postgres_cluster.rs"]
mod postgres_cluster;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use homing_registry::storage::{PostgresStorage, Storage};
use sqlx::{Connection, Executor, PgConnection};

/// The URL of a server.
const SERVER: &str = "HOMING_TEST_POSTGRES";
/// Whether commits reach the disk: for measurements. Tests are faster without.
pub(crate) static SYNCED: AtomicBool = AtomicBool::new(false);

/// A fresh storage in a schema of its own; `None` after it was said that there is no server.
pub(crate) async fn storage(name: &str) -> Option<Arc<dyn Storage>> {
    let url = fresh(name).await?;
    Some(Arc::new(PostgresStorage::connect(&url).await.unwrap()))
}

/// The URL of an empty schema.
pub(crate) async fn fresh(name: &str) -> Option<String> {
    static SERVER_URL: OnceLock<Result<String, String>> = OnceLock::new();
    let started = tokio::task::spawn_blocking(|| SERVER_URL.get_or_init(server)).await.unwrap();
    let url = match started {
        Ok(url) => url,
        Err(reason) => {
            skip(name, reason);
            return None;
        }
    };
    let schema = format!("t{}_{name}", std::process::id());
    let schema: String = schema.chars().take(60).collect();
    let mut connection = PgConnection::connect(url).await.unwrap();
    let create = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
    connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    let glue = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{glue}options=-c%20search_path%3D{schema}"))
}

/// Not through `println!`, whose output a passing test keeps for itself.
fn skip(name: &str, reason: &str) {
    use std::io::Write;
    let line = format!("SKIPPED: PostgreSQL {name}: {reason}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn server() -> Result<String, String> {
    if let Ok(url) = std::env::var(SERVER) {
        return Ok(url);
    }
    url(&postgres_cluster::start_cluster(SYNCED.load(Ordering::Relaxed))?)
}

fn url(folder: &Path) -> Result<String, String> {
    let socket = folder.to_str().ok_or("the temporary folder's name is not text")?.to_owned();
    Ok(format!("postgres://postgres@localhost/postgres?host={}", socket.replace('/', "%2F")))
}
