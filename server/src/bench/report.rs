//! What was measured, as a table for people and as JSON for scripts.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use coordinator::runtime::{NamespaceSnapshot, SystemClock};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;
use wal_core::Clock;

use super::disk;

/// Latencies from 1 microsecond to 100 seconds, to 3 digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000, 3).expect("the bounds are good")
}

/// Counts one run.
pub(super) struct Tally {
    latency_us: Histogram<u64>,
    pub(super) committed: u64,
    pub(super) aborted: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { latency_us: histogram(), committed: 0, aborted: 0, unknown: 0, refused: 0 }
    }
}

/// What one request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Committed,
    Aborted,
    Unknown,
    Refused,
}

impl Tally {
    pub(super) fn count(&mut self, ended: Ended, took: Duration) {
        match ended {
            Ended::Committed => self.committed += 1,
            Ended::Aborted => self.aborted += 1,
            Ended::Unknown => self.unknown += 1,
            Ended::Refused => self.refused += 1,
        }
        if ended != Ended::Refused {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.latency_us.saturating_record(took);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.latency_us.add(&other.latency_us).expect("both have the same bounds");
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }

    pub(super) fn measured(
        &self,
        workload: &str,
        transport: &str,
        in_flight: usize,
        took: Duration,
    ) -> Measured {
        let quantile = |q| self.latency_us.value_at_quantile(q);
        Measured {
            workload: workload.to_owned(),
            transport: transport.to_owned(),
            in_flight,
            committed: self.committed,
            aborted: self.aborted,
            unknown: self.unknown,
            refused: self.refused,
            per_second: (self.committed as f64 / took.as_secs_f64()).round(),
            p50_us: quantile(0.5),
            p95_us: quantile(0.95),
            p99_us: quantile(0.99),
            max_us: self.latency_us.max(),
            sum: None,
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) workload: String,
    pub(super) transport: String,
    pub(super) in_flight: usize,
    pub(super) committed: u64,
    pub(super) aborted: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
    /// Committed (or read) per second.
    pub(super) per_second: f64,
    pub(super) p50_us: u64,
    pub(super) p95_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
    /// Whether the balances add up afterwards; null where nothing can be added up.
    pub(super) sum: Option<bool>,
}

/// What else there is to know of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Surroundings {
    /// The file system of the data folder.
    pub(super) disk: String,
    /// Median time of a 4 KiB write and fdatasync there, microseconds.
    pub(super) fdatasync_us: u64,
    pub(super) cores: usize,
    /// Peak memory of the process that served, MiB, by transport.
    pub(super) peak_memory_mib: Vec<(String, u64)>,
    /// How far back outcomes were remembered at the end, milliseconds, by transport.
    pub(super) id_window_ms: Vec<(String, u64)>,
}

impl Surroundings {
    pub(super) fn of(folder: &Path) -> std::io::Result<Self> {
        Ok(Self {
            disk: disk::describe(folder),
            fdatasync_us: disk::fdatasync_us(folder)?,
            cores: std::thread::available_parallelism()?.get(),
            ..Self::default()
        })
    }

    /// Notes what a process that served took.
    pub(super) fn served(&mut self, transport: &str, process: u32, id_window_ms: Option<u64>) {
        self.peak_memory_mib.push((transport.to_owned(), disk::peak_memory_mib(process)));
        self.id_window_ms.extend(id_window_ms.map(|ms| (transport.to_owned(), ms)));
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores; data on {}, fdatasync of 4 KiB {} µs (median)",
            self.cores, self.disk, self.fdatasync_us
        )?;
        for (transport, mib) in &self.peak_memory_mib {
            write!(f, "; {transport}: peak memory {mib} MiB")?;
        }
        for (transport, ms) in &self.id_window_ms {
            write!(f, "; {transport}: outcomes remembered for {ms} ms")?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) surroundings: Surroundings,
    pub(super) measured: Vec<Measured>,
}

/// How far back outcomes are remembered: the age of the oldest.
pub(super) fn window_ms(snapshot: &NamespaceSnapshot) -> u64 {
    let oldest = snapshot.shards.iter().filter_map(|shard| shard.oldest).min();
    oldest.map_or(0, |id| SystemClock::new().now().millis().0.saturating_sub(id.time().0))
}

impl Report {
    pub(super) fn add(&mut self, measured: Measured) -> Measured {
        self.measured.push(measured.clone());
        measured
    }

    /// The lines for people, and the names of their columns.
    pub(super) fn lines(&self) -> (&'static [&'static str], Vec<Value>) {
        const COLUMNS: [&str; 13] = [
            "workload",
            "transport",
            "in_flight",
            "per_second",
            "p50_us",
            "p95_us",
            "p99_us",
            "max_us",
            "committed",
            "aborted",
            "unknown",
            "refused",
            "sum",
        ];
        let line = |measured: &Measured| {
            let mut line = serde_json::to_value(measured).unwrap_or_default();
            line["sum"] = match measured.sum {
                Some(true) => "right".into(),
                Some(false) => "WRONG".into(),
                None => "-".into(),
            };
            line
        };
        (&COLUMNS, self.measured.iter().map(line).collect())
    }
}
