//! Whether everything that was acknowledged is there at the end.
//!
//! A history does not notice a write that nobody reads again. So every key that an acknowledged write
//! changed must be read once all its writes are over: in the history itself, or in another one that was
//! taken afterwards.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Model;
use super::notes::{Notes, shown, shown_list};
use crate::event::Type;
use crate::history::{Atom, History, Micro};
use crate::verdict::Kind;

/// What the acknowledged writes of one key come to.
#[derive(Debug, Default)]
struct Key {
    /// Writes that were acknowledged.
    writes: Vec<(u32, Atom)>,
    /// What unknown ones wrote.
    maybe: Vec<Atom>,
    /// When the last of them was over.
    over: u32,
}

/// What a key held at the end, as values of the first history.
enum Last {
    List(FxHashSet<Atom>, String),
    Register(Option<Atom>, String),
}

pub(crate) fn check(history: &History, last: Option<&History>, model: Model, notes: &mut Notes) {
    let mut keys: FxHashMap<Atom, Key> = FxHashMap::default();
    for operation in history.operations().filter(|it| it.kind() != Type::Fail) {
        for micro in operation.micros() {
            if let Micro::Append(key, value) | Micro::Write(key, value) = micro {
                let key = keys.entry(key).or_default();
                if operation.kind() == Type::Info {
                    key.maybe.push(value);
                    continue;
                }
                key.writes.push((operation.number as u32, value));
                key.over = key.over.max(operation.end().unwrap_or(u32::MAX));
            }
        }
    }
    let lasts = last_reads(history, last, model, &keys);
    keys.retain(|_, key| !key.writes.is_empty());
    let mut order: Vec<&Atom> = keys.keys().collect();
    order.sort_unstable();
    let mut unread = 0;
    for atom in order {
        let key = &keys[atom];
        match lasts.get(atom) {
            None => unread += 1,
            Some(Last::List(elements, text)) => {
                for (txn, element) in key.writes.iter().filter(|it| !elements.contains(&it.1)) {
                    lost(history, *atom, *txn, *element, text, notes);
                }
            }
            Some(Last::Register(value, text)) => {
                if let Some((txn, written)) = overwritten(history, key, *value) {
                    lost(history, *atom, txn, written, text, notes);
                }
            }
        }
    }
    if unread > 0 {
        notes.undecided(format!(
            "{unread} of {} keys were not read after their last acknowledged write, so nobody knows \
             whether it is still there; end the run with a read of every key",
            keys.len()
        ));
    }
}

fn lost(history: &History, key: Atom, txn: u32, value: Atom, found: &str, notes: &mut Notes) {
    notes.anomaly(Kind::LostWrite, || {
        let operation = history.operation(txn as usize);
        let text = format!(
            "{} of index {} was acknowledged for key {}, and is not in the last read, {found}: {}",
            history.value(value),
            operation.index(),
            history.value(key),
            shown(history, &operation)
        );
        (text, Vec::new())
    });
}

/// The last read of each key, if it began when all acknowledged writes of that key were over.
fn last_reads(
    history: &History,
    last: Option<&History>,
    model: Model,
    keys: &FxHashMap<Atom, Key>,
) -> FxHashMap<Atom, Last> {
    let source = last.unwrap_or(history);
    let mut found = FxHashMap::default();
    for operation in source.operations().filter(|it| it.kind() == Type::Ok) {
        // Own writes would be in its reads; the model's check judges these.
        for micro in operation.micros() {
            let Some(atom) = history.atom(&source.value(micro.key())) else { continue };
            let Some(key) = keys.get(&atom) else { continue };
            if last.is_none() && operation.begin() < key.over {
                continue;
            }
            let here = |it: &Atom| history.atom(&source.value(*it));
            let read = match (micro, model) {
                (Micro::ReadList(_, list), Model::Append) => {
                    Last::List(list.iter().filter_map(here).collect(), shown_list(source, list))
                }
                (Micro::ReadNothing(_), Model::Append) => {
                    Last::List(FxHashSet::default(), "[]".to_owned())
                }
                (Micro::ReadRegister(_, value), Model::Register) => {
                    Last::Register(here(&value), source.value(value).to_string())
                }
                (Micro::ReadNothing(_), Model::Register) => {
                    Last::Register(Some(Atom::NIL), "nil".to_owned())
                }
                (
                    Micro::Append(..)
                    | Micro::Write(..)
                    | Micro::ReadList(..)
                    | Micro::ReadRegister(..),
                    _,
                ) => continue,
            };
            found.insert(atom, read);
        }
    }
    found
}

/// An acknowledged write that the value read at the end cannot have replaced.
fn overwritten(history: &History, key: &Key, value: Option<Atom>) -> Option<(u32, Atom)> {
    let value = value.unwrap_or(Atom::NIL);
    let last = key.writes.iter().rfind(|it| it.1 == value);
    // Of an unknown operation nobody knows when it happened: it may have been the last.
    if last.is_none() && key.maybe.contains(&value) {
        return None;
    }
    let over = last.map(|it| history.operation(it.0 as usize).end().unwrap_or(u32::MAX));
    let later = |(txn, _): &&(u32, Atom)| {
        over.is_none_or(|over| history.operation(*txn as usize).begin() > over)
    };
    key.writes.iter().find(later).copied()
}
