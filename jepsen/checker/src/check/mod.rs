//! Whether a history is as a consistency model promises.
//!
//! ```text
//! History ─ append: lists show the order of their elements ─┐
//!         └ register: timestamps, or what can be inferred ──┴▶ Graph ─▶ knots ─▶ cycles with names
//! ```

mod append;
mod cycles;
mod durability;
mod graph;
mod notes;
mod register;
mod search;
mod tail;

use crate::event::Type;
use crate::history::{History, Micro};
use crate::verdict::{Validity, Verdict};

use notes::Notes;

/// What transactions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// They append to lists and read them.
    Append,
    /// They write registers and read them.
    Register,
}

impl Model {
    /// Its name: `append` or `register`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Register => "register",
        }
    }
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Some serial order explains all reads, and keeps what was over before what then began.
    StrictSerializable,
    /// Some serial order explains all reads.
    Serializable,
    /// Every transaction reads a snapshot, and no two that overlap write the same key.
    SnapshotIsolation,
}

impl Consistency {
    /// Its name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StrictSerializable => "strict-serializable",
            Self::Serializable => "serializable",
            Self::SnapshotIsolation => "snapshot-isolation",
        }
    }
}

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// What transactions do; `None` finds out.
    pub model: Option<Model>,
    /// What must hold.
    pub consistency: Consistency,
    /// Whether every acknowledged write must also be seen by a read that began after all writes of its key
    /// were over. Where there is no such read, the verdict is unknown.
    pub durability: bool,
    /// A history with fewer operations that happened is not valid but unknown.
    pub at_least_ok: usize,
    /// Anomalies of one kind that are told.
    pub told: usize,
    /// Steps of the search for a serial order, where registers have no commit timestamps. Beyond them the
    /// verdict is unknown.
    pub search_steps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: None,
            consistency: Consistency::StrictSerializable,
            durability: false,
            at_least_ok: 1,
            told: 10,
            search_steps: 20_000_000,
        }
    }
}

/// Checks a history.
pub fn check(history: &History, options: &Options) -> Verdict {
    verdict(history, None, options)
}

/// Checks a history, and that every acknowledged write is in the reads of another one, which was taken
/// when everything was over.
pub fn check_with_last(history: &History, last: &History, options: &Options) -> Verdict {
    verdict(history, Some(last), options)
}

fn verdict(history: &History, last: Option<&History>, options: &Options) -> Verdict {
    let mut notes = Notes::new(options.told);
    let count = |kind| history.operations().filter(|it| it.kind() == kind).count();
    let ok = count(Type::Ok);
    let others = history.operations().filter(|it| !it.is_txn() && it.kind() != Type::Fail);
    let others: Vec<u64> = others.map(|it| it.index()).collect();
    if let Some(index) = others.first() {
        notes.undecided(format!(
            "{} operations are no :txn, the first at index {index}; no model here knows them",
            others.len()
        ));
    }
    if ok < options.at_least_ok {
        let least = options.at_least_ok;
        notes
            .undecided(format!("{ok} operations happened; fewer than {least} are too few to tell"));
    }
    let model = options.model.or_else(|| find_model(history));
    match model {
        Some(Model::Append) => append::check(history, options, &mut notes),
        Some(Model::Register) => register::check(history, options, &mut notes),
        None => notes.undecided(
            "it has both appends and writes, so that no one model fits; check them apart"
                .to_owned(),
        ),
    }
    if let Some(model) = model.filter(|_| options.durability || last.is_some()) {
        durability::check(history, last, model, &mut notes);
    }
    let (anomalies, more, undecided) = notes.into_parts();
    let verdict = Verdict {
        valid: Validity::Unknown,
        model,
        consistency: options.consistency,
        ok,
        fail: count(Type::Fail),
        info: count(Type::Info),
        anomalies,
        more,
        undecided,
    };
    verdict.settle()
}

/// By what is written, else by what is read; `None` if it has both models.
fn find_model(history: &History) -> Option<Model> {
    let (mut appends, mut writes, mut lists, mut values) = (false, false, false, false);
    for micro in history.operations().flat_map(|operation| operation.micros()) {
        match micro {
            Micro::Append(..) => appends = true,
            Micro::Write(..) => writes = true,
            Micro::ReadList(..) => lists = true,
            Micro::ReadRegister(..) => values = true,
            Micro::ReadNothing(_) => {}
        }
    }
    match (appends, writes) {
        (true, true) => None,
        (true, false) => Some(Model::Append),
        (false, true) => Some(Model::Register),
        (false, false) if values && !lists => Some(Model::Register),
        (false, false) => Some(Model::Append),
    }
}
