//! What other servers ask over connections of theirs.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use handfast_proto::peer;
use handfast_proto::peer::peer_service_server::PeerService;
use participant::message::codec::MESSAGE_VERSION;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::queue::{Waiting, queue};
use super::{Peers, QUEUE, wire};

pub(super) struct Inbound {
    pub(super) peers: Arc<Peers>,
}

#[tonic::async_trait]
impl PeerService for Inbound {
    type ExchangeStream =
        Pin<Box<dyn Stream<Item = Result<peer::ExchangeResponse, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<peer::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?;
        let hello = first.as_ref().and_then(|first| first.hello.clone());
        let hello =
            hello.ok_or_else(|| Status::invalid_argument("the first message says hello"))?;
        check(&hello, &self.peers.options.cluster)?;
        let address: Arc<str> = hello.address.into();
        self.peers.link(&address);

        let connection = self.peers.next_connection();
        let (asker, replies) = queue(QUEUE);
        let mut askers = self.peers.askers.lock().unwrap_or_else(PoisonError::into_inner);
        askers.insert(connection, asker);
        drop(askers);
        let peers = self.peers.clone();
        tokio::spawn(async move {
            let mut next = first;
            while let Some(message) = next {
                take(&peers, connection, &address, message);
                next = messages.message().await.ok().flatten();
            }
            peers.askers.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection);
        });
        let replies = ReceiverStream::new(replies)
            .map(Waiting::take)
            .map(|batch| Ok(peer::ExchangeResponse { replies: vec![batch] }));
        Ok(Response::new(Box::pin(replies)))
    }
}

fn check(hello: &peer::Hello, cluster: &str) -> Result<(), Status> {
    if hello.message_version != MESSAGE_VERSION {
        return Err(Status::failed_precondition(format!(
            "this server speaks version {MESSAGE_VERSION} to its peers, the other version {}; \
             upgrade the older one",
            hello.message_version
        )));
    }
    if hello.cluster != cluster {
        return Err(Status::failed_precondition(format!(
            "this server belongs to cluster {cluster:?}, the other to {:?}; check --cluster and \
             --peer of both",
            hello.cluster
        )));
    }
    Ok(())
}

fn take(peers: &Peers, connection: u64, address: &Arc<str>, message: peer::ExchangeRequest) {
    for known in message.known {
        peers.link(&known.into());
    }
    for beat in &message.beats {
        match wire::heard(address, beat) {
            Ok(heard) => peers.hand_over(&beat.namespace, heard),
            Err(error) => tracing::error!(%address, %error, "a server sends what cannot be read"),
        }
    }
    for batch in message.requests {
        let namespace = batch.namespace.clone();
        match wire::requests(connection, batch) {
            Ok(asked) => peers.hand_over(&namespace, asked),
            Err(error) => tracing::error!(%address, %error, "a server sends what cannot be read"),
        }
    }
}
