use bytes::Bytes;
use wal_core::{Cell, Timestamp};

use super::*;

const COLUMN: ColumnId = ColumnId(1);

fn ask(request: Json) -> Ask {
    Ask::parse(&body(request)).expect("a request")
}

fn refused(request: Json) -> (u64, String) {
    let body = Ask::parse(&body(request)).expect_err("no request");
    let text = body["text"].as_str().expect("a text").to_owned();
    (body["code"].as_u64().expect("a code"), text)
}

fn row(value: Json) -> Row {
    let value = Some(Bytes::from(value.to_string()));
    Row { cells: vec![Cell { column: COLUMN, timestamp: Timestamp(9), value }], ..Row::default() }
}

fn text(body: Map<String, Json>) -> String {
    Json::Object(body).to_string()
}

#[test]
fn the_published_example_of_list_append_is_answered_as_published() {
    let txn = json!([["r", 1, null], ["append", 1, 6], ["append", 2, 9]]);
    let ask = ask(json!({ "type": "txn", "msg_id": 1, "txn": txn }));
    assert_eq!(ask.reads(), [json!(1), json!(2)]);
    let Plan::Commit(batch, answer) = ask.plan(&[row(json!([8])), Row::default()], COLUMN) else {
        panic!("it writes");
    };
    assert_eq!(
        text(answer),
        r#"{"type":"txn_ok","txn":[["r",1,[8]],["append",1,6],["append",2,9]]}"#
    );
    assert_eq!(batch.mutations, [put(&json!(1), &json!([8, 6])), put(&json!(2), &json!([9]))]);
    let versions: Vec<&Check> = batch.conditions.iter().map(|condition| &condition.check).collect();
    let expected = [row(json!([8])).version(), Row::default().version()].map(Check::Version);
    assert_eq!(versions, expected.iter().collect::<Vec<_>>());
}

#[test]
fn the_published_example_of_rw_register_is_answered_as_published() {
    let ask = ask(json!({ "type": "txn", "txn": [["r", 1, null], ["w", 1, 6], ["w", 2, 9]] }));
    assert_eq!(ask.reads(), [json!(1)], "what is only written is not read");
    let Plan::Commit(batch, answer) = ask.plan(&[row(json!(8))], COLUMN) else {
        panic!("it writes");
    };
    assert_eq!(text(answer), r#"{"type":"txn_ok","txn":[["r",1,8],["w",1,6],["w",2,9]]}"#);
    assert_eq!((batch.mutations.len(), batch.conditions.len()), (2, 1));
}

#[test]
fn a_transaction_sees_its_own_writes_and_writes_each_row_once() {
    let txn = json!([
        ["w", 1, 5],
        ["r", 1, null],
        ["w", 1, 7],
        ["r", 1, null],
        ["append", 2, 1],
        ["append", 2, 2],
        ["r", 2, null]
    ]);
    let ask = ask(json!({ "type": "txn", "txn": txn }));
    assert_eq!(ask.reads(), [json!(2)]);
    let Plan::Commit(batch, answer) = ask.plan(&[Row::default()], COLUMN) else {
        panic!("it writes");
    };
    let done =
        r#"[["w",1,5],["r",1,5],["w",1,7],["r",1,7],["append",2,1],["append",2,2],["r",2,[1,2]]]"#;
    assert_eq!(text(answer), format!(r#"{{"type":"txn_ok","txn":{done}}}"#));
    assert_eq!(batch.mutations, [put(&json!(1), &json!(7)), put(&json!(2), &json!([1, 2]))]);
}

#[test]
fn what_only_reads_writes_nothing() {
    let only_reads = ask(json!({ "type": "txn", "txn": [["r", 3, null]] }));
    let Plan::Answer(answer) = only_reads.plan(&[Row::default()], COLUMN) else {
        panic!("nothing is written");
    };
    assert_eq!(text(answer), r#"{"type":"txn_ok","txn":[["r",3,null]]}"#);
    let Plan::Answer(answer) = ask(json!({ "type": "txn", "txn": [] })).plan(&[], COLUMN) else {
        panic!("nothing is written");
    };
    assert_eq!(text(answer), r#"{"type":"txn_ok","txn":[]}"#);
}

#[test]
fn the_key_value_workload_has_its_codes() {
    let read = ask(json!({ "type": "read", "key": 3 }));
    let answer = |row| match read.plan(&[row], COLUMN) {
        Plan::Answer(answer) => text(answer),
        Plan::Commit(..) => panic!("a read writes nothing"),
    };
    assert_eq!(answer(row(json!(4))), r#"{"type":"read_ok","value":4}"#);
    assert_eq!(
        answer(Row::default()),
        r#"{"type":"error","code":20,"text":"the key does not exist"}"#
    );
    let cas = ask(json!({ "type": "cas", "key": 3, "from": 1, "to": 2 }));
    let found = |value: Option<&'static str>| {
        let value = value.map(|text| Bytes::from_static(text.as_bytes()));
        let body = cas.on_failed_condition(&FoundValue::Column { column: COLUMN, value });
        body.expect("an answer")["code"].clone()
    };
    assert_eq!((found(None), found(Some("7"))), (json!(20), json!(22)));
    let txn = ask(json!({ "type": "txn", "txn": [["append", 1, 1]] }));
    let changed = FoundValue::Row { exists: true, version: Row::default().version() };
    assert_eq!(txn.on_failed_condition(&changed), None, "it is tried again");
}

#[test]
fn what_cannot_be_understood_is_refused_definitely() {
    assert_eq!(refused(json!({ "type": "broadcast" })).0, 10);
    assert_eq!(refused(json!({ "type": "read" })), (12, "the request has no key".into()));
    assert_eq!(refused(json!({ "type": "cas", "key": 1, "from": 2 })).0, 12);
    for txn in [json!(7), json!([7]), json!([["r", 1]]), json!([["x", 1, 2]]), json!([[1, 1, 2]])] {
        assert_eq!(refused(json!({ "type": "txn", "txn": txn })).0, 12);
    }
    let list = ask(json!({ "type": "txn", "txn": [["append", 1, 1]] }));
    let Plan::Answer(answer) = list.plan(&[row(json!(5))], COLUMN) else {
        panic!("it cannot be appended to");
    };
    assert_eq!(answer["code"], 14);
}
