//! A process that stands, reads back, leads, and finds out that it was deposed.

use super::reader::{Name, Record, chain};
use super::{Log, State, Step};
use crate::invariant::Broken;
use crate::rule::Rule;

/// Where a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// It neither leads nor wants to.
    #[default]
    Idle,
    /// Its `Epoch` record is under way or in the log.
    Candidate,
    /// It believes that it leads.
    Leading,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) mode: Mode,
    pub(super) epoch: u8,
    /// The sequence of its next record.
    next: u8,
    /// A record counts at offset `base + sequence`.
    base: u8,
    /// The offset of the last record whose acknowledgement was taken.
    last_offset: u8,
    /// Records of the epoch whose acknowledgements were taken, without a gap.
    counted: u8,
    /// Its producer has failed and sends nothing more.
    dead: bool,
    /// The hash of the chain that it holds for accepted.
    known: u64,
    /// Its records of this epoch in the log whose acknowledgements are under way: sequence, offset.
    pub(super) landed: Vec<(u8, u8)>,
}

impl Owner {
    fn name(&self, owner: usize, seq: u8) -> Name {
        (owner as u8, self.epoch, seq)
    }

    /// A gapless producer that lost a record sends nothing behind it.
    pub(super) fn producer_died(&mut self, epoch: u8) {
        self.dead |= self.epoch == epoch && self.mode != Mode::Idle;
    }

    fn stop(&mut self) {
        *self = Self { epoch: self.epoch, ..Self::default() };
    }
}

impl Log {
    pub(super) fn on_stand(&self, state: &mut State, owner: usize) -> Option<()> {
        let reader = self.read(&state.log);
        let epoch = reader.epoch + 1;
        // A process never takes an epoch that it has stood for.
        if state.owners[owner].mode != Mode::Idle
            || epoch > self.bounds.epochs
            || epoch <= state.owners[owner].epoch
        {
            return None;
        }
        state.owners[owner] =
            Owner { mode: Mode::Candidate, epoch, known: reader.chain, ..Owner::default() };
        state.under_way.push(Record { owner: owner as u8, epoch, seq: 0, previous: reader.chain });
        Some(())
    }

    pub(super) fn on_read_back(&self, state: &mut State, owner: usize) -> Option<()> {
        let me = &state.owners[owner];
        let name = me.name(owner, 0);
        let at = state.log.iter().position(|record| record.name() == name)?;
        if me.mode != Mode::Candidate {
            return None;
        }
        let reader = self.read(&state.log);
        if (reader.epoch, reader.owner) != (me.epoch, owner as u8) {
            state.owners[owner].stop();
            return Some(());
        }
        let upto = self.read(&state.log[..=at]).chain;
        self.lead(state, owner, at as u8, upto);
        Some(())
    }

    fn lead(&self, state: &mut State, owner: usize, offset: u8, upto: u64) {
        let me = &mut state.owners[owner];
        let before = chain(me.known, me.name(owner, 0));
        me.known = if self.rules.has(Rule::ReplayedUpToEpoch) { upto } else { before };
        (me.mode, me.next, me.base, me.last_offset) = (Mode::Leading, 1, offset, offset);
        me.landed.retain(|(seq, _)| *seq > 0);
        let led = &mut state.led[me.epoch as usize];
        if led.is_some_and(|other| other != owner as u8) {
            state.wrong.get_or_insert(Broken::TwoLeaders);
        }
        *led = Some(owner as u8);
    }

    pub(super) fn on_write(&self, state: &mut State, owner: usize) -> Option<()> {
        let me = &mut state.owners[owner];
        if me.mode != Mode::Leading || me.dead || me.next > self.bounds.records {
            return None;
        }
        let (owner, epoch, seq) = me.name(owner, me.next);
        state.under_way.push(Record { owner, epoch, seq, previous: me.known });
        me.known = chain(me.known, (owner, epoch, seq));
        me.next += 1;
        Some(())
    }

    pub(super) fn on_acknowledged(&self, state: &mut State, owner: usize) -> Option<()> {
        let me = &mut state.owners[owner];
        if me.mode == Mode::Idle || me.landed.is_empty() {
            return None;
        }
        let (seq, offset) = me.landed.remove(0);
        if seq == 0 {
            if me.mode == Mode::Candidate && !self.rules.has(Rule::EpochReadBack) {
                let upto = self.read(&state.log[..=offset as usize]).chain;
                self.lead(state, owner, offset, upto);
            }
            return Some(());
        }
        let expected = if self.rules.has(Rule::OffsetCountsSequence) {
            me.base + seq
        } else {
            me.last_offset + 1
        };
        let skips = seq > me.counted + 1
            && self.rules.has(Rule::EarlierCounted)
            && self.rules.has(Rule::OffsetCountsSequence);
        let name = me.name(owner, seq);
        let doubtful = (offset != expected || skips) && self.rules.has(Rule::OffsetChecked);
        if doubtful && !self.read_gap(state, owner, seq, offset) {
            return Some(());
        }
        let me = &mut state.owners[owner];
        me.last_offset = offset;
        me.counted = me.counted.max(seq);
        if !state.told.contains(&name) {
            state.told.push(name);
        }
        Some(())
    }

    /// Answers stop while the log is read; whether the epoch goes on.
    fn read_gap(&self, state: &mut State, owner: usize, seq: u8, offset: u8) -> bool {
        let upto = state.log.len().min(offset as usize + 1);
        let reader = self.read(&state.log[..upto]);
        let me = &mut state.owners[owner];
        let alone = reader.owner == owner as u8 && reader.epoch == me.epoch;
        // Everything foreign up to there is ignored, and our own sequences are whole.
        let whole = alone && !reader.broken && reader.accepted.contains(&me.name(owner, seq));
        if whole || !self.rules.has(Rule::GapIsRead) {
            me.base = offset.saturating_sub(seq);
            return true;
        }
        // The epoch has been broken or superseded: what is not accepted by now never will be.
        let sent = 1..me.next;
        let lost =
            sent.map(|each| me.name(owner, each)).filter(|name| !reader.accepted.contains(name));
        state.failed.extend(lost);
        if alone && self.bounds.faults == 0 {
            state.wrong.get_or_insert(Broken::NeedlessEnd);
        }
        me.stop();
        false
    }

    /// Nothing is heard of the oldest record for too long.
    pub(super) fn on_timed_out(&self, state: &mut State, owner: usize) -> Option<()> {
        let me = &mut state.owners[owner];
        if me.mode == Mode::Idle {
            return None;
        }
        let mine = |record: &&Record| (record.owner, record.epoch) == (owner as u8, me.epoch);
        let oldest = state.under_way.iter().find(mine).filter(|record| record.seq > 0);
        match oldest {
            Some(record) if !self.rules.has(Rule::UnknownEndsEpoch) => {
                let name = record.name();
                if state.failed.contains(&name) {
                    return None;
                }
                state.failed.push(name);
            }
            _ => me.stop(),
        }
        Some(())
    }
}

fn who(owner: usize) -> &'static str {
    ["A", "B"][owner]
}

fn record(record: &Record) -> String {
    let owner = who(record.owner as usize);
    match record.seq {
        0 => format!("Epoch({}, {owner})", record.epoch),
        seq => format!("record {seq} of {owner}'s epoch {}", record.epoch),
    }
}

/// A step in words.
pub(super) fn sentence(before: &State, step: Step, after: &State) -> String {
    match step {
        Step::Stand(owner) => {
            format!(
                "{} stands: it reads the log and sends Epoch({})",
                who(owner),
                after.owners[owner].epoch
            )
        }
        Step::ReadBack(owner) if after.owners[owner].mode == Mode::Leading => {
            format!("{} reads its Epoch record back as the winning one and leads", who(owner))
        }
        Step::ReadBack(owner) => format!("{} reads back that it has lost", who(owner)),
        Step::Write(owner) => {
            format!(
                "{} sends record {} of its epoch {}",
                who(owner),
                before.owners[owner].next,
                after.owners[owner].epoch
            )
        }
        Step::Acknowledged(owner) => tell_acknowledged(before, after, owner),
        Step::TimedOut(owner) if after.failed.len() > before.failed.len() => {
            format!("{} hears nothing for long and reports the record as failed", who(owner))
        }
        Step::TimedOut(owner) => {
            format!("{} gives its epoch up (a timeout, or its death)", who(owner))
        }
        Step::Land(index) => {
            format!("{} lands at offset {}", record(&before.under_way[index]), before.log.len())
        }
        Step::LandTwice(index) => {
            format!(
                "{} lands at offset {}, and its repeat is under way",
                record(&before.under_way[index]),
                before.log.len()
            )
        }
        Step::Lose(index) => format!("{} is lost on its way", record(&before.under_way[index])),
        Step::LoseTail => match before.log.last() {
            Some(last) => format!("the log loses its last record: {}", record(last)),
            None => "the log is empty".into(),
        },
    }
}

fn tell_acknowledged(before: &State, after: &State, owner: usize) -> String {
    let (old, new) = (&before.owners[owner], &after.owners[owner]);
    let (seq, offset) = old.landed[0];
    let name = who(owner);
    if after.told.len() > before.told.len() {
        format!(
            "{name} is acknowledged record {seq} at offset {offset}, holds it for accepted and answers"
        )
    } else if new.mode == Mode::Leading && old.mode == Mode::Candidate {
        format!("{name} is acknowledged its Epoch record and leads")
    } else if new.mode == Mode::Idle {
        format!(
            "{name} is acknowledged record {seq} at offset {offset}, reads the log, and its epoch ends"
        )
    } else {
        format!("{name} is acknowledged record {seq} at offset {offset}")
    }
}
