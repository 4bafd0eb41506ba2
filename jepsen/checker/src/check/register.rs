//! Registers that are written and read. What was read says who wrote it, but not in which order the values
//! of a register followed each other.
//!
//! Where every write that happened has a commit timestamp, these are the order, and the check is exact.
//! Where not, what must be is inferred; if that has no cycle, a serial order is searched for, which proves
//! the history valid. Neither a cycle nor a serial order: the verdict is unknown.

use rustc_hash::FxHashMap;

use super::graph::{Edges, MOST_KEYS};
use super::notes::{self, Notes, shown};
use super::search::{self, Searched};
use super::{Consistency, Options};
use crate::event::Type;
use crate::history::{Atom, History, Micro};
use crate::verdict::{Kind, Relation};

mod infer;

/// A transaction's dealings with one register, from outside.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// What it found before it wrote.
    found: Option<Atom>,
    /// What it left.
    left: Option<Atom>,
}

/// A transaction that happened and wrote a register, and what it left there.
#[derive(Clone, Copy, Debug)]
struct Write {
    txn: u32,
    value: Atom,
}

/// A transaction that read a register before it wrote it, if it did.
#[derive(Clone, Copy, Debug)]
struct Read {
    txn: u32,
    value: Atom,
    writes: bool,
}

/// One register.
#[derive(Debug, Default)]
struct Register {
    atom: Option<Atom>,
    writes: Vec<Write>,
    reads: Vec<Read>,
    /// Whether a value was written twice, or nil was: reads do not show who wrote what.
    ambiguous: bool,
}

struct Registers<'a> {
    history: &'a History,
    keys: FxHashMap<Atom, u32>,
    registers: Vec<Register>,
    /// Who wrote a value; whether it was what its transaction left.
    writers: FxHashMap<(u32, Atom), (u32, bool)>,
    committed: Vec<bool>,
}

pub(crate) fn check(history: &History, options: &Options, notes: &mut Notes) {
    let mut it = Registers::new(history, notes);
    if it.registers.len() >= MOST_KEYS {
        notes.undecided(format!("it has more than {MOST_KEYS} registers; check it in parts"));
        return;
    }
    let doubt = it.doubt_unknown_writers(notes);
    it.find_committed();
    it.gather(notes);
    let mut edges = Edges::new(history.len());
    let mut ordered = true;
    for key in 0..it.registers.len() as u32 {
        if it.registers[key as usize].ambiguous {
            ordered = false;
            infer::timestamps(&it, &it.registers[key as usize], key, &mut edges, notes);
            continue;
        }
        it.read_from(key, &mut edges);
        it.lost_updates(key, notes);
        ordered &=
            it.by_timestamps(key, &mut edges, notes) || it.infer(key, options, &mut edges, notes);
    }
    if !ordered && options.consistency != Consistency::SnapshotIsolation {
        infer::saturate(&it, options, &mut edges);
    }
    if options.consistency == Consistency::StrictSerializable {
        edges.add_time(history, &it.committed);
    }
    let graph = edges.sorted();
    let why = |from, to, relation, key| it.why(from, to, relation, key);
    let acyclic = notes.cycles(&graph, history, options.consistency, &why);
    if ordered || !acyclic || notes.has_anomalies() || doubt {
        return;
    }
    let searched = search::serial_order(&it.task(), &graph, options.search_steps);
    match (searched, options.consistency) {
        // What is serializable has a snapshot for everybody, too.
        (Searched::Found, _) => {}
        (Searched::None, Consistency::StrictSerializable | Consistency::Serializable) => {
            notes.anomaly(Kind::NoSerialOrder, || {
                let text = "every order of the transactions was tried, and none explains all reads";
                (text.to_owned(), Vec::new())
            });
        }
        (Searched::None, Consistency::SnapshotIsolation) => notes.undecided(
            "it is not serializable, and without commit timestamps (:ts) the order of the writes of \
             each register is not known"
                .to_owned(),
        ),
        (Searched::GaveUp, _) => notes.undecided(format!(
            "no serial order was found in {} steps, and nothing that rules one out; record the commit \
             timestamp (:ts) of every write",
            options.search_steps
        )),
    }
}

impl<'a> Registers<'a> {
    fn new(history: &'a History, notes: &mut Notes) -> Self {
        let committed = history.operations().map(|it| it.is_txn() && it.kind() == Type::Ok);
        let mut it = Self {
            history,
            keys: FxHashMap::default(),
            registers: Vec::new(),
            writers: FxHashMap::default(),
            committed: committed.collect(),
        };
        for operation in history.operations() {
            let txn = operation.number as u32;
            let mut left: FxHashMap<u32, Atom> = FxHashMap::default();
            for micro in operation.micros() {
                let key = it.key(micro.key());
                match micro {
                    Micro::Write(_, value) => {
                        if let Some(earlier) = left.insert(key, value) {
                            it.writers.insert((key, earlier), (txn, false));
                        }
                        let other = it.writers.insert((key, value), (txn, true));
                        if other.is_some() || value == Atom::NIL {
                            it.registers[key as usize].ambiguous = true;
                        }
                    }
                    Micro::Append(..) | Micro::ReadList(..) if operation.kind() != Type::Fail => {
                        notes.undecided(format!(
                            "index {} has a part that is of no register: {}",
                            operation.index(),
                            shown(history, &operation)
                        ));
                    }
                    Micro::Append(..)
                    | Micro::ReadList(..)
                    | Micro::ReadRegister(..)
                    | Micro::ReadNothing(_) => {}
                }
            }
        }
        it
    }

    /// Of an operation that is unknown, only a value that no other wrote shows that it happened.
    /// Whether there is one of which that cannot be said.
    fn doubt_unknown_writers(&self, notes: &mut Notes) -> bool {
        let mut doubt = false;
        for operation in self.history.operations().filter(|it| it.kind() == Type::Info) {
            let doubtful = operation.micros().any(|micro| {
                let register = &self.registers[self.keys[&micro.key()] as usize];
                matches!(micro, Micro::Write(..)) && register.ambiguous
            });
            if doubtful {
                doubt = true;
                notes.undecided(format!(
                    "nobody can say whether index {} happened, because its value was written more \
                     than once; write every value to a register once",
                    operation.index()
                ));
            }
        }
        doubt
    }

    fn key(&mut self, atom: Atom) -> u32 {
        let next = u32::try_from(self.registers.len()).expect("keys are atoms of 32 bits");
        let key = *self.keys.entry(atom).or_insert(next);
        if key == next {
            self.registers.push(Register { atom: Some(atom), ..Register::default() });
        }
        key
    }

    fn name(&self, key: u32) -> String {
        let atom = self.registers[key as usize].atom.expect("every register has its key");
        self.history.value(atom).to_string()
    }

    /// Besides what was answered, whatever was read has committed.
    fn find_committed(&mut self) {
        let mut read = Vec::new();
        for operation in self.history.operations().filter(|it| it.kind() == Type::Ok) {
            for micro in operation.micros() {
                if let Micro::ReadRegister(atom, value) = micro
                    && !self.registers[self.keys[&atom] as usize].ambiguous
                    && let Some((txn, _)) = self.writers.get(&(self.keys[&atom], value))
                    && self.history.operation(*txn as usize).kind() == Type::Info
                {
                    read.push(*txn);
                }
            }
        }
        for txn in read {
            self.committed[txn as usize] = true;
        }
    }

    /// What transactions found and left, and whatever is wrong with a read by itself.
    fn gather(&mut self, notes: &mut Notes) {
        for operation in self.history.operations() {
            let txn = operation.number as u32;
            if !self.committed[txn as usize] {
                continue;
            }
            let mut seen: FxHashMap<u32, Seen> = FxHashMap::default();
            for micro in operation.micros() {
                let key = self.keys[&micro.key()];
                let seen = seen.entry(key).or_default();
                let value = match micro {
                    Micro::Write(_, value) => {
                        seen.left = Some(value);
                        continue;
                    }
                    // What an operation that did not answer found is not known.
                    _ if operation.kind() != Type::Ok => continue,
                    Micro::ReadRegister(_, value) => value,
                    Micro::ReadNothing(_) => Atom::NIL,
                    Micro::Append(..) | Micro::ReadList(..) => continue,
                };
                match seen.left.or(seen.found) {
                    Some(expected) if expected == value => {}
                    Some(expected) => self.wrong(txn, key, value, Kind::Internal, notes, || {
                        let it = self.history.value(expected);
                        format!("although for this transaction it was {it}")
                    }),
                    None => {
                        seen.found = Some(value);
                        self.judge_read(txn, key, value, notes);
                    }
                }
            }
            for (key, Seen { found, left }) in seen {
                let register = &mut self.registers[key as usize];
                if let Some(value) = found {
                    register.reads.push(Read { txn, value, writes: left.is_some() });
                }
                if let Some(value) = left {
                    register.writes.push(Write { txn, value });
                }
            }
        }
    }

    fn judge_read(&self, txn: u32, key: u32, value: Atom, notes: &mut Notes) {
        if value == Atom::NIL {
            return;
        }
        let Some((writer, is_last)) = self.writers.get(&(key, value)) else {
            return self
                .wrong(txn, key, value, Kind::ThinAir, notes, || "which nobody wrote".to_owned());
        };
        if self.registers[key as usize].ambiguous {
            return;
        }
        if *writer == txn {
            self.wrong(txn, key, value, Kind::Internal, notes, || "before it wrote it".to_owned());
        } else if !self.committed[*writer as usize] {
            self.wrong(txn, key, value, Kind::G1a, notes, || "whose write failed".to_owned());
        } else if !is_last {
            self.wrong(txn, key, value, Kind::G1b, notes, || {
                "which is not the last write of its transaction".to_owned()
            });
        }
    }

    fn wrong(
        &self,
        txn: u32,
        key: u32,
        value: Atom,
        kind: Kind,
        notes: &mut Notes,
        words: impl FnOnce() -> String,
    ) {
        notes.anomaly(kind, || {
            let operation = self.history.operation(txn as usize);
            let text = format!(
                "index {} read {} in register {}, {}: {}",
                operation.index(),
                self.history.value(value),
                self.name(key),
                words(),
                shown(self.history, &operation)
            );
            (text, Vec::new())
        });
    }

    /// Who wrote what a transaction read, if it happened.
    fn source(&self, key: u32, value: Atom) -> Option<u32> {
        let (txn, _) = self.writers.get(&(key, value))?;
        self.committed[*txn as usize].then_some(*txn)
    }

    fn read_from(&self, key: u32, edges: &mut Edges) {
        for read in &self.registers[key as usize].reads {
            if let Some(writer) = self.source(key, read.value) {
                edges.add(writer, read.txn, Relation::WriteRead, key);
            }
        }
    }

    /// Two transactions that read the same version and both replaced it.
    fn lost_updates(&self, key: u32, notes: &mut Notes) {
        let mut updates: FxHashMap<Atom, u32> = FxHashMap::default();
        for read in self.registers[key as usize].reads.iter().filter(|read| read.writes) {
            let Some(first) = updates.insert(read.value, read.txn) else { continue };
            notes.anomaly(Kind::LostUpdate, || {
                let version = self.history.value(read.value);
                let text =
                    format!("both read register {} as {version}, and wrote it", self.name(key));
                let hop = |from: u32, to: u32| {
                    let why = self.why(from, to, Relation::ReadWrite, key);
                    let operation = self.history.operation(from as usize);
                    notes::step(self.history, &operation, Relation::ReadWrite, why)
                };
                (text, vec![hop(first, read.txn), hop(read.txn, first)])
            });
        }
    }

    /// The order of versions, if every write has a timestamp. Whether it has.
    fn by_timestamps(&self, key: u32, edges: &mut Edges, notes: &mut Notes) -> bool {
        let register = &self.registers[key as usize];
        let stamped = |it: &Write| Some((self.history.operation(it.txn as usize).ts()?, *it));
        let Some(mut writes) = register.writes.iter().map(stamped).collect::<Option<Vec<_>>>()
        else {
            return false;
        };
        writes.sort_by_key(|(ts, write)| (*ts, write.txn));
        for pair in writes.windows(2) {
            let [(one_ts, one), (other_ts, other)] = [pair[0], pair[1]];
            edges.add(one.txn, other.txn, Relation::WriteWrite, key);
            self.in_time(key, (one_ts, one.txn), (other_ts, other.txn), notes);
        }
        let places: FxHashMap<Atom, usize> =
            writes.iter().enumerate().map(|(place, (_, write))| (write.value, place)).collect();
        for read in &register.reads {
            let next = match places.get(&read.value) {
                Some(place) => place + 1,
                None if read.value == Atom::NIL => 0,
                None => continue, // of what failed, or was overwritten at once: told already
            };
            if let Some((_, next)) = writes.get(next) {
                edges.add(read.txn, next.txn, Relation::ReadWrite, key);
            }
        }
        true
    }

    /// No two writes of a register have the same timestamp.
    fn in_time(&self, key: u32, one: (i64, u32), other: (i64, u32), notes: &mut Notes) {
        if one.0 != other.0 {
            return;
        }
        notes.anomaly(Kind::TimestampOrder, || {
            let index = |txn: u32| self.history.operation(txn as usize).index();
            let text = format!(
                "index {} and index {} both wrote register {} at commit timestamp {}",
                index(one.1),
                index(other.1),
                self.name(key),
                one.0
            );
            (text, Vec::new())
        });
    }

    /// What must be of the order of versions. Whether that is all of it.
    fn infer(&self, key: u32, options: &Options, edges: &mut Edges, notes: &mut Notes) -> bool {
        let register = &self.registers[key as usize];
        infer::first_version(register, key, edges);
        infer::timestamps(self, register, key, edges, notes);
        infer::updates(self, register, key, edges);
        if options.consistency == Consistency::StrictSerializable {
            infer::over_before(self, register, key, edges);
        }
        register.writes.len() < 2
    }

    /// What a search for a serial order has to explain.
    fn task(&self) -> search::Task {
        let mut task = search::Task::new(self.registers.len(), self.history.len());
        for (txn, _) in self.committed.iter().enumerate().filter(|it| *it.1) {
            let operation = self.history.operation(txn);
            task.add(txn as u32, operation.end());
        }
        for (key, register) in self.registers.iter().enumerate() {
            for read in &register.reads {
                task.read(read.txn, key as u32, read.value, !register.ambiguous);
            }
            for write in &register.writes {
                task.write(write.txn, key as u32, write.value);
            }
        }
        task
    }

    /// Why one transaction comes before another, in words.
    fn why(&self, from: u32, to: u32, relation: Relation, key: u32) -> String {
        notes::order(relation, || {
            let register = &self.registers[key as usize];
            let (name, nothing) = (self.name(key), || "nothing".to_owned());
            let written = |txn: u32| {
                let write = register.writes.iter().find(|write| write.txn == txn);
                write.map_or_else(nothing, |it| self.history.value(it.value).to_string())
            };
            let read = |txn: u32| {
                let read = register.reads.iter().find(|read| read.txn == txn);
                read.map_or_else(nothing, |it| self.history.value(it.value).to_string())
            };
            match relation {
                Relation::WriteWrite => format!(
                    "it wrote {} to register {name} before the other wrote {}",
                    written(from),
                    written(to)
                ),
                Relation::WriteRead => {
                    format!("the other read its {} in register {name}", read(to))
                }
                Relation::ReadWrite => format!(
                    "it read {} in register {name}, before the other wrote {}",
                    read(from),
                    written(to)
                ),
                Relation::Process | Relation::RealTime => String::new(),
            }
        })
    }
}
