//! What a check finds, as it finds it.

use rustc_hash::FxHashMap;

use super::Consistency;
use super::cycles::{self, Cycle};
use super::graph::Graph;
use crate::history::{Atom, History, Micro, Operation};
use crate::verdict::{Anomaly, Kind, Relation, Step};

/// Elements of a long list that are shown, at its end.
const SHOWN: usize = 8;
/// Parts of a long transaction that are shown.
const PARTS: usize = 8;

/// Anomalies and what could not be decided.
#[derive(Debug)]
pub(crate) struct Notes {
    told: usize,
    anomalies: Vec<Anomaly>,
    counts: FxHashMap<String, usize>,
    more: usize,
    undecided: Vec<String>,
    undecided_more: usize,
}

impl Notes {
    pub(crate) fn new(told: usize) -> Self {
        Self {
            told,
            anomalies: Vec::new(),
            counts: FxHashMap::default(),
            more: 0,
            undecided: Vec::new(),
            undecided_more: 0,
        }
    }

    /// Something does not hold; the rest is made only if it is told.
    pub(crate) fn anomaly(&mut self, kind: Kind, told: impl FnOnce() -> (String, Vec<Step>)) {
        let count = self.counts.entry(kind.name()).or_default();
        *count += 1;
        if *count > self.told.max(1) {
            self.more += 1;
            return;
        }
        let (text, cycle) = told();
        self.anomalies.push(Anomaly { kind, text, cycle });
    }

    pub(crate) fn undecided(&mut self, why: String) {
        if self.undecided.len() < self.told.max(1) {
            self.undecided.push(why);
        } else {
            self.undecided_more += 1;
        }
    }

    pub(crate) fn has_anomalies(&self) -> bool {
        !self.anomalies.is_empty()
    }

    /// The cycles that the consistency forbids. Whether there are none.
    pub(crate) fn cycles(
        &mut self,
        graph: &Graph,
        history: &History,
        consistency: Consistency,
        why: &dyn Fn(u32, u32, Relation, u32) -> String,
    ) -> bool {
        let (cycles, left_out) = cycles::find(graph, history, consistency);
        let none = cycles.is_empty();
        for Cycle { kind, hops } in cycles {
            self.anomaly(kind, || {
                let text = format!("{} transactions, each before the next one", hops.len());
                let step = |number: usize| {
                    let hop = hops[number];
                    let next = hops[(number + 1) % hops.len()].from;
                    let operation = history.operation(hop.from as usize);
                    let why = why(hop.from, next, hop.relation, hop.key);
                    step(history, &operation, hop.relation, why)
                };
                (text, (0..hops.len()).map(step).collect())
            });
        }
        self.more += left_out;
        none
    }

    pub(crate) fn into_parts(mut self) -> (Vec<Anomaly>, usize, Vec<String>) {
        if self.undecided_more > 0 {
            self.undecided.push(format!("and {} more", self.undecided_more));
        }
        (self.anomalies, self.more, self.undecided)
    }
}

/// One step of a cycle.
pub(crate) fn step(
    history: &History,
    operation: &Operation<'_>,
    relation: Relation,
    why: String,
) -> Step {
    Step {
        index: operation.index(),
        process: operation.process(),
        operation: shown(history, operation),
        relation,
        why,
    }
}

/// The words for an order that needs no key; of others `data` speaks.
pub(crate) fn order(relation: Relation, data: impl FnOnce() -> String) -> String {
    match relation {
        Relation::Process => "the same process did it before".to_owned(),
        Relation::RealTime => "it was over before the other began".to_owned(),
        Relation::WriteWrite | Relation::WriteRead | Relation::ReadWrite => data(),
    }
}

/// An operation, long lists shortened.
pub(crate) fn shown(history: &History, operation: &Operation<'_>) -> String {
    let value = |atom: Atom| history.value(atom).to_string();
    let part = |micro: Micro<'_>| match micro {
        Micro::Append(key, element) => format!("[:append {} {}]", value(key), value(element)),
        Micro::Write(key, it) => format!("[:w {} {}]", value(key), value(it)),
        Micro::ReadRegister(key, it) => format!("[:r {} {}]", value(key), value(it)),
        Micro::ReadNothing(key) => format!("[:r {} nil]", value(key)),
        Micro::ReadList(key, list) => format!("[:r {} {}]", value(key), shown_list(history, list)),
    };
    let micros = operation.micros();
    let more = micros.len().saturating_sub(PARTS);
    let mut parts: Vec<String> = micros.take(PARTS).map(part).collect();
    if more > 0 {
        parts.push(format!("… {more} more"));
    }
    format!("{}[{}]", ended(operation), parts.join(" "))
}

/// How it ended, if not well.
fn ended(operation: &Operation<'_>) -> &'static str {
    match operation.kind() {
        crate::Type::Ok | crate::Type::Invoke => "",
        crate::Type::Fail => "(failed) ",
        crate::Type::Info => "(unknown) ",
    }
}

/// A list, or its end.
pub(crate) fn shown_list(history: &History, list: &[Atom]) -> String {
    let left = list.len().saturating_sub(SHOWN);
    let mut words: Vec<String> =
        list[left..].iter().map(|atom| history.value(*atom).to_string()).collect();
    if left > 0 {
        words.insert(0, format!("… {left} …"));
    }
    format!("[{}]", words.join(" "))
}
