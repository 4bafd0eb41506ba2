use wal_core::{Epoch, Sequence};

use super::*;

/// A command that can be told from others.
fn command(number: u64) -> ShardCommand {
    ShardCommand::Leading { epoch: Epoch(number) }
}

fn numbers(commands: &[ShardCommand]) -> Vec<u64> {
    let number = |command: &ShardCommand| match command {
        ShardCommand::Leading { epoch } => epoch.0,
        other => panic!("only `command` makes these: {other:?}"),
    };
    commands.iter().map(number).collect()
}

#[test]
fn nothing_leaves_before_its_record_is_durable_and_then_in_order() {
    let mut outbox = Outbox::default();
    for (after, number) in [(0, 1), (2, 2), (2, 3), (5, 4)] {
        outbox.hold(Sequence(after), false, command(number));
    }
    let mut out = Vec::new();
    let mut released = Vec::new();
    for durable in [0, 1, 2, 4, 5] {
        assert!(outbox.release(Sequence(durable), true, &mut out).is_empty());
        released.push(numbers(&out).len());
    }
    assert_eq!(released, [1, 1, 3, 3, 4]);
    assert_eq!(numbers(&out), [1, 2, 3, 4]);
    assert_eq!(outbox.len(), 0);
}

#[test]
fn what_needs_a_lease_is_handed_back_without_one() {
    let mut outbox = Outbox::default();
    outbox.hold(Sequence(1), true, command(1));
    outbox.hold(Sequence(1), false, command(2));
    outbox.hold(Sequence(2), true, command(3));
    let mut out = Vec::new();
    let unproved = outbox.release(Sequence(1), false, &mut out);
    assert_eq!((numbers(&unproved), numbers(&out)), (vec![1], vec![2]));
    assert!(outbox.release(Sequence(2), true, &mut out).is_empty());
    assert_eq!(numbers(&out), [2, 3]);
}
