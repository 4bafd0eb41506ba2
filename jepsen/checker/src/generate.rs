//! Histories of any size, as a correct store with a number of clients would leave them: to measure with, and
//! to change and see what is found.

use std::collections::VecDeque;

use crate::event::{Event, Type};
use crate::value::Value;
use crate::{Model, TXN};

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Appends or writes.
    pub model: Model,
    /// Operations.
    pub operations: u64,
    /// Clients at the same time, at least 1.
    pub concurrency: u64,
    /// Keys in use at the same time, at least 1.
    pub keys: u64,
    /// After so many writes a key is left behind for a new one, at least 1.
    pub writes_per_key: u64,
    /// Of 1,000 operations so many have no answer; half of these happened.
    pub info_per_mille: u64,
    /// Whether writes have commit timestamps.
    pub timestamps: bool,
    /// Decides everything.
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            model: Model::Append,
            operations: 1_000,
            concurrency: 20,
            keys: 8,
            writes_per_key: 60,
            info_per_mille: 5,
            timestamps: true,
            seed: 1,
        }
    }
}

/// A part of a transaction.
#[derive(Clone, Copy)]
enum Part {
    Read(u64),
    Write(u64, i64),
}

/// An operation in work.
struct Open {
    process: i64,
    parts: Vec<Part>,
    /// Its end, once it has happened.
    end: Option<Event>,
}

/// Gives the events of a history one after the other; holds the keys in use and the operations in work.
pub struct Generator {
    shape: Shape,
    random: u64,
    begun: u64,
    time: u64,
    index: u64,
    next_process: i64,
    clock: i64,
    idle: VecDeque<i64>,
    open: Vec<Open>,
    /// The keys in use: name, writes so far, what is there.
    keys: Vec<(u64, u64, Vec<i64>)>,
    next_key: u64,
    /// Keys left behind that operations in work still touch.
    old: std::collections::BTreeMap<u64, Vec<i64>>,
}

impl Generator {
    /// Of a shape.
    pub fn new(shape: Shape) -> Self {
        let keys = (0..shape.keys.max(1)).map(|key| (key, 0, Vec::new())).collect();
        let clients = i64::try_from(shape.concurrency.max(1)).unwrap_or(i64::MAX);
        Self {
            shape,
            random: shape.seed,
            begun: 0,
            time: 0,
            index: 0,
            next_process: clients,
            clock: 0,
            idle: (0..clients).collect(),
            open: Vec::new(),
            keys,
            next_key: shape.keys.max(1),
            old: std::collections::BTreeMap::new(),
        }
    }

    /// A number below another (SplitMix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.random;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % bound.max(1)
    }

    fn begin(&mut self, process: i64) -> Event {
        self.begun += 1;
        let count = 1 + self.below(4);
        let mut parts = Vec::new();
        for _ in 0..count {
            let slot = self.below(self.shape.keys) as usize;
            if self.below(2) == 0 {
                parts.push(Part::Read(self.keys[slot].0));
                continue;
            }
            let (key, writes, _) = &mut self.keys[slot];
            *writes += 1;
            parts.push(Part::Write(*key, i64::try_from(*writes).unwrap_or(i64::MAX)));
            if *writes >= self.shape.writes_per_key {
                let next = (self.next_key, 0, Vec::new());
                self.next_key += 1;
                let (key, _, values) = std::mem::replace(&mut self.keys[slot], next);
                self.old.insert(key, values);
            }
        }
        let event = Event::new(Type::Invoke, process, TXN, self.shown(&parts, false));
        self.open.push(Open { process, parts, end: None });
        event
    }

    fn values(&mut self, key: u64) -> &mut Vec<i64> {
        let current = self.keys.iter_mut().find(|it| it.0 == key);
        match current {
            Some((.., values)) => values,
            None => self.old.entry(key).or_default(),
        }
    }

    /// What a transaction says; if it has happened, with what it reads.
    fn shown(&mut self, parts: &[Part], happens: bool) -> Value {
        let mut out = Vec::with_capacity(parts.len());
        for part in parts {
            let (name, key, value) = match (*part, self.shape.model) {
                (Part::Read(key), _) if !happens => ("r", key, Value::Nil),
                (Part::Read(key), Model::Append) => {
                    let list = self.values(key).iter().map(|it| Value::Int(*it)).collect();
                    ("r", key, Value::List(list))
                }
                (Part::Read(key), Model::Register) => {
                    ("r", key, self.values(key).last().copied().into())
                }
                (Part::Write(key, value), model) => {
                    if happens {
                        self.values(key).push(value);
                    }
                    let name = if model == Model::Append { "append" } else { "w" };
                    (name, key, Value::Int(value))
                }
            };
            let key = Value::Int(i64::try_from(key).unwrap_or(i64::MAX));
            out.push(Value::List(vec![Value::keyword(name), key, value]));
        }
        Value::List(out)
    }

    /// An operation in work happens, or its answer arrives.
    fn go_on(&mut self) -> Option<Event> {
        let number = self.below(self.open.len() as u64) as usize;
        if let Some(event) = self.open[number].end.take() {
            let Open { process, .. } = self.open.swap_remove(number);
            if event.kind == Type::Info {
                self.idle.push_back(self.next_process);
                self.next_process += 1;
            } else {
                self.idle.push_back(process);
            }
            return Some(event);
        }
        let process = self.open[number].process;
        let parts = std::mem::take(&mut self.open[number].parts);
        let lost = self.below(1_000) < self.shape.info_per_mille;
        let happens = !lost || self.below(2) == 0;
        let asked = self.shown(&parts, false);
        let found = if happens { self.shown(&parts, true) } else { asked.clone() };
        let (kind, value) = if lost { (Type::Info, asked) } else { (Type::Ok, found) };
        let mut event = Event::new(kind, process, TXN, value);
        self.clock += 1;
        let writes = parts.iter().any(|part| matches!(part, Part::Write(..)));
        event.ts = Some(self.clock).filter(|_| self.shape.timestamps && writes && !lost);
        self.open[number].end = Some(event);
        // What nobody in work touches is not needed again.
        if self.old.len() > 4 * self.keys.len() {
            let open = &self.open;
            let touched = |key: &u64| {
                let mut parts = open.iter().flat_map(|it| &it.parts);
                parts.any(|part| matches!(part, Part::Read(it) | Part::Write(it, _) if it == key))
            };
            self.old.retain(|key, _| touched(key));
        }
        None
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let begins = self.begun < self.shape.operations && !self.idle.is_empty();
            if !begins && self.open.is_empty() {
                return None;
            }
            let event = if begins && (self.open.is_empty() || self.below(3) == 0) {
                let process = self.idle.pop_front().expect("somebody is idle");
                Some(self.begin(process))
            } else {
                self.go_on()
            };
            let Some(mut event) = event else { continue };
            self.time += 1 + self.below(2_000);
            event.index = Some(self.index);
            event.time = Some(self.time);
            self.index += 1;
            return Some(event);
        }
    }
}
