//! Messages to other servers, gathered while the engines are stepped and sent together.

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::peers::{PeerReply, PeerRequest, Transport};

/// One round's messages, by who gets them.
#[derive(Default)]
pub(super) struct Outgoing {
    requests: IndexMap<Arc<str>, Vec<PeerRequest>, FxBuildHasher>,
    replies: IndexMap<u64, Vec<PeerReply>, FxBuildHasher>,
}

impl Outgoing {
    pub(super) fn ask(&mut self, address: &Arc<str>, request: PeerRequest) {
        match self.requests.get_mut(address) {
            Some(requests) => requests.push(request),
            None => _ = self.requests.insert(address.clone(), vec![request]),
        }
    }

    pub(super) fn answer(&mut self, connection: u64, reply: PeerReply) {
        self.replies.entry(connection).or_default().push(reply);
    }

    pub(super) fn send(&mut self, transport: &dyn Transport) {
        for (address, requests) in self.requests.drain(..) {
            transport.ask(&address, requests);
        }
        for (connection, replies) in self.replies.drain(..) {
            transport.answer(connection, replies);
        }
    }
}
