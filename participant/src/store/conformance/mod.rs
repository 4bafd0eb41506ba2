//! What every table store must do: each clause of [`super`], checked from outside.
//!
//! ```
//! use participant::store::{TableStore, conformance, memory::MemoryStore};
//!
//! struct Fresh;
//! impl conformance::Subject for Fresh {
//!     fn fresh(&mut self) -> Box<dyn TableStore> {
//!         Box::new(MemoryStore::default())
//!     }
//! }
//! conformance::run(&mut Fresh);
//! ```

mod sample;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use wal_core::schema::Table;
use wal_core::{Cell, ColumnId, Row, RowKey, RowMutation, Timestamp};

use self::sample::{
    MAX_COLUMNS, SIMPLE, awkward_keys, delete_cell, delete_row, insert, key, mutations, put,
};
use super::draw::Draw;
use super::{StoreError, TableStore};

/// How often a call that fails for now is tried again.
const MAX_TRIES: usize = 1000;
const RANDOM_ROUNDS: u64 = 20;
/// Generations that the concurrent writer writes.
const GENERATIONS: u64 = 300;
const LARGE_VALUE_BYTES: usize = 1 << 20;

/// The tables that the suite writes and reads, for stores that must have them before.
pub fn tables() -> Vec<Arc<Table>> {
    sample::tables()
}

/// The store under test.
pub trait Subject {
    /// An empty store, with the [`tables`].
    fn fresh(&mut self) -> Box<dyn TableStore>;

    /// What the store shows of a row (clause 3): all of it, or [`Row::shown`].
    fn view(&self) -> fn(&Row) -> Row {
        Row::clone
    }

    /// A mutation that the store refuses for good, if there is one that it always does.
    fn refused(&self) -> Option<RowMutation> {
        None
    }

    /// Closes a store and opens it again, or `None` if it keeps nothing over that.
    fn reopen(&mut self, store: Box<dyn TableStore>) -> Option<Box<dyn TableStore>> {
        drop(store);
        None
    }
}

/// Runs the whole suite.
///
/// # Panics
///
/// With the clause's number, if one does not hold.
pub fn run(subject: &mut dyn Subject) {
    let view = subject.view();
    let mut fresh = || Tested { store: subject.fresh(), view };
    merging_follows_the_rules(&fresh());
    for seed in 0..RANDOM_ROUNDS {
        any_order_and_any_number_of_times_give_one_state(&fresh(), seed);
    }
    applies_from_several_threads_lose_nothing(&fresh());
    readers_never_see_half_a_mutation(&fresh());
    reads_answer_every_key_in_order(&fresh());
    awkward_keys_are_kept_apart(&fresh());
    large_and_empty_values_are_kept(&fresh());
    let fresh = Tested { store: subject.fresh(), view };
    if let Some(refused) = subject.refused() {
        a_refusal_names_what_is_refused_and_nothing_else(&fresh, &refused);
    }
    what_was_synced_survives(subject);
}

/// A store, and what it shows of a row.
struct Tested {
    store: Box<dyn TableStore>,
    view: fn(&Row) -> Row,
}

/// Clause 5: a failed call is tried again until it succeeds.
fn until_done<T>(mut call: impl FnMut() -> Result<T, StoreError>) -> T {
    for _ in 0..MAX_TRIES {
        match call() {
            Ok(answer) => return answer,
            Err(StoreError::Transient { .. } | StoreError::Overloaded { .. }) => {}
            Err(refused @ StoreError::Refused(_)) => panic!("clause 5: {refused}"),
        }
    }
    panic!("clause 5: still fails after {MAX_TRIES} tries");
}

fn apply(tested: &Tested, mutations: &[RowMutation]) {
    until_done(|| tested.store.apply(mutations));
}

fn read(tested: &Tested, keys: &[RowKey]) -> Vec<Row> {
    let rows = until_done(|| tested.store.read(keys));
    assert_eq!(rows.len(), keys.len(), "clause 3: one row for every key");
    rows
}

/// What the rows must be: the port's own rules, applied one by one.
#[derive(Default)]
struct Expected(BTreeMap<RowKey, Row>);

impl Expected {
    fn apply(&mut self, mutations: &[RowMutation]) {
        for mutation in mutations {
            self.0.entry(mutation.key.clone()).or_default().merge(&mutation.delta);
        }
    }

    /// What the store must show of a row.
    fn row(&self, tested: &Tested, key: &RowKey) -> Row {
        self.0.get(key).map(tested.view).unwrap_or_default()
    }

    fn check(&self, store: &Tested, clause: &str) {
        let keys: Vec<RowKey> = self.0.keys().cloned().collect();
        for (key, row) in keys.iter().zip(read(store, &keys)) {
            assert_eq!(row, self.row(store, key), "{clause}: row {key:?}");
        }
    }
}

/// Clause 1: the rules that are easy to get wrong, one row each, in both orders.
fn merging_follows_the_rules(store: &Tested) {
    let cases: [(&str, Row, Row, Row); 9] = [
        ("the later value wins", put(1, 2, b"a"), put(1, 1, b"b"), put(1, 2, b"a")),
        ("a tie goes to the greater bytes", put(1, 1, b"a"), put(1, 1, b"b"), put(1, 1, b"b")),
        ("a tie goes to the longer bytes", put(1, 1, b"a"), put(1, 1, b"aa"), put(1, 1, b"aa")),
        ("a tie goes to the tombstone", put(1, 1, b"a"), delete_cell(1, 1), delete_cell(1, 1)),
        ("a later value beats a tombstone", put(1, 2, b""), delete_cell(1, 1), put(1, 2, b"")),
        ("a row tombstone covers its time", put(1, 5, b"a"), delete_row(5), delete_row(5)),
        ("a row tombstone covers the marker", insert(5), delete_row(5), delete_row(5)),
        ("a row tombstone covers cell tombstones", delete_cell(1, 5), delete_row(6), delete_row(6)),
        ("nothing is a mutation too", Row::default(), Row::default(), Row::default()),
    ];
    for (index, (rule, first, second, merged)) in cases.into_iter().enumerate() {
        for (order, deltas) in [[&first, &second], [&second, &first]].into_iter().enumerate() {
            for together in [0, 1] {
                let key = key(1, &[index as u8, order as u8, together], b"");
                let [a, b] =
                    deltas.map(|delta| RowMutation { key: key.clone(), delta: delta.clone() });
                if together == 1 {
                    apply(store, &[a, b]);
                } else {
                    apply(store, &[a]);
                    apply(store, &[b]);
                }
                let found = read(store, &[key]).remove(0);
                assert_eq!(found, (store.view)(&merged), "clause 1: {rule}");
            }
        }
    }
}

/// Clauses 1 and 2: batches of random mutations in a random order, some repeated, reads in between.
fn any_order_and_any_number_of_times_give_one_state(store: &Tested, seed: u64) {
    let mut draw = Draw::new(seed);
    let keys: Vec<RowKey> = (0..6u8).map(|n| key(u32::from(n % 2), &[n / 2], &[n / 4])).collect();
    let mut all = mutations(&mut draw, &keys, 120);
    let repeated = all[..60].to_vec();
    all.extend(repeated);
    draw.shuffle(&mut all);

    let mut expected = Expected::default();
    let mut rest = &all[..];
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(rest.len().min(1 + draw.below(20)));
        apply(store, batch);
        expected.apply(batch);
        let key = &keys[draw.below(keys.len())];
        let found = read(store, std::slice::from_ref(key));
        assert_eq!(
            found,
            [expected.row(store, key)],
            "clause 2: an answered apply is seen (seed {seed})"
        );
        rest = behind;
    }
    expected.check(store, "clause 1: one state");
    draw.shuffle(&mut all);
    apply(store, &all);
    expected.check(store, "clause 1: applying again changes nothing");
}

/// Clause 1, when several threads write the same rows at once: each mutation has a cell of its own,
/// so that a lost one is seen.
fn applies_from_several_threads_lose_nothing(store: &Tested) {
    let keys: Vec<RowKey> = (0..16u8).map(|n| key(1, &[n / 4], &[n])).collect();
    let cells = (0..MAX_COLUMNS).flat_map(|column| keys.iter().map(move |key| (column, key)));
    let mut all: Vec<RowMutation> = cells
        .map(|(column, key)| RowMutation {
            key: key.clone(),
            delta: put(column, 1, &column.to_be_bytes()),
        })
        .collect();
    Draw::new(1).shuffle(&mut all);
    thread::scope(|scope| {
        for part in all.chunks(all.len() / 4) {
            scope.spawn(move || part.chunks(4).for_each(|batch| apply(store, batch)));
        }
    });
    let mut expected = Expected::default();
    expected.apply(&all);
    expected.check(store, "clause 1: threads");
}

/// One generation of a row: every cell says which.
fn generation(key: &RowKey, number: u64) -> RowMutation {
    let cell = |column| Cell {
        column: ColumnId(column),
        timestamp: Timestamp(number as i64),
        value: Some(number.to_be_bytes().to_vec().into()),
    };
    RowMutation {
        key: key.clone(),
        delta: Row { cells: (0..8).map(cell).collect(), ..Row::default() },
    }
}

/// The generation of a row (0 if it is absent).
///
/// # Panics
///
/// If its cells are not all of one generation.
fn whole_generation(store: &Tested, row: &Row) -> u64 {
    let Some(number) = row.newest().map(|at| at.0 as u64) else { return 0 };
    let whole = generation(&key(0, b"", b""), number).delta;
    assert_eq!(*row, (store.view)(&whole), "clause 2: a row mutation is applied whole or not yet");
    number
}

/// Clause 2: readers beside a writer see whole mutations, never older than those answered.
fn readers_never_see_half_a_mutation(store: &Tested) {
    let keys: Vec<RowKey> =
        (0..8u8).map(|n| key(SIMPLE[usize::from(n % 4)], b"hot", &[n])).collect();
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while answered.load(Ordering::Acquire) < GENERATIONS {
                    let least = answered.load(Ordering::Acquire);
                    for row in read(store, &keys) {
                        let seen = whole_generation(store, &row);
                        assert!(seen >= least, "clause 2: {least} was answered, {seen} is seen");
                    }
                }
            });
        }
        // The readers end only when the writer gets there: it must not panic before.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=GENERATIONS {
                let batch: Vec<_> = keys.iter().map(|key| generation(key, number)).collect();
                apply(store, &batch);
                answered.store(number, Ordering::Release);
            }
        }));
        answered.store(GENERATIONS, Ordering::Release);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    for row in read(store, &keys) {
        assert_eq!(whole_generation(store, &row), GENERATIONS, "clause 2: the last one stays");
    }
}

/// Clause 3: present, absent and repeated keys, in the order asked; tombstones as far as they are shown.
fn reads_answer_every_key_in_order(store: &Tested) {
    let [a, b, absent] = [b"a", b"b", b"c"].map(|partition| key(1, partition, b""));
    apply(
        store,
        &[
            RowMutation { key: a.clone(), delta: put(1, 1, b"a") },
            RowMutation { key: b.clone(), delta: delete_row(4) },
            RowMutation { key: b.clone(), delta: delete_cell(2, 6) },
        ],
    );
    let mut dead = delete_row(4);
    dead.merge(&delete_cell(2, 6));
    let expected =
        [dead.clone(), Row::default(), put(1, 1, b"a"), dead].map(|row| (store.view)(&row));
    assert_eq!(read(store, &[b.clone(), absent, a, b]), expected, "clause 3: every key, in order");
    assert!(read(store, &[]).is_empty(), "clause 3: no keys, no rows");
    apply(store, &[]);
}

/// Clause 3: keys that share bytes name different rows.
fn awkward_keys_are_kept_apart(store: &Tested) {
    let keys = awkward_keys();
    let mut expected = Expected::default();
    for (index, key) in keys.iter().enumerate() {
        let delta = put(1, 1, &index.to_be_bytes());
        let mutation = RowMutation { key: key.clone(), delta };
        apply(store, std::slice::from_ref(&mutation));
        expected.apply(&[mutation]);
    }
    assert_eq!(expected.0.len(), keys.len(), "the suite's keys differ");
    expected.check(store, "clause 3: keys");
}

/// Clause 3: values from nothing to a mebibyte, and a null beside an empty value.
fn large_and_empty_values_are_kept(store: &Tested) {
    let large: Vec<u8> = (0..LARGE_VALUE_BYTES).map(|n| (n * 7 / 3) as u8).collect();
    let key = key(1, b"values", b"");
    let mut expected = Expected::default();
    let deltas =
        [put(1, 1, b""), put(2, 1, &large), put(3, 1, &[0; 3]), delete_cell(4, 1), insert(1)];
    for delta in deltas {
        let mutation = RowMutation { key: key.clone(), delta };
        apply(store, std::slice::from_ref(&mutation));
        expected.apply(&[mutation]);
        expected.check(store, "clause 3: values");
    }
}

/// Clause 5: what is not named is taken once the named are left out.
fn a_refusal_names_what_is_refused_and_nothing_else(store: &Tested, refused: &RowMutation) {
    let good = |n: u8| RowMutation { key: key(1, b"good", &[n]), delta: put(1, 1, &[n]) };
    let mut batch: Vec<RowMutation> =
        (0..8).flat_map(|n| [good(n), refused.clone()]).take(15).collect();
    let mut expected = Expected::default();
    expected.apply(&(0..8).map(good).collect::<Vec<_>>());
    for _ in 0..MAX_TRIES {
        match store.store.apply(&batch) {
            Ok(()) => break,
            Err(StoreError::Transient { .. } | StoreError::Overloaded { .. }) => {}
            Err(StoreError::Refused(named)) => {
                assert!(!named.is_empty(), "clause 5: a refusal names something");
                let named: Vec<usize> = named.iter().map(|refusal| refusal.index).collect();
                for index in &named {
                    assert_eq!(batch[*index], *refused, "clause 5: only what is refused is named");
                }
                let left = batch.iter().enumerate().filter(|(index, _)| !named.contains(index));
                batch = left.map(|(_, mutation)| mutation.clone()).collect();
            }
        }
    }
    assert_eq!(batch.len(), 8, "clause 5: all that is refused is named, the rest is taken");
    expected.check(store, "clause 5: what was beside a refused mutation");
}

/// Clause 4, as far as closing a store can show it (a loss of power needs more than this suite).
fn what_was_synced_survives(subject: &mut dyn Subject) {
    let mut draw = Draw::new(4);
    let mut keys = awkward_keys();
    keys.truncate(20);
    let mut expected = Expected::default();
    let mut tested = Tested { store: subject.fresh(), view: subject.view() };
    for _ in 0..3 {
        let batch = mutations(&mut draw, &keys, 100);
        apply(&tested, &batch);
        expected.apply(&batch);
        until_done(|| tested.store.sync());
        until_done(|| tested.store.sync());
        match subject.reopen(tested.store) {
            Some(store) => tested = Tested { store, view: tested.view },
            None => return,
        }
        expected.check(&tested, "clause 4: what was synced survives");
    }
}
