//! The whole history, checked: is there one serial order, in real time, that explains everything?
//!
//! The commit timestamps give the order of each row's versions. From these follow the dependencies
//! between transactions and reads; a line of barriers in real time stands for "ended before the other
//! began" without an edge for every pair. If the graph has no cycle, every transaction is done again in
//! one such order on a plain model: each condition must hold, each sum and each row read must be the same.

use std::collections::BTreeMap;

use wal_core::{AbortReason, ColumnId, Condition, FoundValue, Row, RowKey, Timestamp};

use crate::failure::{Check, Failure, ensure};
use crate::fault::Fault;
use crate::follow;
use crate::graph::{Graph, Why};
use crate::history::{ReadHistory, TxnHistory, Verdict};
use crate::model;
use crate::plan::Flavour;
use crate::space::Space;
use crate::truth::Committed;
use crate::workload::{ACCOUNTS, BALANCE, OPENING, as_number};

/// One state of a row, from its writer's commit on.
struct Version {
    at: Timestamp,
    /// Index into the history.
    txn: usize,
    /// The row after it.
    row: Row,
}

/// The versions of every row that was ever written, oldest first.
type Versions = BTreeMap<RowKey, Vec<Version>>;

struct Oracle<'a> {
    space: &'a Space,
    versions: Versions,
    /// Nodes of the graph: committed transactions, then reads, as far as each is in it.
    graph: Graph,
    txn_nodes: BTreeMap<usize, usize>,
    read_nodes: Vec<usize>,
}

/// Checks everything that clients saw in a space that has come to rest.
pub(crate) fn check(space: &Space) -> Result<(), Failure> {
    let mut oracle = Oracle {
        space,
        versions: versions(space)?,
        graph: Graph::default(),
        txn_nodes: BTreeMap::new(),
        read_nodes: Vec::new(),
    };
    for txn in &space.history.txns {
        oracle.check_verdict(txn)?;
    }
    oracle.check_operations()?;
    oracle.build()?;
    let order = oracle.graph.order().map_err(|cycle| {
        Failure::new(Check::Cycle, format!("no serial order explains what was seen:{cycle}"))
    })?;
    oracle.replay(&order)?;
    oracle.check_sum()?;
    crate::deliver::check(space)?;
    follow::check(space)
}

/// What the logs have committed of a transaction of the history.
pub(crate) fn committed<'a>(space: &'a Space, txn: &TxnHistory) -> Option<&'a Committed> {
    let committed = space.truth.txn(txn.txn.id)?.committed.as_ref()?;
    (committed.fingerprint == txn.txn.fingerprint).then_some(committed)
}

/// What the tables must hold once everything is applied, cell for cell.
pub(crate) fn expected_tables(space: &Space) -> BTreeMap<RowKey, Row> {
    let mut rows: BTreeMap<RowKey, Row> = BTreeMap::new();
    for txn in &space.history.txns {
        let Some(committed) = committed(space, txn) else { continue };
        for mutation in model::mutations_of(&txn.txn, committed) {
            rows.entry(mutation.key).or_default().merge(&mutation.delta);
        }
    }
    rows
}

fn versions(space: &Space) -> Result<Versions, Failure> {
    let mut versions = Versions::new();
    for (index, txn) in space.history.txns.iter().enumerate() {
        let Some(committed) = committed(space, txn) else { continue };
        for mutation in model::mutations_of(&txn.txn, committed) {
            let version = Version { at: committed.timestamp, txn: index, row: mutation.delta };
            versions.entry(mutation.key).or_default().push(version);
        }
    }
    for (key, list) in &mut versions {
        list.sort_by_key(|version| (version.at, version.txn));
        let mut row = Row::default();
        for version in list.iter_mut() {
            row.merge(&version.row);
            version.row = row.clone();
        }
        for pair in list.windows(2) {
            ensure!(
                pair[0].at < pair[1].at,
                Verdict,
                "two transactions write {key:?} at {}: {} and {}",
                pair[0].at,
                space.history.txns[pair[0].txn].txn.id,
                space.history.txns[pair[1].txn].txn.id
            );
        }
    }
    Ok(versions)
}

/// Whether a row exists, and its live cells.
type Seen<'a> = (bool, Vec<(ColumnId, Timestamp, &'a [u8])>);

/// What a CQL reader sees of a row.
fn seen(row: &Row) -> Seen<'_> {
    let cells = row.cells.iter().filter_map(|cell| {
        cell.value.as_ref().map(|value| (cell.column, cell.timestamp, value.as_ref()))
    });
    (row.exists(), cells.collect())
}

impl Oracle<'_> {
    /// What clients were told of one transaction, against what became of it.
    fn check_verdict(&self, txn: &TxnHistory) -> Result<(), Failure> {
        let id = txn.txn.id;
        let truth = self.space.truth.txn(id);
        let committed = committed(self.space, txn);
        match &txn.verdict {
            Some(Verdict::Committed(at)) => ensure!(
                committed.is_some_and(|committed| committed.timestamp == *at),
                Answer,
                "{id} was said to be committed at {at}; in the end the logs say {committed:?}"
            ),
            Some(Verdict::Aborted(_)) => ensure!(
                committed.is_none(),
                Answer,
                "{id} was answered with {:?}, and committed in the end: {committed:?}",
                txn.verdict
            ),
            Some(Verdict::TooOld | Verdict::IdReused) | None => {}
        }
        let decided =
            truth.is_some_and(|truth| truth.committed.is_some() || !truth.closed.is_empty());
        ensure!(
            decided || !txn.logged,
            Answer,
            "{id} was said to be logged, and was never decided"
        );
        ensure!(
            committed.is_some() || !txn.probe,
            Stuck,
            "{id}, a write at the end, did not commit: {:?}",
            txn.verdict
        );
        let once = txn.sent == 1 && !txn.repeated;
        let denied_once = txn.denied && once && txn.twin.is_none() && !txn.fenced;
        ensure!(
            !denied_once || truth.is_none_or(|truth| !truth.held && truth.committed.is_none()),
            Answer,
            "{id} was denied, said not to be logged, and the logs hold it: {truth:?}"
        );
        if let Some(Verdict::Aborted(reason)) = &txn.verdict {
            self.check_reason(txn, reason)?;
        }
        Ok(())
    }

    /// What a client wanted once is done at most once, however often it was sent.
    fn check_operations(&self) -> Result<(), Failure> {
        let mut done: BTreeMap<usize, &TxnHistory> = BTreeMap::new();
        for txn in &self.space.history.txns {
            if committed(self.space, txn).is_none() {
                continue;
            }
            if let Some(other) = done.insert(txn.operation, txn) {
                let (a, b) = (other.txn.id, txn.txn.id);
                let story = format!("what a client wanted once is done twice: by {a} and by {b}");
                return Err(Failure::new(Check::Twice, story));
            }
        }
        Ok(())
    }

    /// The versions of a row that were current at some time between the first call and the answer.
    fn current_during<'a>(
        &'a self,
        txn: &'a TxnHistory,
        key: &RowKey,
    ) -> impl Iterator<Item = Row> + 'a {
        let list = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        let until = txn.told_us.unwrap_or(u64::MAX);
        let writer = |version: &Version| &self.space.history.txns[version.txn];
        (0..=list.len()).filter_map(move |index| {
            let begun = index == 0 || writer(&list[index - 1]).first_sent_us <= until;
            let over = list
                .get(index)
                .and_then(|next| writer(next).told_us)
                .is_some_and(|told| told < txn.first_sent_us);
            let row = if index == 0 { Row::default() } else { list[index - 1].row.clone() };
            (begun && !over).then_some(row)
        })
    }

    fn check_reason(&self, txn: &TxnHistory, reason: &AbortReason) -> Result<(), Failure> {
        let id = txn.txn.id;
        let space = self.space;
        let twin = txn.twin.map(|twin| &space.history.txns[twin]);
        let ops = || txn.txn.parts.iter().flat_map(|(_, part)| part.iter());
        let true_once = match reason {
            AbortReason::ConditionFailed { index, key, found } => {
                let condition = ops()
                    .filter(|op| op.key == *key)
                    .flat_map(|op| &op.conditions)
                    .find(|condition| condition.index == *index);
                condition.is_some_and(|condition| {
                    self.current_during(txn, key).any(|row| explains(condition, found, &row))
                })
            }
            AbortReason::Overflow { key, column } => {
                let mut adds = ops().filter(|op| op.key == *key).flat_map(model::adds);
                adds.any(|add| {
                    add.column() == *column
                        && self.current_during(txn, key).any(|row| model::sum(&row, add).is_none())
                })
            }
            AbortReason::TimestampInFuture { .. } => {
                [Fault::ClockJump, Fault::ClockSkew, Fault::ClockRate]
                    .iter()
                    .any(|fault| space.plan.faults.has(*fault))
            }
            AbortReason::Fenced => txn.fenced || twin.is_some_and(|twin| twin.fenced),
            AbortReason::IdReused => twin.is_some(),
            AbortReason::Schema { .. } => false,
        };
        ensure!(
            true_once || twin.is_some(),
            Reason,
            "{id} ({:?}) was aborted because {reason:?}, which was not so at any time between {} and {:?} us",
            txn.kind,
            txn.first_sent_us,
            txn.told_us
        );
        Ok(())
    }

    fn build(&mut self) -> Result<(), Failure> {
        let space = self.space;
        for (index, txn) in space.history.txns.iter().enumerate() {
            if committed(space, txn).is_some() {
                let node = self.graph.node(txn.first_sent_us, txn.told_us, name_txn(txn));
                self.txn_nodes.insert(index, node);
            }
        }
        for (index, read) in space.history.reads.iter().enumerate() {
            let name = format!(
                "read #{index} of {} rows, {}..{} us",
                read.keys.len(),
                read.from_us,
                read.to_us
            );
            let node = self.graph.node(read.from_us, Some(read.to_us), name);
            self.read_nodes.push(node);
        }
        for list in self.versions.values() {
            for pair in list.windows(2) {
                let (a, b) = (self.txn_nodes[&pair[0].txn], self.txn_nodes[&pair[1].txn]);
                self.graph.edge(a, b, Why::WriteWrite);
            }
        }
        for (index, txn) in space.history.txns.iter().enumerate() {
            let Some(committed) = committed(space, txn) else { continue };
            for op in txn.txn.parts.iter().flat_map(|(_, part)| part.iter()) {
                if op.is_read_only() {
                    let list = self.versions.get(&op.key).map_or(&[][..], Vec::as_slice);
                    let place = list.partition_point(|version| version.at < committed.timestamp);
                    let node = self.txn_nodes[&index];
                    self.read_edges(node, &op.key, (place, place));
                }
            }
        }
        for (index, read) in space.history.reads.iter().enumerate() {
            for (key, row) in read.keys.iter().zip(&read.rows) {
                let places = self.places_of(index, read, key, row)?;
                let node = self.read_nodes[index];
                self.read_edges(node, key, places);
            }
        }
        self.graph.add_real_time();
        Ok(())
    }

    /// Which version of a row was read, 0 for none, else one more than its index; the first and the last
    /// that it can have been.
    fn places_of(
        &self,
        index: usize,
        read: &ReadHistory,
        key: &RowKey,
        row: &Row,
    ) -> Result<(usize, usize), Failure> {
        let list = self.versions.get(key).map_or(&[][..], Vec::as_slice);
        let absent = Row::default();
        let state = |place: usize| if place == 0 { &absent } else { &list[place - 1].row };
        let alike: Vec<usize> =
            (0..=list.len()).filter(|place| seen(state(*place)) == seen(row)).collect();
        // Rows that look alike to a reader differ in their tombstones, which say when they were written,
        // where the store shows them. It shows none in a cluster, and any of those it may have been.
        // What another region wrote may change nothing: then the row was read before it, or behind it.
        let exact = alike.iter().filter(|at| state(**at).newest() == row.newest());
        let exact: Vec<usize> = exact.copied().collect();
        let embedded = self.space.plan.flavour == Flavour::Embedded;
        let exact = exact.first().copied().zip(exact.last().copied());
        let last = alike.last().map(|last| (*last, *last));
        let range = exact.or(last).filter(|_| embedded);
        let range = range.or_else(|| Some((*alike.first()?, *alike.last()?)));
        range.ok_or_else(|| {
            let states: Vec<&Row> = list.iter().map(|version| &version.row).collect();
            Failure::new(
                Check::Read,
                format!(
                    "read #{index} ({}..{} us) found {key:?} as {row:?}, which it never was: {states:?}",
                    read.from_us, read.to_us
                ),
            )
        })
    }

    fn read_edges(&mut self, reader: usize, key: &RowKey, (first, last): (usize, usize)) {
        let Some(list) = self.versions.get(key) else { return };
        if first > 0 {
            self.graph.edge(self.txn_nodes[&list[first - 1].txn], reader, Why::WriteRead);
        }
        if let Some(next) = list.get(last) {
            self.graph.edge(reader, self.txn_nodes[&next.txn], Why::ReadWrite);
        }
    }

    /// Does everything again, one after the other.
    fn replay(&self, order: &[usize]) -> Result<(), Failure> {
        let txns: BTreeMap<usize, usize> =
            self.txn_nodes.iter().map(|(txn, node)| (*node, *txn)).collect();
        let reads: BTreeMap<usize, usize> =
            self.read_nodes.iter().enumerate().map(|(read, node)| (*node, read)).collect();
        let mut rows: BTreeMap<RowKey, Row> = BTreeMap::new();
        for node in order {
            if let Some(index) = txns.get(node) {
                self.replay_txn(&self.space.history.txns[*index], &mut rows)?;
            } else if let Some(index) = reads.get(node) {
                let read = &self.space.history.reads[*index];
                for (key, row) in read.keys.iter().zip(&read.rows) {
                    // Of several places that look alike, this order has taken one.
                    let (first, last) = self.places_of(*index, read, key, row)?;
                    if first < last {
                        continue;
                    }
                    let right = rows.get(key).cloned().unwrap_or_default();
                    ensure!(
                        seen(&right) == seen(row),
                        Read,
                        "read #{index} found {key:?} as {row:?}; in serial order it is {right:?}"
                    );
                }
            }
        }
        Ok(())
    }

    fn replay_txn(
        &self,
        txn: &TxnHistory,
        rows: &mut BTreeMap<RowKey, Row>,
    ) -> Result<(), Failure> {
        let id = txn.txn.id;
        let Some(committed) = committed(self.space, txn) else { return Ok(()) };
        for (shard, part) in &txn.txn.parts {
            let logged = committed.adds.iter().find(|(of, _)| of == shard);
            let mut results = logged.map(|(_, adds)| adds.clone()).unwrap_or_default().into_iter();
            for op in part.iter() {
                let row = rows.get(&op.key).cloned().unwrap_or_default();
                for condition in &op.conditions {
                    ensure!(
                        model::holds(&condition.kind, &row),
                        Verdict,
                        "{id} ({:?}) committed at {} although {condition:?} does not hold of {:?}, which is {row:?}",
                        txn.kind,
                        committed.timestamp,
                        op.key
                    );
                }
                for add in model::adds(op) {
                    let right = model::sum(&row, add);
                    let logged = results.next();
                    ensure!(
                        right.is_some() && right == logged.as_ref().map(|sum| as_number(sum)),
                        Verdict,
                        "{id} adds to {:?}, which is {row:?}: the sum is {right:?}, logged is {logged:?}",
                        op.key
                    );
                }
            }
        }
        for mutation in model::mutations_of(&txn.txn, committed) {
            rows.entry(mutation.key).or_default().merge(&mutation.delta);
        }
        Ok(())
    }

    /// Transfers neither make nor lose money.
    fn check_sum(&self) -> Result<(), Failure> {
        // Where accounts come from another region, that one makes the sum; the tables are compared.
        if self.space.plan.region.as_ref().is_some_and(|region| !region.has_accounts()) {
            return Ok(());
        }
        let opened: i64 = self
            .space
            .history
            .txns
            .iter()
            .filter(|txn| {
                txn.kind == crate::workload::Kind::Open && committed(self.space, txn).is_some()
            })
            .flat_map(|txn| txn.txn.parts.iter())
            .flat_map(|(_, part)| part.iter().filter(|op| op.key.table == ACCOUNTS))
            .map(|_| OPENING)
            .sum();
        let held: i64 = self
            .space
            .store
            .rows()
            .iter()
            .filter(|(key, _)| key.table == ACCOUNTS)
            .filter_map(|(_, row)| row.get(BALANCE))
            .map(|value| as_number(value))
            .sum();
        ensure!(opened == held, Sum, "accounts were opened with {opened} in all and hold {held}");
        Ok(())
    }
}

/// Whether this row is what a failed condition says that it found.
fn explains(condition: &Condition, found: &FoundValue, row: &Row) -> bool {
    let same = match found {
        FoundValue::Row { exists, version } => row.exists() == *exists && row.version() == *version,
        FoundValue::Column { value, .. } => match &condition.kind {
            wal_core::ConditionKind::Compare { column, .. }
            | wal_core::ConditionKind::In { column, .. } => row.get(*column) == value.as_ref(),
            wal_core::ConditionKind::Exists
            | wal_core::ConditionKind::NotExists
            | wal_core::ConditionKind::Version(_) => false,
        },
    };
    same && !model::holds(&condition.kind, row)
}

fn name_txn(txn: &TxnHistory) -> String {
    format!("{} ({:?}), {}..{:?} us", txn.txn.id, txn.kind, txn.first_sent_us, txn.told_us)
}
