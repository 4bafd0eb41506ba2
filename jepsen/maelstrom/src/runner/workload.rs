//! What clients ask: Maelstrom's workloads, as its generators draw them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use handfast_checker::Value;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value as Json, json};

use crate::protocol::body;

/// Keys that are used at the same time.
const ACTIVE_KEYS: usize = 8;
/// After so many writes a key is left, and a fresh one taken.
const WRITES_PER_KEY: i64 = 32;
/// Steps of a transaction at most.
const MAX_STEPS: usize = 4;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// `txn-list-append`: transactions of reads of lists and appends to them.
    TxnListAppend,
    /// `txn-rw-register`: transactions of reads and writes of registers.
    TxnRwRegister,
    /// `lin-kv`: reads, writes and compare-and-sets of single keys.
    LinKv,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::TxnListAppend, Self::TxnRwRegister, Self::LinKv];

    /// Maelstrom's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TxnListAppend => "txn-list-append",
            Self::TxnRwRegister => "txn-rw-register",
            Self::LinKv => "lin-kv",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| format!("there is no workload {name:?}; choose one of {known}"))
    }
}

/// One request: what is sent, and what is taken down of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operation {
    /// The body, without `msg_id`.
    pub(super) body: Map<String, Json>,
    /// As steps of a transaction, reads still nil.
    pub(super) steps: Vec<Step>,
}

/// A step as the history has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) f: &'static str,
    pub(super) key: i64,
    pub(super) value: Value,
}

impl Step {
    fn new(f: &'static str, key: i64, value: impl Into<Value>) -> Self {
        Self { f, key, value: value.into() }
    }

    fn to_value(&self) -> Value {
        Value::List(vec![Value::keyword(self.f), self.key.into(), self.value.clone()])
    }
}

impl Operation {
    fn txn(steps: Vec<Step>) -> Self {
        let json = |step: &Step| json!([step.f, step.key, to_json(&step.value)]);
        let txn: Vec<Json> = steps.iter().map(json).collect();
        Self { body: body(json!({ "type": "txn", "txn": txn })), steps }
    }

    /// The steps as one value of the history.
    pub(super) fn value(steps: &[Step]) -> Value {
        Value::List(steps.iter().map(Step::to_value).collect())
    }

    /// The steps as they were answered: every read with its value. `None` if the answer is not of the
    /// published form.
    pub(super) fn answered(&self, answer: &Map<String, Json>) -> Option<Vec<Step>> {
        let kind = answer.get("type")?.as_str()?;
        match (kind, &self.steps[..]) {
            ("txn_ok", steps) => {
                let done = answer.get("txn")?.as_array()?;
                if done.len() != steps.len() {
                    return None;
                }
                steps.iter().zip(done).map(|(asked, done)| filled(asked, done)).collect()
            }
            ("read_ok", [read]) => {
                let value = from_json(answer.get("value")?)?;
                Some(vec![Step { value, ..read.clone() }])
            }
            ("write_ok", [_]) | ("cas_ok", [_, _]) => Some(self.steps.clone()),
            _ => None,
        }
    }

    /// What a definite error of the key-value workload shows: a key that does not exist was read so.
    pub(super) fn missing(&self) -> Option<Vec<Step>> {
        let key = self.steps.first()?.key;
        (self.body["type"] != "txn").then(|| vec![Step::new("r", key, Value::Nil)])
    }
}

/// A step as it was answered, if the answer is to this step.
fn filled(asked: &Step, done: &Json) -> Option<Step> {
    let [f, key, value] = done.as_array()?.as_slice() else { return None };
    let same = f.as_str()? == asked.f && key.as_i64()? == asked.key;
    let value = from_json(value)?;
    let fits = asked.f == "r" || value == asked.value;
    (same && fits).then(|| Step { value, ..asked.clone() })
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Int(number) => json!(number),
        Value::List(items) => items.iter().map(to_json).collect(),
        _ => Json::Null,
    }
}

fn from_json(value: &Json) -> Option<Value> {
    match value {
        Json::Null => Some(Value::Nil),
        Json::Number(number) => number.as_i64().map(Value::Int),
        Json::Array(items) => items.iter().map(from_json).collect::<Option<_>>().map(Value::List),
        Json::Bool(_) | Json::String(_) | Json::Object(_) => None,
    }
}

/// Draws requests; all clients share one, so that no value is written twice to a key.
pub(super) struct Generator {
    workload: Workload,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    active: Vec<i64>,
    keys: i64,
    written: BTreeMap<i64, i64>,
}

impl Generator {
    pub(super) fn new(workload: Workload, seed: u64) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            active: (0..ACTIVE_KEYS as i64).collect(),
            keys: ACTIVE_KEYS as i64,
            written: BTreeMap::new(),
        };
        Self { workload, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request. `seen` is what the client last saw of each key.
    pub(super) fn draw(&self, seen: &BTreeMap<i64, i64>) -> Operation {
        let mut state = self.lock();
        match self.workload {
            Workload::TxnListAppend => state.txn("append"),
            Workload::TxnRwRegister => state.txn("w"),
            Workload::LinKv => state.single(seen),
        }
    }

    /// Reads of everything that was ever written, a few keys each.
    pub(super) fn final_reads(&self) -> Vec<Operation> {
        let keys: Vec<i64> = self.lock().written.keys().copied().collect();
        let read = |key: &i64| Step::new("r", *key, Value::Nil);
        match self.workload {
            Workload::TxnListAppend | Workload::TxnRwRegister => keys
                .chunks(MAX_STEPS)
                .map(|keys| Operation::txn(keys.iter().map(read).collect()))
                .collect(),
            Workload::LinKv => keys.iter().map(single_read).collect(),
        }
    }

    /// A request that shows whether the nodes serve, and leaves no trace: keys below zero are nobody's.
    pub(super) fn probe(&self, number: i64) -> Operation {
        let key = -1 - number.rem_euclid(64);
        match self.workload {
            Workload::TxnListAppend => Operation::txn(vec![Step::new("append", key, number)]),
            Workload::TxnRwRegister => Operation::txn(vec![Step::new("w", key, number)]),
            Workload::LinKv => single_write(key, number),
        }
    }
}

fn single_read(key: &i64) -> Operation {
    let body = body(json!({ "type": "read", "key": key }));
    Operation { body, steps: vec![Step::new("r", *key, Value::Nil)] }
}

fn single_write(key: i64, value: i64) -> Operation {
    let body = body(json!({ "type": "write", "key": key, "value": value }));
    Operation { body, steps: vec![Step::new("w", key, value)] }
}

impl State {
    fn key(&mut self) -> i64 {
        self.active[self.random.random_range(0..self.active.len())]
    }

    /// A value that was never written to the key.
    fn fresh(&mut self, key: i64) -> i64 {
        let written = self.written.entry(key).or_default();
        *written += 1;
        let value = *written;
        if value >= WRITES_PER_KEY
            && let Some(place) = self.active.iter().position(|active| *active == key)
        {
            self.active[place] = self.keys;
            self.keys += 1;
        }
        value
    }

    fn txn(&mut self, write: &'static str) -> Operation {
        let count = self.random.random_range(1..=MAX_STEPS);
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.key();
            if self.random.random_bool(0.5) {
                steps.push(Step::new("r", key, Value::Nil));
            } else {
                steps.push(Step::new(write, key, self.fresh(key)));
            }
        }
        Operation::txn(steps)
    }

    fn single(&mut self, seen: &BTreeMap<i64, i64>) -> Operation {
        let key = self.key();
        match (self.random.random_range(0..3), seen.get(&key)) {
            (0, _) => single_read(&key),
            (1, Some(from)) => {
                let to = self.fresh(key);
                let body = body(json!({ "type": "cas", "key": key, "from": from, "to": to }));
                Operation { body, steps: vec![Step::new("r", key, *from), Step::new("w", key, to)] }
            }
            _ => {
                let value = self.fresh(key);
                single_write(key, value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_draws_one_sequence_and_no_value_twice() {
        for workload in Workload::ALL {
            let draw = || {
                let generator = Generator::new(workload, 7);
                (0..500).map(|_| generator.draw(&BTreeMap::from([(1, 1)]))).collect::<Vec<_>>()
            };
            let operations = draw();
            assert_eq!(operations, draw());
            let writes = operations.iter().flat_map(|it| &it.steps).filter(|step| step.f != "r");
            let mut written: Vec<(i64, String)> =
                writes.map(|step| (step.key, step.value.to_string())).collect();
            let all = written.len();
            written.sort();
            written.dedup();
            assert!(all > 200 && written.len() == all, "{workload}");
        }
    }

    #[test]
    fn answers_fill_reads_in_and_those_of_another_form_are_none() {
        let steps = vec![Step::new("r", 1, Value::Nil), Step::new("append", 2, 5)];
        let operation = Operation::txn(steps);
        assert_eq!(
            Json::Object(operation.body.clone()).to_string(),
            r#"{"type":"txn","txn":[["r",1,null],["append",2,5]]}"#
        );
        let answer = |txn: Json| operation.answered(&body(json!({ "type": "txn_ok", "txn": txn })));
        let filled = answer(json!([["r", 1, [3]], ["append", 2, 5]])).expect("an answer");
        assert_eq!(Operation::value(&filled).to_string(), "[[:r 1 [3]] [:append 2 5]]");
        assert_eq!(answer(json!([["r", 1, [3]]])), None);
        assert_eq!(answer(json!([["r", 1, [3]], ["append", 2, 6]])), None);
        assert_eq!(answer(json!([["r", 9, [3]], ["append", 2, 5]])), None);
    }

    #[test]
    fn unknown_workloads_are_refused_with_the_known_ones() {
        assert_eq!("lin-kv".parse(), Ok(Workload::LinKv));
        let error = "bank".parse::<Workload>().expect_err("there is none");
        assert!(error.contains("txn-list-append, txn-rw-register, lin-kv"), "{error}");
    }
}
