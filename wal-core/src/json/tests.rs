use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::build::build;
use crate::build::tests::{account, any_batch, bank};
use crate::id::TxnId;
use crate::message::Message;
use crate::row::{Cell, Row};
use crate::time::{Millis, Timestamp};
use crate::value::Value;

proptest! {
    #[test]
    fn a_batch_goes_through_json(batch in any_batch()) {
        let id = TxnId::from_parts(Millis(7), 7);
        let text = batch_to_json(Some(id), &batch).to_string();
        let read = parse_batch(&bank(), &parse(&text).expect("JSON")).expect("a good batch");
        prop_assert_eq!(read.id, Some(id));
        prop_assert_eq!(
            build(&bank(), id, &read.batch).expect("as good"),
            build(&bank(), id, &batch).expect("good")
        );
    }

    #[test]
    fn random_text_is_no_batch_and_never_panics(text in "[\\[\\]{}\":,a-z0-9 .-]{0,40}") {
        if let Ok(json) = parse(&text) {
            let _ = parse_batch(&bank(), &json);
        }
    }

    #[test]
    fn mangled_batches_never_panic(batch in any_batch(), at: prop::sample::Index, with in "[\\[\\]{}\":,a1]") {
        let mut text = batch_to_json(None, &batch).to_string();
        let mut place = at.index(text.len());
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        text.insert_str(place, &with);
        if let Ok(json) = parse(&text) {
            let _ = parse_batch(&bank(), &json).map(|read| build(&bank(), TxnId(1), &read.batch));
        }
    }
}

#[test]
fn the_format_of_the_documentation_is_read() {
    let text = r#"{
        "id": "01983e5c-7d10-7000-8000-000000000001",
        "mutations": [
            {"put": {"table": "accounts", "key": {"id": "alice"}, "columns": {"balance": 100, "note": null}}},
            {"insert": {"table": "ledger", "key": {"account": "a", "day": "2026-01-31", "seq": 1}}},
            {"add": {"table": "accounts", "key": {"id": "bob"}, "columns": {"balance": -5}}},
            {"delete": {"table": "accounts", "key": {"id": "carol"}, "columns": ["note"]}},
            {"delete": {"table": "accounts", "key": {"id": "dave"}}}
        ],
        "conditions": [
            {"table": "accounts", "key": {"id": "alice"}, "exists": false},
            {"table": "accounts", "key": {"id": "alice"}, "column": "balance", "op": ">=", "value": 10},
            {"table": "accounts", "key": {"id": "bob"}, "column": "note", "in": ["a", "b"]},
            {"table": "accounts", "key": {"id": "bob"}, "version": "0123456789abcdef0123456789ABCDEF"}
        ]
    }"#;
    let read = parse_batch(&bank(), &parse(text).expect("JSON")).expect("a good batch");
    assert_eq!((read.batch.mutations.len(), read.batch.conditions.len()), (5, 4));
    let transaction = build(&bank(), read.id.expect("an id"), &read.batch).expect("a good batch");
    let rows: usize = transaction.parts.iter().map(|(_, part)| part.len()).sum();
    assert_eq!(rows, 5);
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    let row = |rest: &str| format!(r#"{{"table": "accounts", "key": {{"id": "a"}}, {rest}}}"#);
    let put = |columns: &str| {
        format!(r#"{{"mutations": [{{"put": {}}}]}}"#, row(&format!(r#""columns": {columns}"#)))
    };
    let check = |rest: &str| format!(r#"{{"conditions": [{}]}}"#, row(rest));
    let cases: Vec<(String, &str)> = vec![
        ("[]".into(), "expected an object, got a list"),
        (r#"{"mutation": []}"#.into(), "mutation: unknown field: did you mean \"mutations\"?"),
        (r#"{"mutations": {}}"#.into(), "mutations: expected a list, got an object"),
        (r#"{"id": "x"}"#.into(), "id: expected a UUID of version 7, got the string \"x\""),
        (r#"{"id": "00000000-0000-4000-8000-000000000000"}"#.into(), "id: a transaction id must be a UUID of version 7 (time-ordered): got 00000000-0000-4000-8000-000000000000"),
        (r#"{"mutations": [7]}"#.into(), "mutations[0]: expected one of put, insert, delete, add, as in {\"put\": {…}}"),
        (r#"{"mutations": [{"putt": {}}]}"#.into(), "mutations[0].putt: unknown mutation: did you mean \"put\"?"),
        (r#"{"mutations": [{"put": {"table": "acounts", "key": {}, "columns": {}}}]}"#.into(), "mutations[0].put.table: unknown table \"acounts\": did you mean \"accounts\"?"),
        (r#"{"mutations": [{"put": {"table": "accounts", "key": {"id": "a"}}}]}"#.into(), "mutations[0].put: \"columns\" is missing"),
        (r#"{"mutations": [{"put": {"table": "accounts", "key": {"id": "a"}, "colums": {}}}]}"#.into(), "mutations[0].put.colums: unknown field: did you mean \"columns\"?"),
        (r#"{"mutations": [{"put": {"table": 7, "key": {}, "columns": {}}}]}"#.into(), "mutations[0].put.table: expected a string, got 7"),
        (r#"{"mutations": [{"delete": {"table": "accounts", "key": {"id": 7}}}]}"#.into(), "mutations[0].delete.key.id: expected text: write a string; got 7"),
        (r#"{"mutations": [{"delete": {"table": "accounts", "key": {"id": "a"}, "columns": [7]}}]}"#.into(), "mutations[0].delete.columns[0]: expected a column's name, got 7"),
        (format!(r#"{{"mutations": [{{"put": {}}}]}}"#, row(r#""columns": {"balance": 1}, "ttl": 60"#)), "mutations[0].put.ttl: values that expire are not supported yet: leave it out, and delete them when their time has come, by a transaction that is due later"),
        (put("[]"), "mutations[0].put.columns: expected an object of columns, got a list"),
        (put(r#"{"balanse": 1}"#), "mutations[0].put.columns.balanse: unknown column of bank.accounts \"balanse\": did you mean \"balance\"?"),
        (put(r#"{"balance": 1.5}"#), "mutations[0].put.columns.balance: expected bigint: write a whole number from -9223372036854775808 to 9223372036854775807; got 1.5"),
        (put(r#"{"a b": "7"}"#), "mutations[0].put.columns[\"a b\"]: expected blob: write a string of 0x and two hexadecimal digits for each byte; got \"7\""),
        (check(r#""exist": true"#), "conditions[0]: expected one of \"exists\", \"version\" and \"column\" (with \"op\" and \"value\", or \"in\")"),
        (check(r#""exists": 1"#), "conditions[0].exists: expected true or false, got 1"),
        (check(r#""exists": true, "column": "note""#), "conditions[0]: expected one of \"exists\", \"version\" and \"column\" (with \"op\" and \"value\", or \"in\")"),
        (check(r#""exists": true, "op": "=""#), "conditions[0].op: unknown field: known here: table, key, exists, version, column"),
        (check(r#""version": "12""#), "conditions[0].version: expected a string of 32 hexadecimal digits, got the string \"12\""),
        (check(r#""column": "balanse", "op": "=", "value": 1"#), "conditions[0].column: unknown column of bank.accounts \"balanse\": did you mean \"balance\"?"),
        (check(r#""column": "balance", "op": "~", "value": 1"#), "conditions[0].op: unknown operator \"~\": known are = != < <= > >="),
        (check(r#""column": "balance", "value": 1"#), "conditions[0]: \"op\" is missing"),
        (check(r#""column": "balance", "op": "=", "value": "x""#), "conditions[0].value: expected bigint: write a whole number from -9223372036854775808 to 9223372036854775807; got \"x\""),
        (check(r#""column": "balance", "in": [1, true]"#), "conditions[0].in[1]: expected bigint: write a whole number from -9223372036854775808 to 9223372036854775807; got true"),
    ];
    for (text, expected) in cases {
        let error = parse_batch(&bank(), &parse(&text).expect("JSON")).expect_err(&text);
        assert_eq!(error.problems[0].to_string(), expected, "{text}\n{error}");
    }
}

#[test]
fn a_key_named_twice_is_an_error() {
    let error = parse("{\"a\": 1,\n \"a\": 2}").expect_err("twice");
    assert_eq!(
        error.to_string(),
        "this is not JSON: the key \"a\" is named twice at line 2 column 4"
    );
    let deep = "[".repeat(100_000);
    assert!(parse(&deep).is_err());
    assert!(parse("{} {}").is_err());
}

#[test]
fn rows_and_keys_go_through_json() {
    let bank = bank();
    let table = bank.table_named("accounts").expect("a table");
    let (_, key) = crate::build::build_key(&bank, "accounts", &account("alice")).expect("a key");
    let row = Row {
        cells: vec![Cell {
            column: table.column_named("balance").expect("a column").id,
            timestamp: Timestamp(9),
            value: Some(Value::BigInt(100).encode()),
        }],
        ..Row::default()
    };
    let view = RowView::new(table, &key, &row).expect("a good row");
    let json = view.to_json();
    assert_eq!(
        json,
        json!({"table": "bank.accounts", "key": {"id": "alice"}, "exists": true,
            "columns": {"balance": 100, "note": null, "a b": null},
            "version": format!("{:032x}", row.version().0)})
    );
    assert_eq!(RowView::from_json(&bank, &json), Ok(view));
    let absent = RowView::new(table, &key, &Row::default()).expect("an absent row");
    assert_eq!((absent.exists, absent.columns.len()), (false, 0));
    assert_eq!(RowView::from_json(&bank, &absent.to_json()), Ok(absent));
    let named = parse_key(&bank, &key_to_json("accounts", &account("alice"))).expect("a key");
    assert_eq!(named, ("bank.accounts".to_owned(), account("alice")));
    let error = parse_key(&bank, &json!({"table": "accounts", "kye": {}})).expect_err("no key");
    assert_eq!(error.to_string(), "kye: unknown field: did you mean \"key\"?");
}

#[test]
fn headers_are_an_object_and_where_a_name_comes_again_pairs() {
    let header = |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
    let told = |headers: &[(String, Bytes)]| {
        let message = Message { headers: headers.to_vec(), ..Message::default() };
        let told = message_to_json(&message);
        let batch = json!({"messages": [told.clone()]});
        let read = parse_batch(&bank(), &batch).expect("what was written can be read");
        assert_eq!(read.batch.messages, [message]);
        told.get("headers").map(ToString::to_string)
    };
    assert_eq!(told(&[]), None);
    let distinct = [header("b", b"2"), header("a", b"\xff")];
    assert_eq!(told(&distinct).as_deref(), Some(r#"{"b":"2","a":{"blob":"0xff"}}"#));
    let repeated = [header("b", b"2"), header("a", b"\xff"), header("b", b"1"), header("b", b"1")];
    let expected = r#"[["b","2"],["a",{"blob":"0xff"}],["b","1"],["b","1"]]"#;
    assert_eq!(told(&repeated).as_deref(), Some(expected));
    for (headers, expected) in [
        (
            json!("a"),
            "messages[0].headers: expected an object of texts, or a list of pairs, got the string \"a\"",
        ),
        (json!([["a", "1"], ["b"]]), "messages[0].headers[1]: expected [name, value], got a list"),
        (
            json!([["a", 1]]),
            "messages[0].headers[0][1]: expected a string or {\"blob\": \"0x…\"}, got 1",
        ),
        (json!([[1, "a"]]), "messages[0].headers[0]: expected [name, value], got a list"),
    ] {
        let batch = json!({"messages": [{"payload": "", "headers": headers}]});
        let error = parse_batch(&bank(), &batch).expect_err("no headers");
        assert_eq!(error.problems[0].to_string(), expected);
    }
}
