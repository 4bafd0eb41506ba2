//! `lin-kv` as a service on Maelstrom's network.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::memory::{from_body, to_body};
use super::{Answer, Done, Kv, Request};
use crate::protocol::Message;

/// The service's name on the network.
pub const SERVICE: &str = "lin-kv";

/// How often requests without an answer are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A request is not given up before this, however fast the service has answered so far.
const LEAST_PATIENCE: Duration = Duration::from_millis(20);
/// How long it is remembered when an unanswered request was sent: a late answer still tells how slow the
/// network is.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Sends messages to the network.
pub type Send = Arc<dyn Fn(Message) + std::marker::Send + Sync>;

struct Waiting {
    /// Who waits; nobody any more once it was given up.
    done: Option<Done>,
    sent: Instant,
    until: Instant,
}

/// How long answers take: the mean and the mean deviation, both smoothed, as TCP does for the same end.
#[derive(Clone, Copy, Debug)]
struct Pace {
    mean: Duration,
    deviation: Duration,
}

impl Pace {
    fn learn(&mut self, took: Duration) {
        let off = self.mean.abs_diff(took);
        self.deviation = (self.deviation * 3 + off) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    /// After this an answer is unlikely to come.
    fn patience(self, most: Duration) -> Duration {
        (self.mean + self.deviation * 4).clamp(LEAST_PATIENCE.min(most), most)
    }
}

struct State {
    waiting: BTreeMap<u64, Waiting>,
    pace: Pace,
}

/// A client of the service. Requests that nobody answers in time are answered [`Answer::Unknown`]; what is
/// in time follows from how long answers took.
pub struct RemoteKv {
    node: String,
    send: Send,
    ids: Arc<AtomicU64>,
    patience: Duration,
    state: Mutex<State>,
}

impl RemoteKv {
    /// A client for the node of this name, which waits for no answer longer than `patience`. `ids` numbers
    /// all messages of the node.
    pub fn new(node: String, send: Send, ids: Arc<AtomicU64>, patience: Duration) -> Arc<Self> {
        let pace = Pace { mean: patience / 4, deviation: patience / 8 };
        let state = Mutex::new(State { waiting: BTreeMap::new(), pace });
        let kv = Arc::new(Self { node, send, ids, patience, state });
        let weak = Arc::downgrade(&kv);
        std::thread::spawn(move || expire(&weak));
        kv
    }

    /// Takes an answer of the service in.
    pub fn on_reply(&self, in_reply_to: u64, body: &Map<String, Value>) {
        let done = {
            let mut state = self.lock();
            let Some(waiting) = state.waiting.remove(&in_reply_to) else { return };
            state.pace.learn(waiting.sent.elapsed());
            waiting.done
        };
        if let Some(done) = done {
            done(from_body(body));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up on what was not answered in time, until the client is dropped.
fn expire(kv: &Weak<RemoteKv>) {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let Some(kv) = kv.upgrade() else { return };
        let now = Instant::now();
        let late: Vec<Done> = {
            let mut state = kv.lock();
            state.waiting.retain(|_, it| it.done.is_some() || now < it.sent + REMEMBERED);
            let late = state.waiting.values_mut().filter(|request| request.until <= now);
            late.filter_map(|request| request.done.take()).collect()
        };
        for done in late {
            done(Answer::Unknown("lin-kv did not answer in time".into()));
        }
    }
}

impl Kv for RemoteKv {
    fn call(&self, request: Request, done: Done) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut body = to_body(&request);
        body.insert("msg_id".into(), id.into());
        let sent = Instant::now();
        {
            let mut state = self.lock();
            let until = sent + state.pace.patience(self.patience);
            state.waiting.insert(id, Waiting { done: Some(done), sent, until });
        }
        (self.send)(Message { src: self.node.clone(), dest: SERVICE.into(), body });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_answers_take() {
        let most = Duration::from_millis(1_000);
        let mut pace = Pace { mean: most / 4, deviation: most / 8 };
        for _ in 0..100 {
            pace.learn(Duration::from_millis(1));
        }
        assert_eq!(pace.patience(most), LEAST_PATIENCE);
        for _ in 0..20 {
            pace.learn(Duration::from_millis(300));
        }
        let patience = pace.patience(most);
        assert!(patience > Duration::from_millis(300) && patience <= most, "{patience:?}");
    }
}
