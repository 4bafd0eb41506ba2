//! A namespace as a target passes the suite of all targets, in front of an engine that takes, refuses or hangs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::target::conformance::{self, Arrival, Bench, Mood};
use delivery::target::{Later, Target};
use delivery::{Answer, ErrorClass, Failure, Outgoing};
use tokio::sync::Notify;
use wal_core::message::{Message, messages_of};
use wal_core::{Fingerprint, ShardId, Transaction, TxnId};

use super::fake::{FakeBackend, committed};
use crate::api::{self, Call, CallAnswer};
use crate::service::Chained;

/// As the runtime allows a try, which knows the deadline.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the other namespace has, and does.
#[derive(Default)]
struct There {
    state: Mutex<State>,
    arrives: Notify,
    hangs: Notify,
}

#[derive(Default)]
struct State {
    mood: Option<Mood>,
    /// By id: what repeats are told by.
    known: BTreeMap<TxnId, Fingerprint>,
    /// Was promised, and is not decided.
    hanging: Vec<Arc<Transaction>>,
    arrived: Vec<(TxnId, Message)>,
}

impl State {
    /// Commits once.
    fn commit(&mut self, txn: &Transaction) -> api::Answer {
        match self.known.insert(txn.id, txn.fingerprint) {
            None => {
                let rows = txn.parts.iter().flat_map(|(_, part)| part.iter());
                let messages = messages_of(rows).map(|found| found.expect("it was built").1);
                self.arrived.extend(messages.map(|message| (txn.id, message)));
            }
            Some(known) if known == txn.fingerprint => {}
            Some(known) => {
                self.known.insert(txn.id, known);
                return api::Answer::IdReused;
            }
        }
        committed(txn)
    }
}

impl There {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_call(&self, call: &Call) -> Option<CallAnswer> {
        let Call::Submit { txn, .. } = call else { panic!("only messages are written: {call:?}") };
        let mut state = self.state();
        let answer = match state.mood {
            None | Some(Mood::Takes) => state.commit(txn),
            Some(Mood::Away) => api::Answer::Unavailable { shard: ShardId(3) },
            Some(Mood::Hangs) => {
                state.hanging.push(Arc::clone(txn));
                self.hangs.notify_one();
                return None;
            }
        };
        self.arrives.notify_one();
        Some(CallAnswer::Submit(answer))
    }

    /// What hung is driven on, whoever still waits for it.
    fn turn(&self, mood: Mood) {
        let mut state = self.state();
        state.mood = Some(mood);
        if mood == Mood::Takes {
            for txn in std::mem::take(&mut state.hanging) {
                state.commit(&txn);
            }
            self.arrives.notify_one();
        }
    }
}

/// The target, and by which ids its messages are known there.
struct Named {
    chained: Chained,
    names: Mutex<BTreeMap<TxnId, String>>,
}

impl Target for Named {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        let id = self.chained.id_of(outgoing.name);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let name = outgoing.name.to_string();
        let known = names.insert(id, name.clone()).is_none_or(|known| known == name);
        assert!(known, "two messages have one id");
        Box::pin(async move {
            let sending = tokio::time::timeout(TIMEOUT, self.chained.send(outgoing));
            sending.await.unwrap_or_else(|_| {
                let text = "no answer in time".into();
                Answer::Failed(Failure { class: ErrorClass::Transient, text })
            })
        })
    }
}

struct ChainedBench {
    target: Named,
    there: Arc<There>,
}

impl Bench for ChainedBench {
    fn target(&self) -> &dyn Target {
        &self.target
    }

    fn arrived(&self) -> Later<'_, Vec<Arrival>> {
        Box::pin(async {
            loop {
                let arrived = std::mem::take(&mut self.there.state().arrived);
                if arrived.is_empty() {
                    self.there.arrives.notified().await;
                    continue;
                }
                let names = self.target.names.lock().unwrap_or_else(PoisonError::into_inner);
                let one = |(id, message): (TxnId, Message)| Arrival {
                    name: names.get(&id).expect("an id that was made from a name").clone(),
                    namespace: String::new(),
                    shard: String::new(),
                    timestamp_us: String::new(),
                    key: message.key,
                    content_type: message.content_type,
                    headers: message.headers,
                    payload: message.payload,
                };
                return arrived.into_iter().map(one).collect();
            }
        })
    }

    fn turn(&self, mood: Mood) -> Later<'_, ()> {
        self.there.turn(mood);
        Box::pin(async {})
    }

    fn hangs(&self) -> Later<'_, ()> {
        Box::pin(self.there.hangs.notified())
    }

    /// What was logged is driven on: it may still arrive.
    fn ended(&self) -> Option<Later<'_, ()>> {
        None
    }

    fn unacceptable(&self) -> Message {
        Message { payload: vec![7; 5 << 20].into(), ..Message::default() }
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new() // it needs none
    }

    fn has_a_place_for_origins(&self) -> bool {
        false
    }
}

fn bench() -> ChainedBench {
    let there = Arc::new(There::default());
    let engine = Arc::clone(&there);
    let backend = Arc::new(FakeBackend::new(move |call| engine.on_call(call)));
    let chained = Chained::new(backend, "audit".to_owned(), "bank".to_owned(), Vec::new());
    ChainedBench { target: Named { chained, names: Mutex::default() }, there }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_holds() {
    conformance::run(&bench()).await;
}

#[tokio::test]
async fn a_namespace_that_is_not_served_here_is_away() {
    let backend = Arc::new(FakeBackend::new(|_| None));
    let chained = Chained::new(backend, "audit".to_owned(), "nobody".to_owned(), Vec::new());
    let outgoing = Outgoing {
        namespace: "bank".into(),
        shard: ShardId(1),
        name: delivery::Name { id: super::fake::id(1), index: 0 },
        timestamp: wal_core::Timestamp(8),
        message: Arc::default(),
    };
    let answer = chained.send(outgoing).await;
    let Answer::Failed(failure) = answer else { panic!("nobody has it") };
    assert!(matches!(failure.class, ErrorClass::Overloaded { .. }), "{failure:?}");
    assert!(failure.text.contains("\"nobody\" is not served here"), "{failure:?}");
}
