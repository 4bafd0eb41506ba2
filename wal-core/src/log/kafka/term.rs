//! What one producer has sent in one epoch of one shard, and what is known of it.
//!
//! ```text
//! waiting ──hand over──▶ in flight ──report──▶ at the expected offset? ──yes──▶ durable
//!                            │                        │ no
//!                            │                  read the log to there ── ours and whole ──▶ durable, new base
//!                         timed out                   │
//!                            ▼                        └── another epoch, a gap ──▶ unknown: the epoch is over
//!                         unknown
//! ```
//!
//! A pure state machine: no client, clock or thread, so that its rules are tested without a broker.
//!
//! **Why the offset alone does not do.** `offset = base + sequence` can be met by chance: a record of
//! ours is lost and a rival's takes its place. So a record counts only if it is the next one of ours
//! *and* stands directly behind the last one that counted; whatever differs is read.

use std::collections::VecDeque;

use crate::id::{Epoch, Position, Sequence};
use crate::log::Appended;

/// Names one batch of one append to whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) call: u64,
    pub(super) slot: usize,
}

/// Adjacent records that the broker says it took: sequences and offsets grow together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Sequence,
    pub(super) count: u64,
    pub(super) offset: u64,
}

/// The last record of ours that is known to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) seq: Sequence,
    pub(super) offset: u64,
}

/// What must be read before another answer is given: from the last record that counts to the one reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) epoch: Epoch,
    pub(super) from: Verified,
    /// The last offset to read.
    pub(super) to: u64,
}

/// What reading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Records of ours that count, in order, from the one after [`Question::from`] on.
    pub(super) accepted: Vec<Verified>,
    /// The offset behind the last one read.
    pub(super) next: u64,
    /// Why nothing more of this epoch can count, if so.
    pub(super) over: Option<String>,
}

/// What the term makes of a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, or batches were settled.
    Go,
    /// Answers stop until this was read.
    Read(Question),
    /// The epoch is over; everything was answered.
    Over(String),
    /// The log is not the one that was written to.
    Lost(String),
}

#[derive(Debug)]
struct Sent {
    ticket: Ticket,
    first: Sequence,
    last: Sequence,
    /// Where its first record stands, once known.
    at: Option<u64>,
    handed_over: bool,
}

/// One epoch of one shard, as far as this process writes it.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) epoch: Epoch,
    /// The sequence of the next batch.
    next: Sequence,
    verified: Option<Verified>,
    /// Where the record after the last verified one must stand.
    expected: u64,
    sent: VecDeque<Sent>,
    reading: bool,
    /// Reports that came while the log was read.
    reports: VecDeque<Run>,
}

impl Term {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            next: Sequence(0),
            verified: None,
            expected: 0,
            sent: VecDeque::new(),
            reading: false,
            reports: VecDeque::new(),
        }
    }

    /// The sequence that the next batch must begin with.
    pub(super) const fn next(&self) -> Sequence {
        self.next
    }

    /// Takes a batch in, behind all before it.
    pub(super) fn push(&mut self, ticket: Ticket, first: Sequence, count: u64) {
        debug_assert_eq!(first, self.next);
        let last = Sequence(first.0 + count - 1);
        self.next = last.next();
        self.sent.push_back(Sent { ticket, first, last, at: None, handed_over: false });
    }

    /// Everything up to there is the client library's from now on.
    pub(super) fn handed_over(&mut self, last: Sequence) {
        for sent in self.sent.iter_mut().filter(|sent| sent.first <= last) {
            sent.handed_over = true;
        }
    }

    /// The offset behind the last record that counts.
    pub(super) fn end(&self) -> u64 {
        self.verified.map_or(0, |verified| verified.offset + 1)
    }

    /// The broker took records.
    pub(super) fn on_run(&mut self, run: Run, out: &mut Vec<(Ticket, Appended)>) -> Step {
        self.reports.push_back(run);
        if self.reading {
            return Step::Go;
        }
        self.go_on(out)
    }

    /// The log was read, as asked for by [`Step::Read`].
    pub(super) fn on_found(&mut self, found: &Found, out: &mut Vec<(Ticket, Appended)>) -> Step {
        self.reading = false;
        for record in &found.accepted {
            self.count(*record);
        }
        self.expected = found.next;
        self.settle(out);
        match &found.over {
            Some(why) => {
                self.end_in_doubt(why, out);
                Step::Over(why.clone())
            }
            None => self.go_on(out),
        }
    }

    /// Takes the reports that wait, until one must be read for.
    fn go_on(&mut self, out: &mut Vec<(Ticket, Appended)>) -> Step {
        while let Some(run) = self.reports.pop_front() {
            let Some(run) = self.unknown_part(run) else { continue };
            let Some(verified) = self.verified else {
                // The epoch's own record: it says where the epoch stands. Whether it won, its owner reads.
                if run.first != Sequence(0) {
                    let why = format!("record {} was reported before record 0", run.first);
                    self.end_in_doubt(&why, out);
                    return Step::Over(why);
                }
                self.expected = run.offset;
                self.take(run);
                self.settle(out);
                continue;
            };
            if run.offset <= verified.offset {
                return Step::Lost(format!(
                    "record {} of epoch {} stands at {}, but record {} stood at {} before",
                    run.first, self.epoch, run.offset, verified.seq, verified.offset
                ));
            }
            if run.first == verified.seq.next() && run.offset == self.expected {
                self.take(run);
                self.settle(out);
                continue;
            }
            if run.offset < self.expected {
                // It was read over, and did not count.
                let why = format!("record {} of epoch {} does not count", run.first, self.epoch);
                self.end_in_doubt(&why, out);
                return Step::Over(why);
            }
            self.reading = true;
            self.reports.push_front(run);
            let to = self.reports.iter().map(|run| run.offset + run.count - 1).max();
            let to = to.expect("the report itself is one");
            return Step::Read(Question { epoch: self.epoch, from: verified, to });
        }
        Step::Go
    }

    /// What of a run was not read already.
    fn unknown_part(&self, run: Run) -> Option<Run> {
        let Some(verified) = self.verified else { return Some(run) };
        let known = (verified.seq.0 + 1).saturating_sub(run.first.0);
        (known < run.count).then(|| Run {
            first: Sequence(run.first.0 + known),
            count: run.count - known,
            offset: run.offset + known,
        })
    }

    fn take(&mut self, run: Run) {
        for number in 0..run.count {
            self.count(Verified {
                seq: Sequence(run.first.0 + number),
                offset: run.offset + number,
            });
        }
        self.expected = run.offset + run.count;
    }

    fn count(&mut self, record: Verified) {
        self.verified = Some(record);
        let begun = |sent: &&mut Sent| sent.at.is_none() && sent.first == record.seq;
        if let Some(sent) = self.sent.iter_mut().find(begun) {
            sent.at = Some(record.offset);
        }
    }

    fn settle(&mut self, out: &mut Vec<(Ticket, Appended)>) {
        let Some(verified) = self.verified else { return };
        while let Some(front) = self.sent.front().filter(|front| front.last <= verified.seq) {
            let at = front.at.expect("every record from the first to the last was counted");
            out.push((front.ticket, Appended::Durable { first: Position(at) }));
            self.sent.pop_front();
        }
    }

    /// Answers everything: what was handed over is unknown, what was not will never be in the log.
    pub(super) fn end_in_doubt(&mut self, why: &str, out: &mut Vec<(Ticket, Appended)>) {
        for sent in std::mem::take(&mut self.sent) {
            let why = why.to_owned();
            let answer = if sent.handed_over {
                Appended::Unknown { why }
            } else {
                Appended::Rejected { why }
            };
            out.push((sent.ticket, answer));
        }
    }
}

#[cfg(test)]
mod tests;
