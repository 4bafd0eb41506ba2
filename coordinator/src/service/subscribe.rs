//! `Subscribe`: what commits, from the log, as it comes.
//!
//! ```text
//! log ──Tail──▶ Follower (one for each shard) ──Told──▶ filter ──▶ response ──▶ client
//! ```
//!
//! Each subscription has a thread that reads the log. Where its client takes nothing it stops reading, so
//! what waits is bounded: [`RESPONSES_QUEUED`] responses of about [`RESPONSE_BYTES`].

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use handfast_proto::v1::subscribe_request::From as Begin;
use handfast_proto::v1::{self, SubscribeRequest, SubscribeResponse};
use participant::follow::{FollowError, Follower, Place, Scope, Told};
use prost::Message as _;
use rustc_hash::FxHashSet;
use tokio::sync::mpsc::{self, error::TrySendError};
use tonic::Status;
use wal_core::log::{IntentLog, LogError, Visit};
use wal_core::message::{MESSAGES, messages_of};
use wal_core::namespace::Namespace;
use wal_core::record::{DecodeError, Reader, Writer};
use wal_core::region::REGIONS;
use wal_core::{CellOp, ColumnId, Nonce, Position, RowKey, RowOp, ShardId, TableId, WriteOp};

use super::errors::ServiceError;
use super::shared::Shared;
use super::values::message_to_wire;
use super::{convert, names};

/// Responses that may wait for the client to take them.
const RESPONSES_QUEUED: usize = 2;
/// Transactions of one response.
const RESPONSE_TRANSACTIONS: usize = 500;
/// A response grows no further once it has so many bytes.
const RESPONSE_BYTES: usize = 1 << 20;
/// How often it is looked whether somebody listens still.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often it is looked whether there is room for a response.
const ROOM_EVERY: Duration = Duration::from_millis(2);
/// A place is told at least so often, if it is another one.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// How long a row of a table that this server does not know yet is waited for.
const NEWS_PATIENCE: Duration = Duration::from_secs(10);
/// The form of what a subscription is resumed with.
const RESUME_VERSION: u8 = 1;

type Responses = mpsc::Receiver<Result<SubscribeResponse, Status>>;
type Sender = mpsc::Sender<Result<SubscribeResponse, Status>>;

/// What somebody subscribes to.
struct Asked {
    scope: Scope,
    start: Start,
    filter: Filter,
    max_batch: usize,
}

/// Where a subscription begins.
enum Start {
    Now(Vec<ShardId>),
    At(BTreeMap<ShardId, Place>),
}

/// Which transactions are told.
struct Filter {
    tables: BTreeSet<TableId>,
    rows: FxHashSet<RowKey>,
    messages: bool,
}

impl Filter {
    fn takes(&self, told: &Told) -> bool {
        let mut rows = told.parts.iter().flat_map(|(_, part)| part.iter());
        if rows.all(|op| op.key.table == REGIONS) {
            return false; // a pulse is nobody's
        }
        let everything = self.tables.is_empty() && self.rows.is_empty() && !self.messages;
        everything
            || written_rows(told).any(|op| match op.key.table {
                MESSAGES => self.messages,
                table => self.tables.contains(&table) || self.rows.contains(&op.key),
            })
    }
}

/// Starts a subscription, which ends when nobody takes what it tells.
pub(super) fn start(
    shared: &Arc<Shared>,
    request: SubscribeRequest,
    ends: Option<tokio::time::Instant>,
) -> Result<Responses, ServiceError> {
    let namespace = shared.namespace(&request.namespace, "namespace")?;
    let room = shared.enter_subscription(&namespace)?;
    let log = shared.backend.log(&namespace)?;
    let asked = check(&namespace, log.identity(), request)?;
    let (out, responses) = mpsc::channel(RESPONSES_QUEUED);
    let shared = Arc::clone(shared);
    let ends = ends.map(tokio::time::Instant::into_std);
    let run = move || {
        shared.metrics.subscriptions.increment(1);
        let ended = Subscription::open(&shared, namespace, &*log, asked, &out)
            .and_then(|mut subscription| subscription.run(ends));
        if let Err(error) = ended {
            shared.metrics.refused(&error);
            deliver(&shared, &out, Err(error.into()));
        }
        shared.metrics.subscriptions.decrement(1);
        drop((log, room));
    };
    let thread = thread::Builder::new().name("subscription".into()).spawn(run);
    thread.map_err(|error| ServiceError::Internal(format!("cannot start a thread: {error}")))?;
    Ok(responses)
}

fn check(
    namespace: &Namespace,
    log: Nonce,
    request: SubscribeRequest,
) -> Result<Asked, ServiceError> {
    let scope = match v1::SubscribeScope::try_from(request.scope) {
        Ok(v1::SubscribeScope::Unspecified | v1::SubscribeScope::Whole) => Scope::Whole,
        Ok(v1::SubscribeScope::Parts) => Scope::Parts,
        Err(_) => {
            let what = format!("{} is not a scope: WHOLE, PARTS", request.scope);
            return Err(ServiceError::invalid("scope", what));
        }
    };
    let mut shards = BTreeSet::new();
    for (index, number) in request.shards.iter().enumerate() {
        shards.insert(convert::shard(namespace, *number, || format!("shards[{index}]"))?);
    }
    let all = || (0..namespace.shards()).map(ShardId).collect();
    let named = if shards.is_empty() { all() } else { shards.clone() };
    let start = match request.from {
        None | Some(Begin::Now(v1::FromNow {})) => Start::Now(named.into_iter().collect()),
        Some(Begin::Beginning(v1::FromBeginning {})) => {
            Start::At(named.into_iter().map(|shard| (shard, Place::default())).collect())
        }
        Some(Begin::Resume(bytes)) => {
            let mut places = Resume::read(bytes)
                .map_err(|error| ServiceError::invalid("resume", format!("not such: {error}")))?
                .places_in(log, scope)?;
            if let Some(missing) = shards.iter().find(|shard| !places.contains_key(shard)) {
                let what = format!("`resume` says nothing of shard {missing}");
                return Err(ServiceError::invalid("shards", what));
            }
            places.retain(|shard, _| named.contains(shard));
            Start::At(places)
        }
    };
    let mut tables = BTreeSet::new();
    for (index, table) in request.tables.iter().enumerate() {
        let found = namespace
            .table_named(table)
            .map_err(|error| ServiceError::invalid(format!("tables[{index}]"), error))?;
        tables.insert(found.id());
    }
    let rows = if request.rows.is_empty() {
        FxHashSet::default()
    } else {
        let keys = convert::keys_to_read(namespace, request.rows)?;
        keys.into_iter().map(|(_, key)| key).collect()
    };
    let max_batch = match request.max_batch as usize {
        0 => RESPONSE_TRANSACTIONS,
        asked => asked.min(RESPONSE_TRANSACTIONS),
    };
    Ok(Asked {
        scope,
        start,
        filter: Filter { tables, rows, messages: request.messages },
        max_batch,
    })
}

/// Where a subscription goes on: of which log, in which scope, and a place for each shard.
struct Resume {
    log: Nonce,
    scope: Scope,
    places: Vec<(ShardId, Place)>,
}

impl Resume {
    fn written(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(32 + self.places.len() * 64);
        let mut out = Writer::new(&mut bytes);
        out.byte(RESUME_VERSION);
        out.piece(&self.log);
        out.piece(&(self.scope == Scope::Parts));
        out.list(&self.places);
        bytes.into()
    }

    fn read(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let found = input.byte()?;
        if found != RESUME_VERSION {
            return Err(DecodeError::Version { found, expected: RESUME_VERSION });
        }
        let log = input.piece()?;
        let scope = if input.piece()? { Scope::Parts } else { Scope::Whole };
        let resume = Self { log, scope, places: input.list()? };
        input.finish()?;
        Ok(resume)
    }

    fn places_in(self, log: Nonce, scope: Scope) -> Result<BTreeMap<ShardId, Place>, ServiceError> {
        if self.log != log {
            let what = "the namespace has another log than the one that was read".to_owned();
            return Err(ServiceError::LogReplaced(what));
        }
        if self.scope != scope {
            let what = format!("it is of the scope {:?}, and {scope:?} is asked for", self.scope);
            return Err(ServiceError::invalid("scope", what));
        }
        Ok(self.places.into_iter().collect())
    }
}

/// One subscription, on its own thread.
struct Subscription<'a> {
    shared: &'a Shared,
    namespace: Arc<Namespace>,
    log: &'a dyn IntentLog,
    scope: Scope,
    filter: Filter,
    max_batch: usize,
    followers: BTreeMap<ShardId, Follower>,
    out: &'a Sender,
    response: SubscribeResponse,
    bytes: usize,
    /// What was last told, and when.
    resume: Bytes,
    told: Instant,
}

/// Why reading stopped.
enum Stop {
    /// Nobody listens any more.
    Gone,
    Failed(ServiceError),
}

impl<E: Into<ServiceError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<'a> Subscription<'a> {
    fn open(
        shared: &'a Shared,
        namespace: Arc<Namespace>,
        log: &'a dyn IntentLog,
        asked: Asked,
        out: &'a Sender,
    ) -> Result<Self, ServiceError> {
        let Asked { scope, start, filter, max_batch } = asked;
        let followers = match start {
            Start::At(places) => {
                let follower = |(shard, place)| (shard, Follower::new(shard, scope, place));
                places.into_iter().map(follower).collect()
            }
            Start::Now(shards) => from_now(log, scope, &shards)?,
        };
        Ok(Self {
            shared,
            namespace,
            log,
            scope,
            filter,
            max_batch,
            followers,
            out,
            response: SubscribeResponse::default(),
            bytes: 0,
            resume: Bytes::new(),
            told: Instant::now(),
        })
    }

    /// Until nobody listens, the server stops, or the connection is as old as it may become.
    fn run(&mut self, ends: Option<Instant>) -> Result<(), ServiceError> {
        match self.follow(ends) {
            Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn follow(&mut self, ends: Option<Instant>) -> Result<Infallible, Stop> {
        let log = self.log;
        let from = self.followers.iter().map(|(shard, follower)| (*shard, follower.place().from));
        let mut tail = log.tail(from.collect())?;
        // Who listens learns at once where it would go on.
        self.send()?;
        loop {
            self.expect_listener()?;
            if ends.is_some_and(|ends| ends <= Instant::now()) {
                return Err(ServiceError::ConnectionAged.into());
            }
            let mut stop = None;
            let visit: Visit<'_> = &mut |shard, position, record| {
                self.take(shard, position, record).map_err(|why| {
                    stop = Some(why);
                    LogError::Stopped("a subscription".into())
                })
            };
            let visited = tail.visit(PATIENCE, visit);
            match stop {
                Some(stop) => return Err(stop),
                None => visited?,
            }
            for (shard, next) in tail.next() {
                if let Some(follower) = self.followers.get_mut(shard) {
                    follower.read_to(*next);
                }
            }
            if !self.response.transactions.is_empty() || self.told.elapsed() >= TOLD_EVERY {
                self.send()?;
            }
        }
    }

    fn expect_listener(&self) -> Result<(), Stop> {
        if self.out.is_closed() {
            Err(Stop::Gone)
        } else if self.shared.draining.has_begun() {
            Err(ServiceError::ShuttingDown.into())
        } else {
            Ok(())
        }
    }

    fn take(&mut self, shard: ShardId, position: Position, record: Bytes) -> Result<(), Stop> {
        let Some(follower) = self.followers.get_mut(&shard) else { return Ok(()) };
        let told = follower.take(position, record)?;
        let Some(told) = told.filter(|told| self.filter.takes(told)) else { return Ok(()) };
        self.learn_names(&told)?;
        let transaction = committed(&self.namespace, &told)?;
        self.bytes += transaction.encoded_len();
        self.response.transactions.push(transaction);
        let full =
            self.response.transactions.len() >= self.max_batch || self.bytes >= RESPONSE_BYTES;
        if full { self.send() } else { Ok(()) }
    }

    /// Sends what there is to tell, or nothing if there is no news. Waits until there is room for it.
    fn send(&mut self) -> Result<(), Stop> {
        let places = self.followers.iter().map(|(shard, follower)| (*shard, follower.place()));
        let resume =
            Resume { log: self.log.identity(), scope: self.scope, places: places.collect() };
        let resume = resume.written();
        self.told = Instant::now();
        self.bytes = 0;
        let mut response = std::mem::take(&mut self.response);
        if response.transactions.is_empty() && resume == self.resume {
            return Ok(());
        }
        self.resume = resume.clone();
        response.resume = resume;
        let count = response.transactions.len() as u64;
        self.shared.metrics.subscription_transactions.increment(count);
        deliver(self.shared, self.out, Ok(response));
        // Invariant: nothing is told behind what was not delivered.
        self.expect_listener()
    }

    /// Sees to it that every table and column has its name: another server may have seen them first.
    fn learn_names(&mut self, told: &Told) -> Result<(), Stop> {
        let end = Instant::now() + NEWS_PATIENCE;
        while !knows(&self.namespace, told) {
            let name = self.namespace.name();
            let newest = self.shared.backend.namespace(name);
            let gone = || ServiceError::NamespaceNotFound { name: name.to_owned() };
            let newest = newest.ok_or_else(gone)?;
            if newest.version() == self.namespace.version() {
                if Instant::now() > end || self.out.is_closed() {
                    let why = format!(
                        "it has version {}, and transaction {} writes to tables or columns that are newer",
                        newest.version(),
                        told.id
                    );
                    let name = name.to_owned();
                    return Err(ServiceError::NamespaceUnserved { name, why }.into());
                }
                thread::sleep(PATIENCE);
            }
            self.namespace = newest;
        }
        Ok(())
    }
}

/// Gives a response to the client as soon as there is room for it. One that takes nothing holds up neither the
/// end of the subscription nor the server's: it goes on elsewhere from the last place that it was told.
fn deliver(shared: &Shared, out: &Sender, response: Result<SubscribeResponse, Status>) {
    let mut left = Some(response);
    while let Some(response) = left.take() {
        match out.try_send(response) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) if shared.draining.has_begun() => {}
            Err(TrySendError::Full(response)) => {
                left = Some(response);
                thread::sleep(ROOM_EVERY);
            }
        }
    }
}

/// Followers that tell what is said from now on, and know all that is promised until now.
fn from_now(
    log: &dyn IntentLog,
    scope: Scope,
    shards: &[ShardId],
) -> Result<BTreeMap<ShardId, Follower>, ServiceError> {
    let mut from = BTreeMap::new();
    let mut followers = BTreeMap::new();
    for shard in shards {
        let checkpoint = log.hint(*shard)?.unwrap_or_default();
        let place = Place { from: checkpoint, ..Place::default() };
        from.insert(*shard, checkpoint);
        followers.insert(*shard, Follower::new(*shard, scope, place));
    }
    let mut failed = None;
    let read = log.replay(&from, &mut |shard, position, record| {
        let taken = followers.get_mut(&shard).map_or(Ok(None), |it| it.take(position, record));
        taken.map(drop).map_err(|error| {
            failed = Some(error);
            LogError::Stopped("a subscription".into())
        })
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    for (shard, next) in read? {
        if let Some(follower) = followers.get_mut(&shard) {
            follower.begin_at(next);
        }
    }
    Ok(followers)
}

impl From<FollowError> for ServiceError {
    fn from(error: FollowError) -> Self {
        Self::Internal(error.to_string())
    }
}

fn written_rows(told: &Told) -> impl Iterator<Item = &RowOp> {
    let rows = told.parts.iter().flat_map(|(_, part)| part.iter());
    rows.filter(|op| !op.is_read_only())
}

fn knows(namespace: &Namespace, told: &Told) -> bool {
    written_rows(told).filter(|op| op.key.table != MESSAGES).all(|op| {
        let Some(table) = namespace.table(op.key.table) else { return false };
        match &op.write {
            WriteOp::None | WriteOp::DeleteRow => true,
            WriteOp::Merge(row) => row.cells.iter().all(|cell| table.column(cell.column).is_some()),
            WriteOp::Cells { cells, .. } => {
                cells.iter().all(|cell| table.column(cell.column()).is_some())
            }
        }
    })
}

fn committed(namespace: &Namespace, told: &Told) -> Result<v1::CommittedTransaction, ServiceError> {
    let mut sums = told.adds.iter().flatten();
    let mut messages = Vec::new();
    for message in messages_of(written_rows(told)) {
        let (index, message) = message.map_err(|error| {
            ServiceError::Internal(format!("a message of transaction {}: {error}", told.id))
        })?;
        let message = Some(message_to_wire(message));
        messages.push(v1::CommittedMessage { index: index.into(), message });
    }
    messages.sort_by_key(|message| message.index);
    Ok(v1::CommittedTransaction {
        id: Bytes::copy_from_slice(told.id.to_uuid().as_bytes()),
        shard: told.shard.0.into(),
        epoch: told.header.epoch.0,
        sequence: told.header.seq.0,
        commit_timestamp_us: told.timestamp.0,
        participants: told.participants.iter().map(|shard| shard.0.into()).collect(),
        changes: written_rows(told)
            .filter(|op| op.key.table != MESSAGES)
            .map(|op| change(namespace, op, told.adds.is_some().then_some(&mut sums)))
            .collect(),
        messages,
    })
}

/// What is written to a row. `sums` are what its adds come to, if that is told.
fn change<'a>(
    namespace: &Namespace,
    op: &RowOp,
    mut sums: Option<&mut impl Iterator<Item = &'a Bytes>>,
) -> v1::Change {
    let mut change =
        v1::Change { row: Some(names::row_key(namespace, &op.key)), ..v1::Change::default() };
    let named = |column: ColumnId, value: Option<&Bytes>| {
        names::column(namespace, op.key.table, column, value)
    };
    match &op.write {
        WriteOp::None => {}
        WriteOp::DeleteRow => change.deleted = true,
        WriteOp::Merge(row) => {
            change.deleted = row.deleted_at.is_some();
            change.inserted = row.marker_at.is_some();
            let cells = row.cells.iter();
            change.columns.extend(cells.map(|cell| named(cell.column, cell.value.as_ref())));
        }
        WriteOp::Cells { insert, cells } => {
            change.inserted = *insert;
            for cell in cells {
                match (cell, &mut sums) {
                    (CellOp::Put { column, value }, _) => {
                        change.columns.push(named(*column, Some(value)));
                    }
                    (CellOp::Delete { column }, _) => change.columns.push(named(*column, None)),
                    (CellOp::Add { column, .. }, Some(sums)) => {
                        change.columns.push(named(*column, sums.next()));
                    }
                    (CellOp::Add { column, delta }, None) => {
                        change.added.push(named(*column, Some(delta)));
                    }
                }
            }
        }
    }
    change
}
