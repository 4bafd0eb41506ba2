//! Every chosen workload under every chosen fault, one run each, and a table that says what they came to and
//! which have not run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::ground::{NotRun, Place};
use crate::report::Report;
use crate::run::Options;
use crate::{Fault, Kind};

/// What one run of a matrix came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// It ran to its end, now or earlier: its `verdict.json`.
    Ran(Json),
    /// This machine has no means for the fault, and why.
    NotRun(String),
    /// It broke off, which is no verdict, and why.
    BrokeOff(String),
}

impl Cell {
    /// What a run that was tried came to.
    pub fn of(ran: &anyhow::Result<Report>) -> Self {
        match ran {
            Ok(report) => Self::Ran(report.to_json()),
            Err(error) => match error.downcast_ref::<NotRun>() {
                Some(NotRun(why)) => Self::NotRun(why.clone()),
                None => Self::BrokeOff(format!("{error:#}")),
            },
        }
    }

    /// What an earlier command left of the same run; `None` if it did not come to its end, or was another.
    pub fn earlier(place: Place, options: &Options) -> Option<Self> {
        let text = std::fs::read_to_string(options.folder.join("verdict.json")).ok()?;
        let verdict: Json = serde_json::from_str(&text).ok()?;
        let same = verdict["workload"] == options.workload.name()
            && verdict["fault"] == options.fault.name()
            && verdict["seed"] == options.seed
            && verdict["on"] == place.name()
            && verdict["time_s"] == options.time.as_secs_f64()
            && verdict["concurrency"] == options.concurrency;
        same.then_some(Self::Ran(verdict))
    }

    /// Whether it ran and is valid; `None` if it did not run.
    pub fn is_valid(&self) -> Option<bool> {
        match self {
            Self::Ran(verdict) => Some(verdict["valid"] == true),
            Self::NotRun(_) => None,
            Self::BrokeOff(_) => Some(false),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Ran(verdict) => match &verdict["valid"] {
                Json::Bool(true) => "valid",
                Json::Bool(false) => "**INVALID**",
                _ => "**not decided**",
            },
            Self::NotRun(_) => "*not run*",
            Self::BrokeOff(_) => "**broke off**",
        }
    }

    /// A figure of a run that came to its end.
    fn figure(&self, name: &str) -> u64 {
        match self {
            Self::Ran(verdict) => verdict[name].as_u64().unwrap_or(0),
            Self::NotRun(_) | Self::BrokeOff(_) => 0,
        }
    }
}

/// The runs so far.
#[derive(Clone, Debug)]
pub struct Matrix {
    workloads: Vec<Kind>,
    faults: Vec<Fault>,
    /// By the places of workload and fault in the lists.
    cells: BTreeMap<(usize, usize), Cell>,
}

impl Matrix {
    /// One in which nothing has run.
    pub const fn new(workloads: Vec<Kind>, faults: Vec<Fault>) -> Self {
        Self { workloads, faults, cells: BTreeMap::new() }
    }

    /// All pairs in the order in which they should run: one that is broken off has tried every fault, and nearly
    /// every workload, before it tries one again.
    pub fn pairs(&self) -> Vec<(Kind, Fault)> {
        let count = self.workloads.len();
        let round = |shift: usize| {
            let of = move |(number, fault): (usize, &Fault)| {
                (self.workloads[(number + shift) % count], *fault)
            };
            self.faults.iter().enumerate().map(of)
        };
        (0..count).flat_map(round).collect()
    }

    /// Adds what a pair came to.
    pub fn set(&mut self, workload: Kind, fault: Fault, cell: Cell) {
        let row = self.workloads.iter().position(|it| *it == workload);
        let column = self.faults.iter().position(|it| *it == fault);
        if let (Some(row), Some(column)) = (row, column) {
            self.cells.insert((row, column), cell);
        }
    }

    /// How many ran and are not valid.
    pub fn failed(&self) -> usize {
        self.cells.values().filter(|cell| cell.is_valid() == Some(false)).count()
    }

    /// How many did not run, or have not yet.
    pub fn not_run(&self) -> usize {
        let ran = self.cells.values().filter(|cell| cell.is_valid().is_some()).count();
        self.workloads.len() * self.faults.len() - ran
    }

    fn lines(&self) -> impl Iterator<Item = (Kind, Fault, Option<&Cell>)> {
        let pairs = (0..self.workloads.len())
            .flat_map(|row| (0..self.faults.len()).map(move |column| (row, column)));
        pairs.map(|(row, column)| {
            (self.workloads[row], self.faults[column], self.cells.get(&(row, column)))
        })
    }

    /// As a table in Markdown: what it came to in all, a line for each pair, and why some are no verdict.
    pub fn to_markdown(&self) -> String {
        let mut out = self.summary();
        out += "\n\n| workload | fault | verdict | strikes | committed | read | failed | unknown at first \
                (of these committed) | longest silence |\n|---|---|---|---:|---:|---:|---:|---:|---:|\n";
        for (workload, fault, cell) in self.lines() {
            let word = cell.map_or("*not run yet*", Cell::word);
            let figures = match cell {
                Some(cell @ Cell::Ran(_)) => {
                    let names = ["faults", "committed", "read", "failed", "unknown"];
                    let [faults, committed, read, failed, unknown] =
                        names.map(|it| cell.figure(it));
                    let of_these = cell.figure("unknown_that_are_committed");
                    let silence = cell.figure("longest_silence_ms") as f64 / 1_000.0;
                    format!(
                        "{faults} | {committed} | {read} | {failed} | {unknown} ({of_these}) | {silence:.1} s"
                    )
                }
                _ => " | | | | | ".to_owned(),
            };
            let (workload, fault) = (workload.name(), fault.name());
            writeln!(out, "| {workload} | {fault} | {word} | {figures} |")
                .expect("a string takes all");
        }
        for (workload, fault, cell) in self.lines() {
            if let Some(Cell::NotRun(why) | Cell::BrokeOff(why)) = cell {
                let (workload, fault) = (workload.name(), fault.name());
                writeln!(out, "\n{workload} under {fault}: {why}").expect("a string takes all");
            }
        }
        out
    }

    /// What it came to in all.
    fn summary(&self) -> String {
        let sum = |name: &str| self.cells.values().map(|cell| cell.figure(name)).sum::<u64>();
        let mut struck: BTreeMap<&str, u64> = BTreeMap::new();
        for cell in self.cells.values() {
            let Cell::Ran(verdict) = cell else { continue };
            for (kind, count) in verdict["struck"].as_object().into_iter().flatten() {
                *struck.entry(kind).or_default() += count.as_u64().unwrap_or(0);
            }
        }
        let struck: Vec<String> =
            struck.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let valid = self.cells.values().filter(|cell| cell.is_valid() == Some(true)).count();
        format!(
            "Of {} runs {valid} are valid, {} are not, {} did not run: {} operations committed, {} reads answered, {} \
             answers lost, of which {} turned out committed; faults by kind: {}.",
            self.workloads.len() * self.faults.len(),
            self.failed(),
            self.not_run(),
            sum("committed"),
            sum("read"),
            sum("unknown"),
            sum("unknown_that_are_committed"),
            if struck.is_empty() { "none".to_owned() } else { struck.join(", ") },
        )
    }

    /// As JSON: the verdicts.
    pub fn to_json(&self) -> Json {
        let cell = |(workload, fault, cell): (Kind, Fault, Option<&Cell>)| {
            let (workload, fault) = (workload.name(), fault.name());
            match cell {
                Some(Cell::Ran(verdict)) => verdict.clone(),
                Some(Cell::NotRun(why)) => {
                    json!({"workload": workload, "fault": fault, "valid": null, "not_run": why})
                }
                Some(Cell::BrokeOff(why)) => {
                    json!({"workload": workload, "fault": fault, "valid": "unknown", "broke_off": why})
                }
                None => {
                    json!({"workload": workload, "fault": fault, "valid": null, "not_run": "not yet"})
                }
            }
        };
        self.lines().map(cell).collect()
    }

    /// Writes `matrix.md` and `matrix.json`.
    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("matrix.md"), self.to_markdown())?;
        std::fs::write(folder.join("matrix.json"), format!("{:#}\n", self.to_json()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_did_not_run_or_broke_off_is_never_counted_as_valid() {
        let mut matrix =
            Matrix::new(vec![Kind::Bank], vec![Fault::Disk, Fault::Kill, Fault::Pause]);
        matrix.set(Kind::Bank, Fault::Disk, Cell::NotRun("no mounts".to_owned()));
        matrix.set(Kind::Bank, Fault::Kill, Cell::BrokeOff("no server".to_owned()));
        assert_eq!((matrix.not_run(), matrix.failed()), (2, 1));
        let table = matrix.to_markdown();
        assert!(!table.contains("| valid |"), "{table}");
        assert!(table.contains("bank under disk: no mounts"), "{table}");
        assert!(table.contains("| bank | pause | *not run yet* |"), "{table}");
        assert_eq!(matrix.to_json()[0]["valid"], Json::Null);
        assert_eq!(matrix.to_json()[2]["not_run"], "not yet");
    }

    #[test]
    fn every_pair_runs_once_and_every_fault_before_one_runs_again() {
        let faults: Vec<Fault> = Place::Cluster.faults().iter().map(|(fault, _)| *fault).collect();
        let matrix = Matrix::new(Kind::ALL.to_vec(), faults.clone());
        let pairs = matrix.pairs();
        assert_eq!(pairs.len(), matrix.not_run());
        let names: std::collections::BTreeSet<_> =
            pairs.iter().map(|(kind, fault)| (kind.name(), fault.name())).collect();
        assert_eq!(names.len(), pairs.len());
        let first: Vec<Fault> = pairs.iter().take(faults.len()).map(|(_, fault)| *fault).collect();
        assert_eq!(first, faults);
    }

    #[test]
    fn only_the_same_run_counts_as_done_earlier() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            workload: Kind::Set,
            fault: Fault::Broker,
            time: Duration::from_secs(20),
            seed: 3,
            concurrency: 10,
            at_least_committed: 100,
            at_least_faults: 1,
            folder: folder.path().to_owned(),
        };
        let earlier = |options: &Options| Cell::earlier(Place::Cluster, options);
        assert_eq!(earlier(&options), None, "it was broken off");
        let verdict = r#"{"valid": true, "workload": "set", "fault": "broker", "seed": 3, "on": "cluster",
            "time_s": 20.0, "concurrency": 10, "committed": 7, "struck": {"broker": 2}}"#;
        std::fs::write(folder.path().join("verdict.json"), verdict).expect("a file");
        let cell = earlier(&options).expect("it is done");
        assert_eq!(cell.is_valid(), Some(true));
        assert_eq!(earlier(&Options { seed: 4, ..options.clone() }), None);
        assert_eq!(earlier(&Options { time: Duration::from_secs(30), ..options.clone() }), None);
        assert_eq!(Cell::earlier(Place::Embedded, &options), None);
        let mut matrix = Matrix::new(vec![Kind::Set], vec![Fault::Broker]);
        matrix.set(Kind::Set, Fault::Broker, cell);
        let table = matrix.to_markdown();
        assert!(table.contains("7 operations committed") && table.contains("broker 2"), "{table}");
    }
}
