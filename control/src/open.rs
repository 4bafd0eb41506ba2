//! Finding, opening and bringing up to date the database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};

use crate::error::OpenError;
use crate::plane::ControlPlane;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections to the database: administration is rare, and who changes dead letters has one at most.
const MAX_CONNECTIONS: u32 = 4;
/// How long a server may take to accept a connection, and to finish one statement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What is said to every new connection to SQLite: wait five seconds for another process that is writing;
/// an answer means that it is on disk.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
                              PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
/// What shows that a connection to SQLite has no transaction open when it comes back: a transaction that met
/// a full disk is rolled back by SQLite itself, after which the library may leave the next one open, and with it
/// the lock of the whole file. Such a connection is closed.
const SQLITE_IS_FREE: &str = "BEGIN; ROLLBACK";

/// What is said to every new connection to PostgreSQL: none of our statements takes long, unless a lock is not let go.
const POSTGRES_SESSION: &str = "SET statement_timeout = 5000; SET application_name = 'handfast'";

/// Bringing a database up to date may wait longer: for another server that is doing so.
const POSTGRES_MIGRATION: &str = "SET statement_timeout = 60000; SET application_name = 'handfast'";

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl ControlPlane {
    /// Opens the database at an address, `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`,
    /// and brings it up to date. A SQLite file that is not there is created.
    ///
    /// A database that a newer version made is refused and left as it is.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        if let Some(path) = address.strip_prefix("sqlite:") {
            return Self::open_file(path.strip_prefix("//").unwrap_or(path)).await;
        }
        if !["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme)) {
            return Err(OpenError::BadAddress { address: without_password(address) });
        }
        open(Kind::Postgres, address, without_password(address)).await
    }

    /// Opens a SQLite file, creates it if it is not there, and brings it up to date.
    pub async fn open_file(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let url = format!("sqlite:{}?mode=rwc", percent_encoded(&shown));
        open(Kind::Sqlite, &url, shown).await
    }

    /// Waits for calls under way and closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Which database, for messages: without its password.
    pub fn address(&self) -> &str {
        &self.address
    }
}

async fn open(kind: Kind, url: &str, shown: String) -> Result<ControlPlane, OpenError> {
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions =
        url.parse().map_err(|_| OpenError::BadAddress { address: shown.clone() })?;
    let options = options.disable_statement_logging();
    let (session, migration) = match kind {
        Kind::Sqlite => (SQLITE_SESSION, SQLITE_SESSION),
        Kind::Postgres => (POSTGRES_SESSION, POSTGRES_MIGRATION),
    };
    // One by itself first: a pool hides why it got none behind its own timeout.
    let first = async {
        let mut connection = AnyConnection::connect_with(&options).await?;
        connection.execute(session).await?;
        connection.close().await
    };
    match tokio::time::timeout(PATIENCE, first).await {
        Ok(Ok(())) => {}
        Ok(Err(source)) => return Err(OpenError::from_database(&shown, source)),
        Err(_) => return Err(OpenError::TimedOut { address: shown, patience: PATIENCE }),
    }
    let migrating = pool(options.clone(), 1, migration);
    let done = bring_up_to_date(&migrating, &shown).await;
    migrating.close().await;
    done?;
    let pool = pool(options, MAX_CONNECTIONS, session);
    Ok(ControlPlane { pool, address: shown.into(), kind, writing: Arc::default() })
}

/// Connections to which `session` is said first.
fn pool(options: AnyConnectOptions, connections: u32, session: &'static str) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(session).await.map(|_| ()) })
        })
        .after_release(move |connection, _| {
            Box::pin(async move {
                Ok(session != SQLITE_SESSION || connection.execute(SQLITE_IS_FREE).await.is_ok())
            })
        })
        .connect_lazy_with(options)
}

async fn bring_up_to_date(pool: &AnyPool, shown: &str) -> Result<(), OpenError> {
    MIGRATIONS.run(pool).await.map_err(|error| describe_migration(shown, error))?;
    sqlx::query(
        "INSERT INTO installation (only_row, id, revision) VALUES (1, $1, 0) \
         ON CONFLICT (only_row) DO NOTHING",
    )
    .bind(uuid::Uuid::now_v7().to_string())
    .execute(pool)
    .await
    .map_err(|source| OpenError::from_database(shown, source))?;
    Ok(())
}

fn describe_migration(shown: &str, error: MigrateError) -> OpenError {
    let address = shown.to_owned();
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(found) if found > known => {
            OpenError::TooNew { address, found, known }
        }
        MigrateError::VersionMissing(migration) | MigrateError::VersionMismatch(migration) => {
            OpenError::Foreign { address, migration }
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            OpenError::from_database(shown, source)
        }
        why => OpenError::Migrate { address, why },
    }
}

/// A path as it may stand in a URL.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// An address as it may be logged.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('?').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((who, host)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}{path}")
        }
        None => format!("{scheme}://{authority}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (address, shown) in [
            (
                "postgres://ada:secret@db:5432/x?sslmode=require&password=secret",
                "postgres://ada@db:5432/x",
            ),
            ("postgres://ada:sec@ret@db/x", "postgres://ada@db/x"),
            ("postgres://db/x", "postgres://db/x"),
            ("postgres://ada:secret@db", "postgres://ada@db"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }

    #[test]
    fn a_path_survives_in_a_url() {
        assert_eq!(percent_encoded("/a b/ü?#%.db"), "/a%20b/%C3%BC%3F%23%25.db");
    }
}
