//! The command line of `handfast serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Stops on SIGTERM or SIGINT: says NOT_SERVING, finishes what is in work, exits 0. A second signal stops
it at once; what was acknowledged is safe either way.

Examples:
  handfast serve --data ./data
  handfast serve --data ./data --namespace examples/bank.toml --listen 0.0.0.0:7420")]
pub(crate) struct ServeArgs {
    /// Folder for the log, the tables and the control database; created if absent
    #[arg(long, env = "HANDFAST_DATA", default_value = "handfast-data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Address for gRPC
    #[arg(long, env = "HANDFAST_LISTEN", default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    pub(crate) listen: std::net::SocketAddr,
    /// Address for /metrics, /livez, /readyz and /version
    #[arg(long, env = "HANDFAST_HTTP", default_value = "127.0.0.1:7421", value_name = "ADDRESS")]
    pub(crate) http: std::net::SocketAddr,
    /// Namespace file to create at start if there is no namespace of its name; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) namespace: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    /// How long to go on with what is in work after a signal to stop
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub(crate) drain: Duration,
}

/// Bounds of clients' connections.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct ConnectionArgs {
    /// Clients' connections that may be open; one beyond that is closed at once
    #[arg(
        long,
        env = "HANDFAST_MAX_CONNECTIONS",
        default_value_t = 8_192,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        value_name = "N"
    )]
    pub(crate) max_connections: u32,
    /// How old a connection becomes, give or take a tenth, before its client is told to open another: so
    /// servers that are added get some; 0s is for ever
    #[arg(
        long,
        env = "HANDFAST_CONNECTION_AGE",
        default_value = "10m",
        value_parser = duration,
        value_name = "DURATION"
    )]
    pub(crate) connection_age: Duration,
    /// How long the calls of a connection may last beyond its age
    #[arg(
        long,
        env = "HANDFAST_CONNECTION_GRACE",
        default_value = "60s",
        value_parser = duration,
        value_name = "DURATION"
    )]
    pub(crate) connection_grace: Duration,
    /// How often a silent connection is asked whether it is still there
    #[arg(
        long,
        env = "HANDFAST_KEEPALIVE",
        default_value = "30s",
        value_parser = at_least_a_second,
        value_name = "DURATION"
    )]
    pub(crate) keepalive: Duration,
}

/// One server of several.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Database of the control plane: postgres://user@host/database [default: a file in the data folder]
    #[arg(long, env = "HANDFAST_CONTROL", value_name = "URL")]
    pub(crate) control: Option<String>,
    /// Address for the other servers of the cluster; without it this server is alone
    #[arg(long, env = "HANDFAST_PEER_LISTEN", value_name = "ADDRESS")]
    pub(crate) peer_listen: Option<std::net::SocketAddr>,
    /// Where the others reach that [default: the address itself]
    #[arg(long, env = "HANDFAST_PEER_ADDRESS", value_name = "HOST:PORT", requires = "peer_listen")]
    pub(crate) peer_address: Option<String>,
    /// Another server's peer address, to learn of all the others from; may be repeated
    #[arg(
        long,
        env = "HANDFAST_PEERS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires = "peer_listen"
    )]
    pub(crate) peer: Vec<String>,
    /// Name of the cluster: the same for all its servers, another for every other deployment
    #[arg(
        long = "cluster",
        env = "HANDFAST_CLUSTER",
        default_value = "handfast",
        value_name = "NAME"
    )]
    pub(crate) name: String,
    /// What this server does in the cluster
    #[arg(long, env = "HANDFAST_ROLE", value_enum, default_value = "both")]
    pub(crate) role: Role,
    /// Pool that this participant belongs to: it leads shards of the namespaces that are served by it
    #[arg(long, env = "HANDFAST_POOL", default_value = control::DEFAULT_POOL, value_name = "NAME")]
    pub(crate) pool: String,
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes clients' calls, leads shards, and delivers messages to targets
    Both,
    /// Takes clients' calls only
    Gateway,
    /// Leads shards; takes clients' calls too, if any are sent to it
    Participant,
    /// Delivers messages to targets; takes clients' calls too, if any are sent to it
    Delivery,
}

/// A duration below which nothing sensible happens.
fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < Duration::from_secs(1) {
        return Err("at least 1s".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_not_asked_all_the_time() {
        assert!(at_least_a_second("999ms").is_err() && at_least_a_second("1s").is_ok());
    }
}
