//! What travels between nodes, and may be lost, late, repeated or cut off.

use coordinator::api::{Call, CallAnswer, ReadAnswer};
use coordinator::interface::{CommitCommand, CommitEvent};
use participant::engine::ShardEvent;
use participant::message::{Origin, ShardReply, ShardRequest};
use wal_core::{Epoch, ShardId};

use crate::bug::AdapterBug;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::history::TxnHistory;
use crate::message::{Cut, Event, Message, SeatId};
use crate::names;
use crate::process::Phase;
use crate::world::{World, trace};

/// How often one message may come again.
const MOST_COPIES: u32 = 4;

impl World {
    /// Sends a request to the node that is known to lead a shard.
    pub(crate) fn request(
        &mut self,
        slot: usize,
        origin: Origin,
        shard: ShardId,
        request: ShardRequest,
    ) {
        self.count(names::request(&request));
        match self.route(slot, shard) {
            Some((_, to)) => {
                self.send_message(slot, to, Message::Request { origin, shard, request })
            }
            None => self.reply(slot, origin, shard, ShardReply::NotLeading { epoch: Epoch(0) }),
        }
    }

    /// Answers a commit engine, wherever its process runs.
    pub(crate) fn reply(&mut self, slot: usize, origin: Origin, shard: ShardId, reply: ShardReply) {
        let process = origin.node;
        let runs = |node: &crate::process::Node| {
            node.process.as_ref().is_some_and(|running| running.number == process)
        };
        if let Some(to) = self.space.nodes.iter().position(runs) {
            let token = origin.token;
            self.send_message(slot, to, Message::Reply { process, shard, token, reply });
        }
    }

    /// Puts a message on its way.
    pub(crate) fn send_message(&mut self, from: usize, to: usize, message: Message) {
        let local = from == to;
        if !local {
            let cut = self.cuts.contains(&Cut::Nodes { from, to });
            if cut || self.fires(Fault::MessageLost) {
                trace!(self, "n{from} => n{to} lost: {}", names::brief(&message));
                return;
            }
        }
        let mut delay = if local {
            self.rng.below(150)
        } else {
            self.space.plan.network_us / 2 + self.rng.below(self.space.plan.network_us)
        };
        if self.fires(Fault::MessageDelayed) {
            delay += self.rng.scale(1_000, 3_000_000);
        }
        let mut copies = 0;
        while !local && copies < MOST_COPIES && self.fires(Fault::MessageRepeated) {
            copies += 1;
            let again = delay + self.rng.scale(100, 2_000_000);
            self.note_repeated(&message);
            let message = Box::new(message.clone());
            let event = if self.rng.coin() {
                Event::Deliver { slot: to, message }
            } else {
                Event::Reroute { slot: from, message }
            };
            self.schedule(again, event);
        }
        self.schedule(delay, Event::Deliver { slot: to, message: Box::new(message) });
    }

    /// Who is told "not now" may rely on it only as long as nobody sends the request a second time.
    fn note_repeated(&mut self, message: &Message) {
        let Message::Request { request: ShardRequest::Single { txn, .. }, .. } = message else {
            return;
        };
        let same = |entry: &&mut TxnHistory| {
            entry.txn.id == txn.id && entry.txn.fingerprint == txn.fingerprint
        };
        if let Some(entry) = self.space.history.txns.iter_mut().rev().find(same) {
            entry.repeated = true;
        }
    }

    /// A request goes once more, to whoever its sender knows to lead by now.
    pub(crate) fn reroute(&mut self, slot: usize, message: Message) {
        let Message::Request { shard, .. } = &message else { return };
        if let Some((_, to)) = self.route(slot, *shard) {
            self.schedule(1, Event::Deliver { slot: to, message: Box::new(message) });
        }
    }

    pub(crate) fn on_message(&mut self, slot: usize, message: Message) -> Result<(), Failure> {
        let Some(process) = &self.space.nodes[slot].process else { return Ok(()) };
        let number = process.number;
        match message {
            Message::Request { origin, shard, request } => {
                self.mix(origin.token);
                self.on_request(slot, origin, shard, request)
            }
            Message::Reply { process, shard, token, reply } if process == number => {
                self.mix(token);
                self.step_commit(slot, CommitEvent::Reply { shard, token, reply })
            }
            Message::Reply { .. } => Ok(()),
            Message::Heartbeat { from, leads } => {
                for (shard, epoch) in leads {
                    self.learn_route(slot, shard, epoch, from)?;
                }
                Ok(())
            }
            Message::Call { call, what: Call::Read { keys } } if self.reads_table() => {
                let keys = keys.iter().map(|(_, key)| self.space.store.row(key));
                let rows = ReadAnswer::Rows(keys.collect());
                self.on_answered(slot, call, CallAnswer::Read(rows))
            }
            Message::Call { call, what } => {
                self.step_commit(slot, CommitEvent::Call { call, what })
            }
            Message::Forget { call } => self.step_commit(slot, CommitEvent::Forget { call }),
        }
    }

    /// Planted: the gateway reads the tables by itself.
    fn reads_table(&mut self) -> bool {
        self.space.plan.has_bug(AdapterBug::ReadsTableDirectly) && self.rng.coin()
    }

    /// A request arrives for a shard that may be led here.
    fn on_request(
        &mut self,
        slot: usize,
        origin: Origin,
        shard: ShardId,
        request: ShardRequest,
    ) -> Result<(), Failure> {
        match self.seat_id(slot, shard) {
            Some(seat) => {
                self.note_single(seat, origin, &request);
                self.step_shard(seat, ShardEvent::Request { origin, request })
            }
            None => {
                let epoch = self.route(slot, shard).map_or(Epoch(0), |(epoch, _)| epoch);
                self.reply(slot, origin, shard, ShardReply::NotLeading { epoch });
                Ok(())
            }
        }
    }

    /// Who leads a shard, as far as a node knows.
    pub(crate) fn route(&self, slot: usize, shard: ShardId) -> Option<(Epoch, usize)> {
        self.space.nodes[slot].process.as_ref()?.routes[shard.0 as usize]
    }

    /// A node hears who leads a shard.
    pub(crate) fn learn_route(
        &mut self,
        slot: usize,
        shard: ShardId,
        epoch: Epoch,
        leader: usize,
    ) -> Result<(), Failure> {
        let now_us = self.now_us;
        let stays = self.space.plan.reader_slot.is_none_or(|reader| reader == slot);
        if leader != slot
            && stays
            && self.route(slot, shard).is_some_and(|(known, _)| epoch > known)
            && self.fires(Fault::StaleRoute)
        {
            if let Some(process) = &mut self.space.nodes[slot].process {
                process.heard_us[shard.0 as usize] = now_us;
            }
            return Ok(());
        }
        let Some(process) = &mut self.space.nodes[slot].process else { return Ok(()) };
        let known = &mut process.routes[shard.0 as usize];
        let newer = known.is_none_or(|(known, _)| epoch > known);
        if newer {
            *known = Some((epoch, leader));
        } else if known.is_some_and(|(known, _)| epoch < known) {
            return Ok(());
        }
        process.heard_us[shard.0 as usize] = now_us;
        if newer {
            self.step_commit(slot, CommitEvent::Route { shard, epoch })?;
        }
        // A leader that hears of a later epoch has been deposed, and may notice.
        let Some(seat) = self.seat_id(slot, shard) else { return Ok(()) };
        let older = matches!(self.seat(seat).map(|seat| seat.phase), Some(Phase::Leading(mine)) if mine < epoch);
        if older && (self.healed_at.is_some() || self.rng.chance(30_000)) {
            self.count("deposed by hearsay");
            self.vacate(seat);
        }
        Ok(())
    }

    /// One step of a commit engine and everything that it commands.
    pub(crate) fn step_commit(&mut self, slot: usize, event: CommitEvent) -> Result<(), Failure> {
        let now = self.clock(slot);
        self.count(names::commit_event(&event));
        if !matches!(event, CommitEvent::Tick) {
            trace!(self, "n{slot} commit <- {}", names::brief(&event));
        }
        let mut commands = std::mem::take(&mut self.commit_commands);
        let Some(process) = &mut self.space.nodes[slot].process else {
            self.commit_commands = commands;
            return Ok(());
        };
        let number = process.number;
        process.commit.step(now, event, &mut commands);
        let mut result = Ok(());
        for command in commands.drain(..) {
            trace!(self, "n{slot} commit -> {}", names::brief(&command));
            match command {
                CommitCommand::Send { shard, token, request } => {
                    self.request(slot, Origin { node: number, token }, shard, request);
                }
                CommitCommand::Answer { call, answer } => {
                    result = self.on_answered(slot, call, answer);
                }
            }
            if result.is_err() || self.ends_mid_step(slot) {
                break;
            }
        }
        self.commit_commands = commands;
        self.commit_commands.clear();
        result
    }

    /// Whether the process ends here, between two commands.
    pub(crate) fn ends_mid_step(&mut self, slot: usize) -> bool {
        if self.space.nodes[slot].process.is_none() {
            return true;
        }
        let Some(left) = &mut self.machines[slot].crash_in else { return false };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        // The logs that a crash leaves behind are looked at when the next process starts.
        self.crash(slot, false).is_ok()
    }

    /// A node tells the others what it leads.
    pub(crate) fn on_heartbeat_due(&mut self, slot: usize, number: u64) -> Result<(), Failure> {
        if !self.is_alive(slot, number) {
            return Ok(());
        }
        let Some(process) = &self.space.nodes[slot].process else { return Ok(()) };
        let leads: Vec<(ShardId, Epoch)> = (0u16..)
            .zip(&process.seats)
            .filter_map(|(shard, seat)| match seat.as_ref()?.phase {
                Phase::Leading(epoch) => Some((ShardId(shard), epoch)),
                Phase::Reading | Phase::Standing => None,
            })
            .collect();
        for to in (0..self.space.plan.slots).filter(|to| *to != slot) {
            let leads = leads.clone();
            self.send_message(slot, to, Message::Heartbeat { from: slot, leads });
        }
        for (shard, epoch) in leads {
            self.learn_route(slot, shard, epoch, slot)?;
        }
        Ok(())
    }

    /// Which seats a node has, for faults that strike leaders.
    pub(crate) fn leading_seats(&self, slot: usize) -> Vec<SeatId> {
        let Some(process) = &self.space.nodes[slot].process else { return Vec::new() };
        (0u16..)
            .zip(&process.seats)
            .filter_map(|(shard, seat)| {
                let seat = seat.as_ref()?;
                matches!(seat.phase, Phase::Leading(_)).then_some(SeatId {
                    slot,
                    shard: ShardId(shard),
                    uid: seat.uid,
                })
            })
            .collect()
    }
}
