//! A shard, a target and a store of dead letters that fail at random, around one engine that dies at random.
//!
//! The world knows what the engine cannot: what has really arrived. It judges by that alone.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::backoff::Draw;

/// After it, a try is told to have failed.
const DEADLINE_US: u64 = 2 * S;
/// When the world is well again, everything must be over within so long, and so many events.
const MOST_US: u64 = 3_600 * S;
const MOST_EVENTS: u32 = 20_000;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Fails in every way while the target is sick.
    Usual,
    /// The target never takes it.
    Poison,
    /// Always fails for a reason that might pass.
    Stubborn,
    /// Fails by a fault of ours while the target is sick.
    Ours,
}

/// What will happen.
#[derive(Clone, Debug)]
enum Coming {
    Arrives(Ticket),
    Answer(Ticket, u32, Answer),
    /// `stored`: it is durable, whatever is answered.
    Burial {
        ticket: Ticket,
        ok: bool,
        stored: bool,
    },
    Resume,
}

/// How often what happened, so that a test knows that it tests something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) arrived: u32,
    pub(super) repeated: u32,
    pub(super) buried: u32,
    pub(super) refused: u32,
    pub(super) discarded: u32,
    pub(super) crashes: u32,
    pub(super) drains: u32,
    pub(super) pauses: u32,
    pub(super) unanswered: u32,
    pub(super) late: u32,
    pub(super) twice: u32,
    pub(super) overloads: u32,
    pub(super) ours: u32,
}

pub(super) struct World {
    draw: Draw,
    config: DeliveryConfig,
    rules: Without,
    engine: Engine<u64, Without>,
    now_us: u64,
    sick_until_us: u64,
    /// The log: its messages, what becomes of them, and its end.
    log: Vec<(Message<u64>, Fate)>,
    end: Position,
    /// The next of the log to be handed in.
    cursor: usize,
    agenda: BTreeMap<(u64, u64), Coming>,
    events: u64,
    /// Tries that were not told to have ended.
    out: BTreeMap<Ticket, u32>,
    arrived: BTreeSet<Ticket>,
    dead: BTreeSet<Ticket>,
    discarded: BTreeSet<Ticket>,
    /// The first of the log that is not dealt with.
    undealt: usize,
    /// What was stored of the mark.
    mark: Position,
    is_draining: bool,
    crash: bool,
    pub(super) happened: Happened,
}

impl World {
    pub(super) fn new(seed: u64, rules: Without) -> Self {
        let mut draw = Draw::new(seed);
        let mut config = DeliveryConfig::new(draw.next());
        config.max_messages = 1 + draw.up_to(39) as usize;
        config.max_bytes = 10 + draw.up_to(1_000);
        config.window.ceiling = 1 + draw.up_to(7) as u32;
        config.window.initial = 1 + draw.up_to(7) as u32;
        config.window.pauses = Pauses { first_us: 50 * MS, longest_us: 3 * S };
        config.window.doubt_us = 10 * S;
        config.window.latency = config.window.latency.filter(|_| seed.is_multiple_of(2));
        config.retry.pauses = Pauses { first_us: 20 * MS, longest_us: 5 * S };
        config.retry.max_tries = 1 + draw.up_to(6) as u32;
        config.retry.max_age_us = (draw.up_to(2) == 0).then_some(20 * S);
        config.retry.max_overloaded_age_us = (draw.up_to(3) == 0).then_some(30 * S);
        config.retry.ours_pause_us = 120 * S;
        config.burial.most_at_once = 1 + draw.up_to(3) as usize;
        config.mark.every_messages = 1 + draw.up_to(10);
        let (log, end) = log(&mut draw);
        let sick_until_us = S + draw.up_to(120 * S);
        Self {
            config,
            rules,
            engine: Engine::with_rules(config, Position(0), rules),
            now_us: S,
            sick_until_us,
            log,
            end,
            cursor: 0,
            agenda: BTreeMap::new(),
            events: 0,
            out: BTreeMap::new(),
            arrived: BTreeSet::new(),
            dead: BTreeSet::new(),
            discarded: BTreeSet::new(),
            undealt: 0,
            mark: Position(0),
            is_draining: false,
            crash: false,
            happened: Happened::default(),
            draw,
        }
    }

    /// Runs until everything is dealt with, and marked; or says what went wrong.
    pub(super) fn run(&mut self) -> Result<Happened, String> {
        let mut events_in_health = 0;
        while !self.is_done() {
            if self.is_well() {
                if events_in_health == 0 && self.draw.up_to(1) == 0 {
                    self.tell(Event::Retry(Which::All))?;
                }
                events_in_health += 1;
                if events_in_health > MOST_EVENTS || self.now_us > self.sick_until_us + MOST_US {
                    return Err(format!(
                        "it does not end: {:?}",
                        self.engine.status(at(self.now_us))
                    ));
                }
            } else {
                self.act()?;
            }
            self.feed()?;
            self.pass()?;
            if self.crash {
                self.restart()?;
            }
        }
        self.judge_the_end()
    }

    fn is_done(&self) -> bool {
        self.mark == self.end && self.undealt == self.log.len()
    }

    fn is_well(&self) -> bool {
        self.now_us >= self.sick_until_us
    }

    fn is_dealt(&self, ticket: Ticket) -> bool {
        [&self.arrived, &self.dead, &self.discarded].iter().any(|dealt| dealt.contains(&ticket))
    }

    fn judge_the_end(&self) -> Result<Happened, String> {
        for (message, fate) in &self.log {
            let ticket = message.ticket;
            if !self.is_dealt(ticket) {
                return Err(format!("{ticket} is lost"));
            }
            if *fate == Fate::Ours && self.dead.contains(&ticket) {
                return Err(format!("{ticket} was given up for a fault of ours"));
            }
        }
        Ok(self.happened)
    }

    /// What people do to it, and what power does.
    fn act(&mut self) -> Result<(), String> {
        match self.draw.up_to(400) {
            0..=2 => self.crash = true,
            3..=4 if !self.is_draining => {
                self.happened.drains += 1;
                self.is_draining = true;
                self.tell(Event::Drain)?;
            }
            5..=7 => {
                self.happened.pauses += 1;
                self.tell(Event::Pause)?;
                let us = self.draw.up_to(10 * S);
                self.soon(us, Coming::Resume);
            }
            8..=10 => self.tell(Event::Retry(Which::All))?,
            11..=12 => {
                let ticket = self.any_ticket();
                self.tell(Event::Retry(Which::One(ticket)))?;
            }
            13..=14 => {
                let ticket = self.any_ticket();
                if !self.is_dealt(ticket) {
                    self.happened.discarded += 1;
                    self.discarded.insert(ticket);
                    self.tell(Event::Discard { ticket })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn any_ticket(&mut self) -> Ticket {
        let index = self.draw.up_to(self.log.len() as u64 - 1) as usize;
        self.log[index].0.ticket
    }

    /// Reads on, as far as there is room.
    fn feed(&mut self) -> Result<(), String> {
        let most = if self.is_well() { usize::MAX } else { self.draw.up_to(3) as usize };
        for _ in 0..most {
            if self.engine.room().is_full() || self.crash {
                return Ok(());
            }
            let Some((message, _)) = self.log.get(self.cursor) else {
                if self.engine.mark() < self.end && self.engine.status(at(self.now_us)).held == 0 {
                    self.tell(Event::ReadTo { position: self.end })?;
                }
                return Ok(());
            };
            let message = message.clone();
            self.cursor += 1;
            if self.draw.up_to(3) == 0 {
                self.tell(Event::ReadTo { position: message.ticket.position })?;
            }
            let ticket = message.ticket;
            if !self.dead.contains(&ticket) && !self.discarded.contains(&ticket) {
                self.tell(Event::Take(message))?;
            }
        }
        Ok(())
    }

    /// The next thing happens.
    fn pass(&mut self) -> Result<(), String> {
        if self.crash || self.is_done() {
            return Ok(());
        }
        let next_us = self.agenda.first_key_value().map(|((at_us, _), _)| *at_us);
        let wake_us = self.engine.next_wake();
        let Some(at_us) = next_us.into_iter().chain(wake_us).min() else {
            if self.is_well() && self.cursor == self.log.len() {
                return Err(format!("it is stuck: {:?}", self.engine.status(at(self.now_us))));
            }
            self.now_us += S;
            return Ok(());
        };
        self.now_us = self.now_us.max(at_us);
        if next_us != Some(at_us) {
            return self.tell(Event::Tick);
        }
        let (_, coming) = self.agenda.pop_first().expect("it was looked at above");
        match coming {
            Coming::Arrives(ticket) => self.arrive(ticket),
            Coming::Answer(ticket, number, answer) => {
                if self.out.get(&ticket) == Some(&number) {
                    self.out.remove(&ticket);
                }
                self.tell(Event::Answered { ticket, number, answer })
            }
            Coming::Burial { ticket, ok, stored } => {
                if stored {
                    self.dead.insert(ticket);
                }
                self.tell(Event::Buried { ticket, ok })
            }
            Coming::Resume => self.tell(Event::Resume),
        }
    }

    fn soon(&mut self, us: u64, coming: Coming) {
        self.events += 1;
        self.agenda.insert((self.now_us + us, self.events), coming);
    }

    /// Something happens to the engine, and it is done what it says.
    fn tell(&mut self, event: Event<u64>) -> Result<(), String> {
        let mut said = Vec::new();
        self.engine.step(at(self.now_us), event, &mut said);
        if let Some(wake_us) = self.engine.next_wake().filter(|wake_us| *wake_us <= self.now_us) {
            return Err(format!("it would be woken at {wake_us} for ever"));
        }
        self.judge_mark(self.engine.mark())?;
        for command in said {
            if self.crash {
                return Ok(());
            }
            match command {
                Command::Send { ticket, number, key, payload } => {
                    self.send(ticket, number, key, payload)?;
                }
                Command::Bury { ticket, .. } => self.bury(ticket),
                Command::Mark { position } => {
                    self.judge_mark(position)?;
                    if position <= self.mark {
                        return Err(format!("the mark {position} does not grow"));
                    }
                    self.mark = position;
                }
                Command::Drained { mark } => {
                    if mark != self.mark || !self.out.is_empty() {
                        return Err(format!("drained at {mark} with {:?} out", self.out));
                    }
                    self.crash = true;
                }
            }
            // The process may die between any two commands.
            self.crash |= !self.is_well() && self.draw.up_to(600) == 0;
        }
        Ok(())
    }

    fn judge_mark(&mut self, mark: Position) -> Result<(), String> {
        while let Some((message, _)) = self.log.get(self.undealt)
            && self.is_dealt(message.ticket)
        {
            self.undealt += 1;
        }
        match self.log.get(self.undealt) {
            Some((first, _)) if first.ticket.position < mark => {
                Err(format!("the mark {mark} is beyond {}", first.ticket))
            }
            Some(_) | None if mark > self.end => Err(format!("the mark {mark} is beyond the log")),
            Some(_) | None => Ok(()),
        }
    }

    fn of_key<'a>(&'a self, key: &'a Bytes) -> impl Iterator<Item = Ticket> + 'a {
        let same = self.log.iter().filter(move |(message, _)| message.key.as_ref() == Some(key));
        same.map(|(message, _)| message.ticket)
    }

    fn send(
        &mut self,
        ticket: Ticket,
        number: u32,
        key: Option<Bytes>,
        payload: u64,
    ) -> Result<(), String> {
        let index = self.log.partition_point(|(message, _)| message.ticket < ticket);
        let (message, fate) = self.log[index].clone();
        if message.ticket != ticket || message.key != key || message.payload != payload {
            return Err(format!("{ticket} is not what was handed in"));
        }
        if self.dead.contains(&ticket) || self.discarded.contains(&ticket) {
            return Err(format!("{ticket} is sent from the grave"));
        }
        if let Some(key) = &key {
            if let Some(other) = self.of_key(key).find(|other| self.out.contains_key(other)) {
                return Err(format!("{ticket} is sent beside {other} of its key"));
            }
            let mut earlier = self.of_key(key).take_while(|other| *other < ticket);
            if let Some(earlier) = earlier.find(|earlier| !self.is_dealt(*earlier)) {
                return Err(format!("{ticket} is sent before {earlier} is dealt with"));
            }
        }
        if self.out.insert(ticket, number).is_some() {
            return Err(format!("{ticket} is sent twice at once"));
        }
        if self.out.len() > self.config.window.ceiling as usize {
            return Err(format!("{} tries are in flight", self.out.len()));
        }
        self.try_it(ticket, number, fate);
        Ok(())
    }

    /// Decides how a try ends.
    fn try_it(&mut self, ticket: Ticket, number: u32, fate: Fate) {
        let kind = self.draw.up_to(99);
        let takes_us = if self.is_well() { 5 * MS } else { self.draw.up_to(DEADLINE_US - 1) };
        let answer = |class| Coming::Answer(ticket, number, failed(class));
        let transient = answer(ErrorClass::Transient);
        let delivered = Coming::Answer(ticket, number, Answer::Delivered);
        match (fate, kind) {
            (Fate::Poison, _) => self.soon(takes_us, answer(ErrorClass::Permanent)),
            (Fate::Stubborn, _) => self.soon(takes_us, transient),
            (Fate::Usual | Fate::Ours, _) if self.is_well() => {
                self.arrive_soon(ticket, takes_us, delivered)
            }
            (Fate::Usual | Fate::Ours, 0..45) => {
                self.arrive_soon(ticket, takes_us, delivered.clone());
                if kind < 10 {
                    self.happened.twice += 1;
                    let later_us = takes_us + self.draw.up_to(4 * S);
                    self.soon(later_us, delivered);
                }
            }
            (Fate::Ours, _) | (Fate::Usual, 45..50) => {
                self.happened.ours += 1;
                self.soon(takes_us, answer(ErrorClass::Ours));
            }
            (Fate::Usual, 50..58) => {
                self.soon(takes_us, transient.clone());
                self.happened.twice += 1;
                let later_us = takes_us + self.draw.up_to(4 * S);
                self.soon(later_us, transient);
            }
            // It had arrived, and then the connection broke.
            (Fate::Usual, 58..65) => self.arrive_soon(ticket, takes_us, transient),
            (Fate::Usual, 65..73) => {
                self.happened.overloads += 1;
                let retry_after_us = kind.is_multiple_of(2).then(|| self.draw.up_to(2 * S));
                self.soon(takes_us / 10, answer(ErrorClass::Overloaded { retry_after_us }));
            }
            (Fate::Usual, 73..78) => self.soon(takes_us, answer(ErrorClass::Permanent)),
            (Fate::Usual, 78..88) => {
                self.happened.unanswered += 1;
                self.soon(DEADLINE_US, transient);
                if kind < 83 {
                    self.soon(takes_us, Coming::Arrives(ticket));
                }
            }
            (Fate::Usual, _) => {
                self.happened.late += 1;
                self.soon(takes_us, Coming::Arrives(ticket));
                self.soon(DEADLINE_US, transient);
                let later_us = DEADLINE_US + self.draw.up_to(4 * S);
                self.soon(later_us, delivered);
            }
        }
    }

    fn arrive_soon(&mut self, ticket: Ticket, us: u64, answer: Coming) {
        self.soon(us / 2, Coming::Arrives(ticket));
        self.soon(us, answer);
    }

    /// A message has really arrived.
    fn arrive(&mut self, ticket: Ticket) -> Result<(), String> {
        if !self.arrived.insert(ticket) {
            self.happened.repeated += 1;
            return Ok(());
        }
        self.happened.arrived += 1;
        let index = self.log.partition_point(|(message, _)| message.ticket < ticket);
        let Some(key) = &self.log[index].0.key else { return Ok(()) };
        match self.of_key(key).find(|other| *other > ticket && self.arrived.contains(other)) {
            Some(later) => Err(format!("{ticket} arrives for the first time after {later}")),
            None => Ok(()),
        }
    }

    fn bury(&mut self, ticket: Ticket) {
        let takes_us = self.draw.up_to(300 * MS);
        let ok = self.is_well() || self.draw.up_to(9) >= 4;
        // What is refused may be stored all the same: nobody knows.
        let stored = ok || self.draw.up_to(3) == 0;
        self.happened.buried += u32::from(ok);
        self.happened.refused += u32::from(!ok);
        self.soon(takes_us, Coming::Burial { ticket, ok, stored });
    }

    /// The process dies, and another goes on from the stored mark. What was on its way arrives now, or never.
    fn restart(&mut self) -> Result<(), String> {
        self.happened.crashes += 1;
        (self.crash, self.is_draining) = (false, false);
        self.out.clear();
        for coming in std::mem::take(&mut self.agenda).into_values() {
            match coming {
                Coming::Arrives(ticket) if self.draw.up_to(1) == 0 => self.arrive(ticket)?,
                Coming::Burial { ticket, stored: true, .. } if self.draw.up_to(1) == 0 => {
                    self.dead.insert(ticket);
                }
                Coming::Arrives(_)
                | Coming::Answer(..)
                | Coming::Burial { .. }
                | Coming::Resume => {}
            }
        }
        self.config.seed = self.draw.next();
        self.engine = Engine::with_rules(self.config, self.mark, self.rules);
        let mark = self.mark;
        self.cursor = self.log.partition_point(|(message, _)| message.ticket.position < mark);
        Ok(())
    }
}

/// Up to 120 messages of up to 8 keys, several to a record, with gaps; and where the log ends.
fn log(draw: &mut Draw) -> (Vec<(Message<u64>, Fate)>, Position) {
    let (messages, keys) = (1 + draw.up_to(119), 1 + draw.up_to(7));
    let mut ticket = Ticket::default();
    let mut log = Vec::new();
    for number in 0..messages {
        if draw.up_to(2) > 0 {
            ticket = Ticket { position: Position(ticket.position.0 + 1 + draw.up_to(3)), index: 0 };
        }
        let key = draw.up_to(keys);
        let key = (key > 0).then(|| Bytes::from(format!("key {key}")));
        let fate = match draw.up_to(39) {
            0..=1 => Fate::Poison,
            2..=3 => Fate::Stubborn,
            4..=6 => Fate::Ours,
            _ => Fate::Usual,
        };
        log.push((Message { ticket, key, size_bytes: draw.up_to(50), payload: number }, fate));
        ticket.index += 1 + draw.up_to(1) as u32;
    }
    (log, Position(ticket.position.0 + 10))
}
