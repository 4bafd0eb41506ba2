//! What is shown of sending to another region.

use std::sync::Arc;

use metrics::{Counter, Gauge, counter, gauge};
use wal_core::ShardId;

use super::runtime::ShipStatus;

pub(super) struct ShipMetrics {
    namespace: Arc<str>,
    region: Arc<str>,
    pub(super) transactions: Counter,
    pub(super) bytes: Counter,
    pub(super) batches: Counter,
    pub(super) pulses: Counter,
    pub(super) failures: Counter,
    watermark: Gauge,
    waiting: Gauge,
}

impl ShipMetrics {
    pub(super) fn new(namespace: &Arc<str>, region: &Arc<str>) -> Self {
        let labels = || (Arc::clone(namespace), Arc::clone(region));
        macro_rules! labelled {
            ($kind:ident, $name:literal) => {{
                let (namespace, region) = labels();
                $kind!($name, "namespace" => namespace, "region" => region)
            }};
        }
        Self {
            namespace: Arc::clone(namespace),
            region: Arc::clone(region),
            transactions: labelled!(counter, "handfast_region_transactions_total"),
            bytes: labelled!(counter, "handfast_region_bytes_total"),
            batches: labelled!(counter, "handfast_region_batches_total"),
            pulses: labelled!(counter, "handfast_region_pulses_total"),
            failures: labelled!(counter, "handfast_region_failures_total"),
            watermark: labelled!(gauge, "handfast_region_watermark_seconds"),
            waiting: labelled!(gauge, "handfast_region_waiting_bytes"),
        }
    }

    /// Somebody else sends now, or nobody: what waits is not this process's to say.
    pub(super) fn clear(&self, shards: u16) {
        self.waiting.set(0.0);
        (0..shards).for_each(|shard| self.lag(ShardId(shard), 0));
    }

    fn lag(&self, shard: ShardId, lag_us: u64) {
        let (namespace, region) = (Arc::clone(&self.namespace), Arc::clone(&self.region));
        gauge!(
            "handfast_region_lag_seconds",
            "namespace" => namespace, "region" => region, "shard" => shard.to_string()
        )
        .set(lag_us as f64 / 1e6);
    }

    pub(super) fn show(&self, status: &ShipStatus, shards: u16) {
        self.watermark.set(status.watermark.0 as f64 / 1e6);
        self.waiting.set(status.waiting.1 as f64);
        for shard in (0..shards).map(ShardId) {
            self.lag(shard, status.lag_us.get(&shard).copied().unwrap_or(0));
        }
    }
}
