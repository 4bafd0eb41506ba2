//! The shard engine: leads one shard. A pure state machine, `step(now, event) -> commands`.
//!
//! ```text
//!  client        coordinator              shard A (home)              shard B
//!    │ Submit ──▶ │ Prepare(A) ──────────▶ │ lock, check               │
//!    │            │ Prepare(B) ────────────┼─────────────────────────▶ │ lock, check
//!    │            │                        │ append Prepare + whole    │ append Prepare
//!    │            │                        ┆ durable                   ┆ durable
//!    │            │ ◀───────── Voted(yes) ─│ ◀────────────────────────│ Voted(yes)
//!    │ ◀ committed│ Commit(max proposal) ─▶│ ────────────────────────▶ │
//!    │            │                        │ append Commit, free locks │ append Commit, free locks
//!    │            │                        │ ◀──────────── Acknowledge │
//!    │            │                        │ Finished ───────────────▶ │
//!                                          └ rows: overlay ─▶ table store
//! ```
//!
//! State is a function of the log: every change that matters is a record, and the same
//! `learn` (in `learn.rs`) takes a record in when it is written and when it is replayed. What comes out (answers,
//! messages) waits in the outbox until its cause is durable.
//!
//! A transaction of one shard holds no locks: it is checked and appended in one step, against rows that
//! already show the commits before it, durable or not. They share the log's fate, so they share its.
//!
//! One file per event handled: `admit` (locks, rows, checks), `on_*`, `learn` (records), `lead`
//! (replay and leadership), `checkpoint`.

mod admit;
mod applier;
mod chain;
pub(crate) mod check;
mod checkpoint;
mod found;
mod interface;
mod lead;
mod learn;
mod ledger;
mod locks;
mod on_ask;
mod on_decision;
mod on_hold;
mod on_io;
mod on_parked;
mod on_prepare;
mod on_read;
mod on_resolve;
mod on_single;
mod on_tick;
mod outbox;
mod rows;
mod rules;
mod schema;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use wal_core::log::ShardBatch;
use wal_core::record::{Acceptor, Body};
use wal_core::{Nonce, Now, RowKey, Sequence, Timestamp};

pub use applier::{ParkedChoice, ParkedRow};
pub use checkpoint::{Undecided, undecided_in};
pub use found::{Founding, found};
pub use interface::*;
pub use rules::{Rule, Rules, Strict, Without};
pub use schema::{EngineSchema, TableTypes};
pub use status::{Counters, ShardStatus, Unresolved};

use crate::message::{Origin, ShardReply, ShardRequest};
use admit::Waiter;
use applier::Applier;
use chain::Chain;
use checkpoint::Checkpointer;
use lead::Lease;
use ledger::Ledger;
use locks::{Age, LockTable};
use on_hold::Holds;
use outbox::Outbox;
use rows::{NewestWrites, RowTable};

/// What the engine is to its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// Reads the log, looking for a checkpoint or the log's beginning.
    Searching,
    /// Reads the log and takes it in.
    Following,
    /// Wrote an `Epoch` record, and waits to read it back.
    Standing { owner: Nonce },
    /// Won, but its predecessor's lease may still run.
    Waiting { open_at_us: u64 },
    /// Leads.
    Leading,
    /// Leads what it has, takes nothing new, and will resign.
    Draining,
    /// Wrote its `Resign`: nothing may follow it in the log, and no answer, for no lease is waited for.
    Resigning { last: Sequence },
    /// Said its last word.
    Halted,
}

/// The engine of one shard. `R` names the rules it keeps: all of them, outside tests.
#[derive(Debug)]
pub struct ShardEngine<R: Rules = Strict> {
    config: ShardConfig,
    schema: Arc<EngineSchema>,
    rules: R,
    role: Role,
    acceptor: Acceptor,
    /// Whether the last epoch's leader resigned: its lease need not be waited for.
    resigned: bool,
    chain: Chain,
    /// The record that is being taken in: receipts name it, also after a replay.
    learning: Sequence,
    /// Somebody waits for a record that was not yet taken.
    is_urgent: bool,
    durable: Sequence,
    outbox: Outbox,
    lease: Lease,
    ledger: Ledger,
    locks: LockTable,
    rows: RowTable,
    waiting: BTreeMap<Age, Waiter>,
    holds: Holds,
    /// Waiters that may be able to go on, looked at before the step ends.
    wake: Vec<Age>,
    applier: Applier,
    /// Parked rows to discard once the store is not being asked about them: for whom, and which.
    discards: Vec<(u64, ParkedChoice)>,
    checkpointer: Checkpointer,
    last_timestamp: Timestamp,
    /// The newest version of the namespace under which something in the log was validated.
    newest_version: u32,
    newest_writes: NewestWrites,
    reads: BTreeMap<IoId, Vec<RowKey>>,
    /// Rows to read that no command was given for yet.
    to_read: Vec<RowKey>,
    last_io: u64,
    last_nonce: u64,
    reads_begun: u64,
    last_sweep_us: u64,
    /// Outcomes that every participant holds, not yet in the log.
    to_finish: Vec<wal_core::TxnId>,
    max_remembered: usize,
    stats: status::Counters,
}

impl<R: Rules> ShardEngine<R> {
    /// An engine that has read nothing yet.
    pub fn new(config: ShardConfig, schema: Arc<EngineSchema>) -> Self {
        Self::with_rules(config, schema, R::default())
    }

    /// An engine that keeps the given rules.
    pub fn with_rules(config: ShardConfig, schema: Arc<EngineSchema>, rules: R) -> Self {
        Self {
            chain: Chain::new(config.shard),
            max_remembered: config.limits.max_remembered,
            config,
            schema,
            rules,
            role: Role::Searching,
            acceptor: Acceptor::default(),
            resigned: true,
            learning: Sequence(0),
            is_urgent: false,
            durable: Sequence(0),
            outbox: Outbox::default(),
            lease: Lease::default(),
            ledger: Ledger::default(),
            locks: LockTable::default(),
            rows: RowTable::default(),
            waiting: BTreeMap::new(),
            holds: Holds::default(),
            wake: Vec::new(),
            applier: Applier::default(),
            discards: Vec::new(),
            checkpointer: Checkpointer::default(),
            last_timestamp: Timestamp::default(),
            newest_version: 0,
            newest_writes: NewestWrites::default(),
            reads: BTreeMap::new(),
            to_read: Vec::new(),
            last_io: 0,
            last_nonce: 0,
            reads_begun: 0,
            last_sweep_us: 0,
            to_finish: Vec::new(),
            stats: status::Counters::default(),
        }
    }

    /// Takes one event in. Never fails, never blocks.
    pub fn step(&mut self, now: Now, event: ShardEvent, out: &mut Vec<ShardCommand>) {
        if self.role == Role::Halted {
            return;
        }
        match event {
            ShardEvent::Logged { position, record } => self.on_logged(now, position, record, out),
            ShardEvent::Stand { owner, address } => self.on_stand(now, owner, address, out),
            ShardEvent::Appended { epoch, first, last, position } => {
                let stands = matches!(self.role, Role::Standing { .. });
                if epoch == self.acceptor.epoch || stands {
                    self.on_appended(now, first, last, position, out);
                }
            }
            ShardEvent::AppendFailed { why } => self.halt(HaltReason::AppendInDoubt(why), out),
            ShardEvent::Request { origin, request } => self.on_request(now, origin, request, out),
            ShardEvent::RowsRead { io, rows } => self.on_rows_read(io, rows),
            ShardEvent::ReadFailed { io } => self.on_read_failed(io),
            ShardEvent::Flushed { io } => self.on_flushed(now, io, out),
            ShardEvent::FlushFailed { io } => self.on_flush_failed(now, io, out),
            ShardEvent::FlushRefused { io, rows } => self.on_flush_refused(now, io, rows, out),
            ShardEvent::RetryParked { which } => self.on_retry_parked(&which),
            ShardEvent::DiscardParked { token, which } => {
                self.on_discard_parked(now, token, which, out);
            }
            ShardEvent::Synced { io } => self.on_synced(now, io, out),
            ShardEvent::Tick => self.on_tick(now, out),
            ShardEvent::Drain => self.on_drain(out),
        }
        self.finish_step(now, out);
    }

    /// The records written since the last call, for the log. `None` if there are none.
    pub fn take_batch(&mut self, now: Now) -> Option<ShardBatch> {
        if self.role == Role::Halted {
            return None;
        }
        let batch = self.chain.take()?;
        self.is_urgent = false;
        self.lease.sent(self.chain.tail(), now);
        Some(batch)
    }

    /// Whether what there is to take may as well go out with what comes next: nobody waits for it, and
    /// a restart would find it out by itself. So it is with the `Commit` of a transaction that its client
    /// was told of: that is lazy.
    pub fn can_wait(&self) -> bool {
        self.chain.has_untaken() && !self.is_urgent && !self.applier.has_waiters()
    }

    /// How many outcomes this shard may remember; a process shares its memory among its shards.
    pub fn set_max_remembered(&mut self, max: usize) {
        self.max_remembered = max;
    }

    /// The tables of a newer version of the namespace.
    pub fn set_schema(&mut self, schema: Arc<EngineSchema>) {
        self.schema = schema;
        // What the store refused for want of a column may be welcome now.
        self.applier.retry_parked(&ParkedChoice::All);
    }

    /// Writes a checkpoint soon, however little was logged since the last.
    pub fn request_checkpoint(&mut self) {
        self.chain.bytes_since_checkpoint = u64::MAX / 2;
    }

    fn on_request(
        &mut self,
        now: Now,
        origin: Origin,
        request: ShardRequest,
        out: &mut Vec<ShardCommand>,
    ) {
        if !matches!(self.role, Role::Leading | Role::Draining) {
            let reply = ShardReply::NotLeading { epoch: self.acceptor.epoch };
            out.push(ShardCommand::Reply { origin, reply });
            return;
        }
        match request {
            ShardRequest::Single { txn, applied, clock_us } => {
                self.on_single(now, origin, txn, applied, clock_us, out);
            }
            ShardRequest::Prepare(prepare) => self.on_prepare(now, origin, prepare, out),
            ShardRequest::Commit { id, attempt, timestamp, home, applied } => {
                self.on_commit(now, id, attempt, timestamp, home, out);
                if applied {
                    self.on_await_applied(origin, id);
                }
            }
            ShardRequest::Abort { id, attempt } => self.on_abort(now, id, attempt, out),
            ShardRequest::Open { txn, start } => self.on_open(now, origin, txn, start, out),
            ShardRequest::Resolve { id, attempt } => self.on_resolve(now, origin, id, attempt, out),
            ShardRequest::Closed { id, fingerprint, participants, reason } => {
                self.on_closed(now, id, fingerprint, participants, reason, out);
            }
            ShardRequest::Acknowledge { id, shard } => self.on_acknowledge(id, shard),
            ShardRequest::Finished { id, until } => self.ledger.finish(id, until),
            ShardRequest::Condemn { id, attempt, reason } => {
                self.on_condemn(now, id, attempt, reason, out);
            }
            ShardRequest::Ask { id, wait } => self.on_ask(origin, id, wait),
            ShardRequest::Fence { id } => self.on_fence(now, origin, id, out),
            ShardRequest::AwaitApplied { id } => self.on_await_applied(origin, id),
            ShardRequest::Read { keys, only } => self.on_read(now, origin, keys, only, out),
            ShardRequest::Hold { keys, tries } => self.on_hold(now, origin, keys, tries, out),
            ShardRequest::Release { tries } => self.on_release(origin, tries),
            ShardRequest::Confirm { keys, epoch, mark, tries } => {
                self.on_confirm(origin, &keys, epoch, mark, tries);
            }
        }
    }

    /// Writes a record and takes it in, as a replay would.
    fn write(&mut self, now: Now, body: Body, out: &mut Vec<ShardCommand>) {
        self.is_urgent |= !matches!(body, Body::Commit { .. } | Body::Finished { .. });
        let seq = self.chain.write(&body);
        self.learning = seq;
        self.stats.records += 1;
        if let Err(contradiction) = self.learn(now, seq, body) {
            self.halt(HaltReason::Corrupt(contradiction), out);
        }
    }

    /// Answers once everything written so far is durable.
    fn reply(&mut self, origin: Origin, reply: ShardReply) {
        self.hold(false, ShardCommand::Reply { origin, reply });
    }

    /// Answers with something that a deposed leader must not say: it needs a proof of leadership.
    fn reply_proved(&mut self, origin: Origin, reply: ShardReply) {
        self.hold_proved(ShardCommand::Reply { origin, reply });
    }

    fn hold_proved(&mut self, command: ShardCommand) {
        let needs_lease = self.config.leadership != Leadership::Exclusive
            && self.rules.holds(Rule::LeadershipIsProved);
        self.hold(needs_lease, command);
    }

    fn hold(&mut self, needs_lease: bool, command: ShardCommand) {
        let wait = self.rules.holds(Rule::AnswersWaitForDurability);
        let after = if wait { self.chain.tail() } else { Sequence(0) };
        let is_reply = matches!(command, ShardCommand::Reply { .. });
        self.is_urgent |= is_reply && self.chain.has_untaken();
        self.outbox.hold(after, needs_lease, command);
    }

    /// Lets waiters go on, starts reads and flushes, and lets go the answers whose time has come.
    fn finish_step(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        self.wake_waiters(now, out);
        if !self.to_read.is_empty() {
            let mut keys = std::mem::take(&mut self.to_read);
            keys.sort_by_key(|key| key.table);
            // One for each table: of a table that cannot be read, the others know nothing.
            while let Some(first) = keys.first() {
                let table = first.table;
                let others = keys.split_off(keys.partition_point(|key| key.table == table));
                let io = self.next_io();
                self.reads.insert(io, keys.clone());
                out.push(ShardCommand::ReadRows { io, keys });
                keys = others;
            }
        }
        if matches!(self.role, Role::Leading | Role::Draining) {
            self.flush_if_due(now, out);
            self.release_answers(now, out);
        }
    }

    fn release_answers(&mut self, now: Now, out: &mut Vec<ShardCommand>) {
        let has_lease = self.has_lease_until(now.mono_us);
        let unproved = self.outbox.release(self.durable, has_lease, out);
        if unproved.is_empty() {
            return;
        }
        // One barrier serves every answer that waits for a proof, if it was not sent yet.
        self.write_barrier(now, out);
        for command in unproved {
            self.hold(false, command);
        }
    }

    fn next_io(&mut self) -> IoId {
        self.last_io += 1;
        IoId(self.last_io)
    }

    fn halt(&mut self, why: HaltReason, out: &mut Vec<ShardCommand>) {
        if self.role != Role::Halted {
            self.role = Role::Halted;
            out.push(ShardCommand::Halt { why });
        }
    }
}
