//! What the stories cannot see: that nothing is left over when a conversation has ended.

use participant::message::Vote;
use wal_core::{Fingerprint, Millis, Timestamp, TxnId};

use super::*;

const NOW: Now = Now { wall_us: 1_700_000_000_000_000, mono_us: 1 };

fn two_shards() -> Arc<Transaction> {
    let part = Arc::new(Vec::new());
    Arc::new(Transaction {
        id: TxnId::from_parts(Millis(1_700_000_000_000), 2),
        fingerprint: Fingerprint(1),
        namespace_version: 1,
        parts: vec![(ShardId(0), part.clone()), (ShardId(1), part)],
    })
}

/// Both shards vote yes, in turn; returns the engine and how many answers the call got.
fn commit(level: Level) -> (CommitEngine, usize) {
    let mut engine = CommitEngine::<Strict>::new(CommitConfig::new(1, 7, 2));
    let mut out = Vec::new();
    for shard in [ShardId(0), ShardId(1)] {
        engine.step(NOW, CommitEvent::Route { shard, epoch: Epoch(1) }, &mut out);
    }
    let (txn, id) = (two_shards(), two_shards().id);
    let what = Call::Submit { txn, level };
    engine.step(NOW, CommitEvent::Call { call: 1, what }, &mut out);
    let attempt = out
        .iter()
        .find_map(|command| match command {
            CommitCommand::Send { request: ShardRequest::Prepare(p), .. } => Some(p.attempt),
            _ => None,
        })
        .expect("the shards are asked to prepare");
    for shard in [ShardId(0), ShardId(1)] {
        let vote = Vote::Yes { proposal: Timestamp(8) };
        let reply = ShardReply::Voted { id, attempt, vote };
        engine.step(NOW, CommitEvent::Reply { shard, token: 1, reply }, &mut out);
    }
    let answers = out.iter().filter(|c| matches!(c, CommitCommand::Answer { .. })).count();
    (engine, answers)
}

#[test]
fn nothing_is_left_of_a_transaction_that_was_answered() {
    for level in [Level::Logged, Level::Committed] {
        let (engine, answers) = commit(level);
        assert_eq!(answers, 1, "{level:?}");
        assert!(engine.conversations.is_empty(), "{level:?}");
        assert!(engine.calls.is_empty(), "{level:?}");
    }
}

#[test]
fn a_call_that_is_not_answered_can_still_be_forgotten() {
    let (mut engine, answers) = commit(Level::Applied);
    assert_eq!((answers, engine.calls.len()), (0, 1));
    engine.step(NOW, CommitEvent::Forget { call: 1 }, &mut Vec::new());
    assert!(engine.calls.is_empty());
}

/// "No room" is the answer to one copy of a request. The simulator found a world in which another copy,
/// sent because the first was slow, found room after the client had been told that nothing was logged.
#[test]
fn no_room_is_no_answer_while_another_copy_is_on_its_way() {
    for (resent, answers) in [(false, 1), (true, 0)] {
        let mut engine = CommitEngine::<Strict>::new(CommitConfig::new(1, 7, 2));
        let mut out = Vec::new();
        let route = CommitEvent::Route { shard: ShardId(0), epoch: Epoch(1) };
        engine.step(NOW, route, &mut out);
        let whole = two_shards();
        let parts = vec![whole.parts[0].clone()];
        let txn = Arc::new(Transaction { parts, ..(*whole).clone() });
        let what = Call::Submit { txn, level: Level::Committed };
        engine.step(NOW, CommitEvent::Call { call: 1, what }, &mut out);
        if resent {
            let later = Now { mono_us: 60_000_000, ..NOW };
            engine.step(later, CommitEvent::Tick, &mut out);
        }
        let reply = ShardReply::Overloaded;
        engine.step(NOW, CommitEvent::Reply { shard: ShardId(0), token: 1, reply }, &mut out);
        let told = out.iter().filter(|c| matches!(c, CommitCommand::Answer { .. })).count();
        assert_eq!(told, answers, "sent again: {resent}");
    }
}
