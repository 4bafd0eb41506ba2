//! Beginning what a namespace declares, and what does it from then on.

use std::sync::Arc;
use std::time::Duration;

use coordinator::runtime::Handle;
use coordinator::service::{
    Backend, Chained, Control, Firing, RegionHome, RegionPeer, delayed_table,
};
use delivery::Store;
use delivery::region::{PiecesTo, Ship, ShipParts};
use delivery::runtime::{Delivery, Members, MessagesTo, Parts, Settings, ShardDelivery};
use delivery::schedule::{Delays, DelaysParts};
use delivery::target::{
    HttpOptions, HttpTarget, KafkaOptions, KafkaTarget, MemcachedOptions, MemcachedTarget, Target,
    TargetError,
};
use wal_core::namespace::{
    self, DelaySettings, Namespace, RegionMember, RegionSettings, TargetPlace,
};

use super::declared::Declared;
use crate::compose::{Hosted, tables};
use crate::control_plane::Namespaces;

/// Requests that one process has under way to one endpoint at most, however many shards it delivers.
const MAX_REQUESTS: usize = 1_024;

/// What does what is declared.
pub(super) enum Worker {
    Delivery(Delivery),
    Delays(Delays),
    Ship(Ship),
}

impl Worker {
    pub(super) fn shards(&self) -> Vec<ShardDelivery> {
        match self {
            Self::Delivery(delivery) => delivery.shards(),
            Self::Delays(delays) => delays.shards(),
            Self::Ship(_) => Vec::new(),
        }
    }

    pub(super) async fn stop(self, patience: Duration) {
        match self {
            Self::Delivery(delivery) => delivery.stop(patience).await,
            Self::Delays(delays) => delays.stop(patience).await,
            Self::Ship(ship) => ship.stop(patience).await,
        }
    }
}

/// A namespace that is served here, and who delivers of it.
pub(super) struct Place<'a> {
    pub(super) hosted: &'a Arc<Hosted>,
    pub(super) namespaces: &'a Arc<Namespaces>,
    pub(super) namespace: &'a Arc<Namespace>,
    pub(super) handle: &'a Handle,
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) members: Members,
}

impl Place<'_> {
    /// Begins to do what is declared.
    pub(super) fn begin(self, declared: &Declared) -> Result<Worker, String> {
        match declared {
            Declared::Target(target) => self.deliver(target).map_err(|error| error.to_string()),
            Declared::Delays { settings, fires } => self.delay(settings, *fires),
            Declared::Region { to, number, settings } => self.ship(to, *number, settings),
        }
    }

    fn name(&self) -> Arc<str> {
        self.namespace.name().into()
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(self.hosted) as Arc<dyn Backend>
    }

    /// Begins to deliver to a target.
    fn deliver(self, target: &namespace::Target) -> Result<Worker, TargetError> {
        let name: Arc<str> = target.name.as_str().into();
        Ok(Worker::Delivery(Delivery::start(Parts {
            namespace: self.name(),
            shards: self.namespace.shards(),
            log: Arc::clone(self.handle.log()),
            name: Arc::clone(&name),
            picks: Arc::new(MessagesTo { namespace: self.name(), target: name }),
            settings: Settings::of(target),
            target: self.open(target)?,
            store: Arc::clone(self.store),
            members: self.members,
            seed: rand::random(),
        })))
    }

    /// Opens a target as it is declared.
    fn open(&self, target: &namespace::Target) -> Result<Arc<dyn Target>, TargetError> {
        let timeout = Duration::from_millis(target.delivery.timeout_ms);
        let of_a_shard = usize::try_from(target.delivery.in_flight).unwrap_or(MAX_REQUESTS);
        let max_requests = (of_a_shard * usize::from(self.namespace.shards())).min(MAX_REQUESTS);
        Ok(match target.place.clone() {
            TargetPlace::Http { url, headers } => {
                let options =
                    HttpOptions { headers, timeout, max_requests, ..HttpOptions::new(url) };
                Arc::new(HttpTarget::new(options)?)
            }
            TargetPlace::Kafka { brokers, topic, client } => {
                let options = KafkaOptions { client, timeout, ..KafkaOptions::new(brokers, topic) };
                Arc::new(KafkaTarget::new(options)?)
            }
            TargetPlace::Memcached { servers, prefix, ttl_s } => {
                let options = MemcachedOptions { servers, prefix, ttl_s, max_requests, timeout };
                Arc::new(MemcachedTarget::new(options)?)
            }
            TargetPlace::Table { tables, login } => {
                Arc::new(tables::target(tables, login, timeout)?)
            }
            TargetPlace::Namespace { namespace, to } => {
                Arc::new(Chained::new(self.backend(), target.name.clone(), namespace, to))
            }
        })
    }

    /// Begins to do what is due.
    fn delay(self, settings: &DelaySettings, fires: bool) -> Result<Worker, String> {
        Ok(Worker::Delays(Delays::start(DelaysParts {
            namespace: self.name(),
            shards: self.namespace.shards(),
            log: Arc::clone(self.handle.log()),
            table: delayed_table(self.namespace).ok_or("its table is not declared")?,
            index: self.namespaces.index().ok_or("the control database is away")?,
            fires_here: fires,
            fires: Arc::new(Firing::new(self.backend(), self.name())),
            in_flight: usize::try_from(settings.in_flight).unwrap_or(usize::MAX),
            store: Arc::clone(self.store),
            members: self.members,
            seed: rand::random(),
        })))
    }

    /// Begins to send to another region, which has this number.
    fn ship(
        self,
        to: &RegionMember,
        number: u8,
        settings: &RegionSettings,
    ) -> Result<Worker, String> {
        let control = Arc::clone(self.namespaces) as Arc<dyn Control>;
        let arrived = self.namespace.find_table(&settings.table);
        let arrived = arrived.ok_or("its table is not declared")?.id();
        Ok(Worker::Ship(Ship::start(ShipParts {
            namespace: self.name(),
            shards: self.namespace.shards(),
            log: Arc::clone(self.handle.log()),
            settings: settings.clone(),
            to: to.name.as_str().into(),
            picks: PiecesTo { region: number, arrived },
            peer: Arc::new(RegionPeer::new(
                self.backend(),
                Arc::clone(self.namespace),
                settings.clone(),
                to.name.clone(),
                to.servers.clone(),
            )),
            home: Arc::new(RegionHome::new(self.backend(), control, self.name())),
            store: Arc::clone(self.store),
            members: self.members,
        })))
    }
}
