//! `Read`: rows of one or several shards at one point of the serial order. See the shard engine's
//! `on_read` for why two rounds suffice.

use std::sync::Arc;

use indexmap::IndexMap;
use participant::engine::{Rule, Rules};
use participant::message::{ShardReply, ShardRequest};
use wal_core::{Epoch, Now, Row, RowKey, Sequence, ShardId};

use super::{Context, Next, RETRY_AFTER_MS, age_us};
use crate::api::{CallAnswer, ReadAnswer};

/// Tries at once; later ones start at a tick, so that writers get on.
const EAGER_TRIES: u32 = 3;

#[derive(Debug)]
struct Group {
    shard: ShardId,
    keys: Arc<[RowKey]>,
    /// Where the rows belong in the answer.
    places: Vec<usize>,
    /// Round one's answer.
    rows: Option<(Epoch, Sequence, Vec<Row>)>,
    confirmed: bool,
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) call: u64,
    groups: Vec<Group>,
    tries: u32,
    /// Waits for the next tick to begin again.
    paused: bool,
    sent_us: u64,
}

impl Reading {
    pub(super) fn new(now: Now, call: u64, keys: Vec<(ShardId, RowKey)>) -> Self {
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
            confirmed: false,
        };
        let groups = by_shard.into_iter().map(group).collect();
        Self { call, groups, tries: 0, paused: false, sent_us: now.mono_us }
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.groups.iter().map(|group| group.shard)
    }

    /// Sends what the present round still needs.
    pub(super) fn ask<R: Rules>(&self, context: &mut Context<'_, R>) {
        let only = self.groups.len() == 1;
        let confirming = self.groups.iter().all(|group| group.rows.is_some());
        for group in &self.groups {
            let keys = group.keys.clone();
            match &group.rows {
                None => context.send(group.shard, ShardRequest::Read { keys, only }),
                Some((epoch, mark, _)) if confirming && !group.confirmed => {
                    let (epoch, mark, tries) = (*epoch, *mark, self.tries);
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
        let Some(group) = self.groups.iter_mut().find(|group| group.shard == shard) else {
            return Next::Continue;
        };
        if group.rows.is_some() {
            return Next::Continue; // a repeat of an answer that round two was already sent for
        }
        group.rows = Some((epoch, mark, rows));
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
        for group in &mut self.groups {
            group.rows = None;
            group.confirmed = false;
        }
        self.tries += 1;
        if self.tries < EAGER_TRIES {
            self.sent_us = context.now.mono_us;
            self.ask(context);
        } else {
            self.paused = true;
        }
        Next::Continue
    }

    fn finish<R: Rules>(&mut self, context: &mut Context<'_, R>) -> Next {
        let count = self.groups.iter().map(|group| group.places.len()).sum();
        let mut answer = vec![Row::default(); count];
        for group in &mut self.groups {
            let (_, _, rows) = group.rows.take().expect("every group has its rows");
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
        if self.paused || age_us(context.now, self.sent_us) > resend_us {
            self.paused = false;
            self.sent_us = context.now.mono_us;
            self.ask(context);
        }
        Next::Continue
    }
}
