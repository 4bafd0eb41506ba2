//! Who should lead which shard: a pure state machine, one for each namespace of a process.
//!
//! Only liveness depends on it. Who *does* lead is decided by the log alone, so it may be wrong, late, or
//! at odds with what another process thinks; then a shard pauses, and nothing else.
//!
//! Every participant tells every server several times a second that it is there and what it leads. From
//! those that were heard of lately, all processes work out the same owner for each shard: the participant
//! with the greatest hash of shard and address (rendezvous hashing, Thaler and Ravishankar 1998) among
//! those that are below their fair share, so that a participant that comes or goes moves few shards.
//!
//! * The owner of a shard that nobody leads, or whose leader fell silent, stands at once.
//! * A leader that sees another owner, for long enough, hands over: it finishes, resigns, and says so.
//! * An owner whose predecessor lives waits for that, but not for ever.
//! * Who was deposed or failed stands again only after a while, longer each time. Who failed says so too, and
//!   then somebody else owns the shard for a while, longer each time, and until its log was reached again from
//!   here: a process that hears the others well may still be cut off from the log, or have a clock that the
//!   log refuses.
//! * Who hears nobody any more, of processes that have not refused its connections either, is more likely
//!   cut off than left alone: it goes on with what it leads, and hesitates before it stands for more.
//! * Who was deposed may not know it: nobody asks it by its older epoch, and who writes nothing is refused
//!   nothing. So everybody says what it knows to be newer than what somebody claims; who deposed it may be gone.
//! * Epochs begin anew in each log. Those of another log, which a server may remember of one that was given up,
//!   say nothing of this one's.
//! * Who takes part no longer, because another pool serves the namespace, hands over to those who do. While
//!   there are none it goes on with what it leads, and stands for nothing: to be pinned to a pool that is
//!   empty is no reason to stop.

mod owners;

use std::collections::BTreeMap;
use std::sync::Arc;

use wal_core::{Epoch, Nonce, Now, ShardId};

use owners::owners;

/// Times, in microseconds of the process's clock, and who this process is.
#[derive(Clone, Debug)]
pub struct PlacementConfig {
    /// Where this process can be reached; its name among the participants.
    pub address: Arc<str>,
    /// The identity of the log that decides who leads.
    pub log: Nonce,
    /// Whether it may lead shards of the namespace. A gateway may not, nor a participant of another pool
    /// than the one that serves it.
    pub participates: bool,
    /// Shards of the namespace.
    pub shards: u16,
    /// A participant that was not heard of for so long is taken to be gone.
    pub silence_us: u64,
    /// How long a change of owner must last before a leader hands over; and how long a new process listens
    /// before it believes that nobody leads.
    pub settle_us: u64,
    /// How long an owner waits for a living leader to hand over.
    pub handover_us: u64,
}

impl PlacementConfig {
    /// Sensible times: silence 1 s, settling 1 s, a handover within 10 s.
    pub const fn new(address: Arc<str>, log: Nonce, participates: bool, shards: u16) -> Self {
        Self {
            address,
            log,
            participates,
            shards,
            silence_us: 1_000_000,
            settle_us: 1_000_000,
            handover_us: 10_000_000,
        }
    }
}

/// The first wait after a seat was lost; doubled each time, up to the last, until it is kept for that long.
const FIRST_RETRY_US: u64 = 100_000;
const LAST_RETRY_US: u64 = 10_000_000;
/// For how long who failed to lead a shard leaves it to others; doubled each time, up to the last, until it is
/// kept for [`LAST_RETRY_US`].
const FIRST_UNABLE_US: u64 = 10_000_000;
const LAST_UNABLE_US: u64 = 300_000_000;
/// How long who hears nobody hesitates. By then the others, if they are well, have taken over what it led.
const HESITATION_US: u64 = 10_000_000;

/// What a participant says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The log that its epochs are of. `None` from a server that is too old to say so.
    pub log: Option<Nonce>,
    /// It takes part: it may lead shards. Gateways, participants of another pool, and who is leaving, do
    /// not.
    pub participates: bool,
    /// What it leads of this namespace.
    pub leads: Vec<(ShardId, Epoch)>,
    /// What it failed to lead, and leaves to others if there are any; in order.
    pub unable: Vec<ShardId>,
    /// Shards of which somebody says that it leads them in an older epoch than this one, in which the sender
    /// has heard somebody lead: whoever that is has been deposed.
    pub over: Vec<(ShardId, Epoch)>,
}

/// Why a process no longer leads, nor stands for, a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It gave it up in order, and nothing went wrong.
    HandedOver,
    /// Another process leads it.
    Deposed,
    /// Its log could not be read or written from here.
    Failed,
}

/// What the placement is told.
#[derive(Clone, Debug)]
pub enum PlacementEvent {
    /// A server said how it is.
    Heard {
        /// Which.
        address: Arc<str>,
        /// What it said.
        beat: Beat,
    },
    /// A server refuses connections: it is not there.
    Gone {
        /// Which.
        address: Arc<str>,
    },
    /// This process leads a shard from now on.
    Leading {
        /// Which.
        shard: ShardId,
        /// In which epoch.
        epoch: Epoch,
    },
    /// This process no longer leads, nor stands for, a shard.
    Lost {
        /// Which.
        shard: ShardId,
        /// Why.
        why: Loss,
    },
    /// Whether a shard's log can be reached from here.
    Probed {
        /// Of which shard.
        shard: ShardId,
        /// Whether it answered.
        reached: bool,
    },
    /// From now on this process takes part, or no longer does: the namespace is served by its pool, or by
    /// another.
    Participates(bool),
    /// The process is to end: hand everything over.
    Leave,
    /// Time passes. About every 10 ms.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementCommand {
    /// Read the shard's log and stand for it.
    Stand(ShardId),
    /// Stop leading in order: finish, resign.
    Drain(ShardId),
    /// Drop the shard's engine as it is; nothing is to be said of that.
    Vacate(ShardId),
    /// Find out whether the shard's log can be reached.
    Probe(ShardId),
    /// The shard is led in this epoch by whoever is at the address.
    Route {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
        /// Where.
        address: Arc<str>,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seat {
    #[default]
    None,
    /// Reads the log, stands, or waits out a lease.
    Candidate,
    Leading(Epoch),
    /// Hands over.
    Draining(Epoch),
}

/// Whether this process may lead a shard, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ability {
    #[default]
    Able,
    /// It failed, and leaves the shard to others until then.
    Unable { until_us: u64 },
    /// It finds out whether it would fail again.
    Probing,
}

#[derive(Debug, Default)]
struct Place {
    seat: Seat,
    /// The newest leader heard of: epoch and address.
    route: Option<(Epoch, Arc<str>)>,
    /// The newest epoch of this very log that somebody led it in. `route` may be of another log, where a
    /// server did not say which.
    newest: Epoch,
    owner: Option<Arc<str>>,
    /// Since when `owner` owns it.
    owned_since_us: u64,
    led_since_us: u64,
    retry_at_us: u64,
    retry_us: u64,
    ability: Ability,
    /// For how long this process left it to others last.
    unable_us: u64,
}

impl Place {
    /// Its seat is lost, for a reason that may come again.
    fn lose(&mut self, now: Now) {
        let led = matches!(self.seat, Seat::Leading(_) | Seat::Draining(_));
        if led && now.mono_us >= self.led_since_us + LAST_RETRY_US {
            (self.retry_us, self.unable_us) = (0, 0);
        }
        self.seat = Seat::None;
        self.retry_us = (2 * self.retry_us).clamp(FIRST_RETRY_US, LAST_RETRY_US);
        // Two that depose each other in turn must not do so in step.
        let salt = now.mono_us % 1_009 * self.retry_us / 1_009;
        self.retry_at_us = now.mono_us + self.retry_us + salt;
    }

    /// It could not be led from here.
    fn fail(&mut self, now: Now) {
        self.lose(now);
        self.leave_to_others(now);
    }

    fn leave_to_others(&mut self, now: Now) {
        self.unable_us = (2 * self.unable_us).clamp(FIRST_UNABLE_US, LAST_UNABLE_US);
        self.ability = Ability::Unable { until_us: now.mono_us + self.unable_us };
    }
}

#[derive(Debug, Default)]
struct Peer {
    beat: Beat,
    heard_us: u64,
}

/// The placement of one namespace's shards. See the module.
#[derive(Debug)]
pub struct Placement {
    config: PlacementConfig,
    peers: BTreeMap<Arc<str>, Peer>,
    places: Vec<Place>,
    /// Set by the first event.
    began_us: Option<u64>,
    /// When the newest event came.
    now: Now,
    leaving: bool,
    /// Since when nobody was heard of any more.
    isolated_since_us: Option<u64>,
    /// Who took part when the owners were worked out last, and what each was unable to lead.
    members: Vec<Member>,
}

/// Who takes part, and what it is unable to lead.
type Member = (Arc<str>, Vec<ShardId>);

impl Placement {
    /// A process that has heard of nobody yet.
    pub fn new(config: PlacementConfig) -> Self {
        let places = (0..config.shards).map(|_| Place::default()).collect();
        Self {
            config,
            peers: BTreeMap::new(),
            places,
            began_us: None,
            now: Now::default(),
            leaving: false,
            isolated_since_us: None,
            members: Vec::new(),
        }
    }

    /// Takes one event in. Never fails, never blocks.
    pub fn step(&mut self, now: Now, event: PlacementEvent, out: &mut Vec<PlacementCommand>) {
        self.began_us.get_or_insert(now.mono_us);
        self.now = now;
        match event {
            PlacementEvent::Heard { address, beat } => self.on_heard(now, address, beat, out),
            PlacementEvent::Gone { address } => {
                if let Some(peer) = self.peers.get_mut(&address) {
                    peer.heard_us = 0;
                }
            }
            PlacementEvent::Leading { shard, epoch } => self.on_leading(now, shard, epoch, out),
            PlacementEvent::Lost { shard, why } => self.on_lost(now, shard, why),
            PlacementEvent::Probed { shard, reached } => self.on_probed(now, shard, reached),
            PlacementEvent::Participates(participates) => self.config.participates = participates,
            PlacementEvent::Leave => {
                self.leaving = true;
                for (shard, place) in (0..).map(ShardId).zip(&mut self.places) {
                    drain_or_vacate(shard, place, out);
                }
            }
            PlacementEvent::Tick => self.on_tick(now, out),
        }
    }

    /// What this process says of itself.
    pub fn beat(&self) -> Beat {
        let leads = (0..).map(ShardId).zip(&self.places).filter_map(|(shard, place)| {
            let (Seat::Leading(epoch) | Seat::Draining(epoch)) = place.seat else { return None };
            Some((shard, epoch))
        });
        let participates = self.config.participates && !self.leaving;
        Beat {
            log: Some(self.config.log),
            participates,
            leads: leads.collect(),
            unable: self.unable(),
            over: self.over(),
        }
    }

    /// What the living claim in an older epoch than is known of.
    fn over(&self) -> Vec<(ShardId, Epoch)> {
        let living = self.peers.values().filter(|peer| self.is_alive(self.now, peer));
        let over = living.flat_map(|peer| &peer.beat.leads).filter_map(|(shard, claimed)| {
            let newest = self.places.get(usize::from(shard.0))?.newest;
            (*claimed < newest).then_some((*shard, newest))
        });
        // One that several claim is said once.
        over.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// What this process leaves to others for now.
    fn unable(&self) -> Vec<ShardId> {
        let places = (0..).map(ShardId).zip(&self.places);
        let unable = places.filter(|(_, place)| place.ability != Ability::Able);
        unable.map(|(shard, _)| shard).collect()
    }

    /// Where a shard was last known to be led, and in which epoch.
    pub fn route(&self, shard: ShardId) -> Option<(Epoch, &Arc<str>)> {
        let (epoch, address) = self.places.get(usize::from(shard.0))?.route.as_ref()?;
        Some((*epoch, address))
    }

    fn on_leading(
        &mut self,
        now: Now,
        shard: ShardId,
        epoch: Epoch,
        out: &mut Vec<PlacementCommand>,
    ) {
        let address = self.config.address.clone();
        let Some(place) = self.places.get_mut(usize::from(shard.0)) else { return };
        place.seat = Seat::Leading(epoch);
        place.ability = Ability::Able;
        place.led_since_us = now.mono_us;
        if place.newest > epoch {
            // Deposed before it began. Everybody asks by the later epoch's name, so it would not find out.
            place.lose(now);
            out.push(PlacementCommand::Vacate(shard));
            return;
        }
        place.newest = epoch;
        place.route = Some((epoch, address.clone()));
        out.push(PlacementCommand::Route { shard, epoch, address });
    }

    fn on_heard(
        &mut self,
        now: Now,
        address: Arc<str>,
        mut beat: Beat,
        out: &mut Vec<PlacementCommand>,
    ) {
        let is_of_this_log = beat.log == Some(self.config.log);
        match beat.log {
            Some(_) if is_of_this_log => {}
            // Epochs begin anew in each log. Who remembers those of one that was given up deposes nobody.
            Some(_) => (beat.leads, beat.over) = Default::default(),
            None => beat.over.clear(),
        }
        for &(shard, epoch) in &beat.leads {
            let Some(place) = self.places.get_mut(usize::from(shard.0)) else { continue };
            if is_of_this_log {
                place.newest = place.newest.max(epoch);
            }
            if place.route.as_ref().is_none_or(|(known, _)| *known < epoch) {
                place.route = Some((epoch, address.clone()));
                out.push(PlacementCommand::Route { shard, epoch, address: address.clone() });
            }
        }
        // Somebody won a later epoch: this process has been deposed, and may not know it. If the winner is
        // gone by now, others say so.
        for &(shard, epoch) in beat.leads.iter().chain(&beat.over) {
            let Some(place) = self.places.get_mut(usize::from(shard.0)) else { continue };
            if matches!(place.seat, Seat::Leading(own) | Seat::Draining(own) if own < epoch) {
                place.lose(now);
                out.push(PlacementCommand::Vacate(shard));
            }
        }
        self.peers.insert(address, Peer { beat, heard_us: now.mono_us });
    }

    fn on_lost(&mut self, now: Now, shard: ShardId, why: Loss) {
        let Some(place) = self.places.get_mut(usize::from(shard.0)) else { return };
        if self.isolated_since_us.is_some() && why != Loss::HandedOver {
            place.retry_us = LAST_RETRY_US; // whoever deposed it is there, and stays unheard
        }
        match why {
            Loss::HandedOver => place.seat = Seat::None,
            Loss::Deposed => place.lose(now),
            Loss::Failed => place.fail(now),
        }
    }

    fn on_probed(&mut self, now: Now, shard: ShardId, reached: bool) {
        let Some(place) = self.places.get_mut(usize::from(shard.0)) else { return };
        match place.ability {
            Ability::Probing if reached => place.ability = Ability::Able,
            Ability::Probing => place.leave_to_others(now),
            // It has failed again, or leads, since the question was asked.
            Ability::Unable { .. } | Ability::Able => {}
        }
    }

    fn on_tick(&mut self, now: Now, out: &mut Vec<PlacementCommand>) {
        if self.leaving {
            return;
        }
        for (shard, place) in (0..).map(ShardId).zip(&mut self.places) {
            if matches!(place.ability, Ability::Unable { until_us } if now.mono_us >= until_us) {
                place.ability = Ability::Probing;
                out.push(PlacementCommand::Probe(shard));
            }
        }
        self.own(now);
        let hesitates = self.hesitates(now);
        let listened = now.mono_us >= self.began_us.unwrap_or_default() + self.config.settle_us;
        for index in 0..self.places.len() {
            let shard = ShardId(u16::try_from(index).expect("a namespace's shards fit 16 bits"));
            let place = &self.places[index];
            // Nobody may lead it: who does goes on.
            let Some(owner) = &place.owner else { continue };
            let settled = now.mono_us >= place.owned_since_us + self.config.settle_us;
            if *owner != self.config.address {
                if settled {
                    drain_or_vacate(shard, &mut self.places[index], out);
                }
                continue;
            }
            let free = place.seat == Seat::None && now.mono_us >= place.retry_at_us;
            if !free || !listened || hesitates {
                continue;
            }
            let waited = now.mono_us >= place.owned_since_us + self.config.handover_us;
            if waited || !self.is_led_by_another(now, shard) {
                self.places[index].seat = Seat::Candidate;
                out.push(PlacementCommand::Stand(shard));
            }
        }
    }

    /// Works out the owners anew, if the members have changed, or what they are unable to lead.
    fn own(&mut self, now: Now) {
        let mut members: Vec<Member> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.beat.participates && self.is_alive(now, peer))
            .map(|(address, peer)| (address.clone(), peer.beat.unable.clone()))
            .collect();
        if self.config.participates {
            members.push((self.config.address.clone(), self.unable()));
        }
        members.sort_unstable();
        members.dedup_by(|other, first| other.0 == first.0);
        if members == self.members {
            return;
        }
        let owners = owners(&members, self.config.shards).into_iter().map(Some);
        for (place, owner) in self.places.iter_mut().zip(owners.chain(std::iter::repeat(None))) {
            if place.owner != owner {
                place.owner = owner;
                place.owned_since_us = now.mono_us;
            }
        }
        self.members = members;
    }

    /// Whether it hears nobody, and has not for long.
    fn hesitates(&mut self, now: Now) -> bool {
        let hears_any = self.peers.values().any(|peer| self.is_alive(now, peer));
        // One that refuses connections is gone, and not cut off.
        let misses_any = self.peers.values().any(|peer| peer.heard_us > 0);
        if hears_any || !misses_any {
            self.isolated_since_us = None;
            return false;
        }
        now.mono_us < *self.isolated_since_us.get_or_insert(now.mono_us) + HESITATION_US
    }

    const fn is_alive(&self, now: Now, peer: &Peer) -> bool {
        now.mono_us < peer.heard_us.saturating_add(self.config.silence_us)
    }

    /// Whether a living process says that it leads the shard, in the newest epoch known.
    fn is_led_by_another(&self, now: Now, shard: ShardId) -> bool {
        self.peers.iter().any(|(address, peer)| {
            *address != self.config.address
                && self.is_alive(now, peer)
                && peer.beat.leads.iter().any(|(led, _)| *led == shard)
        })
    }
}

fn drain_or_vacate(shard: ShardId, place: &mut Place, out: &mut Vec<PlacementCommand>) {
    match place.seat {
        Seat::None | Seat::Draining(_) => {}
        Seat::Candidate => {
            place.seat = Seat::None;
            out.push(PlacementCommand::Vacate(shard));
        }
        Seat::Leading(epoch) => {
            place.seat = Seat::Draining(epoch);
            out.push(PlacementCommand::Drain(shard));
        }
    }
}

#[cfg(test)]
mod tests;
