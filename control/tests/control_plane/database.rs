//! Empty databases of both kinds.

use std::sync::atomic::{AtomicU32, Ordering};

use control::ControlPlane;
use handfast_stack::Stack;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;

/// A database with nothing in it.
pub(crate) struct Database {
    pub(crate) address: String,
    // Deleted with it.
    _folder: Option<TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = format!("sqlite:{}", folder.path().join("control.db").display());
        Self { address, _folder: Some(folder) }
    }

    /// Another one on the same server.
    pub(crate) async fn postgres(stack: &Stack) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = stack.postgres_url().expect("it was asked for");
        run(&url, format!("CREATE DATABASE {name}")).await;
        let (server, _) = url.rsplit_once('/').expect("a database at the end");
        Self { address: format!("{server}/{name}"), _folder: None }
    }

    pub(crate) async fn open(&self) -> ControlPlane {
        ControlPlane::open(&self.address).await.expect("a database")
    }

    /// As another process has it. Of a SQLite file that is written all the time, the one that is given: who
    /// finds it written by another process gets in by luck.
    pub(crate) async fn another(&self, opened: &ControlPlane) -> ControlPlane {
        match self.address.starts_with("sqlite:") {
            true => opened.clone(),
            false => self.open().await,
        }
    }

    /// Runs a statement behind the control plane's back.
    pub(crate) async fn run(&self, statement: &str) {
        // The one thing that the two write differently.
        let statement = match self.address.starts_with("sqlite:") {
            true => statement.to_owned(),
            false => statement.replace("X'00'", "'\\x00'::bytea"),
        };
        run(&self.address, statement).await;
    }
}

async fn run(address: &str, statement: String) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(address).await.expect("a database");
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("a good statement");
    connection.close().await.expect("closed");
}
