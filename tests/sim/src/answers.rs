//! Every answer is held against the logs and tables at the instant at which it leaves.

use coordinator::api::{Answer, CallAnswer, Level, OutcomeAnswer, ReadAnswer, Receipt};
use wal_core::{AbortReason, Millis, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use crate::client::About;
use crate::failure::{Check, Failure, ensure};
use crate::fault::Fault;
use crate::history::{ReadHistory, Verdict};
use crate::message::Event;
use crate::model::mutations_of;
use crate::names;
use crate::world::World;

impl World {
    /// A commit engine answers a call.
    pub(crate) fn on_answered(
        &mut self,
        slot: usize,
        call: u64,
        answer: CallAnswer,
    ) -> Result<(), Failure> {
        self.count(names::answer(&answer));
        self.mix(xxh3_64(format!("{answer:?}").as_bytes()));
        let Some(pending) = self.space.calls.get_mut(&call) else {
            return Err(Failure::new(
                Check::Answer,
                format!("node {slot} answers call {call}, which nobody made"),
            ));
        };
        ensure!(
            !pending.answered,
            Answer,
            "node {slot} answers call {call} twice, now with {answer:?}"
        );
        pending.answered = true;
        let client = pending.client;
        let sent_us = pending.sent_us;
        let about = pending.about.clone();
        match (&about, &answer) {
            (About::Submit { txn, level }, CallAnswer::Submit(answer)) => {
                self.check_submitted(*txn, *level, answer)?;
            }
            (About::Read { keys }, CallAnswer::Read(answer)) => match answer {
                ReadAnswer::Rows(rows) => {
                    ensure!(
                        rows.len() == keys.len(),
                        Answer,
                        "{} rows for {} keys",
                        rows.len(),
                        keys.len()
                    );
                    self.space.history.reads.push(ReadHistory {
                        from_us: sent_us,
                        to_us: self.now_us,
                        keys: keys.clone(),
                        rows: rows.clone(),
                    });
                }
                ReadAnswer::Overloaded { .. } | ReadAnswer::Unavailable { .. } => {}
            },
            (About::Outcome { txn, query }, CallAnswer::Outcome(answer)) => {
                self.check_outcome(*txn, query.wait, answer)?;
            }
            _ => {
                let story = format!("call {call} about {about:?} is answered with {answer:?}");
                return Err(Failure::new(Check::Answer, story));
            }
        }
        if !self.fires(Fault::MessageLost) {
            let delay = self.rng.below(self.space.plan.network_us);
            self.schedule(delay, Event::Answer { client, call, answer: Box::new(answer) });
        }
        Ok(())
    }

    fn check_submitted(
        &mut self,
        txn: usize,
        level: Level,
        answer: &Answer,
    ) -> Result<(), Failure> {
        match answer {
            Answer::Logged(receipt) => {
                ensure!(level == Level::Logged, Answer, "logged is answered at level {level:?}");
                self.check_logged(txn, receipt)
            }
            Answer::Committed { receipt, timestamp, applied } => {
                ensure!(
                    level < Level::Applied || *applied,
                    Answer,
                    "{} is answered at level applied, not yet applied",
                    receipt.id
                );
                self.check_committed(txn, receipt, *timestamp, *applied)
            }
            Answer::Aborted { home, reason } => {
                let right = self.space.history.txns[txn].txn.home();
                ensure!(*home == right, Answer, "the home is {right}, the answer names {home}");
                self.check_aborted(txn, reason)
            }
            Answer::IdReused => self.check_id_reused(txn),
            Answer::TooOld { floor } => self.check_too_old(txn, *floor),
            Answer::FromFuture
            | Answer::Overloaded { .. }
            | Answer::Unavailable { .. }
            | Answer::ClocksApart { .. } => Ok(()),
        }
    }

    fn check_outcome(
        &mut self,
        txn: usize,
        wait: Option<Level>,
        answer: &OutcomeAnswer,
    ) -> Result<(), Failure> {
        match answer {
            OutcomeAnswer::Committed { receipt, timestamp, applied } => {
                ensure!(
                    wait != Some(Level::Applied) || *applied,
                    Answer,
                    "{}: waited until it is applied, and it is not",
                    receipt.id
                );
                // By id alone nobody can tell the contents apart.
                let winner = self.committed_of(txn);
                self.check_committed(winner, receipt, *timestamp, *applied)?;
                if winner != txn {
                    self.space.history.tell(txn, self.now_us, Verdict::IdReused)?;
                }
                Ok(())
            }
            OutcomeAnswer::Aborted { reason } => self.check_aborted(txn, reason),
            OutcomeAnswer::Open => {
                let id = self.space.history.txns[txn].txn.id;
                let held = self.space.truth.txn(id).is_some_and(|truth| truth.held);
                ensure!(
                    held,
                    Answer,
                    "{id} is said to be open, but its home holds nothing durable"
                );
                if self.space.history.txns[txn].twin.is_none() {
                    self.space.history.txns[txn].logged = true;
                }
                Ok(())
            }
            OutcomeAnswer::Unknown | OutcomeAnswer::Unavailable { .. } => Ok(()),
            OutcomeAnswer::TooOld { floor } => self.check_too_old(txn, *floor),
        }
    }

    /// Of a transaction and its twin, the one that the logs have committed.
    fn committed_of(&self, txn: usize) -> usize {
        let entry = &self.space.history.txns[txn];
        let Some(twin) = entry.twin else { return txn };
        let truth = self.space.truth.txn(entry.txn.id).and_then(|truth| truth.committed.as_ref());
        let fits = truth.is_none_or(|committed| committed.fingerprint == entry.txn.fingerprint);
        if fits { txn } else { twin }
    }

    fn check_logged(&mut self, txn: usize, receipt: &Receipt) -> Result<(), Failure> {
        let entry = &self.space.history.txns[txn];
        let id = entry.txn.id;
        let held = self.space.truth.txn(id).is_some_and(|truth| truth.held);
        ensure!(held, Answer, "{id} is said to be logged, but its home holds nothing durable");
        ensure!(
            receipt.id == id && receipt.home == entry.txn.home(),
            Answer,
            "{id}: the receipt is {receipt:?}, the home {}",
            entry.txn.home()
        );
        if entry.twin.is_none() {
            self.space.history.txns[txn].logged = true;
        }
        Ok(())
    }

    fn check_committed(
        &mut self,
        txn: usize,
        receipt: &Receipt,
        timestamp: Timestamp,
        applied: bool,
    ) -> Result<(), Failure> {
        let entry = &self.space.history.txns[txn];
        let id = entry.txn.id;
        let truth = self.space.truth.txn(id);
        let Some(committed) = truth.and_then(|truth| truth.committed.as_ref()) else {
            let story =
                format!("{id} is said to be committed at {timestamp}; the logs say {truth:?}");
            return Err(Failure::new(Check::Answer, story));
        };
        ensure!(
            committed.timestamp == timestamp && committed.fingerprint == entry.txn.fingerprint,
            Answer,
            "{id} is said to be committed at {timestamp}; the logs say {committed:?}"
        );
        ensure!(
            receipt.id == id && receipt.home == entry.txn.home(),
            Answer,
            "{id}: the receipt is {receipt:?}, the home {}",
            entry.txn.home()
        );
        if applied {
            for mutation in mutations_of(&entry.txn, committed) {
                let stored = self.space.store.row(&mutation.key);
                let mut merged = stored.clone();
                merged.merge(&mutation.delta);
                ensure!(
                    merged == stored,
                    Answer,
                    "{id} is said to be applied; {:?} lacks {:?}",
                    mutation.key,
                    mutation.delta
                );
            }
        }
        self.space.history.tell(txn, self.now_us, Verdict::Committed(timestamp))
    }

    fn check_aborted(&mut self, txn: usize, reason: &AbortReason) -> Result<(), Failure> {
        let entry = &self.space.history.txns[txn];
        let id = entry.txn.id;
        let truth = self.space.truth.txn(id);
        let participants: Vec<_> = entry.txn.participants().collect();
        let barred = truth.is_some_and(|truth| truth.is_barred(entry.txn.home(), &participants));
        let closed = truth.map_or(&[][..], |truth| truth.closed.as_slice());
        ensure!(
            barred && (closed.contains(reason) || entry.twin.is_some()),
            Answer,
            "{id} is said to be aborted ({reason:?}); the logs say {truth:?}"
        );
        if let Some(Verdict::Aborted(first)) = &entry.verdict
            && first != reason
        {
            self.count("aborted for two reasons");
            return Ok(());
        }
        self.space.history.tell(txn, self.now_us, Verdict::Aborted(reason.clone()))
    }

    fn check_id_reused(&mut self, txn: usize) -> Result<(), Failure> {
        let entry = &self.space.history.txns[txn];
        let used = entry.twin.is_some_and(|twin| self.space.history.txns[twin].sent > 0);
        ensure!(used, Answer, "{} is said to be used for other content; it was not", entry.txn.id);
        self.space.history.tell(txn, self.now_us, Verdict::IdReused)
    }

    fn check_too_old(&mut self, txn: usize, floor: Millis) -> Result<(), Failure> {
        let id = self.space.history.txns[txn].txn.id;
        ensure!(id.time() <= floor, Answer, "{id} is said to be too old for the floor {floor}");
        let promised = self.space.history.txns[txn].logged && self.healed_at.is_some();
        if promised {
            self.count("too old after it was logged");
        }
        self.space.history.tell(txn, self.now_us, Verdict::TooOld)
    }
}
