//! A target, a store, or whoever does what is due may have a bug that panics. What was to be sent waits then, and
//! nothing else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use wal_core::message::Message;
use wal_core::{Millis, Position, ShardId, Timestamp, TxnId};

use super::world::{LOG, NAMESPACE, PATIENCE, Scripted, TARGET, World, only, payload, until};
use crate::message::{Answer, Cause, ErrorClass, Ticket};
use crate::outgoing::{Name, Outgoing};
use crate::store::{Course, DeadLetter, LetterState};

/// A bug that the messages of one key meet.
fn panics_at(start: &'static str) -> impl Fn(&Outgoing) -> Answer + Send + Sync {
    move |outgoing| {
        let payload = payload(outgoing);
        assert!(!payload.starts_with(start), "a bug");
        Answer::Delivered
    }
}

#[tokio::test]
async fn a_target_that_panics_parks_the_key_and_a_retry_sends_it() {
    let mut world = World::new();
    for (key, payload) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")] {
        world.message(key, payload);
    }
    let target = Scripted::new(panics_at("a"));
    let delivery = world.deliver(&target);
    until("the other key goes on", || target.has_taken("b2")).await;
    until("it is parked", || world.shows("handfast_delivery_parked", 1)).await;
    let status = only(&delivery).expect("it is claimed").status;
    assert_eq!((status.parked, status.parked_keys, status.in_flight), (1, 1, 0));
    assert_eq!((status.held, target.taken()), (2, vec!["b1".into(), "b2".into()]));

    // While the bug is there a retry only tries once more; no slot of the window is lost to it.
    delivery.retry();
    world.message("b", "b3");
    until("the other key goes on", || target.has_taken("b3")).await;
    target.does(|_| Answer::Delivered);
    delivery.retry();
    until("it is sent", || target.has_taken("a2")).await;
    until("nothing is parked", || world.shows("handfast_delivery_parked", 0)).await;
    assert_eq!(target.taken(), ["b1", "b2", "b3", "a1", "a2"]);
    assert!(world.store.letters_now().is_empty(), "nothing was given up");

    // It ends in order, and whoever goes on has what was parked.
    target.does(panics_at("a"));
    world.message("a", "a3");
    until("it is parked", || only(&delivery).is_some_and(|it| it.status.parked == 1)).await;
    delivery.stop(PATIENCE).await;
    let owner = world.store.owner(TARGET).expect("it was claimed");
    assert_eq!(owner.process, None, "let go in order");
    target.does(|_| Answer::Delivered);
    let delivery = world.deliver(&target);
    until("it is sent", || target.has_taken("a3")).await;
    delivery.stop(PATIENCE).await;
}

/// A letter that is to be sent again.
fn letter(number: u64, text: &'static str) -> DeadLetter {
    let message = Message { payload: Bytes::from_static(text.as_bytes()), ..Message::default() };
    let name = Name { id: TxnId::from_parts(Millis(1_000), number.into()), index: 0 };
    DeadLetter {
        course: Course { namespace: NAMESPACE.into(), target: TARGET.into(), shard: ShardId(0) },
        name,
        log: LOG,
        ticket: Ticket { position: Position(number), index: 0 },
        timestamp: Timestamp(8),
        key: None,
        message: message.encode(),
        cause: Cause::Permanent,
        tries: 1,
        history: Vec::new(),
        buried_at: Millis(2_000),
        state: LetterState::Redriving,
    }
}

#[tokio::test]
async fn a_letter_at_which_the_target_panics_is_dead_again_and_holds_up_no_other() {
    let world = World::new();
    world.store.add(letter(1, "a1"));
    world.store.add(letter(2, "b1"));
    let target = Scripted::new(panics_at("a"));
    let delivery = world.deliver(&target);
    until("the other is sent", || target.has_taken("b1")).await;
    let told = |letters: Vec<DeadLetter>| letters.len() == 1 && letters[0].tries == 2;
    until("it is told", || told(world.store.letters_now())).await;
    let [left] = &world.store.letters_now()[..] else { panic!("the other is none any more") };
    assert_eq!((left.state, left.history.len()), (LetterState::Dead, 1));
    assert_eq!(left.history[0].class, ErrorClass::Ours);
    // The shard's letters can be sent again after that.
    world.store.add(letter(3, "b2"));
    until("the next is sent", || target.has_taken("b2")).await;
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_store_that_panics_has_failed_and_is_asked_again() {
    let mut world = World::new();
    for call in ["owners", "claim", "mark", "bury", "redriving", "redriven", "release"] {
        world.store.panics_next(call);
    }
    world.store.add(letter(1, "again"));
    world.message("a", "refused");
    world.message("a", "a1");
    let target = Scripted::new(|outgoing| match &*payload(outgoing) {
        "refused" => super::refused(),
        _ => Answer::Delivered,
    });
    let delivery = world.deliver(&target);
    until("all are dealt with", || target.has_taken("a1") && target.has_taken("again")).await;
    until(
        "one is buried, one none any more",
        || matches!(&world.store.letters_now()[..], [left] if left.state == LetterState::Dead),
    )
    .await;
    let is_marked = || world.store.owner(TARGET).is_some_and(|owner| owner.mark.is_some());
    until("a mark is stored", is_marked).await;
    delivery.stop(PATIENCE).await;
}

/// What is announced to a target that panics is delivered all the same.
#[tokio::test]
async fn a_target_that_panics_at_what_is_announced_is_sent_it() {
    struct Deaf(Arc<Scripted>, AtomicBool);
    impl crate::target::Target for Deaf {
        fn send(&self, outgoing: Outgoing) -> crate::target::Later<'_, Answer> {
            self.0.send(outgoing)
        }

        fn announce(&self, _outgoing: &Outgoing) {
            self.1.store(true, Ordering::SeqCst);
            panic!("a bug");
        }
    }
    let mut world = World::new();
    world.message("a", "a1");
    let target = Scripted::takes_all();
    let deaf = Arc::new(Deaf(Arc::clone(&target), AtomicBool::new(false)));
    let delivery = world.deliver_to(Arc::clone(&deaf) as _, World::picks());
    until("it is sent", || target.has_taken("a1")).await;
    assert!(deaf.1.load(Ordering::SeqCst));
    delivery.stop(PATIENCE).await;
}
