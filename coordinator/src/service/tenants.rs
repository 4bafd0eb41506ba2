//! What each namespace takes of this server: no more than its quota, and of what all share no more than
//! is fair.
//!
//! Of the calls that may be in work at once, and of the streams that may be open, a namespace may have
//! another one as long as it has no more than are free. So one that floods gets half, two get a third each,
//! and there is always room for whoever has little (dynamic thresholds, Choudhury and Hahne 1998).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use metrics::{Counter, Gauge, counter, gauge};
use rustc_hash::FxHashMap;
use tokio::time::Instant;
use wal_core::namespace::Namespace;

use super::errors::ServiceError;
use crate::quota::{Exhausted, Quota};

/// Every namespace that was called here.
pub(super) struct Tenants {
    by_name: RwLock<FxHashMap<String, Arc<Tenant>>>,
    began: Instant,
    retry_after_ms: u64,
}

impl Tenants {
    /// `retry_after_ms`: when somebody should try again who waits for an answer to somebody else.
    pub(super) fn new(retry_after_ms: u64) -> Self {
        Self { by_name: RwLock::default(), began: Instant::now(), retry_after_ms }
    }

    /// That of a namespace. Only served ones have one, so there are no more than there may be namespaces.
    pub(super) fn of(&self, namespace: &Namespace) -> Arc<Tenant> {
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = known.get(namespace.name()) {
            return Arc::clone(tenant);
        }
        drop(known);
        let mut known = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let tenant = known.entry(namespace.name().to_owned()).or_insert_with(|| {
            Arc::new(Tenant {
                began: self.began,
                retry_after_ms: self.retry_after_ms,
                usage: Mutex::default(),
                calls: AtomicUsize::new(0),
                streams: AtomicUsize::new(0),
                metrics: TenantMetrics::new(namespace.name()),
            })
        });
        Arc::clone(tenant)
    }
}

/// One namespace at this server.
pub(super) struct Tenant {
    began: Instant,
    retry_after_ms: u64,
    usage: Mutex<Usage>,
    calls: AtomicUsize,
    streams: AtomicUsize,
    metrics: TenantMetrics,
}

#[derive(Default)]
struct Usage {
    quota: Quota,
    /// The version of the namespace whose quota the metrics show; none has 0.
    shown: u32,
}

impl Tenant {
    /// Takes a submission or a read of so many bytes out of the namespace's quota.
    pub(super) fn take(
        self: &Arc<Self>,
        namespace: &Namespace,
        bytes: usize,
    ) -> Result<Taken, ServiceError> {
        let (settings, bytes) = (namespace.quota(), bytes as u64);
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut usage = self.usage();
        if usage.shown != namespace.version() {
            usage.shown = namespace.version();
            self.metrics.show(namespace);
        }
        let taken = usage.quota.take(settings, now_us, bytes);
        drop(usage);
        match taken {
            Ok(()) => {
                self.metrics.transactions.increment(1);
                self.metrics.bytes.increment(bytes);
                self.metrics.in_flight.increment(1);
                Ok(Taken(Arc::clone(self)))
            }
            Err(exhausted) => Err(self.exhausted(exhausted)),
        }
    }

    fn exhausted(&self, exhausted: Exhausted) -> ServiceError {
        let (what, refused, retry_after_ms) = match exhausted {
            Exhausted::Transactions { after_us } => (
                "quota.transactions_per_second",
                &self.metrics.refused_transactions,
                after_us.div_ceil(1_000),
            ),
            Exhausted::Bytes { after_us } => {
                ("quota.bytes_per_second", &self.metrics.refused_bytes, after_us.div_ceil(1_000))
            }
            Exhausted::InFlight => {
                ("quota.in_flight", &self.metrics.refused_in_flight, self.retry_after_ms)
            }
        };
        refused.increment(1);
        ServiceError::Overloaded { what, retry_after_ms }
    }

    /// Takes a fair part of the calls that may be in work, of which so many are free.
    pub(super) fn enter(self: &Arc<Self>, free: usize) -> Result<Share, ServiceError> {
        self.share(Shared::Call, free)
    }

    /// Takes a fair part of the streams that may be open, of which so many are free.
    pub(super) fn enter_stream(self: &Arc<Self>, free: usize) -> Result<Share, ServiceError> {
        self.share(Shared::Stream, free)
    }

    fn share(self: &Arc<Self>, what: Shared, free: usize) -> Result<Share, ServiceError> {
        let share = Share { tenant: Arc::clone(self), what };
        // Counted first, so that of two at once not both find the last one free.
        if share.count().fetch_add(1, Ordering::Relaxed) <= free {
            return Ok(share);
        }
        self.metrics.refused_share.increment(1);
        let what = match what {
            Shared::Call => "the namespace's part of the number of calls in work",
            Shared::Stream => "the namespace's part of the number of open streams",
        };
        Err(ServiceError::Overloaded { what, retry_after_ms: self.retry_after_ms })
    }

    /// A panic elsewhere cannot leave it half-changed.
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was taken out of a quota, in flight until this is dropped.
pub(super) struct Taken(Arc<Tenant>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.usage().quota.end();
        self.0.metrics.in_flight.decrement(1);
    }
}

/// What namespaces share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shared {
    Call,
    Stream,
}

/// One of what namespaces share, given back when it is dropped.
pub(super) struct Share {
    tenant: Arc<Tenant>,
    what: Shared,
}

impl Share {
    fn count(&self) -> &AtomicUsize {
        match self.what {
            Shared::Call => &self.tenant.calls,
            Shared::Stream => &self.tenant.streams,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is counted of one namespace. Handles are made once.
struct TenantMetrics {
    transactions: Counter,
    bytes: Counter,
    in_flight: Gauge,
    refused_transactions: Counter,
    refused_bytes: Counter,
    refused_in_flight: Counter,
    refused_share: Counter,
    most_transactions: Gauge,
    most_bytes: Gauge,
    most_in_flight: Gauge,
}

impl TenantMetrics {
    fn new(namespace: &str) -> Self {
        let name = || namespace.to_owned();
        let refused = |quota: &'static str| counter!("handfast_quota_refused_total", "namespace" => name(), "quota" => quota);
        let most = |quota: &'static str| gauge!("handfast_quota_limit", "namespace" => name(), "quota" => quota);
        Self {
            transactions: counter!("handfast_quota_transactions_total", "namespace" => name()),
            bytes: counter!("handfast_quota_bytes_total", "namespace" => name()),
            in_flight: gauge!("handfast_quota_in_flight", "namespace" => name()),
            refused_transactions: refused("transactions_per_second"),
            refused_bytes: refused("bytes_per_second"),
            refused_in_flight: refused("in_flight"),
            refused_share: refused("share"),
            most_transactions: most("transactions_per_second"),
            most_bytes: most("bytes_per_second"),
            most_in_flight: most("in_flight"),
        }
    }

    fn show(&self, namespace: &Namespace) {
        let quota = namespace.quota();
        self.most_transactions.set(quota.transactions_per_second as f64);
        self.most_bytes.set(quota.bytes_per_second as f64);
        self.most_in_flight.set(quota.in_flight as f64);
    }
}
