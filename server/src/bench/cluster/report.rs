//! What was measured in a cluster, and the ratios.

use serde::Serialize;
use serde_json::{Value, json};

use super::plan::{Figure, Group, Line, Ratio};
use crate::bench::report::Measured;

/// One measurement of one round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    pub(super) group: &'static str,
    pub(super) round: usize,
    /// `kafka`, `cassandra` or `handfast`.
    pub(super) by: &'static str,
    /// Figures. `refused` counts the plain requests that failed, too. Rates of what Handfast writes count
    /// the time until all of it was in the tables.
    #[serde(flatten)]
    pub(super) figures: Measured,
    /// How long after the last answer everything was in the tables, milliseconds.
    pub(super) applied_after_ms: Option<u64>,
    /// The first failure.
    pub(super) complaint: Option<String>,
    /// Which line this is.
    #[serde(skip)]
    pub(super) line: Line,
}

/// A ratio over all rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ratios {
    workload: String,
    clients: usize,
    /// `p50` or `per_second`.
    figure: &'static str,
    /// The medians of both sides, microseconds or per second.
    measured: f64,
    against: String,
    baseline: f64,
    /// The median of the rounds' ratios.
    ratio: f64,
    /// The ratio of every round.
    rounds: Vec<f64>,
    reach: Option<String>,
    reached: Option<bool>,
}

/// Everything that a run found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) surroundings: Surroundings,
    pub(super) rounds: Vec<Round>,
    pub(super) ratios: Vec<Ratios>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Surroundings {
    /// Of the machine of the benchmark.
    pub(super) cores: usize,
    pub(super) cassandra_nodes: usize,
    pub(super) kafka_replication: u16,
    pub(super) shards: u16,
    pub(super) endpoints: usize,
    pub(super) rows: u64,
    pub(super) value_bytes: usize,
    /// Seconds of one line's rounds together, and of the whole run.
    pub(super) seconds_each: f64,
    pub(super) seconds: f64,
    /// The load average before and after.
    pub(super) load: [f64; 2],
    /// The sum of the balances: what it must be within (it may not be known exactly, if an outcome was unknown),
    /// what Handfast reads, what a plain reader reads.
    pub(super) expected_sum: [i64; 2],
    pub(super) sum: i64,
    pub(super) plain_sum: i64,
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(number: f64) -> f64 {
    if number < 10.0 { (number * 100.0).round() / 100.0 } else { (number * 10.0).round() / 10.0 }
}

impl Ratio {
    fn figure_of(&self, round: &Round) -> f64 {
        match self.figure {
            Figure::P50 => round.figures.p50_us as f64,
            Figure::Rate => round.figures.per_second,
        }
    }

    /// What a line came to in each round.
    fn of_line(&self, rounds: &[Round], group: &Group, line: Line) -> Vec<f64> {
        let ours = rounds.iter().filter(|it| it.group == group.name && it.line == line);
        ours.map(|round| self.figure_of(round)).collect()
    }

    pub(super) fn over(&self, rounds: &[Round], group: &Group) -> Ratios {
        let measured = self.of_line(rounds, group, self.of);
        let mut baseline = vec![0.0; measured.len()];
        for line in self.to {
            let of_line = self.of_line(rounds, group, *line);
            baseline.iter_mut().zip(of_line).for_each(|(sum, it)| *sum += it);
        }
        let ratios: Vec<f64> = measured.iter().zip(&baseline).map(|(a, b)| a / b).collect();
        let ratio = median(ratios.clone());
        let (figure, sign) = match self.figure {
            Figure::P50 => ("p50_us", "≤"),
            Figure::Rate => ("per_second", "≥"),
        };
        let names: Vec<String> = self.to.iter().map(|(what, _)| what.name()).collect();
        let (what, clients) = self.of;
        Ratios {
            workload: what.name(),
            clients,
            figure,
            measured: median(measured).round(),
            against: names.join(" + "),
            baseline: median(baseline).round(),
            ratio: rounded(ratio),
            rounds: ratios.into_iter().map(rounded).collect(),
            reach: self.reach.map(|reach| format!("{sign} {reach}")),
            reached: self.reach.map(|reach| match self.figure {
                Figure::P50 => ratio <= reach,
                Figure::Rate => ratio >= reach,
            }),
        }
    }
}

impl Report {
    /// The medians of every line's rounds, for people.
    pub(super) fn lines(&self, groups: &[&Group]) -> (&'static [&'static str], Vec<Value>) {
        const COLUMNS: [&str; 10] = [
            "group",
            "by",
            "workload",
            "clients",
            "per_second",
            "p50_us",
            "p99_us",
            "aborted",
            "unknown",
            "refused",
        ];
        let mut lines = Vec::new();
        for group in groups {
            for line in group.lines {
                let rounds: Vec<&Round> = self
                    .rounds
                    .iter()
                    .filter(|it| it.group == group.name && it.line == *line)
                    .collect();
                let figure = |of: fn(&Measured) -> f64| {
                    median(rounds.iter().map(|it| of(&it.figures)).collect()).round() as u64
                };
                let count = |of: fn(&Measured) -> u64| -> u64 {
                    rounds.iter().map(|it| of(&it.figures)).sum()
                };
                lines.push(json!({
                    "group": group.name,
                    "by": line.0.by(),
                    "workload": line.0.name(),
                    "clients": line.1,
                    "per_second": figure(|it| it.per_second),
                    "p50_us": figure(|it| it.p50_us as f64),
                    "p99_us": figure(|it| it.p99_us as f64),
                    "aborted": count(|it| it.aborted),
                    "unknown": count(|it| it.unknown),
                    "refused": count(|it| it.refused),
                }));
            }
        }
        (&COLUMNS, lines)
    }

    /// The ratios, for people.
    pub(super) fn ratio_lines(&self) -> (&'static [&'static str], Vec<Value>) {
        const COLUMNS: [&str; 9] = [
            "workload", "clients", "figure", "measured", "against", "baseline", "ratio", "reach",
            "reached",
        ];
        let line = |ratios: &Ratios| {
            let mut line = serde_json::to_value(ratios).unwrap_or_default();
            line["reached"] = match ratios.reached {
                Some(true) => "yes".into(),
                Some(false) => "NO".into(),
                None => "-".into(),
            };
            line
        };
        (&COLUMNS, self.ratios.iter().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::GROUPS;
    use super::*;
    use crate::bench::report::Tally;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_sums_its_baselines() {
        let group = &GROUPS[0];
        let ratio = group.ratios[1];
        let mut rounds = Vec::new();
        for (round, [transfer, append, read]) in
            [[30, 10, 10], [90, 10, 20], [20, 10, 10]].into_iter().enumerate()
        {
            for (line, p50_us) in [(ratio.of, transfer), (ratio.to[0], append), (ratio.to[1], read)]
            {
                let figures =
                    Tally::default().measured("", "", 1, std::time::Duration::from_secs(1));
                rounds.push(Round {
                    group: group.name,
                    round,
                    by: line.0.by(),
                    figures: Measured { p50_us, ..figures },
                    applied_after_ms: None,
                    complaint: None,
                    line,
                });
            }
        }
        let ratios = ratio.over(&rounds, group);
        assert_eq!(ratios.rounds, [1.5, 3.0, 1.0]);
        assert_eq!((ratios.ratio, ratios.reached), (1.5, Some(true)));
    }
}
