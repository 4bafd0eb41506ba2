use wal_core::{ColumnId, Condition, RowKey, RowVersion, TableId};

use super::super::schema::TableTypes;
use super::*;

const NUMBER: ColumnId = ColumnId(0);
const TEXT: ColumnId = ColumnId(1);

fn schema() -> EngineSchema {
    let columns = vec![ColumnType::Int, ColumnType::Text];
    EngineSchema {
        tables: vec![TableTypes { columns, owned: true, home: None }],
        ..EngineSchema::default()
    }
}

fn int(value: i32) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

fn key() -> RowKey {
    let partition = Bytes::from_static(b"alice");
    RowKey { table: TableId(0), partition, clustering: Bytes::new() }
}

fn op(kinds: Vec<ConditionKind>, write: WriteOp) -> RowOp {
    let condition = |(index, kind)| Condition { index, kind };
    RowOp { key: key(), conditions: (0..).zip(kinds).map(condition).collect(), write }
}

fn row(number: Option<i32>) -> Row {
    let cell = |value| Cell { column: NUMBER, timestamp: Timestamp(9), value: Some(int(value)) };
    Row { cells: number.map(cell).into_iter().collect(), ..Row::default() }
}

fn satisfied(kind: ConditionKind, row: &Row) -> bool {
    conditions(&schema(), &op(vec![kind], WriteOp::None), row).is_ok()
}

fn compare(op: CompareOp, value: Option<i32>) -> ConditionKind {
    ConditionKind::Compare { column: NUMBER, op, value: value.map(int) }
}

#[test]
fn values_compare_as_their_type_does() {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let cases = [
        // less, equal, greater
        (Eq, [false, true, false]),
        (Ne, [true, false, true]),
        (Lt, [true, false, false]),
        (Le, [true, true, false]),
        (Gt, [false, false, true]),
        (Ge, [false, true, true]),
    ];
    for (op, expected) in cases {
        // As unsigned bytes, -1 would be the greatest.
        let found = [-1, 0, 1].map(|found| satisfied(compare(op, Some(0)), &row(Some(found))));
        assert_eq!(found, expected, "{op:?}");
    }
}

#[test]
fn null_equals_null_differs_from_values_and_is_not_ordered() {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    for op in [Eq, Ne, Lt, Le, Gt, Ge] {
        let against_value = satisfied(compare(op, Some(0)), &row(None));
        assert_eq!(against_value, op == Ne, "null {op:?} 0");
        let against_null = satisfied(compare(op, None), &row(None));
        assert_eq!(against_null, op == Eq, "null {op:?} null");
        let value_against_null = satisfied(compare(op, None), &row(Some(0)));
        assert_eq!(value_against_null, op == Ne, "0 {op:?} null");
    }
}

#[test]
fn a_deleted_cell_is_null() {
    let cell = Cell { column: NUMBER, timestamp: Timestamp(8), value: None };
    let deleted = Row { cells: vec![cell], ..Row::default() };
    assert!(satisfied(compare(CompareOp::Eq, None), &deleted));
    assert!(satisfied(ConditionKind::NotExists, &deleted));
}

#[test]
fn in_is_equal_to_one_of_the_values() {
    let within = |values: &[i32]| ConditionKind::In {
        column: NUMBER,
        values: values.iter().copied().map(int).collect(),
    };
    assert!(satisfied(within(&[1, 2]), &row(Some(2))));
    assert!(!satisfied(within(&[1, 3]), &row(Some(2))));
    assert!(!satisfied(within(&[]), &row(Some(2))));
    assert!(!satisfied(within(&[1]), &row(None)), "null is none of the values");
}

#[test]
fn a_version_is_of_one_content_and_absent_rows_have_one() {
    let (present, absent) = (row(Some(1)), Row::default());
    assert!(satisfied(ConditionKind::Version(present.version()), &present));
    assert!(!satisfied(ConditionKind::Version(present.version()), &absent));
    assert!(satisfied(ConditionKind::Version(absent.version()), &absent));
    assert!(!satisfied(ConditionKind::Version(RowVersion(0)), &present));
}

#[test]
fn the_first_condition_that_fails_is_told_with_what_was_found() {
    let kinds =
        vec![ConditionKind::Exists, compare(CompareOp::Gt, Some(5)), ConditionKind::NotExists];
    let failed = conditions(&schema(), &op(kinds, WriteOp::None), &row(Some(4)));
    let found = FoundValue::Column { column: NUMBER, value: Some(int(4)) };
    let expected = AbortReason::ConditionFailed { index: 1, key: key(), found };
    assert_eq!(failed, Err(Box::new(expected)));

    let present = row(Some(4));
    let kinds = vec![ConditionKind::NotExists];
    let failed = conditions(&schema(), &op(kinds, WriteOp::None), &present);
    let found = FoundValue::Row { exists: true, version: present.version() };
    assert_eq!(failed, Err(Box::new(AbortReason::ConditionFailed { index: 0, key: key(), found })));
}

#[test]
fn a_column_that_is_gone_is_a_reason_of_its_own() {
    let kind = ConditionKind::Compare { column: ColumnId(7), op: CompareOp::Eq, value: None };
    let failed = conditions(&schema(), &op(vec![kind], WriteOp::None), &row(None));
    assert!(matches!(failed.map_err(|reason| *reason), Err(AbortReason::Schema { .. })));
}

fn add(delta: i32) -> WriteOp {
    let cells = vec![CellOp::Add { column: NUMBER, delta: int(delta) }];
    WriteOp::Cells { insert: false, cells }
}

#[test]
fn adds_take_null_for_zero_and_refuse_to_overflow() {
    let sum = |found, delta| {
        let mut results = Vec::new();
        adds(&schema(), &op(Vec::new(), add(delta)), &row(found), &mut results).map(|()| results)
    };
    assert_eq!(sum(Some(4), -5), Ok(vec![int(-1)]));
    assert_eq!(sum(None, 5), Ok(vec![int(5)]));
    let overflow = AbortReason::Overflow { key: key(), column: NUMBER };
    assert_eq!(sum(Some(i32::MAX), 1), Err(Box::new(overflow)));
}

#[test]
fn puts_and_tombstones_differ_in_the_lowest_bit_and_adds_take_their_results_in_order() {
    let put = CellOp::Put { column: TEXT, value: Bytes::from_static(b"x") };
    let part = vec![
        op(Vec::new(), WriteOp::Cells { insert: true, cells: vec![put] }),
        op(vec![ConditionKind::Exists], WriteOp::None),
        op(Vec::new(), add(1)),
        op(Vec::new(), WriteOp::DeleteRow),
        op(Vec::new(), add(1)),
    ];
    let sums = [int(10), int(20)];
    let deltas: Vec<_> = mutations(&part, Timestamp(80), &sums).map(|m| m.delta).collect();
    assert_eq!(deltas.len(), 4, "what is only read is not written");
    assert_eq!(
        (deltas[0].marker_at, deltas[0].cells[0].timestamp),
        (Some(Timestamp(81)), Timestamp(81))
    );
    assert_eq!(deltas[1].cells[0].value, Some(int(10)));
    assert_eq!(deltas[2].deleted_at, Some(Timestamp(80)));
    assert_eq!(deltas[3].cells[0].value, Some(int(20)));
}
