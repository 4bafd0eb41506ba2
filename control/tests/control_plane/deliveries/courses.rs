//! Processes, claims and marks.

use bytes::Bytes;
use delivery::{Burial, Claim, Mark, Owner, Redriven, Store, Wish};
use wal_core::Position;

use super::{
    ROOM, all, buried, claimed, claimed_again, course, failed, letter, mark, named, process, ticket,
};
use crate::database::Database;

pub(crate) async fn every_beat_is_counted_until_the_process_leaves(database: Database) {
    let control = database.open().await;
    let (one, two) = (process(1), process(2));
    assert_eq!(control.beat(one).await.expect("counted"), [(one, 1)]);
    assert_eq!(control.beat(two).await.expect("counted"), [(one, 1), (two, 1)]);
    assert_eq!(control.beat(one).await.expect("counted"), [(one, 2), (two, 1)]);
    let restarted = database.open().await;
    assert_eq!(restarted.beat(two).await.expect("counted"), [(one, 2), (two, 2)]);
    control.leave(two).await.expect("left");
    control.leave(two).await.expect("nothing to do");
    assert_eq!(control.beat(one).await.expect("counted"), [(one, 3)]);
    assert_eq!(control.beat(two).await.expect("back"), [(one, 3), (two, 1)]);
}

pub(crate) async fn a_course_is_claimed_by_one_of_many(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 3);
    for generation in 0..3 {
        let mut tasks = Vec::new();
        for number in 0..8 {
            // Half of them through a second opening of the same file, as another process would.
            let control = if number % 2 == 0 { control.clone() } else { database.open().await };
            let orders = orders.clone();
            tasks.push(tokio::spawn(async move {
                (number, control.claim(orders, process(number), generation).await.expect("asked"))
            }));
        }
        let mut winners = Vec::new();
        for task in tasks {
            let (number, claim) = task.await.expect("no panic");
            if let Some(claim) = claim {
                assert_eq!(claim.generation, generation + 1);
                winners.push(process(number));
            }
        }
        assert_eq!(winners.len(), 1, "of generation {generation}");
        let owners = control.owners("bank").await.expect("owners");
        let owner = Owner {
            course: orders.clone(),
            process: Some(winners[0]),
            generation: generation + 1,
            mark: None,
        };
        assert_eq!(owners, [owner]);
    }
}

pub(crate) async fn a_claim_of_another_generation_is_refused(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    for generation in [1, 7, u64::MAX >> 1, u64::MAX] {
        // What is not even a number of theirs may also be an error.
        let claim = control.claim(orders.clone(), process(1), generation).await;
        assert!(matches!(claim, Ok(None) | Err(_)), "{claim:?}");
    }
    assert_eq!(control.owners("bank").await.expect("owners"), [], "nothing was claimed");
    claimed(&control, &orders).await;
    for generation in [0, 2, 3] {
        let claim = control.claim(orders.clone(), process(2), generation).await.expect("asked");
        assert_eq!(claim, None, "it is at generation 1, not {generation}");
    }
    let owners = control.owners("bank").await.expect("owners");
    assert_eq!((owners[0].process, owners[0].generation), (Some(process(1)), 1));
}

pub(crate) async fn the_courses_of_a_namespace_are_told_with_their_owners(database: Database) {
    let control = database.open().await;
    let mut elsewhere = course("orders", 0);
    elsewhere.namespace = "shop".into();
    let courses =
        [course("mails", 1), course("orders", 0), course("orders", 2), course("orders", 10)];
    for it in courses.iter().rev().chain([&elsewhere]) {
        claimed(&control, it).await;
    }
    assert_eq!(control.mark(vec![(courses[2].clone(), 1, mark(7))]).await.expect("stored"), [true]);
    control.release(courses[3].clone(), 1).await.expect("released");
    let owners = control.owners("bank").await.expect("owners");
    let expected = courses.iter().enumerate().map(|(at, course)| Owner {
        course: course.clone(),
        process: (at != 3).then_some(process(1)),
        generation: 1,
        mark: (at == 2).then(|| mark(7)),
    });
    assert_eq!(owners, expected.collect::<Vec<_>>());
    let owners = control.owners("shop").await.expect("owners");
    assert_eq!((owners.len(), &owners[0].course), (1, &elsewhere));
    assert_eq!(control.owners("nothing").await.expect("owners"), []);
}

pub(crate) async fn who_leaves_releases_what_it_has_and_nothing_else(database: Database) {
    let control = database.open().await;
    let mut elsewhere = course("orders", 0);
    elsewhere.namespace = "shop".into();
    let (mine, theirs) = (course("orders", 0), course("orders", 1));
    claimed(&control, &mine).await;
    claimed(&control, &elsewhere).await;
    control.claim(theirs.clone(), process(9), 0).await.expect("asked").expect("claimed");
    control.mark(vec![(mine.clone(), 1, mark(7))]).await.expect("stored");
    control.leave(process(1)).await.expect("left");
    let owners = control.owners("bank").await.expect("owners");
    assert_eq!((owners[0].process, owners[1].process), (None, Some(process(9))));
    assert_eq!((owners[0].generation, &owners[0].mark), (1, &Some(mark(7))));
    let owners = control.owners("shop").await.expect("owners");
    assert_eq!((owners[0].process, owners[0].generation), (None, 1));
    let claim = control.claim(mine, process(9), 1).await.expect("asked").expect("free");
    assert_eq!(claim, Claim { generation: 2, mark: Some(mark(7)), settled: vec![] });
}

pub(crate) async fn a_course_is_released_by_its_generation_alone(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    assert_eq!(claimed_again(&control, &orders).await.generation, 2);
    for generation in [0, 1, 3, u64::MAX] {
        control.release(orders.clone(), generation).await.expect("nothing to do");
        let owners = control.owners("bank").await.expect("owners");
        assert_eq!(owners[0].process, Some(process(2)), "{generation}");
    }
    for _ in 0..2 {
        control.release(orders.clone(), 2).await.expect("released");
        let owners = control.owners("bank").await.expect("owners");
        assert_eq!((owners[0].process, owners[0].generation), (None, 2));
    }
    control.release(course("orders", 1), 0).await.expect("nobody ever claimed it");
    assert_eq!(claimed_again(&control, &orders).await.generation, 3);
}

pub(crate) async fn marks_are_stored_together_each_under_its_generation(database: Database) {
    let control = database.open().await;
    let courses = [course("orders", 2), course("orders", 0), course("mails", 1)];
    for it in &courses {
        claimed(&control, it).await;
    }
    claimed_again(&control, &courses[1]).await;
    let [one, old, other] = courses.clone();
    let never = course("orders", 7);
    let marks = vec![
        (one.clone(), 1, mark(10)),
        (old.clone(), 1, mark(11)),
        (other.clone(), 1, mark(12)),
        (never, 0, mark(13)),
        (other.clone(), 7, mark(14)),
        (one.clone(), 1, mark(15)),
    ];
    for _ in 0..2 {
        let stored = control.mark(marks.clone()).await.expect("asked");
        assert_eq!(stored, [true, false, true, false, false, true]);
        let owners = control.owners("bank").await.expect("owners");
        let told = |course| {
            let owner = owners.iter().find(|owner| owner.course == course);
            owner.expect("claimed").mark.clone()
        };
        assert_eq!(told(one.clone()), Some(mark(15)), "the later one");
        assert_eq!(told(old.clone()), None);
        assert_eq!(told(other.clone()), Some(mark(12)));
        assert_eq!(owners.len(), 3);
    }
    assert_eq!(control.mark(vec![]).await, Ok(vec![]));
}

pub(crate) async fn a_mark_is_found_again_after_a_restart(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let all_bytes: Vec<u8> = (56..=255).collect();
    for place in [Bytes::new(), Bytes::from_static(b"\0"), all_bytes.into()] {
        let far = Mark {
            log: wal_core::Nonce(u128::MAX),
            dealt_with: Position(i64::MAX as u64),
            hold: Position(0),
            place,
        };
        let stored = control.mark(vec![(orders.clone(), 1, far.clone())]).await.expect("asked");
        assert_eq!(stored, [true]);
        let restarted = database.open().await;
        assert_eq!(restarted.owners("bank").await.expect("owners")[0].mark, Some(far.clone()));
        restarted.close().await;
    }
    let too_far = Mark { dealt_with: Position(u64::MAX), ..mark(1) };
    let error = control.mark(vec![(orders.clone(), 1, too_far)]).await.expect_err("too far");
    assert!(error.to_string().contains("beyond what is kept"), "{error}");
    control.close().await;
    let claim = claimed_again(&database.open().await, &orders).await;
    assert_eq!(claim.mark.map(|mark| mark.place.len()), Some(200), "the last one");
}

pub(crate) async fn what_is_said_under_an_old_generation_changes_nothing(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    let [one, two] = [1, 2].map(|number| letter(&orders, number));
    buried(&control, &one, 1).await;
    control.mark(vec![(orders.clone(), 1, mark(1))]).await.expect("stored");
    control.wish("bank", named(&[one.name]), Wish::Redrive).await.expect("wished");
    assert_eq!(claimed_again(&control, &orders).await.settled, [one.ticket]);
    let owners = control.owners("bank").await.expect("owners");
    let letters = all(&control).await;

    assert_eq!(control.mark(vec![(orders.clone(), 1, mark(9))]).await.expect("asked"), [false]);
    control.release(orders.clone(), 1).await.expect("nothing to do");
    for limit in [0, ROOM] {
        let burial = control.bury(two.clone(), 1, limit).await.expect("asked");
        assert_eq!(burial, Burial::Deposed);
        let burial = control.bury(one.clone(), 1, limit).await.expect("asked");
        assert_eq!(burial, Burial::Deposed, "of one that is there, too");
    }
    for how in [Redriven::Delivered, Redriven::Failed(failed(3, "no"))] {
        control.redriven(orders.clone(), 1, one.name, how).await.expect("nothing to do");
    }
    assert_eq!(control.owners("bank").await.expect("owners"), owners);
    assert_eq!(all(&control).await, letters);
    // Nor under one that is yet to come, nor of a course that nobody ever claimed.
    let burial = control.bury(two.clone(), 3, ROOM).await.expect("asked");
    assert_eq!(burial, Burial::Deposed);
    let burial = control.bury(letter(&course("orders", 7), 9), 0, ROOM).await.expect("asked");
    assert_eq!(burial, Burial::Deposed);
    assert_eq!(all(&control).await, letters);
    buried(&control, &two, 2).await;
}

/// A process that does not know yet that it is deposed writes on, while another claims again and again: what
/// it was told is stored is in the next claim, and what is not is refused.
pub(crate) async fn a_claim_comes_before_or_behind_what_its_predecessor_says(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    for generation in 1..12 {
        let (said, mut heard) = tokio::sync::watch::channel(0);
        let writer = database.another(&control).await;
        let course = orders.clone();
        let writing = tokio::spawn(async move {
            let mut stored = Vec::new();
            for number in 100_000 * generation.. {
                let letter = letter(&course, number);
                let burial = writer.bury(letter.clone(), generation.into(), u64::MAX).await;
                match burial.expect("asked") {
                    Burial::Stored => stored.push(letter.ticket),
                    Burial::Deposed => break,
                    Burial::Full => panic!("there is room"),
                }
                said.send_replace(stored.len());
            }
            stored
        });
        heard.wait_for(|stored| *stored > 1).await.expect("it goes on until it is deposed");
        let claim = control.claim(orders.clone(), process(2), generation.into()).await;
        let claim = claim.expect("asked").expect("nobody else claims it");
        let stored = writing.await.expect("no panic");
        let first = ticket(100_000 * u64::from(generation), 0);
        let told: Vec<_> = claim.settled.into_iter().filter(|it| *it >= first).collect();
        assert_eq!(told, stored);
    }
}

pub(crate) async fn calls_that_are_given_up_leave_no_lock_behind(database: Database) {
    let control = database.open().await;
    let orders = course("orders", 0);
    claimed(&control, &orders).await;
    for number in 0..60 {
        let patience = std::time::Duration::from_micros(u64::from(number) * 150);
        let burying = control.bury(letter(&orders, number), 1, ROOM);
        let marking = control.mark(vec![(orders.clone(), 1, mark(number.into()))]);
        let _ = tokio::time::timeout(patience, async { tokio::join!(burying, marking) }).await;
    }
    for number in 0..60 {
        buried(&control, &letter(&orders, number), 1).await;
    }
    assert_eq!(control.mark(vec![(orders.clone(), 1, mark(60))]).await.expect("asked"), [true]);
    assert_eq!(all(&control).await.len(), 60);
    assert_eq!(control.owners("bank").await.expect("owners")[0].mark, Some(mark(60)));
}

pub(crate) async fn errors_say_which_database_and_no_password(database: Database) {
    let control = database.open().await;
    control.close().await;
    let error = control.beat(process(1)).await.expect_err("closed");
    let said = error.to_string();
    assert!(said.starts_with("the store of deliveries: "), "{said}");
    assert!(said.contains(control.address()), "{said}");
    let control = database.open().await;
    claimed(&control, &course("orders", 0)).await;
    database.run("DROP TABLE settled_tickets").await;
    let error = control.mark(vec![(course("orders", 0), 1, mark(1))]).await.expect_err("no table");
    let said = error.to_string();
    assert!(said.contains("settled_tickets") && said.contains(control.address()), "{said}");
    if let Some((secret, _)) = database.address.split_once('@') {
        let (_, secret) = secret.rsplit_once(':').expect("a password");
        assert!(!said.contains(&format!(":{secret}@")), "{said}");
    }
    assert_eq!(control.owners("bank").await.expect("owners")[0].mark, None, "all or nothing");
}
