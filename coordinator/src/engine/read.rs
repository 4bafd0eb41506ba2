//! `Read`: rows of one or several shards at one point of the serial order. See the shard engine's
//! `on_read` for why two rounds suffice, and its `on_hold` for what is done when writers keep coming
//! between them.

use std::sync::Arc;

use indexmap::IndexMap;
use participant::engine::{Rule, Rules};
use participant::message::{ShardReply, ShardRequest};
use wal_core::{Epoch, Now, Row, RowKey, Sequence, ShardId};

use super::{Context, Next, RETRY_AFTER_MS, age_us};
use crate::api::{CallAnswer, ReadAnswer};

/// A hold is taken to last shorter by this part: more than two clocks' rates differ.
const DRIFT_PART: u64 = 100;

#[derive(Debug)]
struct Group {
    shard: ShardId,
    keys: Arc<[RowKey]>,
    /// Where the rows belong in the answer.
    places: Vec<usize>,
    /// Round one's answer, or what is held.
    rows: Option<Vec<Row>>,
    /// Of what round one's answer is: round two asks what happened since.
    mark: (Epoch, Sequence),
    confirmed: bool,
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) call: u64,
    groups: Vec<Group>,
    tries: u32,
    /// Tries of two rounds; later ones hold.
    free_tries: u32,
    /// When the round, or the try that holds, was sent.
    sent_us: u64,
    /// The shortest of the holds of this try.
    held_us: u64,
}

impl Reading {
    pub(super) fn new(now: Now, call: u64, keys: Vec<(ShardId, RowKey)>, free_tries: u32) -> Self {
        let mut by_shard: IndexMap<ShardId, (Vec<RowKey>, Vec<usize>)> = IndexMap::new();
        for (place, (shard, key)) in keys.into_iter().enumerate() {
            let (keys, places) = by_shard.entry(shard).or_default();
            keys.push(key);
            places.push(place);
        }
        let group = |(shard, (keys, places)): (ShardId, (Vec<RowKey>, Vec<usize>))| Group {
            shard,
            keys: keys.into(),
            places,
            rows: None,
            mark: Default::default(),
            confirmed: false,
        };
        let groups = by_shard.into_iter().map(group).collect();
        let sent_us = now.mono_us;
        Self { call, groups, tries: 0, free_tries, sent_us, held_us: u64::MAX }
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.groups.iter().map(|group| group.shard)
    }

    /// Sends what the present round still needs.
    pub(super) fn ask<R: Rules>(&self, context: &mut Context<'_, R>) {
        let (only, tries) = (self.groups.len() == 1, self.tries);
        let confirming = self.groups.iter().all(|group| group.rows.is_some());
        for group in &self.groups {
            let keys = group.keys.clone();
            match &group.rows {
                None if self.is_holding() => {
                    context.send(group.shard, ShardRequest::Hold { keys, tries });
                }
                None => context.send(group.shard, ShardRequest::Read { keys, only }),
                Some(_) if confirming && !group.confirmed => {
                    let (epoch, mark) = group.mark;
                    let request = ShardRequest::Confirm { keys, epoch, mark, tries };
                    context.send(group.shard, request);
                }
                Some(_) => {}
            }
        }
    }

    pub(super) fn on_reply<R: Rules>(
        &mut self,
        shard: ShardId,
        reply: ShardReply,
        context: &mut Context<'_, R>,
    ) -> Next {
        match reply {
            ShardReply::Rows { epoch, mark, rows } => {
                self.on_rows(shard, epoch, mark, rows, context)
            }
            ShardReply::Held { tries, held_us, rows } => {
                self.on_held(shard, tries, held_us, rows, context)
            }
            ShardReply::Confirmed { tries, unchanged } => {
                self.on_confirmed(shard, tries, unchanged, context)
            }
            ShardReply::Overloaded => {
                let retry_after_ms = RETRY_AFTER_MS;
                let answer = ReadAnswer::Overloaded { retry_after_ms };
                context.answer(Some(self.call), CallAnswer::Read(answer));
                Next::Done
            }
            ShardReply::NotLeading { epoch } => {
                context.learn_epoch(shard, epoch);
                Next::Continue
            }
            ShardReply::Voted { .. }
            | ShardReply::Single { .. }
            | ShardReply::Opened { .. }
            | ShardReply::Applied { .. }
            | ShardReply::Resolved { .. }
            | ShardReply::Known { .. } => Next::Continue,
        }
    }

    fn on_rows<R: Rules>(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        mark: Sequence,
        rows: Vec<Row>,
        context: &mut Context<'_, R>,
    ) -> Next {
        let holding = self.is_holding();
        let Some(group) = self.groups.iter_mut().find(|group| group.shard == shard) else {
            return Next::Continue;
        };
        if group.rows.is_some() || holding {
            return Next::Continue; // a repeat of an answer, or of an earlier try
        }
        group.rows = Some(rows);
        group.mark = (epoch, mark);
        if self.groups.iter().any(|group| group.rows.is_none()) {
            return Next::Continue;
        }
        if self.groups.len() == 1 || !context.rules.holds(Rule::ReadConfirms) {
            return self.finish(context);
        }
        self.ask(context);
        Next::Continue
    }

    fn on_confirmed<R: Rules>(
        &mut self,
        shard: ShardId,
        tries: u32,
        unchanged: bool,
        context: &mut Context<'_, R>,
    ) -> Next {
        let group =
            self.groups.iter_mut().find(|group| group.shard == shard && group.rows.is_some());
        let Some(group) = group.filter(|_| tries == self.tries) else { return Next::Continue };
        if unchanged {
            group.confirmed = true;
            if self.groups.iter().all(|group| group.confirmed) {
                return self.finish(context);
            }
            return Next::Continue;
        }
        self.try_again(context);
        Next::Continue
    }

    fn on_held<R: Rules>(
        &mut self,
        shard: ShardId,
        tries: u32,
        held_us: u64,
        rows: Vec<Row>,
        context: &mut Context<'_, R>,
    ) -> Next {
        let group = self.groups.iter_mut().find(|group| group.shard == shard);
        let Some(group) = group.filter(|_| tries == self.tries) else { return Next::Continue };
        group.rows = Some(rows);
        self.held_us = self.held_us.min(held_us);
        if self.groups.iter().any(|group| group.rows.is_none()) {
            return Next::Continue;
        }
        if self.hold_is_over(context.now) && context.rules.holds(Rule::HoldIsBounded) {
            self.try_again(context);
            return Next::Continue;
        }
        for group in &self.groups {
            context.send(group.shard, ShardRequest::Release { tries });
        }
        self.finish(context)
    }

    /// One shard's answer is the last word: there is nothing to hold it for.
    const fn is_holding(&self) -> bool {
        self.groups.len() > 1 && self.tries >= self.free_tries
    }

    /// Whether one of the shards may have let writers in again.
    const fn hold_is_over(&self, now: Now) -> bool {
        age_us(now, self.sent_us) >= self.held_us - self.held_us / DRIFT_PART
    }

    fn try_again<R: Rules>(&mut self, context: &mut Context<'_, R>) {
        for group in &mut self.groups {
            group.rows = None;
            group.confirmed = false;
        }
        self.tries += 1;
        self.sent_us = context.now.mono_us;
        self.held_us = u64::MAX;
        self.ask(context);
    }

    fn finish<R: Rules>(&mut self, context: &mut Context<'_, R>) -> Next {
        let count = self.groups.iter().map(|group| group.places.len()).sum();
        let mut answer = vec![Row::default(); count];
        for group in &mut self.groups {
            let rows = group.rows.take().expect("every group has its rows");
            for (place, row) in group.places.iter().zip(rows) {
                answer[*place] = row;
            }
        }
        context.answer(Some(self.call), CallAnswer::Read(ReadAnswer::Rows(answer)));
        Next::Done
    }

    pub(super) fn on_tick<R: Rules>(
        &mut self,
        resend_us: u64,
        context: &mut Context<'_, R>,
    ) -> Next {
        let is_late = age_us(context.now, self.sent_us) > resend_us;
        if self.is_holding() && (is_late || self.hold_is_over(context.now)) {
            // A shard where the request still waits keeps its place in the queues.
            self.try_again(context);
        } else if is_late {
            self.sent_us = context.now.mono_us;
            self.ask(context);
        }
        Next::Continue
    }
}
