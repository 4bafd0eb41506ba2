//! One attempt to commit a transaction of several shards.

use std::sync::Arc;

use participant::engine::{Rule, Rules};
use participant::message::{
    Known, NoReason, Outcome, PrepareRequest, ShardReply, ShardRequest, Vote,
};
use smallvec::SmallVec;
use wal_core::{AbortReason, Attempt, Epoch, Millis, Now, ShardId, Timestamp, Transaction};

use super::{Context, Next, age_us};
use crate::api::{Answer, CallAnswer, Level, Receipt};

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Votes are missing.
    Voting,
    /// The attempt has ended; the home drives the next, and will tell the outcome.
    AtHome,
    /// Committed; participants tell when it is applied.
    Applying { timestamp: Timestamp },
}

#[derive(Clone, Debug)]
struct Participant {
    shard: ShardId,
    expected: Epoch,
    proposal: Option<Timestamp>,
    applied: bool,
}

/// One attempt, and for a client's, what comes after it.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) call: Option<u64>,
    /// Whether the home asked for it; else a client did, and this is attempt 1.
    for_home: bool,
    txn: Arc<Transaction>,
    level: Level,
    start: Millis,
    attempt: Attempt,
    participants: SmallVec<[Participant; 4]>,
    phase: Phase,
    begun_us: u64,
    sent_us: u64,
}

impl Drive {
    pub(super) fn for_client(
        now: Now,
        call: u64,
        txn: Arc<Transaction>,
        level: Level,
        start: Millis,
        attempt: Attempt,
    ) -> Self {
        Self { call: Some(call), level, ..Self::new(now, false, txn, start, attempt) }
    }

    pub(super) fn for_home(
        now: Now,
        txn: Arc<Transaction>,
        start: Millis,
        attempt: Attempt,
    ) -> Self {
        Self::new(now, true, txn, start, attempt)
    }

    fn new(
        now: Now,
        for_home: bool,
        txn: Arc<Transaction>,
        start: Millis,
        attempt: Attempt,
    ) -> Self {
        let participant =
            |shard| Participant { shard, expected: Epoch(0), proposal: None, applied: false };
        let participants = txn.participants().map(participant).collect();
        Self {
            call: None,
            for_home,
            txn,
            level: Level::Committed,
            start,
            attempt,
            participants,
            phase: Phase::Voting,
            begun_us: now.mono_us,
            sent_us: now.mono_us,
        }
    }

    /// Asks every participant to promise.
    pub(super) fn prepare<R: Rules>(&mut self, context: &mut Context<'_, R>) {
        for participant in &mut self.participants {
            participant.expected =
                context.routes.get(&participant.shard).copied().unwrap_or_default();
        }
        self.ask(context);
    }

    /// Asks those that have not promised: the same attempt, with the same expected epoch.
    fn ask<R: Rules>(&self, context: &mut Context<'_, R>) {
        let home = self.txn.home();
        let participants: Arc<[ShardId]> = self.txn.participants().collect();
        for (index, participant) in self.participants.iter().enumerate() {
            if participant.proposal.is_some() {
                continue;
            }
            let request = PrepareRequest {
                id: self.txn.id,
                fingerprint: self.txn.fingerprint,
                namespace_version: self.txn.namespace_version,
                attempt: self.attempt,
                expected_epoch: participant.expected,
                start: self.start,
                clock_us: context.now.wall_us,
                participants: participants.clone(),
                part: self.txn.parts[index].1.clone(),
                whole: (participant.shard == home).then(|| self.txn.clone()),
            };
            context.send(participant.shard, ShardRequest::Prepare(Box::new(request)));
        }
    }

    pub(super) fn on_reply<R: Rules>(
        &mut self,
        shard: ShardId,
        reply: ShardReply,
        context: &mut Context<'_, R>,
    ) -> Next {
        match reply {
            ShardReply::Voted { attempt, vote, .. } => {
                // The home's answer to `Open` is a vote on no attempt.
                let ours = attempt == self.attempt && self.phase == Phase::Voting;
                let homes = self.phase == Phase::AtHome && shard == self.txn.home();
                if ours || (homes && !matches!(vote, Vote::Yes { .. } | Vote::No(_))) {
                    self.on_vote(shard, vote, context)
                } else {
                    Next::Continue
                }
            }
            ShardReply::Opened { epoch, .. } => {
                self.answer_logged(epoch, context);
                Next::Continue
            }
            ShardReply::Known { known: Known::Outcome { outcome, .. }, .. } => {
                self.on_outcome(shard, outcome, context)
            }
            ShardReply::Applied { .. } => self.on_applied(shard, context),
            ShardReply::NotLeading { epoch } => {
                context.learn_epoch(shard, epoch);
                Next::Continue
            }
            ShardReply::Known { .. }
            | ShardReply::Single { .. }
            | ShardReply::Resolved { .. }
            | ShardReply::Rows { .. }
            | ShardReply::Held { .. }
            | ShardReply::Confirmed { .. }
            | ShardReply::Overloaded => Next::Continue,
        }
    }

    fn on_vote<R: Rules>(
        &mut self,
        shard: ShardId,
        vote: Vote,
        context: &mut Context<'_, R>,
    ) -> Next {
        match vote {
            Vote::Yes { proposal } => self.on_yes(shard, proposal, context),
            Vote::No(reason) => self.on_no(shard, reason, context),
            Vote::Condemned(reason) => {
                let (id, attempt) = (self.txn.id, self.attempt);
                let request = ShardRequest::Condemn { id, attempt, reason };
                context.send(self.txn.home(), request);
                self.abort(context);
                Next::Done // only later attempts are condemned, and those are the home's
            }
            Vote::Decided(outcome) => self.on_outcome(shard, outcome, context),
            Vote::IdReused => {
                // What was promised of this content is closed for good: the id has another.
                self.tell_closed(shard, AbortReason::IdReused, context);
                context.answer(self.call, CallAnswer::Submit(Answer::IdReused));
                Next::Done
            }
            Vote::TooOld { floor } => {
                self.abort(context);
                context.answer(self.call, CallAnswer::Submit(Answer::TooOld { floor }));
                Next::Done
            }
            Vote::FromFuture => {
                self.abort(context);
                context.answer(self.call, CallAnswer::Submit(Answer::FromFuture));
                Next::Done
            }
        }
    }

    fn on_yes<R: Rules>(
        &mut self,
        shard: ShardId,
        proposal: Timestamp,
        context: &mut Context<'_, R>,
    ) -> Next {
        let Some(voter) = self.participants.iter_mut().find(|p| p.shard == shard) else {
            return Next::Continue;
        };
        voter.proposal = Some(proposal);
        let epoch = voter.expected;
        if shard == self.txn.home() {
            self.answer_logged(epoch, context);
        }
        // Committed: every participant holds a durable, accepted promise for this attempt.
        let proposals = self.participants.iter().map(|p| p.proposal);
        let Some(timestamp) = proposals.collect::<Option<SmallVec<[_; 4]>>>() else {
            return Next::Continue;
        };
        let timestamp = timestamp.into_iter().max().expect("there are participants");
        self.tell_committed(timestamp, context);
        self.committed(timestamp, self.home_epoch(), context)
    }

    fn tell_committed<R: Rules>(&self, timestamp: Timestamp, context: &mut Context<'_, R>) {
        let applied = self.level == Level::Applied && self.call.is_some();
        for participant in &self.participants {
            let request = ShardRequest::Commit {
                id: self.txn.id,
                attempt: self.attempt,
                timestamp,
                home: self.txn.home(),
                applied,
            };
            context.send(participant.shard, request);
        }
    }

    /// Answers, or waits on until it is applied.
    fn committed<R: Rules>(
        &mut self,
        timestamp: Timestamp,
        epoch: Epoch,
        context: &mut Context<'_, R>,
    ) -> Next {
        if self.level == Level::Applied && self.call.is_some() {
            self.phase = Phase::Applying { timestamp };
            return Next::Continue;
        }
        let receipt = self.receipt(epoch);
        let answer = Answer::Committed { receipt, timestamp, applied: false };
        context.answer(self.call.take(), CallAnswer::Submit(answer));
        Next::Done
    }

    fn on_applied<R: Rules>(&mut self, shard: ShardId, context: &mut Context<'_, R>) -> Next {
        let Phase::Applying { timestamp } = self.phase else { return Next::Continue };
        for participant in self.participants.iter_mut().filter(|p| p.shard == shard) {
            participant.applied = true;
        }
        if !self.participants.iter().all(|p| p.applied) {
            return Next::Continue;
        }
        let receipt = self.receipt(self.home_epoch());
        let answer = Answer::Committed { receipt, timestamp, applied: true };
        context.answer(self.call, CallAnswer::Submit(answer));
        Next::Done
    }

    /// The attempt is over. A client's goes on at the home; a home hears of it by the abort.
    fn on_no<R: Rules>(
        &mut self,
        shard: ShardId,
        reason: NoReason,
        context: &mut Context<'_, R>,
    ) -> Next {
        if let NoReason::WrongEpoch { current } = reason {
            context.learn_epoch(shard, current);
        }
        self.abort(context);
        if self.for_home {
            return Next::Done;
        }
        self.phase = Phase::AtHome;
        self.open(context);
        Next::Continue
    }

    fn open<R: Rules>(&self, context: &mut Context<'_, R>) {
        let request = ShardRequest::Open { txn: self.txn.clone(), start: self.start };
        context.send(self.txn.home(), request);
    }

    fn abort<R: Rules>(&self, context: &mut Context<'_, R>) {
        for participant in &self.participants {
            let request = ShardRequest::Abort { id: self.txn.id, attempt: self.attempt };
            context.send(participant.shard, request);
        }
    }

    /// The transaction has an outcome, from whichever attempt.
    fn on_outcome<R: Rules>(
        &mut self,
        shard: ShardId,
        outcome: Outcome,
        context: &mut Context<'_, R>,
    ) -> Next {
        match outcome {
            Outcome::Committed { timestamp, epoch, .. } => {
                if self.level == Level::Applied && self.call.is_some() {
                    for participant in &self.participants {
                        let request = ShardRequest::AwaitApplied { id: self.txn.id };
                        context.send(participant.shard, request);
                    }
                }
                // Another participant's epoch says nothing of the home's.
                let epoch = if shard == self.txn.home() { epoch } else { Epoch(0) };
                self.committed(timestamp, epoch, context)
            }
            Outcome::Closed(reason) => {
                self.tell_closed(shard, reason.clone(), context);
                let answer = match reason {
                    AbortReason::IdReused => Answer::IdReused,
                    reason => Answer::Aborted { home: self.txn.home(), reason },
                };
                context.answer(self.call, CallAnswer::Submit(answer));
                Next::Done
            }
        }
    }

    fn tell_closed<R: Rules>(
        &self,
        closer: ShardId,
        reason: AbortReason,
        context: &mut Context<'_, R>,
    ) {
        let participants: Arc<[ShardId]> = self.txn.participants().collect();
        for participant in self.participants.iter().filter(|p| p.shard != closer) {
            let request = ShardRequest::Closed {
                id: self.txn.id,
                fingerprint: Some(self.txn.fingerprint),
                participants: participants.clone(),
                reason: reason.clone(),
            };
            context.send(participant.shard, request);
        }
    }

    fn answer_logged<R: Rules>(&mut self, epoch: Epoch, context: &mut Context<'_, R>) {
        if self.level == Level::Logged {
            let answer = Answer::Logged(self.receipt(epoch));
            context.answer(self.call.take(), CallAnswer::Submit(answer));
        }
    }

    fn receipt(&self, epoch: Epoch) -> Receipt {
        Receipt { id: self.txn.id, home: self.txn.home(), epoch, seq: wal_core::Sequence(0) }
    }

    fn home_epoch(&self) -> Epoch {
        let home = self.txn.home();
        self.participants.iter().find(|p| p.shard == home).map_or(Epoch(0), |p| p.expected)
    }

    /// Asks again; never aborts because time has passed.
    pub(super) fn on_tick<R: Rules>(
        &mut self,
        resend_us: u64,
        give_up_us: u64,
        context: &mut Context<'_, R>,
    ) -> Next {
        let age = age_us(context.now, self.begun_us);
        if self.call.is_none() && age > give_up_us {
            return Next::Done; // whatever was promised, its home drives on
        }
        if age_us(context.now, self.sent_us) <= resend_us {
            return Next::Continue;
        }
        self.sent_us = context.now.mono_us;
        match self.phase {
            Phase::Voting if !context.rules.holds(Rule::NoAbortOnTimeout) => {
                self.abort(context);
                let home = self.txn.home();
                let answer = Answer::Aborted { home, reason: AbortReason::Fenced };
                context.answer(self.call, CallAnswer::Submit(answer));
                return Next::Done;
            }
            Phase::Voting => {
                self.ask(context);
                // The home may know more than this attempt will ever learn.
                if !self.for_home && age > 4 * resend_us {
                    self.open(context);
                }
            }
            Phase::AtHome => self.open(context),
            Phase::Applying { .. } => {
                for participant in self.participants.iter().filter(|p| !p.applied) {
                    let request = ShardRequest::AwaitApplied { id: self.txn.id };
                    context.send(participant.shard, request);
                }
            }
        }
        Next::Continue
    }
}
