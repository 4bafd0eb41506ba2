//! What the rest of the process holds of a running namespace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use participant::engine::{EngineSchema, ParkedChoice, ShardStatus, Unresolved};
use wal_core::log::{Appended, IntentLog, LogError};
use wal_core::{Epoch, Position, Row, ShardId};

use super::append::Sent;
use super::core::Core;
use super::hold::{Held, Hold};
use super::parked::{DISCARD_PATIENCE, ParkedDone, ParkedList};
use super::peers::FromPeer;
use super::reader::Chunk;
use super::recover::{self, StartError};
use super::seat::SeatId;
use super::storage::{Retention, Storage};
use super::{Parts, peers::Cluster};
use crate::api::{Call, CallAnswer};
use participant::engine::IoId;

/// Takes the answers of calls, many at a time. Runs on the core thread: it must return at once.
pub trait Answers: Send + Sync {
    /// Takes the answers, each with the tag its call was handed over with; leaves the list empty. `None` is
    /// the answer of a runtime that has failed or ended: it says nothing about what becomes of the call.
    fn deliver(&self, answers: &mut Vec<(u64, Option<CallAnswer>)>);
}

/// Whom to answer.
#[derive(Clone)]
pub struct Reply {
    /// Who takes the answer.
    pub to: Arc<dyn Answers>,
    /// What the caller knows the call by.
    pub tag: u64,
}

/// Why a runtime serves no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It was asked to stop.
    #[error("the namespace is being stopped")]
    Drained,
    /// Something broke; what was acknowledged is safe, and a restart finds the truth.
    #[error("{0}")]
    Failed(String),
}

/// What arrives at the core thread.
pub(super) enum Input {
    Calls {
        first: u64,
        calls: Vec<(Call, u64)>,
        to: Arc<dyn Answers>,
    },
    Forget(u64),
    Appended {
        sent: Vec<Sent>,
        results: Vec<Appended>,
    },
    /// `None` if the store failed.
    RowsRead {
        seat: SeatId,
        io: IoId,
        rows: Option<Vec<Row>>,
    },
    Flushed {
        seat: SeatId,
        io: IoId,
        ok: bool,
    },
    /// The store refuses rows of a flush for good: their places in it, with the reasons.
    Refused {
        seat: SeatId,
        io: IoId,
        rows: Vec<(usize, String)>,
    },
    Synced {
        seat: SeatId,
        io: IoId,
        ok: bool,
    },
    /// A part of the log, for an engine that is to lead.
    Logged {
        seat: SeatId,
        chunk: Chunk,
    },
    /// The log was read to its end as it was.
    ReadTo {
        seat: SeatId,
        end: Result<Position, LogError>,
    },
    Peer(FromPeer),
    Schema(Arc<EngineSchema>),
    Participates(bool),
    Probed {
        shard: ShardId,
        reached: bool,
    },
    ListParked {
        limit: usize,
        to: Sender<ParkedList>,
    },
    RetryParked {
        which: ParkedChoice,
        to: Sender<ParkedDone>,
    },
    DiscardParked {
        which: ParkedChoice,
        to: Sender<ParkedDone>,
    },
    Look {
        limit: usize,
        to: Sender<NamespaceSnapshot>,
    },
    Drain {
        done: Sender<()>,
    },
    Stop,
}

/// How a namespace is at one instant.
#[derive(Clone, Debug)]
pub struct NamespaceSnapshot {
    /// Its shards.
    pub shards: Vec<ShardStatus>,
    /// Transactions without an outcome, oldest first.
    pub unresolved: Vec<Unresolved>,
    /// Conversations of the commit engine.
    pub in_flight: usize,
    /// Bytes of log.
    pub log_bytes: u64,
    /// Where each shard that is led by another server is led, and in which epoch, as far as is known.
    pub elsewhere: Vec<(ShardId, Epoch, Arc<str>)>,
}

pub(super) struct Shared {
    pub(super) input: Sender<Input>,
    /// Calls handed over and not yet taken by the core thread.
    pub(super) queued: AtomicUsize,
    max_queued: usize,
    next_call: AtomicU64,
    pub(super) stopping: AtomicBool,
    pub(super) stopped: OnceLock<Stopped>,
    pub(super) log: Arc<dyn IntentLog>,
    held: Held,
    shards: u16,
}

/// Hands calls to a running namespace. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// A running namespace. Dropping it stops its threads; what they had not finished is in the log.
pub struct Running {
    handle: Handle,
    core: Option<JoinHandle<()>>,
}

impl Running {
    /// A handle for calls.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Takes nothing new, brings what is under way to an end, and stops. Blocks, at most `patience`.
    pub fn drain(&mut self, patience: Duration) {
        self.handle.shared.stopping.store(true, Ordering::SeqCst);
        let (done, drained) = bounded(1);
        if self.handle.shared.input.send(Input::Drain { done }).is_ok() {
            let _ = drained.recv_timeout(patience); // late or not, it stops now
        }
        self.stop();
    }

    fn stop(&mut self) {
        let _ = self.handle.shared.input.send(Input::Stop); // it may have stopped by itself
        if let Some(core) = self.core.take() {
            let _ = core.join(); // a panic was reported by its own thread
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn start(parts: Parts, cluster: Option<Cluster>) -> Result<Running, StartError> {
    let (input, arrivals): (Sender<Input>, Receiver<Input>) = unbounded();
    let limits = parts.namespace.limits();
    let held = Held::new(parts.hold.clone());
    let shared = Arc::new(Shared {
        input: input.clone(),
        queued: AtomicUsize::new(0),
        max_queued: usize::try_from(limits.in_flight).unwrap_or(usize::MAX),
        next_call: AtomicU64::new(1),
        stopping: AtomicBool::new(false),
        stopped: OnceLock::new(),
        log: parts.log.clone(),
        held: held.clone(),
        shards: parts.namespace.shards(),
    });
    let storage = Storage::start(
        parts.store.clone(),
        parts.log.clone(),
        parts.readers,
        Retention {
            bytes: parts.namespace.log().retain_bytes,
            time: Duration::from_millis(parts.namespace.log().retain_ms),
            least: parts.keep_log_for,
            held,
        },
        input,
    )
    .map_err(StartError::Thread)?;
    let (ready, started) = bounded(1);
    let for_core = shared.clone();
    let name = format!("core-{}", parts.namespace.name());
    let core = std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            // Among others, a process leads nothing until it has heard who else is there.
            let engines = match &cluster {
                None => recover::recover(&parts),
                Some(_) => Ok(BTreeMap::new()),
            };
            match engines {
                Ok(engines) => {
                    let core = Core::new(parts, cluster, engines, storage, for_core, arrivals);
                    let _ = ready.send(Ok(())); // the starter waits
                    core.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })
        .map_err(StartError::Thread)?;
    match started.recv() {
        Ok(Ok(())) => Ok(Running { handle: Handle { shared }, core: Some(core) }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Panicked),
    }
}

impl Handle {
    /// Hands calls over, all or none. Each gets exactly one answer, with its tag, in any order. Returns
    /// the number of the first; the others follow it.
    ///
    /// # Errors
    /// The number of calls that wait already, if they are too many: try again later.
    pub fn call(&self, calls: Vec<(Call, u64)>, to: Arc<dyn Answers>) -> Result<u64, Busy> {
        let shared = &self.shared;
        if let Some(stopped) = shared.stopped.get() {
            return Err(Busy::Stopped(stopped.clone()));
        }
        if shared.stopping.load(Ordering::Relaxed) {
            return Err(Busy::Stopped(Stopped::Drained));
        }
        let count = calls.len();
        let waiting = shared.queued.fetch_add(count, Ordering::Relaxed);
        if waiting + count > shared.max_queued {
            shared.queued.fetch_sub(count, Ordering::Relaxed);
            return Err(Busy::Full);
        }
        let first = shared.next_call.fetch_add(count as u64, Ordering::Relaxed);
        let input = Input::Calls { first, calls, to };
        if shared.input.send(input).is_err() {
            return Err(Busy::Stopped(Stopped::Drained));
        }
        Ok(first)
    }

    /// Nobody waits for this call any more.
    pub fn forget(&self, call: u64) {
        let _ = self.shared.input.send(Input::Forget(call)); // a stopped core has forgotten all
    }

    /// Hands over what came from other servers.
    pub fn from_peer(&self, message: FromPeer) {
        let _ = self.shared.input.send(Input::Peer(message)); // a stopped core answers nobody
    }

    /// Gives the engines the tables of a newer version of the namespace.
    pub fn change_schema(&self, schema: Arc<EngineSchema>) {
        let _ = self.shared.input.send(Input::Schema(schema)); // a stopped core needs none
    }

    /// From now on this process may lead shards of the namespace, or no longer may: then it hands over what
    /// it leads to those that may, as soon as there is one. Without others it leads everything, always.
    pub fn participate(&self, participates: bool) {
        let _ = self.shared.input.send(Input::Participates(participates)); // a stopped core leads nothing
    }

    /// What of the log is kept from now on for who delivers its messages.
    pub fn hold(&self, hold: Hold) {
        self.shared.held.set(hold);
    }

    /// How the namespace is, with at most `limit` unresolved transactions. Blocks.
    pub fn look(&self, limit: usize) -> Option<NamespaceSnapshot> {
        let (to, answer) = bounded(1);
        self.shared.input.send(Input::Look { limit, to }).ok()?;
        answer.recv().ok()
    }

    /// The parked rows of the shards that this process leads, at most `limit`. Blocks.
    pub fn parked(&self, limit: usize) -> Option<ParkedList> {
        let (to, answer) = bounded(1);
        self.shared.input.send(Input::ListParked { limit, to }).ok()?;
        answer.recv().ok()
    }

    /// Tries parked rows of the shards that this process leads again, at once. Blocks.
    pub fn retry_parked(&self, which: ParkedChoice) -> Option<ParkedDone> {
        let (to, answer) = bounded(1);
        self.shared.input.send(Input::RetryParked { which, to }).ok()?;
        answer.recv().ok()
    }

    /// Gives up parked rows of the shards that this process leads, for good. Blocks until that is
    /// durable; `None` if it is not known to be: list them to find out, or do it again.
    pub fn discard_parked(&self, which: ParkedChoice) -> Option<ParkedDone> {
        let (to, answer) = bounded(1);
        self.shared.input.send(Input::DiscardParked { which, to }).ok()?;
        answer.recv_timeout(DISCARD_PATIENCE).ok()
    }

    /// Why it serves no more, if so.
    pub fn stopped(&self) -> Option<Stopped> {
        self.shared.stopped.get().cloned()
    }

    /// The namespace's log.
    pub fn log(&self) -> &Arc<dyn IntentLog> {
        &self.shared.log
    }

    /// Shards of the namespace.
    pub fn shards(&self) -> u16 {
        self.shared.shards
    }
}

/// Calls that were not taken: nothing of them was logged, and no answer will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Too many calls wait.
    Full,
    /// The namespace serves no more.
    Stopped(Stopped),
}
