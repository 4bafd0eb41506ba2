//! What a run comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use handfast_checker::{
    Consistency, Event, History, Model, NEMESIS, Options, Type, Validity, Verdict, check,
};
use serde_json::{Value as Json, json};

use super::network::Counts;
use super::{Fault, RunnerOptions, Workload};

/// What was seen beside the history.
pub(super) struct Facts {
    pub(super) struck: BTreeMap<Fault, usize>,
    /// Whether everything could be read once the faults were over, and after how long.
    pub(super) recovered: bool,
    pub(super) recovery: Duration,
    /// How many times a node began to lead a shard.
    pub(super) elections: usize,
    pub(super) counts: Counts,
}

/// A run's result.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether everything holds. What could not be decided is not valid.
    pub validity: Validity,
    /// Operations that happened.
    pub ok: usize,
    /// Operations that provably did not.
    pub fail: usize,
    /// Operations of which nobody knows.
    pub info: usize,
    /// How often each fault struck.
    pub struck: BTreeMap<Fault, usize>,
    title: String,
    again: String,
    latencies: [Duration; 3],
    recovery: Duration,
    elections: usize,
    counts: [u64; 4],
    reasons: Vec<String>,
    verdict: Verdict,
}

/// Judges a run by its history.
pub(super) fn judge(
    options: &RunnerOptions,
    events: &[Event],
    facts: Facts,
) -> anyhow::Result<Report> {
    let clients = || events.iter().filter(|event| event.process > NEMESIS);
    let count = |kind| clients().filter(|event| event.kind == kind).count();
    let (ok, fail, info) = (count(Type::Ok), count(Type::Fail), count(Type::Info));
    let mut reasons = Vec::new();
    if ok < options.at_least_ok {
        let least = options.at_least_ok;
        reasons.push(format!(
            "too few operations happened: {ok}, at least {least} are needed for a verdict; \
             give it more --time-limit or --rate, or see the nodes' logs"
        ));
    }
    if !facts.recovered {
        reasons.push(
            "not everything could be read after the last fault: the nodes did not recover".into(),
        );
    }
    for (fault, times) in &facts.struck {
        if *times == 0 {
            reasons.push(format!("the fault {fault} never struck; give it more --time-limit"));
        }
    }
    let history = History::from_events(events)?;
    let model = match options.workload {
        Workload::TxnListAppend => Model::Append,
        // A compare-and-set is a transaction that reads and writes a register.
        Workload::TxnRwRegister | Workload::LinKv => Model::Register,
    };
    let asked = Options {
        model: Some(model),
        consistency: Consistency::StrictSerializable,
        durability: true,
        ..Options::default()
    };
    let verdict = check(&history, &asked);
    let validity = match verdict.valid {
        Validity::Valid if !reasons.is_empty() => Validity::Invalid,
        other => other,
    };
    let Counts { sent, lost, cut, storage } = facts.counts;
    Ok(Report {
        validity,
        ok,
        fail,
        info,
        struck: facts.struck,
        title: format!("{} on {} nodes, seed {}", options.workload, options.nodes, options.seed),
        again: again(options),
        latencies: latencies(events),
        recovery: facts.recovery,
        elections: facts.elections,
        counts: [sent, lost, cut, storage],
        reasons,
        verdict,
    })
}

/// The command that does the same again.
fn again(options: &RunnerOptions) -> String {
    let faults: Vec<&str> = options.faults.iter().map(|fault| fault.name()).collect();
    let mut text = format!(
        "handfast-maelstrom -w {} --seed {} --node-count {} --time-limit {} --rate {} --concurrency {} --latency {}",
        options.workload,
        options.seed,
        options.nodes,
        options.time.as_secs(),
        options.rate,
        options.concurrency,
        options.latency.as_millis(),
    );
    if !faults.is_empty() {
        let interval = options.fault_interval.as_millis();
        text.push_str(&format!(" --faults {} --fault-interval-ms {interval}", faults.join(",")));
    }
    if options.loss > 0.0 {
        text.push_str(&format!(" --loss {}", options.loss));
    }
    text
}

/// The median, the 99th percentile and the maximum of what happened.
fn latencies(events: &[Event]) -> [Duration; 3] {
    let mut begun = BTreeMap::new();
    let mut took = Vec::new();
    for event in events.iter().filter(|event| event.process > NEMESIS) {
        let time = event.time.unwrap_or_default();
        match event.kind {
            Type::Invoke => {
                begun.insert(event.process, time);
            }
            Type::Ok => took.extend(begun.get(&event.process).map(|begun| time - begun)),
            Type::Fail | Type::Info => {}
        }
    }
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        let nanos = took.get(place.min(took.len().saturating_sub(1))).copied();
        Duration::from_nanos(nanos.unwrap_or_default())
    };
    [at(0.5), at(0.99), at(1.0)]
}

impl Report {
    /// Whether the run has passed.
    pub fn passed(&self) -> bool {
        self.validity == Validity::Valid
    }

    /// For scripts.
    pub fn to_json(&self) -> Json {
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        let [median, p99, max] = &self.latencies;
        let [sent, lost, cut, storage] = self.counts;
        let struck: serde_json::Map<String, Json> = self
            .struck
            .iter()
            .map(|(fault, times)| (fault.name().to_owned(), (*times).into()))
            .collect();
        json!({
            "valid": self.validity == Validity::Valid,
            "validity": self.validity.name(),
            "ok": self.ok, "fail": self.fail, "info": self.info,
            "faults": struck,
            "latency_ms": { "median": millis(median), "p99": millis(p99), "max": millis(max) },
            "recovery_ms": millis(&self.recovery),
            "elections": self.elections,
            "messages": { "sent": sent, "lost": lost, "cut": cut, "storage": storage },
            "reasons": self.reasons,
            "checker": self.verdict.to_json(),
            "again": self.again,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let [median, p99, max] = &self.latencies;
        let [sent, lost, cut, storage] = self.counts;
        writeln!(f, "{}: {}", self.title, self.validity.name())?;
        writeln!(f, "  operations  {} ok, {} failed, {} unknown", self.ok, self.fail, self.info)?;
        writeln!(
            f,
            "  latency     median {}, p99 {}, max {}",
            millis(median),
            millis(p99),
            millis(max)
        )?;
        let struck: Vec<String> =
            self.struck.iter().map(|(fault, times)| format!("{fault} {times}×")).collect();
        if !struck.is_empty() {
            writeln!(f, "  faults      {}", struck.join(", "))?;
        }
        writeln!(f, "  leaders     a shard got a leader {} times", self.elections)?;
        writeln!(f, "  messages    {sent} sent, {storage} to lin-kv, {lost} lost, {cut} cut off")?;
        writeln!(f, "  at the end  everything was read within {}", millis(&self.recovery))?;
        for reason in &self.reasons {
            writeln!(f, "  FAILED      {reason}")?;
        }
        writeln!(f, "\n{}", self.verdict.to_string().trim_end())?;
        writeln!(f, "\nagain: {}", self.again)
    }
}
