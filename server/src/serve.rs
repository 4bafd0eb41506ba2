//! The server: bind, open, serve, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coordinator::service::peers::{PeerOptions, Peers};
use coordinator::service::{
    ConnectionLimits, ControlError, Drain, ServiceLimits, connections, router,
    serve as serve_router,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cli::{ClusterArgs, ConnectionArgs, Role, ServeArgs};
use crate::compose::{Member, System};
use crate::exit::Failure;
use crate::http::{Readiness, routes, start_metrics};

/// Bytes of one message between servers: many requests together, each as large as a transaction may be.
const MAX_PEER_MESSAGE_BYTES: usize = 256 << 20;
/// Files that a server has open beside connections: logs, tables, other servers.
const OTHER_FILES: u64 = 512;
/// How long connections may take to close once everything is answered.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Ports that this process holds.
struct Ports {
    grpc: TcpListener,
    http: TcpListener,
    peers: Option<TcpListener>,
}

/// `handfast serve`.
pub(crate) async fn command(args: ServeArgs) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let ports = Ports {
        grpc: bind(args.listen, "--listen").await?,
        http: bind(args.http, "--http").await?,
        peers: match args.cluster.peer_listen {
            Some(address) => Some(bind(address, "--peer-listen").await?),
            None => None,
        },
    };
    serve(&args, ports, signals).await.map_err(Failure::from)
}

/// Takes a port, or says who has it and what to do.
async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} of {} is taken by another program, perhaps another handfast serve; stop that, \
             or choose another port with {flag}",
            address.port(),
            address.ip()
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose another with {flag}"),
    })
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(args: &ServeArgs, ports: Ports, mut signals: Signals) -> anyhow::Result<()> {
    let (address, http) = (ports.grpc.local_addr()?, ports.http.local_addr()?);
    let readiness = Readiness::default();
    let operators = routes(readiness.clone(), start_metrics()?);
    tokio::spawn(async move { axum::serve(ports.http, operators).await });
    tracing::info!(data = %args.data.display(), "opening");
    let member = ports.peers.map(|listener| join(&args.cluster, listener)).transpose()?;
    let control = args.cluster.control.as_deref();
    let system = System::open(&args.data, address.to_string(), control, member).await?;
    let is_alone = args.cluster.peer_listen.is_none();
    create_missing(&system, &args.namespace, is_alone).await?;

    let connections = connection_limits(&args.connections);
    let limits = ServiceLimits { connections, ..ServiceLimits::default() };
    let (router, drain) = router(system.backend.clone(), system.control.clone(), limits).await;
    let (close, closing) = oneshot::channel::<()>();
    let closing = async {
        let _ = closing.await; // a sender that is gone closes too
    };
    let serving = serve_router(router, ports.grpc, connections, rand::random, closing);
    let mut serving = tokio::spawn(serving);
    readiness.set(true);
    tracing::info!(%address, %http, "serving");

    let mut failed = None;
    tokio::select! {
        () = signals.next() => {}
        why = failure(&system) => failed = Some(why),
        ended = &mut serving => {
            ended.context("the gRPC server was cut off")?;
            anyhow::bail!("the gRPC server stopped");
        }
    }
    readiness.set(false);
    let stopping = stop(args.drain, system, drain, close, serving);
    tokio::select! {
        () = stopping => tracing::info!("stopped"),
        () = signals.next() => anyhow::bail!("stopped at once by a second signal"),
    }
    failed.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
}

/// What may be connected, and room for it: each connection is a file to the system.
fn connection_limits(args: &ConnectionArgs) -> ConnectionLimits {
    let files = raise_file_limit();
    let needed = u64::from(args.max_connections) + OTHER_FILES;
    if files.is_some_and(|files| files < needed) {
        tracing::warn!(
            files,
            needed,
            "this process may have fewer files open than --max-connections needs: raise its limit \
             (ulimit -n, LimitNOFILE), or lower that"
        );
    }
    ConnectionLimits {
        max_connections: args.max_connections as usize,
        max_age: (!args.connection_age.is_zero()).then_some(args.connection_age),
        grace: args.connection_grace,
        keepalive: args.keepalive,
    }
}

/// Raises the number of files that this process may have open to what the system allows it; `None` is
/// without a bound.
fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Begins to listen for the other servers and to look for them.
fn join(args: &ClusterArgs, listener: TcpListener) -> anyhow::Result<Member> {
    let address: Arc<str> = match &args.peer_address {
        Some(address) => address.as_str().into(),
        None => listener.local_addr()?.to_string().into(),
    };
    let peers = Peers::start(PeerOptions {
        cluster: args.name.clone(),
        address: address.clone(),
        seeds: args.peer.iter().map(|peer| peer.as_str().into()).collect(),
        max_message_bytes: MAX_PEER_MESSAGE_BYTES,
    });
    tracing::info!(cluster = args.name, %address, "listening for the other servers");
    let router = tonic::transport::Server::builder().add_service(peers.service());
    tokio::spawn(router.serve_with_incoming(connections(listener))); // until the process ends
    let leads = matches!(args.role, Role::Both | Role::Participant);
    let delivers = matches!(args.role, Role::Both | Role::Delivery);
    let pool = leads.then(|| args.pool.clone());
    Ok(Member { cluster: args.name.clone(), peers, address, delivers, pool })
}

/// Comes back when a namespace has failed: a server that cannot commit is better restarted than left
/// standing, for a restart finds the truth.
async fn failure(system: &System) -> String {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    loop {
        if let Some(why) = system.failure() {
            return why;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// NOT_SERVING first, then what is in work, then the connections, then the engines.
async fn stop(
    patience: Duration,
    system: System,
    drain: Drain,
    close: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
) {
    let end = Instant::now() + patience;
    tracing::info!(?patience, "draining");
    drain.begin().await;
    if tokio::time::timeout_at(end, drain.finished()).await.is_err() {
        tracing::warn!(?patience, "calls are still in work; their outcomes can be asked for later");
    }
    let _ = close.send(()); // a server that is gone is closed
    let _ = tokio::time::timeout(CLOSE_PATIENCE, serving).await; // the rest is cut off at exit
    let left = end.saturating_duration_since(Instant::now()).max(CLOSE_PATIENCE);
    system.stop_delivering(left).await;
    let left = end.saturating_duration_since(Instant::now()).max(CLOSE_PATIENCE);
    let stopped = tokio::task::spawn_blocking(move || system.stop(left)).await;
    if let Err(error) = stopped {
        tracing::error!(%error, "the engines did not stop in order; the log has everything");
    }
}

/// Creates the namespaces of files whose name is not there yet. One that is keeps what it has. One that
/// cannot be served yet stops a server that is alone; the others have more to do.
async fn create_missing(system: &System, files: &[PathBuf], is_alone: bool) -> anyhow::Result<()> {
    for file in files {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the namespace file {shown}"))?;
        match system.control.create(&text).await {
            Ok(created) => tracing::info!(namespace = created.namespace.name(), "created"),
            Err(ControlError::Exists { name }) => tracing::info!(namespace = name, "exists"),
            Err(ControlError::Unserved(why)) if !is_alone => tracing::error!("{shown}: {why}"),
            Err(error) => anyhow::bail!("{shown}: {error}"),
        }
    }
    Ok(())
}
