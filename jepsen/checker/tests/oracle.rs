//! The checker against brute force: every order of a small history is tried, and the checker must say
//! *valid* of exactly those that have one.
//!
//! The long form: `HANDFAST_ORACLE_HISTORIES=200000 cargo test --release -p handfast-checker --test oracle`.

use handfast_checker::{Consistency, Event, History, Model, Options, Type, Validity, Value, check};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Histories of each model that the quick form tries.
const QUICK: u64 = 10_000;

/// A part of a transaction: an append or a write, or a read of these elements (of a register at most one).
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Write(usize, i64),
    Read(usize, Vec<i64>),
}

#[derive(Clone, Debug)]
struct Operation {
    begin: usize,
    end: usize,
    kind: Type,
    process: i64,
    ts: Option<i64>,
    parts: Vec<Part>,
}

/// Keys, each with its versions so far: of a register only the newest counts.
type State = Vec<Vec<i64>>;

fn seen(model: Model, versions: &[i64]) -> Vec<i64> {
    match model {
        Model::Append => versions.to_vec(),
        Model::Register => versions.last().copied().into_iter().collect(),
    }
}

/// Whether some order of the operations explains every read. Those that are unknown may have happened or
/// not; those that failed have not.
struct Oracle<'a> {
    model: Model,
    real_time: bool,
    operations: &'a [Operation],
}

impl Oracle<'_> {
    fn allows(&self) -> bool {
        let counts = |it: &Operation| it.kind != Type::Fail;
        let left: Vec<usize> =
            (0..self.operations.len()).filter(|number| counts(&self.operations[*number])).collect();
        self.place(&left, &vec![Vec::new(); 2], &[i64::MIN; 2])
    }

    fn place(&self, left: &[usize], state: &State, newest: &[i64; 2]) -> bool {
        if left.iter().all(|number| self.operations[*number].kind == Type::Info) {
            return true;
        }
        for number in left {
            let it = &self.operations[*number];
            let over = |other: &&usize| {
                let other = &self.operations[**other];
                other.kind == Type::Ok && other.end < it.begin
            };
            if self.real_time && left.iter().any(|other| over(&other)) {
                continue;
            }
            if let Some((state, newest)) = self.perform(it, state, newest) {
                let rest: Vec<usize> =
                    left.iter().copied().filter(|other| other != number).collect();
                if self.place(&rest, &state, &newest) {
                    return true;
                }
            }
        }
        false
    }

    /// What an operation leaves, if it reads what it says. Timestamps rise along the versions of a key.
    fn perform(
        &self,
        it: &Operation,
        state: &State,
        newest: &[i64; 2],
    ) -> Option<(State, [i64; 2])> {
        let (mut state, mut newest) = (state.clone(), *newest);
        let mut written = [false; 2];
        for part in &it.parts {
            match part {
                Part::Write(key, value) => {
                    state[*key].push(*value);
                    if let Some(ts) = it.ts.filter(|_| !written[*key]) {
                        if ts <= newest[*key] {
                            return None;
                        }
                        newest[*key] = ts;
                    }
                    written[*key] = true;
                }
                Part::Read(key, found) => {
                    if it.kind == Type::Ok && seen(self.model, &state[*key]) != *found {
                        return None;
                    }
                }
            }
        }
        Some((state, newest))
    }
}

/// A history as a store with some faults would leave it.
fn draw(model: Model, rng: &mut StdRng) -> Vec<Operation> {
    let count = rng.random_range(2..=7);
    let timestamps = rng.random_range(0..3) == 0;
    let faulty = rng.random_range(0..5) > 0;
    let same_values = model == Model::Register && rng.random_range(0..8) == 0;
    let processes = rng.random_range(1..=4_usize);
    // Of each process what it has in work; and where each operation begins, happens and ends.
    let mut free = vec![0_usize; processes];
    let mut operations: Vec<(Operation, usize)> = Vec::new();
    for _ in 0..count {
        let process = rng.random_range(0..processes);
        let begin = free[process] + rng.random_range(1..=3);
        let length = rng.random_range(1..=6);
        free[process] = begin + length;
        let mut point = begin + rng.random_range(0..=length);
        if faulty && rng.random_range(0..3) == 0 {
            point = rng.random_range(0..20); // too early, or too late
        }
        let kind = match rng.random_range(0..10) {
            0 => Type::Fail,
            1 | 2 => Type::Info,
            _ => Type::Ok,
        };
        let parts = (0..rng.random_range(1..=3)).map(|_| {
            let key = rng.random_range(0..2);
            if rng.random_range(0..2) == 0 { Part::Write(key, 0) } else { Part::Read(key, vec![]) }
        });
        let parts = parts.collect();
        let end = begin + length;
        operations.push((
            Operation { begin, end, kind, process: process as i64, ts: None, parts },
            point,
        ));
    }
    // Places in time become places in the history: ends of one process before its next beginning.
    let mut places: Vec<(usize, usize, bool)> = Vec::new();
    for (number, (it, _)) in operations.iter().enumerate() {
        places.extend([(it.begin * 2 + 1, number, true), (it.end * 2, number, false)]);
    }
    places.sort_unstable();
    for (place, (_, number, begins)) in places.into_iter().enumerate() {
        let it = &mut operations[number].0;
        *(if begins { &mut it.begin } else { &mut it.end }) = place;
    }
    // A process whose answer was lost is not used again.
    for number in 0..operations.len() {
        let (process, begin) = (operations[number].0.process, operations[number].0.begin);
        let lost = |it: &(Operation, usize)| {
            it.0.process == process && it.0.begin < begin && it.0.kind == Type::Info
        };
        if operations.iter().any(lost) {
            operations[number].0.process = 10 + number as i64;
        }
    }
    happen(model, &mut operations, faulty, same_values, timestamps, rng);
    let mut operations: Vec<Operation> = operations.into_iter().map(|it| it.0).collect();
    operations.sort_by_key(|it| it.begin);
    operations
}

/// Lets the operations happen, in the order of their points.
fn happen(
    model: Model,
    operations: &mut [(Operation, usize)],
    faulty: bool,
    same_values: bool,
    timestamps: bool,
    rng: &mut StdRng,
) {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|number| operations[*number].1);
    let mut past: Vec<State> = vec![vec![Vec::new(); 2]];
    let mut next = 1;
    for (time, number) in order.into_iter().enumerate() {
        let it = &mut operations[number].0;
        let mut state = past.last().expect("one at least").clone();
        let chance = |of: u32, rng: &mut StdRng| faulty && rng.random_range(0..of) == 0;
        let stale = chance(3, rng).then(|| past[rng.random_range(0..past.len())].clone());
        let mut view = stale.clone().unwrap_or_else(|| state.clone());
        let happens = match it.kind {
            Type::Fail => chance(10, rng),
            Type::Info => rng.random_range(0..2) == 0,
            Type::Ok | Type::Invoke => !chance(20, rng),
        };
        for part in &mut it.parts {
            match part {
                Part::Write(key, value) => {
                    *value = if same_values { rng.random_range(1..=3) } else { next };
                    next += 1;
                    view[*key].push(*value);
                    state[*key].push(*value);
                    if chance(30, rng) && state[*key].len() > 1 {
                        state[*key].remove(0);
                    }
                }
                Part::Read(key, found) => {
                    *found = seen(model, &view[*key]);
                    if chance(15, rng) {
                        match rng.random_range(0..3) {
                            0 => drop(found.pop()),
                            1 if model == Model::Append => found.push(rng.random_range(1..=next)),
                            _ => found.reverse(),
                        }
                    }
                }
            }
        }
        let writes = it.parts.iter().any(|part| matches!(part, Part::Write(..)));
        if timestamps && writes && it.kind == Type::Ok && rng.random_range(0..8) > 0 {
            let slip = if chance(8, rng) { rng.random_range(-2..=2) } else { 0 };
            it.ts = Some(time as i64 + slip);
        }
        if happens {
            past.push(state);
        }
    }
}

fn history(model: Model, operations: &[Operation]) -> History {
    let part = |part: &Part, answered: bool| {
        let list = |items: &[i64]| Value::List(items.iter().map(|it| Value::Int(*it)).collect());
        let (name, key, value) = match (part, model) {
            (Part::Write(key, value), Model::Append) => ("append", key, Value::Int(*value)),
            (Part::Write(key, value), Model::Register) => ("w", key, Value::Int(*value)),
            (Part::Read(key, _), _) if !answered => ("r", key, Value::Nil),
            (Part::Read(key, found), Model::Append) => ("r", key, list(found)),
            (Part::Read(key, found), Model::Register) => ("r", key, found.first().copied().into()),
        };
        Value::List(vec![Value::keyword(name), (*key as i64).into(), value])
    };
    let mut events: Vec<(usize, Event)> = Vec::new();
    for it in operations {
        for (place, kind) in [(it.begin, Type::Invoke), (it.end, it.kind)] {
            let parts = it.parts.iter().map(|it| part(it, kind == Type::Ok)).collect();
            let mut event = Event::new(kind, it.process, "txn", Value::List(parts));
            event.ts = it.ts.filter(|_| kind == Type::Ok);
            events.push((place, event));
        }
    }
    events.sort_by_key(|it| it.0);
    History::from_events(events.iter().map(|it| &it.1)).expect("a history of a store")
}

/// Whether a register's value is written twice: then an unknown operation cannot always be judged.
fn has_doubt(operations: &[Operation]) -> bool {
    let mut values: Vec<(usize, i64)> = Vec::new();
    for part in operations.iter().flat_map(|it| &it.parts) {
        if let Part::Write(key, value) = part {
            if values.contains(&(*key, *value)) {
                return true;
            }
            values.push((*key, *value));
        }
    }
    false
}

fn agree(model: Model) {
    let histories = std::env::var("HANDFAST_ORACLE_HISTORIES")
        .map_or(QUICK, |text| text.parse().expect("HANDFAST_ORACLE_HISTORIES is a whole number"));
    let mut counts = [[0_u64; 2]; 2];
    let (mut unknown_operations, mut doubtful) = (0, 0);
    for seed in 0..histories {
        let operations = draw(model, &mut StdRng::seed_from_u64(seed));
        let history = history(model, &operations);
        unknown_operations +=
            u64::from(operations.iter().any(|operation| operation.kind == Type::Info));
        let consistencies =
            [(Consistency::StrictSerializable, true), (Consistency::Serializable, false)];
        for (number, (consistency, real_time)) in consistencies.into_iter().enumerate() {
            let allowed = Oracle { model, real_time, operations: &operations }.allows();
            let options =
                Options { model: Some(model), consistency, at_least_ok: 0, ..Options::default() };
            let verdict = check(&history, &options);
            counts[number][usize::from(allowed)] += 1;
            if verdict.valid == Validity::Unknown && has_doubt(&operations) {
                doubtful += 1;
                continue;
            }
            let expected = if allowed { Validity::Valid } else { Validity::Invalid };
            let (name, value) = (consistency.name(), &verdict.valid);
            assert_eq!(
                *value, expected,
                "seed {seed}, {name}, the oracle allows it: {allowed}\n{operations:#?}\n{verdict}"
            );
            // What is serializable has snapshots: nothing may be found there.
            if allowed {
                let consistency = Consistency::SnapshotIsolation;
                let verdict = check(&history, &Options { consistency, ..options });
                assert_ne!(verdict.valid, Validity::Invalid, "seed {seed}\n{verdict}");
            }
        }
    }
    let [strict, plain] = counts;
    println!(
        "{histories} histories ({unknown_operations} with unknown operations): strictly serializable \
         {} and not {}; serializable {} and not {}; {doubtful} verdicts unknown because a value was \
         written twice",
        strict[1], strict[0], plain[1], plain[0]
    );
    for ([refused, allowed], share) in counts.into_iter().zip([5, 20]) {
        let least = histories / share;
        assert!(refused > least && allowed > least, "one verdict is rare");
    }
    assert!(unknown_operations > histories / 4);
    assert!(doubtful < histories / 10, "too many are not decided");
}

#[test]
fn list_histories_have_the_verdict_of_brute_force() {
    agree(Model::Append);
}

#[test]
fn register_histories_have_the_verdict_of_brute_force() {
    agree(Model::Register);
}
