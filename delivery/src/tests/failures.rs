//! What is done about each class of failure, and the dead letters.

use super::*;

#[test]
fn a_transient_failure_is_tried_again_with_growing_pauses_and_then_buried() {
    let mut desk = Desk::new(|config| config.retry.max_tries = 6);
    desk.take(1, Some("a"));
    let mut pauses = Vec::new();
    for number in 1..=6 {
        assert_eq!(desk.sends(), [(1, number)]);
        desk.fails(1, number, ErrorClass::Transient);
        if number < 6 {
            pauses.push(desk.wake());
        }
    }
    assert_eq!(desk.burials(), [(1, Cause::TriesExhausted, 6)]);
    for (pause, most_ms) in pauses.iter().zip([200, 400, 800, 1_600, 1_600]) {
        assert!((100 * MS..=most_ms * MS).contains(pause), "{pauses:?}");
    }
}

#[test]
fn pauses_differ_from_message_to_message() {
    let mut desk = Desk::new(|config| config.window.initial = 200);
    (1..=200).for_each(|position| _ = desk.take(position, None));
    for (position, number) in desk.sends() {
        desk.fails(position, number, ErrorClass::Transient);
    }
    let mut wakes = 0;
    while desk.status().backing_off > 0 {
        desk.wake();
        wakes += 1;
    }
    assert!(wakes > 150, "{wakes}");
}

#[test]
fn a_message_that_is_too_old_is_buried() {
    let mut desk = Desk::new(|config| config.retry.max_age_us = Some(50 * MS));
    desk.take(1, None);
    desk.fails(1, 1, ErrorClass::Transient).wake();
    desk.fails(1, 2, ErrorClass::Transient);
    assert_eq!(desk.burials(), [(1, Cause::TooOld, 2)]);
}

#[test]
fn waiting_before_the_first_try_is_not_age() {
    let mut desk = Desk::new(|config| config.retry.max_age_us = Some(50 * MS));
    desk.step(Event::Pause).take(1, None).wait(100 * S).step(Event::Resume);
    desk.fails(1, 1, ErrorClass::Transient);
    assert_eq!((desk.burials(), desk.status().backing_off), (vec![], 1));
}

#[test]
fn a_permanent_failure_is_buried_at_once_with_what_was_said() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a"));
    desk.sends();
    desk.fails(1, 1, ErrorClass::Permanent);
    let said = desk.said();
    let [Command::Bury { ticket: buried, key, payload, cause, history }] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!((*buried, *payload, *cause), (ticket(1), 1, Cause::Permanent));
    assert_eq!(key.as_deref(), Some(&b"a"[..]));
    let kept: Vec<&Try> = history.kept().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].number, kept[0].class, &*kept[0].text),
        (1, ErrorClass::Permanent, "because")
    );
    assert_eq!(kept[0].at.0, 1_700_000_001_000);
}

#[test]
fn an_overload_slows_everything_and_one_try_probes() {
    let mut desk = Desk::new(|config| config.window.initial = 8);
    (1..=30).for_each(|position| _ = desk.take(position, None));
    let sent = desk.sends();
    assert_eq!(sent.len(), 8);
    for (position, number) in sent {
        desk.fails(position, number, OVERLOADED);
    }
    assert_eq!(desk.sends(), []);
    assert!(matches!(desk.status().paused, Some(Paused::Overloaded { .. })));
    // Retries fall due meanwhile, and wait as well.
    while desk.sends().is_empty() {
        desk.wake();
    }
    assert_eq!((desk.status().in_flight, desk.status().window, desk.status().paused), (1, 1, None));
}

#[test]
fn overloads_do_not_count_as_tries() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a"));
    for number in 1..=50 {
        assert_eq!(desk.sends(), [(1, number)]);
        desk.fails(1, number, OVERLOADED);
        while desk.status().in_flight == 0 {
            desk.wake();
        }
    }
    desk.delivered(1, 51);
    assert_eq!((desk.status().delivered, desk.status().retried), (1, 50));
}

#[test]
fn overloads_may_be_bounded_by_age() {
    let mut desk = Desk::new(|config| config.retry.max_overloaded_age_us = Some(S));
    desk.take(1, Some("a"));
    let mut number = 0;
    while desk.status().condemned == 0 {
        for (position, sent) in desk.sends() {
            number = sent;
            desk.fails(position, sent, OVERLOADED);
        }
        if desk.status().condemned == 0 {
            desk.wake();
        }
    }
    assert_eq!(desk.burials(), [(1, Cause::TooOld, number)]);
}

#[test]
fn what_the_target_asks_for_is_waited_out() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, None).take(2, None).take(3, None);
    desk.sends();
    desk.fails(1, 1, ErrorClass::Overloaded { retry_after_us: Some(20 * S) });
    desk.wait(20 * S - 1);
    assert_eq!(desk.sends(), []);
    desk.delivered(2, 1).delivered(3, 1).wait(1);
    assert_eq!(desk.sends(), [(1, 2)]);
}

#[test]
fn a_message_that_always_overloads_does_not_keep_the_others_from_probing() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("poison"));
    (2..=40).for_each(|position| _ = desk.take(position, None));
    let begin_us = desk.now_us;
    while desk.status().delivered < 39 {
        for (position, number) in desk.sends() {
            if position == 1 {
                desk.fails(position, number, OVERLOADED);
            } else {
                desk.delivered(position, number);
            }
        }
        if desk.status().delivered < 39 && desk.said.is_empty() {
            desk.wake();
        }
    }
    assert!(desk.now_us - begin_us < 10 * S, "{}", desk.now_us - begin_us);
}

#[test]
fn a_fault_of_ours_parks_its_key_and_is_never_buried() {
    let mut desk = Desk::new(|config| config.retry.max_age_us = Some(S));
    desk.take(1, Some("a")).take(2, Some("a")).take(3, Some("b"));
    for number in 1..=20 {
        assert!(desk.sends().contains(&(1, number)));
        desk.fails(1, number, ErrorClass::Ours);
        assert_eq!((desk.status().parked, desk.status().parked_keys), (1, 1));
        desk.wait(3_600 * S);
    }
    desk.said();
    desk.delivered(1, 21);
    assert_eq!(desk.sends(), [(2, 1)]);
}

#[test]
fn what_is_parked_is_tried_on_request() {
    let mut desk = Desk::new(|_| {});
    (1..=3).for_each(|position| _ = desk.take(position, None));
    desk.sends();
    (1..=3).for_each(|position| _ = desk.fails(position, 1, ErrorClass::Ours));
    desk.step(Event::Retry(Which::One(ticket(2)))).step(Event::Retry(Which::One(ticket(9))));
    assert_eq!(desk.sends(), [(2, 2)]);
    desk.step(Event::Retry(Which::All));
    assert_eq!(desk.sends(), [(1, 2), (3, 2)]);
}

#[test]
fn refused_dead_letters_pause_the_target_and_are_not_lost() {
    let mut desk = Desk::new(|_| {});
    (1..=4).for_each(|position| _ = desk.take(position, Some(&format!("{position}"))));
    (1..=3).for_each(|position| _ = desk.fails(position, 1, ErrorClass::Permanent));
    desk.said();
    (1..=3).for_each(|position| _ = desk.buried(position, false));
    desk.delivered(4, 1).take(5, None);
    assert_eq!((desk.sends(), desk.status().paused), (vec![], Some(Paused::DeadLetters)));
    // One at a time asks whether the store takes anything again, with growing pauses.
    for _ in 0..10 {
        let pause = desk.wake();
        assert!((1..=60 * S).contains(&pause));
        let burials = desk.burials();
        assert_eq!(burials.len(), 1);
        desk.buried(burials[0].0, false);
    }
    desk.wake();
    let probe = desk.burials()[0].0;
    desk.buried(probe, true);
    assert_eq!(desk.status().paused, None);
    let said = desk.said();
    assert_eq!(said.iter().filter(|command| matches!(command, Command::Bury { .. })).count(), 2);
    assert!(said.iter().any(|command| matches!(command, Command::Send { .. })));
}

#[test]
fn dead_letters_can_be_tried_on_request() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, None).fails(1, 1, ErrorClass::Permanent).buried(1, false);
    desk.said();
    desk.step(Event::Retry(Which::All));
    assert_eq!(desk.burials(), [(1, Cause::Permanent, 1)]);
}

#[test]
fn a_refusal_with_nothing_left_to_bury_ends() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, None).take(2, None).fails(1, 1, ErrorClass::Permanent).buried(1, false);
    desk.delivered(2, 1).take(3, None);
    desk.said();
    desk.step(Event::Discard { ticket: ticket(1) });
    assert_eq!(desk.status().paused, Some(Paused::DeadLetters));
    desk.wake();
    assert_eq!((desk.sends(), desk.status().paused), (vec![(3, 1)], None));
}

#[test]
fn only_so_many_dead_letters_are_on_their_way() {
    let mut desk = Desk::new(|config| config.burial.most_at_once = 2);
    (1..=5).for_each(|position| _ = desk.take(position, None));
    desk.said();
    (1..=5).for_each(|position| _ = desk.fails(position, 1, ErrorClass::Permanent));
    assert_eq!(desk.burials().len(), 2);
    desk.buried(1, true);
    assert_eq!(desk.burials(), [(3, Cause::Permanent, 1)]);
}

#[test]
fn discarding_lets_the_key_go_on() {
    let mut desk = Desk::new(|_| {});
    (1..=4).for_each(|position| _ = desk.take(position, Some("a")));
    desk.sends();
    desk.step(Event::Discard { ticket: ticket(2) }).step(Event::Discard { ticket: ticket(3) });
    desk.fails(1, 1, ErrorClass::Ours);
    assert_eq!(desk.sends(), []);
    desk.step(Event::Discard { ticket: ticket(1) });
    assert_eq!((desk.sends(), desk.status().discarded), (vec![(4, 1)], 3));
    // What is in flight may still arrive.
    desk.step(Event::Discard { ticket: ticket(4) });
    assert_eq!(desk.status().held, 1);
    desk.fails(4, 1, ErrorClass::Transient);
    assert_eq!((desk.status().held, desk.status().discarded), (0, 4));
}
