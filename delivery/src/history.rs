//! How a message was tried, for whoever looks at the dead letters.

use std::collections::VecDeque;
use std::sync::Arc;

use wal_core::Millis;

use crate::message::{ErrorClass, Failure};

/// How many of the first tries a history keeps, and how many of the last.
pub const KEPT_TRIES: usize = 3;

/// The longest text of a kept try, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 200;

/// A try that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Its number; 1 is the message's first, counted anew after a restart.
    pub number: u32,
    /// When its failure was known, by the wall clock.
    pub at: Millis,
    /// How it failed.
    pub class: ErrorClass,
    /// What the target said, cut to [`MAX_TEXT_BYTES`].
    pub text: Arc<str>,
}

/// The failed tries of a message since it was handed in: their count, and the first and last
/// [`KEPT_TRIES`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    count: u32,
    first: Vec<Try>,
    last: VecDeque<Try>,
}

impl History {
    /// How many tries failed.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Those that were kept, oldest first: at most twice [`KEPT_TRIES`].
    pub fn kept(&self) -> impl Iterator<Item = &Try> {
        self.first.iter().chain(&self.last)
    }

    pub(crate) fn add(&mut self, number: u32, at: Millis, failure: &Failure) {
        self.count = self.count.saturating_add(1);
        let kept = Try { number, at, class: failure.class, text: cut(&failure.text) };
        if self.first.len() < KEPT_TRIES {
            self.first.push(kept);
            return;
        }
        if self.last.len() == KEPT_TRIES {
            self.last.pop_front();
        }
        self.last.push_back(kept);
    }
}

fn cut(text: &Arc<str>) -> Arc<str> {
    if text.len() <= MAX_TEXT_BYTES {
        return text.clone();
    }
    Arc::from(&text[..text.floor_char_boundary(MAX_TEXT_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_tries_are_kept_and_all_are_counted() {
        let mut history = History::default();
        for number in 1..=10 {
            let failure = Failure { class: ErrorClass::Transient, text: "refused".into() };
            history.add(number, Millis(u64::from(number)), &failure);
        }
        let numbers: Vec<u32> = history.kept().map(|kept| kept.number).collect();
        assert_eq!((history.count(), numbers), (10, vec![1, 2, 3, 8, 9, 10]));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let mut history = History::default();
        let text = format!("a{}", "é".repeat(MAX_TEXT_BYTES));
        history.add(1, Millis(0), &Failure { class: ErrorClass::Ours, text: text.into() });
        let kept = history.kept().next().expect("one was added");
        assert_eq!(kept.text.len(), MAX_TEXT_BYTES - 1);
    }
}
