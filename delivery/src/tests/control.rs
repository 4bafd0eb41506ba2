//! Pausing, draining, determinism, and a clock that goes back.

use super::*;

#[test]
fn a_paused_delivery_sends_nothing_and_goes_on_with_what_is_out() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("a")).take(3, Some("b")).read_to(4);
    desk.sends();
    desk.step(Event::Pause).delivered(1, 1).fails(3, 1, ErrorClass::Permanent);
    assert_eq!(desk.status().paused, Some(Paused::Administrator));
    assert_eq!(desk.burials(), [(3, Cause::Permanent, 1)]);
    desk.wait(100 * S);
    assert_eq!((desk.sends(), desk.engine.mark()), (vec![], Position(2)));
    desk.step(Event::Resume);
    assert_eq!((desk.sends(), desk.status().paused), (vec![(2, 1)], None));
}

#[test]
fn draining_waits_for_what_is_in_flight_and_says_the_last_mark() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, Some("a")).take(2, Some("b")).take(3, Some("c")).take(4, Some("a")).read_to(5);
    desk.fails(2, 1, ErrorClass::Permanent);
    desk.said();
    desk.step(Event::Drain);
    assert_eq!(
        (desk.engine.room(), desk.status().paused),
        (Room::default(), Some(Paused::Draining))
    );
    desk.delivered(1, 1).fails(3, 1, ErrorClass::Permanent);
    assert_eq!(desk.said(), []);
    desk.buried(2, true);
    let mark = Position(3);
    assert_eq!(desk.said(), [Command::Mark { position: mark }, Command::Drained { mark }]);
    // Nothing more, whatever comes.
    desk.take(9, None).step(Event::Resume).wait(3_600 * S);
    assert_eq!((desk.said(), desk.engine.next_wake(), desk.engine.mark()), (vec![], None, mark));
}

#[test]
fn draining_at_rest_is_over_at_once() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, None).read_to(2).fails(1, 1, ErrorClass::Ours);
    desk.said();
    desk.step(Event::Drain);
    let mark = Position(1);
    assert_eq!(desk.said(), [Command::Mark { position: mark }, Command::Drained { mark }]);
}

#[test]
fn what_is_handed_in_while_draining_holds_the_mark() {
    let mut desk = Desk::new(|_| {});
    desk.take(1, None).step(Event::Drain).take(2, None).read_to(9);
    desk.said();
    desk.delivered(1, 1);
    let mark = Position(2);
    assert_eq!(desk.said(), [Command::Mark { position: mark }, Command::Drained { mark }]);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut desk = Desk::new(|_| {});
    desk.now_us = 100 * S;
    desk.take(1, None);
    desk.now_us = 50 * S;
    desk.fails(1, 1, ErrorClass::Transient);
    assert!(desk.engine.next_wake().is_some_and(|wake_us| wake_us > 100 * S));
    assert_eq!(desk.status().oldest_age_us, Some(0));
}

/// What an engine says to a fixed course of events with failures.
fn course(seed: u64) -> Vec<Command<u64>> {
    let mut desk = Desk::new(|config| config.seed = seed);
    let mut all = Vec::new();
    (1..=200).for_each(|position| _ = desk.take(position, Some(&format!("{}", position % 20))));
    while desk.status().held > 0 {
        let said = desk.said();
        if said.is_empty() {
            desk.wake();
        }
        for command in &said {
            match command {
                Command::Send { ticket, number, .. } => {
                    let class = [ErrorClass::Transient, OVERLOADED, ErrorClass::Permanent];
                    match ticket.position.0 % 7 {
                        kind @ 0..3 if *number < 3 => {
                            desk.fails(ticket.position.0, *number, class[kind as usize])
                        }
                        _ => desk.delivered(ticket.position.0, *number),
                    };
                }
                Command::Bury { ticket, .. } => _ = desk.buried(ticket.position.0, true),
                Command::Mark { .. } | Command::Drained { .. } => {}
            }
        }
        all.extend(said);
        all.push(Command::Mark { position: Position(desk.now_us) });
    }
    all
}

#[test]
fn the_same_seed_and_events_give_the_same_commands() {
    assert_eq!(course(5), course(5));
    assert_ne!(course(5), course(6));
}
