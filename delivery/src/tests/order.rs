//! Order per key, and the independence of keys.

use super::*;

#[test]
fn two_messages_of_a_key_are_never_in_flight_together() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a")).take(3, Some("b"));
    assert_eq!(desk.sends(), [(1, 1), (3, 1)]);
    desk.delivered(1, 1);
    assert_eq!(desk.sends(), [(2, 1)]);
}

#[test]
fn messages_without_a_key_wait_for_nobody() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, None).take(2, None).take(3, None);
    assert_eq!(desk.sends(), [(1, 1), (2, 1), (3, 1)]);
}

#[test]
fn messages_of_one_record_are_ordered_by_their_index() {
    let mut desk = Desk::new(|_| {});
    for index in 0..3 {
        let ticket = Ticket { position: Position(4), index };
        desk.step(Event::Take(message(ticket, Some("a"))));
    }
    for index in 0..3 {
        let ticket = Ticket { position: Position(4), index };
        assert!(
            matches!(&desk.said()[..], [Command::Send { ticket: sent, .. }] if *sent == ticket)
        );
        desk.step(Event::Answered { ticket, number: 1, answer: Answer::Delivered });
    }
}

#[test]
fn a_key_waits_for_the_retry_of_its_head_and_others_go_on() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a")).take(3, Some("b"));
    desk.sends();
    desk.fails(1, 1, ErrorClass::Transient).delivered(3, 1).take(4, Some("b"));
    assert_eq!(desk.sends(), [(4, 1)]);
    assert_eq!((desk.status().parked_keys, desk.status().backing_off), (1, 1));
    desk.wake();
    assert_eq!(desk.sends(), [(1, 2)]);
    desk.delivered(1, 2);
    assert_eq!(desk.sends(), [(2, 1)]);
}

#[test]
fn a_key_waits_until_the_dead_letter_is_durable() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a"));
    desk.sends();
    desk.fails(1, 1, ErrorClass::Permanent);
    assert_eq!(desk.burials(), [(1, Cause::Permanent, 1)]);
    desk.wait(3_600 * S);
    assert_eq!((desk.sends(), desk.engine.mark()), (vec![], Position(1)));
    desk.buried(1, true);
    assert_eq!((desk.sends(), desk.engine.mark()), (vec![(2, 1)], Position(2)));
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a"));
    desk.delivered(9, 1).buried(9, true).buried(1, true).fails(2, 1, ErrorClass::Permanent);
    desk.delivered(2, 0).delivered(2, 1).delivered(1, 7).delivered(1, 0);
    assert_eq!(desk.sends(), [(1, 1)]);
    desk.delivered(1, 1).delivered(1, 1).fails(1, 1, ErrorClass::Permanent);
    assert_eq!((desk.sends(), desk.status().delivered), (vec![(2, 1)], 1));
}

#[test]
fn a_failure_told_twice_is_one_failure() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a"));
    for _ in 0..10 {
        desk.fails(1, 1, ErrorClass::Transient);
    }
    desk.wake();
    desk.fails(1, 1, ErrorClass::Permanent);
    assert_eq!(desk.sends(), [(1, 1), (1, 2)]);
    assert_eq!(desk.status().in_flight, 1);
}

#[test]
fn an_earlier_try_that_delivered_after_all_saves_the_retry() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a"));
    desk.fails(1, 1, ErrorClass::Transient).delivered(1, 1);
    assert_eq!(desk.sends(), [(1, 1), (2, 1)]);
    assert_eq!(desk.engine.next_wake().map(|wake_us| wake_us >= desk.now_us), Some(true));
    desk.wait(10 * S);
    assert_eq!(desk.sends(), []);
}

#[test]
fn an_earlier_try_that_delivered_does_not_let_the_key_overtake_the_later_try() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a"));
    desk.fails(1, 1, ErrorClass::Transient).wake();
    desk.said();
    desk.delivered(1, 1);
    assert_eq!((desk.sends(), desk.status().in_flight), (vec![], 1));
    // However the later try ends, the message has arrived.
    desk.fails(1, 2, ErrorClass::Permanent);
    assert_eq!((desk.sends(), desk.status().delivered), (vec![(2, 1)], 1));
}

#[test]
fn a_hot_key_is_delivered_in_linear_time() {
    const MESSAGES: u64 = 100_000;
    let mut desk = Desk::new(|config| config.max_messages = 100_000);
    for position in 1..=MESSAGES {
        desk.take(position, Some("hot"));
    }
    assert!(desk.engine.room().is_full());
    for position in 1..=MESSAGES {
        assert_eq!(desk.sends(), [(position, 1)]);
        desk.delivered(position, 1);
    }
    assert_eq!((desk.status().held, desk.status().keys), (0, 0));
}

/// Delivers 2,000 messages of 100 keys at 1 ms each, one in four of them of a key that always fails; how long the
/// others took.
fn delivered_beside_a_failing_key(failing: bool) -> u64 {
    let mut desk = Desk::new(|config| {
        config.window.initial = 1;
        config.window.ceiling = 1;
        config.retry.pauses = Pauses { first_us: MS, longest_us: 2 * MS };
        config.retry.max_tries = u32::MAX;
        config.retry.max_age_us = None;
    });
    for position in 1..=2_000 {
        let key = if position % 4 == 0 { "bad".into() } else { format!("good {}", position % 100) };
        desk.take(position, Some(&key));
    }
    let mut left = 1_500;
    while left > 0 {
        desk.now_us += MS;
        let sends = desk.sends();
        assert!(sends.len() <= 1, "the window is one");
        if sends.is_empty() {
            desk.step(Event::Tick);
        }
        for (position, number) in sends {
            let bad = position % 4 == 0;
            left -= u64::from(!bad);
            if bad && failing {
                desk.fails(position, number, ErrorClass::Transient);
            } else {
                desk.delivered(position, number);
            }
        }
    }
    desk.now_us - S
}

#[test]
fn a_key_that_always_fails_does_not_delay_the_others_beyond_its_turns() {
    let (healthy, failing) =
        (delivered_beside_a_failing_key(false), delivered_beside_a_failing_key(true));
    // With retries due all the time, every other slot at most is theirs.
    assert!(failing <= 2 * 1_500 * MS + 10 * MS, "{failing}");
    assert!(healthy >= 1_500 * MS);
}

#[test]
fn a_thousand_failing_keys_take_every_other_slot_at_most() {
    let mut desk = Desk::new(|config| {
        config.window.initial = 1;
        config.window.ceiling = 1;
        config.retry.pauses = Pauses { first_us: 1, longest_us: 1 };
        config.retry.max_tries = u32::MAX;
    });
    for position in 1..=2_000 {
        desk.take(position, Some(&format!("{position}")));
    }
    let (mut good, mut turns) = (0, 0);
    while good < 1_000 {
        desk.now_us += 10;
        turns += 1;
        for (position, number) in desk.sends() {
            if position <= 1_000 {
                desk.fails(position, number, ErrorClass::Transient);
            } else {
                good += 1;
                desk.delivered(position, number);
            }
        }
    }
    // The thousand first tries of the failing ones, then turns.
    assert!(turns <= 2 * 2_000 + 10, "{turns}");
}
