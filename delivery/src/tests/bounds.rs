//! Room, the mark, status.

use super::*;

#[test]
fn room_is_what_was_not_taken() {
    let mut desk = Desk::new(|config| (config.max_messages, config.max_bytes) = (3, 25));
    assert_eq!(desk.engine.room(), Room { messages: 3, bytes: 25 });
    desk.take(1, Some("a")).take(2, Some("a"));
    assert_eq!(desk.engine.room(), Room { messages: 1, bytes: 5 });
    // The last one may exceed the bytes; what comes beyond is not lost either.
    desk.take(3, Some("a")).take(4, Some("a"));
    assert_eq!(desk.engine.room(), Room { messages: 0, bytes: 0 });
    assert!(desk.engine.room().is_full());
    (1..=4).for_each(|position| _ = desk.delivered(position, 1));
    assert_eq!(desk.engine.room(), Room { messages: 3, bytes: 25 });
}

#[test]
fn what_comes_again_or_out_of_order_is_not_taken() {
    let mut desk = Desk::new(|_| {});
    desk.take(5, None).take(5, None).take(4, None).read_to(7).take(6, None);
    assert_eq!((desk.status().held, desk.status().ignored), (1, 3));
    desk.take(7, None);
    assert_eq!(desk.status().held, 2);
}

#[test]
fn an_engine_takes_nothing_before_its_start() {
    let mut engine: Engine<u64> = Engine::new(DeliveryConfig::new(1), Position(10));
    let mut said = Vec::new();
    engine.step(at(1), Event::Take(message(ticket(9), None)), &mut said);
    assert_eq!((said.len(), engine.mark()), (0, Position(10)));
    engine.step(at(1), Event::Take(message(ticket(10), None)), &mut said);
    assert_eq!((said.len(), engine.mark()), (1, Position(10)));
}

#[test]
fn the_mark_stops_at_the_first_message_that_is_held() {
    let mut desk = Desk::new(|_| {});
    desk.take(3, None).take(5, None).read_to(9);
    assert_eq!(desk.engine.mark(), Position(3));
    desk.delivered(5, 1);
    assert_eq!(desk.engine.mark(), Position(3));
    desk.delivered(3, 1);
    assert_eq!(desk.engine.mark(), Position(9));
}

#[test]
fn the_mark_does_not_pass_a_record_that_may_have_more_messages() {
    let mut desk = Desk::new(|_| {});
    desk.take(3, None).delivered(3, 1);
    assert_eq!(desk.engine.mark(), Position(3));
    let second = Ticket { position: Position(3), index: 1 };
    desk.step(Event::Take(message(second, None))).read_to(4);
    assert_eq!(desk.engine.mark(), Position(3));
    desk.step(Event::Answered { ticket: second, number: 1, answer: Answer::Delivered });
    assert_eq!(desk.engine.mark(), Position(4));
}

#[test]
fn the_mark_is_said_every_so_often_and_only_if_it_moved() {
    let mut desk = Desk::new(|config| {
        (config.mark.every_messages, config.mark.interval_us) = (3, 10 * S);
    });
    desk.step(Event::Tick).read_to(5);
    assert_eq!(desk.marks(), [0; 0]);
    assert_eq!((desk.wake(), desk.marks()), (10 * S, vec![5]));
    desk.wait(100 * S);
    assert_eq!((desk.marks(), desk.engine.next_wake()), (vec![], None));
    // Long after the last, it is said at once.
    desk.read_to(6);
    assert_eq!(desk.marks(), [6]);
    for position in 6..=8 {
        desk.take(position, None).read_to(position + 1);
        assert_eq!(desk.marks(), [0; 0]);
        desk.delivered(position, 1);
    }
    assert_eq!(desk.marks(), [9]);
}

#[test]
fn status_tells_where_messages_are() {
    let mut desk = Desk::new(|config| config.window.initial = 5);
    let keys = ["a", "a", "b", "c", "d", "e", "f"];
    for (position, key) in (1..).zip(keys) {
        desk.take(position, Some(key));
    }
    desk.wait(S);
    desk.delivered(7, 1);
    desk.fails(3, 1, ErrorClass::Transient).fails(4, 1, ErrorClass::Ours).fails(
        5,
        1,
        ErrorClass::Permanent,
    );
    let status = desk.status();
    assert_eq!((status.held, status.held_bytes, status.keys), (7, 70, 6));
    assert_eq!((status.waiting, status.in_flight), (1, 3));
    assert_eq!((status.backing_off, status.parked, status.condemned), (1, 1, 1));
    assert_eq!((status.parked_keys, status.window, status.mark), (3, 5, Position(1)));
    assert_eq!((status.oldest_age_us, status.paused), (Some(S), None));
    desk.buried(5, true).delivered(7, 1).delivered(6, 1);
    let status = desk.status();
    assert_eq!((status.delivered, status.buried, status.retried), (2, 1, 0));
    assert_eq!((status.held, status.keys), (4, 3));
}

#[test]
fn an_idle_engine_wants_nothing() {
    let mut desk = Desk::new(|_| {});
    desk.step(Event::Tick);
    assert_eq!((desk.engine.next_wake(), desk.said().len()), (None, 0));
    assert_eq!(desk.status().oldest_age_us, None);
}
