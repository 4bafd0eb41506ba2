//! The key of a row, from named values.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Columns, Place, Problems};
use crate::namespace::Namespace;
use crate::problem::Step;
use crate::row::RowKey;
use crate::schema::{ColumnKind, KeyError, NO_RANGES, Table};
use crate::value::Value;

/// The key whose parts end at `partition` and `clustering` of `bytes`.
pub(super) fn row_key(
    table: &Table,
    bytes: &[u8],
    (partition, clustering): (usize, usize),
) -> RowKey {
    let mut whole = Bytes::copy_from_slice(&bytes[..clustering]);
    let clustering =
        if clustering == partition { Bytes::new() } else { whole.split_off(partition) };
    RowKey { table: table.id(), partition: whole, clustering }
}

/// The table and key of a row.
pub(super) fn key<'a>(
    namespace: &'a Namespace,
    table: &str,
    columns: &Columns,
    place: Place,
    scratch: &mut Vec<u8>,
    problems: &mut Problems,
) -> Option<(&'a Table, RowKey)> {
    let (table, split) = encode_key(namespace, table, columns, place, scratch, problems)?;
    Some((table, row_key(table, scratch, split)))
}

/// Appends partition and clustering key; returns where each ends.
pub(super) fn encode_key<'a>(
    namespace: &'a Namespace,
    table: &str,
    columns: &Columns,
    place: Place,
    out: &mut Vec<u8>,
    problems: &mut Problems,
) -> Option<(&'a Table, (usize, usize))> {
    let Some(found) = namespace.find_table(table) else {
        let unknown = namespace.table_named(table).expect_err("it was not found");
        problems.add(place, ".table", unknown);
        return None;
    };
    let table = found.as_ref();
    let (partition_count, clustering_count) =
        (table.partition_key().len(), table.clustering_key().len());
    let mut values: SmallVec<[Option<&Value>; 8]> =
        SmallVec::from_elem(None, partition_count + clustering_count);
    let mut good = true;
    for (name, value) in columns {
        if problems.full() {
            return None;
        }
        let refusal = match (table.find_column(name).map(|column| column.kind), value) {
            (None, _) => table.column_named(name).expect_err("it was not found").to_string(),
            (Some(ColumnKind::Regular), _) => {
                "this column is not part of the primary key".to_owned()
            }
            (Some(_), None) => "a part of the key may not be null".to_owned(),
            (Some(kind), Some(value)) => {
                let index = match kind {
                    ColumnKind::Partition(number) => usize::from(number),
                    ColumnKind::Clustering(number, _) => partition_count + usize::from(number),
                    ColumnKind::Regular => unreachable!("was refused above"),
                };
                if values[index].replace(value).is_none() {
                    continue;
                }
                "the column is named twice".to_owned()
            }
        };
        good = false;
        problems.add(place, format!(".key{}", Step(name)), refusal);
    }
    if !good {
        return None;
    }
    if values.iter().any(Option::is_none) {
        let parts = table.partition_key().chain(table.clustering_key());
        let missing: Vec<&str> = parts
            .zip(&values)
            .filter(|(_, value)| value.is_none())
            .map(|(column, _)| column.name.as_str())
            .collect();
        let is_range = values[..partition_count].iter().all(Option::is_some);
        let range = if is_range { format!("; {NO_RANGES}") } else { String::new() };
        let (table, missing) = (table.full_name(), missing.join(", "));
        let message = format!("the key of {table} also needs {missing}{range}");
        problems.add(place, ".key", message);
        return None;
    }
    let values: SmallVec<[&Value; 8]> = values.into_iter().flatten().collect();
    let (partition, clustering) = values.split_at(partition_count);
    let start = out.len();
    let encoded = table.encode_partition(partition, out).and_then(|()| {
        let split = out.len() - start;
        table.encode_clustering(clustering, out).map(|()| (split, out.len() - start))
    });
    match encoded {
        Ok(split) => Some((table, split)),
        Err(KeyError { column: Some(column), problem }) => {
            problems.add(place, format!(".key{}", Step(&column)), problem);
            None
        }
        Err(KeyError { column: None, problem }) => {
            problems.add(place, ".key", problem);
            None
        }
    }
}
