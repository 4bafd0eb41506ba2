//! Clients' connections: how many there may be, and how old they may become.
//!
//! A client that stays on one connection stays on one server, and a server that is added behind the same
//! name gets nothing. So a connection that has reached its age is ended in order: the client is told to open
//! another one (GOAWAY), the calls that it has begun are answered, its streams of submissions end once what
//! they have in flight is answered. Only what then still lasts beyond a grace is cut off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_stream::StreamExt as _;
use tonic::transport::server::{Connected, Router, TcpIncoming};

/// How often a silent connection is asked whether it is still there, if nobody says otherwise.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);
/// After its connection was told to end, a stream goes on for so long: its client has heard by then that the
/// next one needs another connection.
const STREAMS_LATER: Duration = Duration::from_millis(100);
/// How long to wait before the next connection is accepted when one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that may be open; one beyond that is closed at once.
    pub max_connections: usize,
    /// How old a connection becomes, give or take a tenth, drawn anew for each: so those that came together
    /// do not go together. `None`: as old as it likes.
    pub max_age: Option<Duration>,
    /// How long the calls of a connection may last beyond its age.
    pub grace: Duration,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 8_192,
            max_age: Some(Duration::from_secs(600)),
            grace: Duration::from_secs(60),
            keepalive: KEEPALIVE,
        }
    }
}

/// Connections of a listener, ready to be served. Only here do they get `TCP_NODELAY`: the router's own
/// setting reaches none but the sockets that it binds itself, and without it an answer waits up to
/// 40 ms for the acknowledgement of the one before.
pub fn connections(listener: TcpListener) -> TcpIncoming {
    kept_alive(listener, KEEPALIVE)
}

fn kept_alive(listener: TcpListener, every: Duration) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(every))
}

/// Serves connections until `closing`, then until all are closed, in order. It draws from `draw`, a number
/// from 0 to 1 for each connection.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    limits: ConnectionLimits,
    draw: fn() -> f64,
    closing: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(limits.max_connections));
    let (close, closed) = watch::channel(());
    let mut incoming = kept_alive(listener, limits.keepalive);
    let mut served = JoinSet::new();
    tokio::pin!(closing);
    loop {
        let stream = tokio::select! {
            () = &mut closing => break,
            Some(_) = served.join_next() => continue, // one has ended
            accepted = incoming.next() => match accepted {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => {
                    // Out of file descriptors, most often: that passes, and is not to be asked for at once.
                    tracing::warn!(%error, "a connection could not be accepted; trying on");
                    counter!("handfast_connections_total", "fate" => "failed").increment(1);
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                None => break,
            },
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            counter!("handfast_connections_total", "fate" => "refused").increment(1);
            continue; // dropped is closed: its client turns to another server
        };
        counter!("handfast_connections_total", "fate" => "accepted").increment(1);
        let jittered = |age: Duration| Instant::now().checked_add(age.mul_f64(0.9 + 0.2 * draw()));
        let end = limits.max_age.and_then(jittered); // beyond time itself is never
        let (connection, ended) = Connection::new(stream, permit, end, limits.grace);
        served.spawn(serve_one(router.clone(), connection, ended, closed.clone()));
    }
    drop(incoming); // from here on the port refuses connections
    drop(close);
    while served.join_next().await.is_some() {}
}

/// Serves one connection until it is closed; tells it to end when its time has come, or the server's.
async fn serve_one(
    router: Router,
    connection: Connection,
    ended: oneshot::Receiver<()>,
    mut closed: watch::Receiver<()>,
) {
    let age = connection.end;
    let signal = async move {
        tokio::select! {
            _ = ended => {}
            _ = closed.changed() => {}
            () = until(age) => counter!("handfast_connections_total", "fate" => "aged").increment(1),
        }
    };
    // It would end with its stream of connections: that has one, and no end.
    let only = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    if let Err(error) = router.serve_with_incoming_shutdown(only, signal).await {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Until that time, or for ever.
pub(super) async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// When a call's connection is told to end; in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aging {
    end: Option<Instant>,
}

impl Aging {
    /// When a stream of submissions should end.
    pub(super) fn of_streams(self) -> Option<Instant> {
        self.end?.checked_add(STREAMS_LATER)
    }
}

/// A client's connection.
struct Connection {
    stream: TcpStream,
    end: Option<Instant>,
    cut: Option<Pin<Box<Sleep>>>,
    _open: Open,
}

/// Kept while a connection is open.
struct Open {
    _permit: OwnedSemaphorePermit,
    _ended: oneshot::Sender<()>,
}

impl Connection {
    /// With what comes to an end when it is closed.
    fn new(
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        end: Option<Instant>,
        grace: Duration,
    ) -> (Self, oneshot::Receiver<()>) {
        let (sender, ended) = oneshot::channel();
        gauge!("handfast_connections").increment(1);
        let cut = end.and_then(|end| end.checked_add(grace)).map(|at| Box::pin(sleep_until(at)));
        (Self { stream, end, cut, _open: Open { _permit: permit, _ended: sender } }, ended)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!("handfast_connections").decrement(1);
    }
}

impl Connected for Connection {
    type ConnectInfo = Aging;

    fn connect_info(&self) -> Aging {
        Aging { end: self.end }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The transport reads as long as the connection lives, so here it is noticed.
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(context).is_ready()
        {
            self.cut = None;
            let message = "the connection is older than it may become, and its grace is over";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
