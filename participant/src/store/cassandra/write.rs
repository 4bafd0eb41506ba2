//! Writes: from mutations to batches, and what their failure means.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use rustc_hash::FxBuildHasher;
use scylla::errors::ExecutionError;
use scylla::frame::response::result::TableSpec;
use scylla::routing::Token as RingToken;
use scylla::statement::batch::{Batch as DriverBatch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use wal_core::token::Token;
use wal_core::{RowKey, RowMutation, TableId};

use super::failure::{is_final, is_stale, transient, with_grant};
use super::plan::{Batch, ReplicaSet, plan};
use super::schema::Drift;
use super::statements::steps;
use super::values::Bound;
use super::{CassandraStore, add, schema};
use crate::store::{Refusal, StoreError};

const ACTION: &str = "apply rows";

/// Nothing of an apply is sent when so much time has passed since it was called: this process was asleep,
/// and a tombstone that covers the write may have been purged meanwhile. Whoever retries looks at its
/// leadership first.
pub(super) const MAX_APPLY_AGE: Duration = Duration::from_secs(60 * 60);

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    /// Mutations that will never be taken, and why.
    refused: Vec<Refusal>,
    /// Why the rest is not known to be applied, if it is not.
    failed: Option<StoreError>,
}

/// One call of `apply`.
struct Call<'a> {
    mutations: &'a [RowMutation],
    begun: Instant,
    begun_by_the_clock: SystemTime,
    /// Whether a batch failed for now: the whole is tried again, so no further one is begun.
    failed: AtomicBool,
    /// How tables differ from the namespace, of those that were looked at during this call: so a thousand
    /// writes to a table that was dropped cost one look.
    drifts: Mutex<HashMap<TableId, Arc<Drift>, FxBuildHasher>>,
}

impl Call<'_> {
    /// By whichever clock says more: one of them counts the sleep of a machine, the other cannot be set.
    fn is_too_old(&self) -> bool {
        let by_the_clock = self.begun_by_the_clock.elapsed().unwrap_or_default();
        self.begun.elapsed().max(by_the_clock) > MAX_APPLY_AGE
    }

    // A panic between two inserts leaves a map that is fit for use.
    fn lock(&self) -> MutexGuard<'_, HashMap<TableId, Arc<Drift>, FxBuildHasher>> {
        self.drifts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drift(&self, table: TableId) -> Option<Arc<Drift>> {
        self.lock().get(&table).cloned()
    }

    /// What of a batch needs nothing that is known to be gone; the rest is refused.
    fn without_drifted(&self, batch: &[usize], outcome: &mut Outcome) -> Vec<usize> {
        let drifts = self.lock();
        let mut left = Vec::with_capacity(batch.len());
        for index in batch {
            let RowMutation { key, delta } = &self.mutations[*index];
            let columns = delta.cells.iter().map(|cell| cell.column);
            match drifts.get(&key.table).and_then(|drift| drift.of(columns)) {
                Some(why) => outcome.refused.push(Refusal { index: *index, why: why.to_owned() }),
                None => left.push(*index),
            }
        }
        left
    }
}

impl CassandraStore {
    pub(super) async fn apply_mutations(
        &self,
        mutations: &[RowMutation],
    ) -> Result<(), StoreError> {
        let call = Call {
            mutations,
            begun: Instant::now(),
            begun_by_the_clock: SystemTime::now(),
            failed: AtomicBool::new(false),
            drifts: Mutex::default(),
        };
        let batches = self.plan(mutations);
        let mut outcomes = stream::iter(batches)
            .map(|batch| self.send_in_turn(&call, batch))
            .buffer_unordered(self.concurrency);
        let mut whole = Outcome::default();
        while let Some(outcome) = outcomes.next().await {
            whole.refused.extend(outcome.refused);
            whole.failed = whole.failed.or(outcome.failed);
        }
        // Refusals first: whoever takes those mutations out need not wait until the cluster is well.
        whole.refused.sort_unstable();
        match (whole.refused.is_empty(), whole.failed) {
            (false, _) => Err(StoreError::Refused(whole.refused)),
            (true, Some(failed)) => Err(failed),
            (true, None) => Ok(()),
        }
    }

    fn plan(&self, mutations: &[RowMutation]) -> Vec<Batch> {
        let state = self.cluster.session().get_cluster_state();
        plan(mutations, |key| self.replicas(&state, key))
    }

    fn replicas(&self, state: &scylla::cluster::ClusterState, key: &RowKey) -> Option<ReplicaSet> {
        let table = self.table(key.table)?;
        let strategy = &state.get_keyspace(&table.keyspace)?.strategy;
        let replicas = state.replica_locator().replicas_for_token(
            RingToken::new(Token::of(&key.partition).0),
            strategy,
            Some(self.cluster.datacenter()),
            &TableSpec::borrowed(&table.keyspace, table.table.name()),
        );
        let mut set: ReplicaSet =
            replicas.into_iter().map(|(node, _)| node.host_id.as_u128()).collect();
        set.sort_unstable();
        (!set.is_empty()).then_some(set)
    }

    async fn send_in_turn(&self, call: &Call<'_>, batch: Batch) -> Outcome {
        let _permit = self.writing.acquire().await.expect("the semaphore is never closed");
        if call.failed.load(Ordering::Relaxed) {
            return Outcome::default(); // another batch's failure says it all
        }
        let outcome = self.send(call, &batch).await;
        add(&self.counters.refused, outcome.refused.len());
        if outcome.failed.is_some() {
            add(&self.counters.failures, 1);
            call.failed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Sends a batch. Of one that the server finds wrong, what needs tables or columns that are gone is
    /// refused; if nothing does, it is sent again mutation by mutation.
    async fn send(&self, call: &Call<'_>, batch: &[usize]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut left = call.without_drifted(batch, &mut outcome);
        if left.is_empty() {
            return outcome;
        }
        let mut answer = self.send_once(call, &left).await;
        if let Err(Trouble::Invalid(_)) = &answer {
            if let Err(failed) = self.look_at_tables(call, &left).await {
                outcome.failed = Some(failed);
                return outcome;
            }
            let asked = left.len();
            left = call.without_drifted(&left, &mut outcome);
            if left.is_empty() {
                return outcome;
            }
            if left.len() < asked {
                answer = self.send_once(call, &left).await;
            }
        }
        self.sent(call, &left, answer, &mut outcome).await;
        outcome
    }

    /// Makes of the answer to a batch what became of it.
    async fn sent(
        &self,
        call: &Call<'_>,
        batch: &[usize],
        answer: Result<(), Trouble>,
        outcome: &mut Outcome,
    ) {
        match answer {
            Ok(()) => {}
            Err(Trouble::Now(error)) => outcome.failed = Some(error),
            Err(Trouble::Refused(index, why)) if batch.len() == 1 => {
                outcome.refused.push(Refusal { index, why });
            }
            Err(Trouble::Refused(..) | Trouble::Invalid(_)) if batch.len() > 1 => {
                for index in batch {
                    let single = Box::pin(self.send(call, std::slice::from_ref(index))).await;
                    outcome.refused.extend(single.refused);
                    outcome.failed = outcome.failed.take().or(single.failed);
                }
            }
            Err(Trouble::Refused(index, why)) => outcome.refused.push(Refusal { index, why }),
            Err(Trouble::Invalid(error)) => match self.explain(call, batch[0], &error).await {
                Ok(why) => outcome.refused.push(Refusal { index: batch[0], why }),
                Err(failed) => outcome.failed = Some(failed),
            },
        }
    }

    /// Reads how the tables of these mutations are now, each at most once in a call.
    async fn look_at_tables(&self, call: &Call<'_>, batch: &[usize]) -> Result<(), StoreError> {
        for index in batch {
            let id = call.mutations[*index].key.table;
            let Some(table) = self.table(id).filter(|_| call.drift(id).is_none()) else {
                continue;
            };
            let drift = schema::drift(&self.cluster, &table).await;
            let drift = drift.map_err(|error| transient("read the schema", &error))?;
            call.lock().insert(id, Arc::new(drift));
        }
        Ok(())
    }

    async fn send_once(&self, call: &Call<'_>, batch: &[usize]) -> Result<(), Trouble> {
        let mut statements: Vec<PreparedStatement> = Vec::with_capacity(batch.len());
        let mut values: Vec<Bound> = Vec::with_capacity(batch.len());
        for index in batch {
            for (statement, bound) in self.bind(call, *index).await? {
                statements.push(statement);
                values.push(bound);
            }
        }
        if call.is_too_old() {
            let why = "this process slept for too long meanwhile".to_owned();
            return Err(Trouble::Now(StoreError::Transient { action: ACTION, why }));
        }
        let session = self.cluster.session();
        let count = statements.len();
        let answer = match statements.len() {
            0 => return Ok(()),
            1 => session.execute_unpaged(&statements[0], &values[0]).await,
            _ => {
                let mut batch = DriverBatch::new(BatchType::Unlogged);
                batch.set_is_idempotent(true);
                statements.into_iter().for_each(|statement| batch.append_statement(statement));
                session.batch(&batch, &values).await
            }
        };
        add(&self.counters.batches, 1);
        add(&self.counters.statements, count);
        match answer {
            Ok(answer) => {
                let warnings = answer.warnings().count();
                if warnings > 0 {
                    add(&self.counters.warnings, warnings);
                    let first = answer.warnings().next().unwrap_or_default();
                    tracing::debug!(warning = first, "a server warns of a write");
                }
                Ok(())
            }
            Err(error) => {
                if is_stale(&error) {
                    self.forget_statements(call, batch);
                }
                Err(Trouble::of(error))
            }
        }
    }

    fn forget_statements(&self, call: &Call<'_>, batch: &[usize]) {
        for index in batch {
            if let Some(table) = self.table(call.mutations[*index].key.table) {
                table.forget_statements();
            }
        }
    }

    /// The statements of one mutation.
    async fn bind(
        &self,
        call: &Call<'_>,
        index: usize,
    ) -> Result<Vec<(PreparedStatement, Bound)>, Trouble> {
        let RowMutation { key, delta } = &call.mutations[index];
        let refused = |why: String| Trouble::Refused(index, why);
        let table = self
            .table(key.table)
            .ok_or_else(|| refused(format!("the namespace has no table {}", key.table)))?;
        let parts = table
            .key_parts(key)
            .ok_or_else(|| refused(format!("the key is not one of {}", table.name)))?;
        let mut bound = Vec::with_capacity(2);
        for step in steps(delta) {
            let step = table.bind(self.cluster.session(), &parts, step).await;
            let step = step.map_err(|error| Trouble::of(error.into()))?;
            bound.push(step.map_err(refused)?);
        }
        Ok(bound)
    }

    /// Why a mutation will never be taken that the server finds wrong although its table has all that it
    /// needs.
    async fn explain(
        &self,
        call: &Call<'_>,
        index: usize,
        error: &ExecutionError,
    ) -> Result<String, StoreError> {
        // The schema is right and every node has it: if it is still wrong, it is the write itself.
        match self.send_once(call, &[index]).await {
            Ok(()) => Err(StoreError::Transient {
                action: ACTION,
                why: "a node had not heard of the table's columns yet".to_owned(),
            }),
            Err(Trouble::Invalid(_)) => Ok(with_grant(error)),
            Err(Trouble::Refused(_, why)) => Ok(why),
            Err(Trouble::Now(error)) => Err(error),
        }
    }
}

/// Why a batch was not taken.
enum Trouble {
    /// It may be taken later.
    Now(StoreError),
    /// The server finds something in it wrong, or the role may not write it.
    Invalid(Box<ExecutionError>),
    /// This mutation is wrong, as can be seen here.
    Refused(usize, String),
}

impl Trouble {
    fn of(error: ExecutionError) -> Self {
        if is_final(&error) {
            Self::Invalid(Box::new(error))
        } else {
            Self::Now(transient(ACTION, &error))
        }
    }
}
