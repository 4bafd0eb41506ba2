//! What the store of deliveries, and that of what is due, does on any database: one test for each clause and each
//! call of the ports.

pub(crate) mod courses;
pub(crate) mod delays;
pub(crate) mod handover;
pub(crate) mod letters;
pub(crate) mod wishes;

use bytes::Bytes;
use control::ControlPlane;
use delivery::{
    Burial, Cause, Claim, Course, DeadLetter, ErrorClass, LetterCount, LetterState, Mark, Name,
    Selection, Store, Ticket, Try,
};
use uuid::Uuid;
use wal_core::{Millis, Nonce, Position, ShardId, Timestamp, TxnId};

/// The log that positions are of, where a test needs one only.
const LOG: Nonce = Nonce(0x0198_0000_0000_0000_0000_0000_0000_0001);
/// One that came later.
const OTHER_LOG: Nonce = Nonce(0x0199_0000_0000_0000_0000_0000_0000_0000);
/// More than any test buries.
const ROOM: u64 = 1_000;

fn process(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn course(target: &str, shard: u16) -> Course {
    Course { namespace: "bank".into(), target: target.into(), shard: ShardId(shard) }
}

fn name(number: u32, index: u16) -> Name {
    Name { id: TxnId::from_parts(Millis(1_767_225_600_000), number.into()), index }
}

fn ticket(position: u64, index: u32) -> Ticket {
    Ticket { position: Position(position), index }
}

fn mark(dealt_with: u64) -> Mark {
    Mark {
        log: LOG,
        dealt_with: Position(dealt_with),
        hold: Position(dealt_with / 2),
        place: Bytes::from_static(b"a place"),
    }
}

fn failed(number: u32, text: &str) -> Try {
    let at = Millis(1_767_225_600_000 + u64::from(number));
    Try { number, at, class: ErrorClass::Transient, text: text.into() }
}

/// A letter whose name and ticket have this number.
fn letter(course: &Course, number: u32) -> DeadLetter {
    DeadLetter {
        course: course.clone(),
        name: name(number, 0),
        log: LOG,
        ticket: ticket(number.into(), 0),
        timestamp: Timestamp(1_767_225_600_000_000),
        key: Some(Bytes::from_static(b"key")),
        message: Bytes::from_static(b"message"),
        cause: Cause::TriesExhausted,
        tries: 2,
        history: vec![failed(1, "refused"), failed(2, "refused again")],
        buried_at: Millis(1_767_225_700_000 + u64::from(number)),
        state: LetterState::Dead,
    }
}

/// Claims a course for the first time.
async fn claimed(control: &ControlPlane, course: &Course) -> Claim {
    let claim = control.claim(course.clone(), process(1), 0).await.expect("asked");
    claim.expect("nobody else claims it")
}

/// Claims a course once more, as after a restart.
async fn claimed_again(control: &ControlPlane, course: &Course) -> Claim {
    let owners = control.owners(&course.namespace).await.expect("owners");
    let owner = owners.into_iter().find(|owner| owner.course == *course).expect("claimed once");
    let claim = control.claim(course.clone(), process(2), owner.generation).await.expect("asked");
    claim.expect("nobody else claims it")
}

async fn buried(control: &ControlPlane, letter: &DeadLetter, generation: u64) {
    let burial = control.bury(letter.clone(), generation, ROOM).await.expect("asked");
    assert_eq!(burial, Burial::Stored, "{}", letter.name);
}

/// All letters of a namespace.
async fn all(control: &ControlPlane) -> Vec<DeadLetter> {
    control.letters("bank", Selection::default(), None, u32::MAX).await.expect("a list")
}

/// Every target's counts are those of its letters.
async fn assert_counted(control: &ControlPlane) {
    let mut expected: Vec<LetterCount> = Vec::new();
    for letter in all(control).await {
        let (target, state) = (letter.course.target.as_ref(), letter.state);
        match expected.iter_mut().find(|it| it.target == target && it.state == state) {
            Some(known) => known.count += 1,
            None => expected.push(LetterCount { target: target.to_owned(), state, count: 1 }),
        }
    }
    let is_redriving = |it: &LetterCount| it.state == LetterState::Redriving;
    expected.sort_by_key(|it| (it.target.clone(), is_redriving(it)));
    assert_eq!(control.count("bank").await.expect("counts"), expected);
}

fn named(names: &[Name]) -> Selection {
    Selection { names: names.to_vec(), ..Selection::default() }
}
