//! The service itself: what our runner answers for `lin-kv`, and a store for tests with the misfortunes
//! of a network in front of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::{Answer, Done, Kv, Request};
use crate::protocol::{Code, body, error};

/// The state of a `lin-kv` service. Keys are compared as JSON values.
#[derive(Debug, Default)]
pub struct LinKv {
    values: BTreeMap<String, Value>,
}

impl LinKv {
    /// Answers a request's body, without `in_reply_to`.
    pub fn handle(&mut self, request: &Map<String, Value>) -> Map<String, Value> {
        let Some(key) = request.get("key") else {
            return error(Code::MalformedRequest, "a request to lin-kv needs a key");
        };
        let name = key.to_string();
        let field = |name: &str| request.get(name).cloned().unwrap_or(Value::Null);
        match request.get("type").and_then(Value::as_str).unwrap_or_default() {
            "read" => match self.values.get(&name) {
                Some(value) => body(json!({ "type": "read_ok", "value": value })),
                None => error(Code::KeyDoesNotExist, "key does not exist"),
            },
            "write" => {
                self.values.insert(name, field("value"));
                body(json!({ "type": "write_ok" }))
            }
            "cas" => {
                let creates = field("create_if_not_exists") == Value::Bool(true);
                match self.values.get(&name) {
                    None if !creates => error(Code::KeyDoesNotExist, "key does not exist"),
                    Some(value) if *value != field("from") => {
                        error(Code::PreconditionFailed, "the current value is another")
                    }
                    None | Some(_) => {
                        self.values.insert(name, field("to"));
                        body(json!({ "type": "cas_ok" }))
                    }
                }
            }
            other => error(Code::NotSupported, &format!("lin-kv does not know {other:?}")),
        }
    }
}

/// The body of a request, as the service takes it.
pub(crate) fn to_body(request: &Request) -> Map<String, Value> {
    body(match request {
        Request::Read { key } => json!({ "type": "read", "key": key }),
        Request::Write { key, value } => json!({ "type": "write", "key": key, "value": value }),
        Request::Cas { key, from, to, create: false } => {
            json!({ "type": "cas", "key": key, "from": from, "to": to })
        }
        Request::Cas { key, from, to, create: true } => {
            json!({ "type": "cas", "key": key, "from": from, "to": to, "create_if_not_exists": true })
        }
    })
}

/// What the body of an answer says.
pub(crate) fn from_body(answer: &Map<String, Value>) -> Answer {
    match answer.get("type").and_then(Value::as_str).unwrap_or_default() {
        "read_ok" => match answer.get("value") {
            Some(Value::String(text)) => Answer::Value(text.clone()),
            other => Answer::Refused(format!("a value that is not ours: {other:?}")),
        },
        "write_ok" | "cas_ok" => Answer::Done,
        "error" => {
            let text = answer.get("text").and_then(Value::as_str).unwrap_or_default();
            let number = answer.get("code").and_then(Value::as_u64);
            let code = number.and_then(Code::of);
            match code {
                Some(Code::KeyDoesNotExist) => Answer::Missing,
                Some(Code::PreconditionFailed) => Answer::Mismatch,
                Some(code) if code.is_definite() => {
                    Answer::Refused(format!("lin-kv says {}: {text}", code as u64))
                }
                Some(_) | None => Answer::Unknown(format!("lin-kv says {number:?}: {text}")),
            }
        }
        other => Answer::Unknown(format!("lin-kv answers {other:?}")),
    }
}

/// How often what happens to a request, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It is lost.
    pub lost: u32,
    /// It is done, and its answer is lost.
    pub answer_lost: u32,
    /// It is done twice, and the second answer is the one that arrives.
    pub repeated: u32,
    /// Nobody hears the answer, and it is done some requests later.
    pub late: u32,
}

/// A `lin-kv` in this process, with faults drawn from a seed. Answers come from a thread of their own or,
/// without faults, at once.
#[derive(Debug)]
pub struct FaultyKv {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    service: LinKv,
    faults: Faults,
    random: StdRng,
    late: Vec<(u32, Request)>,
    /// Keys that start so are done, and never answered.
    silent: Option<String>,
}

impl FaultyKv {
    /// An empty store.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            service: LinKv::default(),
            faults,
            random: StdRng::seed_from_u64(seed),
            late: Vec::new(),
            silent: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// Changes how often what happens from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// From now on requests about keys with this beginning are done and not answered; `None` ends that.
    pub fn silence(&self, prefix: Option<String>) {
        self.lock().silent = prefix;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn done(&mut self, request: &Request) -> Answer {
        from_body(&self.service.handle(&to_body(request)))
    }

    fn take(&mut self, request: &Request) -> Answer {
        for (left, _) in &mut self.late {
            *left -= 1;
        }
        let (due, later) =
            std::mem::take(&mut self.late).into_iter().partition(|(left, _)| *left == 0);
        self.late = later;
        let due: Vec<(u32, Request)> = due;
        for (_, late) in due {
            self.done(&late);
        }
        let (Request::Read { key } | Request::Write { key, .. } | Request::Cas { key, .. }) =
            request;
        if self.silent.as_ref().is_some_and(|prefix| key.starts_with(prefix)) {
            self.done(request);
            return Answer::Unknown("silenced by the test".into());
        }
        let Faults { lost, answer_lost, repeated, late } = self.faults;
        let drawn = self.random.random_range(0..1000);
        let unknown = Answer::Unknown("a fault of the test".into());
        if drawn < lost {
            unknown
        } else if drawn < lost + answer_lost {
            self.done(request);
            unknown
        } else if drawn < lost + answer_lost + repeated {
            self.done(request);
            self.done(request)
        } else if drawn < lost + answer_lost + repeated + late {
            let after = self.random.random_range(1..30);
            self.late.push((after, request.clone()));
            unknown
        } else {
            self.done(request)
        }
    }
}

impl Kv for FaultyKv {
    fn call(&self, request: Request, done: Done) {
        let answer = self.lock().take(&request);
        if matches!(answer, Answer::Unknown(_)) {
            // As a timeout does, it takes its time.
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(2));
                done(answer);
            });
        } else {
            done(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kv: &mut LinKv, request: Value) -> String {
        Value::Object(kv.handle(&body(request))).to_string()
    }

    #[test]
    fn the_service_answers_as_the_published_one() {
        let mut kv = LinKv::default();
        let missing = r#"{"type":"error","code":20,"text":"key does not exist"}"#;
        assert_eq!(ask(&mut kv, json!({"type": "read", "key": 1})), missing);
        let cas = json!({"type": "cas", "key": 1, "from": null, "to": 5});
        assert_eq!(ask(&mut kv, cas), missing);
        let create =
            json!({"type": "cas", "key": 1, "from": null, "to": 5, "create_if_not_exists": true});
        assert_eq!(ask(&mut kv, create.clone()), r#"{"type":"cas_ok"}"#);
        assert!(ask(&mut kv, create).contains(r#""code":22"#), "it exists now");
        assert_eq!(
            ask(&mut kv, json!({"type": "read", "key": 1})),
            r#"{"type":"read_ok","value":5}"#
        );
        assert_eq!(ask(&mut kv, json!({"type": "read", "key": "1"})), missing, "another key");
        assert_eq!(
            ask(&mut kv, json!({"type": "write", "key": 1, "value": [1]})),
            r#"{"type":"write_ok"}"#
        );
        let cas = json!({"type": "cas", "key": 1, "from": [1], "to": 7});
        assert_eq!(ask(&mut kv, cas), r#"{"type":"cas_ok"}"#);
        assert!(ask(&mut kv, json!({"type": "ts"})).contains(r#""code":12"#));
    }
}
