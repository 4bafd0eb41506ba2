//! Rows on their way from one region to another: tables and columns may have other numbers there.

use bytes::Bytes;
use handfast_proto::region as wire;
use wal_core::cql::CreateTable;
use wal_core::namespace::Namespace;
use wal_core::record::{Piece as _, Reader, Writer};
use wal_core::schema::{Ownership, Table};
use wal_core::{ColumnId, RowMutation, TableId};

use super::MAX_BATCH_BYTES;

/// The rows, compressed, and their tables.
pub(super) fn to_wire(namespace: &Namespace, rows: &[RowMutation]) -> (Vec<wire::Table>, Bytes) {
    let mut numbers: Vec<TableId> = rows.iter().map(|row| row.key.table).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let tables = numbers.into_iter().filter_map(|number| {
        let cql = namespace.table(number)?.statement().to_string();
        Some(wire::Table { number: number.0, cql })
    });
    let mut plain = Vec::new();
    Writer::new(&mut plain).list(rows);
    (tables.collect(), lz4_flex::compress_prepend_size(&plain).into())
}

/// The same rows by the numbers that tables and columns have here.
///
/// # Errors
/// What does not fit together, and what to do.
pub(super) fn from_wire(
    namespace: &Namespace,
    tables: &[wire::Table],
    rows: &[u8],
) -> Result<Vec<RowMutation>, String> {
    let damaged = |why: &dyn std::fmt::Display| format!("the rows cannot be read: {why}");
    let size = rows.first_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    if size > MAX_BATCH_BYTES {
        return Err(damaged(&format_args!("{size} bytes, at most {MAX_BATCH_BYTES} are taken")));
    }
    let plain = lz4_flex::decompress_size_prepended(rows).map_err(|error| damaged(&error))?;
    let mut input = Reader::new(plain.into());
    let mut rows = Vec::<RowMutation>::read(&mut input).map_err(|error| damaged(&error))?;
    input.finish().map_err(|error| damaged(&error))?;
    let tables: Vec<Mapped> =
        tables.iter().map(|table| mapped(namespace, table)).collect::<Result<_, _>>()?;
    for row in &mut rows {
        let table = tables.iter().find(|table| table.from == row.key.table);
        let table = table.ok_or_else(|| damaged(&"one is of a table that is not described"))?;
        row.key.table = table.to;
        for cell in &mut row.delta.cells {
            let column = table.columns.get(usize::from(cell.column.0));
            cell.column =
                *column.ok_or_else(|| damaged(&"one has a column that is not described"))?;
        }
        row.delta.cells.sort_by_key(|cell| cell.column);
    }
    Ok(rows)
}

/// Which table here a table there is.
struct Mapped {
    from: TableId,
    to: TableId,
    /// By the number there.
    columns: Vec<ColumnId>,
}

fn mapped(namespace: &Namespace, table: &wire::Table) -> Result<Mapped, String> {
    let statement: CreateTable = table
        .cql
        .parse()
        .map_err(|error| format!("the description of a table cannot be read: {error}"))?;
    let from = TableId(table.number);
    let there = Table::new(from, statement, Ownership::Owned);
    let name = there.full_name();
    let Some(here) = namespace.find_table(name) else {
        return Err(format!(
            "there is no table {name} in this region: add it to the namespace here, too"
        ));
    };
    let column = |column: &wal_core::schema::Column| {
        let found = here.find_column(&column.name).filter(|it| it.ty == column.ty);
        let is_key = |kind| kind != wal_core::schema::ColumnKind::Regular;
        let same_key = |kind| if is_key(column.kind) { kind == column.kind } else { !is_key(kind) };
        found.filter(|it| same_key(it.kind)).map(|it| it.id).ok_or_else(|| {
            format!(
                "the column {}.{} is missing in this region, or is another: change the namespace here, too",
                name, column.name
            )
        })
    };
    let columns = there.columns().iter().map(column).collect::<Result<_, _>>()?;
    Ok(Mapped { from, to: here.id(), columns })
}
