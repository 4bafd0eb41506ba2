//! The network between nodes, clients and the service: late, lossy, and cut at times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::kv::memory::LinKv;
use crate::kv::remote::SERVICE;
use crate::protocol::{Code, Message, error};

/// What became of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) cut: u64,
    pub(super) storage: u64,
}

struct OnItsWay {
    due: Instant,
    number: u64,
    message: Message,
}

impl PartialEq for OnItsWay {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.number) == (other.due, other.number)
    }
}

impl Eq for OnItsWay {}

impl PartialOrd for OnItsWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OnItsWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

struct State {
    queue: BinaryHeap<Reverse<OnItsWay>>,
    ends: BTreeMap<String, Sender<Message>>,
    /// Nothing goes from the first to the second.
    cuts: BTreeSet<(String, String)>,
    latency: Duration,
    loss: f64,
    usual_loss: f64,
    random: StdRng,
    service: LinKv,
    counts: Counts,
    stopped: bool,
}

/// The network. Every message has a time to arrive, drawn from the seed: so messages overtake each other.
pub(super) struct Network {
    state: Mutex<State>,
    changed: Condvar,
}

/// Clients are on the network, but its losses and cuts spare them, as Maelstrom's do.
fn is_client(name: &str) -> bool {
    name.starts_with('c')
}

impl Network {
    pub(super) fn start(seed: u64, latency: Duration, loss: f64) -> Arc<Self> {
        let state = State {
            queue: BinaryHeap::new(),
            ends: BTreeMap::new(),
            cuts: BTreeSet::new(),
            latency,
            loss,
            usual_loss: loss,
            random: StdRng::seed_from_u64(seed ^ 0x006e_6574_776f_726b),
            service: LinKv::default(),
            counts: Counts::default(),
            stopped: false,
        };
        let network = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        let running = Arc::clone(&network);
        std::thread::spawn(move || running.run());
        network
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who receives what is sent to a name.
    pub(super) fn join(&self, name: &str, end: Sender<Message>) {
        self.lock().ends.insert(name.to_owned(), end);
    }

    /// From now on there is nobody of this name.
    pub(super) fn leave(&self, name: &str) {
        self.lock().ends.remove(name);
    }

    /// Sends a message.
    pub(super) fn send(&self, message: Message) {
        self.lock().send(message);
        self.changed.notify_one();
    }

    /// Cuts these ways, in this direction.
    pub(super) fn cut(&self, ways: impl IntoIterator<Item = (String, String)>) {
        self.lock().cuts.extend(ways);
    }

    /// Loses more messages, or makes each take longer.
    pub(super) fn worsen(&self, loss: Option<f64>, latency_factor: Option<u32>) {
        let mut state = self.lock();
        if let Some(loss) = loss {
            state.loss = loss;
        }
        if let Some(factor) = latency_factor {
            state.latency = (state.latency * factor).max(Duration::from_millis(10));
        }
    }

    /// Everything reaches everybody again, with this latency.
    pub(super) fn mend(&self, latency: Duration) {
        let mut state = self.lock();
        state.cuts.clear();
        state.loss = state.usual_loss;
        state.latency = latency;
    }

    /// Ends all misfortunes, the usual ones too.
    pub(super) fn heal(&self) {
        let mut state = self.lock();
        state.cuts.clear();
        state.loss = 0.0;
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Delivers nothing more.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let now = Instant::now();
            let due = state.queue.peek().map(|Reverse(first)| first.due);
            state = match due {
                Some(due) if due <= now => {
                    let Reverse(first) = state.queue.pop().expect("it was just looked at");
                    state.deliver(first.message);
                    state
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl State {
    fn send(&mut self, message: Message) {
        self.counts.sent += 1;
        let spared = is_client(&message.src) || is_client(&message.dest);
        if !spared && self.random.random_bool(self.loss) {
            self.counts.lost += 1;
            return;
        }
        // Exponentially distributed about the mean, as Maelstrom's is by default, and bounded.
        let drawn = -(1.0 - self.random.random::<f64>()).ln();
        let takes = self.latency.mul_f64(drawn.min(10.0));
        let (due, number) = (Instant::now() + takes, self.counts.sent);
        self.queue.push(Reverse(OnItsWay { due, number, message }));
    }

    fn deliver(&mut self, message: Message) {
        let Message { src, dest, body } = &message;
        if self.cuts.contains(&(src.clone(), dest.clone())) {
            self.counts.cut += 1;
        } else if dest == SERVICE {
            self.counts.storage += 1;
            let mut answer = self.service.handle(body);
            answer.extend(message.msg_id().map(|id| ("in_reply_to".to_owned(), id.into())));
            self.send(Message { src: SERVICE.into(), dest: src.clone(), body: answer });
        } else if let Some(end) = self.ends.get(dest) {
            let _ = end.send(message); // who left a moment ago does not receive it
        } else if let (true, Some(id)) = (is_client(src), message.msg_id()) {
            let mut answer = error(Code::NodeNotFound, "no such node, at the moment");
            answer.insert("in_reply_to".into(), id.into());
            self.send(Message { src: dest.clone(), dest: src.clone(), body: answer });
        }
    }
}
