//! What every call of the service uses: the backend, the limits, whether the server is stopping.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use wal_core::namespace::Namespace;

use super::backend::Backend;
use super::connections::ConnectionLimits;
use super::errors::ServiceError;
use super::metrics::ServiceMetrics;
use super::tenants::{Share, Tenants};

/// Bounds of the service. Beyond each the answer is `RESOURCE_EXHAUSTED`, or the sender is held up. Calls and
/// streams are shared by all namespaces: one that floods gets half of each.
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// Calls other than streams that may be in work.
    pub max_calls: usize,
    /// Streams that may be open.
    pub max_streams: usize,
    /// Subscriptions that may be open: each has a thread, and with a log in Kafka a reader.
    pub max_subscriptions: usize,
    /// Submissions of one stream that may be in flight; the server reads no further beyond it.
    pub max_stream_in_flight: usize,
    /// Submissions of one message of a stream.
    pub max_stream_batch: usize,
    /// Bytes of one request message.
    pub max_message_bytes: usize,
    /// When a refused caller should try again, milliseconds.
    pub retry_after_ms: u64,
    /// Of clients' connections.
    pub connections: ConnectionLimits,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            max_calls: 32_768,
            max_streams: 1_024,
            max_subscriptions: 64,
            max_stream_in_flight: 4_096,
            max_stream_batch: 1_024,
            max_message_bytes: MAX_MESSAGE_BYTES,
            retry_after_ms: 20,
            connections: ConnectionLimits::default(),
        }
    }
}

/// Bytes of one request message by default.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
// A transaction of the greatest size must fit, with room for names and framing.
const _: () = assert!(wal_core::limits::MAX_TXN_BYTES * 2 < MAX_MESSAGE_BYTES);

/// Says when the server begins to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Draining(watch::Receiver<bool>);

impl Draining {
    /// Takes the receiving end of the switch.
    pub(super) const fn new(switch: watch::Receiver<bool>) -> Self {
        Self(switch)
    }

    /// Whether it has begun.
    pub(super) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins. A switch that is gone never stopped anything: then for ever.
    pub(super) async fn begun(&mut self) {
        if self.0.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Shared by both services and all their streams.
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) limits: ServiceLimits,
    pub(super) draining: Draining,
    pub(super) metrics: ServiceMetrics,
    pub(super) tenants: Tenants,
    calls: Semaphore,
    streams: Arc<Semaphore>,
    subscriptions: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        limits: ServiceLimits,
        draining: Draining,
    ) -> Self {
        Self {
            backend,
            limits,
            draining,
            metrics: ServiceMetrics::default(),
            tenants: Tenants::new(limits.retry_after_ms),
            calls: Semaphore::new(limits.max_calls),
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            subscriptions: Arc::new(Semaphore::new(limits.max_subscriptions)),
        }
    }

    /// Room for one call; it is given back when the permit is dropped.
    pub(super) fn enter(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        self.refuse_if_draining()?;
        self.calls.try_acquire().map_err(|_| self.full("the number of calls in work"))
    }

    /// Room for one stream.
    pub(super) fn enter_stream(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        self.refuse_if_draining()?;
        Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| self.full("the number of open streams"))
    }

    /// Room for one subscription to the namespace, and its fair part of all.
    pub(super) fn enter_subscription(
        &self,
        namespace: &Namespace,
    ) -> Result<(OwnedSemaphorePermit, Share), ServiceError> {
        self.refuse_if_draining()?;
        let permit = Arc::clone(&self.subscriptions)
            .try_acquire_owned()
            .map_err(|_| self.full("the number of subscriptions"))?;
        let free = self.subscriptions.available_permits();
        Ok((permit, self.tenants.of(namespace).enter_stream(free)?))
    }

    /// A fair part for the namespace, of calls; after [`Self::enter`].
    pub(super) fn share(&self, namespace: &Namespace) -> Result<Share, ServiceError> {
        self.tenants.of(namespace).enter(self.calls.available_permits())
    }

    /// A fair part for the namespace, of streams; after [`Self::enter_stream`].
    pub(super) fn share_stream(&self, namespace: &Namespace) -> Result<Share, ServiceError> {
        self.tenants.of(namespace).enter_stream(self.streams.available_permits())
    }

    /// Waits until no call is in work and no stream is open. Only of use once draining has begun.
    pub(super) async fn idle(&self) {
        let all = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
        let calls = self.calls.acquire_many(all(self.limits.max_calls));
        let streams = self.streams.acquire_many(all(self.limits.max_streams));
        let subscriptions = self.subscriptions.acquire_many(all(self.limits.max_subscriptions));
        // None is ever closed; the permits go back at once.
        let _ = tokio::join!(calls, streams, subscriptions);
    }

    fn refuse_if_draining(&self) -> Result<(), ServiceError> {
        if self.draining.has_begun() { Err(ServiceError::ShuttingDown) } else { Ok(()) }
    }

    fn full(&self, what: &'static str) -> ServiceError {
        ServiceError::Overloaded { what, retry_after_ms: self.limits.retry_after_ms }
    }

    /// The namespace of that name, if it is served.
    pub(super) fn namespace(
        &self,
        name: &str,
        field: &str,
    ) -> Result<Arc<Namespace>, ServiceError> {
        if name.is_empty() {
            return Err(ServiceError::invalid(field, "name the namespace"));
        }
        self.backend.namespace(name).ok_or_else(|| {
            let name = name.to_owned();
            match self.backend.why_unserved(&name) {
                Some(why) => ServiceError::NamespaceUnserved { name, why },
                None => ServiceError::NamespaceNotFound { name },
            }
        })
    }
}
