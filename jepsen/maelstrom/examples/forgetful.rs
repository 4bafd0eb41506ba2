//! A node that is wrong on purpose: each keeps lists of its own and tells the others nothing. A run against
//! it must be found invalid: `handfast-maelstrom -w txn-list-append --bin target/release/examples/forgetful`.

use std::collections::BTreeMap;
use std::io::{BufRead, stdin};

use handfast_maelstrom::protocol::{Message, body};
use serde_json::{Value, json};

fn main() {
    let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in stdin().lock().lines().map_while(Result::ok) {
        let Ok(message) = Message::parse(&line) else { continue };
        let answer = match message.kind() {
            "init" => json!({ "type": "init_ok" }),
            "txn" => {
                let mut txn = message.body["txn"].clone();
                for step in txn.as_array_mut().into_iter().flatten() {
                    let list = lists.entry(step[1].to_string()).or_default();
                    if step[0] == "append" {
                        list.push(step[2].clone());
                    } else {
                        step[2] = if list.is_empty() { Value::Null } else { json!(list) };
                    }
                }
                json!({ "type": "txn_ok", "txn": txn })
            }
            _ => continue,
        };
        let mut answer = body(answer);
        answer.insert("in_reply_to".into(), json!(message.msg_id()));
        let answer = Message { src: message.dest, dest: message.src, body: answer };
        println!("{}", answer.to_line());
    }
}
