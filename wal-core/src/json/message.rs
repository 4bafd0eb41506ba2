//! Messages as JSON. Bytes are text where they are UTF-8, `{"blob": "0x…"}` otherwise; a payload may also be
//! `{"json": …}`, which stands for that value's shortest text, and for the content type of it.
//!
//! Headers are an object. Where a name comes again, and so in no message whose names are distinct, they are a list
//! of pairs, in their order: `[["trace", "1"], ["kind", "paid"], ["trace", "2"]]`. Either may be read.

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use super::object::{Object, add, describe};
use crate::build::Problems;
use crate::message::Message;
use crate::problem::Step;
use crate::value::{ColumnType, Value};

const JSON_TYPE: &str = "application/json";

/// Reads a message.
pub(super) fn read_message(path: String, json: &Json, problems: &mut Problems) -> Option<Message> {
    let mut object = Object::new(path, json, problems)?;
    let key = object.take("key").map(|it| read_bytes(&object.path_of("key"), it, problems));
    let content_type = match object.take("content_type") {
        None => Some(None),
        Some(Json::String(text)) => Some(Some(text.clone())),
        Some(other) => {
            let message = format!("expected a string, got {}", describe(other));
            object.problem("content_type", message, problems);
            None
        }
    };
    let headers = read_headers(&mut object, problems)?;
    let targets = read_targets(&mut object, problems);
    let payload = object.need("payload", problems);
    let path = object.path_of("payload");
    object.finish(problems);
    let payload = payload?;
    let of_json = payload.get("json").filter(|_| only_one(payload));
    let bytes = match of_json {
        Some(value) => Bytes::from(value.to_string()),
        None => read_bytes(&path, payload, problems)?,
    };
    let told = if of_json.is_some() { JSON_TYPE } else { "" };
    let content_type = content_type?.unwrap_or_else(|| told.to_owned());
    let key = key.map_or(Some(None), |key| key.map(Some))?;
    Some(Message { key, content_type, headers, payload: bytes, targets: targets? })
}

/// `None` if one of them cannot be read.
fn read_headers(object: &mut Object<'_>, problems: &mut Problems) -> Option<Vec<(String, Bytes)>> {
    let path = object.path_of("headers");
    match object.take("headers") {
        None => Some(Vec::new()),
        Some(Json::Object(map)) => {
            let one = |(name, value): (&String, &Json)| {
                let path = format!("{path}{}", Step(name));
                Some((name.clone(), read_bytes(&path, value, problems)?))
            };
            map.iter().map(one).collect()
        }
        Some(Json::Array(pairs)) => {
            let one = |(index, pair): (usize, &Json)| match pair.as_array().map(Vec::as_slice) {
                Some([Json::String(name), value]) => {
                    let path = format!("{path}[{index}][1]");
                    Some((name.clone(), read_bytes(&path, value, problems)?))
                }
                Some(_) | None => {
                    let message = format!("expected [name, value], got {}", describe(pair));
                    add(problems, &format!("{path}[{index}]"), message);
                    None
                }
            };
            pairs.iter().enumerate().map(one).collect()
        }
        Some(other) => {
            let got = describe(other);
            let message = format!("expected an object of texts, or a list of pairs, got {got}");
            object.problem("headers", message, problems);
            Some(Vec::new())
        }
    }
}

fn read_targets(object: &mut Object<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    match object.take("targets") {
        None => Some(Vec::new()),
        Some(Json::Array(names)) if names.iter().all(Json::is_string) => {
            Some(names.iter().filter_map(Json::as_str).map(str::to_owned).collect())
        }
        Some(other) => {
            let message = format!("expected a list of names, got {}", describe(other));
            object.problem("targets", message, problems);
            None
        }
    }
}

fn only_one(json: &Json) -> bool {
    json.as_object().is_some_and(|map| map.len() == 1)
}

fn read_bytes(path: &str, json: &Json, problems: &mut Problems) -> Option<Bytes> {
    if let Json::String(text) = json {
        return Some(Bytes::copy_from_slice(text.as_bytes()));
    }
    let blob = json.get("blob").filter(|_| only_one(json));
    let read = blob.map(|blob| Value::from_json(ColumnType::Blob, blob));
    match read {
        Some(Ok(Value::Blob(bytes))) => Some(bytes),
        Some(Err(error)) => {
            add(problems, path, error);
            None
        }
        Some(Ok(_)) | None => {
            let got = describe(json);
            add(problems, path, format!("expected a string or {{\"blob\": \"0x…\"}}, got {got}"));
            None
        }
    }
}

fn bytes(bytes: &Bytes) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => json!({ "blob": Value::Blob(bytes.clone()).to_json() }),
    }
}

fn headers(headers: &[(String, Bytes)]) -> Json {
    let is_repeated = |(index, (name, _)): (usize, &(String, Bytes))| {
        headers[..index].iter().any(|(earlier, _)| earlier == name)
    };
    if headers.iter().enumerate().any(is_repeated) {
        return headers.iter().map(|(name, value)| json!([name, bytes(value)])).collect();
    }
    Json::Object(headers.iter().map(|(name, value)| (name.clone(), bytes(value))).collect())
}

/// A message as JSON: a batch has it so, and reads it back as it is. Headers are an object, or, where a name comes
/// again, a list of pairs.
pub fn message_to_json(message: &Message) -> Json {
    let mut object = Map::new();
    if let Some(key) = &message.key {
        object.insert("key".to_owned(), bytes(key));
    }
    if !message.content_type.is_empty() {
        object.insert("content_type".to_owned(), Json::from(message.content_type.as_str()));
    }
    if !message.headers.is_empty() {
        object.insert("headers".to_owned(), headers(&message.headers));
    }
    object.insert("payload".to_owned(), bytes(&message.payload));
    if !message.targets.is_empty() {
        object.insert("targets".to_owned(), Json::from(message.targets.clone()));
    }
    Json::Object(object)
}
