//! `lin-kv` as a service on Maelstrom's network.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::memory::{from_body, to_body};
use super::{Answer, Done, Kv, Request};
use crate::protocol::Message;

/// The service's name on the network.
pub const SERVICE: &str = "lin-kv";

/// How often requests without an answer are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Sends messages to the network.
pub type Send = Arc<dyn Fn(Message) + std::marker::Send + Sync>;

struct Waiting {
    done: Done,
    until: Instant,
}

/// A client of the service. Requests that nobody answers in time are answered [`Answer::Unknown`].
pub struct RemoteKv {
    node: String,
    send: Send,
    ids: Arc<AtomicU64>,
    patience: Duration,
    waiting: Mutex<BTreeMap<u64, Waiting>>,
}

impl RemoteKv {
    /// A client for the node of this name. `ids` numbers all messages of the node.
    pub fn new(node: String, send: Send, ids: Arc<AtomicU64>, patience: Duration) -> Arc<Self> {
        let kv = Arc::new(Self { node, send, ids, patience, waiting: Mutex::default() });
        let weak = Arc::downgrade(&kv);
        std::thread::spawn(move || expire(&weak));
        kv
    }

    /// Takes an answer of the service in.
    pub fn on_reply(&self, in_reply_to: u64, body: &Map<String, Value>) {
        let waiting = self.lock().remove(&in_reply_to);
        if let Some(Waiting { done, .. }) = waiting {
            done(from_body(body));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up on what was not answered in time, until the client is dropped.
fn expire(kv: &Weak<RemoteKv>) {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let Some(kv) = kv.upgrade() else { return };
        let now = Instant::now();
        let late: Vec<Waiting> = {
            let mut waiting = kv.lock();
            waiting.extract_if(.., |_, request| request.until <= now).map(|(_, late)| late).collect()
        };
        for Waiting { done, .. } in late {
            done(Answer::Unknown("lin-kv did not answer in time".into()));
        }
    }
}

impl Kv for RemoteKv {
    fn call(&self, request: Request, done: Done) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut body = to_body(&request);
        body.insert("msg_id".into(), id.into());
        let until = Instant::now() + self.patience;
        self.lock().insert(id, Waiting { done, until });
        (self.send)(Message { src: self.node.clone(), dest: SERVICE.into(), body });
    }
}
