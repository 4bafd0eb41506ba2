//! This server's connection to another one.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use handfast_proto::peer;
use handfast_proto::peer::peer_service_client::PeerServiceClient;
use participant::message::codec::MESSAGE_VERSION;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::queue::Waiting;
use super::{Peers, QUEUE, wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Queued messages that are sent as one, at most.
const TOGETHER: usize = 256;

/// What is to be sent.
pub(super) enum Outgoing {
    Requests(peer::Batch),
    Beat(peer::Beat),
}

/// Connects, and connects again, until the server ends.
pub(super) async fn keep_connected(
    peers: Weak<Peers>,
    address: Arc<str>,
    mut queue: mpsc::Receiver<Waiting<Outgoing>>,
) {
    let mut retry = FIRST_RETRY;
    let mut told = false;
    while let Some(alive) = peers.upgrade() {
        let ended = connect_once(&alive, &address, &mut queue).await;
        drop(alive);
        match ended {
            Ended::QueueClosed => return,
            Ended::AfterExchange => (retry, told) = (FIRST_RETRY, false),
            Ended::Refused(why) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%address, why, "a server cannot be talked to; trying on");
                }
                retry = (2 * retry).min(LAST_RETRY);
            }
        }
        // What waited for the connection is stale by now: whoever needs it asks again.
        while queue.try_recv().is_ok() {}
        sleep(retry).await;
    }
}

enum Ended {
    QueueClosed,
    AfterExchange,
    Refused(String),
}

async fn connect_once(
    peers: &Arc<Peers>,
    address: &Arc<str>,
    queue: &mut mpsc::Receiver<Waiting<Outgoing>>,
) -> Ended {
    let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
        Ok(endpoint) => endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true),
        Err(error) => return Ended::Refused(error.to_string()),
    };
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => {
            peers.gone(address);
            return Ended::Refused(format!("{error}: {}", sources(&error)));
        }
    };
    match exchange(peers, channel, queue).await {
        Ok(ended) => ended,
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::Unimplemented) => {
            Ended::Refused(status.message().to_owned())
        }
        Err(_) => Ended::AfterExchange,
    }
}

fn sources(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

async fn exchange(
    peers: &Arc<Peers>,
    channel: Channel,
    queue: &mut mpsc::Receiver<Waiting<Outgoing>>,
) -> Result<Ended, Status> {
    let bytes = peers.options.max_message_bytes;
    let mut client = PeerServiceClient::new(channel).max_decoding_message_size(bytes);
    let (to_server, messages) = mpsc::channel(QUEUE / TOGETHER);
    let hello = peer::Hello {
        message_version: MESSAGE_VERSION,
        cluster: peers.options.cluster.clone(),
        address: peers.options.address.to_string(),
    };
    let first = peer::ExchangeRequest {
        hello: Some(hello),
        beats: peers
            .beats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect(),
        known: peers.known().iter().map(ToString::to_string).collect(),
        ..peer::ExchangeRequest::default()
    };
    let _ = to_server.send(first).await; // the receiver is held below
    let opened = timeout(CONNECT_TIMEOUT, client.exchange(ReceiverStream::new(messages))).await;
    let opened = opened.map_err(|_| Status::deadline_exceeded("it does not answer"))?;
    let mut replies = opened?.into_inner();
    loop {
        tokio::select! {
            next = queue.recv() => {
                let Some(next) = next else { return Ok(Ended::QueueClosed) };
                let message = gather(next, queue);
                if to_server.send(message).await.is_err() {
                    return Ok(Ended::AfterExchange);
                }
            }
            reply = replies.message() => {
                let Some(response) = reply? else { return Ok(Ended::AfterExchange) };
                for batch in response.replies {
                    let namespace = batch.namespace.clone();
                    match wire::replies(batch) {
                        Ok(message) => peers.hand_over(&namespace, message),
                        Err(error) => tracing::error!(%error, "a server sends what cannot be read"),
                    }
                }
            }
        }
    }
}

/// What waits is sent as one message.
fn gather(
    first: Waiting<Outgoing>,
    queue: &mut mpsc::Receiver<Waiting<Outgoing>>,
) -> peer::ExchangeRequest {
    let mut message = peer::ExchangeRequest::default();
    let rest = std::iter::from_fn(|| queue.try_recv().ok()).take(TOGETHER);
    for outgoing in std::iter::once(first).chain(rest) {
        match outgoing.take() {
            Outgoing::Requests(batch) => message.requests.push(batch),
            Outgoing::Beat(beat) => message.beats.push(beat),
        }
    }
    message
}
