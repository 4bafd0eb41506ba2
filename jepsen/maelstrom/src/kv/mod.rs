//! Maelstrom's `lin-kv` service as a client sees it, and the two ways to reach one.

pub mod memory;
pub mod remote;

use std::sync::mpsc;

/// A request. Values are text: everything that is kept there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The value of a key.
    Read {
        /// Which.
        key: String,
    },
    /// Sets a key, whatever it was.
    Write {
        /// Which.
        key: String,
        /// To what.
        value: String,
    },
    /// Sets a key whose value is `from`.
    Cas {
        /// Which.
        key: String,
        /// Its value; `None` matches no value that is ever kept, so that with `create` the key is made or
        /// left alone.
        from: Option<String>,
        /// To what.
        to: String,
        /// Makes the key if it is missing (`create_if_not_exists`).
        create: bool,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a read.
    Value(String),
    /// To a write or a compare-and-set: done.
    Done,
    /// Error 20: there is no such key.
    Missing,
    /// Error 22: the value is another.
    Mismatch,
    /// No answer, or an indefinite error: it may have happened, or may yet happen.
    Unknown(String),
    /// Any other definite error: it did not happen.
    Refused(String),
}

/// Called once with the answer, from any thread. It must not block.
pub type Done = Box<dyn FnOnce(Answer) + Send>;

/// A linearizable key-value store, reached by messages that may be lost or late.
pub trait Kv: Send + Sync {
    /// Sends a request; returns at once. `done` may be called before it returns.
    fn call(&self, request: Request, done: Done);
}

/// Sends requests at once and waits for all answers, in the order of the requests.
pub fn call_all(kv: &dyn Kv, requests: Vec<Request>) -> Vec<Answer> {
    let (send, receive) = mpsc::channel();
    let count = requests.len();
    for (index, request) in requests.into_iter().enumerate() {
        let send = send.clone();
        // Whoever waits may have been unwound by a panic.
        kv.call(request, Box::new(move |answer| drop(send.send((index, answer)))));
    }
    drop(send);
    let mut answers = vec![Answer::Unknown("nobody answered".into()); count];
    for (index, answer) in receive {
        answers[index] = answer;
    }
    answers
}

/// Sends one request and waits for its answer.
pub fn call(kv: &dyn Kv, request: Request) -> Answer {
    call_all(kv, vec![request]).pop().expect("an answer for each request")
}
