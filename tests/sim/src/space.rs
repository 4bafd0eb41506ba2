//! One namespace of a world: its logs, tables, engines and clients. It shares machines, clocks and
//! network with the world's other namespaces, and nothing else.

use std::sync::Arc;

use participant::engine::EngineSchema;
use rustc_hash::FxHashMap;
use wal_core::{Nonce, ShardId};

use crate::client::{Client, Pending as PendingCall};
use crate::deliver::Deliveries;
use crate::history::History;
use crate::log::Broker;
use crate::plan::Plan;
use crate::process::Node;
use crate::rng::Rng;
use crate::store::Store;
use crate::truth::Truth;
use crate::workload::{NEWER, Workload, schema};

/// How far the end of a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Clients still work.
    NotYet,
    /// Every row is written once more and read.
    Running,
    /// Everything must come to rest.
    Resting,
    /// All is at rest.
    Rested,
}

/// A namespace.
pub(crate) struct Space {
    pub(crate) plan: Plan,
    /// What of each machine serves this namespace.
    pub(crate) nodes: Vec<Node>,
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) truth: Truth,
    pub(crate) history: History,
    pub(crate) workload: Workload,
    /// Of the first version of the namespace, and of the newer one.
    pub(crate) schemas: [Arc<EngineSchema>; 2],
    pub(crate) log_identity: Nonce,
    pub(crate) clients: Vec<Client>,
    pub(crate) calls: FxHashMap<u64, PendingCall>,
    /// Who should lead each shard.
    pub(crate) placed: Vec<usize>,
    pub(crate) submitted: u32,
    pub(crate) probing: Probe,
    /// In some worlds.
    pub(crate) deliveries: Option<Deliveries>,
}

impl Space {
    pub(crate) fn new(plan: Plan, rng: &mut Rng) -> Self {
        Self {
            workload: Workload::new(&plan, rng),
            log_identity: Nonce(rng.next_u128()),
            schemas: [schema(&plan, 1), schema(&plan, NEWER)],
            broker: Broker::new(plan.shards),
            truth: Truth::new(plan.shards),
            placed: (0..plan.shards as usize).map(|shard| shard % plan.members).collect(),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            nodes: (0..plan.slots).map(|_| Node::default()).collect(),
            deliveries: plan.deliveries.clone().map(Deliveries::new),
            plan,
            store: Store::default(),
            history: History::default(),
            calls: FxHashMap::default(),
            submitted: 0,
            probing: Probe::NotYet,
        }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.plan.shards).map(ShardId)
    }
}
