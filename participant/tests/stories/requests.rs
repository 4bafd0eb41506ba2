//! Requests to a shard, as stories write them.

use participant::message::{PrepareRequest, ShardRequest};
use wal_core::{Epoch, Now, Sequence, ShardId, TxnId};

use super::names::{
    Names, at_text, key_names, keys, millis, millis_text, number, reason, reason_text, shards_text,
    timestamp,
};

/// What a request takes from the world that it is sent into.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) now: Now,
}

/// Reads a request; `None` if `text` is none.
pub(crate) fn parse(names: &mut Names, at: Surroundings, text: &str) -> Option<ShardRequest> {
    let (head, tail) = text.split_once(": ").unwrap_or((text, ""));
    let words: Vec<_> = head.split_whitespace().collect();
    let after = |word: &str| words.iter().position(|w| *w == word).map(|i| words[i + 1]);
    let has = |word: &str| words.contains(&word);
    let drift_us = after("clock").map_or(0, number::<i64>) * 1000;
    let clock_us = at.now.wall_us + drift_us;
    let txn = || words.get(1).copied().expect("a transaction");
    Some(match words[0] {
        "single" => {
            let txn = names.txn(txn());
            ShardRequest::Single { txn, applied: has("applied"), clock_us }
        }
        "prepare" => {
            let txn = names.txn(txn());
            ShardRequest::Prepare(Box::new(PrepareRequest {
                id: txn.id,
                fingerprint: txn.fingerprint,
                namespace_version: txn.namespace_version,
                attempt: names.attempt(txn.id, words[2]),
                expected_epoch: after("epoch").map_or(at.epoch, |epoch| Epoch(number(epoch))),
                start: txn.id.time(),
                clock_us,
                participants: txn.participants().collect(),
                part: txn.part(at.shard).expect("a part of this shard").clone(),
                whole: (txn.home() == at.shard).then(|| txn.clone()),
            }))
        }
        "commit" => {
            let (id, home) = (names.txn(txn()).id, names.txn(txn()).home());
            let attempt = names.attempt(id, words[2]);
            let timestamp = timestamp(after("at").expect("commit T #N at @TIME"));
            ShardRequest::Commit { id, attempt, timestamp, home, applied: has("applied") }
        }
        "abort" => {
            let id = names.txn(txn()).id;
            ShardRequest::Abort { id, attempt: names.attempt(id, words[2]) }
        }
        "open" => {
            let txn = names.txn(txn());
            ShardRequest::Open { start: txn.id.time(), txn }
        }
        "resolve" => {
            let id = names.txn(txn()).id;
            ShardRequest::Resolve { id, attempt: names.attempt(id, words[2]) }
        }
        "closed" => {
            let txn = names.txn(txn());
            ShardRequest::Closed {
                id: txn.id,
                fingerprint: (!has("unread")).then_some(txn.fingerprint),
                participants: txn.participants().collect(),
                reason: reason(tail),
            }
        }
        "acknowledge" => {
            let shard = ShardId(number(after("by").expect("acknowledge T by SHARD")));
            ShardRequest::Acknowledge { id: names.txn(txn()).id, shard }
        }
        "finished" => {
            let id = names.txn(txn()).id;
            let until = after("until").map_or_else(|| id.time(), millis);
            ShardRequest::Finished { id, until }
        }
        "condemn" => {
            let id = names.txn(txn()).id;
            let attempt = names.attempt(id, words[2]);
            ShardRequest::Condemn { id, attempt, reason: reason(tail) }
        }
        "ask" => ShardRequest::Ask { id: names.txn(txn()).id, wait: has("wait") },
        "fence" => ShardRequest::Fence { id: names.txn(txn()).id },
        "await" => ShardRequest::AwaitApplied { id: names.txn(txn()).id },
        "read" => ShardRequest::Read { keys: keys(tail), only: has("only") },
        "hold" => ShardRequest::Hold {
            keys: keys(tail),
            tries: number(after("try").expect("hold try N: ROWS")),
        },
        "release" => ShardRequest::Release { tries: number(after("try").expect("release try N")) },
        "confirm" => ShardRequest::Confirm {
            keys: keys(tail),
            epoch: after("epoch").map_or(at.epoch, |epoch| Epoch(number(epoch))),
            mark: Sequence(number(after("since").expect("confirm since SEQUENCE try N: ROWS"))),
            tries: number(after("try").expect("confirm since SEQUENCE try N: ROWS")),
        },
        _ => return None,
    })
}

/// Writes a request in the form that [`parse`] reads.
pub(crate) fn text(names: &mut Names, request: &ShardRequest) -> String {
    let applied = |applied: bool| if applied { " applied" } else { "" };
    match request {
        ShardRequest::Single { txn, applied: a, .. } => {
            format!("single {}{}", names.name(txn.id), applied(*a))
        }
        ShardRequest::Prepare(p) => {
            let (name, attempt) = named(names, p.id, p.attempt);
            let whole = if p.whole.is_some() { " with the whole" } else { "" };
            format!("prepare {name} {attempt} in epoch {}{whole}", p.expected_epoch)
        }
        ShardRequest::Commit { id, attempt, timestamp, applied: a, .. } => {
            let (name, attempt) = named(names, *id, *attempt);
            format!("commit {name} {attempt} at {}{}", at_text(*timestamp), applied(*a))
        }
        ShardRequest::Abort { id, attempt } => {
            let (name, attempt) = named(names, *id, *attempt);
            format!("abort {name} {attempt}")
        }
        ShardRequest::Open { txn, .. } => format!("open {}", names.name(txn.id)),
        ShardRequest::Resolve { id, attempt } => {
            let (name, attempt) = named(names, *id, *attempt);
            format!("resolve {name} {attempt}")
        }
        ShardRequest::Closed { id, fingerprint, participants, reason } => {
            let all = names.by_id(*id).map(|txn| txn.participants().collect::<Vec<_>>());
            let of = match all.is_some_and(|all| all[..] == participants[..]) {
                true => String::new(),
                false => format!(" of {}", shards_text(participants)),
            };
            let unread = if fingerprint.is_some() { "" } else { " unread" };
            format!("closed {}{of}{unread}: {}", names.name(*id), reason_text(reason))
        }
        ShardRequest::Acknowledge { id, shard } => {
            format!("acknowledge {} by {shard}", names.name(*id))
        }
        ShardRequest::Finished { id, until } => {
            format!("finished {} until {}", names.name(*id), millis_text(*until))
        }
        ShardRequest::Condemn { id, attempt, reason } => {
            let (name, attempt) = named(names, *id, *attempt);
            format!("condemn {name} {attempt}: {}", reason_text(reason))
        }
        ShardRequest::Ask { id, wait } => {
            format!("ask {}{}", names.name(*id), if *wait { " wait" } else { "" })
        }
        ShardRequest::Fence { id } => format!("fence {}", names.name(*id)),
        ShardRequest::AwaitApplied { id } => format!("await {}", names.name(*id)),
        ShardRequest::Read { keys, only } => {
            format!("read{}: {}", if *only { " only" } else { "" }, key_names(keys))
        }
        ShardRequest::Hold { keys, tries } => format!("hold try {tries}: {}", key_names(keys)),
        ShardRequest::Release { tries } => format!("release try {tries}"),
        ShardRequest::Confirm { keys, epoch, mark, tries } => {
            format!("confirm epoch {epoch} since {mark} try {tries}: {}", key_names(keys))
        }
    }
}

fn named(names: &mut Names, id: TxnId, attempt: wal_core::Attempt) -> (String, String) {
    (names.name(id), names.attempt_name(id, attempt))
}
