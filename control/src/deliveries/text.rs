//! What is stored, as the text and the numbers that both databases have, and back.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use delivery::{Cause, ErrorClass, LetterState, Name, Try};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wal_core::{Millis, Nonce, TxnId};

use super::Problem;

/// How many of the first tries of a letter are kept, and how many of the last.
const KEPT_TRIES: usize = 6;

/// A number that must come back as it is.
pub(super) fn exactly(number: u64, what: &str) -> Result<i64, Problem> {
    let beyond = |_| Problem::Beyond(format!("{what} {number} is beyond what is kept"));
    i64::try_from(number).map_err(beyond)
}

/// A number that others are compared with: what is stored is not above [`i64::MAX`].
pub(super) fn at_most(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number.
pub(super) fn number<T: TryFrom<i64>>(stored: i64, what: &str) -> Result<T, Problem> {
    T::try_from(stored).map_err(|_| Problem::Damaged(format!("{what} cannot be {stored}")))
}

pub(super) fn of_bytes(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn bytes(stored: &str, what: &str) -> Result<Bytes, Problem> {
    let damaged = |error| Problem::Damaged(format!("{what} is not base64: {error}"));
    Ok(STANDARD.decode(stored).map_err(damaged)?.into())
}

/// A key of no bytes is another text than no key.
pub(super) fn of_key(key: Option<&Bytes>) -> String {
    key.map_or_else(String::new, |key| format!(":{}", of_bytes(key)))
}

pub(super) fn key(stored: &str) -> Result<Option<Bytes>, Problem> {
    if stored.is_empty() {
        return Ok(None);
    }
    let damaged = || Problem::Damaged(format!("the key {stored:?} has no colon"));
    Ok(Some(bytes(stored.strip_prefix(':').ok_or_else(damaged)?, "a key")?))
}

pub(super) fn of_log(log: Nonce) -> String {
    format!("{:032x}", log.0)
}

pub(super) fn log(stored: &str) -> Result<Nonce, Problem> {
    let damaged = |_| Problem::Damaged(format!("{stored:?} is not the nonce of a log"));
    u128::from_str_radix(stored, 16).map(Nonce).map_err(damaged)
}

pub(super) fn process(stored: &str) -> Result<Uuid, Problem> {
    let damaged = |_| Problem::Damaged(format!("{stored:?} is not the id of a process"));
    Uuid::parse_str(stored).map_err(damaged)
}

/// Sorts as the name does: the place has all the digits that it may have.
pub(super) fn of_name(name: Name) -> String {
    format!("{}/{:05}", name.id, name.index)
}

pub(super) fn name(stored: &str) -> Result<Name, Problem> {
    let read = || {
        let (id, index) = stored.rsplit_once('/')?;
        let id = TxnId::from_uuid(Uuid::parse_str(id).ok()?).ok()?;
        Some(Name { id, index: index.parse().ok()? })
    };
    read().ok_or_else(|| Problem::Damaged(format!("{stored:?} is not the name of a message")))
}

pub(super) const fn of_state(state: LetterState) -> &'static str {
    match state {
        LetterState::Dead => "dead",
        LetterState::Redriving => "redriving",
    }
}

pub(super) fn state(stored: &str) -> Result<LetterState, Problem> {
    match stored {
        "dead" => Ok(LetterState::Dead),
        "redriving" => Ok(LetterState::Redriving),
        _ => Err(Problem::Damaged(format!("{stored:?} is not the state of a dead letter"))),
    }
}

pub(super) const fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Permanent => "permanent",
        Cause::TriesExhausted => "tries_exhausted",
        Cause::TooOld => "too_old",
    }
}

pub(super) fn cause(stored: &str) -> Result<Cause, Problem> {
    match stored {
        "permanent" => Ok(Cause::Permanent),
        "tries_exhausted" => Ok(Cause::TriesExhausted),
        "too_old" => Ok(Cause::TooOld),
        _ => Err(Problem::Damaged(format!("{stored:?} is not why a message is given up"))),
    }
}

/// A try as its JSON is.
#[derive(Serialize, Deserialize)]
struct StoredTry {
    number: u32,
    at_ms: u64,
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_us: Option<u64>,
    text: String,
}

/// The first and the last [`KEPT_TRIES`] of a history.
pub(super) fn of_history(tries: &[Try]) -> String {
    let dropped = tries.len().saturating_sub(2 * KEPT_TRIES);
    let kept = tries.iter().take(KEPT_TRIES).chain(tries.iter().skip(KEPT_TRIES + dropped));
    let stored: Vec<StoredTry> = kept.map(StoredTry::of).collect();
    serde_json::to_string(&stored).expect("numbers and texts are JSON")
}

pub(super) fn history(stored: &str) -> Result<Vec<Try>, Problem> {
    let damaged = |error| Problem::Damaged(format!("a history is not one: {error}"));
    let tries: Vec<StoredTry> = serde_json::from_str(stored).map_err(damaged)?;
    tries.into_iter().map(StoredTry::read).collect()
}

impl StoredTry {
    fn of(it: &Try) -> Self {
        let (class, retry_after_us) = match it.class {
            ErrorClass::Permanent => ("permanent", None),
            ErrorClass::Transient => ("transient", None),
            ErrorClass::Overloaded { retry_after_us } => ("overloaded", retry_after_us),
            ErrorClass::Ours => ("ours", None),
        };
        let (class, text) = (class.to_owned(), it.text.as_ref().to_owned());
        Self { number: it.number, at_ms: it.at.0, class, retry_after_us, text }
    }

    fn read(self) -> Result<Try, Problem> {
        let class = match &*self.class {
            "permanent" => ErrorClass::Permanent,
            "transient" => ErrorClass::Transient,
            "overloaded" => ErrorClass::Overloaded { retry_after_us: self.retry_after_us },
            "ours" => ErrorClass::Ours,
            other => {
                return Err(Problem::Damaged(format!("{other:?} is not how a try fails")));
            }
        };
        let text = Arc::from(self.text);
        Ok(Try { number: self.number, at: Millis(self.at_ms), class, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_texts() {
        let at = |millis, random| TxnId::from_parts(Millis(millis), random);
        let mut names: Vec<Name> = [at(1, 7), at(1, 8), at(0xa0, 0), at(9, u128::MAX)]
            .into_iter()
            .flat_map(|id| [0, 2, 10, u16::MAX].map(|index| Name { id, index }))
            .collect();
        names.sort();
        let texts: Vec<String> = names.iter().map(|it| of_name(*it)).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        for (stored, expected) in texts.iter().zip(&names) {
            assert_eq!(&name(stored).expect("a name"), expected);
        }
    }

    #[test]
    fn keys_are_told_apart() {
        let keys = [None, Some(&b""[..]), Some(b"\0"), Some(b"\xff"), Some(b":"), Some(b"key")];
        let keys = keys.map(|key| key.map(Bytes::from_static));
        let mut texts: Vec<String> = keys.iter().map(|key| of_key(key.as_ref())).collect();
        for (stored, expected) in texts.iter().zip(&keys) {
            assert_eq!(&key(stored).expect("a key"), expected);
        }
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), keys.len());
    }

    #[test]
    fn the_first_and_the_last_tries_are_kept() {
        let tries = |numbers: &[u32]| -> Vec<Try> {
            let one = |number: &u32| Try {
                number: *number,
                at: Millis(5),
                class: ErrorClass::Ours,
                text: "no".into(),
            };
            numbers.iter().map(one).collect()
        };
        for (count, kept) in [
            (0, vec![]),
            (1, vec![1]),
            (12, (1..=12).collect()),
            (13, vec![1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]),
            (20, vec![1, 2, 3, 4, 5, 6, 15, 16, 17, 18, 19, 20]),
        ] {
            let all: Vec<u32> = (1..=count).collect();
            let stored = of_history(&tries(&all));
            assert_eq!(history(&stored).expect("a history"), tries(&kept), "{count}");
        }
    }

    #[test]
    fn what_nobody_stores_is_damaged() {
        assert!(name("018f2c5e-0000-4000-8000-000000000000/00001").is_err(), "of version 4");
        assert!(name("no name").is_err());
        assert!(log("no nonce").is_err());
        assert!(key("bm8gY29sb24=").is_err());
        assert!(bytes("no base64!", "it").is_err());
        assert!(state("").is_err() && cause("").is_err() && history("[{}]").is_err());
        assert!(number::<u16>(-1, "a shard").is_err());
        assert!(exactly(u64::MAX, "a position").is_err());
    }
}
