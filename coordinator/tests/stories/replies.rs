//! Answers of shards, as stories write them.

use std::sync::Arc;

use participant::message::{Known, NoReason, Outcome, Resolution, ShardReply, Vote};
use wal_core::{Epoch, Row, Sequence, ShardId, TxnId};

use super::names::{Names, millis, number, reason, stored, timestamp};

/// Reads an answer; `None` if `text` is none.
pub(crate) fn parse(names: &mut Names, text: &str) -> Option<ShardReply> {
    if let Some(rest) = text.strip_prefix("rows in epoch ") {
        let (head, rows) = rest.split_once(": ").expect("rows in epoch N at SEQUENCE: ROWS");
        let (epoch, mark) = head.split_once(" at ").expect("rows in epoch N at SEQUENCE: ROWS");
        let rows = rows.split(", ").map(row).collect();
        return Some(ShardReply::Rows {
            epoch: Epoch(number(epoch)),
            mark: Sequence(number(mark)),
            rows,
        });
    }
    if let Some(rest) = text.strip_prefix("try ") {
        let (tries, said) =
            rest.split_once(' ').expect("try N unchanged|changed|held for N ms: ROWS");
        if let Some((ms, rows)) = said.strip_prefix("held for ").and_then(|s| s.split_once(" ms: "))
        {
            let held_us = number::<u64>(ms) * 1_000;
            let rows = rows.split(", ").map(row).collect();
            return Some(ShardReply::Held { tries: number(tries), held_us, rows });
        }
        let unchanged = said == "unchanged";
        return Some(ShardReply::Confirmed { tries: number(tries), unchanged });
    }
    if let Some(epoch) = text.strip_prefix("not leading, epoch ") {
        return Some(ShardReply::NotLeading { epoch: Epoch(number(epoch)) });
    }
    if text == "overloaded" {
        return Some(ShardReply::Overloaded);
    }
    of_txn(names, text)
}

fn row(text: &str) -> Row {
    if text.ends_with(" absent") { Row::default() } else { stored(text).1 }
}

fn of_txn(names: &mut Names, text: &str) -> Option<ShardReply> {
    if let Some(rest) = text.strip_prefix("single ") {
        let (name, vote) = rest.split_once(' ')?;
        return Some(ShardReply::Single { id: names.txn(name).id, vote: self::vote(vote) });
    }
    let (name, rest) = text.split_once(' ')?;
    let id = names.txn(name).id;
    if rest == "applied" {
        return Some(ShardReply::Applied { id });
    }
    if let Some(epoch) = rest.strip_prefix("opened in epoch ") {
        return Some(ShardReply::Opened { id, epoch: Epoch(number(epoch)) });
    }
    if let Some(known) = rest.strip_prefix("known: ") {
        return Some(ShardReply::Known { id, known: self::known(known) });
    }
    let Some((attempt, rest)) = rest.split_once(' ').filter(|_| rest.starts_with('#')) else {
        // The answer to `open` is a vote on no attempt.
        return Some(ShardReply::Voted { id, attempt: Default::default(), vote: vote(rest) });
    };
    let attempt = names.attempt(id, attempt);
    if let Some(resolution) = rest.strip_prefix("resolved: ") {
        let resolution = self::resolution(names, id, resolution);
        return Some(ShardReply::Resolved { id, attempt, resolution });
    }
    Some(ShardReply::Voted { id, attempt, vote: vote(rest) })
}

fn vote(text: &str) -> Vote {
    if let Some(at) = text.strip_prefix("yes at ") {
        return Vote::Yes { proposal: timestamp(at) };
    }
    if let Some(epoch) = text.strip_prefix("no, led in epoch ") {
        return Vote::No(NoReason::WrongEpoch { current: Epoch(number(epoch)) });
    }
    if let Some(why) = text.strip_prefix("condemned: ") {
        return Vote::Condemned(reason(why));
    }
    if let Some(floor) = text.strip_prefix("too old, floor ") {
        return Vote::TooOld { floor: millis(floor) };
    }
    match text {
        "no, busy" => Vote::No(NoReason::Busy),
        "no, refused" => Vote::No(NoReason::Refused),
        "no, overloaded" => Vote::No(NoReason::Overloaded),
        "no, drift" => Vote::No(NoReason::Drift),
        "id reused" => Vote::IdReused,
        "from the future" => Vote::FromFuture,
        _ => Vote::Decided(outcome(text)),
    }
}

fn outcome(text: &str) -> Outcome {
    if let Some(why) = text.strip_prefix("closed: ") {
        return Outcome::Closed(reason(why));
    }
    let words: Vec<_> = text.split_whitespace().collect();
    let ["committed", "at", at, "by", place] = words[..] else {
        panic!("no answer is written `{text}`")
    };
    let (epoch, seq) = place.split_once('.').expect("by EPOCH.SEQUENCE");
    let (epoch, seq) = (Epoch(number(epoch)), Sequence(number(seq)));
    Outcome::Committed { timestamp: timestamp(at), epoch, seq }
}

fn known(text: &str) -> Known {
    if let Some(floor) = text.strip_prefix("too old, floor ") {
        return Known::TooOld { floor: millis(floor) };
    }
    let (what, participants) = text.split_once(", of ").unwrap_or((text, ""));
    let participants: Arc<[_]> =
        participants.split_whitespace().map(|shard| ShardId(number(shard))).collect();
    match what {
        "nothing" => Known::Nothing,
        "open" => Known::Open { participants },
        "prepared" => Known::Prepared { participants },
        _ => Known::Outcome { outcome: outcome(what), participants },
    }
}

fn resolution(names: &mut Names, id: TxnId, text: &str) -> Resolution {
    if let Some(at) = text.strip_prefix("prepared at ") {
        return Resolution::Prepared { proposal: timestamp(at) };
    }
    if text == "refused" {
        return Resolution::Refused;
    }
    let (text, attempt) = match text.split_once(" as ") {
        Some((text, attempt)) => (text, names.attempt(id, attempt)),
        None => (text, Default::default()),
    };
    Resolution::Decided { outcome: outcome(text), attempt }
}
