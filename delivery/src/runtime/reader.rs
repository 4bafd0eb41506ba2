//! The thread that reads the log for a delivery, or for another region.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, TryRecvError};
use participant::follow::{Follower, Place, Scope};
use tokio::sync::mpsc;
use wal_core::log::{IntentLog, LogError, Tail};
use wal_core::{Position, ShardId, Timestamp};

use super::picks::Picks;
use crate::caught::caught;

/// How long a look at the log waits for something to come, and so the longest until an order is obeyed.
const PATIENCE: Duration = Duration::from_millis(50);
/// Items of one batch.
const BATCH_ITEMS: usize = 256;
/// A batch grows no further once it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// A shard of which nothing is taken says so often how far it was read, for a delivery.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// After the log failed, it is asked again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the reader is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Read a shard from a place on, for the claim of this generation.
    Begin { shard: ShardId, generation: u64, place: Place },
    /// Read it no more.
    End { shard: ShardId },
    /// There is no room for more of it, or there is again.
    Room { shard: ShardId, is_there: bool },
}

/// What was read of a shard.
#[derive(Debug)]
pub struct Batch<T> {
    /// Of which it was read.
    pub shard: ShardId,
    /// Of the claim for which it was read.
    pub generation: u64,
    /// In order.
    pub items: Vec<T>,
    /// Where reading would go on behind them; `told` is how far was read.
    pub place: Place,
    /// What comes behind them committed later than this.
    pub closed: Timestamp,
    /// What committed at or before this may not have been read.
    pub unseen: Timestamp,
    /// Why it cannot be read on, if so. Then `place` is before what cannot be read, also if some of what was
    /// told behind that place is told again.
    pub failed: Option<Unreadable>,
}

/// What cannot be read of a shard's log, or was trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The first position of it.
    pub at: Position,
    /// Why.
    pub why: String,
}

/// A shard that is read.
struct Source<T> {
    generation: u64,
    follower: Follower,
    /// Where the next look at the log starts.
    next: Position,
    has_room: bool,
    /// It cannot be read on, which was said.
    is_broken: bool,
    items: Vec<T>,
    bytes: usize,
    /// When it was last said how far it was read.
    said: Instant,
    /// How far that was, or where reading began.
    said_place: Place,
    /// Whether that was said already.
    is_said: bool,
}

impl<T> Source<T> {
    fn is_full(&self) -> bool {
        self.items.len() >= BATCH_ITEMS || self.bytes >= BATCH_BYTES
    }
}

pub(crate) struct Reader<P: Picks + ?Sized> {
    pub(crate) namespace: Arc<str>,
    /// For whom it reads.
    pub(crate) name: Arc<str>,
    pub(crate) picks: Arc<P>,
    pub(crate) log: Arc<dyn IntentLog>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) batches: mpsc::Sender<Batch<P::Item>>,
    /// A shard of which nothing is taken says so often how far it was read.
    pub(crate) progress_every: Duration,
    /// Whether what was trimmed is passed over, after a loud word, rather than not read on.
    pub(crate) passes_trimmed: bool,
}

/// Nobody takes what is read any more.
struct Gone;

impl<P: Picks + ?Sized> Reader<P> {
    /// Until nobody gives orders, or nobody takes batches.
    pub(crate) fn run(self) {
        let mut sources = BTreeMap::new();
        let log = Arc::clone(&self.log);
        let mut tail: Option<Box<dyn Tail + '_>> = None;
        loop {
            match self.obey(&mut sources) {
                Ok(false) => {}
                Ok(true) => tail = None,
                Err(Gone) => return,
            }
            if !sources.values().any(|source| source.has_room) {
                continue; // obeying waits for an order
            }
            if self.batches.is_closed() {
                return;
            }
            match self.look(&*log, &mut tail, &mut sources) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tail = None;
                    if let Err(Gone) = self.on_error(&error, &mut sources) {
                        return;
                    }
                    std::thread::sleep(AGAIN_AFTER);
                }
                Err(Gone) => return,
            }
        }
    }

    /// Obeys what was ordered; waits for an order if there is nothing else to do. Says whether other shards
    /// are to be read than before.
    fn obey(&self, sources: &mut BTreeMap<ShardId, Source<P::Item>>) -> Result<bool, Gone> {
        let mut changed = false;
        loop {
            let idle = !sources.values().any(|source| source.has_room);
            let order = if idle && !changed {
                self.orders.recv().map_err(|_| Gone)?
            } else {
                match self.orders.try_recv() {
                    Ok(order) => order,
                    Err(TryRecvError::Empty) => return Ok(changed),
                    Err(TryRecvError::Disconnected) => return Err(Gone),
                }
            };
            changed = true;
            match order {
                Order::Begin { shard, generation, place } => {
                    let source = Source {
                        generation,
                        next: place.from,
                        follower: Follower::new(shard, Scope::Parts, place.clone()),
                        has_room: true,
                        is_broken: false,
                        items: Vec::new(),
                        bytes: 0,
                        said: Instant::now(),
                        said_place: place,
                        is_said: false,
                    };
                    sources.insert(shard, source);
                }
                Order::End { shard } => {
                    sources.remove(&shard);
                }
                Order::Room { shard, is_there } => {
                    if let Some(source) = sources.get_mut(&shard) {
                        source.has_room = is_there;
                    }
                }
            }
        }
    }

    /// Looks once at the log, and hands over what has come.
    fn look<'a>(
        &self,
        log: &'a dyn IntentLog,
        tail: &mut Option<Box<dyn Tail + 'a>>,
        sources: &mut BTreeMap<ShardId, Source<P::Item>>,
    ) -> Result<Result<(), LogError>, Gone> {
        if tail.is_none() {
            let with_room = sources.iter().filter(|(_, source)| source.has_room);
            match log.tail(with_room.map(|(shard, source)| (*shard, source.next)).collect()) {
                Ok(opened) => *tail = Some(opened),
                Err(error) => return Ok(Err(error)),
            }
        }
        let open = tail.as_mut().expect("it was just opened");
        let mut gone = false;
        let visited = open.visit(PATIENCE, &mut |shard, position, record| {
            let Some(source) = sources.get_mut(&shard) else { return Ok(()) };
            if source.is_broken {
                return Ok(());
            }
            source.next = Position(position.0 + 1);
            self.take(shard, source, position, record).map_err(|Gone| {
                gone = true;
                LogError::Stopped("a delivery".to_owned())
            })
        });
        if gone {
            return Err(Gone);
        }
        if visited.is_ok() {
            for (shard, next) in open.next() {
                if let Some(source) = sources.get_mut(shard) {
                    source.next = *next;
                    source.follower.read_to(*next);
                }
            }
        }
        for (shard, source) in &mut *sources {
            let is_due = source.said.elapsed() >= self.progress_every;
            if !source.is_broken && (!source.items.is_empty() || is_due) {
                self.say(*shard, source, None)?;
            }
        }
        let before = sources.len();
        sources.retain(|_, source| !source.is_broken);
        if sources.len() < before {
            *tail = None;
        }
        Ok(visited)
    }

    fn take(
        &self,
        shard: ShardId,
        source: &mut Source<P::Item>,
        position: Position,
        record: Bytes,
    ) -> Result<(), Gone> {
        let told = match source.follower.take(position, record) {
            Ok(told) => told,
            Err(error) => return self.break_off(shard, source, position, error.to_string()),
        };
        let Some(told) = told else { return Ok(()) };
        // A reader that panics would read no shard any more.
        let picked = caught(|| self.picks.pick(&told));
        match picked.unwrap_or_else(|panicked| Err(panicked.to_string())) {
            Ok(items) => {
                source.bytes += items.iter().map(|item| self.picks.bytes(item)).sum::<usize>();
                source.items.extend(items);
            }
            Err(why) => return self.break_off(shard, source, position, why),
        }
        if source.is_full() { self.say(shard, source, None) } else { Ok(()) }
    }

    /// Hands over what was read. Waits until there is room for it.
    fn say(
        &self,
        shard: ShardId,
        source: &mut Source<P::Item>,
        failed: Option<Unreadable>,
    ) -> Result<(), Gone> {
        let follower = &source.follower;
        let (closed, unseen) = (follower.closed(), follower.unseen());
        // Invariant: no place that is said is behind what cannot be read. The follower's own may be.
        let place = match &failed {
            Some(_) => source.said_place.clone(),
            None => follower.place(),
        };
        let items = std::mem::take(&mut source.items);
        source.bytes = 0;
        source.said = Instant::now();
        let is_known = source.is_said && source.said_place == place;
        if items.is_empty() && failed.is_none() && is_known {
            return Ok(());
        }
        source.is_said = true;
        source.said_place = place.clone();
        let generation = source.generation;
        let batch = Batch { shard, generation, items, place, closed, unseen, failed };
        self.batches.blocking_send(batch).map_err(|_| Gone)
    }

    /// A shard that cannot be read on: whoever delivers it is told, after what was read before.
    fn break_off(
        &self,
        shard: ShardId,
        source: &mut Source<P::Item>,
        at: Position,
        why: String,
    ) -> Result<(), Gone> {
        source.is_broken = true;
        self.say(shard, source, Some(Unreadable { at, why }))
    }

    /// What was trimmed is gone; anything else may pass.
    fn on_error(
        &self,
        error: &LogError,
        sources: &mut BTreeMap<ShardId, Source<P::Item>>,
    ) -> Result<(), Gone> {
        let (namespace, target) = (&self.namespace, &self.name);
        if let LogError::Trimmed { shard, asked, first } = error
            && let Some(source) = sources.get_mut(shard)
        {
            if !self.passes_trimmed {
                let why = format!("its log begins at {first}, and {asked} is needed");
                self.break_off(*shard, source, *asked, why)?;
                sources.remove(shard);
                return Ok(());
            }
            tracing::error!(
                %namespace, %target, %shard, %asked, %first,
                "the log was trimmed before its messages were delivered: those between are not"
            );
            let told = (*asked).max(source.follower.place().told);
            let place = Place { told, ..Place::default() };
            source.next = place.from;
            source.said_place = place.clone();
            source.is_said = false;
            source.follower = Follower::new(*shard, Scope::Parts, place);
            return Ok(());
        }
        tracing::warn!(%namespace, %target, %error, "reading the log failed; trying again");
        Ok(())
    }
}
