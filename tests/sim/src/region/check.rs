//! What must be so of two regions in the end, by what the logs of both say.

use std::collections::BTreeMap;

use wal_core::region::RegionSet;
use wal_core::{CellOp, Row, RowKey, RowMutation, Timestamp, TxnId, WriteOp};

use super::arrive::{TRANSACTIONS, WATERMARK};
use super::namespace::ARRIVED;
use crate::failure::{Failure, ensure};
use crate::history::TxnHistory;
use crate::model::mutations_of;
use crate::oracle::committed;
use crate::space::Space;
use crate::workload::{Kind, as_number};
use crate::world::World;

type Rows = BTreeMap<RowKey, Row>;

/// A transaction that was committed where it was submitted.
struct Own {
    at: Timestamp,
    id: TxnId,
    rows: Vec<RowMutation>,
    /// Whether it goes to the other region.
    goes: bool,
}

/// A batch of the other region, committed here.
struct Arrival {
    at: Timestamp,
    id: TxnId,
    /// Everything up to here is said to be here.
    until: Timestamp,
    rows: Rows,
}

/// One region, as its logs and tables have it.
struct Side {
    number: u8,
    /// In the order of their commit timestamps, as the next.
    own: Vec<Own>,
    arrivals: Vec<Arrival>,
    tables: Rows,
    /// How many transactions the region says that have arrived.
    arrived: u64,
}

fn merge(rows: &mut Rows, mutations: &[RowMutation]) {
    for RowMutation { key, delta } in mutations {
        rows.entry(key.clone()).or_default().merge(delta);
    }
}

fn own(space: &Space, txn: &TxnHistory) -> Option<Own> {
    if matches!(txn.kind, Kind::Arrival | Kind::Pulse) {
        return None;
    }
    let other = 1 - space.plan.region.as_ref()?.number;
    let committed = committed(space, txn)?;
    let rows = mutations_of(&txn.txn, committed);
    let goes = txn.txn.parts.iter().all(|(_, part)| RegionSet::of(part).has(other));
    let (at, id, goes) = (committed.timestamp, txn.txn.id, goes && !rows.is_empty());
    Some(Own { at, id, rows, goes })
}

fn until(txn: &TxnHistory) -> Option<Timestamp> {
    let mut ops = txn.txn.parts.iter().flat_map(|(_, part)| part.iter());
    let op = ops.find(|op| op.key.table == ARRIVED)?;
    let WriteOp::Cells { cells, .. } = &op.write else { return None };
    cells.iter().find_map(|cell| match cell {
        CellOp::Put { column: WATERMARK, value } => Some(Timestamp(as_number(value))),
        CellOp::Put { .. } | CellOp::Delete { .. } | CellOp::Add { .. } => None,
    })
}

fn arrival(space: &Space, txn: &TxnHistory) -> Option<Arrival> {
    let committed = (txn.kind == Kind::Arrival).then(|| committed(space, txn))??;
    let mut mutations = mutations_of(&txn.txn, committed);
    mutations.retain(|mutation| mutation.key.table != ARRIVED);
    let mut rows = Rows::new();
    merge(&mut rows, &mutations);
    Some(Arrival { at: committed.timestamp, id: txn.txn.id, until: until(txn)?, rows })
}

impl Side {
    fn of(space: &Space) -> Self {
        let history = &space.history.txns;
        let mut own: Vec<Own> = history.iter().filter_map(|txn| own(space, txn)).collect();
        own.sort_by_key(|own| (own.at, own.id));
        let mut arrivals: Vec<Arrival> =
            history.iter().filter_map(|txn| arrival(space, txn)).collect();
        arrivals.sort_by_key(|arrival| arrival.at);
        let (mut tables, mut arrived) = (Rows::new(), 0);
        for (key, row) in space.store.rows() {
            if key.table == ARRIVED {
                arrived = row.get(TRANSACTIONS).map_or(0, |count| as_number(count) as u64);
            } else {
                tables.insert(key.clone(), row.clone());
            }
        }
        let number = space.plan.region.as_ref().map_or(0, |region| region.number);
        Self { number, own, arrivals, tables, arrived }
    }
}

/// When the last transaction committed here that goes to the other region.
pub(super) fn last_to_go(space: &Space) -> Timestamp {
    let own = space.history.txns.iter().filter_map(|txn| own(space, txn));
    own.filter(|own| own.goes).map(|own| own.at).max().unwrap_or_default()
}

/// Up to when everything of the other region is here, for all that this one's logs say.
pub(super) fn watermark(space: &Space) -> Timestamp {
    let arrivals = space.history.txns.iter().filter(|txn| txn.kind == Kind::Arrival);
    let there = arrivals.filter(|txn| committed(space, txn).is_some());
    there.filter_map(until).max().unwrap_or_default()
}

/// Checks both regions of a world at rest.
pub(crate) fn check(world: &mut World) -> Result<(), Failure> {
    if world.regions.ways.is_empty() {
        return Ok(());
    }
    let back = world.ns;
    let [a, b] = [0, 1].map(|ns| {
        world.enter(ns);
        Side::of(&world.space)
    });
    world.enter(back);
    for (here, there) in [(&a, &b), (&b, &a)] {
        check_arrivals(here, there)?;
        check_tables(here, there)?;
    }
    check_equal(&a, &b)
}

/// Each batch brought exactly what the other region committed behind the batch before it, up to the time that it
/// says: nothing is missing there at any watermark, nothing comes twice, and nothing comes back.
fn check_arrivals(here: &Side, there: &Side) -> Result<(), Failure> {
    let region = here.number;
    let mut after = Timestamp(0);
    let mut goes = there.own.iter().filter(|own| own.goes).peekable();
    let mut transactions = 0;
    for Arrival { id, until, rows, .. } in &here.arrivals {
        ensure!(
            *until > after,
            Regions,
            "region {region}: {id} takes the watermark from {after} to {until}"
        );
        let mut right = Rows::new();
        while let Some(own) = goes.next_if(|own| own.at <= *until) {
            merge(&mut right, &own.rows);
            transactions += 1;
        }
        for key in right.keys().chain(rows.keys()) {
            let (wanted, found) = (right.get(key), rows.get(key));
            if wanted == found {
                continue;
            }
            let between = |own: &&Own| own.at > after && own.at <= *until;
            let writes = |own: &&Own| own.rows.iter().any(|row| row.key == *key);
            let writers = there.own.iter().filter(between).filter(writes).map(|own| own.id);
            let writers: Vec<String> = writers.map(|id| id.to_string()).collect();
            ensure!(
                false,
                Regions,
                "region {region}: {id}, with everything from {after} to {until}, has {found:?} of {key:?}; what \
                 committed there is {wanted:?}, by {writers:?}"
            );
        }
        after = *until;
    }
    let left = goes.next().map(|own| own.id);
    ensure!(left.is_none(), Regions, "region {region}: {left:?} never arrived");
    let said = here.arrived;
    ensure!(
        said == transactions,
        Regions,
        "region {region} says that {said} transactions have arrived, and {transactions} have"
    );
    Ok(())
}

/// The tables are what the transactions of both regions make of them, each with the times of its own region.
fn check_tables(here: &Side, there: &Side) -> Result<(), Failure> {
    let mut right = Rows::new();
    let theirs = there.own.iter().filter(|own| own.goes);
    for own in here.own.iter().chain(theirs) {
        merge(&mut right, &own.rows);
    }
    let region = here.number;
    for key in right.keys().chain(here.tables.keys()) {
        let (wanted, found) = (right.get(key), here.tables.get(key));
        ensure!(
            wanted == found,
            Regions,
            "region {region} holds {found:?} of {key:?}; what both have committed is {wanted:?}"
        );
    }
    Ok(())
}

/// Rows of which everything goes over are equal, deletions included.
fn check_equal(a: &Side, b: &Side) -> Result<(), Failure> {
    let stays = |key: &RowKey| {
        let mut own = a.own.iter().chain(&b.own).filter(|own| !own.goes);
        own.any(|own| own.rows.iter().any(|row| row.key == *key))
    };
    for key in a.tables.keys().chain(b.tables.keys()) {
        let (first, second) = (a.tables.get(key), b.tables.get(key));
        ensure!(
            first == second || stays(key),
            Regions,
            "the regions differ in {key:?}: {first:?} and {second:?}"
        );
    }
    Ok(())
}
