//! What is done later: each key gets one thing to do, once, which adds to its row; some are scheduled together
//! with an order that is written at once, some are cancelled or scheduled anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use handfast_client::{Due, Key, Row, Transaction, Uuid};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Change, Detail, Done, End, Scheduled, Task, Workload};
use handfast_checker::Value;

/// When something is due, milliseconds after it is scheduled.
const DUE_MS: std::ops::Range<u64> = 50..3_000;
/// Keys of one read.
const KEYS_PER_READ: usize = 8;
/// Keys of one read at the end.
const KEYS_PER_LAST_READ: usize = 200;
/// Rows of one key.
const ROWS: usize = 3;
/// What is read and changed was scheduled lately: one of so many keys, by turns.
const LATELY: [usize; 2] = [40, 1_000];

pub(crate) struct Delayed {
    namespace: String,
    /// How far a server's clock may be ahead.
    ahead: Duration,
    /// The transaction that schedules, by key.
    keys: Mutex<Vec<Uuid>>,
    /// When the history began, microseconds since 1970.
    began_us: AtomicI64,
}

impl Delayed {
    pub(crate) fn new(namespace: String, ahead: Duration) -> Self {
        let (keys, began_us) = (Mutex::default(), AtomicI64::new(0));
        Self { namespace, ahead, keys, began_us }
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Uuid>> {
        self.keys.lock().expect("no holder of this lock panics")
    }

    fn schedule(&self, rng: &mut StdRng) -> Task {
        let (after_ms, with_order) = (rng.random_range(DUE_MS), rng.random_range(0..3) == 0);
        let mut transaction = Transaction::new(&self.namespace);
        let id = transaction.id();
        let mut keys = self.keys();
        let key = number(keys.len());
        keys.push(id);
        drop(keys);
        if with_order {
            transaction = transaction.insert("orders", order(key), ("note", "here"));
        }
        let then = Transaction::new(&self.namespace).add("counts", key, ("n", 1_i64));
        let transaction = transaction.later(Due::after(Duration::from_millis(after_ms)), then);
        let scheduled = Scheduled { key, due_ms: drawn_at_ms(id) + after_ms, with_order };
        let detail = Detail::Schedule(scheduled);
        Task { f: "schedule", detail, rows: Vec::new(), transaction: Some(transaction) }
    }

    fn change(&self, key: usize, id: Uuid, rng: &mut StdRng) -> Task {
        let transaction = Transaction::new(&self.namespace);
        let due_ms = match rng.random_range(0..2) {
            0 => None,
            _ => Some(drawn_at_ms(transaction.id()) + rng.random_range(DUE_MS)),
        };
        let f = if due_ms.is_some() { "reschedule" } else { "cancel" };
        let detail = Detail::Change(Change { key: number(key), name: format!("{id}/0"), due_ms });
        Task { f, detail, rows: Vec::new(), transaction: Some(transaction) }
    }

    /// By how much something was done before it was due, if that is certain.
    fn early_ms(&self, due_ms: u64, read_ns: u64) -> Option<i64> {
        let read_us = self.began_us.load(Ordering::Relaxed) + clamped(read_ns / 1_000);
        let latest_us = read_us + clamped(self.ahead.as_micros());
        let early_us = clamped(due_ms).saturating_mul(1_000) - latest_us;
        (early_us > 0).then_some((early_us + 999) / 1_000)
    }

    /// What is wrong with what a read found of a key.
    fn found_wrong(&self, known: Option<&Known<'_>>, rows: &[Row], read: &Done) -> Option<String> {
        let [count, later, order] = rows else { return Some("not as many rows".to_owned()) };
        let (n, pending) = (count.integer("n").unwrap_or(0), later.exists);
        let Some(known) = known.filter(|it| it.by.invoked < read.completed) else {
            let touched = n != 0 || pending || order.exists;
            return touched.then(|| "touched, and nothing was scheduled".to_owned());
        };
        let is_there = n != 0 || pending;
        if n > 1 {
            return Some(format!("done {n} times"));
        }
        if n != 0 && pending {
            return Some("done, and pending still".to_owned());
        }
        if n != 0 && known.cancelled.is_some() {
            return Some("done, and it was cancelled".to_owned());
        }
        if pending && known.cancelled.is_some_and(|it| it.completed < read.invoked) {
            return Some("pending, and it had been cancelled".to_owned());
        }
        if n != 0
            && let Some(early_ms) = self.early_ms(known.due_ms, read.completed)
        {
            return Some(format!("done, {early_ms} ms early"));
        }
        if is_there && known.what.with_order && !order.exists {
            return Some("scheduled, and not what was written with it".to_owned());
        }
        let is_scheduled = order.exists || known.by.completed < read.invoked;
        let may_be_cancelled = known.cancelled.is_some_and(|it| it.invoked < read.completed);
        (is_scheduled && !is_there && !may_be_cancelled)
            .then(|| "neither pending nor done: it is lost".to_owned())
    }
}

fn number(key: usize) -> i64 {
    key as i64
}

fn clamped(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX / 2)
}

/// The time in an id, milliseconds since 1970: what is due after a time counts from it.
fn drawn_at_ms(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

fn order(key: i64) -> String {
    format!("order {key}")
}

/// The row of what is pending.
fn pending(id: Uuid) -> (&'static str, Key) {
    ("later", (id, 0_i32).into())
}

/// A read of keys from one on.
fn read(from: usize, ids: &[Uuid]) -> Task {
    let keys = (from..from + ids.len()).map(number);
    let rows = keys.clone().zip(ids).flat_map(|(key, id)| {
        [("counts", key.into()), pending(*id), ("orders", order(key).into())]
    });
    let (rows, detail) = (rows.collect(), Detail::Elements(keys.collect()));
    Task { f: "read", detail, rows, transaction: None }
}

/// What is certain of a key for which something was scheduled, once all is over.
struct Known<'a> {
    what: Scheduled,
    /// What scheduled it.
    by: &'a Done,
    /// When it was due in the end. What was done was not scheduled anew after that, so this is when it was due
    /// then.
    due_ms: u64,
    /// What cancelled it.
    cancelled: Option<&'a Done>,
}

/// What is certain of all keys; what was changed that could not be is told.
fn known<'a>(ran: &'a [Done], wrong: &mut Vec<String>) -> BTreeMap<i64, Known<'a>> {
    let mut known = BTreeMap::new();
    let mut changes: Vec<(i64, &Change, &Done)> = Vec::new();
    for done in ran {
        match (&done.task.detail, done.end) {
            (Detail::Schedule(what), End::Committed(_)) => {
                let (what, due_ms) = (*what, what.due_ms);
                known.insert(what.key, Known { what, by: done, due_ms, cancelled: None });
            }
            (Detail::Change(change), End::Committed(at)) => changes.push((at, change, done)),
            _ => {}
        }
    }
    changes.sort_unstable_by_key(|(at, ..)| *at);
    for (_, change, done) in changes {
        let key = change.key;
        let Some(known) = known.get_mut(&key) else {
            wrong.push(format!("key {key} was changed, and nothing was scheduled"));
            continue;
        };
        if known.cancelled.is_some() {
            wrong.push(format!("key {key} was changed after it was cancelled"));
        }
        match change.due_ms {
            Some(due_ms) => known.due_ms = due_ms,
            None => known.cancelled = Some(done),
        }
    }
    known
}

impl Workload for Delayed {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE counts (id bigint PRIMARY KEY, n bigint)'\n[[table]]\n\
         cql = 'CREATE TABLE orders (id text PRIMARY KEY, note text)'\n[[table]]\n\
         cql = 'CREATE TABLE later (id uuid, place int, due timestamp, body blob, problem text, \
         PRIMARY KEY ((id, place)))'\n[delay]\ntable = 'later'"
    }

    fn begins(&self, wall_us: i64) {
        self.began_us.store(wall_us, Ordering::Relaxed);
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        let keys = self.keys();
        let lately = LATELY[rng.random_range(0..LATELY.len())].min(keys.len());
        let what = rng.random_range(0..5);
        if lately == 0 || what < 2 {
            drop(keys);
            return self.schedule(rng);
        }
        let key = keys.len() - 1 - rng.random_range(0..lately);
        if what == 2 {
            let id = keys[key];
            drop(keys);
            return self.change(key, id, rng);
        }
        read(key, &keys[key..(key + KEYS_PER_READ).min(keys.len())])
    }

    fn passing(&self, ran: &[Done]) -> Vec<(&'static str, Key)> {
        let scheduled = ran.iter().filter(|done| matches!(done.task.detail, Detail::Schedule(_)));
        let scheduled = scheduled.filter(|done| done.has_committed());
        scheduled.filter_map(|done| Some(pending(done.transaction.as_ref()?.id()))).collect()
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        let keys = self.keys();
        let some = keys.chunks(KEYS_PER_LAST_READ).enumerate();
        some.map(|(chunk, ids)| read(chunk * KEYS_PER_LAST_READ, ids)).collect()
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        match (&task.detail, rows) {
            (Detail::Schedule(Scheduled { key, due_ms, .. }), _) => {
                vec![(*key).into(), clamped(*due_ms).into()].into()
            }
            (Detail::Change(Change { key, due_ms, .. }), _) => {
                vec![(*key).into(), due_ms.map(clamped).into()].into()
            }
            (Detail::Elements(keys), Some(rows)) => {
                let shown = keys.iter().zip(rows.chunks(ROWS)).map(|(key, rows)| {
                    let pending = Value::Bool(rows[1].exists);
                    vec![(*key).into(), rows[0].integer("n").into(), pending].into()
                });
                Value::List(shown.collect())
            }
            _ => Value::Nil,
        }
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let mut wrong = Vec::new();
        let known = known(ran, &mut wrong);
        let mut read_last = 0;
        let reads = ran.iter().map(|done| (done, false)).chain(last.iter().map(|it| (it, true)));
        for (read, is_last) in reads.filter(|(done, _)| done.has_happened()) {
            let Detail::Elements(keys) = &read.task.detail else { continue };
            let when = read.completed;
            for (key, rows) in keys.iter().zip(read.rows.chunks(ROWS)) {
                let what = self.found_wrong(known.get(key), rows, read);
                wrong.extend(
                    what.map(|what| format!("a read at {when} ns found key {key}: {what}")),
                );
                if is_last && rows[1].exists {
                    let problem = rows[1].text("problem").unwrap_or("it is late");
                    wrong.push(format!("key {key} is pending at the end: {problem}"));
                }
            }
            read_last += if is_last { read.rows.len() / ROWS } else { 0 };
        }
        if read_last < known.len() {
            wrong.push(format!("of {} keys {read_last} were read at the end", known.len()));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_client::{RowVersion, Value as Cell};
    use rand::SeedableRng as _;

    /// Milliseconds of a run, as the history has them.
    const MS: u64 = 1_000_000;

    fn row(exists: bool, n: Option<i64>) -> Row {
        let columns = n.map(|n| ("n".to_owned(), Cell::from(n))).into_iter().collect();
        Row { exists, version: RowVersion([0; 16]), columns }
    }

    fn done(task: Task, (from, to): (u64, u64), end: End) -> Done {
        let transaction = task.transaction.clone();
        Done {
            task,
            invoked: from * MS,
            completed: to * MS,
            rows: Vec::new(),
            arrived: vec![],
            transaction,
            end,
        }
    }

    /// A history of one key, due 1,000 ms after the run began: scheduled at 1 ms, and changed.
    struct Story {
        workload: Delayed,
        ran: Vec<Done>,
    }

    impl Story {
        fn new(end: End, with_order: bool) -> Self {
            let workload = Delayed::new("jepsen".to_owned(), Duration::ZERO);
            let mut task = workload.schedule(&mut StdRng::seed_from_u64(1));
            let what = Scheduled { key: 0, due_ms: 1_000, with_order };
            task.detail = Detail::Schedule(what);
            Self { workload, ran: vec![done(task, (1, 10), end)] }
        }

        fn changed(mut self, due_ms: Option<u64>, times: (u64, u64), end: End) -> Self {
            let id = self.workload.keys()[0];
            let mut task = self.workload.change(0, id, &mut StdRng::seed_from_u64(1));
            let Detail::Change(change) = &mut task.detail else { panic!("{task:?}") };
            change.due_ms = due_ms;
            self.ran.push(done(task, times, end));
            self
        }

        /// A read that found the key done so often, pending or not, with an order or not.
        fn read(&self, times: (u64, u64), n: i64, pending: bool, order: bool) -> Done {
            let count = row(n > 0, (n > 0).then_some(n));
            let mut read = done(self.workload.last(&[]).remove(0), times, End::Read);
            read.rows = vec![count, row(pending, None), row(order, None)];
            read
        }

        /// What is wrong, with these found at the end.
        fn wrong(&self, n: i64, pending: bool) -> String {
            let last = self.read((9_000, 9_001), n, pending, false);
            self.workload.check(&self.ran, &[last]).join("; ")
        }

        /// What is wrong with a read, if the key is done once in the end.
        fn wrong_read(mut self, times: (u64, u64), n: i64, pending: bool) -> String {
            self.ran.push(self.read(times, n, pending, false));
            self.wrong(1, false)
        }
    }

    fn story() -> Story {
        Story::new(End::Committed(5), false)
    }

    #[test]
    fn what_was_scheduled_is_done_once_in_the_end_and_what_was_not_never() {
        assert_eq!(story().wrong(1, false), "");
        assert!(story().wrong(2, false).contains("done 2 times"), "doubled");
        assert!(story().wrong(0, false).contains("lost"));
        assert!(story().wrong(0, true).contains("pending at the end"), "late");
        assert!(story().wrong(1, true).contains("pending still"), "half");
        let failed = Story::new(End::Failed, false);
        assert_eq!(failed.wrong(0, false), "");
        assert!(failed.wrong(1, false).contains("nothing was scheduled"), "aborted, and done");
        let not_read = story().workload.check(&story().ran, &[]).join("; ");
        assert!(not_read.contains("of 1 keys 0"), "{not_read}");
    }

    #[test]
    fn what_was_cancelled_is_never_done_and_what_could_not_be_is() {
        let cancelled = || story().changed(None, (20, 30), End::Committed(7));
        assert_eq!(cancelled().wrong(0, false), "");
        assert!(cancelled().wrong(1, false).contains("it was cancelled"), "cancelled, and done");
        assert!(cancelled().wrong(0, true).contains("had been cancelled"), "and pending");
        let twice = cancelled().changed(None, (40, 50), End::Committed(8));
        assert!(twice.wrong(0, false).contains("after it was cancelled"));
        let too_late = || story().changed(None, (1_020, 1_030), End::Failed);
        assert_eq!(too_late().wrong(1, false), "");
        assert!(too_late().wrong(0, false).contains("lost"));
        let of_nothing = Story::new(End::Failed, false).changed(None, (20, 30), End::Committed(7));
        assert!(of_nothing.wrong(0, false).contains("nothing was scheduled"));
    }

    #[test]
    fn nothing_is_done_before_it_is_due_by_the_clients_clock() {
        assert_eq!(story().wrong_read((990, 1_000), 1, false), "");
        assert_eq!(story().wrong_read((2_000, 2_001), 0, true), "", "late is not wrong");
        let early = story().wrong_read((900, 999), 1, false);
        assert!(early.contains("done, 1 ms early"), "{early}");
        let anew = |due_ms| story().changed(Some(due_ms), (20, 30), End::Committed(7));
        assert!(anew(2_000).wrong_read((1_500, 1_600), 1, false).contains("400 ms early"));
        assert_eq!(anew(100).wrong_read((200, 210), 1, false), "", "it was brought forward");
        // The history may have begun at any time, and the server's clock may be ahead.
        let mut skewed = story();
        skewed.workload.begins(-500_000);
        assert!(skewed.wrong(1, false).is_empty());
        skewed.ran.push(skewed.read((1_490, 1_499), 1, false, false));
        assert!(skewed.wrong(1, false).contains("1 ms early"));
        skewed.workload.ahead = Duration::from_millis(1);
        assert_eq!(skewed.wrong(1, false), "");
    }

    #[test]
    fn a_read_sees_all_of_it_pending_or_done_or_cancelled() {
        assert_eq!(story().wrong_read((5, 20), 0, false), "", "not certain yet");
        assert!(story().wrong_read((11, 20), 0, false).contains("lost"), "for a while");
        assert!(story().wrong_read((0, 0), 0, true).contains("nothing was scheduled"), "unasked");
        let cancelled = |times| {
            let mut story = story().changed(None, (20, 30), End::Committed(7));
            story.ran.push(story.read(times, 0, false, false));
            story.wrong(0, false)
        };
        assert_eq!(cancelled((22, 25)), "");
        assert!(cancelled((12, 15)).contains("lost"), "before the cancel was asked for");
        let with_order = |n, pending, order| {
            let story = Story::new(End::Committed(5), true);
            let last = story.read((9_000, 9_001), n, pending, order);
            let early = story.read((5, 8), n, pending, order);
            story.workload.check(&[story.ran[0].clone(), early], &[last]).join("; ")
        };
        assert!(with_order(0, false, true).contains("a read at 8000000 ns found key 0: neither"));
        assert!(with_order(1, false, false).contains("not what was written with it"));
        assert!(!with_order(0, true, true).contains("with it"));
    }

    #[test]
    fn what_is_due_counts_from_the_id() {
        let workload = Delayed::new("jepsen".to_owned(), Duration::ZERO);
        let mut rng = StdRng::seed_from_u64(1);
        let before = Uuid::now_v7();
        let tasks: Vec<Task> = (0..200).map(|_| workload.next(&mut rng)).collect();
        let of = |f| tasks.iter().filter(move |task| task.f == f).count();
        assert!(of("schedule") > 50 && of("read") > 50, "{tasks:?}");
        assert!(of("cancel") > 5 && of("reschedule") > 5, "{tasks:?}");
        let scheduled: Vec<Done> =
            tasks.into_iter().map(|task| done(task, (0, 1), End::Committed(1))).collect();
        let keys = workload.keys().len();
        assert_eq!(workload.passing(&scheduled).len(), keys);
        for it in &scheduled {
            let Detail::Schedule(what) = it.task.detail else { continue };
            let after = what.due_ms - drawn_at_ms(before);
            assert!((DUE_MS.start..DUE_MS.end + 1_000).contains(&after), "{after}");
        }
        let last: usize = workload.last(&[]).iter().map(|task| task.rows.len()).sum();
        assert_eq!(last, keys * ROWS);
    }
}
