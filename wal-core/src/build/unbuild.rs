//! Back from what the engines run to what a client would have asked: for people who look into a log.

use super::{Batch, Check, Columns, Mutation, RowCondition, Write};
use crate::id::ColumnId;
use crate::message::{MESSAGES, Message, messages_of};
use crate::namespace::Namespace;
use crate::region::{REGIONS, RegionSet};
use crate::row::{Row, RowKey};
use crate::schema::{Column, Table};
use crate::txn::{CellOp, ConditionKind, Part, RowOp, WriteOp};
use crate::value::Value;

/// Parts that are not of this version of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: look at it with the namespace version that wrote it")]
pub struct OtherVersion(String);

/// The batch that these parts stand for, conditions in the order of the request. Mutations of one row
/// that mix puts, deletes and adds come back as one mutation of each kind.
///
/// # Errors
///
/// Says which table or column the namespace does not have, or whose bytes are not of its type: the
/// parts are then of another version of it.
pub fn unbuild<'a>(
    namespace: &Namespace,
    parts: impl IntoIterator<Item = &'a Part>,
) -> Result<Batch, OtherVersion> {
    let mut batch = Batch::default();
    let mut conditions: Vec<(u32, RowCondition)> = Vec::new();
    let mut messages: Vec<(u16, Message)> = Vec::new();
    for row in parts.into_iter().flatten() {
        if row.key.table == REGIONS {
            batch.regions = regions(namespace, row);
            continue;
        }
        if row.key.table == MESSAGES {
            for message in messages_of([row]) {
                messages.push(message.map_err(|error| OtherVersion(error.to_string()))?);
            }
            continue;
        }
        let table = namespace
            .table(row.key.table)
            .ok_or_else(|| OtherVersion(format!("there is no table number {}", row.key.table)))?;
        let name = || table.full_name().to_owned();
        let key = key_columns(table, &row.key)?;
        for condition in &row.conditions {
            let check = check(table, &condition.kind)?;
            let condition_on = RowCondition { table: name(), key: key.clone(), check };
            conditions.push((condition.index, condition_on));
        }
        for write in writes(table, &row.write)? {
            batch.mutations.push(Mutation { table: name(), key: key.clone(), write });
        }
    }
    conditions.sort_by_key(|(index, _)| *index);
    messages.sort_by_key(|(index, _)| *index);
    batch.messages = messages.into_iter().map(|(_, message)| message).collect();
    batch.conditions = conditions.into_iter().map(|(_, condition)| condition).collect();
    Ok(batch)
}

fn key_columns(table: &Table, key: &RowKey) -> Result<Columns, OtherVersion> {
    let foreign = |error| OtherVersion(format!("{}: {error}", table.full_name()));
    let values = table.key_values(key).map_err(foreign)?;
    Ok(values.into_iter().map(|(name, value)| (name.to_owned(), Some(value))).collect())
}

fn column(table: &Table, id: ColumnId) -> Result<&Column, OtherVersion> {
    let missing = || OtherVersion(format!("{} has no column number {id}", table.full_name()));
    table.column(id).ok_or_else(missing)
}

fn decode(table: &Table, id: ColumnId, bytes: &[u8]) -> Result<Value, OtherVersion> {
    let column = column(table, id)?;
    Value::decode(column.ty, bytes)
        .map_err(|error| OtherVersion(format!("{}.{}: {error}", table.full_name(), column.name)))
}

fn check(table: &Table, kind: &ConditionKind) -> Result<Check, OtherVersion> {
    Ok(match kind {
        ConditionKind::Exists => Check::Exists,
        ConditionKind::NotExists => Check::NotExists,
        ConditionKind::Version(version) => Check::Version(*version),
        ConditionKind::Compare { column: id, op, value } => Check::Compare {
            column: column(table, *id)?.name.clone(),
            op: *op,
            value: value.as_ref().map(|bytes| decode(table, *id, bytes)).transpose()?,
        },
        ConditionKind::In { column: id, values } => Check::In {
            column: column(table, *id)?.name.clone(),
            values: values
                .iter()
                .map(|bytes| decode(table, *id, bytes).map(Some))
                .collect::<Result<_, _>>()?,
        },
    })
}

fn writes(table: &Table, write: &WriteOp) -> Result<Vec<Write>, OtherVersion> {
    let (insert, cells) = match write {
        WriteOp::None => return Ok(Vec::new()),
        WriteOp::DeleteRow => return Ok(vec![Write::DeleteRow]),
        WriteOp::Cells { insert, cells } => (*insert, cells),
        WriteOp::Merge(row) => return merged(table, row),
    };
    let (mut puts, mut deletes, mut adds) = (Columns::new(), Vec::new(), Columns::new());
    for cell in cells {
        let name = column(table, cell.column())?.name.clone();
        match cell {
            CellOp::Put { column, value } => {
                puts.push((name, Some(decode(table, *column, value)?)))
            }
            CellOp::Add { column, delta } => {
                adds.push((name, Some(decode(table, *column, delta)?)))
            }
            CellOp::Delete { .. } => deletes.push(name),
        }
    }
    let mut writes = Vec::new();
    if insert {
        writes.push(Write::Insert(puts));
    } else if !puts.is_empty() {
        writes.push(Write::Put(puts));
    }
    if !deletes.is_empty() {
        writes.push(Write::DeleteColumns(deletes));
    }
    if !adds.is_empty() {
        writes.push(Write::Add(adds));
    }
    Ok(writes)
}

/// What was written elsewhere, as if it had been written here.
fn merged(table: &Table, row: &Row) -> Result<Vec<Write>, OtherVersion> {
    let mut writes = Vec::new();
    if row.deleted_at.is_some() {
        writes.push(Write::DeleteRow);
    }
    let (mut puts, mut deletes) = (Columns::new(), Vec::new());
    for cell in &row.cells {
        let name = column(table, cell.column)?.name.clone();
        match &cell.value {
            Some(value) => puts.push((name, Some(decode(table, cell.column, value)?))),
            None => deletes.push(name),
        }
    }
    if row.marker_at.is_some() {
        writes.push(Write::Insert(puts));
    } else if !puts.is_empty() {
        writes.push(Write::Put(puts));
    }
    if !deletes.is_empty() {
        writes.push(Write::DeleteColumns(deletes));
    }
    Ok(writes)
}

/// The regions that such a row names; none if it names none.
fn regions(namespace: &Namespace, row: &RowOp) -> Vec<String> {
    let (goes, all) = (RegionSet::of(std::slice::from_ref(row)), RegionSet::ALL);
    let members = namespace.region().into_iter().flat_map(|region| (0..).zip(&region.members));
    let named = members.filter(|(number, _)| goes != all && goes.has(*number));
    named.map(|(_, member)| member.name.clone()).collect()
}
