//! Logs, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{Global, LogFormat};

/// Starts logging. A filter that cannot be read is reported and left out.
pub(crate) fn start(global: &Global) {
    // The table store's own library tells every file that it opens: that is debugging, not news.
    let filter = format!("fjall=warn,lsm_tree=warn,{}", global.log);
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
