//! Acknowledging, finishing, the floors of the shards, and forgetting below them.

use super::Commit;
use super::decide::sent_to_successor_only;
use super::state::{HOME, ID_TIME, Outcome, State, bit};
use crate::rule::Rule;

impl Commit {
    /// A shard's clock moves its floor: each shard at its own pace.
    pub(super) fn on_floor(&self, state: &mut State, shard: usize, up: bool) -> Option<()> {
        let floor = &mut state.shards[shard].floor;
        *floor = match up {
            true if *floor < self.bounds.floors[shard] => *floor + 1,
            false if *floor > 0 && !self.rules.has(Rule::FloorMonotone) => 0,
            _ => return None,
        };
        Some(())
    }

    /// A participant acknowledges the home's outcome: it durably has it, or has nothing to decide.
    pub(super) fn on_acknowledge(&self, state: &mut State, shard: usize) -> Option<()> {
        let at = &state.shards[shard];
        let idle = at.held == 0 && at.appending.is_none() && at.waiting.is_none();
        let has = match state.shards[HOME].outcome {
            Outcome::None => false,
            Outcome::Commit(_) => at.outcome == state.shards[HOME].outcome || idle,
            Outcome::Close => idle,
        };
        if !self.bounds.forgetting || !has || state.home.acknowledged & bit(shard) != 0 {
            return None;
        }
        state.home.acknowledged |= bit(shard);
        Some(())
    }

    /// A deposed leader, which remembers nothing of the id, acknowledges its outcome.
    pub(super) fn on_deposed_acknowledges(&self, state: &mut State, shard: usize) -> Option<()> {
        let Outcome::Commit(attempt) = state.shards[HOME].outcome else { return None };
        let may = self.bounds.forgetting && !self.rules.has(Rule::AcknowledgedByLeader);
        if !may || shard == HOME || !sent_to_successor_only(state, attempt as usize, shard) {
            return None;
        }
        state.home.acknowledged |= bit(shard);
        Some(())
    }

    /// The home has heard from all: it logs `Finished` and tells everybody.
    pub(super) fn on_finish(&self, state: &mut State) -> Option<()> {
        let by_all =
            state.home.acknowledged == self.all() || !self.rules.has(Rule::AcknowledgedByAll);
        let home = &mut state.shards[HOME];
        if !self.bounds.forgetting
            || home.outcome == Outcome::None
            || !by_all
            || home.finished.is_some()
        {
            return None;
        }
        let until = ID_TIME.max(state.home.highest);
        home.finished = Some(until);
        state.home.finished = Some(until);
        Some(())
    }

    /// `Finished` arrives, late or once more.
    pub(super) fn on_finished(&self, state: &mut State, shard: usize) -> Option<()> {
        let until = state.home.finished?;
        let at = &mut state.shards[shard];
        if at.outcome == Outcome::None || at.finished.is_some() {
            return None;
        }
        at.finished = Some(until);
        Some(())
    }

    /// A participant that still keeps an outcome asks a home that has forgotten it.
    pub(super) fn on_ask_finished(&self, state: &mut State, shard: usize) -> Option<()> {
        let home = &state.shards[HOME];
        let idle = home.held == 0 && home.appending.is_none() && home.waiting.is_none();
        let forgot =
            home.outcome == Outcome::None && !state.home.intent && idle && home.floor >= ID_TIME;
        let untold =
            state.shards[shard].outcome == Outcome::Close && !self.rules.has(Rule::CloseToldToHome);
        let says_floor = self.rules.has(Rule::ForgottenSaysFloor);
        let until = if says_floor { home.floor.max(ID_TIME) } else { ID_TIME };
        let at = &mut state.shards[shard];
        let asks = shard != HOME && at.outcome != Outcome::None && at.finished.is_none();
        if !self.bounds.forgetting || !asks || !(forgot || untold) {
            return None;
        }
        at.finished = Some(until);
        Some(())
    }

    /// A shard forgets an outcome.
    pub(super) fn on_forget(&self, state: &mut State, shard: usize) -> Option<()> {
        let at = &mut state.shards[shard];
        if !self.bounds.forgetting || at.outcome == Outcome::None {
            return None;
        }
        let until = match at.finished {
            Some(until) if self.rules.has(Rule::FinishedCarriesBar) => until,
            None if self.rules.has(Rule::KeptUntilFinished) => return None,
            _ => ID_TIME,
        };
        if at.floor < until && self.rules.has(Rule::KeptUntilFloor) {
            return None;
        }
        at.outcome = Outcome::None;
        at.finished = None;
        if shard == HOME {
            state.home.acknowledged = 0;
            state.home.highest = 0;
        }
        Some(())
    }

    /// A shard forgets that it refused or aborted an attempt.
    pub(super) fn on_forget_refuse(
        &self,
        state: &mut State,
        attempt: usize,
        shard: usize,
    ) -> Option<()> {
        let at = &mut state.shards[shard];
        let kept =
            state.attempts[attempt].bar > at.floor && self.rules.has(Rule::RefuseKeptUntilBar);
        if !self.bounds.forgetting || at.barred & bit(attempt) == 0 || kept {
            return None;
        }
        at.barred &= !bit(attempt);
        Some(())
    }
}
