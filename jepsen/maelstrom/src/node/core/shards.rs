//! Shard engines on the core thread: what they command is carried out, and seats come and go.

use std::sync::Arc;

use coordinator::interface::CommitEvent;
use participant::engine::{HaltReason, ShardCommand, ShardEvent};
use participant::message::Origin;
use wal_core::log::IntentLog;
use wal_core::{Nonce, Now, ShardId};

use super::{Core, Local};
use crate::node::seat::{Seat, SeatId};
use crate::node::storage::Replayed;

impl Core {
    pub(super) fn obey(&mut self, now: Now, id: SeatId, commands: Vec<ShardCommand>) {
        let shard = id.shard;
        for command in commands {
            match command {
                ShardCommand::Reply { origin, reply } => self.reply(shard, origin, reply),
                ShardCommand::Tell { shard, request } => {
                    self.request(shard, Origin::default(), request);
                }
                ShardCommand::ReadRows { io, keys } => self.storage.read(id, io, keys),
                ShardCommand::Flush { io, mutations } => self.storage.flush(id, io, mutations),
                // What the service has answered, it keeps.
                ShardCommand::SyncStore { io } => {
                    self.step_shard(now, id, ShardEvent::Synced { io });
                }
                ShardCommand::Checkpointed { checkpoint, trim } => {
                    self.storage.checkpointed(shard, checkpoint, trim);
                }
                ShardCommand::Drive { txn, start, attempt } => {
                    self.local.push_back(Local::Commit(CommitEvent::Drive { txn, start, attempt }));
                }
                ShardCommand::Recover { id, attempt, participants } => {
                    let event = CommitEvent::Recover { id, attempt, participants };
                    self.local.push_back(Local::Commit(event));
                }
                ShardCommand::Leading { epoch } => {
                    eprintln!("shard {shard}: leading epoch {epoch}");
                    if let Some(seat) = self.seat(id) {
                        seat.set_leading(epoch);
                    }
                    self.peers.leads(now.mono_us, shard, epoch);
                    self.local.push_back(Local::Commit(CommitEvent::Route { shard, epoch }));
                    self.next_beat_us = 0; // tell the others at once
                }
                ShardCommand::Parked { table, rows, why } => {
                    eprintln!("shard {shard}: {rows} rows of table {table} are parked: {why}");
                }
                ShardCommand::Discarded { .. } => {} // nobody here asks for it
                ShardCommand::Halt { why } => self.on_halt(now, shard, why),
            }
        }
    }

    pub(super) fn on_halt(&mut self, now: Now, shard: ShardId, why: HaltReason) {
        match why {
            HaltReason::Deposed => eprintln!("shard {shard}: another node was faster"),
            HaltReason::AppendInDoubt(why) => eprintln!("shard {shard}: the epoch is over: {why}"),
            HaltReason::Resigned => eprintln!("shard {shard}: resigned"),
            HaltReason::Corrupt(why) => {
                eprintln!("shard {shard}: FATAL: its log contradicts itself: {why}");
                self.corrupt.insert(shard);
            }
        }
        self.vacate(now, shard);
    }

    pub(super) fn vacate(&mut self, now: Now, shard: ShardId) {
        self.seats.remove(&shard);
        self.peers.failed(now.mono_us, shard, rand::random());
    }

    pub(super) fn on_replayed(&mut self, now: Now, id: SeatId, replayed: Replayed) {
        let owner = self.owner(now);
        let address = self.name.clone();
        let Some(seat) = self.seat(id) else { return };
        match replayed {
            Ok(read) => {
                let mut out = Vec::new();
                seat.on_replayed(now, read, (owner, address), &mut out);
                self.obey(now, id, out);
            }
            Err(error) => {
                eprintln!("shard {}: its log cannot be read: {error}", id.shard);
                self.vacate(now, id.shard);
            }
        }
    }

    /// Unlike that of any other candidacy.
    pub(super) fn owner(&mut self, now: Now) -> Nonce {
        let millis = u128::from(now.millis().0 & 0xffff_ffff_ffff);
        Nonce(
            millis << 80
                | u128::from(rand::random::<u64>()) << 16
                | u128::from(self.number() & 0xffff),
        )
    }

    pub(super) fn stand(&mut self, shard: ShardId) {
        let id = SeatId { shard, number: self.number() };
        let seat = Seat::new(id, self.log.identity(), Arc::clone(&self.schema), &self.options);
        self.seats.insert(shard, seat);
        self.storage.replay(id, None);
    }
}
