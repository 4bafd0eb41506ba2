//! What comes out of a shard engine, as stories write it: `<` commands and `+` records.

use bytes::Bytes;
use participant::engine::{HaltReason, ShardCommand};
use participant::message::{Known, NoReason, Outcome, Resolution, ShardReply, Vote};
use wal_core::record::{Body, Discarded, Prepare, decode};
use wal_core::{RowKey, RowMutation, RowOp, TxnId, WriteOp};

use super::names::{
    Names, at_text, key_name, key_names, millis_text, reason_text, row_text, shards_text,
};
use super::requests;

/// A command; `read_keys` are the rows asked for by the request that a `Rows` reply answers.
pub(crate) fn command_text(
    names: &mut Names,
    command: &ShardCommand,
    read_keys: impl Fn(u64) -> Vec<RowKey>,
) -> String {
    let text = match command {
        ShardCommand::Reply { origin, reply } => {
            let text = reply_text(names, reply, &read_keys(origin.token));
            format!("c{}: {text}", origin.token)
        }
        ShardCommand::Tell { shard, request } => {
            format!("tell {shard}: {}", requests::text(names, request))
        }
        ShardCommand::ReadRows { io, keys } => format!("read io{}: {}", io.0, key_names(keys)),
        ShardCommand::Flush { io, mutations } => {
            let rows: Vec<_> =
                mutations.iter().map(|RowMutation { key, delta }| row_text(key, delta)).collect();
            format!("flush io{}: {}", io.0, rows.join(", "))
        }
        ShardCommand::Parked { table, rows, why } => {
            format!("parked {rows} of table {table}: {why}")
        }
        ShardCommand::Discarded { token, rows } => format!("c{token}: {rows} discarded"),
        ShardCommand::SyncStore { io } => format!("sync io{}", io.0),
        ShardCommand::Checkpointed { checkpoint, trim } => {
            format!("checkpointed at p{checkpoint}, trim below p{trim}")
        }
        ShardCommand::Drive { txn, attempt, .. } => {
            format!("drive {} {}", names.name(txn.id), names.attempt_name(txn.id, *attempt))
        }
        ShardCommand::Recover { id, attempt, participants } => {
            let attempt = names.attempt_name(*id, *attempt);
            format!("recover {} {attempt} of {}", names.name(*id), shards_text(participants))
        }
        ShardCommand::Leading { epoch } => format!("leading in epoch {epoch}"),
        ShardCommand::Halt { why } => match why {
            HaltReason::Deposed => "halt: deposed".to_owned(),
            HaltReason::AppendInDoubt(why) => format!("halt: append in doubt, {why}"),
            HaltReason::Resigned => "halt: resigned".to_owned(),
            HaltReason::Corrupt(why) => format!("halt: corrupt, {why}"),
        },
    };
    format!("< {text}")
}

fn reply_text(names: &mut Names, reply: &ShardReply, read: &[RowKey]) -> String {
    match reply {
        ShardReply::Voted { id, attempt, vote } => {
            let attempt = match attempt.number {
                0 => String::new(),
                _ => format!(" {}", names.attempt_name(*id, *attempt)),
            };
            format!("{}{attempt} {}", names.name(*id), vote_text(vote))
        }
        ShardReply::Single { id, vote } => format!("{} {}", names.name(*id), vote_text(vote)),
        ShardReply::Opened { id, epoch } => {
            format!("{} opened in epoch {epoch}", names.name(*id))
        }
        ShardReply::Applied { id } => format!("{} applied", names.name(*id)),
        ShardReply::Resolved { id, attempt, resolution } => {
            let of = names.attempt_name(*id, *attempt);
            let resolution = match resolution {
                Resolution::Prepared { proposal } => format!("prepared at {}", at_text(*proposal)),
                Resolution::Refused => "refused".to_owned(),
                Resolution::Decided { outcome, attempt } => match attempt.number {
                    0 => outcome_text(outcome),
                    _ => {
                        let attempt = names.attempt_name(*id, *attempt);
                        format!("{} as {attempt}", outcome_text(outcome))
                    }
                },
            };
            format!("{} {of} resolved: {resolution}", names.name(*id))
        }
        ShardReply::Known { id, known } => {
            let of = |participants: &[_]| format!("of {}", shards_text(participants));
            let known = match known {
                Known::Outcome { outcome, participants } if participants.is_empty() => {
                    outcome_text(outcome)
                }
                Known::Outcome { outcome, participants } => {
                    format!("{}, {}", outcome_text(outcome), of(participants))
                }
                Known::Open { participants } => format!("open, {}", of(participants)),
                Known::Prepared { participants } => format!("prepared, {}", of(participants)),
                Known::Nothing => "nothing".to_owned(),
                Known::TooOld { floor } => format!("too old, floor {}", millis_text(*floor)),
            };
            format!("{} known: {known}", names.name(*id))
        }
        ShardReply::Rows { epoch, mark, rows } => {
            let rows: Vec<_> = read.iter().zip(rows).map(|(key, row)| row_text(key, row)).collect();
            format!("rows in epoch {epoch} at {mark}: {}", rows.join(", "))
        }
        ShardReply::Held { tries, held_us, rows } => {
            let rows: Vec<_> = read.iter().zip(rows).map(|(key, row)| row_text(key, row)).collect();
            format!("try {tries} held for {} ms: {}", held_us / 1_000, rows.join(", "))
        }
        ShardReply::Confirmed { tries, unchanged } => {
            format!("try {tries} {}", if *unchanged { "unchanged" } else { "changed" })
        }
        ShardReply::NotLeading { epoch } => format!("not leading, epoch {epoch}"),
        ShardReply::Overloaded => "overloaded".to_owned(),
    }
}

fn vote_text(vote: &Vote) -> String {
    match vote {
        Vote::Yes { proposal } => format!("yes at {}", at_text(*proposal)),
        Vote::No(NoReason::WrongEpoch { current }) => format!("no, led in epoch {current}"),
        Vote::No(NoReason::Busy) => "no, busy".to_owned(),
        Vote::No(NoReason::Refused) => "no, refused".to_owned(),
        Vote::No(NoReason::Overloaded) => "no, overloaded".to_owned(),
        Vote::No(NoReason::Drift) => "no, drift".to_owned(),
        Vote::No(NoReason::NewerVersion) => "no, newer version".to_owned(),
        Vote::Condemned(reason) => format!("condemned: {}", reason_text(reason)),
        Vote::Decided(outcome) => outcome_text(outcome),
        Vote::IdReused => "id reused".to_owned(),
        Vote::TooOld { floor } => format!("too old, floor {}", millis_text(*floor)),
        Vote::FromFuture => "from the future".to_owned(),
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Committed { timestamp, epoch, seq } => {
            format!("committed at {} by {epoch}.{seq}", at_text(*timestamp))
        }
        Outcome::Closed(reason) => format!("closed: {}", reason_text(reason)),
    }
}

/// A record as it is appended: its sequence and what it says.
pub(crate) fn record_text(names: &mut Names, record: &Bytes) -> String {
    let (record, _) = decode(record.clone()).expect("the engine writes records that can be read");
    let text = match &record.body {
        Body::Epoch { .. } => format!("Epoch {}", record.header.epoch),
        Body::Intent { transaction, .. } => format!("Intent {}", names.name(transaction.id)),
        Body::Prepare(prepare) => prepare_text(names, prepare),
        Body::Commit { id, attempt, timestamp } => {
            format!("Commit {} at {}", named(names, *id, *attempt), at_text(*timestamp))
        }
        Body::CommitSingle(commit) => format!(
            "CommitSingle {} at {}: {}",
            names.name(commit.id),
            at_text(commit.timestamp),
            part_text(&commit.part)
        ),
        Body::Abort { id, attempt } => format!("Abort {}", named(names, *id, *attempt)),
        Body::Refuse { id, attempt } => format!("Refuse {}", named(names, *id, *attempt)),
        Body::Close { id, participants, reason, .. } => {
            let of = match participants.is_empty() {
                true => String::new(),
                false => format!(" of {}", shards_text(participants)),
            };
            format!("Close {}{of}: {}", names.name(*id), reason_text(reason))
        }
        Body::Finished { ids } => {
            let ids: Vec<_> = ids.iter().map(|id| names.name(*id)).collect();
            format!("Finished {}", ids.join(" "))
        }
        Body::Floor { floor } => format!("Floor {}", millis_text(*floor)),
        Body::Checkpoint { chunk, last, .. } => {
            format!("Checkpoint chunk {chunk}{}", if *last { ", the last" } else { "" })
        }
        Body::Discard { rows } => {
            let row = |row: &Discarded| {
                let [from, until] = [row.from, row.until].map(at_text);
                format!("{} from {from} until {until}", key_name(&row.key))
            };
            format!("Discard {}", rows.iter().map(row).collect::<Vec<_>>().join(", "))
        }
        Body::Resign => "Resign".to_owned(),
        Body::Barrier => "Barrier".to_owned(),
    };
    format!("+ {} {text}", record.header.seq)
}

fn prepare_text(names: &mut Names, prepare: &Prepare) -> String {
    let others: Vec<_> = prepare.others.iter().map(|(shard, _)| *shard).collect();
    let whole = match others.is_empty() {
        true => String::new(),
        false => format!(", with the part of {}", shards_text(&others)),
    };
    let name = named(names, prepare.id, prepare.attempt);
    let at = at_text(prepare.proposal);
    format!("Prepare {name} at {at}: {}{whole}", part_text(&prepare.part))
}

fn named(names: &mut Names, id: TxnId, attempt: wal_core::Attempt) -> String {
    format!("{} {}", names.name(id), names.attempt_name(id, attempt))
}

fn part_text(part: &[RowOp]) -> String {
    let row = |op: &RowOp| {
        let access = if matches!(op.write, WriteOp::None) { "reads " } else { "" };
        format!("{access}{}", key_name(&op.key))
    };
    part.iter().map(row).collect::<Vec<_>>().join(", ")
}
