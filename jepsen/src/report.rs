//! A verdict, and how the run was.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use handfast_checker::Validity;
use serde_json::{Value as Json, json};

use crate::common::check_files;
use crate::fault::Fault;
use crate::ground::Place;
use crate::run::Options;
use crate::verdict::Verdict;
use crate::workload::{Done, End, Workload};

/// Anomalies that are told.
const TOLD: usize = 10;
/// A clock that was never seen to be off by so much did not jump, milliseconds.
const LEAST_CLOCK_OFF_MS: i64 = 500;

/// What a run comes to, and how it was.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether the history is as it must be.
    pub verdict: Verdict,
    /// What it ran on.
    pub place: Place,
    /// How long the clients were to work.
    pub time: Duration,
    /// How many clients there were.
    pub concurrency: u16,
    /// How often each kind of fault struck. One strike may be of several kinds.
    pub struck: BTreeMap<&'static str, usize>,
    /// Kinds of faults that this machine has no means for, and why.
    pub missing: Vec<String>,
    /// How far a commit timestamp was from the clients' clock at most, milliseconds.
    pub clock_off_ms: i64,
    /// For how long the clients worked, seconds.
    pub seconds: f64,
    /// What else happened, and how often: a run in which one of these did not is not decided.
    pub figures: Vec<(&'static str, usize)>,
}

impl Report {
    pub(crate) fn new(
        options: &Options,
        place: Place,
        strikes: usize,
        struck: BTreeMap<&'static str, usize>,
    ) -> Self {
        let verdict = Verdict {
            workload: options.workload.name(),
            fault: options.fault.name(),
            seed: options.seed,
            faults: strikes,
            ..Verdict::default()
        };
        let Options { time, concurrency, .. } = *options;
        let (missing, figures, clock_off_ms, seconds) = (Vec::new(), Vec::new(), 0, 0.0);
        Self { verdict, place, time, concurrency, struck, missing, clock_off_ms, seconds, figures }
    }

    /// Whether it is as it must be.
    pub fn validity(&self) -> Validity {
        self.verdict.validity()
    }

    /// One line: what ran, and what it came to.
    pub fn headline(&self) -> String {
        let text = self.verdict.to_string();
        let first = text.lines().next().unwrap_or_default();
        format!("{first}; {} committed, {} strikes", self.verdict.committed, self.verdict.faults)
    }

    /// As JSON, for `verdict.json`.
    pub fn to_json(&self) -> Json {
        let mut json = self.verdict.to_json();
        json["on"] = json!(self.place.name());
        json["time_s"] = json!(self.time.as_secs_f64());
        json["concurrency"] = json!(self.concurrency);
        json["struck"] = json!(self.struck);
        json["missing_faults"] = json!(self.missing);
        json["clock_off_ms"] = json!(self.clock_off_ms);
        json["seconds"] = json!(self.seconds);
        for (what, count) in &self.figures {
            json["figures"][what] = json!(count);
        }
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)?;
        let struck = self.struck.iter().map(|(kind, count)| format!("{kind} {count} times"));
        let struck: Vec<String> = struck.collect();
        if !struck.is_empty() {
            writeln!(f, "  struck: {}", struck.join(", "))?;
        }
        let figures = self.figures.iter().map(|(what, count)| format!("{count} {what}"));
        let figures: Vec<String> = figures.collect();
        if !figures.is_empty() {
            writeln!(f, "  among them: {}", figures.join(", "))?;
        }
        for missing in &self.missing {
            writeln!(f, "  not run: {missing}")?;
        }
        Ok(())
    }
}

/// Counts and checks.
pub(crate) fn judge(
    options: &Options,
    workload: &dyn Workload,
    ran: &[Done],
    last: &[Done],
    report: &mut Report,
) -> anyhow::Result<()> {
    let verdict = &mut report.verdict;
    for done in ran {
        match done.end {
            End::Committed(_) => verdict.committed += 1,
            End::Read => verdict.read += 1,
            End::Failed => verdict.failed += 1,
        }
    }
    let mut answered: Vec<u64> =
        ran.iter().filter(|done| done.has_happened()).map(|done| done.completed).collect();
    answered.sort_unstable();
    report.seconds = answered.last().map_or(0.0, |last| *last as f64 / 1e9);
    let silences = answered.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000);
    verdict.longest_silence_ms = silences.max().unwrap_or(0);
    let wrong = first_few(workload.check(ran, last));
    // With an outcome missing, what looks wrong may be its doing.
    if verdict.undecided.is_empty() {
        verdict.anomalies.extend(wrong);
    } else {
        verdict.undecided.extend(wrong);
    }
    if let Some(model) = workload.model() {
        // It knows what an unknown outcome may have done: its anomalies are certain.
        let checked = check_files(&options.folder, model)?;
        let told = checked.anomalies.iter().map(|it| format!("{}: {}", it.kind, it.text));
        verdict.anomalies.extend(first_few(told.collect()));
        verdict.undecided.extend(checked.undecided);
    }
    report.figures = workload.figures(ran);
    let too_little = too_little(options, report);
    report.verdict.undecided.extend(too_little);
    Ok(())
}

fn first_few(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(TOLD);
    wrong.truncate(TOLD);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    wrong
}

/// What happened too seldom to tell.
fn too_little(options: &Options, report: &Report) -> Vec<String> {
    let Verdict { committed, faults, .. } = &report.verdict;
    let mut undecided = Vec::new();
    if *committed < options.at_least_committed {
        let least = options.at_least_committed;
        undecided.push(format!("{committed} operations committed; {least} are too few to tell"));
    }
    if options.fault != Fault::None && *faults < options.at_least_faults {
        undecided.push(format!("{faults} faults struck, and not {}", options.at_least_faults));
    }
    let never = report.figures.iter().filter(|(_, count)| *count == 0);
    undecided
        .extend(never.map(|(what, _)| format!("there were no {what}: that is too few to tell")));
    if report.struck.contains_key("clock") && report.clock_off_ms < LEAST_CLOCK_OFF_MS {
        let off = report.clock_off_ms;
        undecided.push(format!("the server's clock was off by {off} ms at most: it did not jump"));
    }
    undecided
}
