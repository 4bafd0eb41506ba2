//! The client verbs.

pub(crate) mod check;
pub(crate) mod delayed;
pub(crate) mod deliveries;
pub(crate) mod explain;
pub(crate) mod namespace;
pub(crate) mod outcome;
pub(crate) mod parked;
pub(crate) mod pool;
pub(crate) mod read;
pub(crate) mod recover;
mod redrive;
pub(crate) mod region;
mod render;
pub(crate) mod submit;
pub(crate) mod subscribe;
pub(crate) mod txn;
mod wire;
pub(crate) mod write;

use std::io::Read;
use std::path::Path;

use handfast_client::{Client, Level, Options, RetryPolicy};
use wal_core::namespace::Namespace;

use crate::cli::{Global, Wait};
use crate::exit::Failure;

/// A client that goes on trying as long as `--timeout`.
async fn connect(global: &Global) -> Result<Client, Failure> {
    connect_to(global, global.endpoint.clone()).await
}

/// The same, to other servers.
async fn connect_to(global: &Global, endpoints: Vec<String>) -> Result<Client, Failure> {
    let defaults = Options::default();
    let options = Options {
        wait: global.timeout.min(defaults.wait),
        retry: RetryPolicy { give_up_after: global.timeout, ..RetryPolicy::default() },
        connect_timeout: global.timeout.min(defaults.connect_timeout),
        ..defaults
    };
    Ok(Client::connect_with(endpoints, options).await?)
}

/// The namespace as the server has it, to read and print JSON with.
async fn namespace(client: &Client, name: &str) -> Result<Namespace, Failure> {
    let described = client.admin().describe_namespace(name).await?;
    let namespace = Namespace::from_toml(&described.definition).map_err(|error| {
        let hint = "are the command line and the server of one version?";
        Failure::error(format!(
            "the server's definition of {name:?} cannot be read ({hint}): {error}"
        ))
    })?;
    Ok(namespace.with_version(described.version))
}

/// A file's text; - is stdin.
fn read_text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::error(format!("cannot read {}: {error}", file.display())))?;
    Ok(text)
}

impl From<Wait> for Level {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Logged => Self::Logged,
            Wait::Committed => Self::Committed,
            Wait::Applied => Self::Applied,
        }
    }
}
