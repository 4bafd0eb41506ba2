//! Texts that people write: namespace files, statements, batches, values.

use proptest::prelude::*;
use wal_core::TxnId;
use wal_core::build::build;
use wal_core::cql::CreateTable;
use wal_core::json::{RowView, parse, parse_batch, parse_key};
use wal_core::namespace::Namespace;
use wal_core::value::{ColumnType, Value, add, compare};

use crate::mangle::{config, in_bounds, mangled_text, mangles};

const STATEMENT: &str = "CREATE TABLE IF NOT EXISTS bank.\"Odd name\" (a text, b int, \"c d\" decimal, n varint, \
    e blob, f timestamp, PRIMARY KEY ((a, b), \"c d\")) WITH CLUSTERING ORDER BY (\"c d\" DESC) AND comment = 'it''s' \
    AND compaction = {'class': 'Leveled', 'sizes': {'a': 160}} AND gc_grace_seconds = 864000;";

const FILE: &str = r#"
name = "bank"
shards = 8
log.segment_bytes = 16781312
limits.rows_per_transaction = 100
policy.wait = "applied"

[[table]]
cql = """CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, d decimal, v varint, f double, b blob)"""

[[table]]
ownership = "shared"
cql = "CREATE TABLE ledger (account text, day date, seq int, PRIMARY KEY (account, day, seq))"
"#;

const BATCH: &str = r#"{
  "id": "01983e5c-7d10-7000-8000-000000000001",
  "mutations": [
    {"put": {"table": "accounts", "key": {"id": "a"}, "columns": {"balance": 1, "d": "-12.50", "v": "123", "f": 1.5e3}}},
    {"add": {"table": "accounts", "key": {"id": "b"}, "columns": {"balance": -5, "d": 1, "v": 7}}},
    {"insert": {"table": "ledger", "key": {"account": "a", "day": "2026-01-31", "seq": 1}}},
    {"delete": {"table": "accounts", "key": {"id": "c"}, "columns": ["b"]}}
  ],
  "conditions": [
    {"table": "accounts", "key": {"id": "a"}, "column": "d", "op": ">=", "value": 10},
    {"table": "accounts", "key": {"id": "a"}, "column": "v", "in": ["1", 2]},
    {"table": "accounts", "key": {"id": "b"}, "version": "0123456789abcdef0123456789ABCDEF"}
  ]
}"#;

/// Numbers that are long, large, small, or nearly numbers.
fn number() -> impl Strategy<Value = String> {
    let digits = prop_oneof![0..40_usize, Just(1_000), Just(19_000), Just(200_000)];
    let exponent = prop_oneof![
        Just(String::new()),
        Just("e999999999".to_owned()),
        Just("e1e999999999".to_owned()),
        Just("E-2147483648".to_owned()),
        Just("e2147483647".to_owned()),
        Just("e99999999999999999999".to_owned()),
        any::<i32>().prop_map(|it| format!("e{it}")),
    ];
    let digit = prop::sample::select(vec!["0", "9", "1", "7"]);
    (prop::sample::select(vec!["", "-", "+", "."]), digit, digits, any::<bool>(), exponent)
        .prop_map(|(sign, digit, count, point, exponent)| {
            let point = if point { "." } else { "" };
            format!("{sign}{}{point}{digit}{exponent}", digit.repeat(count))
        })
}

/// Does everything with a text that may be a batch, and shows every error.
fn batch_of(namespace: &Namespace, text: &str) {
    let Ok(json) = parse(text) else { return };
    let _ = parse_key(namespace, &json).map_err(|error| error.to_string());
    let _ = RowView::from_json(namespace, &json).map_err(|error| error.to_string());
    match parse_batch(namespace, &json) {
        Ok(read) => {
            let _ = build(namespace, TxnId(1), &read.batch).map_err(|error| error.to_string());
        }
        Err(error) => drop(error.to_string()),
    }
}

fn namespace() -> Namespace {
    Namespace::from_toml(FILE).expect("a good file")
}

/// Everything that is done with a value of a type once it has been read.
fn use_value(ty: ColumnType, value: &Value) {
    let mut bytes = Vec::new();
    if value.encode_as(ty, &mut bytes).is_err() {
        return;
    }
    let shown = value.to_string();
    let _ = (value.to_json(), shown.len());
    let one = Value::from_json(ty, &serde_json::json!(1)).map(|one| one.encode());
    for other in [one.as_deref().unwrap_or(&bytes), &bytes] {
        let _ = add(ty, Some(&bytes), other);
        let _ = add(ty, Some(other), &bytes);
        let _ = compare(ty, &bytes, other);
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn statements(mangles in mangles(), noise in any::<String>()) {
        for text in [mangled_text(STATEMENT, &mangles), noise] {
            in_bounds(|| match text.parse::<CreateTable>() {
                Ok(table) => assert_eq!(table.to_string().parse(), Ok(table), "printed and read again"),
                Err(error) => drop(error.to_string()),
            });
        }
    }

    #[test]
    fn namespace_files(mangles in mangles(), noise in any::<String>()) {
        for text in [mangled_text(FILE, &mangles), noise] {
            in_bounds(|| match Namespace::from_toml(&text) {
                Ok(it) => assert_eq!(Namespace::from_toml(&it.to_toml()), Ok(it), "written and read again"),
                Err(error) => drop(error.to_string()),
            });
        }
    }

    #[test]
    fn batches(mangles in mangles(), noise in any::<String>()) {
        let namespace = namespace();
        for text in [mangled_text(BATCH, &mangles), noise] {
            in_bounds(|| batch_of(&namespace, &text));
        }
    }

    #[test]
    fn numbers_in_values_and_batches(ty in prop::sample::select(ColumnType::ALL), number in number()) {
        in_bounds(|| {
            let quoted = serde_json::Value::from(number.as_str());
            match Value::from_json(ty, &quoted) {
                Ok(value) => use_value(ty, &value),
                Err(error) => drop(error.to_string()),
            }
            if let Ok(bare) = parse(&number) && let Ok(value) = Value::from_json(ty, &bare) {
                use_value(ty, &value);
            }
        });
        let namespace = namespace();
        for written in [number.clone(), format!("\"{number}\"")] {
            for column in ["balance", "d", "v", "f"] {
                let batch = format!(
                    r#"{{"mutations": [{{"add": {{"table": "accounts", "key": {{"id": "a"}}, "columns": {{"{column}": {written}}}}}}}]}}"#
                );
                in_bounds(|| batch_of(&namespace, &batch));
            }
        }
    }

    #[test]
    fn values_of_arbitrary_bytes(
        ty in prop::sample::select(ColumnType::ALL),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        in_bounds(|| if let Ok(value) = Value::decode(ty, &bytes) { use_value(ty, &value) });
    }
}

#[test]
fn what_is_nested_deeply_is_read_or_refused() {
    let namespace = namespace();
    for depth in [100, 10_000, 1_000_000] {
        for (open, close) in
            [("[", "]"), ("{\"a\":", "}"), ("{'a':", "}"), ("(", ")"), ("/*", "*/"), ("a=[", "]")]
        {
            let deep = open.repeat(depth) + "1" + &close.repeat(depth);
            let file = format!("name = \"a\"\nx = {deep}");
            let option = format!("CREATE TABLE t (a int PRIMARY KEY) WITH compaction = {deep}");
            let column = format!("CREATE TABLE t (a {deep})");
            in_bounds(|| {
                batch_of(&namespace, &deep);
                batch_of(&namespace, &format!("{{\"mutations\": {deep}}}"));
                for text in [&file, &deep] {
                    assert!(Namespace::from_toml(text).is_err());
                }
                for text in [&option, &column, &deep] {
                    if let Err(error) = text.parse::<CreateTable>() {
                        drop(error.to_string());
                    }
                }
            });
        }
    }
    let dotted = format!("a{} = 1", ".a".repeat(100_000));
    assert!(in_bounds(|| Namespace::from_toml(&dotted)).is_err());
}

#[test]
fn what_is_long_is_read_or_refused() {
    let namespace = namespace();
    let long = "x".repeat(1 << 20);
    in_bounds(|| {
        batch_of(&namespace, &format!("{{\"{long}\": 1}}"));
        batch_of(&namespace, &format!("{{\"mutations\": [{}1]}}", "1,".repeat(1 << 19)));
        let many = (0..20_000).map(|n| format!("\"{n}\": 1,")).collect::<String>();
        batch_of(&namespace, &format!("{{{many} \"z\": 1}}"));
        for text in [
            format!("CREATE TABLE {long} (a int PRIMARY KEY)"),
            format!("CREATE TABLE t (a {long})"),
        ] {
            assert!(text.parse::<CreateTable>().is_err());
        }
        let columns = (0..20_000).map(|n| format!("c{n} int,")).collect::<String>();
        let many = format!("CREATE TABLE t ({columns} PRIMARY KEY (c0))");
        let _ = many.parse::<CreateTable>().map_err(|error| error.to_string());
        let tables = "[[table]]\ncql = 'CREATE TABLE t (a int PRIMARY KEY)'\n".repeat(5_000);
        assert!(Namespace::from_toml(&format!("name = \"a\"\n{tables}")).is_err());
        let keys = (0..20_000).map(|n| format!("k{n} = 1\n")).collect::<String>();
        assert!(Namespace::from_toml(&format!("name = \"a\"\n{keys}")).is_err());
    });
}
