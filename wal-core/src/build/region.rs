//! Transactions of a namespace in several regions: which may be asked for here, and those that carry what was
//! committed elsewhere.

use std::sync::Arc;

use super::rows::Rows;
use super::{
    Batch, BuildError, Check, Columns, Mutation, Parts, Place, Problems, RowCondition, Write,
    fingerprint,
};
use crate::id::{Fingerprint, ShardId, TxnId};
use crate::namespace::{Namespace, RegionSettings};
use crate::region::{RegionSet, pulse_row};
use crate::row::RowMutation;
use crate::time::Timestamp;
use crate::token::Token;
use crate::txn::{CompareOp, RowOp, Transaction, WriteOp};
use crate::value::Value;

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

/// The key of the row that says what has arrived from a region.
pub fn arrived_columns(region: &str) -> Columns {
    vec![("region".to_owned(), Some(Value::Text(region.to_owned())))]
}

/// What arrives from another region at once.
#[derive(Clone, Copy, Debug)]
pub struct Arriving<'a> {
    /// From which region.
    pub from: &'a str,
    /// Up to when everything had arrived before.
    pub after: Timestamp,
    /// Up to when everything has arrived with this.
    pub until: Timestamp,
    /// Of the homes that the other region goes by.
    pub term: u64,
    /// How many have arrived from there with these.
    pub transactions: u64,
}

/// What [`arrival`] asks of the row that says what has arrived: how it must be before, and is to be after.
pub fn arriving(region: &RegionSettings, what: Arriving<'_>) -> Batch {
    let number = |number: u64| Some(Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX)));
    // Where nothing has arrived there is no row.
    let before = (what.after.0 != 0).then_some(Value::BigInt(what.after.0));
    let (table, key) = (region.table.clone(), arrived_columns(what.from));
    let check = Check::Compare { column: "watermark".to_owned(), op: CompareOp::Eq, value: before };
    Batch {
        conditions: vec![RowCondition { table: table.clone(), key: key.clone(), check }],
        mutations: vec![Mutation {
            table,
            key,
            write: Write::Put(vec![
                ("watermark".to_owned(), Some(Value::BigInt(what.until.0))),
                ("term".to_owned(), number(what.term)),
                ("transactions".to_owned(), number(what.transactions)),
            ]),
        }],
        ..Batch::default()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{Check, Mutation, RowCondition, build, unbuild};
    use crate::namespace::ARRIVED_CQL;
    use crate::region::REGIONS;
    use crate::row::{Cell, Row, RowKey};
    use crate::time::Timestamp;
    use crate::value::Value;
    use crate::{ColumnId, TableId};

    fn namespace() -> Namespace {
        let regions = ["eu", "us", "asia"].map(|name| {
            format!("[[region.all]]\nname = \"{name}\"\nservers = [\"http://{name}\"]\n")
        });
        let file = format!(
            "name = \"n\"\n[region]\nhere = \"us\"\nhome = \"us\"\ntable = \"arrived\"\n[region.tables]\nfar = \"eu\"\n\
             free = \"any\"\n{}{}[[table]]\ncql = \"{ARRIVED_CQL}\"\n",
            regions.concat(),
            ["near", "far", "free"]
                .map(|name| format!(
                    "[[table]]\ncql = \"CREATE TABLE {name} (id bigint PRIMARY KEY, n bigint)\"\n"
                ))
                .concat(),
        );
        Namespace::from_toml(&file).unwrap_or_else(|error| panic!("{error}"))
    }

    fn columns(name: &str, value: i64) -> crate::build::Columns {
        vec![(name.to_owned(), Some(Value::BigInt(value)))]
    }

    fn put(table: &str, id: i64) -> Mutation {
        Mutation { table: table.into(), key: columns("id", id), write: Write::Put(columns("n", 1)) }
    }

    fn refused(batch: Batch) -> String {
        build(&namespace(), TxnId(7), &batch).expect_err("it is refused").to_string()
    }

    fn batch(mutations: Vec<Mutation>) -> Batch {
        Batch { mutations, ..Batch::default() }
    }

    #[test]
    fn tables_are_written_at_home_and_those_without_one_blindly() {
        build(&namespace(), TxnId(7), &batch(vec![put("near", 1), put("free", 1)])).expect("both");
        let far = refused(batch(vec![put("near", 1), put("far", 1)]));
        assert!(far.starts_with("mutations[1].table: far is written in region \"eu\""), "{far}");
        let add = Mutation { write: Write::Add(columns("n", 1)), ..put("free", 1) };
        assert!(refused(batch(vec![add])).contains("a sum needs a table with a home region"));
        let check = |table: &str| RowCondition {
            table: table.into(),
            key: columns("id", 1),
            check: Check::Exists,
        };
        for (table, said) in
            [("free", "a condition needs a table"), ("far", "is written in region")]
        {
            let conditions = vec![check(table)];
            let refused = refused(Batch { conditions, ..batch(vec![put("near", 1)]) });
            assert!(refused.contains(said), "{refused}");
        }
        let arrived = Mutation {
            table: "arrived".into(),
            key: vec![("region".into(), Some("eu".into()))],
            write: Write::DeleteRow,
        };
        assert!(refused(batch(vec![arrived])).contains("it is not written"));
    }

    #[test]
    fn every_part_says_where_its_transaction_goes() {
        let to = |regions: &[&str]| {
            let regions = regions.iter().map(|name| (*name).to_owned()).collect();
            Batch { regions, ..batch((0..40).map(|id| put("near", id)).collect()) }
        };
        let everywhere = build(&namespace(), TxnId(7), &to(&[])).expect("good");
        let some = build(&namespace(), TxnId(7), &to(&["us", "asia"])).expect("good");
        assert!(some.parts.len() > 3);
        for (everywhere, some) in everywhere.parts.iter().zip(&some.parts) {
            let goes = |part: &[RowOp]| [0, 1, 2].map(|number| RegionSet::of(part).has(number));
            assert_eq!(goes(&everywhere.1), [true; 3]);
            assert_eq!(goes(&some.1), [false, true, true]);
            assert!(some.1.is_sorted_by(|a, b| a.key < b.key));
        }
        assert_ne!(everywhere.fingerprint, some.fingerprint);
        let shown = unbuild(&namespace(), some.parts.iter().map(|(_, part)| &**part));
        let shown = shown.expect("of this version");
        assert_eq!(
            (shown.mutations.len(), &shown.regions[..]),
            (40, &["us", "asia"].map(String::from)[..])
        );
        assert!(refused(to(&["asia", "africa"])).contains("regions[1]: unknown region \"africa\""));
    }

    #[test]
    fn what_arrives_keeps_its_times_and_is_one_row_each() {
        let namespace = namespace();
        let near = namespace.find_table("near").expect("a table").id();
        let row = |id: i64, column: u16, at| RowMutation {
            key: RowKey {
                table: near,
                partition: bytes::Bytes::copy_from_slice(&id.to_be_bytes()),
                clustering: bytes::Bytes::new(),
            },
            delta: Row {
                cells: vec![Cell {
                    column: ColumnId(column),
                    timestamp: Timestamp(at),
                    value: None,
                }],
                ..Row::default()
            },
        };
        let (after, until) = (Timestamp(4), Timestamp(9));
        let what = Arriving { from: "eu", after, until, term: 1, transactions: 3 };
        let state = arriving(namespace.region().expect("it has regions"), what);
        let rows = vec![row(2, 1, 3), row(1, 1, 5), row(2, 1, 8)];
        let txn = arrival(&namespace, TxnId(7), &state, rows).expect("it is good");
        let merged: Vec<&RowOp> = (txn.parts.iter().flat_map(|(_, part)| part.iter()))
            .filter(|op| matches!(op.write, WriteOp::Merge(_)))
            .collect();
        let times = merged.iter().map(|op| match &op.write {
            WriteOp::Merge(row) => row.newest(),
            other => panic!("{other:?}"),
        });
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        assert_eq!(times, [Some(Timestamp(5)), Some(Timestamp(8))]);
        let all: usize = txn.parts.iter().map(|(_, part)| part.len()).sum();
        assert_eq!(all, 3, "two rows, and what has arrived");
    }

    #[test]
    fn a_pulse_writes_nothing() {
        let shards = [ShardId(1), ShardId(4)];
        let txn = pulse(&namespace(), TxnId(7), &shards, true);
        assert_eq!(txn.participants().collect::<Vec<_>>(), shards);
        for (_, part) in &txn.parts {
            assert!(part.iter().all(|op| op.is_read_only() && op.key.table == REGIONS));
            assert!(crate::region::announces(part));
        }
        assert_eq!(REGIONS, TableId(u32::MAX - 1), "it is in logs");
    }
}
