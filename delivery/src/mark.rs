//! When the mark is said.

use wal_core::Position;

use crate::config::MarkConfig;

/// What was said of the mark last.
#[derive(Debug)]
pub(crate) struct Marker {
    config: MarkConfig,
    said: Position,
    /// When; `None` before the first event.
    said_us: Option<u64>,
    /// Messages that were dealt with since.
    settled: u64,
}

impl Marker {
    pub(crate) const fn new(config: MarkConfig, start: Position) -> Self {
        Self { config, said: start, said_us: None, settled: 0 }
    }

    /// A message was dealt with.
    pub(crate) const fn on_settled(&mut self) {
        self.settled += 1;
    }

    /// Says whether the mark is to be said now.
    pub(crate) fn is_due(&mut self, now_us: u64, mark: Position) -> bool {
        // The first interval starts with the first event.
        self.said_us.get_or_insert(now_us);
        let enough = self.settled >= self.config.every_messages;
        mark > self.said && (enough || self.wake(mark).is_some_and(|wake_us| wake_us <= now_us))
    }

    /// The mark is said.
    pub(crate) const fn say(&mut self, now_us: u64, mark: Position) {
        self.said = mark;
        self.said_us = Some(now_us);
        self.settled = 0;
    }

    /// What was said last.
    pub(crate) const fn said(&self) -> Position {
        self.said
    }

    /// When the mark is to be said if nothing more happens.
    pub(crate) fn wake(&self, mark: Position) -> Option<u64> {
        let said_us = self.said_us.filter(|_| mark > self.said)?;
        Some(said_us.saturating_add(self.config.interval_us))
    }
}
