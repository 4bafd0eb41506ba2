use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::{MAX_HEADERS, MESSAGES, Message, key_of, messages_of};
use crate::record::MESSAGES_SINCE;
use crate::row::RowVersion;
use crate::txn::{CellOp, CompareOp, ConditionKind, RowOp, WriteOp};
use crate::value::tests::value_of;
use crate::value::{ColumnType, Value};

const BANK: &str = r#"
    name = "bank"
    [limits]
    rows_per_transaction = 40
    conditions_per_transaction = 40
    shards_per_transaction = 12
    bytes_per_transaction = 100_000
    [[table]]
    cql = "CREATE TABLE bank.accounts (id text PRIMARY KEY, balance bigint, note text, \"a b\" blob)"
    [[table]]
    cql = """CREATE TABLE ledger (account text, day date, seq decimal, amount varint, note text,
        PRIMARY KEY ((account, day), seq))"""
"#;

/// A namespace with [`BANK`]'s two tables.
pub(crate) fn bank() -> Namespace {
    Namespace::from_toml(BANK).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn account(id: &str) -> Columns {
    vec![("id".into(), Some(id.into()))]
}

fn entry(account: &str, seq: &str) -> Columns {
    vec![
        ("seq".into(), Some(Value::Decimal(seq.parse().expect("a decimal")))),
        ("account".into(), Some(account.into())),
        ("day".into(), Some(Value::Date(20_000))),
    ]
}

fn columns(pairs: &[(&str, Option<Value>)]) -> Columns {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn mutation(table: &str, key: Columns, write: Write) -> Mutation {
    Mutation { table: table.into(), key, write }
}

fn put(id: &str, balance: i64) -> Mutation {
    let write = Write::Put(columns(&[("balance", Some(Value::BigInt(balance)))]));
    mutation("accounts", account(id), write)
}

fn condition(id: &str, check: Check) -> RowCondition {
    RowCondition { table: "accounts".into(), key: account(id), check }
}

fn built(mutations: Vec<Mutation>, conditions: Vec<RowCondition>) -> Transaction {
    let batch = Batch { mutations, conditions, ..Batch::default() };
    build(&bank(), TxnId(1), &batch).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(mutations: Vec<Mutation>, conditions: Vec<RowCondition>) -> Vec<String> {
    let batch = Batch { mutations, conditions, ..Batch::default() };
    let error = build(&bank(), TxnId(1), &batch).expect_err("a bad batch");
    error.problems.iter().map(ToString::to_string).collect()
}

fn rows(transaction: &Transaction) -> Vec<&RowOp> {
    transaction.parts.iter().flat_map(|(_, part)| part.iter()).collect()
}

#[test]
fn mutations_and_conditions_of_one_row_come_together() {
    let more = Write::Add(columns(&[("balance", Some(Value::Int(5)))]));
    let note = Write::Insert(columns(&[("note", Some("x".into())), ("a b", None)]));
    let floor = Check::Compare {
        column: "balance".into(),
        op: CompareOp::Ge,
        value: Some(Value::BigInt(10)),
    };
    let transaction = built(
        vec![
            mutation("accounts", account("alice"), more),
            mutation("bank.accounts", account("alice"), note),
        ],
        vec![condition("bob", Check::Exists), condition("alice", floor)],
    );
    let rows = rows(&transaction);
    assert_eq!(rows.len(), 2);
    let alice = rows.iter().find(|row| row.key.partition == "alice").expect("alice's row");
    let bob = rows.iter().find(|row| row.key.partition == "bob").expect("bob's row");
    assert!(bob.is_read_only() && bob.conditions[0].index == 0);
    assert_eq!(alice.conditions[0].index, 1);
    let WriteOp::Cells { insert: true, cells } = &alice.write else { panic!("{alice:?}") };
    let five = Value::BigInt(5).encode();
    assert_eq!(
        cells,
        &[
            CellOp::Add { column: crate::ColumnId(1), delta: five },
            CellOp::Put { column: crate::ColumnId(2), value: "x".into() },
            CellOp::Delete { column: crate::ColumnId(3) },
        ]
    );
}

#[test]
fn the_fingerprint_is_pinned() {
    let check =
        Check::In { column: "note".into(), values: vec![Some("a".into()), Some("b".into())] };
    let transaction = built(
        vec![put("alice", 7), mutation("ledger", entry("bob", "1.50"), Write::DeleteRow)],
        vec![condition("alice", check), condition("bob", Check::Version(RowVersion(9)))],
    );
    // A client that retries with another version of the server must be recognised: this never changes.
    assert_eq!(format!("{:?}", transaction.fingerprint), "36b93e2ed682e9d506af5a765658edf0");
}

#[test]
fn the_fingerprint_is_of_the_content_alone() {
    let one = built(vec![put("alice", 7), put("bob", 8)], vec![]);
    let other = build(
        &bank().with_version(5),
        TxnId(99),
        &Batch { mutations: vec![put("bob", 8), put("alice", 7)], ..Batch::default() },
    )
    .expect("a good batch");
    assert_eq!((one.fingerprint, &one.parts), (other.fingerprint, &other.parts));
    assert_eq!(other.namespace_version, 5);
    let exists = || condition("alice", Check::Exists);
    let absent = || condition("bob", Check::NotExists);
    let different = [
        built(vec![put("alice", 7), put("bob", 9)], vec![]),
        built(vec![put("alice", 7)], vec![]),
        built(vec![put("alice", 7), put("bob", 8)], vec![exists(), absent()]),
        built(vec![put("alice", 7), put("bob", 8)], vec![absent(), exists()]),
    ];
    let mut seen = BTreeSet::from([one.fingerprint]);
    for transaction in different {
        assert!(seen.insert(transaction.fingerprint), "{transaction:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    let set = |name: &str, value: Option<Value>| Write::Put(columns(&[(name, value)]));
    let on = |write: Write| mutation("accounts", account("alice"), write);
    let seven = || Some(Value::Int(7));
    let cases = [
        (
            mutation("acounts", vec![], Write::DeleteRow),
            "mutations[0].table: unknown table \"acounts\": did you mean \"accounts\"?",
        ),
        (
            mutation("accounts", vec![], Write::DeleteRow),
            "mutations[0].key: the key of bank.accounts also needs id",
        ),
        (
            mutation(
                "ledger",
                columns(&[("account", Some("a".into())), ("day", Some(Value::Date(3)))]),
                Write::DeleteRow,
            ),
            "mutations[0].key: the key of ledger also needs seq; it names a range of rows, and ranges are not \
             supported yet: name each row by its whole key",
        ),
        (
            mutation("accounts", columns(&[("id", None)]), Write::DeleteRow),
            "mutations[0].key.id: a part of the key may not be null",
        ),
        (
            mutation("accounts", columns(&[("id", seven())]), Write::DeleteRow),
            "mutations[0].key.id: expected text, got int",
        ),
        (
            mutation("accounts", columns(&[("id", Some("".into()))]), Write::DeleteRow),
            "mutations[0].key.id: the partition key may not be empty",
        ),
        (
            mutation("accounts", columns(&[("ix", Some("a".into()))]), Write::DeleteRow),
            "mutations[0].key.ix: unknown column of bank.accounts \"ix\": did you mean \"id\"?",
        ),
        (
            mutation("accounts", columns(&[("note", Some("a".into()))]), Write::DeleteRow),
            "mutations[0].key.note: this column is not part of the primary key",
        ),
        (
            mutation(
                "accounts",
                columns(&[("id", Some("a".into())), ("id", Some("a".into()))]),
                Write::DeleteRow,
            ),
            "mutations[0].key.id: the column is named twice",
        ),
        (
            mutation("accounts", account(&"x".repeat(65_536)), Write::DeleteRow),
            "mutations[0].key: the key has 65536 bytes, at most 32760 are allowed",
        ),
        (
            on(set("balanse", seven())),
            "mutations[0].columns.balanse: unknown column of bank.accounts \"balanse\": did you mean \"balance\"?",
        ),
        (
            on(set("id", Some("b".into()))),
            "mutations[0].columns.id: this column is part of the primary key: it is fixed by the key",
        ),
        (
            on(set("balance", Some("7".into()))),
            "mutations[0].columns.balance: expected bigint, got text",
        ),
        (
            on(set("a b", Some("7".into()))),
            "mutations[0].columns[\"a b\"]: expected blob, got text",
        ),
        (on(Write::Put(vec![])), "mutations[0].columns: nothing is written: name a column"),
        (
            on(Write::Put(columns(&[("note", None), ("note", None)]))),
            "mutations[0].columns.note: the column is named twice",
        ),
        (
            on(Write::DeleteColumns(vec![])),
            "mutations[0].columns: no column is named: leave `columns` out to delete the row",
        ),
        (
            on(Write::Add(columns(&[("note", Some("x".into()))]))),
            "mutations[0].columns.note: cannot add to a text: only to numbers",
        ),
        (
            on(Write::Add(columns(&[("balance", None)]))),
            "mutations[0].columns.balance: null cannot be added: leave the column out",
        ),
        (
            on(set("note", Some(Value::Text("x".repeat(100_000))))),
            "mutations[0]: the transaction has more than 100000 bytes: split it",
        ),
    ];
    for (mutation, expected) in cases {
        assert_eq!(problems(vec![mutation], vec![]), [expected]);
    }
    let compare = |op, value| Check::Compare { column: "balance".into(), op, value };
    let is_in = |values| Check::In { column: "balance".into(), values };
    let cases = [
        (compare(CompareOp::Lt, None), "conditions[0].value: null compares with = and != only"),
        (
            compare(CompareOp::Eq, Some("x".into())),
            "conditions[0].value: expected bigint, got text",
        ),
        (is_in(vec![]), "conditions[0].in: no value is named: the condition could never hold"),
        (
            is_in(vec![seven(), None]),
            "conditions[0].in[1]: null is never in a list: compare with =",
        ),
        (is_in(vec![Some("x".into())]), "conditions[0].in[0]: expected bigint, got text"),
        (
            Check::Compare { column: "id".into(), op: CompareOp::Eq, value: Some("a".into()) },
            "conditions[0].id: this column is part of the primary key: it is fixed by the key",
        ),
    ];
    for (check, expected) in cases {
        assert_eq!(problems(vec![], vec![condition("alice", check)]), [expected]);
    }
    assert_eq!(
        problems(vec![], vec![]),
        ["the transaction is empty: name a mutation, a condition or a message"]
    );
}

#[test]
fn one_row_is_written_in_one_way() {
    let delete = || mutation("accounts", account("alice"), Write::DeleteRow);
    let cases = [
        (
            vec![delete(), put("alice", 1)],
            "mutations[1]: the row is both deleted and written in one transaction",
        ),
        (
            vec![put("alice", 1), delete()],
            "mutations[1]: the row is both deleted and written in one transaction",
        ),
        (vec![delete(), delete()], "mutations[1]: the row is deleted twice in one transaction"),
        (
            vec![put("alice", 1), put("bob", 1), put("alice", 1)],
            "mutations[2].columns.balance: another mutation writes this column too",
        ),
    ];
    for (mutations, expected) in cases {
        assert_eq!(problems(mutations, vec![]), [expected]);
    }
    // 1.50 and 1.5 are one clustering value.
    let amount = |seq: &str| {
        mutation("ledger", entry("a", seq), Write::Put(columns(&[("amount", Some(Value::Int(1)))])))
    };
    let found = problems(vec![amount("1.50"), amount("1.5")], vec![]);
    assert_eq!(found, ["mutations[1].columns.amount: another mutation writes this column too"]);
}

#[test]
fn limits_hold_and_so_does_the_number_of_problems() {
    let many: Vec<Mutation> = (0..41).map(|n| put(&n.to_string(), n)).collect();
    let found = problems(many, vec![]);
    assert_eq!(found[0], "the transaction has 41 rows, at most 40 are allowed");
    assert!(found[1].ends_with("shards, at most 12 are allowed"), "{found:?}");
    let checks = (0..41).map(|_| condition("alice", Check::Exists)).collect();
    assert_eq!(
        problems(vec![], checks),
        ["the transaction has 41 conditions, at most 40 are allowed"]
    );
    let nulls: Columns = vec![("note".into(), None)];
    let empty = |n: usize| mutation("accounts", account(&n.to_string()), Write::Put(nulls.clone()));
    let found = problems((0..10_000).map(empty).collect(), vec![]);
    assert!(found[0].contains("more than 100000 bytes"), "{found:?}");
    let bad = (0..30).map(|_| mutation("nowhere", vec![], Write::DeleteRow)).collect();
    let error = build(&bank(), TxnId(1), &Batch { mutations: bad, ..Batch::default() })
        .expect_err("nothing but problems");
    assert_eq!((error.problems.len(), error.more), (MAX_PROBLEMS, true));
    assert!(error.to_string().ends_with("\nand more"));
}

#[test]
fn a_row_to_read_is_named_like_any_other() {
    let (shard, key) = build_key(&bank(), "ledger", &entry("a", "2.0")).expect("a key");
    assert_eq!(shard, Token::of(&key.partition).shard(16));
    assert_eq!(key.clustering.as_ref(), [0, 0, 0, 5, 0, 0, 0, 0, 2]);
    let error = build_key(&bank(), "ledger", &account("a")).expect_err("not its key");
    assert_eq!(error.to_string(), "key.id: unknown column of ledger \"id\"");
}

/// Batches without contradictions: distinct rows, or distinct columns of one row.
pub(crate) fn any_batch() -> impl Strategy<Value = Batch> {
    (
        proptest::collection::vec(any_mutation(), 0..6),
        proptest::collection::vec(any_condition(), 0..4),
        proptest::collection::vec(any_message(), 0..3),
    )
        .prop_filter_map("empty or contradictory", |(mutations, conditions, messages)| {
            let batch = Batch { mutations, conditions, messages, ..Batch::default() };
            build(&bank(), TxnId(1), &batch).is_ok().then_some(batch)
        })
}

/// Names of headers come in any order, and again.
fn any_message() -> impl Strategy<Value = Message> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    let headers = proptest::collection::vec(("[a-c]{1,2}", bytes()), 0..4);
    (proptest::option::of(bytes()), "[a-z/]{0,4}", headers, bytes()).prop_map(
        |(key, content_type, headers, payload)| Message {
            key,
            content_type,
            headers,
            payload,
            targets: Vec::new(),
        },
    )
}

fn message(key: Option<&'static str>, payload: &'static str) -> Message {
    let key = key.map(|key| Bytes::from_static(key.as_bytes()));
    Message { key, payload: payload.into(), ..Message::default() }
}

#[test]
fn messages_lie_with_their_key_or_at_the_home_and_those_of_a_key_are_one_row() {
    let messages = vec![
        message(Some("alice"), "a"),
        message(None, "b"),
        message(Some("bob"), "c"),
        message(Some("alice"), "d"),
        message(None, "e"),
    ];
    let batch =
        Batch { mutations: vec![put("alice", 7)], messages: messages.clone(), ..Batch::default() };
    for id in (1..9).map(TxnId) {
        let transaction = build(&bank(), id, &batch).expect("a good batch");
        let home = transaction.part(transaction.home()).expect("the home takes part");
        let own: Vec<_> = home.iter().filter(|row| !row.key.clustering.is_empty()).collect();
        assert_eq!(own.len(), 1, "the messages without a key, at home: {transaction:?}");
        assert!(home.is_sorted_by(|a, b| a.key < b.key));
        let alice = Token::of(b"alice").shard(bank().shards());
        let part = transaction.part(alice).expect("alice's shard");
        let of_alice = part.iter().filter(|row| row.key.partition == "alice").count();
        assert_eq!(of_alice, 2, "the account and its messages lie together");
        let mut read: Vec<_> = messages_of(transaction.parts.iter().flat_map(|(_, it)| it.iter()))
            .map(|message| message.expect("it was just written"))
            .collect();
        read.sort_by_key(|(index, _)| *index);
        assert!(read.into_iter().map(|(_, message)| message).eq(messages.iter().cloned()));
    }
    // Alone, one without a key has a shard all the same; and it is one participant.
    let alone = Batch { messages: vec![message(None, "x")], ..Batch::default() };
    let transaction = build(&bank(), TxnId(7), &alone).expect("a good batch");
    assert_eq!(transaction.parts.len(), 1);
}

#[test]
fn targets_of_a_message_are_there_each_once_and_not_retired() {
    let target = "[[target]]\nkind = \"http\"\nurl = \"http://shop\"\nname =";
    let file = format!("{BANK}\n{target} \"shop\"\n{target} \"old\"\nretired = true\n");
    let bank = Namespace::from_toml(&file).unwrap_or_else(|error| panic!("{error}"));
    let batch = |names: &[&str]| {
        let targets = names.iter().map(|name| (*name).to_owned()).collect();
        let message = Message { targets, ..Message::default() };
        Batch { messages: vec![message], ..Batch::default() }
    };
    build(&bank, TxnId(1), &batch(&["shop"])).expect("it is there");
    for (names, said) in [
        (
            &["shop", "shp"][..],
            "messages[0].targets[1]: unknown target \"shp\": did you mean \"shop\"?",
        ),
        (&["old"], "messages[0].targets[0]: the target \"old\" is retired"),
        (&["shop", "shop"], "messages[0].targets[1]: the target \"shop\" is named twice"),
    ] {
        let text = build(&bank, TxnId(1), &batch(names)).expect_err("refused").to_string();
        assert!(text.starts_with(said), "{text}");
    }
}

#[test]
fn messages_need_a_write_version_and_have_bounds() {
    let batch = |messages| Batch { messages, ..Batch::default() };
    let older = bank().or_write_version(MESSAGES_SINCE - 1);
    let refused = build(&older, TxnId(1), &batch(vec![message(None, "x")]));
    let text = refused.expect_err("an older write version").to_string();
    assert!(text.contains("write_version = 3"), "{text}");
    let headers = vec![("h".to_owned(), Bytes::new()); MAX_HEADERS + 1];
    let many = Message { headers, ..Message::default() };
    let text = build(&bank(), TxnId(1), &batch(vec![many])).expect_err("too many").to_string();
    assert!(text.contains("messages[0].headers"), "{text}");
    let large = message(None, "x");
    let large = Message { payload: vec![0; 5 << 20].into(), ..large };
    let text = build(&bank(), TxnId(1), &batch(vec![large])).expect_err("too large").to_string();
    assert!(text.contains("split it"), "{text}");
}

fn any_row() -> impl Strategy<Value = (&'static str, Columns)> {
    let id = "[a-d]{1,2}";
    prop_oneof![
        id.prop_map(|id| ("bank.accounts", account(&id))),
        (id, "-?[0-9]{1,3}(\\.[0-9]{1,2})?").prop_map(|(id, seq)| ("ledger", entry(&id, &seq))),
    ]
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let note = || proptest::option::of(value_of(ColumnType::Text));
    let number = || (any::<i32>(), any::<i64>());
    prop_oneof![
        any_row().prop_map(|(table, key)| mutation(table, key, Write::DeleteRow)),
        (any_row(), note()).prop_map(|((table, key), note)| mutation(
            table,
            key,
            Write::Put(columns(&[("note", note)]))
        )),
        (any_row(), note(), any::<bool>()).prop_map(|((table, key), note, empty)| {
            let set = if empty { vec![] } else { columns(&[("note", note)]) };
            mutation(table, key, Write::Insert(set))
        }),
        any_row().prop_map(|(table, key)| {
            mutation(table, key, Write::DeleteColumns(vec!["note".into()]))
        }),
        (any_row(), number()).prop_map(|((table, key), (small, large))| {
            let added = match table {
                "ledger" => ("amount", Some(Value::Varint(large.into()))),
                _ => ("balance", Some(Value::Int(small))),
            };
            mutation(table, key, Write::Add(columns(&[added])))
        }),
    ]
}

fn any_condition() -> impl Strategy<Value = RowCondition> {
    let ops =
        [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
    let text = || value_of(ColumnType::Text);
    let check = prop_oneof![
        Just(Check::Exists),
        Just(Check::NotExists),
        any::<u128>().prop_map(|version| Check::Version(RowVersion(version))),
        (proptest::sample::select(ops.to_vec()), text()).prop_map(|(op, value)| {
            Check::Compare { column: "note".into(), op, value: Some(value) }
        }),
        Just(Check::Compare { column: "note".into(), op: CompareOp::Ne, value: None }),
        proptest::collection::vec(text().prop_map(Some), 1..3)
            .prop_map(|values| Check::In { column: "note".into(), values }),
    ];
    (any_row(), check).prop_map(|((table, key), check)| RowCondition {
        table: table.into(),
        key,
        check,
    })
}

proptest! {
    #[test]
    fn a_built_transaction_is_sorted_and_routed(batch in any_batch()) {
        let transaction = build(&bank(), TxnId(1), &batch).expect("a good batch");
        let mut indices = Vec::new();
        prop_assert!(transaction.parts.is_sorted_by(|a, b| a.0 < b.0));
        for (shard, part) in &transaction.parts {
            prop_assert!(!part.is_empty() && part.is_sorted_by(|a, b| a.key < b.key));
            for row in part.iter() {
                // Messages without a key lie at the home, or alone where the id's token is.
                let named = if row.key.table == MESSAGES && key_of(&row.key).is_none() {
                    if transaction.parts.len() > 1 || part.len() > 1 {
                        transaction.home()
                    } else {
                        Token::of(&row.key.clustering).shard(16)
                    }
                } else {
                    Token::of(&row.key.partition).shard(16)
                };
                prop_assert_eq!(named, *shard);
                prop_assert!(row.conditions.is_sorted_by(|a, b| a.index < b.index));
                indices.extend(row.conditions.iter().map(|condition| condition.index));
                if let WriteOp::Cells { cells, .. } = &row.write {
                    prop_assert!(cells.is_sorted_by(|a, b| a.column() < b.column()));
                }
                for condition in &row.conditions {
                    let is_version = matches!(condition.kind, ConditionKind::Version(_));
                    let asked = &batch.conditions[condition.index as usize].check;
                    prop_assert_eq!(is_version, matches!(asked, Check::Version(_)));
                }
            }
        }
        indices.sort_unstable();
        prop_assert!(indices.into_iter().eq(0..batch.conditions.len() as u32));
    }

    #[test]
    fn the_order_of_mutations_does_not_matter(batch in any_batch(), turn: usize) {
        let mut turned = batch.clone();
        if !turned.mutations.is_empty() {
            let turn = turn % turned.mutations.len();
            turned.mutations.rotate_left(turn);
            turned.mutations.reverse();
        }
        prop_assert_eq!(build(&bank(), TxnId(1), &batch), build(&bank(), TxnId(1), &turned));
    }

    #[test]
    fn what_was_built_can_be_told_in_names_again(batch in any_batch()) {
        let transaction = build(&bank(), TxnId(1), &batch).expect("a good batch");
        let parts = transaction.parts.iter().map(|(_, part)| part.as_ref());
        let told = unbuild(&bank(), parts).expect("the same namespace");
        prop_assert_eq!(build(&bank(), TxnId(1), &told), Ok(transaction));
    }
}
