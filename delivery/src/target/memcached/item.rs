//! What a message asks of the server: an item that is set, or deleted.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use wal_core::message::Message;
use wal_core::namespace::MAX_TTL_S;

/// Bytes of a key, as the server has it.
pub(super) const MAX_KEY_BYTES: usize = 250;
/// A longer time than this, a month, the server takes for a point in time, in seconds since the Unix epoch.
const LONGEST_SPAN_S: u64 = 30 * 24 * 60 * 60;
/// The header that says whether an item is set or deleted.
const OP: &str = "op";
/// The header that says how long an item lives.
const TTL: &str = "ttl";

/// What is to be done with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// With the prefix.
    pub(super) key: Vec<u8>,
    pub(super) op: Op,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// It has this value from now on, and is gone after so many seconds; 0: it is not.
    Set { value: Bytes, ttl_s: u64 },
    /// There is none any more.
    Delete,
}

impl Item {
    /// Reads a message; or says why there will never be an item of it.
    pub(super) fn of(message: &Message, prefix: &str, ttl_s: u64) -> Result<Self, String> {
        let key =
            message.key.as_ref().ok_or("the message has no key, which would be the item's")?;
        let key = [prefix.as_bytes(), key].concat();
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let bytes = key.len();
            return Err(format!(
                "the item's key, with its prefix, has {bytes} bytes: 1 to {MAX_KEY_BYTES} are a key"
            ));
        }
        if let Some(at) = key.iter().position(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(format!(
                "the item's key has a blank or a control character as byte {}: no key may",
                at + 1
            ));
        }
        let op = match header(message, OP)? {
            None | Some("set") => {
                let ttl_s = match header(message, TTL)? {
                    None => ttl_s,
                    Some(text) => read_ttl(text)?,
                };
                Op::Set { value: message.payload.clone(), ttl_s }
            }
            Some("delete") => Op::Delete,
            Some(other) => {
                return Err(format!("the header {OP:?} is {other:?}: \"set\" or \"delete\""));
            }
        };
        Ok(Self { key, op })
    }

    /// The command, up to the value.
    pub(super) fn command(&self) -> Vec<u8> {
        let mut command = match self.op {
            Op::Set { .. } => b"set ".to_vec(),
            Op::Delete => b"delete ".to_vec(),
        };
        command.extend_from_slice(&self.key);
        if let Op::Set { value, ttl_s } = &self.op {
            let until = expiry(*ttl_s, now_s());
            command.extend_from_slice(format!(" 0 {until} {}", value.len()).as_bytes());
        }
        command.extend_from_slice(b"\r\n");
        command
    }
}

/// The one value of a header, whose name has no case.
fn header<'a>(message: &'a Message, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = message.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
    let Some((_, value)) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the header {name:?} is there twice"));
    }
    let text = std::str::from_utf8(value);
    text.map(Some).map_err(|_| format!("the header {name:?} is no text"))
}

fn read_ttl(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_TTL_S);
    seconds.ok_or_else(|| {
        format!(
            "the header {TTL:?} is {text:?}: seconds, 0 to {MAX_TTL_S}; 0 for as long as it may"
        )
    })
}

/// When an item is gone, as the server is told.
fn expiry(ttl_s: u64, now_s: u64) -> u64 {
    if ttl_s > LONGEST_SPAN_S { now_s + ttl_s } else { ttl_s }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: Option<&[u8]>, headers: &[(&str, &str)]) -> Message {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        Message {
            key: key.map(Bytes::copy_from_slice),
            payload: "value".into(),
            headers: headers.collect(),
            ..Message::default()
        }
    }

    fn refused(message: &Message, prefix: &str) -> String {
        Item::of(message, prefix, 0).expect_err("it is no item")
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        assert!(refused(&message(None, &[]), "a").contains("no key"));
        assert!(refused(&message(Some(b""), &[]), "").contains("has 0 bytes"));
        assert!(refused(&message(Some(&[b'a'; 251]), &[]), "").contains("has 251 bytes"));
        assert!(refused(&message(Some(&[b'a'; 247]), &[]), "cid:").contains("has 251 bytes"));
        for (key, at) in [(&b"a b"[..], 2), (b"a\r\n", 2), (b"\0", 1), (b"abc\x7f", 4), (b"\t", 1)]
        {
            let why = refused(&message(Some(key), &[]), "");
            assert!(why.contains(&format!("byte {at}:")), "{why}");
        }
        for fine in [&b"a"[..], "schlüssel".as_bytes(), b"\xff", &[b'a'; 250]] {
            Item::of(&message(Some(fine), &[]), "", 0).expect("a key");
        }
        assert_eq!(Item::of(&message(Some(b""), &[]), "a", 0).expect("a key").key, b"a");
    }

    #[test]
    fn headers_say_what_is_done_and_for_how_long() {
        let of = |headers: &[(&str, &str)]| Item::of(&message(Some(b"k"), headers), "p:", 60);
        let set = |ttl_s| Item { key: b"p:k".into(), op: Op::Set { value: "value".into(), ttl_s } };
        assert_eq!(of(&[]), Ok(set(60)));
        assert_eq!(of(&[("op", "set"), ("other", "1"), ("ttl", "5")]), Ok(set(5)));
        assert_eq!(of(&[("TTL", "0")]), Ok(set(0)));
        assert_eq!(of(&[("op", "delete")]), Ok(Item { key: b"p:k".into(), op: Op::Delete }));
        for (headers, what) in [
            (&[("op", "increment")][..], "\"op\" is \"increment\""),
            (&[("op", "set"), ("op", "set")], "\"op\" is there twice"),
            (&[("ttl", "-1")], "\"ttl\" is \"-1\""),
            (&[("ttl", "31536001")], "0 to 31536000"),
            (&[("ttl", "soon")], "\"ttl\" is \"soon\""),
        ] {
            let why = of(headers).expect_err(what);
            assert!(why.contains(what), "{why}");
        }
    }

    #[test]
    fn commands_are_as_the_protocol_has_them() {
        let item = |op| Item { key: b"k".into(), op };
        assert_eq!(item(Op::Delete).command(), b"delete k\r\n");
        let set = item(Op::Set { value: "value".into(), ttl_s: 60 });
        assert_eq!(set.command(), b"set k 0 60 5\r\n");
        // What is longer than a month is a point in time.
        assert_eq!(expiry(0, 1_700_000_000), 0);
        assert_eq!(expiry(LONGEST_SPAN_S, 1_700_000_000), 2_592_000);
        assert_eq!(expiry(LONGEST_SPAN_S + 1, 1_700_000_000), 1_702_592_001);
    }
}
