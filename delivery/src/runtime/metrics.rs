//! What a delivery counts. Handles are made once: counting is an addition.

use metrics::{Counter, Gauge, counter, gauge};

use super::ShardDelivery;

pub(super) struct DeliveryMetrics {
    pub(super) delivered: Counter,
    pub(super) dead: Counter,
    pub(super) retried: Counter,
    pub(super) redriven: Counter,
    pub(super) redrive_failed: Counter,
    held: Gauge,
    in_flight: Gauge,
    window: Gauge,
    parked: Gauge,
    unread: Gauge,
    oldest: Gauge,
    letters: Gauge,
    redriving: Gauge,
}

impl DeliveryMetrics {
    pub(super) fn new(namespace: &str, target: &str) -> Self {
        let (namespace, target) = (namespace.to_owned(), target.to_owned());
        let count = |what: &'static str| {
            counter!("handfast_delivery_total", "namespace" => namespace.clone(),
                "target" => target.clone(), "what" => what)
        };
        macro_rules! show {
            ($name:literal) => {
                gauge!($name, "namespace" => namespace.clone(), "target" => target.clone())
            };
        }
        Self {
            delivered: count("delivered"),
            dead: count("dead"),
            retried: count("retried"),
            redriven: count("redriven"),
            redrive_failed: count("redrive_failed"),
            held: show!("handfast_delivery_held"),
            in_flight: show!("handfast_delivery_in_flight"),
            window: show!("handfast_delivery_window"),
            parked: show!("handfast_delivery_parked"),
            unread: show!("handfast_delivery_unread"),
            oldest: show!("handfast_delivery_oldest_seconds"),
            letters: show!("handfast_dead_letters"),
            redriving: show!("handfast_redriving_letters"),
        }
    }

    /// `unplaced`: shards beside these of which nothing can be read.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating")]
    pub(super) fn show(&self, shards: &[ShardDelivery], unplaced: usize) {
        let sum =
            |of: &dyn Fn(&ShardDelivery) -> usize| shards.iter().map(of).sum::<usize>() as f64;
        self.held.set(sum(&|it| it.status.held));
        self.in_flight.set(sum(&|it| it.status.in_flight as usize));
        self.window.set(sum(&|it| it.status.window as usize));
        self.parked.set(sum(&|it| it.status.parked));
        self.unread.set(sum(&|it| usize::from(it.unread.is_some())) + unplaced as f64);
        let oldest = shards.iter().filter_map(|it| it.status.oldest_age_us).max();
        self.oldest.set(oldest.unwrap_or(0) as f64 / 1e6);
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating")]
    pub(super) fn show_letters(&self, dead: u64, redriving: u64) {
        self.letters.set((dead + redriving) as f64);
        self.redriving.set(redriving as f64);
    }
}
