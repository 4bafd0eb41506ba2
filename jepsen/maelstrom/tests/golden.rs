//! The node as a process: what goes in and what comes out, to the letter.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use handfast_maelstrom::kv::memory::LinKv;
use handfast_maelstrom::protocol::Message;
use serde_json::Value;

/// A cluster of one node, whose service is this test.
struct Node {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    service: LinKv,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_handfast-maelstrom-node"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the node starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, stdin, stdout, service: LinKv::default() }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it was not closed");
        writeln!(stdin, "{line}").expect("the node listens");
    }

    /// The next line that is not for the service; the service answers its own meanwhile.
    fn hear(&mut self) -> String {
        loop {
            let line = self.stdout.next().expect("the node runs").expect("a line of text");
            let message = Message::parse(&line).expect("nothing but messages is on stdout");
            assert_eq!(message.src, "n1");
            if message.dest != "lin-kv" {
                return line;
            }
            let mut body = self.service.handle(&message.body);
            body.insert("in_reply_to".into(), message.msg_id().into());
            let answer = Message { src: "lin-kv".into(), dest: "n1".into(), body };
            self.say(&answer.to_line());
        }
    }

    /// An answer without its own number, which is any.
    fn ask(&mut self, body: &str) -> String {
        self.say(&format!(r#"{{"id":7,"src":"c1","dest":"n1","body":{body}}}"#));
        let mut message = Message::parse(&self.hear()).expect("a message");
        assert_eq!(message.dest, "c1");
        let number = message.body.shift_remove("msg_id");
        assert!(number.is_some_and(|number| number.is_u64()));
        Value::Object(message.body).to_string()
    }
}

const INIT: &str = r#"{"id":0,"src":"c0","dest":"n1","body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}}"#;

#[test]
fn a_node_answers_to_the_letter() {
    let mut node = Node::start(&[]);
    node.say(r#"{"src":"c1","dest":"n1","body":{"type":"read","key":1,"msg_id":9}}"#);
    assert_eq!(
        node.hear(),
        r#"{"src":"n1","dest":"c1","body":{"type":"error","code":11,"text":"the node was not initialised yet","in_reply_to":9}}"#
    );
    node.say("this is no message, and is passed over");
    node.say(INIT);
    assert_eq!(
        node.hear(),
        r#"{"src":"n1","dest":"c0","body":{"type":"init_ok","in_reply_to":1}}"#
    );
    // Until the shards have leaders, requests are refused definitely.
    let first = loop {
        let answer = node.ask(r#"{"type":"write","key":1,"value":4,"msg_id":2}"#);
        if !answer.contains(r#""code":11"#) {
            break answer;
        }
    };
    for (answer, request) in [
        (r#"{"type":"write_ok","in_reply_to":2}"#, None),
        (
            r#"{"type":"read_ok","value":4,"in_reply_to":3}"#,
            Some(r#"{"type":"read","key":1,"msg_id":3}"#),
        ),
        (
            r#"{"type":"error","code":20,"text":"the key does not exist","in_reply_to":4}"#,
            Some(r#"{"type":"read","key":"1","msg_id":4}"#),
        ),
        (
            r#"{"type":"error","code":22,"text":"the current value 4 is not 3","in_reply_to":5}"#,
            Some(r#"{"type":"cas","key":1,"from":3,"to":5,"msg_id":5}"#),
        ),
        (
            r#"{"type":"cas_ok","in_reply_to":6}"#,
            Some(r#"{"type":"cas","key":1,"from":4,"to":5,"msg_id":6}"#),
        ),
        (
            r#"{"type":"error","code":20,"text":"the key does not exist","in_reply_to":7}"#,
            Some(r#"{"type":"cas","key":2,"from":4,"to":5,"msg_id":7}"#),
        ),
        (
            r#"{"type":"txn_ok","txn":[["r","a",null],["append","a",6],["append","b",9],["r","a",[6]]],"in_reply_to":8}"#,
            Some(
                r#"{"type":"txn","txn":[["r","a",null],["append","a",6],["append","b",9],["r","a",null]],"msg_id":8}"#,
            ),
        ),
        (
            r#"{"type":"txn_ok","txn":[["r","a",[6]],["r","b",[9]]],"in_reply_to":9}"#,
            Some(r#"{"type":"txn","txn":[["r","a",null],["r","b",null]],"msg_id":9}"#),
        ),
        (
            r#"{"type":"txn_ok","txn":[["r",1,5],["w",1,8],["w",3,[1]]],"in_reply_to":10}"#,
            Some(r#"{"type":"txn","txn":[["r",1,null],["w",1,8],["w",3,[1]]],"msg_id":10}"#),
        ),
        (
            r#"{"type":"error","code":14,"text":"the value of 1 is not a list","in_reply_to":11}"#,
            Some(r#"{"type":"txn","txn":[["append",1,8]],"msg_id":11}"#),
        ),
        (
            r#"{"type":"error","code":10,"text":"\"broadcast\" is not supported: txn, read, write and cas are","in_reply_to":12}"#,
            Some(r#"{"type":"broadcast","message":1,"msg_id":12}"#),
        ),
        (
            r#"{"type":"error","code":12,"text":"the request has no value","in_reply_to":13}"#,
            Some(r#"{"type":"write","key":1,"msg_id":13}"#),
        ),
    ] {
        let heard = request.map_or_else(|| first.clone(), |request| node.ask(request));
        assert_eq!(heard, answer);
    }
}

#[test]
fn commit_timestamps_are_told_only_if_asked_for() {
    let mut node = Node::start(&["--commit-timestamps"]);
    node.say(INIT);
    node.hear();
    let timestamp = loop {
        let answer = node.ask(r#"{"type":"write","key":1,"value":4,"msg_id":2}"#);
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        if answer["type"] == "write_ok" {
            break answer["commit_timestamp"].clone();
        }
    };
    assert!(timestamp.as_i64().is_some_and(|timestamp| timestamp > 0), "{timestamp}");
}

#[test]
fn a_node_ends_when_its_input_ends() {
    let mut node = Node::start(&[]);
    drop(node.stdin.take());
    assert!(node.child.wait().expect("it ends").success());
}

#[test]
fn wrong_arguments_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_handfast-maelstrom-node"))
        .args(["--shards", "0"])
        .output()
        .expect("the node starts");
    assert_eq!(output.status.code(), Some(2));
}
