//! What must be of the order in which the values of a register followed each other.

use rustc_hash::FxHashMap;

use super::{Register, Registers};
use crate::check::graph::Edges;
use crate::check::notes::Notes;
use crate::check::{Consistency, Options, tail};
use crate::history::Atom;
use crate::verdict::Relation;

/// Transactions up to which everything is compared with everything.
const MOST_COMPARED: usize = 1_024;

/// Whoever found nothing comes before whoever wrote something.
pub(super) fn first_version(register: &Register, key: u32, edges: &mut Edges) {
    let nothing = register.reads.iter().filter(|read| read.value == Atom::NIL);
    let readers: Vec<u32> = nothing.map(|read| read.txn).collect();
    let writers: Vec<u32> = register.writes.iter().map(|write| write.txn).collect();
    tail::order(edges, key, &readers, &writers);
}

/// Of the writes that have a timestamp, these are the order.
pub(super) fn timestamps(
    it: &Registers<'_>,
    register: &Register,
    key: u32,
    edges: &mut Edges,
    notes: &mut Notes,
) {
    let stamped = |txn: u32| Some((it.history.operation(txn as usize).ts()?, txn));
    let mut order: Vec<(i64, u32)> =
        register.writes.iter().filter_map(|write| stamped(write.txn)).collect();
    order.sort_unstable();
    for pair in order.windows(2) {
        edges.add(pair[0].1, pair[1].1, Relation::WriteWrite, key);
        it.in_time(key, pair[0], pair[1], notes);
    }
}

/// Whoever read a version and replaced it comes directly after it: so after everybody who read it.
pub(super) fn updates(it: &Registers<'_>, register: &Register, key: u32, edges: &mut Edges) {
    let updates = register.reads.iter().filter(|read| read.writes);
    let next: FxHashMap<Atom, u32> = updates.map(|read| (read.value, read.txn)).collect();
    for (version, update) in &next {
        if let Some(writer) = it.source(key, *version) {
            edges.add(writer, *update, Relation::WriteWrite, key);
        }
    }
    for read in &register.reads {
        if let Some(update) = next.get(&read.value) {
            edges.add(read.txn, *update, Relation::ReadWrite, key);
        }
    }
}

/// A write that was over before another began, or before a read of another began, comes before it. Of all
/// such only the nearest are needed: real time orders the rest.
pub(super) fn over_before(it: &Registers<'_>, register: &Register, key: u32, edges: &mut Edges) {
    let operation = |txn: u32| it.history.operation(txn as usize);
    let mut by_begin: Vec<(u32, u32)> =
        register.writes.iter().map(|write| (operation(write.txn).begin(), write.txn)).collect();
    by_begin.sort_unstable();
    let ended = |write: &super::Write| Some((operation(write.txn).end()?, write.txn));
    let mut by_end: Vec<(u32, u32)> = register.writes.iter().filter_map(ended).collect();
    by_end.sort_unstable();
    for read in &register.reads {
        let source = it.source(key, read.value);
        // Writes that began when the version read was over: the reader did not see them.
        if let Some(end) = source.and_then(|txn| operation(txn).end()) {
            let mut nearest = u32::MAX;
            for (begin, writer) in &by_begin[by_begin.partition_point(|it| it.0 < end)..] {
                if *begin > nearest {
                    break;
                }
                nearest = nearest.min(operation(*writer).end().unwrap_or(u32::MAX));
                edges.add(read.txn, *writer, Relation::ReadWrite, key);
            }
        }
        // Writes that were over when the reader began: the version read replaced them.
        let Some(source) = source else { continue };
        let begin = operation(read.txn).begin();
        let mut nearest = 0;
        for (end, writer) in by_end[..by_end.partition_point(|it| it.0 < begin)].iter().rev() {
            if *end < nearest {
                break;
            }
            nearest = nearest.max(operation(*writer).begin());
            edges.add(*writer, source, Relation::WriteWrite, key);
        }
    }
}

/// Adds what follows from what is known, until nothing more does: a write that comes before a reader comes
/// before the version read; one that comes after the version read comes after its readers.
pub(super) fn saturate(it: &Registers<'_>, options: &Options, edges: &mut Edges) {
    let txns: Vec<u32> =
        (0..it.history.len() as u32).filter(|txn| it.committed[*txn as usize]).collect();
    if txns.len() > MOST_COMPARED {
        return;
    }
    let mut before = Before::new(&txns, edges);
    if options.consistency == Consistency::StrictSerializable {
        for one in &txns {
            let Some(end) = it.history.operation(*one as usize).end() else { continue };
            for other in &txns {
                if end < it.history.operation(*other as usize).begin() {
                    before.put(*one, *other);
                }
            }
        }
    }
    loop {
        before.close();
        // A cycle needs no more; what follows from it would only hide it.
        if before.has_cycle() {
            return;
        }
        let (mut replaced, mut preceded) = (Vec::new(), Vec::new());
        for (key, register) in it.registers.iter().enumerate().filter(|it| !it.1.ambiguous) {
            for read in &register.reads {
                let Some(source) = it.source(key as u32, read.value) else { continue };
                for other in register.writes.iter().map(|write| write.txn) {
                    if other == source || other == read.txn {
                        continue;
                    }
                    if before.has(source, other) && !before.has(read.txn, other) {
                        replaced.push((read.txn, other, Relation::ReadWrite, key as u32));
                    }
                    if before.has(other, read.txn) && !before.has(other, source) {
                        preceded.push((other, source, Relation::WriteWrite, key as u32));
                    }
                }
            }
        }
        let grown = if replaced.is_empty() { preceded } else { replaced };
        if grown.is_empty() {
            return;
        }
        for (from, to, relation, key) in grown {
            edges.add(from, to, relation, key);
            before.put(from, to);
        }
    }
}

/// What comes before what, as a matrix of bits.
struct Before {
    places: FxHashMap<u32, usize>,
    words: usize,
    bits: Vec<u64>,
}

impl Before {
    /// By the edges so far; relays have places of their own.
    fn new(txns: &[u32], edges: &Edges) -> Self {
        let mut places: FxHashMap<u32, usize> =
            txns.iter().enumerate().map(|(place, txn)| (*txn, place)).collect();
        for (from, to) in edges.pairs() {
            for node in [from, to] {
                let next = places.len();
                places.entry(node).or_insert(next);
            }
        }
        let words = places.len().div_ceil(64);
        let bits = vec![0; words * places.len()];
        let mut it = Self { places, words, bits };
        for (from, to) in edges.pairs() {
            it.put(from, to);
        }
        it
    }

    fn put(&mut self, from: u32, to: u32) {
        let (from, to) = (self.places[&from], self.places[&to]);
        self.bits[from * self.words + to / 64] |= 1 << (to % 64);
    }

    fn has(&self, from: u32, to: u32) -> bool {
        let (from, to) = (self.places[&from], self.places[&to]);
        self.bits[from * self.words + to / 64] & (1 << (to % 64)) != 0
    }

    fn has_cycle(&self) -> bool {
        let itself = |place: usize| self.bits[place * self.words + place / 64] >> (place % 64) & 1;
        (0..self.places.len()).any(|place| itself(place) == 1)
    }

    /// Whatever is before what is before something is before it.
    fn close(&mut self) {
        for middle in 0..self.places.len() {
            let row: Vec<u64> = self.bits[middle * self.words..][..self.words].to_vec();
            for from in 0..self.places.len() {
                if self.bits[from * self.words + middle / 64] & (1 << (middle % 64)) != 0 {
                    let target = &mut self.bits[from * self.words..][..self.words];
                    for (word, more) in target.iter_mut().zip(&row) {
                        *word |= more;
                    }
                }
            }
        }
    }
}
