//! Transactions of a namespace in several regions: which may be asked for here, and those that carry what was
//! committed elsewhere.

use std::sync::Arc;

use super::rows::Rows;
use super::{Batch, BuildError, Parts, Place, Problems, Write, fingerprint};
use crate::id::{Fingerprint, ShardId, TxnId};
use crate::namespace::{Namespace, RegionSettings};
use crate::region::{RegionSet, pulse_row};
use crate::row::RowMutation;
use crate::token::Token;
use crate::txn::{RowOp, Transaction, WriteOp};

/// Tables that have a home are written there; tables that have none are written blindly.
pub(super) fn check_homes(namespace: &Namespace, batch: &Batch, problems: &mut Problems) {
    let Some(region) = namespace.region() else {
        if !batch.regions.is_empty() {
            let message = "the namespace is in one region: its file has no [region]";
            problems.add(Place::Alone, ".regions", message);
        }
        return;
    };
    for (index, mutation) in batch.mutations.iter().enumerate() {
        let adds = matches!(mutation.write, Write::Add(_));
        let why = why_not_here(namespace, region, &mutation.table, adds.then_some("a sum"));
        if let Some(why) = why {
            problems.add(Place::mutation(index), ".table", why);
        }
    }
    for (index, condition) in batch.conditions.iter().enumerate() {
        let why = why_not_here(namespace, region, &condition.table, Some("a condition"));
        if let Some(why) = why {
            problems.add(Place::condition(index), ".table", why);
        }
    }
}

/// Why a table cannot be written here; `reads` is what needs to know its rows, if something does.
fn why_not_here(
    namespace: &Namespace,
    region: &RegionSettings,
    table: &str,
    reads: Option<&str>,
) -> Option<String> {
    let table = namespace.find_table(table)?;
    let name = table.full_name();
    if name == region.table {
        return Some(format!("{name} says what has arrived from other regions: it is not written"));
    }
    match (region.home_of(name), reads) {
        (Some(home), _) if home != region.here => {
            Some(format!("{name} is written in region {home:?}, and this is {:?}", region.here))
        }
        (None, Some(reads)) => Some(format!(
            "{reads} needs a table with a home region, and {name} is written in any: give it a home"
        )),
        (Some(_) | None, _) => None,
    }
}

/// Says in every part to which regions the transaction goes, if its client did.
pub(super) fn add_regions(
    namespace: &Namespace,
    names: &[String],
    parts: &mut Parts,
    problems: &mut Problems,
) {
    let Some(region) = namespace.region() else { return };
    if names.is_empty() {
        return;
    }
    let mut to = RegionSet::default();
    for (index, name) in names.iter().enumerate() {
        match region.member_named(name) {
            Ok((number, _)) => to = to.with(number),
            Err(error) => problems.add(Place::Alone, format!(".regions[{index}]"), error),
        }
    }
    for (_, part) in parts {
        insert(Arc::make_mut(part), to.row());
    }
}

fn insert(part: &mut Vec<RowOp>, row: RowOp) {
    let at = part.partition_point(|other| other.key < row.key);
    part.insert(at, row);
}

/// A transaction that only raises the last timestamps of some shards (at least one, sorted) above everything
/// that stands in their logs. If other regions are told, their watermarks pass it.
pub fn pulse(namespace: &Namespace, id: TxnId, shards: &[ShardId], is_told: bool) -> Transaction {
    let part = Arc::new(vec![pulse_row(is_told)]);
    let parts = shards.iter().map(|shard| (*shard, part.clone())).collect();
    made(namespace, id, parts)
}

/// A transaction that merges rows which were written in another region, at their own times, beside what
/// `state` asks for. Its bounds are those of records, not of what clients may send.
///
/// # Errors
/// What is wrong with `state`.
pub fn arrival(
    namespace: &Namespace,
    id: TxnId,
    state: &Batch,
    rows: Vec<RowMutation>,
) -> Result<Transaction, BuildError> {
    let mut problems = Problems::default();
    let mut own = Rows::new(namespace, state, &mut problems);
    own.batch(state, &mut problems);
    let mut parts = own.into_parts(id, &mut problems);
    problems.into_result()?;
    for RowMutation { key, delta } in rows {
        let shard = Token::of(&key.partition).shard(namespace.shards());
        let at = match parts.binary_search_by_key(&shard, |(shard, _)| *shard) {
            Ok(at) => at,
            Err(at) => {
                parts.insert(at, (shard, Arc::default()));
                at
            }
        };
        let row = RowOp { key, conditions: Vec::new(), write: WriteOp::Merge(delta) };
        Arc::make_mut(&mut parts[at].1).push(row);
    }
    for (_, part) in &mut parts {
        fold(Arc::make_mut(part));
    }
    Ok(made(namespace, id, parts))
}

/// Sorts the rows; several merges of one row become one.
fn fold(part: &mut Vec<RowOp>) {
    part.sort_by(|a, b| a.key.cmp(&b.key));
    part.dedup_by(|next, kept| match (&mut kept.write, &next.write) {
        (WriteOp::Merge(row), WriteOp::Merge(more)) if kept.key == next.key => {
            row.merge(more);
            true
        }
        _ => false,
    });
}

fn made(namespace: &Namespace, id: TxnId, parts: Parts) -> Transaction {
    let fingerprint: Fingerprint = fingerprint::of(&parts);
    Transaction { id, fingerprint, namespace_version: namespace.version(), parts }
}
