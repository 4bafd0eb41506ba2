//! The figures of one namespace, as `handfast_…` metrics.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use wal_core::Now;

use super::handle::NamespaceSnapshot;
use crate::api::{Answer, CallAnswer};

const REPORT_EVERY_US: u64 = 1_000_000;

pub(super) struct Metrics {
    namespace: String,
    committed: Counter,
    append_records: Histogram,
    append_bytes: Histogram,
    due_us: u64,
}

impl Metrics {
    pub(super) fn new(namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        Self {
            committed: counter!("handfast_commits_total", "namespace" => namespace.clone()),
            append_records: histogram!("handfast_append_records", "namespace" => namespace.clone()),
            append_bytes: histogram!("handfast_append_bytes", "namespace" => namespace.clone()),
            namespace,
            due_us: 0,
        }
    }

    /// Counts an answer to a client. Aborts and refusals are counted by the service, with their reasons.
    pub(super) fn count(&self, answer: &CallAnswer) {
        if let CallAnswer::Submit(Answer::Committed { .. } | Answer::Logged(_)) = answer {
            self.committed.increment(1);
        }
    }

    pub(super) fn appended(&self, records: usize, bytes: usize) {
        self.append_records.record(records as f64);
        self.append_bytes.record(bytes as f64);
    }

    pub(super) const fn is_due(&self, now: Now) -> bool {
        now.mono_us >= self.due_us
    }

    /// Sets the gauges: sums over the namespace's shards.
    pub(super) fn report(&mut self, now: Now, snapshot: &NamespaceSnapshot) {
        self.due_us = now.mono_us + REPORT_EVERY_US;
        let sum = |of: fn(&participant::engine::ShardStatus) -> u64| {
            snapshot.shards.iter().map(of).sum::<u64>() as f64
        };
        let oldest = snapshot.shards.iter().filter_map(|shard| shard.oldest_unresolved_us).max();
        let window = snapshot.shards.iter().filter_map(|shard| shard.oldest).min();
        let window_ms = window.map_or(0, |id| now.millis().0.saturating_sub(id.time().0));
        let gauges: [(&'static str, f64); 16] = [
            ("handfast_in_flight_calls", snapshot.in_flight as f64),
            ("handfast_log_bytes", snapshot.log_bytes as f64),
            ("handfast_lock_waiters", sum(|s| s.waiting as u64)),
            ("handfast_locked_keys", sum(|s| s.locks as u64)),
            ("handfast_prepared_transactions", sum(|s| s.prepared as u64)),
            ("handfast_open_transactions", sum(|s| s.open as u64)),
            ("handfast_unfinished_transactions", sum(|s| s.unfinished as u64)),
            ("handfast_oldest_unresolved_microseconds", oldest.unwrap_or(0) as f64),
            ("handfast_held_answers", sum(|s| s.held_answers as u64)),
            ("handfast_overlay_bytes", sum(|s| s.overlay_bytes as u64)),
            ("handfast_parked_rows", sum(|s| s.parked_rows as u64)),
            ("handfast_cache_bytes", sum(|s| s.row_bytes as u64)),
            ("handfast_remembered_ids", sum(|s| s.remembered as u64)),
            ("handfast_id_window_milliseconds", window_ms as f64),
            ("handfast_recoveries", sum(|s| s.counters.recoveries)),
            ("handfast_wounds", sum(|s| s.counters.wounds)),
        ];
        for (name, value) in gauges {
            gauge_of(name, &self.namespace).set(value);
        }
    }
}

fn gauge_of(name: &'static str, namespace: &str) -> Gauge {
    gauge!(name, "namespace" => namespace.to_owned())
}
