//! The schedule, and what stands before the index: in a world that fails at random, and by themselves.

mod backlog;
mod behind;
mod panics;
mod world;

use wal_core::{Millis, Now, TxnId};

use self::world::{Happened, Planted, S, SHARD, World};
use super::engine::{Ended, Schedule, ScheduleConfig, Wanted};
use super::index::{Change, Entry, EntryState};
use crate::outgoing::Name;
use crate::rules::Rule;
use crate::tests::property::{every_seed, happened_often};

const SEEDS: u64 = 3_000;

fn run(seed: u64, planted: Planted) -> Result<Happened, String> {
    World::new(seed, planted).run().map_err(|what| format!("seed {seed}: {what}"))
}

#[test]
fn whatever_fails_nothing_is_early_doubled_or_lost() {
    let all = every_seed(SEEDS, |seed| run(seed, Planted::Nothing));
    let often = |name: &str, count: fn(&Happened) -> u32| happened_often(&all, name, count);
    often("done", |happened| happened.done);
    often("cancelled", |happened| happened.cancelled);
    often("rescheduled", |happened| happened.rescheduled);
    often("gone when it was due", |happened| happened.too_late);
    often("taken over", |happened| happened.taken_over);
    often("jumps", |happened| happened.jumps);
    often("unanswered", |happened| happened.unanswered);
    often("notes that failed", |happened| happened.notes_failed);
    often("changed meanwhile", |happened| happened.changed_meanwhile);
    often("never noted", |happened| happened.never_noted);
    often("deleted lazily", |happened| happened.deleted_lazily);
}

#[test]
fn every_planted_bug_is_found() {
    let rules = Rule::OF_SCHEDULE.map(Planted::Without);
    for planted in rules.into_iter().chain([Planted::ToldOnce, Planted::Blind]) {
        let found = (0..2_000).find_map(|seed| run(seed, planted).err());
        let found = found.unwrap_or_else(|| panic!("nobody misses anything with {planted:?}"));
        println!("{planted:?}: {found}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        assert_eq!(run(seed, Planted::Nothing), run(seed, Planted::Nothing));
    }
}

/// Whoever does a part may have read its row before it was scheduled anew.
#[test]
fn what_is_scheduled_anew_while_it_is_being_done_is_not_forgotten() {
    let at = |s: u64| Now { wall_us: (1_000 * S + s * S) as i64, mono_us: s * S };
    let due = |s: u64| Change::Due(Millis(1_000_000 + s * 1_000));
    let name = Name { id: TxnId(1), index: 0 };
    let fires = |schedule: &mut Schedule, s| {
        let mut wanted = Vec::new();
        schedule.poll(at(s), &mut wanted);
        wanted.iter().any(|it| matches!(it, Wanted::Fire { .. }))
    };
    for ended in [due(3_600), Change::Refused, due(5)] {
        let mut schedule = Schedule::new(ScheduleConfig { held: 100, page: 50, in_flight: 4 });
        schedule.told(at(0), SHARD, name, due(1));
        assert!(fires(&mut schedule, 1));
        schedule.told(at(1), SHARD, name, due(4));
        schedule.fired(at(2), SHARD, name, Ended::Changed(ended));
        assert!(!fires(&mut schedule, 3));
        assert!(fires(&mut schedule, 4), "{ended:?}");
        schedule.told(at(4), SHARD, name, due(9));
        schedule.fired(at(5), SHARD, name, Ended::Changed(Change::Gone));
        assert!(!fires(&mut schedule, 100));
    }
}

/// However much was told long before: of that the index has everything.
#[test]
fn what_is_due_later_does_not_push_out_what_is_due_soon() {
    let mut schedule = Schedule::new(ScheduleConfig { held: 100, page: 25, in_flight: 100 });
    let at = |s: u64| Now { wall_us: (1_000 * S + s * S) as i64, mono_us: s * S };
    let due = |s: u64| Change::Due(Millis(1_000_000 + s * 1_000));
    let name = |n: u128| Name { id: TxnId(n), index: 0 };
    schedule.begin(SHARD);
    schedule.poll(at(0), &mut Vec::new());
    schedule.loaded(at(0), SHARD, Some(Vec::new()));
    (0..200).for_each(|n| schedule.told(at(1), SHARD, name(n), due(60)));
    assert_eq!(schedule.status().held, 50);
    // All of it is due at one moment, and what is told meanwhile a little later.
    (500..550).for_each(|n| schedule.told(at(59), SHARD, name(n), due(62)));
    assert_eq!(schedule.status().held, 100);
    let mut wanted = Vec::new();
    schedule.poll(at(62), &mut wanted);
    let fired = |it: &&Wanted| matches!(it, Wanted::Fire { name, .. } if name.id.0 >= 500);
    assert_eq!(wanted.iter().filter(fired).count(), 50);
}

/// Backlog and what is due now take turns.
#[test]
fn a_backlog_does_not_starve_what_is_due_now() {
    let mut schedule = Schedule::new(ScheduleConfig { held: 100, page: 50, in_flight: 4 });
    let at = |s: u64| Now { wall_us: (1_000 * S + s * S) as i64, mono_us: s * S };
    let name = |n: u128| Name { id: TxnId(n), index: 0 };
    schedule.begin(SHARD);
    let mut wanted = Vec::new();
    schedule.poll(at(0), &mut wanted);
    assert!(matches!(wanted[..], [Wanted::Load { .. }]), "{wanted:?}");
    let entry = |n: u64| Entry {
        due: Millis(n),
        name: name(n.into()),
        shard: SHARD,
        state: EntryState::Pending,
    };
    schedule.loaded(at(0), SHARD, Some((0..50).map(entry).collect()));
    // Far behind what is loaded, and due now.
    for n in 1_000..1_002 {
        schedule.told(at(1), SHARD, name(n), Change::Due(Millis(1_001_000)));
    }
    wanted.clear();
    schedule.poll(at(1), &mut wanted);
    let fired: Vec<u128> = wanted
        .iter()
        .filter_map(|it| match it {
            Wanted::Fire { name, .. } => Some(name.id.0),
            Wanted::Load { .. } => None,
        })
        .collect();
    assert_eq!(fired, [0, 1_001, 1, 1_000]);
}
