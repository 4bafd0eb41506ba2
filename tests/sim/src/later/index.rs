//! The index by time, as the port `delivery::schedule::Index` says it.

use std::collections::BTreeMap;

use delivery::Name;
use delivery::schedule::{Change, Entry, EntryState, Noted};
use wal_core::{Millis, ShardId, Timestamp};

/// What is due when, as far as it was noted.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: BTreeMap<Name, (Entry, Timestamp)>,
}

impl Index {
    pub(crate) fn note(&mut self, noted: Noted) {
        let Noted { name, shard, written, change } = noted;
        let known = self.entries.get_mut(&name);
        if known.as_ref().is_some_and(|(_, known)| *known > written) {
            return;
        }
        match (change, known) {
            (Change::Due(due), _) => {
                let entry = Entry { due, name, shard, state: EntryState::Pending };
                self.entries.insert(name, (entry, written));
            }
            (Change::Refused, Some(known)) => {
                known.0.state = EntryState::Refused;
                known.1 = written;
            }
            (Change::Refused, None) => {}
            (Change::Gone, _) => {
                self.entries.remove(&name);
            }
        }
    }

    /// What is pending in a shard, by time, behind that one.
    pub(crate) fn entries(
        &self,
        shard: ShardId,
        after: Option<(Millis, Name)>,
        limit: u32,
    ) -> Vec<Entry> {
        let of_it = self.entries.values().map(|(entry, _)| *entry).filter(|entry| {
            entry.shard == shard
                && entry.state == EntryState::Pending
                && after.is_none_or(|after| (entry.due, entry.name) > after)
        });
        let mut entries: Vec<Entry> = of_it.collect();
        entries.sort();
        entries.truncate(limit as usize);
        entries
    }
}
