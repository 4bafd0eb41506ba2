//! What the service counts. Handles are made once: counting is an addition.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use wal_core::AbortReason;

use super::errors::ServiceError;
use crate::api::Answer;

/// The service's metrics.
pub(super) struct ServiceMetrics {
    committed: Counter,
    logged: Counter,
    unknown: Counter,
    aborted: Counter,
    pub(super) submit: Histogram,
    pub(super) write_to_log: Histogram,
    pub(super) read: Histogram,
    pub(super) outcome: Histogram,
    pub(super) streams: Gauge,
    pub(super) stream_in_flight: Gauge,
    pub(super) subscriptions: Gauge,
    pub(super) subscription_transactions: Counter,
}

impl Default for ServiceMetrics {
    fn default() -> Self {
        let submissions = |outcome| counter!("handfast_submissions_total", "outcome" => outcome);
        let seconds = |method| histogram!("handfast_request_seconds", "method" => method);
        Self {
            committed: submissions("committed"),
            logged: submissions("logged"),
            unknown: submissions("unknown"),
            aborted: submissions("aborted"),
            submit: seconds("Submit"),
            write_to_log: seconds("WriteToLog"),
            read: seconds("Read"),
            outcome: seconds("GetOutcome"),
            streams: gauge!("handfast_streams"),
            stream_in_flight: gauge!("handfast_stream_in_flight"),
            subscriptions: gauge!("handfast_subscriptions"),
            subscription_transactions: counter!("handfast_subscription_transactions_total"),
        }
    }
}

impl ServiceMetrics {
    /// Counts what a submission was answered.
    pub(super) fn answered(&self, answer: &Answer) {
        match answer {
            Answer::Committed { .. } => self.committed.increment(1),
            Answer::Logged(_) => self.logged.increment(1),
            Answer::Aborted { reason, .. } => {
                self.aborted.increment(1);
                counter!("handfast_aborts_total", "reason" => abort_reason(reason)).increment(1);
            }
            // Counted as refusals, with their reason.
            Answer::IdReused
            | Answer::TooOld { .. }
            | Answer::FromFuture
            | Answer::Overloaded { .. }
            | Answer::Unavailable { .. }
            | Answer::ClocksApart { .. } => {}
        }
    }

    /// Counts a submission whose wait ended first.
    pub(super) fn wait_ended(&self) {
        self.unknown.increment(1);
    }

    /// Counts a call that failed.
    pub(super) fn refused(&self, error: &ServiceError) {
        let reason = error.code_and_reason().1;
        counter!("handfast_refusals_total", "reason" => reason).increment(1);
    }

    /// Records how long a call took.
    pub(super) fn took(histogram: &Histogram, time: Duration) {
        histogram.record(time.as_secs_f64());
    }
}

/// A label for each reason.
const fn abort_reason(reason: &AbortReason) -> &'static str {
    match reason {
        AbortReason::ConditionFailed { .. } => "condition_failed",
        AbortReason::Overflow { .. } => "overflow",
        AbortReason::TimestampInFuture { .. } => "timestamp_in_future",
        AbortReason::Schema { .. } => "schema_changed",
        AbortReason::Fenced => "fenced",
        AbortReason::IdReused => "id_reused",
    }
}
