//! What is due when.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::ControlPlane;
use delivery::Name;
use delivery::schedule::{Change, Entry, EntryCount, EntryState, Filter, Index, Noted};
use tokio::sync::Barrier;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

use super::name;
use crate::database::Database;

fn noted(number: u32, written: i64, change: Change) -> Noted {
    Noted { name: name(number, 0), shard: ShardId(0), written: Timestamp(written), change }
}

fn due(number: u32, written: i64, at: u64) -> Noted {
    noted(number, written, Change::Due(Millis(at)))
}

fn entry(number: u32, due: u64, state: EntryState) -> Entry {
    Entry { due: Millis(due), name: name(number, 0), shard: ShardId(0), state }
}

fn pending(number: u32, due: u64) -> Entry {
    entry(number, due, EntryState::Pending)
}

async fn note(control: &ControlPlane, changes: &[Noted]) {
    control.note("bank", changes.to_vec()).await.expect("noted");
}

/// All entries of a namespace.
async fn all(control: &ControlPlane) -> Vec<Entry> {
    control.entries("bank", Filter::default(), None, u32::MAX).await.expect("a list")
}

/// What the clauses say of changes that come one after another.
#[derive(Default)]
struct Expected(BTreeMap<Name, (i64, Entry)>);

impl Expected {
    fn note(&mut self, changes: &[Noted]) {
        for Noted { name, shard, written, change } in changes {
            let is_noted = self.0.get(name);
            if is_noted.is_some_and(|(newest, _)| *newest > written.0) {
                continue;
            }
            match change {
                Change::Due(due) => {
                    let state = EntryState::Pending;
                    let entry = Entry { due: *due, name: *name, shard: *shard, state };
                    self.0.insert(*name, (written.0, entry));
                }
                Change::Refused => {
                    if let Some(known) = self.0.get_mut(name) {
                        known.0 = written.0;
                        known.1.state = EntryState::Refused;
                    }
                }
                Change::Gone => {
                    self.0.remove(name);
                }
            }
        }
    }

    fn all(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.0.values().map(|(_, entry)| *entry).collect();
        all.sort();
        all
    }
}

pub(crate) async fn entries_are_told_page_by_page_by_time_and_name(database: Database) {
    let control = database.open().await;
    // Three at each time; of one transaction, the place orders them as a number. Each third was refused.
    let mut expected = Vec::new();
    for number in 0..30_u16 {
        let name = name(u32::from(number % 2) * 0xa0, 2 + number / 2);
        let shard = ShardId(number % 4);
        let due = Millis(u64::from(9 - number / 3));
        let written = Timestamp(1);
        let change = Change::Due(due);
        note(&control, &[Noted { name, shard, written, change }]).await;
        let mut state = EntryState::Pending;
        if number % 3 == 1 {
            note(&control, &[Noted { name, shard, written, change: Change::Refused }]).await;
            state = EntryState::Refused;
        }
        expected.push(Entry { due, name, shard, state });
    }
    expected.sort_by_key(|entry| (entry.due, entry.name));
    assert_eq!(all(&control).await, expected);
    let (one, state) = (Some(ShardId(1)), Some(EntryState::Refused));
    for filter in [
        Filter::default(),
        Filter { shard: one, ..Filter::default() },
        Filter { state, ..Filter::default() },
        Filter { state: Some(EntryState::Pending), ..Filter::default() },
        Filter { due_before: Some(Millis(4)), ..Filter::default() },
        Filter { due_since: Some(Millis(4)), ..Filter::default() },
        Filter { shard: one, state, due_before: Some(Millis(8)), due_since: Some(Millis(2)) },
        Filter { due_before: Some(Millis(u64::MAX)), ..Filter::default() },
        Filter { due_since: Some(Millis(u64::MAX)), ..Filter::default() },
        Filter { shard: Some(ShardId(u16::MAX)), ..Filter::default() },
    ] {
        let is_wanted = |entry: &Entry| {
            filter.shard.is_none_or(|shard| entry.shard == shard)
                && filter.state.is_none_or(|state| entry.state == state)
                && filter.due_before.is_none_or(|before| entry.due < before)
                && filter.due_since.is_none_or(|since| entry.due >= since)
        };
        let wanted: Vec<Entry> = expected.iter().copied().filter(is_wanted).collect();
        for limit in [1, 2, 7, 29, 30, 31] {
            let mut told: Vec<Entry> = Vec::new();
            loop {
                let after = told.last().map(|entry| (entry.due, entry.name));
                let page = control.entries("bank", filter, after, limit).await.expect("a page");
                assert!(page.len() <= limit as usize);
                if page.is_empty() {
                    break;
                }
                told.extend(page);
            }
            assert_eq!(told, wanted, "{limit} at a time, {filter:?}");
        }
    }
    // Behind one that is not there.
    let after = Some((Millis(4), name(0x50, 0)));
    let page = control.entries("bank", Filter::default(), after, 5).await.expect("a page");
    let later = expected.into_iter().filter(|entry| Some((entry.due, entry.name)) > after);
    assert_eq!(page, later.take(5).collect::<Vec<_>>());
    assert_eq!(control.entries("bank", Filter::default(), None, 0).await, Ok(vec![]));
}

pub(crate) async fn a_change_that_was_written_earlier_changes_nothing(database: Database) {
    let control = database.open().await;
    note(&control, &[due(1, 50, 700), due(2, 50, 700), due(3, 50, 700)]).await;
    note(&control, &[due(1, 49, 100), noted(2, 49, Change::Refused), noted(3, 49, Change::Gone)])
        .await;
    assert_eq!(all(&control).await, [1, 2, 3].map(|number| pending(number, 700)));
    // What was written at the same time is the same, or corrects it.
    note(&control, &[due(1, 50, 600), noted(2, 50, Change::Refused), noted(3, 50, Change::Gone)])
        .await;
    let expected = [pending(1, 600), entry(2, 700, EntryState::Refused)];
    assert_eq!(all(&control).await, expected);
    note(&control, &[due(1, 51, 800), due(2, 49, 100)]).await;
    let expected = [entry(2, 700, EntryState::Refused), pending(1, 800)];
    assert_eq!(all(&control).await, expected);
    // A change of another shard is as good as any.
    let moved = Noted { shard: ShardId(7), ..due(1, 52, 900) };
    note(&control, &[moved]).await;
    let expected = [expected[0], Entry { shard: ShardId(7), ..pending(1, 900) }];
    assert_eq!(all(&control).await, expected);
    assert_eq!(all(&database.open().await).await, expected, "after a restart");
}

pub(crate) async fn what_is_gone_is_forgotten_and_comes_back_with_a_late_change(
    database: Database,
) {
    let control = database.open().await;
    note(&control, &[noted(1, 90, Change::Gone), noted(2, 90, Change::Refused)]).await;
    assert_eq!(all(&control).await, [], "there was nothing");
    note(&control, &[due(1, 10, 700)]).await;
    assert_eq!(all(&control).await, [pending(1, 700)]);
    for _ in 0..2 {
        note(&control, &[noted(1, 20, Change::Gone)]).await;
        assert_eq!(all(&control).await, []);
    }
    note(&control, &[due(1, 10, 700)]).await;
    assert_eq!(all(&control).await, [pending(1, 700)], "whoever looks at the row says it is gone");
    note(&control, &[noted(1, 10, Change::Gone)]).await;
    assert_eq!(all(&control).await, []);
}

pub(crate) async fn what_was_refused_may_be_due_again(database: Database) {
    let control = database.open().await;
    note(&control, &[due(1, 10, 700), due(2, 10, 700)]).await;
    note(&control, &[noted(1, 20, Change::Refused)]).await;
    assert_eq!(all(&control).await, [entry(1, 700, EntryState::Refused), pending(2, 700)]);
    let count = EntryCount { pending: 1, refused: 1 };
    assert_eq!(control.count("bank").await, Ok(count));
    note(&control, &[due(1, 10, 700)]).await;
    assert_eq!(control.count("bank").await, Ok(count), "that was before");
    note(&control, &[due(1, 30, 900), noted(2, 30, Change::Refused)]).await;
    assert_eq!(all(&control).await, [entry(2, 700, EntryState::Refused), pending(1, 900)]);
    note(&control, &[noted(1, 40, Change::Gone), noted(2, 40, Change::Gone)]).await;
    assert_eq!(control.count("bank").await, Ok(EntryCount::default()));
}

pub(crate) async fn namespaces_and_shards_are_apart(database: Database) {
    let control = database.open().await;
    let of_shard = |shard, number, at| Noted { shard: ShardId(shard), ..due(number, 1, at) };
    note(&control, &[of_shard(0, 1, 30), of_shard(1, 2, 20), of_shard(u16::MAX, 3, 10)]).await;
    control.note("shop", vec![due(1, 9, 77), due(2, 9, 77)]).await.expect("noted");
    note(&control, &[noted(1, 5, Change::Gone)]).await;
    for (shard, expected) in [(0, vec![]), (1, vec![(2, 20)]), (u16::MAX, vec![(3, 10)])] {
        let shard = ShardId(shard);
        let filter = Filter { shard: Some(shard), ..Filter::default() };
        let told = control.entries("bank", filter, None, 9).await.expect("a list");
        let entry = |(number, at)| Entry { shard, ..pending(number, at) };
        assert_eq!(told, expected.into_iter().map(entry).collect::<Vec<_>>());
    }
    let shop = control.entries("shop", Filter::default(), None, 9).await;
    assert_eq!(shop, Ok(vec![pending(1, 77), pending(2, 77)]));
    assert_eq!(control.count("bank").await, Ok(EntryCount { pending: 2, refused: 0 }));
    assert_eq!(control.count("nothing").await, Ok(EntryCount::default()));
    assert_eq!(control.entries("nothing", Filter::default(), None, 9).await, Ok(vec![]));
}

pub(crate) async fn names_and_times_come_back_as_they_were(database: Database) {
    let control = database.open().await;
    let at = |millis, random, index| Name { id: TxnId::from_parts(Millis(millis), random), index };
    let names = [at(0, 0, 0), at(0, u128::MAX, u16::MAX), at(u64::MAX, u128::MAX, 9)];
    let most = i64::MAX as u64;
    let changes = names.iter().zip([0, most - 1, u64::MAX]).map(|(name, due)| Noted {
        name: *name,
        shard: ShardId(u16::MAX),
        written: Timestamp(i64::MIN),
        change: Change::Due(Millis(due)),
    });
    let changes: Vec<_> = changes.collect();
    note(&control, &changes).await;
    let told: Vec<_> = all(&control).await.iter().map(|it| (it.name, it.due.0)).collect();
    // The last one is later than what is kept, and is due then.
    assert_eq!(told, [(names[0], 0), (names[1], most - 1), (names[2], most)]);
    let late = Noted { written: Timestamp(i64::MAX), change: Change::Gone, ..changes[2] };
    note(&control, &[late]).await;
    assert_eq!(all(&control).await.len(), 2);
}

/// Five thousand changes, all kinds among them, in no order, again and again: as they come in a second.
pub(crate) async fn large_batches_may_be_repeated(database: Database) {
    const MANY: u32 = 5_000;
    let control = database.open().await;
    note(&control, &[]).await;
    let mut expected = Expected::default();
    for round in 0..4 {
        let change = |number: u32| {
            // Any number of the right size without a common factor shuffles them.
            let number = (number * 1_237) % MANY;
            let written = i64::from(100 * round + number % 7);
            let at = u64::from((number * 31 + round) % 600);
            match (number + round) % 5 {
                0 => noted(number, written, Change::Gone),
                1 => noted(number, written, Change::Refused),
                _ => Noted {
                    shard: ShardId(u16::try_from(number % 3).expect("small")),
                    ..due(number, written, at)
                },
            }
        };
        let changes: Vec<Noted> = (0..MANY).map(change).collect();
        expected.note(&changes);
        let began = std::time::Instant::now();
        note(&control, &changes).await;
        println!("{MANY} changes in {:?}", began.elapsed());
        assert_eq!(all(&control).await, expected.all(), "round {round}");
        note(&control, &changes).await;
        expected.note(&changes);
        assert_eq!(all(&control).await, expected.all(), "round {round}, repeated");
    }
    let count = control.count("bank").await.expect("counted");
    assert_eq!(count.pending + count.refused, expected.all().len() as u64);
    control.close().await;
    assert_eq!(all(&database.open().await).await, expected.all());
}

/// Two processes read the same stream, each at its own pace, and note what they read in batches of their own: the
/// newest change of each name is there in the end, and neither waits for ever.
pub(crate) async fn of_notes_at_once_the_newest_changes_hold(database: Database) {
    const NAMES: u32 = 900;
    const ROUNDS: u32 = 6;
    let control = database.open().await;
    let change = |number: u32, round: u32| {
        let written = i64::from(round);
        match (number + round) % 4 {
            0 => noted(number, written, Change::Refused),
            // Of what is gone nothing is remembered: the last word on those must come from both.
            1 if round + 1 == ROUNDS => noted(number, written, Change::Gone),
            _ => due(number, written, u64::from(number * 7 % 50 + round)),
        }
    };
    let mut expected = Expected::default();
    for round in 0..ROUNDS {
        let changes: Vec<Noted> = (0..NAMES).map(|number| change(number, round)).collect();
        expected.note(&changes);
    }
    let ready = Arc::new(Barrier::new(4));
    let mut tasks = Vec::new();
    for process in 0..4 {
        let control = database.another(&control).await;
        let ready = ready.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                // Half of them go ahead of the others.
                let round = if process % 2 == 0 { round } else { ROUNDS - 1 - round };
                let changes =
                    (0..NAMES).map(|number| change((number * 7 + process) % NAMES, round));
                ready.wait().await;
                control.note("bank", changes.collect()).await.expect("noted");
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    // What came late may have brought back what is gone: who looks at the rows says so.
    let last: Vec<Noted> = (0..NAMES).map(|number| change(number, ROUNDS - 1)).collect();
    note(&control, &last).await;
    let told = all(&control).await;
    let is_pending = |entry: &&Entry| entry.state == EntryState::Pending;
    let of = |entries: &[Entry]| entries.iter().filter(is_pending).copied().collect::<Vec<_>>();
    assert_eq!(of(&told), of(&expected.all()));
    let names = |entries: &[Entry]| {
        let mut names: Vec<Name> = entries.iter().map(|entry| entry.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&told), names(&expected.all()));
}

pub(crate) async fn notes_that_are_given_up_leave_no_lock_behind(database: Database) {
    let control = database.open().await;
    let changes: Vec<Noted> = (0..1_000).map(|number| due(number, 1, 5)).collect();
    for number in 0..30 {
        let patience = std::time::Duration::from_micros(number * 700);
        let noting = control.note("bank", changes.clone());
        let _ = tokio::time::timeout(patience, noting).await;
        let count = control.count("bank").await.expect("counted").pending;
        assert!([0, 1_000].contains(&count), "all or nothing, not {count}");
    }
    note(&control, &changes).await;
    assert_eq!(all(&control).await.len(), 1_000);
}

pub(crate) async fn a_damaged_entry_is_told_and_never_used(database: Database) {
    let control = database.open().await;
    for (column, value) in [("name", "'nobody'"), ("due_ms", "-1"), ("shard", "65536")] {
        database.run("DELETE FROM delays").await;
        note(&control, &[due(1, 1, 5)]).await;
        database.run(&format!("UPDATE delays SET {column} = {value}")).await;
        let error = control.entries("bank", Filter::default(), None, 9).await;
        let said = error.expect_err("damaged").to_string();
        assert!(said.contains("is damaged: ") && said.contains(control.address()), "{said}");
    }
    database.run("UPDATE delays SET shard = 0, state = 'undead'").await;
    control.count("bank").await.expect_err("damaged");
}
