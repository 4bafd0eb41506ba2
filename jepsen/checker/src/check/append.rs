//! Lists that are appended to and read. A read shows the order of all elements up to then, so the longest
//! read of a list is the order of its versions, and the check is exact.
//!
//! An append that no read of its list shows comes after all that are shown. If its transaction is known to
//! have committed, that is an edge like any other.

use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::{Edges, MOST_KEYS};
use super::notes::{self, Notes, shown, shown_list};
use super::{Options, tail};
use crate::check::Consistency;
use crate::event::Type;
use crate::history::{Atom, History, Micro};
use crate::verdict::{Kind, Relation};

/// An append of one element.
#[derive(Clone, Copy, Debug)]
struct Writer {
    txn: u32,
    /// Which of its transaction's appends to that list it is.
    nth: u32,
    /// Where it stands in the longest read.
    position: u32,
}

/// Not in the longest read.
const UNSEEN: u32 = u32::MAX;

/// One list.
#[derive(Debug, Default)]
struct List<'a> {
    atom: Option<Atom>,
    longest: &'a [Atom],
    /// The first position of the longest read that nobody committed.
    clean: usize,
    /// Whether reads contradict each other, or appends cannot be told apart: then it gives no edges.
    broken: bool,
    /// Committed transactions with an append that no read shows, each once.
    unseen: Vec<u32>,
    /// Those that read the longest version, each once.
    newest: Vec<u32>,
}

/// What a transaction has seen and done of one list.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// How many elements were there before its own, once it has read.
    base: Option<usize>,
    own: Vec<Atom>,
}

struct Lists<'a> {
    history: &'a History,
    keys: FxHashMap<Atom, u32>,
    lists: Vec<List<'a>>,
    writers: FxHashMap<(u32, Atom), Writer>,
    /// Whether each operation happened.
    committed: Vec<bool>,
}

pub(crate) fn check(history: &History, options: &Options, notes: &mut Notes) {
    let mut lists = Lists::new(history, notes);
    if lists.lists.len() >= MOST_KEYS {
        notes.undecided(format!("it has more than {MOST_KEYS} lists; check it in parts"));
        return;
    }
    lists.find_longest(notes);
    lists.find_committed();
    lists.own_order(notes);
    let mut edges = Edges::new(history.len());
    lists.reads(&mut edges, notes);
    lists.versions(options.consistency, &mut edges, notes);
    if options.consistency == Consistency::StrictSerializable {
        edges.add_time(history, &lists.committed);
    }
    let graph = edges.sorted();
    let why = |from, to, relation, key| lists.why(from, to, relation, key);
    notes.cycles(&graph, history, options.consistency, &why);
}

impl<'a> Lists<'a> {
    /// Who appended what.
    fn new(history: &'a History, notes: &mut Notes) -> Self {
        let committed = history.operations().map(|it| it.is_txn() && it.kind() == Type::Ok);
        let mut it = Self {
            history,
            keys: FxHashMap::default(),
            lists: Vec::new(),
            writers: FxHashMap::default(),
            committed: committed.collect(),
        };
        for operation in history.operations() {
            let txn = operation.number as u32;
            let mut nths: FxHashMap<u32, u32> = FxHashMap::default();
            for micro in operation.micros() {
                let key = it.key(micro.key());
                match micro {
                    Micro::Append(_, element) => {
                        let nth = nths.entry(key).or_default();
                        let writer = Writer { txn, nth: *nth, position: UNSEEN };
                        *nth += 1;
                        if let Some(other) = it.writers.insert((key, element), writer) {
                            it.lists[key as usize].broken = true;
                            let first = history.operation(other.txn as usize).index();
                            notes.undecided(format!(
                                "{} is appended to list {} twice, at index {first} and {}; append every \
                                 element to a list once, so that reads show whose it is",
                                history.value(element),
                                history.value(micro.key()),
                                operation.index()
                            ));
                        }
                    }
                    Micro::ReadRegister(..) | Micro::Write(..)
                        if operation.kind() != Type::Fail =>
                    {
                        notes.undecided(format!(
                            "index {} has a part that is of no list: {}",
                            operation.index(),
                            shown(history, &operation)
                        ));
                    }
                    Micro::ReadRegister(..)
                    | Micro::Write(..)
                    | Micro::ReadList(..)
                    | Micro::ReadNothing(_) => {}
                }
            }
        }
        it
    }

    fn key(&mut self, atom: Atom) -> u32 {
        let next = u32::try_from(self.lists.len()).expect("keys are atoms of 32 bits");
        let key = *self.keys.entry(atom).or_insert(next);
        if key == next {
            self.lists.push(List { atom: Some(atom), ..List::default() });
        }
        key
    }

    fn name(&self, key: u32) -> String {
        let atom = self.lists[key as usize].atom.expect("every list has its key");
        self.history.value(atom).to_string()
    }

    /// Every list that was read and answered.
    fn every_read(&self) -> impl Iterator<Item = (u32, u32, &'a [Atom])> + use<'_, 'a> {
        let answered = self.history.operations().filter(|it| it.kind() == Type::Ok);
        answered.flat_map(move |operation| {
            operation.micros().filter_map(move |micro| match micro {
                Micro::ReadList(key, list) => {
                    Some((operation.number as u32, self.keys[&key], list))
                }
                Micro::Append(..)
                | Micro::Write(..)
                | Micro::ReadRegister(..)
                | Micro::ReadNothing(_) => None,
            })
        })
    }

    /// The longest read of each list, which all others must begin, and where elements stand in it.
    fn find_longest(&mut self, notes: &mut Notes) {
        let mut longest: Vec<(&'a [Atom], u32)> = vec![(&[], 0); self.lists.len()];
        for (txn, key, list) in self.every_read() {
            let best = &mut longest[key as usize];
            if list.len() > best.0.len() {
                *best = (list, txn);
            }
        }
        let mut broken = Vec::new();
        for (txn, key, list) in self.every_read() {
            let (best, reader) = longest[key as usize];
            if best.starts_with(list) {
                continue;
            }
            broken.push(key);
            notes.anomaly(Kind::IncompatibleOrder, || {
                let index = |txn: u32| self.history.operation(txn as usize).index();
                let (one, other) = (shown_list(self.history, list), shown_list(self.history, best));
                let text = format!(
                    "list {} was read as {one} by index {} and as {other} by index {}: neither \
                     continues the other",
                    self.name(key),
                    index(txn),
                    index(reader)
                );
                (text, Vec::new())
            });
        }
        for (key, (list, reader)) in longest.into_iter().enumerate() {
            self.lists[key].longest = list;
            let mut seen = FxHashSet::default();
            for (position, element) in list.iter().enumerate() {
                if !seen.insert(*element) {
                    broken.push(key as u32);
                    notes.anomaly(Kind::DuplicateElements, || {
                        let text = format!(
                            "list {} was read as {} by index {}: {} is there twice",
                            self.name(key as u32),
                            shown_list(self.history, list),
                            self.history.operation(reader as usize).index(),
                            self.history.value(*element)
                        );
                        (text, Vec::new())
                    });
                } else if let Some(writer) = self.writers.get_mut(&(key as u32, *element)) {
                    writer.position = u32::try_from(position).expect("reads are below 2^32");
                }
            }
        }
        for key in broken {
            self.lists[key as usize].broken = true;
        }
    }

    /// Besides what was answered, whatever was read has committed; and what failed must not be read.
    fn find_committed(&mut self) {
        let mut read: Vec<&Writer> = Vec::new();
        for (_, key, list) in self.every_read() {
            if self.lists[key as usize].broken {
                read.extend(list.iter().filter_map(|it| self.writers.get(&(key, *it))));
            }
        }
        for (key, list) in self.lists.iter().enumerate() {
            let of = |it: &Atom| self.writers.get(&(key as u32, *it));
            read.extend(list.longest.iter().filter_map(of));
        }
        let txns: Vec<u32> = read.into_iter().map(|writer| writer.txn).collect();
        for txn in txns {
            if self.history.operation(txn as usize).kind() == Type::Info {
                self.committed[txn as usize] = true;
            }
        }
        for key in 0..self.lists.len() {
            let longest = self.lists[key].longest;
            let clean = |it: &Atom| {
                let writer = self.writers.get(&(key as u32, *it));
                writer.is_some_and(|writer| self.committed[writer.txn as usize])
            };
            self.lists[key].clean =
                longest.iter().position(|it| !clean(it)).unwrap_or(longest.len());
        }
    }

    /// Appends of one transaction to one list keep their order, and none is left out; and commits whose
    /// elements no read shows are gathered.
    fn own_order(&mut self, notes: &mut Notes) {
        for operation in self.history.operations() {
            let txn = operation.number as u32;
            if !self.committed[txn as usize] {
                continue;
            }
            let mut before: FxHashMap<u32, (Atom, u32)> = FxHashMap::default();
            for micro in operation.micros() {
                let Micro::Append(atom, element) = micro else { continue };
                let key = self.keys[&atom];
                let list = &mut self.lists[key as usize];
                if list.broken {
                    continue;
                }
                let position = self.writers[&(key, element)].position;
                if position == UNSEEN && list.unseen.last() != Some(&txn) {
                    list.unseen.push(txn);
                }
                let before = before.insert(key, (element, position));
                if let Some((earlier, at)) = before.filter(|before| before.1 > position) {
                    debug_assert!(at > position);
                    notes.anomaly(Kind::IncompatibleOrder, || {
                        let text = format!(
                            "index {} appended {} to list {} before {}, and no read shows them so: \
                             {}",
                            operation.index(),
                            self.history.value(earlier),
                            self.history.value(atom),
                            self.history.value(element),
                            shown(self.history, &operation)
                        );
                        (text, Vec::new())
                    });
                }
            }
        }
    }

    /// Edges from and to whoever reads, and whatever is wrong with a read by itself.
    fn reads(&mut self, edges: &mut Edges, notes: &mut Notes) {
        // Who first read a version of a list and appended to it.
        let mut updates: FxHashMap<(u32, usize), u32> = FxHashMap::default();
        let mut dirty: FxHashSet<(u32, Atom)> = FxHashSet::default();
        let mut seen: FxHashMap<u32, Seen> = FxHashMap::default();
        for operation in self.history.operations() {
            let txn = operation.number as u32;
            if !operation.is_txn() || operation.kind() != Type::Ok {
                continue;
            }
            seen.clear();
            for micro in operation.micros() {
                let key = self.keys[&micro.key()];
                let seen = seen.entry(key).or_default();
                match micro {
                    Micro::Append(_, element) => seen.own.push(element),
                    Micro::ReadList(_, list) => self.read(txn, key, list, seen, &mut dirty, notes),
                    Micro::ReadNothing(_) => self.read(txn, key, &[], seen, &mut dirty, notes),
                    Micro::Write(..) | Micro::ReadRegister(..) => {}
                }
            }
            let mut found: Vec<(u32, usize, bool)> = seen
                .iter()
                .filter_map(|(key, it)| Some((*key, it.base?, !it.own.is_empty())))
                .filter(|(key, ..)| !self.lists[*key as usize].broken)
                .collect();
            found.sort_unstable();
            for (key, base, appends) in found {
                self.read_edges(txn, key, base, edges, notes);
                if appends && let Some(first) = updates.insert((key, base), txn) {
                    self.lost_update(key, base, first, txn, notes);
                }
            }
        }
    }

    /// One read: its own appends last, and nothing that failed or nobody appended.
    fn read(
        &self,
        txn: u32,
        key: u32,
        list: &[Atom],
        seen: &mut Seen,
        dirty: &mut FxHashSet<(u32, Atom)>,
        notes: &mut Notes,
    ) {
        let told = |what: String| {
            let operation = self.history.operation(txn as usize);
            (
                format!("index {} {what}: {}", operation.index(), shown(self.history, &operation)),
                vec![],
            )
        };
        let base = list.len().checked_sub(seen.own.len());
        match base.filter(|base| list[*base..] == seen.own) {
            None => notes.anomaly(Kind::Internal, || {
                told(format!("read list {} without its own appends at the end", self.name(key)))
            }),
            Some(base) if seen.base.is_some_and(|before| before != base) => {
                notes.anomaly(Kind::Internal, || {
                    told(format!("read two different versions of list {}", self.name(key)))
                });
            }
            Some(base) => seen.base = Some(base),
        }
        let List { broken, clean, .. } = self.lists[key as usize];
        if !broken && list.len() <= clean {
            return; // it begins the longest read, which has been looked at
        }
        for (position, element) in list.iter().enumerate() {
            let (kind, words) = match self.writers.get(&(key, *element)) {
                None => (Kind::ThinAir, "which nobody appended"),
                Some(it) if self.committed[it.txn as usize] => continue,
                Some(_) => (Kind::G1a, "whose append failed"),
            };
            if !dirty.insert((key, *element)) {
                continue;
            }
            let it = self.history.value(*element);
            notes.anomaly(kind, || told(format!("read {it} in list {}, {words}", self.name(key))));
            if kind == Kind::G1a
                && let Some(next) = self.next_committed(key, list, position + 1)
            {
                notes.anomaly(Kind::DirtyUpdate, || {
                    let operation = self.history.operation(next as usize);
                    let text = format!(
                        "index {} appended to list {} after {it}, whose append failed: {}",
                        operation.index(),
                        self.name(key),
                        shown(self.history, &operation)
                    );
                    (text, Vec::new())
                });
            }
        }
    }

    /// Who committed the first element of a list from a position on.
    fn next_committed(&self, key: u32, list: &[Atom], from: usize) -> Option<u32> {
        let rest = list.get(from..)?.iter();
        let writers = rest.filter_map(|it| self.writers.get(&(key, *it)));
        writers.map(|it| it.txn).find(|txn| self.committed[*txn as usize])
    }

    /// Whoever wrote the version read comes before; whoever wrote the next one comes after.
    fn read_edges(
        &mut self,
        txn: u32,
        key: u32,
        base: usize,
        edges: &mut Edges,
        notes: &mut Notes,
    ) {
        let longest = self.lists[key as usize].longest;
        let newest = base.checked_sub(1).and_then(|at| self.writers.get(&(key, longest[at])));
        if let Some(writer) = newest.filter(|it| self.committed[it.txn as usize]) {
            edges.add(writer.txn, txn, Relation::WriteRead, key);
            let finished = self.appends_to(writer.txn, key) == writer.nth + 1;
            if writer.txn == txn || !finished {
                let (kind, words) = match writer.txn == txn {
                    true => (Kind::Internal, "before it appended it"),
                    false => (Kind::G1b, "which is not the last append of its transaction"),
                };
                notes.anomaly(kind, || {
                    let operation = self.history.operation(txn as usize);
                    let text = format!(
                        "index {} read list {} up to {}, {words}: {}",
                        operation.index(),
                        self.name(key),
                        self.history.value(longest[base - 1]),
                        shown(self.history, &operation)
                    );
                    (text, Vec::new())
                });
            }
        }
        match self.next_committed(key, longest, base) {
            Some(next) => edges.add(txn, next, Relation::ReadWrite, key),
            None => self.lists[key as usize].newest.push(txn),
        }
    }

    fn appends_to(&self, txn: u32, key: u32) -> u32 {
        let atom = self.lists[key as usize].atom;
        let micros = self.history.operation(txn as usize).micros();
        let here =
            |micro: &Micro<'_>| matches!(micro, Micro::Append(..)) && Some(micro.key()) == atom;
        u32::try_from(micros.filter(here).count()).expect("parts are below 2^32")
    }

    fn lost_update(&self, key: u32, base: usize, one: u32, other: u32, notes: &mut Notes) {
        notes.anomaly(Kind::LostUpdate, || {
            let position = |txn: u32| {
                let own = self.history.operation(txn as usize).micros().find_map(|it| match it {
                    Micro::Append(_, element) => {
                        self.writers.get(&(key, element)).filter(|it| it.txn == txn)
                    }
                    Micro::Write(..)
                    | Micro::ReadList(..)
                    | Micro::ReadRegister(..)
                    | Micro::ReadNothing(_) => None,
                });
                own.map_or(UNSEEN, |writer| writer.position)
            };
            let (first, second) =
                if position(one) <= position(other) { (one, other) } else { (other, one) };
            let back = match position(first) {
                UNSEEN => Relation::ReadWrite,
                _ => Relation::WriteWrite,
            };
            let version = shown_list(self.history, &self.lists[key as usize].longest[..base]);
            let text =
                format!("both read list {} as {version}, and appended to it", self.name(key));
            let hop = |from: u32, to: u32, relation| {
                let why = self.why(from, to, relation, key);
                notes::step(self.history, &self.history.operation(from as usize), relation, why)
            };
            let cycle = vec![hop(second, first, Relation::ReadWrite), hop(first, second, back)];
            (text, cycle)
        });
    }

    /// Whoever wrote a version comes before whoever wrote the next.
    fn versions(&self, consistency: Consistency, edges: &mut Edges, notes: &mut Notes) {
        for (key, list) in self.lists.iter().enumerate().filter(|(_, list)| !list.broken) {
            let key = key as u32;
            let writers = list.longest.iter().filter_map(|it| self.writers.get(&(key, *it)));
            let committed = writers.map(|it| it.txn).filter(|txn| self.committed[*txn as usize]);
            let (mut last, mut newest_ts) = (None, None);
            for txn in committed {
                if let Some(before) = last.replace(txn).filter(|before| *before != txn) {
                    edges.add(before, txn, Relation::WriteWrite, key);
                    self.in_time(key, &mut newest_ts, before, txn, notes);
                }
            }
            let mut unseen = list.unseen.clone();
            if let Some(last) = last {
                // Whoever read the newest version stands between, and explains it better; but two
                // transactions that snapshots order need the edge itself.
                let between = list.newest.iter().any(|reader| *reader != last)
                    && consistency != Consistency::SnapshotIsolation;
                for txn in unseen.iter().filter(|txn| **txn != last) {
                    if !between {
                        edges.add(last, *txn, Relation::WriteWrite, key);
                    }
                    let mut newest_ts = newest_ts;
                    self.in_time(key, &mut newest_ts, last, *txn, notes);
                }
            }
            tail::order(edges, key, &list.newest, &unseen);
            let ts = |txn: &u32| self.history.operation(*txn as usize).ts();
            unseen.retain(|txn| ts(txn).is_some());
            unseen.sort_by_key(ts);
            for pair in unseen.windows(2) {
                edges.add(pair[0], pair[1], Relation::WriteWrite, key);
                self.in_time(key, &mut None, pair[0], pair[1], notes);
            }
        }
    }

    /// Commit timestamps grow along the versions of a list. `newest` is the last that is known.
    fn in_time(
        &self,
        key: u32,
        newest: &mut Option<(i64, u32)>,
        before: u32,
        txn: u32,
        notes: &mut Notes,
    ) {
        let ts = |txn: u32| self.history.operation(txn as usize).ts();
        if let Some(at) = ts(before) {
            *newest = Some((at, before));
        }
        let (Some((earlier, before)), Some(at)) = (*newest, ts(txn)) else { return };
        if earlier >= at {
            notes.anomaly(Kind::TimestampOrder, || {
                let index = |txn: u32| self.history.operation(txn as usize).index();
                let text = format!(
                    "in list {} the append of index {} comes before that of index {}, but their \
                     commit timestamps are {earlier} and {at}",
                    self.name(key),
                    index(before),
                    index(txn)
                );
                (text, Vec::new())
            });
        }
    }

    /// Why one transaction comes before another, in words.
    fn why(&self, from: u32, to: u32, relation: Relation, key: u32) -> String {
        notes::order(relation, || {
            let name = self.name(key);
            let atom = self.lists[key as usize].atom;
            let appended = |txn: u32| {
                let micros = self.history.operation(txn as usize).micros();
                let own = micros.filter_map(|micro| match micro {
                    Micro::Append(key, element) if Some(key) == atom => Some(element),
                    Micro::Append(..)
                    | Micro::Write(..)
                    | Micro::ReadList(..)
                    | Micro::ReadRegister(..)
                    | Micro::ReadNothing(_) => None,
                });
                own.map(|it| self.history.value(it).to_string()).collect::<Vec<_>>().join(", ")
            };
            match relation {
                Relation::WriteWrite => format!(
                    "it appended {} to list {name} before the other appended {}",
                    appended(from),
                    appended(to)
                ),
                Relation::WriteRead => {
                    format!("the other read list {name} with its {}", appended(from))
                }
                Relation::ReadWrite => {
                    format!("it read list {name} without the other's {}", appended(to))
                }
                Relation::Process | Relation::RealTime => String::new(),
            }
        })
    }
}
