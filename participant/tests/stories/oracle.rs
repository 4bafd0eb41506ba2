//! What must hold in every story, bent however: nobody is told two things, or what could be forgotten.

use std::collections::BTreeMap;

use participant::engine::{HaltReason, ShardCommand, ShardEvent};
use participant::message::{Known, Origin, Outcome, Resolution, ShardReply, ShardRequest, Vote};
use wal_core::{AbortReason, Attempt, Timestamp, TxnId};

use super::world::World;

/// An outcome as its client understands it. (Where it was logged may be told or not.)
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Committed(Timestamp),
    Closed(AbortReason),
}

impl From<&Outcome> for Told {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed { timestamp, .. } => Self::Committed(*timestamp),
            Outcome::Closed(reason) => Self::Closed(reason.clone()),
        }
    }
}

/// Remembers what was told of every transaction.
#[derive(Default)]
pub(crate) struct Oracle {
    told: BTreeMap<TxnId, Told>,
}

impl Oracle {
    /// Judges what came out of one step, given what is durable at that moment.
    pub(crate) fn judge(&mut self, world: &World, commands: &[ShardCommand]) -> Result<(), String> {
        for command in commands {
            match command {
                ShardCommand::Halt { why: HaltReason::Corrupt(why) } => {
                    return Err(format!("the engine found its log corrupt: {why}"));
                }
                ShardCommand::Reply { reply, .. } => self.judge_reply(world, reply)?,
                ShardCommand::Tell { request: ShardRequest::Acknowledge { id, .. }, .. } => {
                    let known = ask(world, *id)?;
                    if !matches!(known, Known::Outcome { .. } | Known::TooOld { .. }) {
                        return Err(format!("{id} is acknowledged, but known durably: {known:?}"));
                    }
                }
                ShardCommand::Tell { request: ShardRequest::Closed { id, reason, .. }, .. } => {
                    self.outcome(world, *id, &Outcome::Closed(reason.clone()))?;
                }
                ShardCommand::Tell { .. }
                | ShardCommand::ReadRows { .. }
                | ShardCommand::Flush { .. }
                | ShardCommand::SyncStore { .. }
                | ShardCommand::Checkpointed { .. }
                | ShardCommand::Drive { .. }
                | ShardCommand::Recover { .. }
                | ShardCommand::Parked { .. }
                | ShardCommand::Discarded { .. }
                | ShardCommand::Leading { .. }
                | ShardCommand::Halt { .. } => {}
            }
        }
        Ok(())
    }

    fn judge_reply(&mut self, world: &World, reply: &ShardReply) -> Result<(), String> {
        match reply {
            ShardReply::Voted { id, attempt, vote } => match vote {
                Vote::Yes { proposal } => promised(world, *id, *attempt, *proposal),
                Vote::Decided(outcome) => self.outcome(world, *id, outcome),
                Vote::No(_)
                | Vote::Condemned(_)
                | Vote::IdReused
                | Vote::TooOld { .. }
                | Vote::FromFuture => Ok(()),
            },
            ShardReply::Single { id, vote: Vote::Decided(outcome) } => {
                self.outcome(world, *id, outcome)
            }
            ShardReply::Known { id, known: Known::Outcome { outcome, .. } } => {
                self.outcome(world, *id, outcome)
            }
            ShardReply::Opened { id, .. } => match ask(world, *id)? {
                Known::Open { .. } | Known::Outcome { .. } => Ok(()),
                known => Err(format!("{id} was opened, but is known durably: {known:?}")),
            },
            ShardReply::Resolved { id, attempt, resolution } => match resolution {
                Resolution::Prepared { proposal } => promised(world, *id, *attempt, *proposal),
                Resolution::Decided { outcome, .. } => self.outcome(world, *id, outcome),
                Resolution::Refused => refused(world, *id, *attempt),
            },
            ShardReply::Applied { id } => applied(world, *id),
            ShardReply::Rows { epoch, mark, .. } => {
                let status = world.engine.status();
                match *epoch == status.epoch && *mark <= status.durable {
                    true => Ok(()),
                    false => Err(format!("rows of {mark} are told, durable is {}", status.durable)),
                }
            }
            ShardReply::Single { .. }
            | ShardReply::Known { .. }
            | ShardReply::Confirmed { .. }
            | ShardReply::Held { .. }
            | ShardReply::NotLeading { .. }
            | ShardReply::Overloaded => Ok(()),
        }
    }

    /// The same outcome as ever, and one that a successor knows (or has forgotten behind its floor).
    fn outcome(&mut self, world: &World, id: TxnId, outcome: &Outcome) -> Result<(), String> {
        let told = Told::from(outcome);
        let first = self.told.entry(id).or_insert_with(|| told.clone());
        if *first != told {
            return Err(format!("{id} was told as {first:?}, then as {told:?}"));
        }
        match ask(world, id)? {
            Known::Outcome { outcome, .. } if Told::from(&outcome) == told => Ok(()),
            Known::TooOld { .. } => Ok(()),
            known => Err(format!("{id} was told as {told:?}, but is known durably: {known:?}")),
        }
    }
}

/// What a successor would answer.
fn request(world: &World, request: ShardRequest) -> Result<ShardReply, String> {
    let (mut engine, mut out) = world.disk.successor(world.now);
    out.clear();
    let event = ShardEvent::Request { origin: Origin::default(), request };
    engine.step(world.now, event, &mut out);
    let reply = out.into_iter().find_map(|command| match command {
        ShardCommand::Reply { reply, .. } => Some(reply),
        _ => None,
    });
    let status = engine.status().role;
    reply.ok_or_else(|| format!("a {status} successor has no durable answer"))
}

fn ask(world: &World, id: TxnId) -> Result<Known, String> {
    match request(world, ShardRequest::Ask { id, wait: false })? {
        ShardReply::Known { known, .. } => Ok(known),
        reply => Err(format!("a successor answers {reply:?}")),
    }
}

fn promised(world: &World, id: TxnId, attempt: Attempt, proposal: Timestamp) -> Result<(), String> {
    match request(world, ShardRequest::Resolve { id, attempt })? {
        ShardReply::Resolved { resolution: Resolution::Prepared { proposal: kept }, .. }
            if kept == proposal =>
        {
            Ok(())
        }
        ShardReply::Resolved { resolution: Resolution::Decided { .. }, .. } => Ok(()),
        reply => Err(format!("{id} was promised at {proposal}, a successor answers {reply:?}")),
    }
}

/// Refused needs no further record: there is one, or the floor.
fn refused(world: &World, id: TxnId, attempt: Attempt) -> Result<(), String> {
    match request(world, ShardRequest::Resolve { id, attempt }) {
        Ok(ShardReply::Resolved { resolution: Resolution::Refused, .. }) => Ok(()),
        Ok(ShardReply::Resolved { resolution: Resolution::Decided { .. }, .. }) => Ok(()),
        Ok(reply) => Err(format!("{id} was refused, a successor answers {reply:?}")),
        Err(_) => Err(format!("{id} was refused, a successor must refuse it anew")),
    }
}

/// Applied: committed, and every row that it writes here is in the table store, or was discarded. (In a bent story it may
/// be asked of what was never prepared here: only what is committed is ever asked for, says the protocol.)
fn applied(world: &World, id: TxnId) -> Result<(), String> {
    let timestamp = match ask(world, id)? {
        Known::Outcome { outcome: Outcome::Committed { timestamp, .. }, .. } => timestamp,
        Known::Nothing | Known::TooOld { .. } => return Ok(()),
        known => return Err(format!("{id} is told as applied, but is known durably: {known:?}")),
    };
    let txn = world.names.by_id(id).expect("a story declares its transactions");
    let part = txn.part(world.disk.config.shard).expect("it has a part here");
    for op in part.iter().filter(|op| !op.is_read_only()) {
        let stored = world.disk.store.get(&op.key).and_then(wal_core::Row::newest);
        if stored < Some(timestamp.of_delete()) && !world.is_discarded(&op.key, timestamp) {
            return Err(format!("{id} is told as applied, but the store has not {:?}", op.key));
        }
    }
    Ok(())
}
