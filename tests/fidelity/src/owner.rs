//! An owner of a shard that follows the rules: what an engine does of leadership, and nothing else.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use wal_core::log::{AppendDone, Appended, IntentLog, ShardBatch};
use wal_core::record::{Acceptor, Body, Header, Verdict, decode, encode_into};
use wal_core::{Epoch, Nonce, Position, Sequence, ShardId};

/// No answer takes this long.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A record that counts, and the number that it carries (0: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Where it stands.
    pub position: Position,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its sequence.
    pub seq: Sequence,
    /// What it says.
    pub number: u32,
}

/// Every record of a shard that counts, read from the beginning, and the rule's state behind them.
pub fn counted(log: &dyn IntentLog, shard: ShardId) -> (Vec<Counted>, Acceptor) {
    let (mut acceptor, mut counted) = (Acceptor::default(), Vec::new());
    let visit = &mut |_, position, bytes: Bytes| {
        let (record, hash) = decode(bytes).expect("a record");
        if acceptor.judge(&record, hash) == Verdict::Accepted {
            let number = if let Body::Checkpoint { chunk, .. } = record.body { chunk } else { 0 };
            let Header { epoch, seq, .. } = record.header;
            counted.push(Counted { position, epoch, seq, number });
        }
        Ok(())
    };
    log.replay(&[(shard, Position(0))].into(), visit).expect("a readable log");
    (counted, acceptor)
}

/// The numbers among them, in order.
pub fn numbers(log: &dyn IntentLog, shard: ShardId) -> Vec<u32> {
    let (counted, _) = counted(log, shard);
    counted.into_iter().map(|it| it.number).filter(|number| *number > 0).collect()
}

/// Appends one batch; the answer comes through what is returned.
pub fn submit(log: &dyn IntentLog, batch: ShardBatch) -> mpsc::Receiver<Appended> {
    let (send, receive) = mpsc::channel();
    let done: AppendDone = Box::new(move |answers: Vec<Appended>| {
        for answer in answers {
            let _ = send.send(answer); // who asked may have left
        }
    });
    log.append(vec![batch], done);
    receive
}

/// The answer to one batch.
pub fn answer(receive: &mpsc::Receiver<Appended>) -> Appended {
    receive.recv_timeout(PATIENCE).expect("an answer (clause 6)")
}

/// An owner of one epoch of one shard.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Drawn for this epoch.
    pub nonce: Nonce,
    next: Sequence,
    hash: u64,
}

impl Owner {
    /// Takes the shard over: replays, appends an `Epoch` record, reads it back. `Err` says what came of it
    /// if that did not make it the owner.
    pub fn stand(log: &dyn IntentLog, shard: ShardId) -> Result<Self, String> {
        let (_, before) = counted(log, shard);
        let (it, record) = Self::ready(log.identity(), shard, &before);
        match answer(&submit(log, record)) {
            Appended::Durable { .. } => {}
            other => return Err(format!("{other:?}")),
        }
        let (_, after) = counted(log, shard);
        if after.owner == it.nonce { Ok(it) } else { Err(format!("epoch {} was lost", it.epoch)) }
    }

    /// One that stands behind what was read, and its `Epoch` record, which nobody has been sent.
    pub fn ready(identity: Nonce, shard: ShardId, before: &Acceptor) -> (Self, ShardBatch) {
        let (epoch, nonce) = (before.epoch.next(), Nonce(rand::random()));
        let mut it = Self { shard, epoch, nonce, next: Sequence(0), hash: before.hash };
        let address = String::new();
        let record = it.batch(&[Body::Epoch { log: identity, owner: nonce, address, wall_us: 0 }]);
        (it, record)
    }

    /// The next records of this epoch, with these numbers.
    pub fn records(&mut self, numbers: &[u32]) -> ShardBatch {
        let body = |number: &u32| Body::Checkpoint {
            chunk: *number,
            last: false,
            payload: Bytes::from(vec![7; 200]),
        };
        self.batch(&numbers.iter().map(body).collect::<Vec<_>>())
    }

    fn batch(&mut self, bodies: &[Body]) -> ShardBatch {
        let (mut bytes, mut ends, first) = (Vec::new(), Vec::new(), self.next);
        for body in bodies {
            let header = Header { epoch: self.epoch, seq: self.next, previous: self.hash };
            self.hash = encode_into(&mut bytes, &header, body);
            self.next = self.next.next();
            ends.push(u32::try_from(bytes.len()).expect("small records"));
        }
        ShardBatch { shard: self.shard, epoch: self.epoch, first, bytes: bytes.into(), ends }
    }

    /// Appends records with these numbers, and waits.
    pub fn append(&mut self, log: &dyn IntentLog, numbers: &[u32]) -> Appended {
        answer(&submit(log, self.records(numbers)))
    }
}
