//! One line of a history: an operation begins, or ends.

use crate::error::Problem;
use crate::value::Value;

/// The process of whoever makes faults; Jepsen writes `:nemesis`.
pub const NEMESIS: i64 = -1;

/// What an event says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// It begins.
    Invoke,
    /// It happened.
    Ok,
    /// It provably did not happen, and never will.
    Fail,
    /// Nobody knows whether it happened, or ever will.
    Info,
}

impl Type {
    /// Its name in a history.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the history, if it says so; indices rise. Without one, it is one more than that before.
    pub index: Option<u64>,
    /// Whether the operation begins, or how it ended.
    pub kind: Type,
    /// Who does it. Clients count from 0; a negative one makes faults and is not checked.
    pub process: i64,
    /// What is done. `txn` is a transaction; the checker knows no other.
    pub f: String,
    /// Of a transaction a list of `[:append key element]`, `[:w key value]` and `[:r key value]`; the value
    /// of a read is nil until it is known. Of anything else, anything.
    pub value: Value,
    /// When it happened, nanoseconds since the run began. The order of lines is what counts for the checker.
    pub time: Option<u64>,
    /// The commit timestamp, if the operation wrote, committed, and it is known. Timestamps order the
    /// writes of each key, in whatever unit.
    pub ts: Option<i64>,
    /// What else the line says: the transaction's id, why it failed.
    pub more: Vec<(String, Value)>,
}

impl Event {
    /// An event of which no more is known.
    pub fn new(kind: Type, process: i64, f: impl Into<String>, value: Value) -> Self {
        Self {
            index: None,
            kind,
            process,
            f: f.into(),
            value,
            time: None,
            ts: None,
            more: Vec::new(),
        }
    }

    /// As a map, in the order in which it is written.
    pub(crate) fn to_value(&self, nemesis: &Value) -> Value {
        let process = if self.process == NEMESIS { nemesis.clone() } else { self.process.into() };
        let number = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
        let mut entries = Vec::with_capacity(7 + self.more.len());
        let mut put = |name: &str, value: Value| entries.push((Value::keyword(name), value));
        if let Some(index) = self.index {
            put("index", number(index));
        }
        put("type", Value::keyword(self.kind.name()));
        put("process", process);
        put("f", Value::keyword(self.f.as_str()));
        put("value", self.value.clone());
        if let Some(time) = self.time {
            put("time", number(time));
        }
        if let Some(ts) = self.ts {
            put("ts", ts.into());
        }
        for (name, value) in &self.more {
            put(name, value.clone());
        }
        Value::Map(entries)
    }

    /// From a map. Fields may be keywords, as in EDN, or text, as in JSON.
    pub(crate) fn from_value(value: Value) -> Result<Self, Problem> {
        let Value::Map(entries) = value.untagged() else {
            return Err(Problem::Field(
                "an operation is a map, as in {:type :invoke, :process 0, :f :txn, :value \
                 [[:append 1 2]]}"
                    .to_owned(),
            ));
        };
        let (mut kind, mut process, mut f) = (None, None, None);
        let mut event = Self::new(Type::Invoke, 0, "", Value::Nil);
        for (key, value) in entries {
            let name = key.name().unwrap_or_default();
            match (name, value) {
                ("type", value) => kind = Some(type_of(&value)?),
                ("process", value) => process = Some(process_of(&value)?),
                ("f", value) => {
                    let name = value.name().map(str::to_owned);
                    f = Some(name.ok_or_else(|| expected("f", "a keyword", &value))?);
                }
                ("value", value) => event.value = value,
                ("index" | "time" | "ts", Value::Nil) => {}
                ("index", value) => event.index = Some(natural("index", &value)?),
                ("time", value) => event.time = Some(natural("time", &value)?),
                ("ts", Value::Int(ts)) => event.ts = Some(ts),
                ("ts", value) => return Err(expected("ts", "a whole number", &value)),
                ("", value) => event.more.push((key.to_string(), value)),
                (name, value) => event.more.push((name.to_owned(), value)),
            }
        }
        event.kind = kind.ok_or_else(|| absent("type", ":invoke, :ok, :fail or :info"))?;
        event.process = process.ok_or_else(|| absent("process", "a whole number"))?;
        event.f = f.ok_or_else(|| absent("f", "a keyword such as :txn"))?;
        Ok(event)
    }
}

fn absent(field: &str, what: &str) -> Problem {
    Problem::Field(format!("the operation has no :{field}; write {what}"))
}

fn expected(field: &str, what: &str, found: &Value) -> Problem {
    let mut found = found.to_string();
    if found.len() > 80 {
        found = found.chars().take(80).chain(['…']).collect();
    }
    Problem::Field(format!(":{field} must be {what}, and is {found}"))
}

fn type_of(value: &Value) -> Result<Type, Problem> {
    match value.name() {
        Some("invoke") => Ok(Type::Invoke),
        Some("ok") => Ok(Type::Ok),
        Some("fail") => Ok(Type::Fail),
        Some("info") => Ok(Type::Info),
        _ => Err(expected("type", ":invoke, :ok, :fail or :info", value)),
    }
}

fn process_of(value: &Value) -> Result<i64, Problem> {
    match value {
        Value::Int(process) => Ok(*process),
        other if other.name() == Some("nemesis") => Ok(NEMESIS),
        other => Err(expected("process", "a whole number or :nemesis", other)),
    }
}

fn natural(field: &str, value: &Value) -> Result<u64, Problem> {
    match value {
        Value::Int(it) => {
            u64::try_from(*it).map_err(|_| expected(field, "a whole number from 0", value))
        }
        other => Err(expected(field, "a whole number from 0", other)),
    }
}
