//! Attempts start, `Prepare` messages arrive, wait, are appended, become durable or die with an epoch.

use super::state::{ATTEMPTS, HOME, ID_TIME, LATER, Outcome, Shard, State, bit};
use super::{Answer, Commit};
use crate::invariant::Broken;
use crate::rule::Rule;

impl Commit {
    /// A gateway starts its attempt number 1, expecting the epochs of this moment.
    pub(super) fn on_start(&self, state: &mut State, gateway: usize) -> Option<()> {
        let attempt = if self.rules.has(Rule::AttemptHasNonce) { gateway } else { 0 };
        if gateway >= self.bounds.gateways || state.attempts[gateway].bar != 0 {
            return None;
        }
        state.attempts[gateway].bar = ID_TIME;
        self.send(state, attempt);
        Some(())
    }

    /// Somebody sends the same attempt again, expecting the epochs of this moment.
    pub(super) fn on_send_again(&self, state: &mut State, attempt: usize) -> Option<()> {
        if self.rules.has(Rule::NeverSentAgain) || !state.attempts[attempt].started() {
            return None;
        }
        self.send(state, attempt);
        Some(())
    }

    fn send(&self, state: &mut State, attempt: usize) {
        for shard in 0..self.bounds.shards {
            state.attempts[attempt].expected[shard] |= bit(state.shards[shard].epoch as usize);
        }
    }

    /// The home starts a later attempt; its clock may say anything.
    pub(super) fn on_start_later(&self, s: &mut State, attempt: usize, bar: u8) -> Option<()> {
        let home = &s.shards[HOME];
        let busy = home.held != 0 || home.appending.is_some() || home.waiting.is_some();
        let driven_ended = s.home.driving.is_none_or(|driven| s.attempts[driven as usize].refused);
        let next = attempt == LATER || s.attempts[attempt - 1].bar != 0;
        let may = s.home.intent || !self.rules.has(Rule::LaterNeedsIntent);
        let fresh = s.attempts[attempt].bar == 0 && attempt < LATER + self.bounds.later;
        if busy || !driven_ended || !next || !may || !fresh || home.outcome != Outcome::None {
            return None;
        }
        s.home.driving = Some(attempt as u8);
        s.attempts[attempt].bar = bar;
        self.send(s, attempt);
        Some(())
    }

    /// A `Prepare` arrives: the first time, late, or once more.
    pub(super) fn on_prepare(
        &self,
        state: &mut State,
        attempt: usize,
        shard: usize,
        answer: Answer,
    ) -> Option<()> {
        let at = state.shards[shard];
        if !state.attempts[attempt].started() || knows(&at, attempt) {
            return None;
        }
        let bound = self.rules.has(Rule::PrepareBoundToEpoch);
        let arrives = state.attempts[attempt].expected[shard];
        let current = arrives & bit(at.epoch as usize) != 0 || !bound;
        if at.barred & bit(attempt) != 0 || (current && self.remembers_no(&at, attempt)) {
            return None;
        }
        if !current {
            return self.say_no(state, attempt, shard, false);
        }
        if self.too_old(state, attempt, shard) {
            state.told_aborted |= attempt < LATER && !self.rules.has(Rule::TooOldIsNotAborted);
            return self.say_no(state, attempt, shard, false);
        }
        let closed = at.outcome == Outcome::Close && self.rules.has(Rule::CloseBarsAll);
        if closed
            || matches!(at.outcome, Outcome::Commit(_))
            || self.turned_away(state, attempt, shard)
        {
            return self.say_no(state, attempt, shard, true);
        }
        match answer {
            Answer::No => self.say_no(state, attempt, shard, true),
            Answer::Close
                if shard != HOME && attempt >= LATER && self.rules.has(Rule::LaterClosedByHome) =>
            {
                self.say_no(state, attempt, shard, true)
            }
            Answer::Close => self.close(state, shard),
            Answer::Wait if self.bounds.waiting => {
                state.shards[shard].waiting = Some(attempt as u8);
                Some(())
            }
            Answer::Wait => None,
            Answer::Accept => {
                self.append(state, attempt, shard);
                Some(())
            }
        }
    }

    fn remembers_no(&self, at: &Shard, attempt: usize) -> bool {
        self.rules.has(Rule::NoIsRemembered) && at.noes & bit(attempt) != 0
    }

    fn too_old(&self, state: &State, attempt: usize, shard: usize) -> bool {
        let rule = if attempt < LATER { Rule::PrepareObeysFloor } else { Rule::NonceObeysFloor };
        self.rules.has(rule) && state.attempts[attempt].bar <= state.shards[shard].floor
    }

    /// Another attempt is in the way, or the home does not drive this one.
    fn turned_away(&self, state: &State, attempt: usize, shard: usize) -> bool {
        let at = &state.shards[shard];
        let unresolved = at.held != 0 || at.appending.is_some() || at.waiting.is_some();
        let foreign = shard == HOME
            && attempt >= LATER
            && state.home.driving != Some(attempt as u8)
            && self.rules.has(Rule::HomeAcceptsItsOwn);
        foreign || (unresolved && (self.rules.has(Rule::OneUndecided) || at.held == 0))
    }

    fn say_no(
        &self,
        state: &mut State,
        attempt: usize,
        shard: usize,
        remember: bool,
    ) -> Option<()> {
        if remember {
            state.shards[shard].noes |= bit(attempt);
        }
        state.attempts[attempt].refused = true;
        Some(())
    }

    fn append(&self, state: &mut State, attempt: usize, shard: usize) {
        if !self.bounds.appending {
            return self.promise(state, attempt, shard);
        }
        state.shards[shard].appending = Some(attempt as u8);
        if !self.rules.has(Rule::VoteAfterDurable) {
            state.attempts[attempt].yes |= bit(shard);
        }
    }

    /// The lock is granted to the `Prepare` that waits.
    pub(super) fn on_grant(&self, state: &mut State, shard: usize) -> Option<()> {
        let attempt = state.shards[shard].waiting? as usize;
        if state.shards[shard].appending.is_some() {
            return None;
        }
        state.shards[shard].waiting = None;
        self.append(state, attempt, shard);
        Some(())
    }

    /// The log says that the `Prepare` is durable.
    pub(super) fn on_durable(&self, state: &mut State, shard: usize) -> Option<()> {
        let attempt = state.shards[shard].appending.take()?;
        self.promise(state, attempt as usize, shard);
        Some(())
    }

    /// A `Prepare` is in the log and accepted; the yes may be said from now on.
    fn promise(&self, state: &mut State, attempt: usize, shard: usize) {
        state.shards[shard].held |= bit(attempt);
        state.attempts[attempt].yes |= bit(shard);
        let before = state.attempts[attempt].prepared;
        state.attempts[attempt].prepared |= bit(shard);
        if shard == HOME {
            state.home.intent = true;
            state.told_logged = true;
            state.home.highest = state.home.highest.max(state.attempts[attempt].bar);
        }
        if before != self.all()
            && state.committed(attempt, self.all())
            && state.attempts[attempt].refused
        {
            state.fail(Broken::TwoDecisions);
        }
    }

    /// The participant dies and another leads the shard; the record in flight is in the log or lost.
    pub(super) fn on_fail_over(&self, state: &mut State, shard: usize, kept: bool) -> Option<()> {
        let appending = state.shards[shard].appending;
        if state.failovers == 0 || (kept && appending.is_none()) {
            return None;
        }
        state.failovers -= 1;
        let at = &mut state.shards[shard];
        (at.waiting, at.appending, at.noes) = (None, None, 0);
        if self.rules.has(Rule::RestartTakesNewEpoch) {
            at.epoch += 1;
        }
        if !self.rules.has(Rule::FloorDurable) {
            at.floor = 0;
        }
        if shard == HOME {
            state.home.driving = None;
            state.home.acknowledged = 0;
        }
        if let Some(attempt) = appending.filter(|_| kept) {
            self.promise(state, attempt as usize, shard);
        }
        Some(())
    }
}

/// Whether a repeated `Prepare` finds the first one and changes nothing.
fn knows(at: &Shard, attempt: usize) -> bool {
    debug_assert!(attempt < ATTEMPTS);
    let index = Some(attempt as u8);
    at.held & bit(attempt) != 0
        || at.appending == index
        || at.waiting == index
        || at.outcome == Outcome::Commit(attempt as u8)
}
