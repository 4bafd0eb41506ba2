use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<CreateTable, CqlError> {
    text.parse()
}

/// Any table that a statement can declare.
fn any_table() -> impl Strategy<Value = CreateTable> {
    let table_name = "[A-Za-z0-9_]{1,12}";
    let column_name = "[a-z\"' A-Zü_0-9]{1,10}|select|primary|key|static|int";
    let column = (column_name, proptest::sample::select(ColumnType::ALL));
    (
        proptest::option::of(table_name),
        table_name,
        proptest::collection::vec(column, 1..8),
        any::<prop::sample::Index>(),
        proptest::collection::vec(any::<bool>(), 8),
        proptest::option::of("[ -~]{0,12}"),
    )
        .prop_map(|(keyspace, name, mut columns, partition, descending, comment)| {
            columns.sort_by(|a, b| a.0.cmp(&b.0));
            columns.dedup_by(|a, b| a.0 == b.0);
            let count = columns.len();
            let partition_count = partition.index(count) + 1;
            let order = |down: bool| if down { Order::Descending } else { Order::Ascending };
            let clustering_end = (partition_count + 2).min(count);
            let map = vec![(OptionValue::Text("class".into()), OptionValue::Boolean(true))];
            CreateTable {
                keyspace,
                name,
                partition: (0..partition_count).rev().collect(),
                clustering: (partition_count..clustering_end)
                    .map(|index| (index, order(descending[index])))
                    .collect(),
                columns,
                options: comment
                    .map(|text| {
                        vec![
                            TableOption { name: "comment".into(), value: OptionValue::Text(text) },
                            TableOption { name: "compaction".into(), value: OptionValue::Map(map) },
                        ]
                    })
                    .unwrap_or_default(),
            }
        })
}

proptest! {
    #[test]
    fn a_printed_table_parses_back_to_itself(table in any_table()) {
        prop_assert_eq!(parse(&table.to_string()), Ok(table));
    }

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            let _ = error.to_string();
        }
    }

    #[test]
    fn mangled_statements_never_panic(table in any_table(), cut: prop::sample::Index, insert in "[ -~ü\n]{0,4}") {
        let mut text = table.to_string();
        let mut place = cut.index(text.len());
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        text.insert_str(place, &insert);
        let _ = parse(&text).map_err(|error| error.to_string());
        let _ = parse(&text[..place]).map_err(|error| error.to_string());
    }
}

#[test]
fn a_statement_as_people_write_it_is_understood() {
    let table = parse(
        r#"
        -- the ledger
        CREATE TABLE IF NOT EXISTS Bank."Entries" (
            account TEXT, day date, // composite
            seq varchar,
            "Amount" decimal, /* with its scale
            kept */ note text,
            PRIMARY KEY ((account, day), seq),
        ) WITH CLUSTERING ORDER BY (seq DESC)
          AND gc_grace_seconds = 864000 AND default_time_to_live = 0
          AND compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': 160}
        ;"#,
    )
    .expect("a good statement");
    assert_eq!(
        table.to_string(),
        "CREATE TABLE bank.\"Entries\" (\n    account text,\n    day date,\n    seq text,\n    \
         \"Amount\" decimal,\n    note text,\n    PRIMARY KEY ((account, day), seq)\n) WITH \
         CLUSTERING ORDER BY (seq DESC)\n    AND gc_grace_seconds = 864000\n    AND \
         default_time_to_live = 0\n    AND compaction = {'class': 'LeveledCompactionStrategy', \
         'sstable_size_in_mb': 160};"
    );
}

#[test]
fn what_cannot_be_done_is_refused_with_its_place_and_a_way_out() {
    let cases = [
        ("CREATE TABLE t (id int PRIMARY KEY, n counter)", 39, "mutation `add`"),
        ("CREATE TABLE t (id int PRIMARY KEY, n list<int>)", 39, "not supported yet"),
        ("CREATE TABLE t (id int PRIMARY KEY, n frozen<a>)", 39, "not supported yet"),
        ("CREATE TABLE t (id int PRIMARY KEY, n tuple<int>)", 39, "not supported yet"),
        ("CREATE TABLE t (id int PRIMARY KEY, n address)", 39, "user-defined types"),
        ("CREATE TABLE t (id int PRIMARY KEY, n bigin)", 39, "did you mean \"bigint\"?"),
        ("CREATE TABLE t (id int, n int static, PRIMARY KEY (id))", 31, "static columns"),
        ("CREATE TABLE t (id int PRIMARY KEY) WITH default_time_to_live = 9", 42, "expire"),
        ("CREATE TABLE t (id int PRIMARY KEY) WITH gc_grace = 9", 42, "unknown table option"),
        ("CREATE TABLE t (id int PRIMARY KEY) WITH coment = 'a'", 42, "did you mean \"comment\"?"),
        ("CREATE TABLE t (id int PRIMARY KEY) WITH gc_grace_seconds = 'a'", 42, "whole number"),
        ("CREATE TABLE t (id int)", 23, "no primary key"),
        ("CREATE TABLE t (id int, PRIMARY KEY (ix))", 38, "did you mean \"id\"?"),
        ("CREATE TABLE t (id int, PRIMARY KEY (id, id))", 42, "twice"),
        ("CREATE TABLE t (id int PRIMARY KEY, id text)", 37, "declared twice"),
        ("CREATE TABLE t (id int PRIMARY KEY, PRIMARY KEY (id))", 37, "one primary key"),
        ("CREATE TABLE t (order int PRIMARY KEY)", 17, "reserved word"),
        ("CREATE TABLE t (id int PRIMARY KEY", 35, "the end of the statement"),
        ("CREATE TABLE \"a b\" (id int PRIMARY KEY)", 14, "letters, digits"),
        (
            "CREATE TABLE t (a int, b int, c int, PRIMARY KEY (a, b, c)) WITH CLUSTERING ORDER BY (b)",
            66,
            "all",
        ),
        (
            "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b)) WITH CLUSTERING ORDER BY (a)",
            77,
            "not clustering",
        ),
        ("CREATE TABLE t (a int PRIMARY KEY) WITH COMPACT STORAGE", 41, "leave it out"),
        ("CREATE TABLE t (a int PRIMARY KEY); DROP TABLE t", 37, "one statement"),
        ("CREATE TABLE t (a int PRIMARY KEY) /* x", 36, "close it"),
        ("CREATE TABLE t (a int PRIMARY KEY) WITH comment = 'x", 51, "close it"),
        ("CREATE INDEX ON t (a)", 1, "secondary indices are not supported yet: declare a table"),
        ("CREATE CUSTOM INDEX i ON t (a) USING 'x'", 1, "secondary indices are not supported yet"),
        ("CREATE TABLE t (a int PRIMARY KEY); CREATE INDEX i ON t (a)", 37, "secondary indices"),
        ("CREATE MATERIALIZED VIEW v AS SELECT a FROM t", 1, "views are not supported: declare"),
        ("DROP TABLE t", 1, "expected CREATE"),
        ("", 1, "expected CREATE"),
    ];
    for (text, column, says) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.message.contains(says), "{text}: {error}");
        assert_eq!((error.line, error.column), (1, column), "{text}: {error}");
    }
}

#[test]
fn an_error_points_at_its_place() {
    let error =
        parse("CREATE TABLE t (\n\tid int PRIMARY KEY,\n\tn counter\n)").expect_err("a counter");
    assert_eq!(
        error.to_string(),
        "line 3, column 4: a counter cannot be written twice without counting twice: use bigint and \
         the mutation `add`, which can\n3 | \tn counter\n  | \t  ^"
    );
}
