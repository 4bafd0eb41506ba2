//! Followers of the logs of a world at rest: what they tell is what committed, once each, in order, whoever
//! stopped and went on where.

use std::collections::BTreeMap;

use participant::follow::{Follower, Place, Scope, Told};
use wal_core::{Position, RowKey, ShardId, Timestamp, TxnId};

use crate::failure::{Check, Failure, ensure};
use crate::log::ShardLog;
use crate::rng::Rng;
use crate::space::Space;

/// How often, in a million records, a follower stops and another goes on.
const STOPS_PPM: u32 = 30_000;

/// Follows every shard in both scopes, and holds what is told against the truth.
pub(crate) fn check(space: &Space) -> Result<(), Failure> {
    let mut rng = Rng::new(space.log_identity.0 as u64);
    let mut whole: BTreeMap<TxnId, ShardId> = BTreeMap::new();
    let mut parts: BTreeMap<(TxnId, ShardId), Told> = BTreeMap::new();
    for shard in space.shards() {
        let log = space.broker.log(shard);
        for told in from_everywhere(shard, Scope::Whole, log, &mut rng)? {
            check_whole(space, &told)?;
            let before = whole.insert(told.id, shard);
            ensure!(before.is_none(), Follow, "{} is told twice: {before:?}, {shard}", told.id);
        }
        let mut written: BTreeMap<RowKey, Timestamp> = BTreeMap::new();
        for told in from_everywhere(shard, Scope::Parts, log, &mut rng)? {
            let rows = told.parts.iter().flat_map(|(_, part)| part.iter());
            for op in rows.filter(|op| !op.is_read_only()) {
                let before = written.insert(op.key.clone(), told.timestamp);
                ensure!(
                    before < Some(told.timestamp),
                    Follow,
                    "shard {shard} tells {} of {:?}, written at {}, behind {before:?}",
                    told.id,
                    op.key,
                    told.timestamp
                );
            }
            let id = told.id;
            let before = parts.insert((id, shard), told);
            ensure!(before.is_none(), Follow, "shard {shard} tells its part of {id} twice");
        }
    }
    for (id, committed) in space.truth.committed() {
        ensure!(whole.contains_key(&id), Follow, "{id} is committed, and nobody tells it");
        for (shard, adds) in &committed.adds {
            let told = parts.get(&(id, *shard));
            ensure!(
                told.is_some_and(|told| told.adds.as_ref() == Some(adds)
                    && told.timestamp == committed.timestamp),
                Follow,
                "shard {shard} tells {told:?} of {id}, which is {committed:?}"
            );
        }
    }
    Ok(())
}

fn check_whole(space: &Space, told: &Told) -> Result<(), Failure> {
    let id = told.id;
    let committed = space.truth.txn(id).and_then(|truth| truth.committed.as_ref());
    let participants: Option<Vec<ShardId>> =
        committed.map(|committed| committed.adds.iter().map(|(shard, _)| *shard).collect());
    let shards: Vec<ShardId> = told.parts.iter().map(|(shard, _)| *shard).collect();
    ensure!(
        participants.as_ref() == Some(&told.participants)
            && shards == told.participants
            && committed.is_some_and(|committed| committed.timestamp == told.timestamp)
            && shards[id.home_index(shards.len())] == told.shard,
        Follow,
        "{told:?} is told, and the logs say {committed:?}"
    );
    Ok(())
}

/// Everything that a shard tells from its first record on, if followers that begin elsewhere agree.
fn from_everywhere(
    shard: ShardId,
    scope: Scope,
    log: &ShardLog,
    rng: &mut Rng,
) -> Result<Vec<Told>, Failure> {
    let all = follow(shard, log, Follower::new(shard, scope, Place::default()), (0, 0), rng)?;
    let behind = |at: u64| all.partition_point(|told| told.position.0 < at);
    // From the first record that is left: what was promised before it stands in a checkpoint.
    let first = log.first();
    let (start, ready) = start(shard, scope, log)?;
    let follower = Follower::new(shard, scope, Place::default());
    let left = follow(shard, log, follower, (first, first), rng)?;
    ensure!(
        left == all[behind(start)..],
        Follow,
        "shard {shard} tells otherwise if it is read from {first} on: {left:?}"
    );
    // From now on, whenever that is.
    let now = rng.range(ready..log.end() + 1);
    let mut follower = Follower::new(shard, scope, Place::default());
    for offset in first..now {
        take(&mut follower, log, offset)?;
    }
    follower.begin_at(Position(now));
    let later = follow(shard, log, follower, (first, now), rng)?;
    ensure!(
        later == all[behind(now)..],
        Follow,
        "shard {shard} tells otherwise if somebody subscribes at {now}: {later:?}"
    );
    Ok(all)
}

/// Where somebody begins who reads from the first record that is left, and from where on nothing is missing;
/// the end of the log if nowhere.
fn start(shard: ShardId, scope: Scope, log: &ShardLog) -> Result<(u64, u64), Failure> {
    let mut follower = Follower::new(shard, scope, Place::default());
    let mut start = log.end();
    for offset in log.first()..log.end() {
        let was_searching = follower.is_searching();
        take(&mut follower, log, offset)?;
        if was_searching && !follower.is_searching() {
            start = offset;
        }
        if follower.is_ready() {
            return Ok((start, offset + 1));
        }
    }
    Ok((log.end(), log.end()))
}

/// Follows to the end; now and then somebody else goes on. `first` is the first record that is left.
fn follow(
    shard: ShardId,
    log: &ShardLog,
    mut follower: Follower,
    (first, from): (u64, u64),
    rng: &mut Rng,
) -> Result<Vec<Told>, Failure> {
    let mut all = Vec::new();
    let scope = follower.scope();
    let mut offset = from;
    let mut stops = 0;
    let mut closed = Timestamp::default();
    while offset < log.end() {
        closed = closed.max(follower.closed());
        let told = take(&mut follower, log, offset)?;
        if let Some(told) = &told {
            ensure!(
                told.timestamp > closed,
                Follow,
                "shard {shard} tells {} of {}, and {closed} was closed",
                told.id,
                told.timestamp
            );
        }
        all.extend(told);
        offset += 1;
        if stops < 20 && rng.chance(STOPS_PPM) {
            stops += 1;
            let place = follower.place();
            // Position 0 stands for the first record that is left.
            offset = place.from.0.max(first);
            follower = Follower::new(shard, scope, place);
        }
    }
    Ok(all)
}

fn take(follower: &mut Follower, log: &ShardLog, offset: u64) -> Result<Option<Told>, Failure> {
    let record = log.records[offset as usize].clone();
    follower
        .take(Position(offset), record)
        .map_err(|error| Failure::new(Check::Follow, error.to_string()))
}
