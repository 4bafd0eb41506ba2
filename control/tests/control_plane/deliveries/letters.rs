//! Dead letters: stored, listed, counted.

use std::sync::Arc;

use bytes::Bytes;
use control::{ControlPlane, MAX_NAMES};
use delivery::{
    Burial, Cause, Chosen, Course, DeadLetter, ErrorClass, LetterCount, LetterPlace, LetterState,
    Name, Redriven, Selection, Store, Try, Wish,
};
use tokio::sync::Barrier;
use wal_core::{Millis, Nonce, Timestamp, TxnId};

use super::{
    ROOM, all, assert_counted, buried, claimed, claimed_again, course, failed, letter, mark, name,
    named, ticket,
};
use crate::database::Database;

/// Letters with everything that they may have.
fn odd_letters() -> Vec<DeadLetter> {
    let orders = course("orders", 0);
    let all_bytes: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let tries = |classes: &[ErrorClass]| -> Vec<Try> {
        let texts = ["", "zu groß: 12 €", "nul\0 \u{1f41f} \"quoted\" \\ {}", "\r\n\u{202e}"];
        let one = |(at, class): (usize, &ErrorClass)| Try {
            number: u32::try_from(at + 1).expect("small"),
            at: Millis(u64::MAX - at as u64),
            class: *class,
            text: texts[at % texts.len()].into(),
        };
        classes.iter().enumerate().map(one).collect()
    };
    let some = [
        ErrorClass::Permanent,
        ErrorClass::Transient,
        ErrorClass::Overloaded { retry_after_us: None },
        ErrorClass::Overloaded { retry_after_us: Some(u64::MAX) },
        ErrorClass::Ours,
    ];
    vec![
        letter(&orders, 0),
        DeadLetter {
            key: None,
            message: Bytes::new(),
            cause: Cause::Permanent,
            history: vec![],
            tries: 0,
            timestamp: Timestamp(i64::MIN),
            ..letter(&orders, 1)
        },
        DeadLetter {
            name: Name { id: TxnId::from_parts(Millis(0), 0), index: u16::MAX },
            key: Some(Bytes::new()),
            message: all_bytes.clone(),
            cause: Cause::TooOld,
            history: tries(&some),
            tries: u32::MAX,
            timestamp: Timestamp(i64::MAX),
            ..letter(&orders, 2)
        },
        DeadLetter {
            name: Name { id: TxnId::from_parts(Millis(u64::MAX), u128::MAX), index: 0 },
            log: Nonce(u128::MAX),
            ticket: ticket(i64::MAX as u64, u32::MAX),
            key: Some(all_bytes),
            message: vec![255; 1 << 20].into(),
            history: tries(&some.repeat(4)[..12]),
            state: LetterState::Redriving,
            ..letter(&orders, 3)
        },
        DeadLetter {
            log: Nonce(0),
            key: Some(Bytes::from_static(&[0])),
            ..letter(&course("\u{1f41f}'; DROP TABLE dead_letters; --", u16::MAX), 4)
        },
    ]
}

pub(crate) async fn a_letter_is_found_again_as_it_was_after_a_restart(database: Database) {
    let control = database.open().await;
    let letters = odd_letters();
    claimed(&control, &letters[0].course).await;
    claimed(&control, &letters[4].course).await;
    for it in &letters {
        buried(&control, it, 1).await;
        assert_eq!(all(&control).await.last(), Some(it));
    }
    assert_eq!(all(&control).await, letters);
    assert_counted(&control).await;
    control.close().await;
    assert_eq!(all(&database.open().await).await, letters);
}

pub(crate) async fn a_letter_that_is_buried_again_stays_as_it_is(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let first = letter(&orders, 1);
    buried(&control, &first, 1).await;
    buried(&control, &first, 1).await;
    assert_eq!(control.wish("bank", named(&[first.name]), Wish::Redrive).await, Ok(1));
    // As after a restart, when it was tried again because nobody had heard that it was buried.
    assert_eq!(claimed_again(&control, &orders).await.generation, 2);
    let again = DeadLetter { tries: 9, history: vec![], buried_at: Millis(5), ..first.clone() };
    buried(&control, &again, 2).await;
    assert_eq!(
        all(&control).await,
        [DeadLetter { state: LetterState::Redriving, ..first.clone() }]
    );
    // The same message in the dead letters of another target is another letter.
    let mails = course("mails", 0);
    claimed(&control, &mails).await;
    buried(&control, &DeadLetter { course: mails, ..first }, 1).await;
    assert_eq!(all(&control).await.len(), 2);
}

pub(crate) async fn a_target_has_no_more_letters_than_it_may(database: Database) {
    let control = database.open().await;
    let courses = [course("orders", 0), course("orders", 1), course("mails", 0)];
    for it in &courses {
        claimed(&control, it).await;
    }
    let bury =
        async |letter: DeadLetter, limit| control.bury(letter, 1, limit).await.expect("asked");
    assert_eq!(bury(letter(&courses[0], 1), 0).await, Burial::Full);
    assert_eq!(bury(letter(&courses[0], 1), 2).await, Burial::Stored);
    assert_eq!(bury(letter(&courses[1], 2), 2).await, Burial::Stored);
    for it in &courses[..2] {
        assert_eq!(bury(letter(it, 3), 2).await, Burial::Full);
    }
    // What is there is there, whatever the limit has become.
    assert_eq!(bury(letter(&courses[0], 1), 2).await, Burial::Stored);
    assert_eq!(bury(letter(&courses[0], 1), 0).await, Burial::Stored);
    // Other targets and namespaces have room of their own.
    assert_eq!(bury(letter(&courses[2], 1), 2).await, Burial::Stored);
    let mut elsewhere = course("orders", 0);
    elsewhere.namespace = "shop".into();
    claimed(&control, &elsewhere).await;
    assert_eq!(bury(letter(&elsewhere, 1), 1).await, Burial::Stored);
    assert_eq!(all(&control).await.len(), 3);

    assert_eq!(control.wish("bank", named(&[name(2, 0)]), Wish::Discard).await, Ok(1));
    assert_eq!(bury(letter(&courses[0], 3), 2).await, Burial::Stored);
    assert_eq!(bury(letter(&courses[0], 4), 2).await, Burial::Full);
    assert_eq!(bury(letter(&courses[0], 4), u64::MAX).await, Burial::Stored);
    assert_counted(&control).await;
}

pub(crate) async fn letters_make_room_once_when_they_go(database: Database) {
    let control = database.open().await;
    let (orders, mails) = (course("orders", 0), course("mails", 0));
    let mut elsewhere = orders.clone();
    elsewhere.namespace = "shop".into();
    for it in [&orders, &mails, &elsewhere] {
        claimed(&control, it).await;
    }
    let bury = async |course: &Course, number, limit| {
        let burial = control.bury(letter(course, number), 1, limit).await.expect("asked");
        assert_counted(&control).await;
        burial
    };
    for number in 1..=3 {
        for it in [&orders, &mails, &elsewhere] {
            assert_eq!(bury(it, number, 3).await, Burial::Stored);
            assert_eq!(bury(it, number, 3).await, Burial::Stored, "again");
        }
    }
    assert_eq!(bury(&orders, 4, 3).await, Burial::Full);
    // One that is to be redriven is there still, and so is one that failed again.
    assert_eq!(control.wish("bank", named(&[name(1, 0)]), Wish::Redrive).await, Ok(2));
    assert_counted(&control).await;
    for _ in 0..2 {
        let how = Redriven::Failed(failed(3, "no"));
        control.redriven(orders.clone(), 1, name(1, 0), how).await.expect("told");
        assert_eq!(bury(&orders, 4, 3).await, Burial::Full);
    }
    // Delivered, said twice, it makes room for one; in its own target.
    assert_eq!(control.wish("bank", named(&[name(1, 0)]), Wish::Redrive).await, Ok(1));
    for _ in 0..2 {
        let how = Redriven::Delivered;
        control.redriven(orders.clone(), 1, name(1, 0), how).await.expect("told");
    }
    assert_eq!(bury(&orders, 4, 3).await, Burial::Stored);
    assert_eq!(bury(&orders, 5, 3).await, Burial::Full);
    assert_eq!(bury(&mails, 4, 3).await, Burial::Full);
    // Discarded together, of several targets and in both states; of the other namespace nothing goes.
    assert_eq!(control.wish("bank", Selection::default(), Wish::Redrive).await, Ok(5));
    assert_eq!(control.wish("bank", named(&[name(2, 0)]), Wish::Cancel).await, Ok(2));
    for expected in [4, 0] {
        let both = named(&[name(2, 0), name(3, 0), name(9, 0)]);
        assert_eq!(control.wish("bank", both, Wish::Discard).await, Ok(expected));
        assert_counted(&control).await;
    }
    for number in [6, 7] {
        assert_eq!(bury(&orders, number, 3).await, Burial::Stored);
        assert_eq!(bury(&mails, number, 3).await, Burial::Stored);
    }
    assert_eq!(bury(&orders, 8, 3).await, Burial::Full);
    assert_eq!(bury(&mails, 8, 3).await, Burial::Full);
    assert_eq!(bury(&elsewhere, 8, 3).await, Burial::Full);
    // What is given up half-way counts for nothing.
    assert_eq!(control.bury(letter(&orders, 8), 7, 9).await, Ok(Burial::Deposed));
    assert_counted(&control).await;
    control.close().await;
    let control = database.open().await;
    assert_counted(&control).await;
    assert_eq!(control.wish("bank", Selection::default(), Wish::Discard).await, Ok(6));
    assert_counted(&control).await;
    assert_eq!(control.count("shop").await.expect("counts")[0].count, 3);
}

pub(crate) async fn of_many_burials_at_once_as_many_are_stored_as_there_is_room(
    database: Database,
) {
    const SHARDS: u16 = 8;
    let control = database.open().await;
    let ready = Arc::new(Barrier::new(SHARDS.into()));
    let mut tasks = Vec::new();
    for shard in 0..SHARDS {
        let control = database.another(&control).await;
        let ready = ready.clone();
        tasks.push(tokio::spawn(async move {
            let mut stored = 0;
            // Of each target all try to bury the last letter that it has room for.
            for number in 0..20_u16 {
                let orders = course(&format!("orders-{number}"), shard);
                claimed(&control, &orders).await;
                ready.wait().await;
                let letter = letter(&orders, shard.into());
                match control.bury(letter, 1, 1).await.expect("asked") {
                    Burial::Stored => stored += 1,
                    Burial::Full => {}
                    Burial::Deposed => panic!("nobody else claims it"),
                }
            }
            stored
        }));
    }
    let mut stored = 0;
    for task in tasks {
        stored += task.await.expect("no panic");
    }
    assert_eq!((stored, all(&control).await.len()), (20, 20));
    assert_counted(&control).await;
}

/// The numbers of the letters that are selected.
async fn selected(control: &ControlPlane, selection: &Selection) -> Vec<u64> {
    let letters = control.letters("bank", selection.clone(), None, 100).await.expect("a list");
    letters.into_iter().map(|letter| letter.ticket.position.0).collect()
}

pub(crate) async fn letters_are_selected_by_everything_that_is_given(database: Database) {
    let control = database.open().await;
    let (orders, mails) = (course("orders", 0), course("mails", 1));
    let mut elsewhere = orders.clone();
    elsewhere.namespace = "shop".into();
    for it in [&orders, &mails, &elsewhere] {
        claimed(&control, it).await;
    }
    for number in 0..8 {
        let course = if number % 2 == 0 { &orders } else { &mails };
        let key = Some(Bytes::from_static(if number < 4 { b"low" } else { b"high" }));
        let buried_at = Millis(100 + u64::from(number));
        buried(&control, &DeadLetter { key, buried_at, ..letter(course, number) }, 1).await;
    }
    buried(&control, &letter(&elsewhere, 50), 1).await;
    let redriven = named(&[name(2, 0), name(3, 0), name(4, 0)]);
    assert_eq!(control.wish("bank", redriven, Wish::Redrive).await, Ok(3));

    let any = Selection::default();
    let of_orders = Selection { target: Some("orders".into()), ..any.clone() };
    let low = Selection { key: Some(Bytes::from_static(b"low")), ..any.clone() };
    let redriving = Selection { state: Some(LetterState::Redriving), ..any.clone() };
    let dead = Selection { state: Some(LetterState::Dead), ..any.clone() };
    let before = Selection { buried_before: Some(Millis(103)), ..any.clone() };
    let since = Selection { buried_since: Some(Millis(103)), ..any.clone() };
    let all_names: Vec<Name> = (0..100).map(|number| name(number, 0)).collect();
    for (selection, expected) in [
        (any.clone(), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (of_orders.clone(), vec![0, 2, 4, 6]),
        (low.clone(), vec![0, 1, 2, 3]),
        (redriving, vec![2, 3, 4]),
        (dead, vec![0, 1, 5, 6, 7]),
        (before.clone(), vec![0, 1, 2]),
        (since.clone(), vec![3, 4, 5, 6, 7]),
        (Selection { buried_since: Some(Millis(101)), ..before.clone() }, vec![1, 2]),
        (Selection { buried_since: Some(Millis(u64::MAX)), ..any.clone() }, vec![]),
        (Selection { buried_before: Some(Millis(0)), ..any.clone() }, vec![]),
        (
            Selection { buried_before: Some(Millis(u64::MAX)), ..any.clone() },
            vec![0, 1, 2, 3, 4, 5, 6, 7],
        ),
        (named(&[name(7, 0), name(1, 0), name(99, 0), name(2, 1)]), vec![1, 7]),
        (named(&[name(50, 0)]), vec![]),
        (named(&all_names), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (Selection { target: Some("Orders".into()), ..any.clone() }, vec![]),
        (Selection { target: Some("".into()), ..any.clone() }, vec![]),
        (Selection { key: Some(Bytes::from_static(b"LOW")), ..any }, vec![]),
        (Selection { names: all_names.clone(), ..of_orders.clone() }, vec![0, 2, 4, 6]),
        (
            Selection {
                key: low.key,
                names: all_names,
                state: Some(LetterState::Dead),
                buried_before: Some(Millis(107)),
                buried_since: Some(Millis(100)),
                ..of_orders
            },
            vec![0],
        ),
    ] {
        assert_eq!(selected(&control, &selection).await, expected, "{selection:?}");
    }
    // A wish goes by the same selection.
    assert_eq!(control.wish("bank", since, Wish::Discard).await, Ok(5));
    assert_eq!(selected(&control, &Selection::default()).await, [0, 1, 2]);
    assert_eq!(control.wish("bank", before, Wish::Discard).await, Ok(3));
    assert_eq!(selected(&control, &Selection::default()).await, [0; 0]);
    assert_eq!(control.count("shop").await.expect("counts")[0].count, 1, "nothing elsewhere");
}

pub(crate) async fn keys_are_compared_byte_for_byte(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let keys: [Option<&[u8]>; 9] = [
        None,
        Some(b""),
        Some(b"\0"),
        Some(b"\0\0"),
        Some(b"\xff"),
        Some(b"key"),
        Some(b"Key"),
        Some(b"key "),
        Some("schlüssel".as_bytes()),
    ];
    for (number, key) in (0..).zip(keys) {
        let key = key.map(Bytes::from_static);
        buried(&control, &DeadLetter { key, ..letter(&orders, number) }, 1).await;
    }
    for (number, key) in (0..).zip(keys) {
        let Some(key) = key else { continue };
        let selection = Selection { key: Some(key.into()), ..Selection::default() };
        assert_eq!(selected(&control, &selection).await, [number], "{key:?}");
    }
    let selection = Selection { key: Some(Bytes::from_static(b"ke")), ..Selection::default() };
    assert_eq!(selected(&control, &selection).await, [0; 0]);
}

pub(crate) async fn letters_are_told_page_by_page_the_oldest_burial_first(database: Database) {
    let control = database.open().await;
    let courses = [course("orders", 0), course("mails", 0)];
    for it in &courses {
        claimed(&control, it).await;
    }
    // Three at each time; of one transaction, the place orders them as a number.
    let mut expected = Vec::new();
    for number in 0..30_u16 {
        let letter = DeadLetter {
            name: name(u32::from(number % 2) * 0xa0, 2 + number / 2),
            buried_at: Millis(u64::from(9 - number / 3)),
            ..letter(&courses[usize::from(number) % 2], number.into())
        };
        buried(&control, &letter, 1).await;
        // Some were for both targets, and were given up for both at once.
        if number % 5 == 0 {
            let course = courses[usize::from(number + 1) % 2].clone();
            let twin = DeadLetter { course, ..letter.clone() };
            buried(&control, &twin, 1).await;
            expected.push(twin);
        }
        expected.push(letter);
    }
    let place = |letter: &DeadLetter| {
        let LetterPlace { buried_at, name, target } = letter.place();
        (buried_at, name, target)
    };
    expected.sort_by_key(place);
    assert_eq!(all(&control).await, expected);
    for limit in [1, 2, 7, 35, 36, 37] {
        let mut told: Vec<DeadLetter> = Vec::new();
        loop {
            let after = told.last().map(DeadLetter::place);
            let page = control.letters("bank", Selection::default(), after, limit).await;
            let page = page.expect("a page");
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            told.extend(page);
        }
        assert_eq!(told, expected, "{limit} at a time");
    }
    // Behind one that is not there, and of a selection.
    let selection = Selection { target: Some("orders".into()), ..Selection::default() };
    let after = LetterPlace { buried_at: Millis(4), name: name(0x50, 0), target: "orders".into() };
    let behind = (after.buried_at, after.name, after.target.clone());
    let page = control.letters("bank", selection, Some(after), 3).await.expect("a page");
    let later =
        expected.into_iter().filter(|letter| place(letter) > behind && letter.course == courses[0]);
    assert_eq!(page, later.take(3).collect::<Vec<_>>());
    let none = control.letters("bank", Selection::default(), None, 0).await.expect("a page");
    assert_eq!(none, []);
    let end =
        Some(LetterPlace { buried_at: Millis(u64::MAX), name: name(0, 0), target: "".into() });
    assert_eq!(control.letters("bank", Selection::default(), end, 9).await.expect("a page"), []);
}

pub(crate) async fn letters_are_counted_by_target_and_state(database: Database) {
    let control = database.open().await;
    assert_eq!(control.count("bank").await.expect("counts"), []);
    let courses = [course("orders", 0), course("orders", 1), course("mails", 0)];
    for (shard, it) in (0..).zip(&courses) {
        claimed(&control, it).await;
        for number in 0..3 {
            buried(&control, &letter(it, 10 * shard + number), 1).await;
        }
    }
    let one_each = named(&[name(0, 0), name(10, 0), name(20, 0)]);
    assert_eq!(control.wish("bank", one_each, Wish::Redrive).await, Ok(3));
    let count = |target: &str, state, count| LetterCount { target: target.into(), state, count };
    let (dead, redriving) = (LetterState::Dead, LetterState::Redriving);
    let expected = [
        count("mails", dead, 2),
        count("mails", redriving, 1),
        count("orders", dead, 4),
        count("orders", redriving, 2),
    ];
    assert_eq!(control.count("bank").await.expect("counts"), expected);
    let of_mails = Selection { target: Some("mails".into()), ..Selection::default() };
    assert_eq!(control.wish("bank", of_mails, Wish::Discard).await, Ok(3));
    assert_eq!(control.count("bank").await.expect("counts"), expected[2..]);
    assert_eq!(control.count("shop").await.expect("counts"), []);
}

pub(crate) async fn letters_are_counted_and_outlined_by_what_is_chosen(database: Database) {
    let control = database.open().await;
    let (orders, mails) = (course("orders", 0), course("mails", 0));
    let none = control.count_chosen("bank", Selection::default()).await;
    assert_eq!(none, Ok(Chosen::default()));
    for (number, it) in [(1, &orders), (2, &mails), (3, &orders), (4, &orders)] {
        if number < 3 {
            claimed(&control, it).await;
        }
        let buried_at = Millis(100 + u64::from(number));
        buried(&control, &DeadLetter { buried_at, ..letter(it, number) }, 1).await;
    }
    assert_eq!(control.wish("bank", named(&[name(3, 0)]), Wish::Redrive).await, Ok(1));
    let of = |target: &str| Selection { target: Some(target.into()), ..Selection::default() };
    let until_2 = Selection { buried_before: Some(Millis(103)), ..Selection::default() };
    let redriving = Selection { state: Some(LetterState::Redriving), ..Selection::default() };
    for (selection, dead, redriving, newest) in [
        (Selection::default(), 3, 1, Some(104)),
        (of("orders"), 2, 1, Some(104)),
        (of("mails"), 1, 0, Some(102)),
        (of("nobody"), 0, 0, None),
        (until_2, 2, 0, Some(102)),
        (redriving, 0, 1, Some(103)),
        (named(&[name(1, 0), name(3, 0)]), 1, 1, Some(103)),
    ] {
        let chosen = Chosen { dead, redriving, newest: newest.map(Millis) };
        assert_eq!(control.count_chosen("bank", selection.clone()).await, Ok(chosen));
        let letters = control.letters("bank", selection.clone(), None, 9).await.expect("a list");
        let outlined = letters.iter().map(|it| DeadLetter { message: Bytes::new(), ..it.clone() });
        let outlines = control.outlines("bank", selection, None, 9).await.expect("a list");
        assert_eq!(outlines, outlined.collect::<Vec<_>>());
        assert_eq!(outlines.len() as u64, dead + redriving);
    }
    let all = control.outlines("bank", Selection::default(), None, 9).await.expect("a list");
    let behind = control.outlines("bank", Selection::default(), Some(all[1].place()), 1).await;
    assert_eq!(behind.expect("a page"), all[2..3]);
}

pub(crate) async fn a_damaged_letter_is_told_and_never_used(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let good = DeadLetter { state: LetterState::Redriving, ..letter(&orders, 1) };
    for (column, value) in [
        ("name", "'nobody'"),
        ("log", "'tree'"),
        ("position", "-1"),
        ("message_key", "'a key'"),
        ("message", "'***'"),
        ("cause", "'a whim'"),
        ("tries", "-1"),
        ("history", "'once upon a time'"),
        ("buried_at_ms", "-1"),
        ("state", "'undead'"),
        ("shard", "65536"),
    ] {
        database.run("DELETE FROM dead_letters").await;
        buried(&control, &good, 1).await;
        database.run(&format!("UPDATE dead_letters SET {column} = {value}")).await;
        let error = control.letters("bank", Selection::default(), None, 9).await;
        let said = error.expect_err("damaged").to_string();
        assert!(said.contains("is damaged: ") && said.contains(control.address()), "{said}");
    }
    database.run("UPDATE dead_letters SET shard = 0, history = '[]'").await;
    assert_eq!(control.redriving(orders, 9).await.expect("good again").len(), 1);
}

pub(crate) async fn too_many_names_are_refused(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    buried(&control, &letter(&orders, 1), 1).await;
    control.mark(vec![(orders, 1, mark(1))]).await.expect("stored");
    let names = |count: usize| -> Vec<Name> {
        let count = u32::try_from(count).expect("small");
        (0..count).map(|number| name(number, 0)).collect()
    };
    let most = named(&names(MAX_NAMES));
    assert_eq!(control.letters("bank", most.clone(), None, 9).await.expect("a list").len(), 1);
    assert_eq!(control.wish("bank", most, Wish::Redrive).await, Ok(1));
    let more = named(&names(MAX_NAMES + 1));
    let error = control.wish("bank", more.clone(), Wish::Discard).await.expect_err("too many");
    assert!(error.to_string().contains("at most 10000 may be at once"), "{error}");
    control.letters("bank", more, None, 9).await.expect_err("too many");
    let burial = control.bury(letter(&course("orders", 0), 2), 1, ROOM).await;
    assert_eq!(burial, Ok(Burial::Stored), "nothing is stuck");
}
