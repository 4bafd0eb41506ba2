//! Every chosen workload under every chosen fault, one after the other, and a table at the end.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::ground::NotRun;
use crate::report::Report;
use crate::run::{Options, run};
use crate::{Fault, Kind, Validity};

/// What one run of a matrix came to.
#[derive(Clone, Debug)]
pub enum Cell {
    /// It ran to its end.
    Ran(Box<Report>),
    /// This machine has no means for the fault, and why.
    NotRun(String),
    /// It broke off, which is no verdict, and why.
    BrokeOff(String),
}

impl Cell {
    /// Runs one workload under one fault.
    pub async fn run(options: &Options) -> Self {
        match run(options).await {
            Ok(report) => Self::Ran(Box::new(report)),
            Err(error) => match error.downcast_ref::<NotRun>() {
                Some(NotRun(why)) => Self::NotRun(why.clone()),
                None => Self::BrokeOff(format!("{error:#}")),
            },
        }
    }

    /// Whether it ran and is valid; `None` if it did not run.
    pub fn is_valid(&self) -> Option<bool> {
        match self {
            Self::Ran(report) => Some(report.validity() == Validity::Valid),
            Self::NotRun(_) => None,
            Self::BrokeOff(_) => Some(false),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Ran(report) => match report.validity() {
                Validity::Valid => "valid",
                Validity::Invalid => "**INVALID**",
                Validity::Unknown => "**not decided**",
            },
            Self::NotRun(_) => "*not run*",
            Self::BrokeOff(_) => "**broke off**",
        }
    }
}

/// The runs so far.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    cells: Vec<(Kind, Fault, Cell)>,
}

impl Matrix {
    /// Adds a run.
    pub fn add(&mut self, workload: Kind, fault: Fault, cell: Cell) {
        self.cells.push((workload, fault, cell));
    }

    /// How many ran and are not valid.
    pub fn failed(&self) -> usize {
        self.cells.iter().filter(|(.., cell)| cell.is_valid() == Some(false)).count()
    }

    /// How many did not run.
    pub fn not_run(&self) -> usize {
        self.cells.iter().filter(|(.., cell)| cell.is_valid().is_none()).count()
    }

    /// As a table in Markdown: a line for each run.
    pub fn to_markdown(&self) -> String {
        let mut out = "| workload | fault | verdict | strikes | committed | read | failed | unknown at first \
                       (of these committed) | longest silence |\n|---|---|---|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
        for (workload, fault, cell) in &self.cells {
            let figures = match cell {
                Cell::Ran(report) => {
                    let it = &report.verdict;
                    let (unknown, committed) = (it.unknown, it.unknown_committed);
                    let silence = it.longest_silence_ms as f64 / 1_000.0;
                    format!(
                        "{} | {} | {} | {} | {unknown} ({committed}) | {silence:.1} s",
                        it.faults, it.committed, it.read, it.failed
                    )
                }
                Cell::NotRun(_) | Cell::BrokeOff(_) => " | | | | | ".to_owned(),
            };
            let (workload, fault, word) = (workload.name(), fault.name(), cell.word());
            writeln!(out, "| {workload} | {fault} | {word} | {figures} |")
                .expect("a string takes all");
        }
        for (workload, fault, cell) in &self.cells {
            if let Cell::NotRun(why) | Cell::BrokeOff(why) = cell {
                let (workload, fault) = (workload.name(), fault.name());
                writeln!(out, "\n{workload} under {fault}: {why}").expect("a string takes all");
            }
        }
        out
    }

    /// As JSON: the verdicts.
    pub fn to_json(&self) -> Json {
        let cell = |(workload, fault, cell): &(Kind, Fault, Cell)| {
            let (workload, fault) = (workload.name(), fault.name());
            match cell {
                Cell::Ran(report) => report.to_json(),
                Cell::NotRun(why) => {
                    json!({"workload": workload, "fault": fault, "valid": null, "not_run": why})
                }
                Cell::BrokeOff(why) => {
                    json!({"workload": workload, "fault": fault, "valid": "unknown", "broke_off": why})
                }
            }
        };
        self.cells.iter().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_or_broke_off_is_never_counted_as_valid() {
        let mut matrix = Matrix::default();
        matrix.add(Kind::Bank, Fault::Disk, Cell::NotRun("no mounts".to_owned()));
        matrix.add(Kind::Bank, Fault::Kill, Cell::BrokeOff("no server".to_owned()));
        assert_eq!((matrix.not_run(), matrix.failed()), (1, 1));
        let table = matrix.to_markdown();
        assert!(!table.contains("| valid |"), "{table}");
        assert!(table.contains("bank under disk: no mounts"), "{table}");
        assert_eq!(matrix.to_json()[0]["valid"], Json::Null);
    }
}
