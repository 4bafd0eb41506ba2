//! Writes: from mutations to batches, and what their failure means.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use scylla::errors::ExecutionError;
use scylla::frame::response::result::TableSpec;
use scylla::routing::Token as RingToken;
use scylla::statement::batch::{Batch as DriverBatch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use wal_core::token::Token;
use wal_core::{RowKey, RowMutation};

use super::failure::{is_invalid, is_stale, transient};
use super::plan::{Batch, ReplicaSet, plan};
use super::statements::steps;
use super::values::Bound;
use super::{CassandraStore, add, schema};
use crate::store::StoreError;

const ACTION: &str = "apply rows";

/// Nothing of an apply is sent when so much time has passed since it was called: this process was asleep,
/// and a tombstone that covers the write may have been purged meanwhile. Whoever retries looks at its
/// leadership first.
pub(super) const MAX_APPLY_AGE: Duration = Duration::from_secs(60 * 60);

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    /// Mutations that will never be taken, and why.
    refused: Vec<(usize, String)>,
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
}

impl Call<'_> {
    /// By whichever clock says more: one of them counts the sleep of a machine, the other cannot be set.
    fn is_too_old(&self) -> bool {
        let by_the_clock = self.begun_by_the_clock.elapsed().unwrap_or_default();
        self.begun.elapsed().max(by_the_clock) > MAX_APPLY_AGE
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
        // A refusal first: whoever takes that mutation out need not wait until the cluster is well.
        match (whole.refused.into_iter().min(), whole.failed) {
            (Some((index, why)), _) => Err(StoreError::Refused { index, why }),
            (None, Some(failed)) => Err(failed),
            (None, None) => Ok(()),
        }
    }

    fn plan(&self, mutations: &[RowMutation]) -> Vec<Batch> {
        let state = self.cluster.session().get_cluster_state();
        plan(mutations, |key| self.replicas(&state, key))
    }

    fn replicas(&self, state: &scylla::cluster::ClusterState, key: &RowKey) -> Option<ReplicaSet> {
        let table = self.tables.get(&key.table)?;
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

    /// Sends a batch; one that the server finds wrong is sent again mutation by mutation.
    async fn send(&self, call: &Call<'_>, batch: &[usize]) -> Outcome {
        let mut outcome = Outcome::default();
        match self.send_once(call, batch).await {
            Ok(()) => {}
            Err(Trouble::Now(error)) => outcome.failed = Some(error),
            Err(Trouble::Refused(index, why)) if batch.len() == 1 => {
                outcome.refused.push((index, why));
            }
            Err(Trouble::Refused(..) | Trouble::Invalid(_)) if batch.len() > 1 => {
                for index in batch {
                    let single = Box::pin(self.send(call, std::slice::from_ref(index))).await;
                    outcome.refused.extend(single.refused);
                    outcome.failed = outcome.failed.or(single.failed);
                }
            }
            Err(Trouble::Refused(index, why)) => outcome.refused.push((index, why)),
            Err(Trouble::Invalid(error)) => match self.explain(call, batch[0], &error).await {
                Ok(Some(why)) => outcome.refused.push((batch[0], why)),
                Ok(None) => outcome.failed = Some(transient(ACTION, &error)),
                Err(failed) => outcome.failed = Some(failed),
            },
        }
        outcome
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
            if let Some(table) = self.tables.get(&call.mutations[*index].key.table) {
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
            .tables
            .get(&key.table)
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

    /// Why a mutation that the server finds wrong will never be taken, or `None` if the table is as it
    /// should be: then a node has not heard of it yet.
    async fn explain(
        &self,
        call: &Call<'_>,
        index: usize,
        error: &ExecutionError,
    ) -> Result<Option<String>, StoreError> {
        let RowMutation { key, delta } = &call.mutations[index];
        let table = &self.tables[&key.table];
        let columns = delta.cells.iter().map(|cell| cell.column);
        let drift = schema::drift(&self.cluster, table, columns).await;
        if let Some(drift) = drift.map_err(|error| transient("read the schema", &error))? {
            return Ok(Some(drift));
        }
        // The schema is right and every node has it: if it is still wrong, it is the write itself.
        match self.send_once(call, &[index]).await {
            Ok(()) => Err(StoreError::Transient {
                action: ACTION,
                why: "a node had not heard of the table's columns yet".to_owned(),
            }),
            Err(Trouble::Invalid(_)) => Ok(Some(error.to_string())),
            Err(Trouble::Refused(_, why)) => Ok(Some(why)),
            Err(Trouble::Now(error)) => Err(error),
        }
    }
}

/// Why a batch was not taken.
enum Trouble {
    /// It may be taken later.
    Now(StoreError),
    /// The server finds something in it wrong.
    Invalid(Box<ExecutionError>),
    /// This mutation is wrong, as can be seen here.
    Refused(usize, String),
}

impl Trouble {
    fn of(error: ExecutionError) -> Self {
        if is_invalid(&error) {
            Self::Invalid(Box::new(error))
        } else {
            Self::Now(transient(ACTION, &error))
        }
    }
}
