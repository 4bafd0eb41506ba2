//! Two regions. Pairs of rows are at home in the first and read in both; notes are at home nowhere: they are written
//! and deleted blindly in both regions, a few rows by everybody.

mod judge;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use handfast_client::{ArrivedFrom, Client, Key, Row, Transaction};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::{Detail, Done, End, Figure, Later, Task, Workload};
use handfast_checker::Value;
use judge::{Read, Write, ends_are_wrong, reads_are_wrong};

const NAMES: [&str; 2] = ["eu", "us"];
/// Where the pairs are written.
const HOME: usize = 0;
const PAIRS: i64 = 5;
const NOTES: i64 = 5;
/// What was found where a row has no value: nobody writes it.
const NO_VALUE: i64 = -1;
/// Clients that wait at the same time until something has arrived: the others go on while regions are cut off.
const WAITING_AT_ONCE: i64 = 2;
/// How long it may take, after the last restart, until everything has arrived.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    /// One row of a pair.
    Left(i64),
    /// The other, in another table and another partition.
    Right(i64),
    /// A note.
    Note(i64),
}

impl Spot {
    fn row(self) -> (&'static str, Key) {
        match self {
            Self::Left(pair) => ("left", pair.into()),
            Self::Right(pair) => ("right", format!("pair {pair}").into()),
            Self::Note(note) => ("notes", note.into()),
        }
    }
}

/// What is asked for in a region.
#[derive(Clone, Debug)]
pub(crate) struct InRegion {
    region: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Write(Vec<(Spot, Option<i64>)>),
    /// Rows are read, when everything has arrived that committed in the other region until then.
    Read(Vec<Spot>, Option<i64>),
}

pub(crate) struct Regions {
    namespace: String,
    written: AtomicI64,
    /// The latest commit of each region that its client was told of.
    newest: [AtomicI64; 2],
    /// Reads that wait until something has arrived.
    waiting: AtomicI64,
    /// What had not arrived at the end.
    late: Mutex<Vec<String>>,
}

impl Regions {
    pub(crate) fn new(namespace: String) -> Self {
        let (written, waiting) = (AtomicI64::new(0), AtomicI64::new(0));
        let (newest, late) = (Default::default(), Mutex::default());
        Self { namespace, written, newest, waiting, late }
    }

    fn late(&self) -> MutexGuard<'_, Vec<String>> {
        self.late.lock().expect("no holder of this lock panics")
    }

    fn value(&self) -> i64 {
        1 + self.written.fetch_add(1, Ordering::Relaxed)
    }

    /// One or two pairs.
    fn pairs(rng: &mut StdRng) -> Vec<Spot> {
        let first = rng.random_range(0..PAIRS);
        let mut pairs = vec![first, (first + rng.random_range(0..PAIRS)) % PAIRS];
        pairs.dedup();
        pairs.into_iter().flat_map(|pair| [Spot::Left(pair), Spot::Right(pair)]).collect()
    }

    /// One to three notes.
    fn notes(rng: &mut StdRng) -> Vec<Spot> {
        let first = rng.random_range(0..NOTES);
        (first..first + rng.random_range(1..=3)).map(|note| Spot::Note(note % NOTES)).collect()
    }

    fn write_in(&self, region: usize, spots: Vec<(Spot, Option<i64>)>) -> Task {
        let mut transaction = Transaction::new(&self.namespace);
        for (spot, value) in &spots {
            let (table, key) = spot.row();
            transaction = match value {
                Some(value) => transaction.put(table, key, ("value", *value)),
                None => transaction.delete_row(table, key),
            };
        }
        let detail = Detail::InRegion(InRegion { region, what: What::Write(spots) });
        Task { f: "write", detail, rows: Vec::new(), transaction: Some(transaction) }
    }

    fn next_in(&self, region: usize, rng: &mut StdRng) -> Task {
        match rng.random_range(0..6) {
            0 | 1 if region == HOME => {
                let value = self.value();
                let pairs = Self::pairs(rng).into_iter();
                self.write_in(HOME, pairs.map(|spot| (spot, Some(value))).collect())
            }
            0..=3 => {
                let value = self.value();
                let notes = Self::notes(rng).into_iter();
                let notes = notes.map(|spot| (spot, (rng.random_range(0..3) > 0).then_some(value)));
                let notes = notes.collect();
                self.write_in(region, notes)
            }
            _ => {
                let spots = [Self::pairs(rng), Self::notes(rng)].concat();
                let newest = self.newest[other(region)].load(Ordering::Relaxed);
                let wants = rng.random_range(0..4) == 0 && newest > 0;
                let waits = wants && self.waiting.load(Ordering::Relaxed) < WAITING_AT_ONCE;
                if waits {
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                }
                read(region, spots, waits.then_some(newest))
            }
        }
    }
}

fn read(region: usize, spots: Vec<Spot>, not_before: Option<i64>) -> Task {
    let rows = spots.iter().map(|spot| spot.row()).collect();
    let detail = Detail::InRegion(InRegion { region, what: What::Read(spots, not_before) });
    Task { f: "read", detail, rows, transaction: None }
}

fn all() -> Vec<Spot> {
    let pairs = (0..PAIRS).flat_map(|pair| [Spot::Left(pair), Spot::Right(pair)]);
    pairs.chain((0..NOTES).map(Spot::Note)).collect()
}

const fn other(region: usize) -> usize {
    1 - region
}

/// Everything of the other region up to this time.
fn since(region: usize, watermark_us: i64) -> ArrivedFrom {
    ArrivedFrom { region: NAMES[other(region)].to_owned(), watermark_us }
}

fn found(row: &Row) -> Option<i64> {
    let value = row.integer("value");
    if row.exists { Some(value.unwrap_or(NO_VALUE)) } else { value }
}

fn in_region(done: &Done) -> Option<&InRegion> {
    match &done.task.detail {
        Detail::InRegion(it) => Some(it),
        _ => None,
    }
}

fn write_of(done: &Done) -> Option<Write> {
    let InRegion { region, what: What::Write(spots) } = in_region(done)? else { return None };
    let End::Committed(at) = done.end else { return None };
    let times = (done.invoked, done.completed);
    Some(Write { region: *region, at, times, spots: spots.clone() })
}

fn read_of(done: &Done) -> Option<Read> {
    let InRegion { region, what: What::Read(spots, not_before) } = in_region(done)? else {
        return None;
    };
    if !done.has_happened() {
        return None;
    }
    let told = done.arrived.iter().find(|it| it.region == NAMES[other(*region)]);
    // Without a watermark it had to show nothing of the other region, which it cannot for long.
    let watermark = told.map_or(0, |it| it.watermark_us);
    let spots = spots.iter().copied().zip(done.rows.iter().map(found)).collect();
    let times = (done.invoked, done.completed);
    Some(Read { region: *region, times, spots, watermark, not_before: *not_before })
}

/// The latest commit of a region.
fn newest(ran: &[Done], region: usize) -> Option<i64> {
    let writes = ran.iter().filter_map(write_of).filter(|write| write.region == region);
    writes.map(|write| write.at).max()
}

impl Workload for Regions {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &'static str {
        "[[table]]\ncql = 'CREATE TABLE left (id bigint PRIMARY KEY, value bigint)'\n[[table]]\n\
         cql = 'CREATE TABLE right (id text PRIMARY KEY, value bigint)'\n[[table]]\n\
         cql = 'CREATE TABLE notes (id bigint PRIMARY KEY, value bigint)'\n[[table]]\n\
         cql = 'CREATE TABLE arrived (region text PRIMARY KEY, watermark bigint, term bigint, \
         transactions bigint)'\n[region]\nhome = 'eu'\ntables.notes = 'any'\ntable = 'arrived'"
    }

    fn regions(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn region(&self, task: &Task) -> usize {
        match &task.detail {
            Detail::InRegion(it) => it.region,
            _ => HOME,
        }
    }

    fn not_before(&self, task: &Task) -> Option<Vec<ArrivedFrom>> {
        match &task.detail {
            Detail::InRegion(InRegion { region, what: What::Read(_, not_before) }) => {
                Some(not_before.map(|at| since(*region, at)).into_iter().collect())
            }
            _ => None,
        }
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        self.next_in(rng.random_range(0..NAMES.len()), rng)
    }

    /// Of three clients one works in both regions and one in each: so somebody works in one of them while the
    /// other answers nobody.
    fn next_of(&self, lane: u16, rng: &mut StdRng) -> Task {
        match lane % 3 {
            0 => self.next(rng),
            region => self.next_in(usize::from(region) - 1, rng),
        }
    }

    fn over(&self, done: &Done) {
        if let Some(write) = write_of(done) {
            self.newest[write.region].fetch_max(write.at, Ordering::Relaxed);
        }
        if let Some(InRegion { what: What::Read(_, Some(_)), .. }) = in_region(done) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything has arrived everywhere.
    fn settle<'a>(
        &'a self,
        clients: &'a [Client],
        ran: &'a [Done],
    ) -> Later<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let end = Instant::now() + ARRIVES_WITHIN;
            for (region, client) in clients.iter().enumerate() {
                let Some(newest) = newest(ran, other(region)) else { continue };
                let not_before = [since(region, newest)];
                let one = || [Spot::Note(0).row()];
                while let Err(error) =
                    client.read_arrived(&self.namespace, one(), &not_before).await
                {
                    if Instant::now() > end {
                        let (here, there) = (NAMES[region], NAMES[other(region)]);
                        let within = ARRIVES_WITHIN.as_secs();
                        self.late().push(format!(
                            "what committed in {there} at {newest} has not arrived in {here} within {within} s: {error}"
                        ));
                        break;
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
            Ok(())
        })
    }

    fn last(&self, ran: &[Done]) -> Vec<Task> {
        // What is late is told already: then at least what is there is read.
        let waits = self.late().is_empty();
        let not_before = |region| newest(ran, other(region)).filter(|_| waits);
        (0..NAMES.len()).map(|region| read(region, all(), not_before(region))).collect()
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        let Detail::InRegion(InRegion { region, what }) = &task.detail else { return Value::Nil };
        let named = |spot: &Spot| Value::Text(format!("{spot:?}"));
        let shown = match what {
            What::Write(spots) => {
                spots.iter().map(|(spot, value)| (named(spot), (*value).into())).collect()
            }
            What::Read(spots, _) => {
                let found = |number| rows.and_then(|rows: &[Row]| found(rows.get(number)?));
                let spots = spots.iter().enumerate();
                spots.map(|(number, spot)| (named(spot), found(number).into())).collect()
            }
        };
        vec![Value::Text(NAMES[*region].to_owned()), Value::Map(shown)].into()
    }

    fn figures(&self, ran: &[Done]) -> Vec<Figure> {
        let writes: Vec<Write> = ran.iter().filter_map(write_of).collect();
        let reads: Vec<Read> = ran.iter().filter_map(read_of).collect();
        let notes = |region| {
            let is_note = |(spot, _): &(Spot, _)| matches!(spot, Spot::Note(_));
            let here = writes.iter().filter(move |write| write.region == region);
            here.filter(|write| write.spots.iter().any(is_note)).count()
        };
        let deleted = |write: &&Write| write.spots.iter().any(|(_, value)| value.is_none());
        let showed = |read: &&Read| read.region != HOME && read.watermark > 0;
        let waited = |read: &&Read| read.not_before.is_some();
        vec![
            ("writes of notes in eu", notes(0)),
            ("in us", notes(1)),
            ("deletions", writes.iter().filter(deleted).count()),
            ("reads of what had arrived in us", reads.iter().filter(showed).count()),
            ("reads that waited", reads.iter().filter(waited).count()),
        ]
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let mut wrong = self.late().clone();
        let writes: Vec<Write> = ran.iter().filter_map(write_of).collect();
        let reads: Vec<Read> = ran.iter().chain(last).filter_map(read_of).collect();
        let last: Vec<Read> = last.iter().filter_map(read_of).collect();
        wrong.extend(ends_are_wrong(&writes, &last, &all()));
        wrong.extend(reads_are_wrong(&writes, &reads));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_client::{RowVersion, Value as Cell};
    use rand::SeedableRng as _;

    fn row(value: Option<i64>) -> Row {
        let columns = value.map(|it| ("value".to_owned(), Cell::from(it))).into_iter().collect();
        Row { exists: value.is_some(), version: RowVersion([0; 16]), columns }
    }

    fn done(task: Task, times: (u64, u64), end: End) -> Done {
        let (transaction, (invoked, completed)) = (task.transaction.clone(), times);
        let (rows, arrived) = (Vec::new(), Vec::new());
        Done { task, invoked, completed, rows, arrived, transaction, end }
    }

    /// A pair and a note in eu, and what both regions show at the end.
    fn wrong(in_eu: [Option<i64>; 3], in_us: [Option<i64>; 3], watermark_us: i64) -> String {
        let workload = Regions::new("jepsen".to_owned());
        let spots = vec![(Spot::Left(0), Some(1)), (Spot::Right(0), Some(1))];
        let pair = done(workload.write_in(HOME, spots), (0, 10), End::Committed(8));
        let note = workload.write_in(HOME, vec![(Spot::Note(0), Some(2))]);
        let note = done(note, (11, 20), End::Committed(16));
        let failed = workload.write_in(1, vec![(Spot::Note(0), Some(3))]);
        let failed = done(failed, (11, 20), End::Failed);
        let ran = [pair, note, failed];
        let mut last = workload.last(&ran).into_iter();
        let mut end = |values: [Option<i64>; 3], arrived| {
            let mut end = done(last.next().expect("two"), (90, 91), End::Read);
            end.rows = all().iter().map(|_| row(None)).collect();
            end.rows[0] = row(values[0]);
            end.rows[1] = row(values[1]);
            end.rows[2 * PAIRS as usize] = row(values[2]);
            end.arrived = vec![arrived];
            end
        };
        let last = [end(in_eu, since(0, 0)), end(in_us, since(1, watermark_us))];
        workload.check(&ran, &last).join("; ")
    }

    #[test]
    fn what_is_told_becomes_a_verdict() {
        let good = [Some(1), Some(1), Some(2)];
        assert_eq!(wrong(good, good, 16), "");
        let counted = Regions::new("jepsen".to_owned()).figures(&[]);
        assert!(counted.iter().all(|(_, count)| *count == 0), "{counted:?}");
        assert!(wrong(good, [Some(1), None, Some(2)], 16).contains("torn"));
        assert!(wrong(good, [Some(1), Some(1), None], 16).contains("the regions differ"));
        assert!(wrong(good, [Some(1), Some(1), Some(3)], 16).contains("nobody had committed"));
        assert!(wrong(good, good, 15).contains("it was to wait for 16"));
        assert!(wrong([Some(1), Some(1), None], good, 16).contains("what committed at 16"));
        let none = Regions::new("jepsen".to_owned()).check(&[], &[]).join("; ");
        assert!(none.contains("was not read"), "{none}");
    }

    #[test]
    fn every_kind_of_task_is_asked_for_where_it_may_be() {
        let workload = Regions::new("jepsen".to_owned());
        let mut rng = StdRng::seed_from_u64(1);
        let tasks: Vec<Task> = (0..200).map(|_| workload.next(&mut rng)).collect();
        let (mut deleted, mut reads) = ([0; 2], [0; 2]);
        for task in &tasks {
            let Detail::InRegion(InRegion { region, what }) = &task.detail else { panic!() };
            match what {
                What::Write(spots) => {
                    let is_note = |(spot, _): &(Spot, _)| matches!(spot, Spot::Note(_));
                    assert!(*region == HOME || spots.iter().all(is_note), "{task:?}");
                    deleted[*region] += spots.iter().filter(|(_, value)| value.is_none()).count();
                }
                What::Read(..) => reads[*region] += 1,
            }
        }
        assert!(deleted.iter().chain(&reads).all(|count| *count > 10), "{deleted:?} {reads:?}");
    }
}
