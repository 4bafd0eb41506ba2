//! What a run comes to.

use std::fmt;

use handfast_checker::Validity;
use serde_json::{Value as Json, json};

/// What a run comes to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The workload's name.
    pub workload: &'static str,
    /// The fault's name.
    pub fault: &'static str,
    /// The seed.
    pub seed: u64,
    /// How often the fault struck.
    pub faults: usize,
    /// Writing operations that committed.
    pub committed: usize,
    /// Operations that only read and were answered.
    pub read: usize,
    /// Operations that provably did not happen.
    pub failed: usize,
    /// Operations whose answer was lost, all resolved unless `undecided` says otherwise.
    pub unknown: usize,
    /// Of these, how many are committed: before they were resolved, or by being sent again.
    pub unknown_committed: usize,
    /// The longest time in which nothing was answered but refusals, milliseconds: a figure, not a check.
    pub longest_silence_ms: u64,
    /// Outcomes asked for again after the last restart.
    pub asked_again: usize,
    /// What does not hold.
    pub anomalies: Vec<String>,
    /// What keeps it from being decided.
    pub undecided: Vec<String>,
}

impl Verdict {
    /// Invalid if anything does not hold; unknown if something could not be decided.
    pub fn validity(&self) -> Validity {
        match (self.anomalies.is_empty(), self.undecided.is_empty()) {
            (false, _) => Validity::Invalid,
            (true, false) => Validity::Unknown,
            (true, true) => Validity::Valid,
        }
    }

    /// As JSON, for `verdict.json`.
    pub fn to_json(&self) -> Json {
        let valid = match self.validity() {
            Validity::Valid => Json::Bool(true),
            Validity::Invalid => Json::Bool(false),
            Validity::Unknown => Json::from("unknown"),
        };
        json!({
            "valid": valid,
            "workload": self.workload,
            "fault": self.fault,
            "seed": self.seed,
            "faults": self.faults,
            "committed": self.committed,
            "read": self.read,
            "failed": self.failed,
            "unknown": self.unknown,
            "unknown_that_are_committed": self.unknown_committed,
            "longest_silence_ms": self.longest_silence_ms,
            "asked_again": self.asked_again,
            "anomalies": self.anomalies,
            "undecided": self.undecided,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.validity() {
            Validity::Valid => "valid",
            Validity::Invalid => "INVALID",
            Validity::Unknown => "NOT DECIDED, which is a failure",
        };
        let Self { workload, fault, seed, faults, .. } = self;
        writeln!(f, "{workload} under {fault}, seed {seed}: {word}")?;
        writeln!(
            f,
            "  {faults} faults; {} committed, {} read, {} failed; {} unknown at first, of which {} are \
             committed; at most {} ms without an answer; {} outcomes asked again after the last restart",
            self.committed,
            self.read,
            self.failed,
            self.unknown,
            self.unknown_committed,
            self.longest_silence_ms,
            self.asked_again
        )?;
        for anomaly in self.anomalies.iter().chain(&self.undecided) {
            writeln!(f, "  {anomaly}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_valid() {
        let mut verdict = Verdict::default();
        assert_eq!(verdict.validity(), Validity::Valid);
        verdict.undecided.push("too little".to_owned());
        assert_eq!(verdict.validity(), Validity::Unknown);
        assert_eq!(verdict.to_json()["valid"], "unknown");
        assert!(!verdict.to_string().contains(": valid"));
        verdict.anomalies.push("a lost write".to_owned());
        assert_eq!(verdict.validity(), Validity::Invalid);
    }
}
