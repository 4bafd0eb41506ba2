use wal_core::{Epoch, Nonce, ShardId};

use super::*;

fn beat_of(log: Option<Nonce>) -> Beat {
    Beat {
        log,
        participates: true,
        leads: vec![(ShardId(1), Epoch(7))],
        unable: vec![ShardId(2)],
        over: vec![(ShardId(3), Epoch(u64::MAX))],
    }
}

fn read(beat: &peer::Beat) -> Option<Beat> {
    match wire::heard(&"node:1".into(), beat).ok()? {
        FromPeer::Heard { beat, .. } => Some(beat),
        other => panic!("a beat is heard: {other:?}"),
    }
}

#[test]
fn a_beat_that_was_sent_is_what_is_heard() {
    for log in [None, Some(Nonce(0)), Some(Nonce(1 << 100)), Some(Nonce(u128::MAX))] {
        let sent = wire::beat("bank", &beat_of(log));
        assert_eq!(sent.namespace, "bank");
        assert_eq!(sent.log.len(), if log.is_some() { 16 } else { 0 });
        assert_eq!(read(&sent), Some(beat_of(log)));
    }
}

#[test]
fn a_beat_that_names_its_log_badly_is_not_read() {
    let sent = wire::beat("bank", &beat_of(Some(Nonce(5))));
    for length in [1, 8, 15, 17, 32] {
        let log = vec![1; length].into();
        assert_eq!(read(&peer::Beat { log, ..sent.clone() }), None, "{length} bytes");
    }
    let over = vec![peer::Led { shard: 1 << 16, epoch: 1 }];
    assert_eq!(read(&peer::Beat { over, ..sent }), None, "no such shard");
}
