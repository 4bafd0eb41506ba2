//! The commit engine: drives transactions across their participants. A pure state machine.
//!
//! ```text
//! Submit ─▶ one shard:   Single ───────────────▶ Single(outcome) ─▶ answer
//!           many shards: Prepare to all ─▶ votes ─┬ all yes ─▶ answer, Commit to all
//!                                                 ├ closed  ─▶ answer, Closed to all
//!                                                 └ no      ─▶ Abort to all, Open at the home, which
//!                                                              drives later attempts; wait for it
//! Drive   ─▶ the same, for the home: a no only ends the attempt
//! Recover ─▶ Resolve to all ─▶ all prepared: Commit · one refused: Abort · decided: say so
//! ```
//!
//! It holds no durable state: whatever it knows can be found out again from the participants. It never
//! aborts because time has passed; it asks again. One file per conversation.

mod attempt;
mod outcome;
mod read;
mod recovery;
mod single;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use participant::engine::{Rules, Strict};
use participant::message::{ShardReply, ShardRequest};
use rustc_hash::FxBuildHasher;
use wal_core::{Epoch, Nonce, Now, ShardId, Transaction};

use crate::api::{Answer, Call, CallAnswer, Level, OutcomeAnswer, ReadAnswer};
use crate::interface::{CommitCommand, CommitEvent};
use attempt::Drive;
use outcome::Inquiry;
use read::Reading;
use recovery::Recovery;
use single::Single;

/// Everything that is fixed while an engine lives.
#[derive(Clone, Copy, Debug)]
pub struct CommitConfig {
    /// The process, unique among those that live at the same time.
    pub node: u64,
    /// Drawn at random when the process starts: makes its nonces unlike any other's.
    pub seed: u64,
    /// Shards of the namespace.
    pub shards: u16,
    /// Conversations at once; beyond it calls are refused.
    pub max_in_flight: usize,
    /// After how long an unanswered request is sent again, microseconds.
    pub resend_after_us: u64,
    /// After how long a conversation that no client waits for is left to the home, microseconds.
    pub give_up_after_us: u64,
    /// How often a read over several shards tries without holding up writers; then it holds.
    pub free_read_tries: u32,
}

impl CommitConfig {
    /// Sensible defaults for a process.
    pub const fn new(node: u64, seed: u64, shards: u16) -> Self {
        Self {
            node,
            seed,
            shards,
            max_in_flight: 65_536,
            resend_after_us: 500_000,
            give_up_after_us: 30_000_000,
            free_read_tries: 3,
        }
    }
}

/// How often conversations are looked at for requests to send again.
const SWEEP_EVERY_US: u64 = 50_000;
/// When a client that was refused should try again.
const RETRY_AFTER_MS: u64 = 50;

/// One exchange with one or more shards.
#[derive(Debug)]
enum Conversation {
    Single(Single),
    Drive(Box<Drive>),
    Recovery(Box<Recovery>),
    Reading(Box<Reading>),
    Inquiry(Box<Inquiry>),
}

/// What a handler says of its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Done,
}

/// What a conversation needs of the engine while it handles a reply.
struct Context<'a, R: Rules> {
    now: Now,
    token: u64,
    routes: &'a mut BTreeMap<ShardId, Epoch>,
    rules: R,
    out: &'a mut Vec<CommitCommand>,
}

impl<R: Rules> Context<'_, R> {
    fn send(&mut self, shard: ShardId, request: ShardRequest) {
        self.out.push(CommitCommand::Send { shard, token: self.token, request });
    }

    fn answer(&mut self, call: Option<u64>, answer: CallAnswer) {
        if let Some(call) = call {
            self.out.push(CommitCommand::Answer { call, answer });
        }
    }

    fn learn_epoch(&mut self, shard: ShardId, epoch: Epoch) {
        let known = self.routes.entry(shard).or_default();
        *known = (*known).max(epoch);
    }
}

/// The engine of one process and namespace. `R` names the rules it keeps: all of them, outside tests.
#[derive(Debug)]
pub struct CommitEngine<R: Rules = Strict> {
    config: CommitConfig,
    rules: R,
    routes: BTreeMap<ShardId, Epoch>,
    conversations: IndexMap<u64, Conversation, FxBuildHasher>,
    last_token: u64,
    /// Which conversation a call began.
    calls: IndexMap<u64, u64, FxBuildHasher>,
    last_nonce: u64,
    last_sweep_us: u64,
}

impl<R: Rules> CommitEngine<R> {
    /// An engine that knows of no leader yet.
    pub fn new(config: CommitConfig) -> Self {
        Self::with_rules(config, R::default())
    }

    /// An engine that keeps the given rules.
    pub fn with_rules(config: CommitConfig, rules: R) -> Self {
        Self {
            config,
            rules,
            routes: BTreeMap::new(),
            conversations: IndexMap::default(),
            last_token: 0,
            calls: IndexMap::default(),
            last_nonce: 0,
            last_sweep_us: 0,
        }
    }

    /// Takes one event in. Never fails, never blocks.
    pub fn step(&mut self, now: Now, event: CommitEvent, out: &mut Vec<CommitCommand>) {
        match event {
            CommitEvent::Call { call, what } => self.on_call(now, call, what, out),
            CommitEvent::Forget { call } => self.on_forget(call),
            CommitEvent::Reply { shard, token, reply } => {
                self.on_reply(now, shard, token, reply, out);
            }
            CommitEvent::Drive { txn, start, attempt } => {
                let drive = Drive::for_home(now, txn, start, attempt);
                self.begin_drive(now, drive, out);
            }
            CommitEvent::Recover { id, attempt, participants } => {
                let recovery = Recovery::new(now, id, attempt, participants);
                let token = self.next_token();
                recovery.ask(&mut self.context(now, token, out));
                self.conversations.insert(token, Conversation::Recovery(Box::new(recovery)));
            }
            CommitEvent::Route { shard, epoch } => {
                let known = self.routes.entry(shard).or_default();
                *known = (*known).max(epoch);
            }
            CommitEvent::Tick => self.on_tick(now, out),
        }
    }

    /// Conversations under way.
    pub fn in_flight(&self) -> usize {
        self.conversations.len()
    }

    fn context<'a>(
        &'a mut self,
        now: Now,
        token: u64,
        out: &'a mut Vec<CommitCommand>,
    ) -> Context<'a, R> {
        Context { now, token, routes: &mut self.routes, rules: self.rules, out }
    }

    fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// Time, then what no other process can repeat.
    fn next_nonce(&mut self, now: Now) -> Nonce {
        if !self.rules.holds(participant::engine::Rule::AttemptsHaveNonces) {
            return Nonce(0);
        }
        self.last_nonce += 1;
        let millis = u128::from(now.millis().0 & 0xffff_ffff_ffff);
        // The top bit tells a gateway's nonces from a home's.
        let maker = u128::from(self.config.seed | 1 << 47) & 0xffff_ffff_ffff;
        Nonce(millis << 80 | maker << 32 | u128::from(self.last_nonce & 0xffff_ffff))
    }

    fn on_call(&mut self, now: Now, call: u64, what: Call, out: &mut Vec<CommitCommand>) {
        if self.conversations.len() >= self.config.max_in_flight {
            out.push(CommitCommand::Answer { call, answer: overloaded(&what) });
            return;
        }
        match what {
            Call::Submit { txn, level } => self.on_submit(now, call, txn, level, out),
            Call::Read { keys } => {
                let reading = Reading::new(now, call, keys, self.config.free_read_tries);
                if let Some(shard) = self.unled(reading.shards()) {
                    let answer = CallAnswer::Read(ReadAnswer::Unavailable { shard });
                    return out.push(CommitCommand::Answer { call, answer });
                }
                let token = self.begin(call);
                reading.ask(&mut self.context(now, token, out));
                self.conversations.insert(token, Conversation::Reading(Box::new(reading)));
            }
            Call::Outcome(query) => {
                let inquiry = Inquiry::new(now, call, query, self.config.shards);
                if let Some(shard) = self.unled(inquiry.shards()) {
                    let answer = CallAnswer::Outcome(OutcomeAnswer::Unavailable { shard });
                    return out.push(CommitCommand::Answer { call, answer });
                }
                let token = self.begin(call);
                inquiry.ask(&mut self.context(now, token, out));
                self.conversations.insert(token, Conversation::Inquiry(Box::new(inquiry)));
            }
        }
    }

    fn on_submit(
        &mut self,
        now: Now,
        call: u64,
        txn: Arc<Transaction>,
        level: Level,
        out: &mut Vec<CommitCommand>,
    ) {
        if let Some(shard) = self.unled(txn.participants()) {
            let answer = CallAnswer::Submit(Answer::Unavailable { shard });
            return out.push(CommitCommand::Answer { call, answer });
        }
        if txn.parts.len() == 1 {
            let single = Single::new(now, call, txn, level);
            let token = self.begin(call);
            single.ask(&mut self.context(now, token, out));
            self.conversations.insert(token, Conversation::Single(single));
            return;
        }
        let start = txn.id.time();
        let attempt = wal_core::Attempt { number: 1, nonce: self.next_nonce(now) };
        let drive = Drive::for_client(now, call, txn, level, start, attempt);
        let token = self.begin_drive(now, drive, out);
        self.calls.insert(call, token);
    }

    fn begin(&mut self, call: u64) -> u64 {
        let token = self.next_token();
        self.calls.insert(call, token);
        token
    }

    fn begin_drive(&mut self, now: Now, mut drive: Drive, out: &mut Vec<CommitCommand>) -> u64 {
        let token = self.next_token();
        drive.prepare(&mut self.context(now, token, out));
        self.conversations.insert(token, Conversation::Drive(Box::new(drive)));
        token
    }

    /// The first of `shards` whose leader is not known.
    fn unled(&self, mut shards: impl Iterator<Item = ShardId>) -> Option<ShardId> {
        shards.find(|shard| !self.routes.contains_key(shard))
    }

    fn on_forget(&mut self, call: u64) {
        let Some(token) = self.calls.swap_remove(&call) else { return };
        match self.conversations.get_mut(&token) {
            Some(Conversation::Single(single)) => single.call = None,
            Some(Conversation::Drive(drive)) => drive.call = None,
            Some(Conversation::Reading(_) | Conversation::Inquiry(_)) => {
                self.conversations.swap_remove(&token);
            }
            Some(Conversation::Recovery(_)) | None => {}
        }
    }

    fn on_reply(
        &mut self,
        now: Now,
        shard: ShardId,
        token: u64,
        reply: ShardReply,
        out: &mut Vec<CommitCommand>,
    ) {
        // The conversation may be over: late answers change nothing.
        let Some(conversation) = self.conversations.get_mut(&token) else { return };
        let before = out.len();
        let mut context = Context { now, token, routes: &mut self.routes, rules: self.rules, out };
        let next = match conversation {
            Conversation::Single(single) => single.on_reply(shard, reply, &mut context),
            Conversation::Drive(drive) => drive.on_reply(shard, reply, &mut context),
            Conversation::Recovery(recovery) => recovery.on_reply(shard, reply, &mut context),
            Conversation::Reading(reading) => reading.on_reply(shard, reply, &mut context),
            Conversation::Inquiry(inquiry) => inquiry.on_reply(shard, reply, &mut context),
        };
        if next == Next::Done {
            self.conversations.swap_remove(&token);
        }
        self.forget_answered(&out[before..]);
    }

    /// An answered call is over, though its transaction may be talked about further.
    fn forget_answered(&mut self, commands: &[CommitCommand]) {
        for command in commands {
            if let CommitCommand::Answer { call, .. } = command {
                self.calls.swap_remove(call);
            }
        }
    }

    /// Sends again what was not answered, and lets go of what the homes will see to.
    fn on_tick(&mut self, now: Now, out: &mut Vec<CommitCommand>) {
        if now.mono_us < self.last_sweep_us + SWEEP_EVERY_US {
            return;
        }
        self.last_sweep_us = now.mono_us;
        let resend_us = self.config.resend_after_us;
        let give_up_us = self.config.give_up_after_us;
        let before = out.len();
        let mut over = Vec::new();
        for (token, conversation) in &mut self.conversations {
            let mut context =
                Context { now, token: *token, routes: &mut self.routes, rules: self.rules, out };
            let next = match conversation {
                Conversation::Single(single) => single.on_tick(resend_us, give_up_us, &mut context),
                Conversation::Drive(drive) => drive.on_tick(resend_us, give_up_us, &mut context),
                Conversation::Recovery(recovery) => {
                    recovery.on_tick(resend_us, give_up_us, &mut context)
                }
                Conversation::Reading(reading) => reading.on_tick(resend_us, &mut context),
                Conversation::Inquiry(inquiry) => inquiry.on_tick(resend_us, &mut context),
            };
            if next == Next::Done {
                over.push(*token);
            }
        }
        for token in over {
            self.conversations.swap_remove(&token);
        }
        self.forget_answered(&out[before..]);
    }
}

fn overloaded(what: &Call) -> CallAnswer {
    let retry_after_ms = RETRY_AFTER_MS;
    match what {
        Call::Submit { .. } => {
            CallAnswer::Submit(Answer::Overloaded { what: "calls in flight", retry_after_ms })
        }
        Call::Read { .. } => CallAnswer::Read(ReadAnswer::Overloaded { retry_after_ms }),
        Call::Outcome(_) => CallAnswer::Outcome(OutcomeAnswer::Unknown),
    }
}

/// The age of something begun at `since_us`.
const fn age_us(now: Now, since_us: u64) -> u64 {
    now.mono_us.saturating_sub(since_us)
}

#[cfg(test)]
mod tests;
