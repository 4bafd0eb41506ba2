//! What must hold of two regions, as a function of what was written and read.
//!
//! One rule covers every read of a row, wherever it is written. A read in a region tells the watermark of the other.
//! Then of the writes of that row it sees
//!
//! * from the other region: all that committed at or before the watermark, and no other;
//! * from its own: all that had been acknowledged when it began, none that was asked for after it ended;
//!
//! and shows the one with the greatest commit timestamp. Whole transactions follow from it, for the parts of one
//! have one timestamp; halves of pairs are told by that name all the same.

use std::collections::BTreeMap;

use super::Spot;

/// Regions, by their numbers.
const REGIONS: usize = 2;

/// A transaction that committed.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Where.
    pub(super) region: usize,
    /// When, as it was told.
    pub(super) at: i64,
    /// When it was asked for, and when that was certain, nanoseconds.
    pub(super) times: (u64, u64),
    /// What its rows are then; `None` is none.
    pub(super) spots: Vec<(Spot, Option<i64>)>,
}

/// A read that was answered.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// Where.
    pub(super) region: usize,
    /// When it was asked for and answered, nanoseconds.
    pub(super) times: (u64, u64),
    /// What it found.
    pub(super) spots: Vec<(Spot, Option<i64>)>,
    /// The other region's watermark, as it was told.
    pub(super) watermark: i64,
    /// What that was to be at least.
    pub(super) not_before: Option<i64>,
}

/// What does not hold of any read.
pub(super) fn reads_are_wrong(writes: &[Write], reads: &[Read]) -> Vec<String> {
    let mut wrong = watermarks_are_wrong(reads);
    let rows: BTreeMap<Spot, RowWrites<'_>> = rows(writes);
    let none = RowWrites::default();
    let mut seen: BTreeMap<(usize, Spot), Certain> = BTreeMap::new();
    for read in reads {
        for (spot, found) in &read.spots {
            let row = rows.get(spot).unwrap_or(&none);
            let version = found.and_then(|value| row.by_value.get(&value)).map(|write| write.at);
            if let Some(at) = version {
                seen.entry((read.region, *spot)).or_default().add(read.times.1, at);
            }
        }
    }
    seen.values_mut().for_each(Certain::finish);
    for read in reads {
        let when = format!("a read at {} ns in region {}", read.times.1, read.region);
        for (spot, found) in &read.spots {
            let row = rows.get(spot).unwrap_or(&none);
            let seen = seen.get(&(read.region, *spot));
            let seen = seen.and_then(|seen| seen.before(read.times.0));
            let what = row.read_is_wrong(read, *found, seen);
            wrong.extend(what.map(|what| format!("{when} found {found:?} in {spot:?}: {what}")));
        }
        for (left, found) in &read.spots {
            let Spot::Left(pair) = *left else { continue };
            let right = read.spots.iter().find(|(spot, _)| *spot == Spot::Right(pair));
            if let Some((_, right)) = right
                && right != found
            {
                wrong.push(format!("{when} found pair {pair} torn: {found:?} and {right:?}"));
            }
        }
    }
    wrong
}

/// What of a region's watermark does not hold: it never goes back, from a read to one that begins after it, and a
/// read that waits for one gets it.
pub(super) fn watermarks_are_wrong(reads: &[Read]) -> Vec<String> {
    let mut wrong = Vec::new();
    for region in 0..REGIONS {
        let mut told = Certain::default();
        let here = || reads.iter().filter(|read| read.region == region);
        here().for_each(|read| told.add(read.times.1, read.watermark));
        told.finish();
        for read in here() {
            let Read { times, watermark, not_before, .. } = read;
            let when = format!("a read at {} ns in region {region} told {watermark}", times.1);
            if let Some(before) = told.before(times.0)
                && before > *watermark
            {
                wrong.push(format!("{when}: the watermark went back from {before}"));
            }
            if let Some(least) = not_before
                && least > watermark
            {
                wrong.push(format!("{when}: it was to wait for {least}"));
            }
        }
    }
    wrong
}

/// What does not hold of the last reads of both regions, when everything has arrived everywhere: they are equal, and
/// of each row the write with the greatest commit timestamp is left. Of several with the same, any.
pub(super) fn ends_are_wrong(writes: &[Write], last: &[Read], all: &[Spot]) -> Vec<String> {
    let rows = rows(writes);
    let mut wrong = Vec::new();
    for spot in all {
        let found = |region| {
            let mut here = last.iter().filter(|read| read.region == region);
            here.find_map(|read| read.spots.iter().find(|(of, _)| of == spot).map(|it| it.1))
        };
        let [Some(first), Some(second)] = [found(0), found(1)] else {
            wrong.push(format!("{spot:?} was not read in both regions at the end"));
            continue;
        };
        if first != second {
            wrong.push(format!("the regions differ: {spot:?} is {first:?} and {second:?}"));
        }
        let values = rows.get(spot).map(RowWrites::newest).unwrap_or_else(|| vec![None]);
        for (region, found) in [first, second].iter().enumerate() {
            if !values.contains(found) {
                wrong.push(format!(
                    "{spot:?} is {found:?} in region {region} at the end, and was last written as {values:?}"
                ));
            }
        }
    }
    wrong
}

/// Everything that was written to one row.
#[derive(Default)]
struct RowWrites<'a> {
    /// What it was written as; each value is written once.
    by_value: BTreeMap<i64, &'a Write>,
    deleted: Vec<&'a Write>,
    /// Commit timestamps of each region's writes, sorted.
    at: [Vec<i64>; REGIONS],
    /// What is certain in each region once its own writes are acknowledged.
    acknowledged: [Certain; REGIONS],
}

fn rows(writes: &[Write]) -> BTreeMap<Spot, RowWrites<'_>> {
    let mut rows: BTreeMap<Spot, RowWrites<'_>> = BTreeMap::new();
    for write in writes {
        for (spot, value) in &write.spots {
            let row = rows.entry(*spot).or_default();
            match value {
                Some(value) => {
                    row.by_value.insert(*value, write);
                }
                None => row.deleted.push(write),
            }
            row.at[write.region].push(write.at);
            row.acknowledged[write.region].add(write.times.1, write.at);
        }
    }
    for row in rows.values_mut() {
        row.at.iter_mut().for_each(|at| at.sort_unstable());
        row.acknowledged.iter_mut().for_each(Certain::finish);
    }
    rows
}

impl RowWrites<'_> {
    /// Whether a read may see a write.
    fn may_see(read: &Read, write: &Write) -> bool {
        if write.region == read.region {
            write.times.0 < read.times.1
        } else {
            write.at <= read.watermark
        }
    }

    /// The commit timestamp that a read must see at least; `None` if it may see nothing.
    fn least(&self, read: &Read, seen: Option<i64>) -> Option<i64> {
        let own = self.acknowledged[read.region].before(read.times.0);
        let of_others = self.at.iter().enumerate().filter(|(region, _)| *region != read.region);
        let arrived = of_others.filter_map(|(_, at)| {
            let count = at.partition_point(|at| *at <= read.watermark);
            count.checked_sub(1).map(|last| at[last])
        });
        own.into_iter().chain(arrived).chain(seen).max()
    }

    fn read_is_wrong(&self, read: &Read, found: Option<i64>, seen: Option<i64>) -> Option<String> {
        let least = self.least(read, seen);
        let watermark = read.watermark;
        let Some(value) = found else {
            let is_deleted = |it: &&Write| Self::may_see(read, it) && Some(it.at) >= least;
            let holds = least.is_none() || self.deleted.iter().copied().any(|it| is_deleted(&it));
            let least = least.unwrap_or_default();
            return (!holds).then(|| {
                format!("what committed at {least} is missing, at watermark {watermark}")
            });
        };
        let Some(write) = self.by_value.get(&value) else {
            return Some("nobody had committed that".to_owned());
        };
        let (from, at) = (write.region, write.at);
        if !Self::may_see(read, write) {
            return Some(format!(
                "it committed in region {from} at {at}, and is not there yet at watermark {watermark}"
            ));
        }
        let least = least.filter(|least| at < *least)?;
        Some(format!(
            "it committed in region {from} at {at}; what committed at {least} is missing, at watermark {watermark}"
        ))
    }

    /// What the write with the greatest commit timestamp left.
    fn newest(&self) -> Vec<Option<i64>> {
        let newest = self.at.iter().flatten().max().copied();
        let written = self.by_value.iter().map(|(value, write)| (Some(*value), write.at));
        let all = written.chain(self.deleted.iter().map(|write| (None, write.at)));
        all.filter(|(_, at)| Some(*at) == newest).map(|(value, _)| value).collect()
    }
}

/// What is certain from some time on: a least that only rises.
#[derive(Clone, Debug, Default)]
struct Certain(Vec<(u64, i64)>);

impl Certain {
    fn add(&mut self, from: u64, least: i64) {
        self.0.push((from, least));
    }

    /// Nothing is added after this.
    fn finish(&mut self) {
        self.0.sort_unstable();
        let mut most = i64::MIN;
        for (_, least) in &mut self.0 {
            most = most.max(*least);
            *least = most;
        }
    }

    /// What was certain before a time.
    fn before(&self, time: u64) -> Option<i64> {
        let count = self.0.partition_point(|(from, _)| *from < time);
        count.checked_sub(1).map(|last| self.0[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EU: usize = 0;
    const US: usize = 1;
    const ALL: [Spot; 3] = [Spot::Left(1), Spot::Right(1), Spot::Note(1)];

    fn pair(value: i64) -> Vec<(Spot, Option<i64>)> {
        vec![(Spot::Left(1), Some(value)), (Spot::Right(1), Some(value))]
    }

    fn note(value: Option<i64>) -> Vec<(Spot, Option<i64>)> {
        vec![(Spot::Note(1), value)]
    }

    fn write(region: usize, at: i64, spots: Vec<(Spot, Option<i64>)>) -> Write {
        // Asked for just before it committed, and answered just after.
        let us = u64::try_from(at).expect("a time");
        Write { region, at, times: (us * 10 - 5, us * 10 + 5), spots }
    }

    /// Pairs in eu, and one note: written in both regions, deleted in us, written again in eu.
    fn writes() -> Vec<Write> {
        vec![
            write(EU, 10, pair(1)),
            write(EU, 20, pair(2)),
            write(EU, 30, note(Some(3))),
            write(US, 40, note(Some(4))),
            write(US, 50, note(None)),
            write(EU, 60, note(Some(5))),
        ]
    }

    fn read(
        region: usize,
        times: (u64, u64),
        watermark: i64,
        spots: Vec<(Spot, Option<i64>)>,
    ) -> Read {
        Read { region, times, spots, watermark, not_before: None }
    }

    fn wrong(reads: &[Read]) -> String {
        reads_are_wrong(&writes(), reads).join("; ")
    }

    fn holds(reads: &[Read]) {
        assert_eq!(wrong(reads), "");
    }

    #[track_caller]
    fn is_found(reads: &[Read], what: &str) {
        let wrong = wrong(reads);
        assert!(wrong.contains(what), "{wrong:?}");
    }

    /// Long after everything.
    const LATE: (u64, u64) = (1_000, 1_001);

    #[test]
    fn another_region_shows_what_committed_at_or_before_its_watermark_and_nothing_else() {
        for (watermark, value) in [(10, 1), (19, 1), (20, 2), (99, 2)] {
            holds(&[read(US, LATE, watermark, pair(value))]);
        }
        let nothing = vec![(Spot::Left(1), None), (Spot::Right(1), None)];
        holds(&[read(US, LATE, 9, nothing.clone())]);
        is_found(&[read(US, LATE, 20, pair(1))], "what committed at 20 is missing");
        is_found(&[read(US, LATE, 10, nothing)], "what committed at 10 is missing");
        is_found(&[read(US, LATE, 19, pair(2))], "is not there yet at watermark 19");
        is_found(&[read(US, LATE, 20, pair(7))], "nobody had committed that");
    }

    #[test]
    fn half_a_transaction_is_found_in_either_region() {
        let torn = vec![(Spot::Left(1), Some(2)), (Spot::Right(1), Some(1))];
        is_found(&[read(US, LATE, 20, torn.clone())], "torn: Some(2) and Some(1)");
        // While the second was being written, each half could be right alone.
        let meanwhile = (196, 204);
        holds(&[read(EU, meanwhile, 0, pair(1))]);
        holds(&[read(EU, meanwhile, 0, pair(2))]);
        is_found(&[read(EU, meanwhile, 0, torn)], "torn: Some(2) and Some(1)");
    }

    #[test]
    fn a_region_shows_its_own_writes_at_once_and_the_latest_of_all_that_arrived() {
        holds(&[read(EU, (306, 307), 0, note(Some(3)))]);
        is_found(&[read(EU, (306, 307), 0, note(None))], "what committed at 30 is missing");
        is_found(&[read(EU, (200, 210), 0, note(Some(3)))], "is not there yet");
        // The deletion of us arrives, and what was written before it is gone.
        holds(&[read(EU, (550, 560), 50, note(None))]);
        is_found(&[read(EU, (550, 560), 50, note(Some(3)))], "what committed at 50 is missing");
        holds(&[read(EU, LATE, 99, note(Some(5)))]);
        is_found(&[read(EU, LATE, 99, note(None))], "what committed at 60 is missing");
        // In us it depends on what has arrived there.
        holds(&[read(US, LATE, 59, note(None))]);
        is_found(&[read(US, LATE, 60, note(None))], "what committed at 60 is missing");
        is_found(&[read(US, LATE, 59, note(Some(4)))], "what committed at 50 is missing");
    }

    #[test]
    fn what_a_read_has_seen_a_later_one_sees_too() {
        let seen = |first: i64, second: i64| {
            [read(EU, (196, 200), 0, pair(first)), read(EU, (201, 204), 0, pair(second))]
        };
        holds(&seen(1, 2));
        is_found(&seen(2, 1), "what committed at 20 is missing");
    }

    #[test]
    fn a_watermark_that_goes_back_or_is_too_early_is_found() {
        let told = |first: i64, second: i64| {
            [read(US, (800, 801), first, vec![]), read(US, (802, 803), second, vec![])]
        };
        holds(&told(20, 20));
        holds(&told(20, 30));
        is_found(&told(20, 19), "went back from 20");
        // Those of two regions, and of reads at the same time, are not compared.
        holds(&[read(EU, (800, 801), 20, vec![]), read(US, (802, 803), 19, vec![])]);
        holds(&[read(US, (800, 803), 20, vec![]), read(US, (802, 804), 19, vec![])]);
        let waited = Read { not_before: Some(30), ..read(US, LATE, 30, vec![]) };
        holds(std::slice::from_ref(&waited));
        is_found(&[Read { watermark: 29, ..waited }], "it was to wait for 30");
    }

    fn wrong_end(writes: &[Write], first: Option<i64>, second: Option<i64>) -> String {
        let end = |region, value| {
            let spots = pair(2).into_iter().chain(note(value)).collect();
            read(region, LATE, 99, spots)
        };
        ends_are_wrong(writes, &[end(EU, first), end(US, second)], &ALL).join("; ")
    }

    #[test]
    fn in_the_end_regions_are_equal_and_the_latest_write_is_left() {
        assert_eq!(wrong_end(&writes(), Some(5), Some(5)), "");
        assert!(wrong_end(&writes(), Some(5), None).contains("the regions differ"));
        let lost = wrong_end(&writes(), Some(4), Some(4));
        assert!(
            lost.contains("was last written as [Some(5)]") && !lost.contains("differ"),
            "{lost}"
        );
        assert!(wrong_end(&writes(), None, None).contains("in region 1"), "a deletion came back");
        assert_eq!(wrong_end(&writes()[..5], None, None), "");
        assert!(wrong_end(&writes()[..5], Some(4), Some(4)).contains("[None]"), "not deleted");
        // Whoever wins at the same time: both regions must say the same.
        let tied = [writes(), vec![write(US, 60, note(None))]].concat();
        assert_eq!(wrong_end(&tied, None, None), "");
        assert_eq!(wrong_end(&tied, Some(5), Some(5)), "");
        assert!(wrong_end(&tied, Some(5), None).contains("differ"));
        let unread = ends_are_wrong(&writes(), &[], &ALL).join("; ");
        assert!(unread.contains("Note(1) was not read in both"), "{unread}");
    }
}
