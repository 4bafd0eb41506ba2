//! What a check comes to.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::check::{Consistency, Model};

/// Whether a history is as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Everything was checked and holds.
    Valid,
    /// Something does not hold.
    Invalid,
    /// It cannot be said. Never treat it as valid.
    Unknown,
}

impl Validity {
    /// Its name: `valid`, `invalid` or `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which edges beyond reads and writes a cycle needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// None.
    Data,
    /// The order of one process.
    Process,
    /// What was over before another began.
    RealTime,
}

/// Something that no history of the model has. Names are those of Adya and Elle where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A cycle of writes that overwrite each other.
    G0(Layer),
    /// A read of what failed.
    G1a,
    /// A read of what its transaction had not finished writing.
    G1b,
    /// A cycle of writes and reads of what was written.
    G1c(Layer),
    /// A cycle with one read that did not see a write.
    GSingle(Layer),
    /// A cycle with several such reads, no two in a row: not even snapshot isolation has it.
    GNonadjacent,
    /// A cycle with several such reads.
    G2(Layer),
    /// Two transactions read the same version, and both replaced it.
    LostUpdate,
    /// An element is there twice.
    DuplicateElements,
    /// Two reads of a list of which neither continues the other.
    IncompatibleOrder,
    /// A transaction contradicts itself.
    Internal,
    /// A read of what nobody ever wrote.
    ThinAir,
    /// A committed write builds on what failed.
    DirtyUpdate,
    /// Commit timestamps contradict the order of versions.
    TimestampOrder,
    /// An acknowledged write is not there at the end.
    LostWrite,
    /// No order of the transactions explains all reads, and no single cycle shows why.
    NoSerialOrder,
}

impl Kind {
    /// Its name, as in `G-single-realtime`.
    pub fn name(self) -> String {
        let layered = |name: &str, layer| match layer {
            Layer::Data => name.to_owned(),
            Layer::Process => format!("{name}-process"),
            Layer::RealTime => format!("{name}-realtime"),
        };
        match self {
            Self::G0(layer) => layered("G0", layer),
            Self::G1a => "G1a".to_owned(),
            Self::G1b => "G1b".to_owned(),
            Self::G1c(layer) => layered("G1c", layer),
            Self::GSingle(layer) => layered("G-single", layer),
            Self::GNonadjacent => "G-nonadjacent".to_owned(),
            Self::G2(layer) => layered("G2", layer),
            Self::LostUpdate => "lost-update".to_owned(),
            Self::DuplicateElements => "duplicate-elements".to_owned(),
            Self::IncompatibleOrder => "incompatible-order".to_owned(),
            Self::Internal => "internal".to_owned(),
            Self::ThinAir => "thin-air-read".to_owned(),
            Self::DirtyUpdate => "dirty-update".to_owned(),
            Self::TimestampOrder => "timestamp-order".to_owned(),
            Self::LostWrite => "lost-write".to_owned(),
            Self::NoSerialOrder => "no-serial-order".to_owned(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It wrote the version that the other replaced.
    WriteWrite,
    /// It wrote the version that the other read.
    WriteRead,
    /// It read a version that the other replaced.
    ReadWrite,
    /// The same process did it before.
    Process,
    /// It was over before the other began.
    RealTime,
}

impl Relation {
    /// Its short name: `ww`, `wr`, `rw`, `process` or `realtime`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteWrite => "ww",
            Self::WriteRead => "wr",
            Self::ReadWrite => "rw",
            Self::Process => "process",
            Self::RealTime => "realtime",
        }
    }
}

/// One transaction of a cycle, and why it comes before the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The index of the event that began it.
    pub index: u64,
    /// Who did it.
    pub process: i64,
    /// What it did, long lists shortened.
    pub operation: String,
    /// Why it comes before the next one; the last before the first.
    pub relation: Relation,
    /// The same in words.
    pub why: String,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name.
    pub kind: Kind,
    /// What was seen, in a sentence.
    pub text: String,
    /// Transactions each of which comes before the next one, and the last before the first; empty if the
    /// anomaly is no cycle.
    pub cycle: Vec<Step>,
}

/// What a check comes to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether the history is as it must be.
    pub valid: Validity,
    /// What it was checked as; `None` if it does not say.
    pub model: Option<Model>,
    /// What it must be.
    pub consistency: Consistency,
    /// Operations that happened.
    pub ok: usize,
    /// Operations that provably did not.
    pub fail: usize,
    /// Operations of which nobody knows.
    pub info: usize,
    /// What does not hold: of each kind the first few.
    pub anomalies: Vec<Anomaly>,
    /// Anomalies beyond these.
    pub more: usize,
    /// What keeps it from being decided.
    pub undecided: Vec<String>,
}

impl Verdict {
    /// Invalid if anything does not hold; unknown if something could not be decided.
    pub(crate) fn settle(mut self) -> Self {
        self.valid = match (self.anomalies.is_empty(), self.undecided.is_empty()) {
            (false, _) => Validity::Invalid,
            (true, false) => Validity::Unknown,
            (true, true) => Validity::Valid,
        };
        self
    }

    /// Whether an anomaly of this name, such as `G-single`, was found.
    pub fn has(&self, name: &str) -> bool {
        self.anomalies.iter().any(|anomaly| anomaly.kind.name() == name)
    }

    /// As JSON. `valid` is `true`, `false` or `"unknown"`.
    pub fn to_json(&self) -> Json {
        let valid = match self.valid {
            Validity::Valid => Json::Bool(true),
            Validity::Invalid => Json::Bool(false),
            Validity::Unknown => Json::from("unknown"),
        };
        let step = |step: &Step| {
            json!({
                "index": step.index, "process": step.process, "operation": step.operation,
                "relation": step.relation.name(), "why": step.why,
            })
        };
        let anomaly = |it: &Anomaly| {
            let cycle: Vec<Json> = it.cycle.iter().map(step).collect();
            json!({"kind": it.kind.name(), "text": it.text, "cycle": cycle})
        };
        json!({
            "valid": valid,
            "model": self.model.map(Model::name),
            "consistency": self.consistency.name(),
            "ok": self.ok,
            "fail": self.fail,
            "info": self.info,
            "anomalies": self.anomalies.iter().map(anomaly).collect::<Vec<_>>(),
            "more_anomalies": self.more,
            "undecided": self.undecided,
        })
    }
}

impl fmt::Display for Verdict {
    /// For people, cycles drawn.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.valid {
            Validity::Valid => "valid",
            Validity::Invalid => "INVALID",
            Validity::Unknown => "UNKNOWN, which is not valid",
        };
        let model = self.model.map_or("no model", Model::name);
        let Self { consistency, ok, fail, info, .. } = self;
        writeln!(f, "{word}: {} as {model}", consistency.name())?;
        writeln!(f, "{ok} operations happened, {fail} did not, {info} are unknown")?;
        for anomaly in &self.anomalies {
            write!(f, "\n{anomaly}")?;
        }
        if self.more > 0 {
            writeln!(f, "\nand {} more", self.more)?;
        }
        for reason in &self.undecided {
            writeln!(f, "\nnot decided: {reason}")?;
        }
        Ok(())
    }
}
