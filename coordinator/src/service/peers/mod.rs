//! The network between the servers of one cluster: every server keeps one connection to each other one,
//! over which it sends its requests and says how it is; replies come back over the same.
//!
//! ```text
//!            ┌── Exchange ──▶ requests, beats ──▶┐
//!   server A │                                   │ server B
//!            └◀────────────── replies ◀──────────┘          (and the same from B to A)
//! ```
//!
//! Nothing here waits for anything: a queue that is full, or a connection that is down, drops what it is
//! given, and the engines ask again. Namespaces share a queue fairly, so that one that floods is the one whose
//! messages are dropped. What is received is handed to the namespace that it names.

mod inbound;
mod outbound;
mod queue;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use handfast_proto::peer;
use handfast_proto::peer::peer_service_server::PeerServiceServer;
use tokio::runtime::Handle as Tokio;

use crate::placement::Beat;
use crate::runtime::{FromPeer, Handle, PeerReply, PeerRequest, Transport};
use inbound::Inbound;
use outbound::Outgoing;
use queue::Queue;

/// Messages that wait for one connection, of all namespaces; beyond it they are dropped.
const QUEUE: usize = 4_096;

/// Who this server is to the others.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// Servers of different clusters do not talk to each other.
    pub cluster: String,
    /// Where the others can reach this server.
    pub address: Arc<str>,
    /// Servers to begin with; the others are learned from them.
    pub seeds: Vec<Arc<str>>,
    /// Bytes of one message.
    pub max_message_bytes: usize,
}

/// The way to and from all other servers.
pub struct Peers {
    options: PeerOptions,
    tokio: Tokio,
    namespaces: RwLock<BTreeMap<String, Handle>>,
    /// By address, of every server that was ever heard of.
    links: Mutex<BTreeMap<Arc<str>, Queue<Outgoing>>>,
    /// By number, of every server that asks over a connection of its own.
    askers: Mutex<BTreeMap<u64, Queue<peer::Batch>>>,
    last_connection: AtomicU64,
    /// The newest beat of each namespace, for connections that come up.
    beats: Mutex<BTreeMap<String, peer::Beat>>,
    this: Weak<Self>,
}

impl Peers {
    /// Begins to look for the seeds. To be called within a tokio runtime, on which everything here runs.
    pub fn start(options: PeerOptions) -> Arc<Self> {
        let peers = Arc::new_cyclic(|this| Self {
            tokio: Tokio::current(),
            namespaces: RwLock::default(),
            links: Mutex::default(),
            askers: Mutex::default(),
            last_connection: AtomicU64::new(0),
            beats: Mutex::default(),
            this: this.clone(),
            options,
        });
        for seed in peers.options.seeds.clone() {
            peers.link(&seed);
        }
        peers
    }

    /// The service that the others call.
    pub fn service(&self) -> PeerServiceServer<impl peer::peer_service_server::PeerService> {
        let peers = self.this.upgrade().expect("it is called through an Arc");
        let bytes = self.options.max_message_bytes;
        PeerServiceServer::new(Inbound { peers }).max_decoding_message_size(bytes)
    }

    /// Carries one namespace's messages.
    pub fn transport(&self, namespace: &str) -> Arc<dyn Transport> {
        let peers = self.this.upgrade().expect("it is called through an Arc");
        Arc::new(OfNamespace { peers, namespace: namespace.into() })
    }

    /// From now on, what the others send for this namespace is handed over to it.
    pub fn register(&self, namespace: &str, handle: Handle) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(namespace.to_owned(), handle);
    }

    /// Where the others are reached, as far as is known.
    pub fn known(&self) -> Vec<Arc<str>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn hand_over(&self, namespace: &str, message: FromPeer) {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = namespaces.get(namespace) {
            handle.from_peer(message);
        }
    }

    fn gone(&self, address: &Arc<str>) {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        for handle in namespaces.values() {
            handle.from_peer(FromPeer::Gone { address: address.clone() });
        }
    }

    /// The queue to a server, which is connected to if it was not known.
    fn link(&self, address: &Arc<str>) -> Option<Queue<Outgoing>> {
        if *address == self.options.address {
            return None;
        }
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(address) {
            return Some(link.clone());
        }
        let (link, queue) = queue::queue(QUEUE);
        links.insert(address.clone(), link.clone());
        tracing::info!(%address, "a server is known");
        self.tokio.spawn(outbound::keep_connected(self.this.clone(), address.clone(), queue));
        Some(link)
    }
}

struct OfNamespace {
    peers: Arc<Peers>,
    namespace: Arc<str>,
}

impl Transport for OfNamespace {
    fn ask(&self, address: &Arc<str>, requests: Vec<PeerRequest>) {
        let Some(link) = self.peers.link(address) else { return };
        let items = requests.iter().map(wire::request).collect();
        let batch = peer::Batch { namespace: self.namespace.to_string(), items };
        if link.offer(&self.namespace, Outgoing::Requests(batch)).is_err() {
            metrics::counter!("handfast_peer_dropped_total", "what" => "requests").increment(1);
        }
    }

    fn answer(&self, connection: u64, replies: Vec<PeerReply>) {
        let askers = self.peers.askers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asker) = askers.get(&connection).cloned() else { return };
        drop(askers);
        let items = replies.iter().map(wire::reply).collect();
        let batch = peer::Batch { namespace: self.namespace.to_string(), items };
        if asker.offer(&self.namespace, batch).is_err() {
            metrics::counter!("handfast_peer_dropped_total", "what" => "replies").increment(1);
        }
    }

    fn beat(&self, beat: Beat) {
        let beat = wire::beat(&self.namespace, &beat);
        let mut beats = self.peers.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.insert(self.namespace.to_string(), beat.clone());
        drop(beats);
        let links = self.peers.links.lock().unwrap_or_else(PoisonError::into_inner);
        for link in links.values() {
            let _ = link.offer_anyway(Outgoing::Beat(beat.clone())); // another follows soon
        }
    }
}

impl Peers {
    fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests;
