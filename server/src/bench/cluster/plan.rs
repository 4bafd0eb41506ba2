//! What is measured beside what, and how good Handfast should be.

use crate::bench::Workload;

/// What one client does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Kafka: one record to each of so many topic partitions, all acknowledged
    Append(usize),
    /// Kafka: one record to one topic partition, by a producer that lingers for more to go with it
    Gathered,
    /// Cassandra: so many plain writes at once
    Write(usize),
    /// Cassandra: so many plain reads at once
    Read(usize),
    /// Cassandra: a logged batch of so many rows
    Logged(usize),
    /// Cassandra: a conditional write of any row
    LwtSpread,
    /// Cassandra: a conditional write of one row
    LwtHot,
    /// A transaction, or a read of several rows
    Handfast(Workload),
    /// One message, over a stream that all clients share
    Streamed,
    /// The same, to a target that is a topic, until the topic has it
    Delivered,
}

impl What {
    pub(super) fn name(self) -> String {
        match self {
            Self::Append(1) => "append to 1 topic partition".to_owned(),
            Self::Append(count) => format!("append to {count} topic partitions"),
            Self::Gathered => "append, linger 5 ms".to_owned(),
            Self::Write(1) => "1 plain write".to_owned(),
            Self::Write(count) => format!("{count} parallel plain writes"),
            Self::Read(1) => "1 plain read".to_owned(),
            Self::Read(count) => format!("{count} parallel plain reads"),
            Self::Logged(count) => format!("logged batch of {count}"),
            Self::LwtSpread => "LWT, any row".to_owned(),
            Self::LwtHot => "LWT, one row".to_owned(),
            Self::Handfast(workload) => workload.name().to_owned(),
            Self::Streamed => "log, streamed".to_owned(),
            Self::Delivered => "log, streamed, delivered".to_owned(),
        }
    }

    /// How requests travel.
    pub(super) const fn transport(self) -> &'static str {
        match self {
            Self::Streamed | Self::Delivered => "stream",
            _ => "unary",
        }
    }

    /// Whether Handfast writes something.
    pub(super) fn commits(self) -> bool {
        match self {
            Self::Handfast(workload) => workload != Workload::Read2,
            Self::Streamed | Self::Delivered => true,
            _ => false,
        }
    }

    pub(super) const fn by(self) -> &'static str {
        match self {
            Self::Append(_) | Self::Gathered => "kafka",
            Self::Write(_) | Self::Read(_) | Self::Logged(_) | Self::LwtSpread | Self::LwtHot => {
                "cassandra"
            }
            Self::Handfast(_) | Self::Streamed | Self::Delivered => "handfast",
        }
    }
}

/// One measurement: what, by how many clients.
pub(super) type Line = (What, usize);

/// Which figure is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// The median latency; less is better.
    P50,
    /// How many a second; more is better.
    Rate,
}

/// A ratio: the figure of one line over the sum of those of others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio {
    pub(super) of: Line,
    pub(super) to: &'static [Line],
    pub(super) figure: Figure,
    /// What it should reach, if anything: at most so much of a latency, at least so much of a rate.
    pub(super) reach: Option<f64>,
}

/// Lines that are measured in turn, round after round, and the ratios between them.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) lines: &'static [Line],
    pub(super) ratios: &'static [Ratio],
}

use Figure::{P50, Rate};
use What::{
    Append, Delivered, Gathered, Handfast, Logged, LwtHot, LwtSpread, Read, Streamed, Write,
};

const BLIND2: What = Handfast(Workload::Blind2);
const TRANSFER: What = Handfast(Workload::Transfer);
const HOT: What = Handfast(Workload::Hot);
const BLIND10: What = Handfast(Workload::Blind10);
const READ2: What = Handfast(Workload::Read2);
const LOG: What = Handfast(Workload::Log);

const fn ratio(of: Line, to: &'static [Line], figure: Figure, reach: f64) -> Ratio {
    Ratio { of, to, figure, reach: Some(reach) }
}

/// A ratio that says something of the ground, and nothing of Handfast.
const fn beside(of: Line, to: &'static [Line], figure: Figure) -> Ratio {
    Ratio { of, to, figure, reach: None }
}

/// Everything that is measured.
pub(super) const GROUPS: [Group; 7] = [
    Group {
        name: "latency",
        lines: &[
            (Append(1), 1),
            (Append(2), 1),
            (Write(1), 1),
            (Write(2), 1),
            (Read(1), 1),
            (Logged(2), 1),
            (BLIND2, 1),
            (TRANSFER, 1),
        ],
        ratios: &[
            ratio((BLIND2, 1), &[(Append(2), 1)], P50, 1.5),
            ratio((TRANSFER, 1), &[(Append(2), 1), (Read(1), 1)], P50, 1.5),
            beside((BLIND2, 1), &[(Logged(2), 1)], P50),
            beside((Logged(2), 1), &[(Append(2), 1)], P50),
            beside((Append(2), 1), &[(Append(1), 1)], P50),
        ],
    },
    Group {
        name: "transfer-64",
        lines: &[(Append(2), 64), (Write(1), 64), (Write(2), 64), (TRANSFER, 64)],
        ratios: &[
            ratio((TRANSFER, 64), &[(Write(2), 64)], Rate, 1.0),
            beside((TRANSFER, 64), &[(Append(2), 64)], Rate),
        ],
    },
    Group {
        name: "transfer-256",
        lines: &[(Append(2), 256), (Write(2), 256), (TRANSFER, 256)],
        ratios: &[
            ratio((TRANSFER, 256), &[(Write(2), 256)], Rate, 1.0),
            beside((TRANSFER, 256), &[(Append(2), 256)], Rate),
        ],
    },
    Group {
        name: "hot",
        lines: &[(LwtSpread, 64), (LwtHot, 64), (HOT, 64)],
        ratios: &[
            ratio((HOT, 64), &[(LwtHot, 64)], Rate, 100.0),
            beside((HOT, 64), &[(LwtSpread, 64)], Rate),
        ],
    },
    Group {
        name: "blind10",
        lines: &[(Logged(10), 64), (BLIND10, 64)],
        ratios: &[ratio((BLIND10, 64), &[(Logged(10), 64)], Rate, 1.0)],
    },
    Group {
        name: "read2",
        lines: &[(Read(2), 64), (READ2, 64)],
        ratios: &[ratio((READ2, 64), &[(Read(2), 64)], Rate, 0.7)],
    },
    Group {
        name: "log",
        lines: &[(Append(1), 256), (Gathered, 256), (LOG, 256), (Streamed, 256), (Delivered, 256)],
        ratios: &[
            ratio((Streamed, 256), &[(Gathered, 256)], Rate, 0.8),
            beside((Streamed, 256), &[(Append(1), 256)], Rate),
            beside((LOG, 256), &[(Append(1), 256)], Rate),
            beside((Delivered, 256), &[(Streamed, 256)], Rate),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ratio_is_of_lines_that_are_measured_with_it() {
        for group in GROUPS {
            for ratio in group.ratios {
                assert!(group.lines.contains(&ratio.of), "{}: {ratio:?}", group.name);
                assert!(ratio.to.iter().all(|line| group.lines.contains(line)), "{ratio:?}");
            }
        }
    }
}
