//! A whole history in memory, small: what the checker needs of every operation, in flat columns.

use rustc_hash::FxHashMap;

use crate::error::Problem;
use crate::event::{Event, NEMESIS, Type};
use crate::value::Value;

/// The name of a transaction's `:f`.
pub const TXN: &str = "txn";

/// A key or an element, by number: small whole numbers are themselves, all else is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom(u32);

impl Atom {
    /// Nothing: what a register holds before its first write.
    pub const NIL: Self = Self(LOOKED_UP);

    /// Its number.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

const LOOKED_UP: u32 = 1 << 31;

/// Values and their numbers.
#[derive(Clone, Debug)]
struct Atoms {
    values: Vec<Value>,
    numbers: FxHashMap<Value, u32>,
}

impl Default for Atoms {
    fn default() -> Self {
        let nil = [(Value::Nil, 0)];
        Self { values: vec![Value::Nil], numbers: nil.into_iter().collect() }
    }
}

impl Atoms {
    fn atom(&mut self, value: &Value) -> Result<Atom, Problem> {
        if let Some(atom) = self.find(value) {
            return Ok(atom);
        }
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        if number >= LOOKED_UP {
            return Err(Problem::TooMany("2,147,483,647 different values"));
        }
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        Ok(Atom(number | LOOKED_UP))
    }

    fn find(&self, value: &Value) -> Option<Atom> {
        match value {
            Value::Int(it) if (0..i64::from(LOOKED_UP)).contains(it) => {
                Some(Atom(u32::try_from(*it).expect("below 2^31")))
            }
            other => self.numbers.get(other).map(|number| Atom(number | LOOKED_UP)),
        }
    }

    fn value(&self, atom: Atom) -> Value {
        if atom.0 < LOOKED_UP {
            Value::Int(atom.0.into())
        } else {
            self.values[(atom.0 - LOOKED_UP) as usize].clone()
        }
    }
}

/// A part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Micro<'a> {
    /// An element was appended to a list.
    Append(Atom, Atom),
    /// A register was written.
    Write(Atom, Atom),
    /// A list was read.
    ReadList(Atom, &'a [Atom]),
    /// A register was read.
    ReadRegister(Atom, Atom),
    /// Something was to be read; what was found is not known, or is nothing: an empty list, a register
    /// never written.
    ReadNothing(Atom),
}

impl Micro<'_> {
    /// The key that it touches.
    pub const fn key(&self) -> Atom {
        match *self {
            Self::Append(key, _)
            | Self::Write(key, _)
            | Self::ReadList(key, _)
            | Self::ReadRegister(key, _)
            | Self::ReadNothing(key) => key,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Append,
    Write,
    ReadList,
    ReadRegister,
    ReadNothing,
}

/// A part of a transaction as it is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    kind: Kind,
    key: Atom,
    /// The element or value; of a list its length, and its elements stand at `start`.
    value: u32,
    start: u32,
}

/// Where an operation has no end.
const NEVER: u32 = u32::MAX;

/// One operation of a client, from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) process: i64,
    pub(crate) kind: Type,
    has_ts: bool,
    /// Whether its value is that of a transaction.
    is_txn: bool,
    f: u32,
    ts: i64,
    /// The number of the event that began it, counted from 0 over all events of clients.
    begin: u32,
    end: u32,
    micros: (u32, u32),
}

/// An operation of a client.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    history: &'a History,
    /// Its number, from 0, in the order in which operations began.
    pub number: usize,
}

impl<'a> Operation<'a> {
    fn row(&self) -> &'a Row {
        &self.history.rows[self.number]
    }

    /// Who did it.
    pub fn process(&self) -> i64 {
        self.row().process
    }

    /// How it ended: never `Invoke`, because what did not return is `Info`.
    pub fn kind(&self) -> Type {
        self.row().kind
    }

    /// What was done.
    pub fn f(&self) -> &'a str {
        &self.history.names[self.row().f as usize]
    }

    /// Its commit timestamp, if it is known.
    pub fn ts(&self) -> Option<i64> {
        self.row().has_ts.then(|| self.row().ts)
    }

    /// Whether it is a transaction; of anything else no value is kept.
    pub fn is_txn(&self) -> bool {
        self.row().is_txn
    }

    /// The place of its beginning in the order of all events of clients.
    pub fn begin(&self) -> u32 {
        self.row().begin
    }

    /// The place of its end in that order, unless it may still be going on.
    pub fn end(&self) -> Option<u32> {
        Some(self.row().end).filter(|end| *end != NEVER)
    }

    /// The index of the event that began it, as the history has it.
    pub fn index(&self) -> u64 {
        self.history.indices[self.number]
    }

    /// The parts of a transaction, in order.
    pub fn micros(&self) -> impl ExactSizeIterator<Item = Micro<'a>> + use<'a> {
        let history = self.history;
        let (from, to) = self.row().micros;
        history.micros[from as usize..to as usize].iter().map(move |kept| {
            let (key, value) = (kept.key, kept.value);
            match kept.kind {
                Kind::Append => Micro::Append(key, Atom(value)),
                Kind::Write => Micro::Write(key, Atom(value)),
                Kind::ReadRegister => Micro::ReadRegister(key, Atom(value)),
                Kind::ReadNothing => Micro::ReadNothing(key),
                Kind::ReadList => {
                    let from = kept.start as usize;
                    Micro::ReadList(key, &history.elements[from..from + value as usize])
                }
            }
        })
    }

    /// Its value, as an event has it.
    pub fn value(&self) -> Value {
        if !self.is_txn() {
            return Value::Nil;
        }
        let micro = |name: &str, key, value| {
            Value::List(vec![Value::keyword(name), self.history.value(key), value])
        };
        let list = |list: &[Atom]| list.iter().map(|it| self.history.value(*it)).collect();
        let parts = self.micros().map(|it| match it {
            Micro::Append(key, element) => micro("append", key, self.history.value(element)),
            Micro::Write(key, value) => micro("w", key, self.history.value(value)),
            Micro::ReadList(key, elements) => micro("r", key, Value::List(list(elements))),
            Micro::ReadRegister(key, value) => micro("r", key, self.history.value(value)),
            Micro::ReadNothing(key) => micro("r", key, Value::Nil),
        });
        Value::List(parts.collect())
    }
}

/// A whole history: every operation of a client once, from its beginning to its end.
///
/// An operation that never returned is `Info`. Faults are counted and left out, and so is the value of
/// every operation that is no transaction.
#[derive(Clone, Debug, Default)]
pub struct History {
    rows: Vec<Row>,
    /// The index of the event that began each operation.
    indices: Vec<u64>,
    micros: Vec<Kept>,
    elements: Vec<Atom>,
    atoms: Atoms,
    names: Vec<String>,
    events: u32,
    faults: u64,
}

impl History {
    /// From events, in order.
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, Problem> {
        let mut builder = Builder::default();
        events.into_iter().try_for_each(|event| builder.push(event))?;
        builder.finish()
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none; one that was read always has some.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Events of processes that are no clients.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// How many events of clients it has: places are below.
    pub fn places(&self) -> u32 {
        self.events
    }

    /// An operation by its number, which must be below [`History::len`].
    pub fn operation(&self, number: usize) -> Operation<'_> {
        assert!(number < self.rows.len(), "operation {number} of {}", self.rows.len());
        Operation { history: self, number }
    }

    /// All operations, in the order in which they began.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = Operation<'_>> {
        (0..self.rows.len()).map(|number| Operation { history: self, number })
    }

    /// What an atom stands for.
    pub fn value(&self, atom: Atom) -> Value {
        self.atoms.value(atom)
    }

    /// What stands for a value, if the history has it.
    pub fn atom(&self, value: &Value) -> Option<Atom> {
        self.atoms.find(value)
    }

    /// Its events again, in order, numbered from 0. Faults, times and what else the lines said are not kept.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let mut at: Vec<(u32, usize, bool)> = Vec::with_capacity(self.rows.len() * 2);
        for (number, row) in self.rows.iter().enumerate() {
            at.push((row.begin, number, true));
            if row.end != NEVER {
                at.push((row.end, number, false));
            }
        }
        at.sort_unstable();
        at.into_iter().enumerate().map(|(index, (_, number, begins))| {
            let operation = self.operation(number);
            let mut value = operation.value();
            let kind = if begins { Type::Invoke } else { operation.kind() };
            if begins {
                forget_reads(&mut value);
            }
            Event {
                index: Some(index as u64),
                ts: operation.ts().filter(|_| !begins),
                ..Event::new(kind, operation.process(), operation.f(), value)
            }
        })
    }
}

/// What a transaction asks for, of what it found.
fn forget_reads(value: &mut Value) {
    let Value::List(parts) = value else { return };
    for part in parts {
        if let Value::List(part) = part
            && let [kind, _, found] = part.as_mut_slice()
            && kind.name() == Some("r")
        {
            *found = Value::Nil;
        }
    }
}

/// Makes a history of events, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    history: History,
    /// The operation that each process has in work.
    open: FxHashMap<i64, usize>,
    /// The last operation of each process of which nobody knows what became.
    lost: FxHashMap<i64, usize>,
    names: FxHashMap<String, u32>,
    index: Option<u64>,
}

impl Builder {
    /// The next event.
    pub fn push(&mut self, event: &Event) -> Result<(), Problem> {
        let index = self.next_index(event)?;
        if event.process <= NEMESIS {
            self.history.faults += 1;
            return Ok(());
        }
        let place = self.history.events;
        if place >= NEVER - 1 {
            return Err(Problem::TooMany("4,294,967,293 events"));
        }
        match event.kind {
            Type::Invoke => self.begin(event, place, index)?,
            Type::Ok | Type::Fail | Type::Info => {
                let process = event.process;
                let number = self.open.remove(&process).ok_or(Problem::NoInvocation { process })?;
                self.end(event, number, place)?;
            }
        }
        self.history.events += 1;
        Ok(())
    }

    /// Says afterwards what became of the last operation of a process that ended as `:info` or not at all.
    /// It then counts as one that lasted until the end of the history.
    pub fn resolve(&mut self, event: &Event) -> Result<(), Problem> {
        let process = event.process;
        let lost = self.lost.remove(&process).or_else(|| self.open.remove(&process));
        let number = lost.ok_or(Problem::NoInvocation { process })?;
        self.end(event, number, NEVER)?;
        self.history.events += 1;
        let row = &mut self.history.rows[number];
        match row.kind {
            Type::Ok | Type::Fail => row.end = self.history.events - 1,
            Type::Invoke | Type::Info => row.end = NEVER,
        }
        Ok(())
    }

    /// The history. What has not returned is `Info`.
    pub fn finish(self) -> Result<History, Problem> {
        if self.history.rows.is_empty() {
            return Err(Problem::Empty);
        }
        Ok(self.history)
    }

    fn next_index(&mut self, event: &Event) -> Result<u64, Problem> {
        let index = match (event.index, self.index) {
            (Some(index), Some(before)) if index <= before => {
                return Err(Problem::OutOfOrder { index, before });
            }
            (Some(index), _) => index,
            (None, before) => before.map_or(0, |before| before + 1),
        };
        self.index = Some(index);
        Ok(index)
    }

    fn begin(&mut self, event: &Event, place: u32, index: u64) -> Result<(), Problem> {
        let process = event.process;
        if let Some(open) = self.open.get(&process) {
            let open = self.history.indices[*open];
            return Err(Problem::TwiceAtOnce { process, open });
        }
        let f = self.name(&event.f)?;
        let row = Row {
            process,
            kind: Type::Info,
            has_ts: false,
            is_txn: event.f == TXN,
            f,
            ts: 0,
            begin: place,
            end: NEVER,
            micros: self.micros(event)?,
        };
        self.open.insert(process, self.history.rows.len());
        self.history.rows.push(row);
        self.history.indices.push(index);
        Ok(())
    }

    fn name(&mut self, f: &str) -> Result<u32, Problem> {
        if let Some(number) = self.names.get(f) {
            return Ok(*number);
        }
        let number = u32::try_from(self.history.names.len())
            .map_err(|_| Problem::TooMany("4,294,967,295 kinds of operations"))?;
        self.names.insert(f.to_owned(), number);
        self.history.names.push(f.to_owned());
        Ok(number)
    }

    fn end(&mut self, event: &Event, number: usize, place: u32) -> Result<(), Problem> {
        let begun = self.history.rows[number];
        if self.names.get(&event.f) != Some(&begun.f) {
            let begun = format!(":{}", self.history.names[begun.f as usize]);
            let ended = format!(":{}", event.f);
            return Err(Problem::OtherOperation { process: event.process, begun, ended });
        }
        // What a transaction that did not answer found is not known, whatever its line says.
        let micros = match event.kind {
            Type::Ok => {
                let found = self.micros(event)?;
                if !self.answers(begun.micros, found) {
                    let asked = self.history.operation(number).value();
                    let (begun, ended) = (short(&asked), short(&event.value));
                    return Err(Problem::OtherOperation { process: event.process, begun, ended });
                }
                found
            }
            Type::Invoke | Type::Fail | Type::Info => begun.micros,
        };
        let row = &mut self.history.rows[number];
        row.kind = event.kind;
        row.micros = micros;
        row.has_ts = event.ts.is_some();
        row.ts = event.ts.unwrap_or(0);
        match event.kind {
            // Without an answer it may go on for ever.
            Type::Info | Type::Invoke => {
                self.lost.insert(event.process, number);
            }
            Type::Ok | Type::Fail => row.end = place,
        }
        Ok(())
    }

    /// Whether an answer has the parts of its question, reads with what they found.
    fn answers(&self, asked: (u32, u32), found: (u32, u32)) -> bool {
        let parts = |range: (u32, u32)| &self.history.micros[range.0 as usize..range.1 as usize];
        let (asked, found) = (parts(asked), parts(found));
        let same = |(asked, found): (&Kept, &Kept)| {
            let writes = |it: &Kept| matches!(it.kind, Kind::Append | Kind::Write);
            let both = asked.kind == found.kind && asked.value == found.value;
            asked.key == found.key && (both || !writes(asked) && !writes(found))
        };
        asked.len() == found.len() && asked.iter().zip(found).all(same)
    }

    /// Keeps the parts of a transaction.
    fn micros(&mut self, event: &Event) -> Result<(u32, u32), Problem> {
        let number = |it: usize| {
            u32::try_from(it).map_err(|_| Problem::TooMany("4,294,967,295 parts of transactions"))
        };
        let from = number(self.history.micros.len())?;
        if event.f == TXN {
            let parts = event.value.as_list().ok_or_else(|| {
                Problem::Field(format!(
                    "the :value of a transaction is a list such as [[:append 1 2] [:r 1 nil]], and \
                     not {}",
                    short(&event.value)
                ))
            })?;
            for part in parts {
                let kept = self.micro(part)?;
                self.history.micros.push(kept);
            }
        }
        Ok((from, number(self.history.micros.len())?))
    }

    fn micro(&mut self, part: &Value) -> Result<Kept, Problem> {
        let unknown = || Problem::UnknownKind(short(part));
        let Some([kind, key, value]) = part.as_list() else { return Err(unknown()) };
        let kind = match (kind.name(), value) {
            (Some("append"), _) => Kind::Append,
            (Some("w"), _) => Kind::Write,
            (Some("r"), Value::Nil) => Kind::ReadNothing,
            (Some("r"), Value::List(_)) => Kind::ReadList,
            (Some("r"), _) => Kind::ReadRegister,
            _ => return Err(unknown()),
        };
        let key = self.history.atoms.atom(key)?;
        let start = u32::try_from(self.history.elements.len())
            .map_err(|_| Problem::TooMany("4,294,967,295 elements of reads"))?;
        let value = match value {
            Value::List(items) if kind == Kind::ReadList => {
                for item in items {
                    let atom = self.history.atoms.atom(item)?;
                    self.history.elements.push(atom);
                }
                u32::try_from(items.len()).map_err(|_| Problem::TooMany("so many elements"))?
            }
            other => self.history.atoms.atom(other)?.0,
        };
        Ok(Kept { kind, key, value, start })
    }
}

fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain(['…']).collect()
}
