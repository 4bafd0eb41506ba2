//! Logs, on stderr.

use std::io::IsTerminal;

use participant::store::{cassandra, embedded};
use tracing_subscriber::EnvFilter;

use crate::cli::{Global, LogFormat};

/// Starts logging. A filter that cannot be read is reported and left out.
pub(crate) fn start(global: &Global) {
    let (embedded, cluster) = (embedded::QUIET_LOGS, cassandra::QUIET_LOGS);
    let filter = format!("{embedded},{cluster},sqlx=warn,{}", global.log);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("warning: log filter {:?} is not understood: {error}", global.log);
        EnvFilter::new("info")
    });
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour);
    match global.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
