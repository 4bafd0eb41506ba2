//! Clients: they submit, read, lose patience, try again, and want to know in the end.

use std::sync::Arc;

use coordinator::api::{Answer, Call, CallAnswer, Level, OutcomeAnswer, OutcomeQuery, ReadAnswer};
use wal_core::{AbortReason, Millis, Row, RowKey, RowOp, Transaction, TxnId};

use crate::bug::AdapterBug;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::history::Verdict;
use crate::later::FIRES_FROM;
use crate::message::{Event, Message};
use crate::workload::Kind;
use crate::world::{Probe, World, trace};

/// What a client is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Doing {
    /// It draws what to do next.
    #[default]
    Idle,
    /// It reads; rows that it will write afterwards, or not.
    Reading { keys: Vec<RowKey>, then_write: bool },
    /// It submits, and will so many times more.
    Submitting { txn: usize, level: Level, tries: u32 },
    /// It asks for an outcome.
    Asking { txn: usize },
    /// It has nothing left to do or to learn.
    Finished,
}

/// One client process.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) doing: Doing,
    turn: u64,
    call: Option<u64>,
    /// Transactions whose outcome it does not know.
    pub(crate) unresolved: Vec<usize>,
    /// At the end: rows to write once more and then to read.
    probes: Vec<Vec<RowOp>>,
    probe_reads: Vec<Vec<RowKey>>,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub(crate) enum About {
    Submit { txn: usize, level: Level },
    Read { keys: Vec<RowKey> },
    Outcome { txn: usize, query: OutcomeQuery },
}

/// A call that may still be answered.
pub(crate) struct Pending {
    pub(crate) client: usize,
    pub(crate) about: About,
    pub(crate) sent_us: u64,
    pub(crate) answered: bool,
}

impl World {
    fn next_turn(&mut self, client: usize, delay: u64) {
        self.space.clients[client].turn += 1;
        let turn = self.space.clients[client].turn;
        self.schedule(delay, Event::Client { client, turn });
    }

    fn think(&mut self, client: usize) {
        self.space.clients[client].doing = Doing::Idle;
        // Once the faults have ended, nobody dawdles.
        let most_us = if self.healed_at.is_some() { 60_000 } else { u64::MAX };
        let delay = self.rng.below(self.space.plan.think_us.min(most_us) * 2);
        self.next_turn(client, delay);
    }

    /// A client acts, or its patience ends.
    pub(crate) fn on_client_turn(&mut self, client: usize, turn: u64) -> Result<(), Failure> {
        if self.space.clients[client].turn != turn {
            return Ok(());
        }
        if let Some(call) = self.space.clients[client].call.take() {
            // The gateway sees that the client is gone, wherever the call went.
            for slot in 0..self.space.plan.slots {
                let delay = self.rng.below(self.space.plan.network_us * 4);
                self.schedule(
                    delay,
                    Event::Deliver { slot, message: Box::new(Message::Forget { call }) },
                );
            }
            self.on_lost_patience(client);
            return Ok(());
        }
        match self.space.clients[client].doing.clone() {
            Doing::Idle => self.begin_something(client),
            Doing::Submitting { txn, level, tries } => self.submit(client, txn, level, tries),
            Doing::Asking { txn } => self.ask(client, txn),
            Doing::Reading { keys, then_write } => self.read(client, keys, then_write),
            Doing::Finished => {}
        }
        Ok(())
    }

    fn begin_something(&mut self, client: usize) {
        if self.space.probing == Probe::Running {
            return self.probe(client);
        }
        if self.space.submitted >= self.space.plan.txns {
            return self.resolve_something(client);
        }
        let known = self.space.history.txns.len();
        if known > 0 && self.fires(Fault::ClientReturns) {
            let level = *self.rng.pick(&[Level::Logged, Level::Committed, Level::Applied]);
            let txn = self.rng.index(known);
            return self.submit(client, txn, level, 0);
        }
        if self.rng.chance(self.space.plan.read_ppm) {
            let mut keys = self.space.workload.draw_rows(&mut self.rng, 4, None);
            self.read_arrived_too(&mut keys);
            return self.read(client, keys, false);
        }
        self.space.submitted += 1;
        let kind = self.space.workload.draw_kind(&mut self.rng);
        if kind == Kind::Versioned {
            let keys = self.space.workload.draw_rows(&mut self.rng, 3, None);
            return self.read(client, keys, true);
        }
        self.begin_transaction(client, kind, &[]);
    }

    fn begin_transaction(&mut self, client: usize, kind: Kind, seen: &[(RowKey, Row)]) {
        let now = Millis(self.true_millis());
        self.space.workload.tell_time(now);
        let ops = self.space.workload.draw_ops(&mut self.rng, kind, seen);
        let ops = crate::region::written_here(&self.space.plan, ops);
        if ops.is_empty() {
            return self.think(client);
        }
        let id = self.draw_id();
        let fingerprint = self.rng.next_u128();
        let version = self.space.plan.version(self.now_us);
        let mut txn = self.space.workload.transaction(version, id, fingerprint, ops);
        self.name_regions(&mut txn);
        let index = self.space.history.add(txn, kind, None);
        if self.fires(Fault::IdReused) {
            self.submit_twin(client, index, kind);
        }
        let level = *self.rng.pick(&[Level::Logged, Level::Committed, Level::Applied]);
        let tries = self.rng.below(5) as u32;
        self.submit(client, index, level, tries);
    }

    /// Other content under the same id, over the same rows; nobody waits for its answer.
    fn submit_twin(&mut self, client: usize, index: usize, kind: Kind) {
        let fingerprint = self.rng.next_u128();
        let original = &self.space.history.txns[index].txn;
        let twin =
            Transaction { fingerprint: wal_core::Fingerprint(fingerprint), ..(**original).clone() };
        let twin = self.space.history.add(twin, kind, Some(index));
        self.send_submission(client, twin, Level::Committed);
        self.space.clients[client].unresolved.push(twin);
    }

    pub(crate) fn draw_id(&mut self) -> TxnId {
        let mut millis = self.true_millis();
        if self.healed_at.is_none() && self.space.plan.faults.has(Fault::ClockSkew) {
            millis = millis + self.rng.below(400) - 200;
            if self.rng.chance(10_000) {
                millis += wal_core::limits::MAX_ID_AHEAD_MS + 1_000;
            }
        }
        TxnId::from_parts(Millis(millis), self.rng.next_u128())
    }

    fn send_to_gateway(&mut self, slot: usize, message: Message) {
        if self.fires(Fault::MessageLost) {
            return;
        }
        let mut delay = self.rng.below(self.space.plan.network_us);
        if self.fires(Fault::MessageDelayed) {
            delay += self.rng.scale(1_000, 1_000_000);
        }
        self.schedule(delay, Event::Deliver { slot, message: Box::new(message) });
    }

    fn gateway_for(&mut self, about: &About) -> usize {
        // Clients know who belongs to the deployment, but not who has just left it.
        let rank = self.rng.index(self.space.plan.slots);
        let slot = self.member(rank);
        let Some(reader) = self.space.plan.reader_slot.filter(|_| self.healed_at.is_none()) else {
            return slot;
        };
        match about {
            About::Read { .. } => reader,
            About::Submit { .. } | About::Outcome { .. } if slot == reader => self.member(rank + 1),
            About::Submit { .. } | About::Outcome { .. } => slot,
        }
    }

    fn send_call(&mut self, client: usize, about: About, what: Call) -> u64 {
        let call = self.number();
        let slot = self.gateway_for(&about);
        trace!(self, "client {client} => n{slot} call {call}: {}", crate::names::brief(&what));
        let sent_us = self.now_us;
        self.space.calls.insert(call, Pending { client, about, sent_us, answered: false });
        self.send_to_gateway(slot, Message::Call { call, what });
        call
    }

    fn wait_for(&mut self, client: usize, call: u64) {
        self.space.clients[client].call = Some(call);
        let patience =
            self.space.plan.patience_us / 2 + self.rng.below(self.space.plan.patience_us);
        self.next_turn(client, patience);
    }

    fn send_submission(&mut self, client: usize, txn: usize, level: Level) -> u64 {
        let now_us = self.now_us;
        let entry = &mut self.space.history.txns[txn];
        entry.first_sent_us = entry.first_sent_us.min(now_us);
        entry.sent += 1;
        let content = Arc::clone(&entry.txn);
        self.send_call(client, About::Submit { txn, level }, Call::Submit { txn: content, level })
    }

    fn submit(&mut self, client: usize, txn: usize, level: Level, tries: u32) {
        self.space.clients[client].doing = Doing::Submitting { txn, level, tries };
        let call = self.send_submission(client, txn, level);
        if self.fires(Fault::ClientDoubles) {
            self.send_submission(client, txn, Level::Committed);
        }
        self.wait_for(client, call);
    }

    fn read(&mut self, client: usize, keys: Vec<RowKey>, then_write: bool) {
        let routed =
            keys.iter().map(|key| (self.space.workload.shard_of(key), key.clone())).collect();
        self.space.clients[client].doing = Doing::Reading { keys: keys.clone(), then_write };
        let call = self.send_call(client, About::Read { keys }, Call::Read { keys: routed });
        self.wait_for(client, call);
    }

    fn ask(&mut self, client: usize, txn: usize) {
        let entry = &self.space.history.txns[txn];
        let healed = self.healed_at.is_some();
        // What was promised to be driven needs no fence; all else is barred to know for sure.
        let logged = entry.logged;
        let (id, home) = (entry.txn.id, entry.txn.home());
        let fence = if healed { !logged } else { self.fires(Fault::ClientFences) };
        let wait = match self.rng.below(4) {
            0 => Some(Level::Applied),
            1 => Some(Level::Committed),
            _ => None,
        };
        let query = OutcomeQuery { id, home: self.rng.coin().then_some(home), fence, wait };
        self.space.history.txns[txn].fenced |= fence;
        self.space.clients[client].doing = Doing::Asking { txn };
        let call = self.send_call(client, About::Outcome { txn, query }, Call::Outcome(query));
        self.wait_for(client, call);
    }

    /// All is submitted: learn what became of what is still unknown.
    fn resolve_something(&mut self, client: usize) {
        let history = &self.space.history;
        self.space.clients[client].unresolved.retain(|txn| history.txns[*txn].verdict.is_none());
        if self.space.clients[client].unresolved.is_empty() {
            self.space.clients[client].doing = Doing::Finished;
        } else {
            let txn = self.space.clients[client].unresolved.remove(0);
            self.ask(client, txn);
        }
    }

    /// What is sent when the answer did not come: the same, under the same id.
    fn retried(&mut self, txn: usize) -> usize {
        if !self.space.plan.has_bug(AdapterBug::RetryTakesNewId) {
            return txn;
        }
        let id = self.draw_id();
        let entry = &self.space.history.txns[txn];
        let (kind, operation) = (entry.kind, entry.operation);
        let again = Transaction { id, ..(*entry.txn).clone() };
        let index = self.space.history.add(again, kind, None);
        self.space.history.txns[index].operation = operation;
        index
    }

    fn leave_for_later(&mut self, client: usize, txn: usize) {
        if self.space.history.txns[txn].verdict.is_none() {
            self.space.clients[client].unresolved.push(txn);
        }
        self.think(client);
    }

    fn on_lost_patience(&mut self, client: usize) {
        match self.space.clients[client].doing.clone() {
            Doing::Submitting { txn, level, tries } => {
                if tries > 0
                    && (self.space.probing == Probe::Running || self.fires(Fault::ClientRetries))
                {
                    let txn = self.retried(txn);
                    return self.submit(client, txn, level, tries - 1);
                }
                if self.rng.coin() {
                    return self.ask(client, txn);
                }
                self.leave_for_later(client, txn);
            }
            Doing::Asking { txn } => self.leave_for_later(client, txn),
            Doing::Reading { .. } | Doing::Idle => self.think(client),
            Doing::Finished => {}
        }
    }

    /// A client hears an answer.
    pub(crate) fn on_answer(
        &mut self,
        client: usize,
        call: u64,
        answer: CallAnswer,
    ) -> Result<(), Failure> {
        if client > self.space.clients.len() {
            return self.on_fire_answered(FIRES_FROM - client, call, answer);
        }
        if self.space.clients[client].call != Some(call) {
            return Ok(());
        }
        self.space.clients[client].call = None;
        match (self.space.clients[client].doing.clone(), answer) {
            (Doing::Submitting { txn, level, tries }, CallAnswer::Submit(answer)) => {
                self.on_submitted(client, txn, level, tries, &answer);
            }
            (Doing::Reading { keys, then_write }, CallAnswer::Read(answer)) => match answer {
                ReadAnswer::Rows(rows) if then_write => {
                    let seen: Vec<_> = keys.into_iter().zip(rows).collect();
                    self.begin_transaction(client, Kind::Versioned, &seen);
                }
                ReadAnswer::Rows(_) => self.think(client),
                ReadAnswer::Overloaded { .. } | ReadAnswer::Unavailable { .. } => {
                    if self.space.probing == Probe::Running {
                        self.space.clients[client].probe_reads.push(keys);
                    }
                    self.think(client);
                }
            },
            (Doing::Asking { txn }, CallAnswer::Outcome(answer)) => match answer {
                OutcomeAnswer::Committed { .. }
                | OutcomeAnswer::Aborted { .. }
                | OutcomeAnswer::TooOld { .. } => {
                    self.probe_again(client, txn);
                    self.think(client);
                }
                OutcomeAnswer::Open
                | OutcomeAnswer::Unknown
                | OutcomeAnswer::Unavailable { .. } => {
                    self.leave_for_later(client, txn);
                }
            },
            (doing, answer) => {
                let story = format!("a client that is {doing:?} was answered {answer:?}");
                return Err(Failure::new(crate::failure::Check::Answer, story));
            }
        }
        Ok(())
    }

    fn on_submitted(
        &mut self,
        client: usize,
        txn: usize,
        level: Level,
        tries: u32,
        answer: &Answer,
    ) {
        match answer {
            Answer::Logged(_) => {
                if self.rng.coin() {
                    self.ask(client, txn);
                } else {
                    self.leave_for_later(client, txn);
                }
            }
            Answer::Committed { .. } | Answer::Aborted { .. } => {
                // Sometimes the answer is lost after all, and the same is sent again.
                if self.space.probing == Probe::NotYet
                    && self.fires(Fault::ClientRetries)
                    && tries > 0
                {
                    self.submit(client, txn, level, tries - 1);
                } else {
                    self.think(client);
                }
            }
            Answer::IdReused | Answer::TooOld { .. } => {
                self.probe_again(client, txn);
                self.think(client);
            }
            Answer::FromFuture => {
                self.space.history.txns[txn].from_future = true;
                self.think(client);
            }
            Answer::Overloaded { .. } | Answer::Unavailable { .. } | Answer::ClocksApart { .. } => {
                self.space.history.txns[txn].denied = true;
                if tries > 0 {
                    self.space.clients[client].doing =
                        Doing::Submitting { txn, level, tries: tries - 1 };
                    let delay = self.rng.range(1_000..100_000);
                    self.next_turn(client, delay);
                } else {
                    self.leave_for_later(client, txn);
                }
            }
        }
    }

    /// Every client has learned everything: one writes and reads every row once more.
    pub(crate) fn begin_probe(&mut self) {
        self.space.probing = Probe::Running;
        let probes = self.space.workload.probes();
        let client = &mut self.space.clients[0];
        client.probe_reads =
            probes.iter().map(|ops| ops.iter().map(|op| op.key.clone()).collect()).collect();
        let plan = &self.space.plan;
        let written = probes.into_iter().map(|ops| crate::region::written_here(plan, ops));
        client.probes = written.filter(|ops| !ops.is_empty()).collect();
        self.think(0);
    }

    fn probe(&mut self, client: usize) {
        if let Some(ops) = self.space.clients[client].probes.pop() {
            let id = self.draw_id();
            let fingerprint = self.rng.next_u128();
            let version = self.space.plan.version(self.now_us);
            let txn = self.space.workload.transaction(version, id, fingerprint, ops);
            let index = self.space.history.add(txn, Kind::Blind, None);
            self.space.history.txns[index].probe = true;
            return self.submit(client, index, Level::Applied, 50);
        }
        let history = &self.space.history;
        self.space.clients[client].unresolved.retain(|txn| history.txns[*txn].verdict.is_none());
        if !self.space.clients[client].unresolved.is_empty() {
            let txn = self.space.clients[client].unresolved.remove(0);
            return self.ask(client, txn);
        }
        if let Some(keys) = self.space.clients[client].probe_reads.pop() {
            return self.read(client, keys, false);
        }
        self.space.clients[client].doing = Doing::Finished;
        self.space.probing = Probe::Resting;
    }

    /// A write at the end whose id was too old, or that its own client fenced, is made again, under a new one.
    fn probe_again(&mut self, client: usize, txn: usize) {
        let entry = &mut self.space.history.txns[txn];
        let barred =
            matches!(entry.verdict, Some(Verdict::TooOld | Verdict::Aborted(AbortReason::Fenced)));
        if entry.probe && barred {
            entry.probe = false;
            let parts = entry.txn.parts.iter();
            let mut ops: Vec<RowOp> = parts.flat_map(|(_, part)| part.iter().cloned()).collect();
            ops.sort_by(|a, b| a.key.cmp(&b.key));
            self.space.clients[client].probes.push(ops);
        }
    }

    /// Whether a transaction's outcome is known for good to whoever asked.
    pub(crate) fn is_resolved(&self, txn: usize) -> bool {
        matches!(
            self.space.history.txns[txn].verdict,
            Some(Verdict::Committed(_) | Verdict::Aborted(_) | Verdict::IdReused)
        )
    }
}
