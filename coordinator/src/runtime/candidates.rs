//! One server among others: its seats come and go, and others lead the rest.

use std::sync::Arc;

use participant::engine::{HaltReason, ShardConfig, ShardEngine, ShardEvent};
use participant::message::{Origin, ShardReply, ShardRequest};
use wal_core::log::LogError;
use wal_core::{Now, Position, ShardId};

use super::core::{Core, Local};
use super::handle::{Input, Stopped};
use super::peers::{Cluster, FromPeer, PeerReply, PeerRequest, Transport};
use super::reader::{self, Chunk};
use super::recover::owner_nonce;
use super::seat::{Phase, Seat, SeatId};
use super::{outgoing::Outgoing, shard_limits};
use crate::interface::CommitEvent;
use crate::placement::{Loss, Placement, PlacementCommand, PlacementEvent};

/// How often this server tells the others how it is, beside whenever that changes.
const BEAT_EVERY_US: u64 = 200_000;

/// What a runtime among others has beside its engines.
pub(super) struct Among {
    transport: Arc<dyn Transport>,
    placement: Placement,
    pub(super) outgoing: Outgoing,
    beat_at_us: u64,
    last_uid: u64,
    /// Shards whose log contradicts itself: a person must look before they are led again.
    condemned: Vec<ShardId>,
}

impl Among {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            transport: cluster.transport,
            placement: Placement::new(cluster.placement),
            outgoing: Outgoing::default(),
            beat_at_us: 0,
            last_uid: 0,
            condemned: Vec::new(),
        }
    }

    pub(super) const fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(super) fn send(&mut self) {
        self.outgoing.send(&*self.transport);
    }
}

impl Core {
    pub(super) fn seat_mut(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.shards.get_mut(&id.shard).filter(|seat| seat.uid == id.uid)
    }

    /// Hands an event to the engine that it is for, if that is still the one that leads.
    pub(super) fn step_seat(&mut self, now: Now, id: SeatId, event: ShardEvent) {
        if self.seat_mut(id).is_some() {
            self.step_shard(now, id.shard, event);
        }
    }

    pub(super) fn place(&mut self, now: Now, event: PlacementEvent) {
        let Some(among) = &mut self.among else { return };
        let mut commands = Vec::new();
        among.placement.step(now, event, &mut commands);
        for command in commands {
            match command {
                PlacementCommand::Stand(shard) => self.stand(now, shard),
                PlacementCommand::Drain(shard) => self.step_shard(now, shard, ShardEvent::Drain),
                PlacementCommand::Vacate(shard) => self.vacate(shard),
                PlacementCommand::Probe(shard) => self.probe(shard),
                PlacementCommand::Route { shard, epoch, address } => {
                    tracing::debug!(%shard, %epoch, %address, "led");
                    self.local.push_back(Local::Commit(CommitEvent::Route { shard, epoch }));
                }
            }
        }
    }

    /// Tells the others how this server is, if it is time.
    pub(super) fn beat(&mut self, now: Now) {
        let Some(among) = &mut self.among else { return };
        if now.mono_us >= among.beat_at_us {
            among.beat_at_us = now.mono_us + BEAT_EVERY_US;
            among.transport.beat(among.placement.beat());
        }
    }

    pub(super) fn beat_soon(&mut self) {
        if let Some(among) = &mut self.among {
            among.beat_at_us = 0;
        }
    }

    /// Makes an engine for a shard and has it read the log.
    fn stand(&mut self, now: Now, shard: ShardId) {
        let Some(among) = &mut self.among else { return };
        if among.condemned.contains(&shard) {
            return self.place(now, PlacementEvent::Lost { shard, why: Loss::Failed });
        }
        among.last_uid += 1;
        let id = SeatId { shard, uid: among.last_uid };
        let config = ShardConfig {
            shard,
            log: self.parts.log.identity(),
            leadership: self.parts.leadership,
            limits: shard_limits(&self.parts.namespace),
        };
        let engine = ShardEngine::new(config, self.schema.clone());
        self.shards.insert(shard, Seat::new(id.uid, engine, Phase::Reading));
        tracing::info!(%shard, "reading the log to lead the shard");
        self.read_log(id, None);
    }

    /// Finds out whether a shard's log can be reached: asked to drop nothing, it asks where the shard begins.
    fn probe(&self, shard: ShardId) {
        let (log, core) = (self.parts.log.clone(), self.shared.input.clone());
        let probing = std::thread::Builder::new().name("probe".into()).spawn(move || {
            let reached = log.trim(shard, Position(0)).is_ok();
            let _ = core.send(Input::Probed { shard, reached }); // the core may be gone
        });
        if let Err(error) = probing {
            tracing::error!(%shard, %error, "cannot start a thread to reach the log");
            let _ = self.shared.input.send(Input::Probed { shard, reached: false }); // as above
        }
    }

    /// Reads on from `from`, or from where the newest checkpoint starts.
    pub(super) fn read_log(&mut self, seat: SeatId, from: Option<Position>) {
        let (log, core) = (self.parts.log.clone(), self.shared.input.clone());
        if let Err(error) = reader::read(log, seat, from, core) {
            tracing::error!(shard = %seat.shard, %error, "cannot start a thread to read the log");
            let now = self.parts.clock.now();
            self.lose(now, seat.shard, Loss::Failed);
        }
    }

    pub(super) fn take_logged(&mut self, now: Now, seat: SeatId, chunk: Chunk) {
        for (position, record) in chunk.into_records() {
            self.step_seat(now, seat, ShardEvent::Logged { position, record });
        }
    }

    pub(super) fn take_read_to(&mut self, now: Now, id: SeatId, end: Result<Position, LogError>) {
        let address = self.parts.address.clone();
        let owner = owner_nonce(now, self.parts.seed ^ id.uid, id.shard);
        let Some(seat) = self.seat_mut(id) else { return };
        match end {
            Err(error) => {
                tracing::warn!(shard = %id.shard, %error, "the log cannot be read; trying again");
                self.lose(now, id.shard, Loss::Failed);
            }
            Ok(end) if seat.phase == Phase::Reading => {
                seat.phase = Phase::Standing(end);
                self.step_seat(now, id, ShardEvent::Stand { owner, address });
            }
            // It has read its own record back, or it was deposed and has said so.
            Ok(_) => {}
        }
    }

    pub(super) fn leads(&mut self, now: Now, shard: ShardId, epoch: wal_core::Epoch) {
        if let Some(seat) = self.shards.get_mut(&shard) {
            seat.phase = Phase::Leading;
        }
        if self.among.is_some() {
            tracing::info!(%shard, %epoch, "leading");
            self.place(now, PlacementEvent::Leading { shard, epoch });
            self.beat_soon();
        } else {
            self.local.push_back(Local::Commit(CommitEvent::Route { shard, epoch }));
        }
    }

    /// An engine said its last word.
    pub(super) fn halted(&mut self, now: Now, shard: ShardId, why: HaltReason) {
        let text = match why {
            HaltReason::Resigned => "it was handed over".to_owned(),
            HaltReason::Deposed => "it was taken over by another process".to_owned(),
            HaltReason::AppendInDoubt(ref why) => format!(
                "the log failed ({why}); everything acknowledged is safe: mend the log and start \
                 the server again"
            ),
            HaltReason::Corrupt(ref why) => format!("its log contradicts itself: {why}"),
        };
        let Some(among) = &mut self.among else {
            // With a log of one owner, all shards are in doubt: the process starts anew to find the truth.
            if why != HaltReason::Resigned {
                tracing::error!(%shard, "{text}");
                let failed = Stopped::Failed(format!("shard {shard}: {text}"));
                let _ = self.shared.stopped.set(failed); // the first reason is the one to tell
                self.leave_unanswered();
            }
            return;
        };
        if let HaltReason::Corrupt(_) = why {
            tracing::error!(%shard, "the shard cannot be led until somebody has looked: {text}");
            among.condemned.push(shard);
        } else {
            tracing::info!(%shard, "no longer leading: {text}");
        }
        let why = match why {
            HaltReason::Resigned => Loss::HandedOver,
            HaltReason::Deposed => Loss::Deposed,
            HaltReason::AppendInDoubt(_) | HaltReason::Corrupt(_) => Loss::Failed,
        };
        self.lose(now, shard, why);
    }

    fn lose(&mut self, now: Now, shard: ShardId, why: Loss) {
        self.vacate(shard);
        self.place(now, PlacementEvent::Lost { shard, why });
    }

    fn vacate(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
        self.beat_soon();
    }

    /// A request to a shard: of this process, or of another server that leads it.
    pub(super) fn send_request(&mut self, shard: ShardId, token: u64, request: ShardRequest) {
        let address = match &self.among {
            Some(among) if !self.is_led_here(shard) => among.placement.route(shard),
            _ => None,
        };
        match (address.map(|(_, address)| address.clone()), &mut self.among) {
            (Some(address), Some(among)) if *address != *self.parts.address => {
                among.outgoing.ask(&address, PeerRequest { shard, token, request });
            }
            _ => {
                let origin = Origin { node: 0, token };
                self.local.push_back(Local::Request { shard, origin, request });
            }
        }
    }

    pub(super) fn is_led_here(&self, shard: ShardId) -> bool {
        self.shards.get(&shard).is_some_and(|seat| seat.phase == Phase::Leading)
    }

    /// A request to a shard for which this process has no engine.
    pub(super) fn refuse(&mut self, shard: ShardId, origin: Origin) {
        let route = self.among.as_ref().and_then(|among| among.placement.route(shard));
        let epoch = route.map(|(epoch, _)| epoch).unwrap_or_default();
        self.reply(shard, origin, ShardReply::NotLeading { epoch });
    }

    pub(super) fn reply_to_peer(&mut self, connection: u64, reply: PeerReply) {
        if let Some(among) = &mut self.among {
            among.outgoing.answer(connection, reply);
        }
    }

    pub(super) fn take_from_peer(&mut self, now: Now, message: FromPeer) {
        match message {
            FromPeer::Asked { connection, requests } => {
                for PeerRequest { shard, token, request } in requests {
                    let origin = Origin { node: connection, token };
                    self.local.push_back(Local::Request { shard, origin, request });
                }
            }
            FromPeer::Answered(replies) => {
                for PeerReply { shard, token, reply } in replies {
                    let event = CommitEvent::Reply { shard, token, reply };
                    self.local.push_back(Local::Commit(event));
                }
            }
            FromPeer::Heard { address, beat } => {
                self.place(now, PlacementEvent::Heard { address, beat });
            }
            FromPeer::Gone { address } => self.place(now, PlacementEvent::Gone { address }),
        }
    }

    /// Whether everything was handed over: nothing is led, and nothing is under way that may yet end.
    pub(super) fn is_drained(&self) -> bool {
        let handed_over = self.among.is_none() || self.shards.is_empty();
        let is_idle = self.replies.is_empty() && self.commit.in_flight() == 0;
        self.has_stopped() || handed_over && is_idle
    }

    /// Whether it serves no more: it has failed.
    pub(super) fn has_stopped(&self) -> bool {
        self.shared.stopped.get().is_some()
    }
}
