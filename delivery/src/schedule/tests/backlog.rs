//! More is overdue than is done in a while, and what was scheduled long ago is due meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use wal_core::{Millis, Now, TxnId};

use super::world::{S, SHARD};
use crate::outgoing::Name;
use crate::schedule::engine::{Ended, Schedule, ScheduleConfig, Wanted};
use crate::schedule::index::{Change, Entry, EntryState};

const START_MS: u64 = 10_000_000;
/// Each is done in 10 ms, four at a time: for 50 s.
const BACKLOG: u64 = 20_000;
const TAKES_MS: u64 = 10;
const CONFIG: ScheduleConfig = ScheduleConfig { held: 400, page: 100, in_flight: 4 };

/// Does everything in virtual time, and tells how late each was that is due after the start, milliseconds.
fn latenesses(due_now: &[u64]) -> Vec<u64> {
    let name = |n: u64| Name { id: TxnId(n.into()), index: 0 };
    let backlog = (0..BACKLOG).map(|n| (Millis(START_MS - 3_600_000 + n), name(n + 1)));
    let now_and_later = due_now.iter().enumerate();
    let now_and_later =
        now_and_later.map(|(n, ms)| (Millis(START_MS + ms), name(BACKLOG + 1 + n as u64)));
    let mut index: BTreeSet<(Millis, Name)> = backlog.chain(now_and_later).collect();
    let mut schedule = Schedule::new(CONFIG);
    schedule.begin(SHARD);
    let mut late = Vec::new();
    let mut under_way: BTreeMap<u64, Vec<(Millis, Name)>> = BTreeMap::new();
    let mut wanted = Vec::new();
    for ms in 0.. {
        let time = START_MS + ms;
        let now = Now { wall_us: (time * 1_000) as i64, mono_us: S + ms * 1_000 };
        for (due, name) in under_way.remove(&time).unwrap_or_default() {
            index.remove(&(due, name));
            late.extend((due.0 >= START_MS).then(|| time - due.0));
            schedule.fired(now, SHARD, name, Ended::Changed(Change::Gone));
        }
        if index.is_empty() {
            break;
        }
        loop {
            schedule.poll(now, &mut wanted);
            let mut has_loaded = false;
            for wanted in wanted.drain(..) {
                match wanted {
                    Wanted::Fire { due, name, .. } => {
                        under_way.entry(time + TAKES_MS).or_default().push((due, name));
                    }
                    Wanted::Load { after, limit, .. } => {
                        has_loaded = true;
                        let found =
                            index.iter().filter(|it| after.is_none_or(|after| **it > after));
                        let entry = |&(due, name): &(Millis, Name)| Entry {
                            due,
                            name,
                            shard: SHARD,
                            state: EntryState::Pending,
                        };
                        let page = found.take(limit as usize).map(entry).collect();
                        schedule.loaded(now, SHARD, Some(page));
                    }
                }
            }
            if !has_loaded {
                break;
            }
        }
        assert!(schedule.status().held <= CONFIG.held);
    }
    assert_eq!(late.len(), due_now.len());
    late
}

#[test]
fn what_was_scheduled_long_ago_does_not_wait_for_a_backlog() {
    let every_half_second: Vec<u64> = (0..80).map(|n| n * 500).collect();
    let late = latenesses(&every_half_second);
    assert!(late.iter().all(|ms| *ms <= 5 * TAKES_MS), "{late:?}");
}

/// Half of what can be done is for it; the rest becomes part of the backlog.
#[test]
fn much_that_is_due_at_once_takes_turns_with_a_backlog() {
    let many_at_once: Vec<u64> = (0..5_000).map(|n| 10_000 + n / 2_500 * 10_000).collect();
    let mut late = latenesses(&many_at_once);
    late.sort_unstable();
    assert!(late[late.len() / 2] <= 15_000, "{}", late[late.len() / 2]);
    let last = late.last().expect("some were late");
    assert!(*last <= (BACKLOG + 5_000) * TAKES_MS / 4, "{last}");
}
