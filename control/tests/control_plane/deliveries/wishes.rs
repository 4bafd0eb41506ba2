//! What is to become of dead letters, and what became of them.

use delivery::{
    Course, DeadLetter, ErrorClass, LetterState, Mark, Redriven, Selection, Store, Ticket, Try,
    Wish,
};
use wal_core::{Nonce, Position};

use super::{
    LOG, OTHER_LOG, all, assert_counted, buried, claimed, claimed_again, course, failed, letter,
    mark, name, named, ticket,
};
use crate::database::Database;

/// A letter of another log.
fn of_log(log: Nonce, letter: DeadLetter) -> DeadLetter {
    DeadLetter { log, ..letter }
}

pub(crate) async fn letters_that_are_to_be_redriven_are_told_by_course_and_ticket(
    database: Database,
) {
    let control = database.open().await;
    let courses = [course("orders", 0), course("orders", 1), course("mails", 0)];
    for it in &courses {
        claimed(&control, it).await;
    }
    // Buried in another order than that of their tickets, which are not those of their names either.
    let tickets = [(7, 2), (3, 10), (7, 0), (100, 0), (3, 2)];
    let mut letters = Vec::new();
    for (number, (position, index)) in (0..).zip(tickets) {
        let letter = DeadLetter { ticket: ticket(position, index), ..letter(&courses[0], number) };
        buried(&control, &letter, 1).await;
        letters.push(letter);
    }
    // Positions of an older log say nothing beside those of this one: they come first.
    let old = of_log(Nonce(1), letter(&courses[0], 500));
    buried(&control, &old, 1).await;
    letters.push(old);
    let others = [letter(&courses[1], 1_000), letter(&courses[2], 1_001)];
    for it in &others {
        buried(&control, it, 1).await;
    }
    assert_eq!(control.redriving(courses[0].clone(), 100).await, Ok(vec![]), "nobody wishes it");

    assert_eq!(control.wish("bank", Selection::default(), Wish::Redrive).await, Ok(8));
    assert_eq!(control.wish("bank", Selection::default(), Wish::Redrive).await, Ok(0), "it is");
    letters.sort_by_key(|letter| (letter.log.0, letter.ticket));
    letters.iter_mut().for_each(|letter| letter.state = LetterState::Redriving);
    assert_eq!(control.redriving(courses[0].clone(), 100).await.expect("some"), letters);
    assert_eq!(control.redriving(courses[0].clone(), 2).await.expect("some"), letters[..2]);
    for (course, other) in courses[1..].iter().zip(others) {
        let expected = DeadLetter { state: LetterState::Redriving, ..other };
        assert_eq!(control.redriving(course.clone(), 9).await.expect("one"), [expected]);
    }
    control.close().await;
    let control = database.open().await;
    assert_eq!(control.redriving(courses[0].clone(), 100).await.expect("some"), letters);
}

pub(crate) async fn a_wish_is_cancelled_as_long_as_nothing_came_of_it(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let letters = [1, 2, 3].map(|number| letter(&orders, number));
    for it in &letters {
        buried(&control, it, 1).await;
    }
    let any = Selection::default;
    assert_eq!(control.wish("bank", any(), Wish::Cancel).await, Ok(0), "nothing was wished");
    assert_eq!(control.wish("bank", any(), Wish::Redrive).await, Ok(3));
    assert_eq!(control.wish("bank", named(&[name(1, 0)]), Wish::Cancel).await, Ok(1));
    assert_eq!(control.redriving(orders.clone(), 9).await.expect("the others").len(), 2);
    control.redriven(orders.clone(), 1, name(2, 0), Redriven::Delivered).await.expect("told");
    assert_eq!(control.wish("bank", any(), Wish::Cancel).await, Ok(1), "one was delivered");
    assert_eq!(all(&control).await, [letters[0].clone(), letters[2].clone()]);
    // One that was under way when it was cancelled may still be delivered.
    control.redriven(orders, 1, name(3, 0), Redriven::Delivered).await.expect("told");
    assert_eq!(all(&control).await, [letters[0].clone()]);
}

pub(crate) async fn a_redriven_letter_that_was_delivered_is_gone_and_settled(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let letters = [4, 5, 6].map(|number| letter(&orders, number));
    for it in &letters {
        buried(&control, it, 1).await;
    }
    control.mark(vec![(orders.clone(), 1, mark(5))]).await.expect("stored");
    control.wish("bank", Selection::default(), Wish::Redrive).await.expect("wished");
    for _ in 0..2 {
        for it in &letters[..2] {
            let how = Redriven::Delivered;
            control.redriven(orders.clone(), 1, it.name, how).await.expect("told");
        }
    }
    // Of another course nothing is told by this one.
    let other = course("orders", 1);
    claimed(&control, &other).await;
    control.redriven(other, 1, letters[2].name, Redriven::Delivered).await.expect("nothing to do");
    let left = DeadLetter { state: LetterState::Redriving, ..letters[2].clone() };
    assert_eq!(all(&control).await, [left]);
    control.close().await;
    let claim = claimed_again(&database.open().await, &orders).await;
    // The first was before the mark already.
    assert_eq!(claim.settled, [letters[1].ticket, letters[2].ticket]);
}

pub(crate) async fn a_redriven_letter_that_failed_is_dead_with_one_more_try(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let first = letter(&orders, 1);
    buried(&control, &first, 1).await;
    control.wish("bank", Selection::default(), Wish::Redrive).await.expect("wished");
    let fish = Try {
        class: ErrorClass::Overloaded { retry_after_us: Some(7) },
        ..failed(1, "noch einmal \u{1f41f}\0")
    };
    let told = Redriven::Failed(fish.clone());
    control.redriven(orders.clone(), 1, first.name, told.clone()).await.expect("told");
    let mut expected = DeadLetter { tries: 3, ..first.clone() };
    expected.history.push(fish);
    assert_eq!(all(&control).await, [expected.clone()]);
    assert_eq!(control.redriving(orders.clone(), 9).await, Ok(vec![]));
    assert_eq!(claimed_again(&control, &orders).await.settled, [first.ticket]);

    // Said again, because the answer was lost, it changes nothing: not what was wished since either.
    control.wish("bank", Selection::default(), Wish::Redrive).await.expect("wished");
    control.redriven(orders.clone(), 2, first.name, told).await.expect("told");
    expected.state = LetterState::Redriving;
    assert_eq!(all(&control).await, [expected.clone()]);
    let last = failed(1, "and again");
    let told = Redriven::Failed(last.clone());
    control.redriven(orders.clone(), 2, first.name, told.clone()).await.expect("told");
    expected.history.push(last);
    let expected = DeadLetter { tries: 4, state: LetterState::Dead, ..expected };
    assert_eq!(all(&control).await, [expected]);

    // Of one that was discarded meanwhile nothing comes back.
    control.wish("bank", Selection::default(), Wish::Discard).await.expect("wished");
    control.redriven(orders.clone(), 2, first.name, told).await.expect("nothing to do");
    control.redriven(orders, 2, name(9, 9), Redriven::Delivered).await.expect("nothing to do");
    assert_eq!(all(&control).await, []);
}

pub(crate) async fn a_history_keeps_its_first_and_last_tries(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let first = letter(&orders, 1);
    buried(&control, &first, 1).await;
    for number in 3..=20 {
        control.wish("bank", Selection::default(), Wish::Redrive).await.expect("wished");
        let how = Redriven::Failed(failed(number, "no"));
        control.redriven(orders.clone(), 1, first.name, how).await.expect("told");
    }
    let letters = all(&control).await;
    let numbers: Vec<u32> = letters[0].history.iter().map(|kept| kept.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 15, 16, 17, 18, 19, 20]);
    assert_eq!((letters[0].tries, letters[0].state), (20, LetterState::Dead));
}

pub(crate) async fn a_discarded_letter_is_gone_and_settled(database: Database) {
    let control = database.open().await;
    let (marked, unmarked) = (course("orders", 0), course("mails", 0));
    for (first, course) in [(1, &marked), (101, &unmarked)] {
        claimed(&control, course).await;
        for number in first..first + 4 {
            buried(&control, &letter(course, number), 1).await;
        }
    }
    control.mark(vec![(marked.clone(), 1, mark(2))]).await.expect("stored");
    // One of them is to be redriven: it is discarded all the same.
    control.wish("bank", named(&[name(3, 0)]), Wish::Redrive).await.expect("wished");
    let selection = named(&[1, 2, 3, 101, 102].map(|number| name(number, 0)));
    assert_eq!(control.wish("bank", selection.clone(), Wish::Discard).await, Ok(5));
    assert_eq!(control.wish("bank", selection, Wish::Discard).await, Ok(0), "they are gone");
    assert_eq!(all(&control).await.len(), 3);
    control.close().await;

    let control = database.open().await;
    let settled = claimed_again(&control, &marked).await.settled;
    assert_eq!(settled, [2, 3, 4].map(|at| ticket(at, 0)), "from the mark on");
    let settled = claimed_again(&control, &unmarked).await.settled;
    assert_eq!(settled, [101, 102, 103, 104].map(|at| ticket(at, 0)), "all without a mark");
}

/// The burial's answer was lost, the letter was listed and discarded, and then the burial is repeated.
pub(crate) async fn a_discarded_letter_is_not_buried_again(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let [one, two] = [1, 2].map(|number| letter(&orders, number));
    for it in [&one, &two] {
        buried(&control, it, 1).await;
    }
    control.wish("bank", named(&[one.name]), Wish::Discard).await.expect("wished");
    control.redriven(orders.clone(), 1, two.name, Redriven::Delivered).await.expect("told");
    for it in [&one, &two] {
        buried(&control, it, 1).await;
    }
    assert_eq!(all(&control).await, []);
    // Another message of the same record is another letter.
    let third = DeadLetter { name: name(3, 0), ticket: ticket(1, 1), ..one };
    buried(&control, &third, 1).await;
    assert_eq!(all(&control).await, [third]);
}

pub(crate) async fn settled_tickets_are_remembered_until_the_mark_has_passed_them(
    database: Database,
) {
    let mut control = database.open().await;
    let (orders, other) = (course("orders", 0), course("orders", 1));
    claimed(&control, &orders).await;
    claimed(&control, &other).await;
    let tickets: Vec<Ticket> = [(3, 0), (3, 1), (4, 0), (5, 0), (5, 7), (9, 0)]
        .map(|(at, index)| ticket(at, index))
        .into();
    for (number, it) in (0..).zip(&tickets) {
        buried(&control, &DeadLetter { ticket: *it, ..letter(&orders, number) }, 1).await;
    }
    buried(&control, &letter(&other, 100), 1).await;
    // Redriven, discarded, and still dead.
    control.redriven(orders.clone(), 1, name(1, 0), Redriven::Delivered).await.expect("told");
    control.redriven(orders.clone(), 1, name(4, 0), Redriven::Delivered).await.expect("told");
    let discarded = named(&[name(0, 0), name(2, 0), name(3, 0), name(100, 0)]);
    assert_eq!(control.wish("bank", discarded, Wish::Discard).await, Ok(4));
    let dead = all(&control).await;
    assert_eq!(dead.len(), 1);

    for dealt_with in [0, 3, 4, 5, 6, 9, 10] {
        let generation = claimed_again(&control, &orders).await.generation;
        let marked = (orders.clone(), generation, mark(dealt_with));
        assert_eq!(control.mark(vec![marked]).await, Ok(vec![true]));
        control.close().await;
        control = database.open().await;
        let from = ticket(dealt_with, 0);
        let expected: Vec<Ticket> = tickets.iter().copied().filter(|it| *it >= from).collect();
        assert_eq!(claimed_again(&control, &orders).await.settled, expected, "at {dealt_with}");
    }
    // They are forgotten indeed: a mark that is put back by hand does not find them again. The letter that
    // is still dead is another matter, and so is the other course.
    database.run("UPDATE deliveries SET dealt_with = 0").await;
    assert_eq!(claimed_again(&control, &orders).await.settled, [ticket(9, 0)]);
    assert_eq!(all(&control).await, dead);
    assert_eq!(claimed_again(&control, &other).await.settled, [ticket(100, 0)]);
}

pub(crate) async fn settled_tickets_of_another_log_are_forgotten(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let [old, new] = [letter(&orders, 70), of_log(OTHER_LOG, letter(&orders, 8))];
    let still_dead = of_log(OTHER_LOG, letter(&orders, 9));
    let settled = async |course: &Course| claimed_again(&control, course).await.settled;
    control.mark(vec![(orders.clone(), 1, mark(60))]).await.expect("stored");
    for it in [&old, &new, &still_dead] {
        buried(&control, it, 1).await;
    }
    assert_eq!(settled(&orders).await, [old.ticket], "of the mark's log");
    assert_eq!(control.wish("bank", named(&[old.name, new.name]), Wish::Discard).await, Ok(2));
    assert_eq!(settled(&orders).await, [old.ticket]);

    // The log was replaced. What was settled in the new one before its first mark is remembered.
    let of_new_log = Mark { log: OTHER_LOG, ..mark(1) };
    assert_eq!(control.mark(vec![(orders.clone(), 3, of_new_log)]).await, Ok(vec![true]));
    assert_eq!(settled(&orders).await, [new.ticket, still_dead.ticket]);
    let further = Mark { log: OTHER_LOG, dealt_with: Position(9), ..mark(1) };
    assert_eq!(control.mark(vec![(orders.clone(), 4, further)]).await, Ok(vec![true]));
    assert_eq!(settled(&orders).await, [still_dead.ticket]);
    // What was settled in the old one is gone, even if a mark were put back by hand.
    database.run(&format!("UPDATE deliveries SET log = '{:032x}', dealt_with = 0", LOG.0)).await;
    assert_eq!(settled(&orders).await, []);
}

/// Four bury, while four others redrive, cancel and discard whatever there is.
pub(crate) async fn of_wishes_and_burials_at_once_no_ticket_is_lost(database: Database) {
    const EACH: u32 = 30;
    let control = database.open().await;
    let mut tasks = Vec::new();
    for shard in 0..4 {
        let control = database.another(&control).await;
        tasks.push(tokio::spawn(async move {
            let orders = course("orders", shard);
            claimed(&control, &orders).await;
            for number in 0..EACH {
                let letter = letter(&orders, u32::from(shard) * EACH + number);
                buried(&control, &letter, 1).await;
                for it in control.redriving(orders.clone(), 3).await.expect("a list") {
                    let how = match number % 2 {
                        0 => Redriven::Delivered,
                        _ => Redriven::Failed(failed(number, "no")),
                    };
                    control.redriven(orders.clone(), 1, it.name, how).await.expect("told");
                }
                let marked = vec![(orders.clone(), 1, mark(0))];
                assert_eq!(control.mark(marked).await, Ok(vec![true]));
            }
        }));
    }
    for number in 0..4 {
        let control = database.another(&control).await;
        tasks.push(tokio::spawn(async move {
            for round in 0..EACH {
                let wish = [Wish::Redrive, Wish::Discard, Wish::Cancel, Wish::Redrive]
                    [(number + round as usize) % 4];
                let state = (round % 3 == 0).then_some(LetterState::Dead);
                let selection = Selection { state, ..Selection::default() };
                control.wish("bank", selection, wish).await.expect("wished");
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    for shard in 0..4 {
        let first = u64::from(shard) * u64::from(EACH);
        let expected: Vec<Ticket> =
            (first..first + u64::from(EACH)).map(|at| ticket(at, 0)).collect();
        let settled = claimed_again(&control, &course("orders", shard)).await.settled;
        assert_eq!(settled, expected, "of shard {shard}");
    }
    assert_counted(&control).await;
}
