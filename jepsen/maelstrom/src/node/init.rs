//! How a node begins: it is told its name, and finds the cluster's configuration.

use anyhow::ensure;
use crossbeam_channel::Receiver;
use serde_json::{Map, Value, json};

use super::core::{ITEMS, Input};
use super::peers::BEAT;
use crate::kv::remote::Send;
use crate::kv::{Answer, Kv, Request, call};
use crate::protocol::{Code, Message, body, error};

/// Who this node is.
pub(super) struct Init {
    pub(super) node: String,
    pub(super) nodes: Vec<String>,
}

/// Waits for `init` and answers it; whatever else comes first is refused. `None` if stdin ends.
pub(super) fn await_init(arrivals: &Receiver<Input>, send: &Send) -> Option<Init> {
    while let Ok(Input::Message(message)) = arrivals.recv() {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let node = message.body.get("node_id").and_then(text);
        let nodes = message.body.get("node_ids").and_then(Value::as_array);
        let nodes: Option<Vec<String>> = nodes.and_then(|nodes| nodes.iter().map(text).collect());
        let (src, id) = (message.dest.clone(), message.msg_id());
        let reply = |src: String, mut body: Map<String, Value>| {
            body.extend(id.map(|id| ("in_reply_to".to_owned(), id.into())));
            send(Message { src, dest: message.src.clone(), body });
        };
        match (message.kind(), node, nodes) {
            ("init", Some(node), Some(nodes)) if nodes.contains(&node) && nodes.len() <= 255 => {
                reply(node.clone(), body(json!({ "type": "init_ok" })));
                return Some(Init { node, nodes });
            }
            ("init", ..) => {
                let text = "init needs node_id and node_ids, which has it among at most 255";
                reply(src, error(Code::MalformedRequest, text));
            }
            (BEAT | ITEMS, ..) => {}
            _ if id.is_some() => {
                let text = "the node was not initialised yet";
                reply(src, error(Code::TemporarilyUnavailable, text));
            }
            _ => {}
        }
    }
    None
}

/// Holds all nodes of a cluster to the same number of shards.
pub(super) fn agree_on_shards(kv: &dyn Kv, shards: u16) -> anyhow::Result<()> {
    let key = "log/shards".to_owned();
    loop {
        let (from, to) = (None, shards.to_string());
        call(kv, Request::Cas { key: key.clone(), from, to, create: true });
        if let Answer::Value(found) = call(kv, Request::Read { key: key.clone() }) {
            ensure!(
                found == shards.to_string(),
                "the cluster has {found} shards, this node was started with {shards}: give every node the same --shards"
            );
            return Ok(());
        }
    }
}
