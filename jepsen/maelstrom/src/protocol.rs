//! Maelstrom's messages: one JSON object a line, `{"src", "dest", "body"}`, and its error codes.

use serde_json::{Map, Value, json};

/// A message between two nodes, clients or services.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who sent it.
    pub src: String,
    /// Whom it is for.
    pub dest: String,
    /// What it says: an object with a `type`.
    pub body: Map<String, Value>,
}

/// Why a line is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of Maelstrom's protocol: {what}: {line}")]
pub struct Malformed {
    what: &'static str,
    line: String,
}

/// Characters of a malformed line that are shown.
const SHOWN: usize = 200;

impl Message {
    /// Reads a line. Fields that the protocol does not name (`id`, for one) are passed over.
    ///
    /// # Errors
    /// [`Malformed`] says what is missing.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let malformed = |what| Malformed { what, line: line.chars().take(SHOWN).collect() };
        let parsed: Value = serde_json::from_str(line).map_err(|_| malformed("not JSON"))?;
        let Value::Object(mut fields) = parsed else { return Err(malformed("not an object")) };
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let src = text("src").ok_or_else(|| malformed("src is not a string"))?;
        let dest = text("dest").ok_or_else(|| malformed("dest is not a string"))?;
        let Some(Value::Object(body)) = fields.remove("body") else {
            return Err(malformed("body is not an object"));
        };
        if !body.get("type").is_some_and(Value::is_string) {
            return Err(malformed("body.type is not a string"));
        }
        Ok(Self { src, dest, body })
    }

    /// The line, without its end.
    pub fn to_line(&self) -> String {
        json!({ "src": self.src, "dest": self.dest, "body": self.body }).to_string()
    }

    /// What kind of message it is.
    pub fn kind(&self) -> &str {
        self.body.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The number that a reply names.
    pub fn msg_id(&self) -> Option<u64> {
        self.body.get("msg_id").and_then(Value::as_u64)
    }

    /// The number of the request that this answers.
    pub fn in_reply_to(&self) -> Option<u64> {
        self.body.get("in_reply_to").and_then(Value::as_u64)
    }
}

/// Makes a body of a JSON object.
///
/// # Panics
/// If `value` is no object.
pub fn body(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(body) => body,
        other => panic!("a body is an object, not {other}"),
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $definite:literal;)*) => {
        /// The published error codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name = $code,)*
        }

        impl Code {
            /// Whether what was asked definitely did not and never will happen.
            pub const fn is_definite(self) -> bool {
                match self { $(Self::$name => $definite,)* }
            }

            /// The code of a number, if it is a published one.
            pub const fn of(number: u64) -> Option<Self> {
                match number { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Not completed in time.
    Timeout = 0, false;
    /// No such node.
    NodeNotFound = 1, true;
    /// An operation that this implementation does not have.
    NotSupported = 10, true;
    /// Cannot be done now, and was not.
    TemporarilyUnavailable = 11, true;
    /// The request does not have the form that it should.
    MalformedRequest = 12, true;
    /// An indefinite error of any kind.
    Crash = 13, false;
    /// A definite error of any kind.
    Abort = 14, true;
    /// The key does not exist.
    KeyDoesNotExist = 20, true;
    /// The key exists already.
    KeyAlreadyExists = 21, true;
    /// The value is not the expected one.
    PreconditionFailed = 22, true;
    /// Aborted because of a conflict with another transaction.
    TxnConflict = 30, true;
}

/// The body of an error, without `in_reply_to`.
pub fn error(code: Code, text: &str) -> Map<String, Value> {
    body(json!({ "type": "error", "code": code as u64, "text": text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_the_protocol_writes_it() {
        let line = r#"{"id":3,"src":"c1","dest":"n1","body":{"type":"read","msg_id":123,"key":3}}"#;
        let message = Message::parse(line).expect("a message");
        assert_eq!((message.src.as_str(), message.dest.as_str()), ("c1", "n1"));
        assert_eq!(
            (message.kind(), message.msg_id(), message.in_reply_to()),
            ("read", Some(123), None)
        );
        assert_eq!(
            message.to_line(),
            r#"{"src":"c1","dest":"n1","body":{"type":"read","msg_id":123,"key":3}}"#
        );
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        for (line, what) in [
            ("", "not JSON"),
            ("[]", "not an object"),
            (r#"{"dest":"n1","body":{"type":"read"}}"#, "src is not a string"),
            (r#"{"src":"c1","dest":1,"body":{"type":"read"}}"#, "dest is not a string"),
            (r#"{"src":"c1","dest":"n1"}"#, "body is not an object"),
            (r#"{"src":"c1","dest":"n1","body":{}}"#, "body.type is not a string"),
        ] {
            let error = Message::parse(line).expect_err(line);
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn errors_have_the_published_codes() {
        let definite = [1, 10, 11, 12, 14, 20, 21, 22, 30];
        for code in definite {
            assert!(Code::of(code).is_some_and(Code::is_definite), "{code}");
        }
        for code in [0, 13] {
            assert!(Code::of(code).is_some_and(|code| !code.is_definite()), "{code}");
        }
        assert_eq!(Code::of(15), None);
        assert_eq!(
            Value::Object(error(Code::KeyDoesNotExist, "no such key")).to_string(),
            r#"{"type":"error","code":20,"text":"no such key"}"#
        );
    }
}
