//! Recovery, decisions, `Close` and what clients are told.

use super::Commit;
use super::state::{ATTEMPTS, HOME, ID_TIME, Outcome, Set, State, bit};
use crate::invariant::Broken;
use crate::rule::Rule;

impl Commit {
    /// Somebody runs recovery: what does this shard say about the attempt?
    pub(super) fn on_resolve(&self, state: &mut State, attempt: usize, shard: usize) -> Option<()> {
        let at = state.shards[shard];
        let yes = at.held & bit(attempt) != 0 || at.outcome == Outcome::Commit(attempt as u8);
        if !state.attempts[attempt].started() || yes || at.outcome == Outcome::Close {
            return None;
        }
        let index = Some(attempt as u8);
        if at.appending == index && self.rules.has(Rule::RecoveryWaitsForAppend) {
            return None;
        }
        if at.waiting == index && self.rules.has(Rule::RefuseDropsWaiting) {
            state.shards[shard].waiting = None;
        }
        let forgotten = state.attempts[attempt].bar <= at.floor;
        let other = matches!(at.outcome, Outcome::Commit(_));
        if !forgotten && !other {
            state.shards[shard].barred |= bit(attempt);
        }
        state.attempts[attempt].refused = true;
        Some(())
    }

    /// A deposed leader that does not need to write says that it holds nothing.
    pub(super) fn on_deposed_refuses(
        &self,
        state: &mut State,
        attempt: usize,
        shard: usize,
    ) -> Option<()> {
        if self.rules.has(Rule::RefuseDurable) || !sent_to_successor_only(state, attempt, shard) {
            return None;
        }
        state.attempts[attempt].refused = true;
        Some(())
    }

    /// A deposed leader gets a `Prepare` that expects its successor, and says that the epoch is wrong.
    pub(super) fn on_deposed_turns_away(
        &self,
        state: &mut State,
        attempt: usize,
        shard: usize,
    ) -> Option<()> {
        if self.rules.has(Rule::WrongEpochIsLater) || !sent_to_successor_only(state, attempt, shard)
        {
            return None;
        }
        state.attempts[attempt].refused = true;
        Some(())
    }

    /// A participant hears that the attempt is committed: from its coordinator, or from recovery.
    pub(super) fn on_commit(&self, state: &mut State, attempt: usize, shard: usize) -> Option<()> {
        let at = state.shards[shard];
        if at.held & bit(attempt) == 0 || !self.may_say_committed(state, attempt) {
            return None;
        }
        if !state.committed(attempt, self.all()) {
            state.fail(Broken::FalselyCommitted);
        }
        if at.applied {
            state.fail(Broken::Doubled);
        }
        let at = &mut state.shards[shard];
        at.applied = true;
        at.held &= !bit(attempt);
        self.end(state, shard, Outcome::Commit(attempt as u8));
        Some(())
    }

    fn may_say_committed(&self, state: &State, attempt: usize) -> bool {
        let yes: Set = if self.rules.has(Rule::SameAttempt) {
            state.attempts[attempt].yes
        } else {
            state.attempts.iter().fold(0, |all, each| all | each.yes)
        };
        yes == self.all() || (!self.rules.has(Rule::EveryParticipant) && yes & bit(HOME) != 0)
    }

    /// A participant hears that the attempt is not committed.
    pub(super) fn on_abort(&self, state: &mut State, attempt: usize, shard: usize) -> Option<()> {
        let said_no = state.attempts[attempt].refused || state.told_aborted;
        let may = said_no || !self.rules.has(Rule::NoAbortOnTimeout);
        if state.shards[shard].held & bit(attempt) == 0 || !may {
            return None;
        }
        if state.committed(attempt, self.all()) {
            state.fail(Broken::Torn);
        }
        // A coordinator that gave up on its own has decided, whoever votes yes afterwards.
        state.attempts[attempt].refused = true;
        let at = &mut state.shards[shard];
        at.held &= !bit(attempt);
        if self.bounds.aborts_kept {
            at.barred |= bit(attempt);
        }
        if shard == HOME && !self.rules.has(Rule::IntentOutlivesAbort) {
            state.home.intent = false;
        }
        Some(())
    }

    /// A permanent reason was found, or the home was asked to fence: nothing of this id commits any more.
    pub(super) fn close(&self, state: &mut State, shard: usize) -> Option<()> {
        let at = state.shards[shard];
        let held = at.held != 0 && self.rules.has(Rule::CloseWithoutPrepare);
        let appending = at.appending.is_some() && self.rules.has(Rule::CloseWaitsForAppend);
        if !self.bounds.closes || held || appending || at.outcome != Outcome::None {
            return None;
        }
        state.told_aborted = true;
        if !self.rules.has(Rule::CloseDurable) {
            // Said, and lost with the process before it was in the log.
            return self.on_fail_over(state, shard, false);
        }
        if self.rules.has(Rule::CloseDropsWaiting) {
            state.shards[shard].waiting = None;
        }
        self.end(state, shard, Outcome::Close);
        Some(())
    }

    /// A client asks for the transaction to be fenced: at the home, or, without a locator, at every shard.
    pub(super) fn on_fence(&self, state: &mut State, shard: usize) -> Option<()> {
        if self.below_floor_and_unvouched(state, shard) && self.rules.has(Rule::FenceObeysFloor) {
            return None;
        }
        self.close(state, shard)
    }

    /// The home hears of a `Close` elsewhere and closes too, durably.
    pub(super) fn on_close_told(&self, state: &mut State, shard: usize) -> Option<()> {
        let told = shard != HOME && state.shards[shard].outcome == Outcome::Close;
        if !told || self.below_floor_and_unvouched(state, HOME) {
            return None;
        }
        self.close(state, HOME)
    }

    /// An old id about which a shard knows nothing is `TOO_OLD`: it is not closed again.
    fn below_floor_and_unvouched(&self, state: &State, shard: usize) -> bool {
        let vouched = shard == HOME && state.home.intent;
        state.shards[shard].floor >= ID_TIME && !vouched
    }

    fn end(&self, state: &mut State, shard: usize, outcome: Outcome) {
        let drops = self.rules.has(Rule::OutcomeDropsAttempts);
        let at = &mut state.shards[shard];
        at.outcome = outcome;
        if drops && outcome != Outcome::Close {
            at.waiting = None;
        }
        if shard == HOME {
            state.home.intent = false;
            state.home.acknowledged = 0;
            if drops {
                state.home.driving = None;
            }
        }
    }

    /// A gateway whose attempt ended hands the transaction to the home, perhaps long ago.
    pub(super) fn on_open(&self, state: &mut State) -> Option<()> {
        let ended = state.attempts[..self.bounds.gateways].iter().any(|each| each.refused);
        let at = &state.shards[HOME];
        let old = at.floor >= ID_TIME && self.rules.has(Rule::OpenObeysFloor);
        if !ended
            || old
            || at.outcome != Outcome::None
            || state.home.intent
            || self.bounds.later == 0
        {
            return None;
        }
        state.home.intent = true;
        state.told_logged = true;
        Some(())
    }

    /// Without its rules: a client is told "aborted" after a mere no, or because nothing was found.
    pub(super) fn on_tell_aborted(&self, state: &mut State) -> Option<()> {
        let a_no = state.attempts.iter().any(|attempt| attempt.refused);
        let home = &state.shards[HOME];
        let nothing = home.outcome == Outcome::None && home.held == 0 && !state.home.intent;
        let after_no = a_no && !self.rules.has(Rule::AbortedNeedsClose);
        let not_found = nothing && !self.rules.has(Rule::NotFoundIsUnknown);
        if state.told_aborted || !(after_no || not_found) {
            return None;
        }
        state.told_aborted = true;
        Some(())
    }

    /// What is wrong in a state, whatever step led there.
    pub(super) fn wrong(&self, state: &State) -> Option<Broken> {
        let all = self.all();
        let committed = (0..ATTEMPTS).filter(|attempt| state.committed(*attempt, all)).count();
        let said_yes = |attempt: usize| state.attempts[attempt].yes == all;
        let decided = state.shards.iter().any(|shard| shard.outcome != Outcome::None);
        let open = state.home.intent || decided || committed > 0 || state.told_aborted;
        if state.wrong.is_some() {
            state.wrong
        } else if (0..ATTEMPTS).any(|each| said_yes(each) && !state.committed(each, all)) {
            Some(Broken::FalselyCommitted)
        } else if committed > 1 {
            Some(Broken::Doubled)
        } else if committed > 0 && state.told_aborted {
            Some(Broken::AbortedYetCommitted)
        } else if state.told_logged && !open {
            Some(Broken::IntentLost)
        } else {
            None
        }
    }
}

/// Whether the shard's first leader cannot have prepared the attempt: it was sent to its successor.
pub(super) fn sent_to_successor_only(state: &State, attempt: usize, shard: usize) -> bool {
    state.attempts[attempt].expected[shard] > 1 && state.attempts[attempt].expected[shard] & 1 == 0
}
