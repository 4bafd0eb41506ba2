//! Requests of the wire as batches of `wal_core`, which checks, hashes and routes them.

use bytes::Bytes;
use handfast_proto::v1::{self, condition, mutation};
use wal_core::build::{
    Batch, BuildError, Check, Columns, Mutation, RowCondition, Write, build, build_key,
};
use wal_core::limits::MAX_ROWS_PER_TXN;
use wal_core::namespace::{Namespace, WaitLevel};
use wal_core::schema::NO_RANGES;
use wal_core::value::Value;
use wal_core::{CompareOp, RowKey, RowVersion, ShardId, Transaction, TxnId};

use super::delayed;
use super::errors::{ServiceError, Violation};
use super::values::{from_wire, message_from_wire};
use crate::api::Level;

/// Violations that one answer lists.
const MAX_VIOLATIONS: usize = 20;

/// A transaction, checked against its namespace.
pub(super) fn transaction(
    namespace: &Namespace,
    id: TxnId,
    mut wire: v1::Transaction,
) -> Result<Transaction, ServiceError> {
    let delayed = std::mem::take(&mut wire.delayed);
    let mut batch = batch(namespace, wire)?;
    delayed::check_direct(namespace, &mut batch)?;
    batch.mutations.extend(delayed::rows(namespace, id, delayed)?);
    built(namespace, id, &batch)
}

/// A batch as a transaction.
pub(super) fn built(
    namespace: &Namespace,
    id: TxnId,
    batch: &Batch,
) -> Result<Transaction, ServiceError> {
    build(namespace, id, batch).map_err(|error| invalid("transaction", error))
}

/// What a transaction does at once, in names and values.
pub(super) fn batch(namespace: &Namespace, wire: v1::Transaction) -> Result<Batch, ServiceError> {
    let mut reader = Reader { namespace, violations: Vec::new() };
    let mut batch = Batch {
        mutations: Vec::with_capacity(wire.mutations.len()),
        conditions: Vec::with_capacity(wire.conditions.len()),
        messages: wire.messages.into_iter().map(message_from_wire).collect(),
        regions: wire.regions,
    };
    for (index, mutation) in wire.mutations.into_iter().enumerate() {
        let place = Place { list: "transaction.mutations", index };
        batch.mutations.extend(reader.mutation(place, mutation));
    }
    for (index, condition) in wire.conditions.into_iter().enumerate() {
        let place = Place { list: "transaction.conditions", index };
        batch.conditions.extend(reader.condition(place, condition));
    }
    if reader.violations.is_empty() {
        Ok(batch)
    } else {
        Err(ServiceError::Invalid(reader.violations))
    }
}

/// The rows of a read, routed, in the order asked.
pub(super) fn keys_to_read(
    namespace: &Namespace,
    rows: Vec<v1::RowKey>,
) -> Result<Vec<(ShardId, RowKey)>, ServiceError> {
    if rows.is_empty() || rows.len() > MAX_ROWS_PER_TXN {
        let got = rows.len();
        let description = format!("name 1 to {MAX_ROWS_PER_TXN} rows, got {got}");
        return Err(ServiceError::invalid("rows", description));
    }
    let mut reader = Reader { namespace, violations: Vec::new() };
    let mut keys = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        let place = Place { list: "rows", index };
        let Some((table, key)) = reader.row(place, Some(row)) else { continue };
        match build_key(namespace, &table, &key) {
            Ok(key) => keys.push(key),
            Err(error) => return Err(invalid(&format!("rows[{index}]"), error)),
        }
    }
    if reader.violations.is_empty() {
        Ok(keys)
    } else {
        Err(ServiceError::Invalid(reader.violations))
    }
}

/// A level; one that is not named is the namespace's.
pub(super) fn level(namespace: &Namespace, level: i32) -> Result<Level, ServiceError> {
    let level = v1::Level::try_from(level)
        .map_err(|_| ServiceError::invalid("level", format!("{level} is not a level")))?;
    Ok(match (level, namespace.policy().wait) {
        (v1::Level::Logged, _) | (v1::Level::Unspecified, WaitLevel::Logged) => Level::Logged,
        (v1::Level::Committed, _) | (v1::Level::Unspecified, WaitLevel::Committed) => {
            Level::Committed
        }
        (v1::Level::Applied, _) | (v1::Level::Unspecified, WaitLevel::Applied) => Level::Applied,
    })
}

/// A shard of the namespace; `field` is where it was named.
pub(super) fn shard(
    namespace: &Namespace,
    number: u32,
    field: impl FnOnce() -> String,
) -> Result<ShardId, ServiceError> {
    match u16::try_from(number) {
        Ok(shard) if shard < namespace.shards() => Ok(ShardId(shard)),
        _ => {
            let last = namespace.shards() - 1;
            let description = format!("the namespace has shards 0 to {last}, got {number}");
            Err(ServiceError::invalid(field(), description))
        }
    }
}

/// The problems of a request whose paths begin at `root`.
fn invalid(root: &str, error: BuildError) -> ServiceError {
    let violation = |problem: wal_core::problem::Problem| {
        let separator =
            if problem.path.is_empty() || problem.path.starts_with('[') { "" } else { "." };
        Violation::new(format!("{root}{separator}{}", problem.path), problem.message)
    };
    ServiceError::Invalid(error.problems.into_iter().map(violation).collect())
}

/// Where in the request something stands; made text only if something is wrong with it.
#[derive(Clone, Copy)]
struct Place {
    list: &'static str,
    index: usize,
}

/// Reads the request and notes what has no meaning in any namespace. What the namespace does not have
/// is found by `build`.
struct Reader<'a> {
    namespace: &'a Namespace,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    fn note(&mut self, place: Place, below: &str, what: impl ToString) {
        if self.violations.len() < MAX_VIOLATIONS {
            let field = format!("{}[{}]{below}", place.list, place.index);
            self.violations.push(Violation::new(field, what));
        }
    }

    /// The table and the named key of a row. Key values come without names, in the key's order.
    fn row(&mut self, place: Place, row: Option<v1::RowKey>) -> Option<(String, Columns)> {
        let Some(v1::RowKey { table, key: values }) = row else {
            self.note(place, ".row", "it is missing");
            return None;
        };
        let Some(found) = self.namespace.find_table(&table) else {
            let unknown = self.namespace.table_named(&table).expect_err("it was not found");
            self.note(place, ".row.table", unknown);
            return None;
        };
        let columns = found.partition_key().chain(found.clustering_key());
        let parts = found.partition_key().len() + found.clustering_key().len();
        if values.len() != parts {
            let names: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
            let (got, names) = (values.len(), names.join(", "));
            let is_range = (found.partition_key().len()..parts).contains(&got);
            let range = if is_range { format!("; {NO_RANGES}") } else { String::new() };
            let what = format!("the key of {table} is ({names}), got {got} values{range}");
            self.note(place, ".row.key", what);
            return None;
        }
        let mut key = Columns::with_capacity(parts);
        for (index, (column, value)) in columns.zip(values).enumerate() {
            match from_wire(value) {
                Ok(value) => key.push((column.name.clone(), value)),
                Err(error) => {
                    self.note(place, &format!(".row.key[{index}]"), error);
                    return None;
                }
            }
        }
        Some((table, key))
    }

    /// A value that must be there, though it may be null.
    fn value(
        &mut self,
        place: Place,
        below: &str,
        value: Option<v1::Value>,
    ) -> Option<Option<Value>> {
        match from_wire(value.unwrap_or_default()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(place, below, error);
                None
            }
        }
    }

    fn columns(&mut self, place: Place, op: &str, columns: Vec<v1::Column>) -> Columns {
        let mut read = Columns::with_capacity(columns.len());
        for (index, v1::Column { name, value }) in columns.into_iter().enumerate() {
            match from_wire(value.unwrap_or_default()) {
                Ok(value) => read.push((name, value)),
                Err(error) => self.note(place, &format!(".{op}.columns[{index}].value"), error),
            }
        }
        read
    }

    fn mutation(&mut self, place: Place, mutation: v1::Mutation) -> Option<Mutation> {
        let (table, key) = self.row(place, mutation.row)?;
        let write = match mutation.op {
            Some(mutation::Op::Put(put)) => Write::Put(self.columns(place, "put", put.columns)),
            Some(mutation::Op::Insert(insert)) => {
                Write::Insert(self.columns(place, "insert", insert.columns))
            }
            Some(mutation::Op::Add(add)) => Write::Add(self.columns(place, "add", add.columns)),
            Some(mutation::Op::DeleteRow(v1::DeleteRow {})) => Write::DeleteRow,
            Some(mutation::Op::DeleteColumns(delete)) => Write::DeleteColumns(delete.columns),
            None => {
                self.note(
                    place,
                    ".op",
                    "say what to do: put, insert, delete_row, delete_columns, add",
                );
                return None;
            }
        };
        Some(Mutation { table, key, write })
    }

    fn condition(&mut self, place: Place, condition: v1::Condition) -> Option<RowCondition> {
        let (table, key) = self.row(place, condition.row)?;
        let check = match condition.kind {
            Some(condition::Kind::Exists(v1::Exists {})) => Check::Exists,
            Some(condition::Kind::NotExists(v1::NotExists {})) => Check::NotExists,
            Some(condition::Kind::Compare(compare)) => self.compare(place, compare)?,
            Some(condition::Kind::In(list)) => self.list(place, list)?,
            Some(condition::Kind::RowVersion(version)) => {
                Check::Version(self.version(place, &version)?)
            }
            None => {
                self.note(
                    place,
                    ".kind",
                    "say what must hold: exists, not_exists, compare, in, row_version",
                );
                return None;
            }
        };
        Some(RowCondition { table, key, check })
    }

    fn compare(&mut self, place: Place, compare: v1::Compare) -> Option<Check> {
        let op = match compare.op() {
            v1::CompareOp::Equal => CompareOp::Eq,
            v1::CompareOp::NotEqual => CompareOp::Ne,
            v1::CompareOp::Less => CompareOp::Lt,
            v1::CompareOp::LessOrEqual => CompareOp::Le,
            v1::CompareOp::Greater => CompareOp::Gt,
            v1::CompareOp::GreaterOrEqual => CompareOp::Ge,
            v1::CompareOp::Unspecified => {
                self.note(place, ".compare.op", "say how the column must compare");
                return None;
            }
        };
        let value = self.value(place, ".compare.value", compare.value)?;
        Some(Check::Compare { column: compare.column, op, value })
    }

    fn list(&mut self, place: Place, list: v1::In) -> Option<Check> {
        let mut values = Vec::with_capacity(list.values.len());
        for (index, value) in list.values.into_iter().enumerate() {
            values.push(self.value(place, &format!(".in.values[{index}]"), Some(value))?);
        }
        Some(Check::In { column: list.column, values })
    }

    fn version(&mut self, place: Place, version: &Bytes) -> Option<RowVersion> {
        match <[u8; 16]>::try_from(&version[..]) {
            Ok(bytes) => Some(RowVersion(u128::from_be_bytes(bytes))),
            Err(_) => {
                let got = version.len();
                self.note(place, ".row_version", format!("a version has 16 bytes, got {got}"));
                None
            }
        }
    }
}
