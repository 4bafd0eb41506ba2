//! Batches of JSON as transactions of the wire.

use coordinator::service::values::{message_to_wire, to_wire};
use handfast_client::v1::{self, condition, mutation};
use handfast_client::{Transaction, Uuid};
use wal_core::CompareOp;
use wal_core::build::{Batch, Check, Columns, Mutation, RowCondition, Write};
use wal_core::namespace::Namespace;
use wal_core::value::Value;

use crate::exit::Failure;

/// The transaction of a batch that was checked against the namespace.
pub(super) fn transaction(
    namespace: &Namespace,
    id: Option<Uuid>,
    batch: Batch,
) -> Result<Transaction, Failure> {
    let mutations = batch.mutations.into_iter().map(|mutation| self::mutation(namespace, mutation));
    let conditions = batch.conditions.into_iter().map(|check| self::condition(namespace, check));
    let wire = v1::Transaction {
        namespace: namespace.name().to_owned(),
        id: id.map(|id| id.as_bytes().to_vec().into()).unwrap_or_default(),
        mutations: mutations.collect::<Result<_, _>>()?,
        conditions: conditions.collect::<Result<_, _>>()?,
        messages: batch.messages.into_iter().map(message_to_wire).collect(),
        delayed: Vec::new(),
        regions: batch.regions,
    };
    Transaction::from_wire(wire).map_err(Failure::error)
}

/// A row's name: the key's values in the key's order.
pub(super) fn row(namespace: &Namespace, table: &str, key: Columns) -> Result<v1::RowKey, Failure> {
    let found = namespace.table_named(table).map_err(Failure::error)?;
    let columns = found.partition_key().chain(found.clustering_key());
    let mut key: Vec<(String, Option<Value>)> = key;
    let mut values = Vec::with_capacity(key.len());
    for column in columns {
        let place = key.iter().position(|(name, _)| *name == column.name).ok_or_else(|| {
            Failure::error(format!("the key of {table} also needs {}", column.name))
        })?;
        values.push(value(key.swap_remove(place).1));
    }
    Ok(v1::RowKey { table: table.to_owned(), key: values })
}

fn value(value: Option<Value>) -> v1::Value {
    value.map_or(v1::Value::null(), to_wire)
}

fn columns(columns: Columns) -> Vec<v1::Column> {
    let column = |(name, it)| v1::Column { name, value: Some(value(it)) };
    columns.into_iter().map(column).collect()
}

fn mutation(namespace: &Namespace, mutation: Mutation) -> Result<v1::Mutation, Failure> {
    let row = row(namespace, &mutation.table, mutation.key)?;
    let op = match mutation.write {
        Write::Put(put) => mutation::Op::Put(v1::Put { columns: columns(put) }),
        Write::Insert(insert) => mutation::Op::Insert(v1::Insert { columns: columns(insert) }),
        Write::DeleteRow => mutation::Op::DeleteRow(v1::DeleteRow {}),
        Write::DeleteColumns(columns) => mutation::Op::DeleteColumns(v1::DeleteColumns { columns }),
        Write::Add(add) => mutation::Op::Add(v1::Add { columns: columns(add) }),
    };
    Ok(v1::Mutation { row: Some(row), op: Some(op) })
}

fn condition(namespace: &Namespace, condition: RowCondition) -> Result<v1::Condition, Failure> {
    let row = row(namespace, &condition.table, condition.key)?;
    let kind = match condition.check {
        Check::Exists => condition::Kind::Exists(v1::Exists {}),
        Check::NotExists => condition::Kind::NotExists(v1::NotExists {}),
        Check::Compare { column, op, value } => {
            let op = match op {
                CompareOp::Eq => v1::CompareOp::Equal,
                CompareOp::Ne => v1::CompareOp::NotEqual,
                CompareOp::Lt => v1::CompareOp::Less,
                CompareOp::Le => v1::CompareOp::LessOrEqual,
                CompareOp::Gt => v1::CompareOp::Greater,
                CompareOp::Ge => v1::CompareOp::GreaterOrEqual,
            };
            let value = Some(self::value(value));
            condition::Kind::Compare(v1::Compare { column, op: op.into(), value })
        }
        Check::In { column, values } => {
            condition::Kind::In(v1::In { column, values: values.into_iter().map(value).collect() })
        }
        Check::Version(version) => {
            condition::Kind::RowVersion(version.0.to_be_bytes().to_vec().into())
        }
    };
    Ok(v1::Condition { row: Some(row), kind: Some(kind) })
}
