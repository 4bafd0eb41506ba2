//! Requests of clients on the core thread: each is a job that makes calls to the commit engine.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coordinator::api::{Call, CallAnswer};
use coordinator::interface::{CommitCommand, CommitEvent};
use serde_json::{Map, Value};
use wal_core::{Now, TxnId};

use super::{Core, Local, MAX_JOBS};
use crate::node::ask::Ask;
use crate::node::job::{Context, Job, Step};
use crate::protocol::{Code, Message, error};

impl Core {
    pub(super) fn on_client(&mut self, now: Now, message: Message) {
        let Some(msg_id) = message.msg_id() else {
            return eprintln!("a request without msg_id cannot be answered: {}", message.to_line());
        };
        let ask = match Ask::parse(&message.body) {
            Ok(ask) => ask,
            Err(body) => return self.answer_client(&message.src, msg_id, body),
        };
        if self.jobs.len() >= MAX_JOBS {
            let body = error(Code::TemporarilyUnavailable, "too many requests are under way");
            return self.answer_client(&message.src, msg_id, body);
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let within = ask.within_us(
            micros(self.options.answer_txn_within),
            micros(self.options.answer_key_within),
        );
        let mut job = Job::new(message.src, msg_id, ask, now.mono_us, within);
        let step = job.begin(&self.context(now));
        self.follow(now, job, step);
    }

    pub(super) fn context(&self, now: Now) -> Context<'_> {
        Context {
            now_us: now.mono_us,
            namespace: &self.namespace,
            column: self.column,
            fresh: TxnId::from_parts(now.millis(), rand::random()),
            timestamps: self.options.commit_timestamps,
        }
    }

    /// Does what a job asks for; keeps it under the number of its newest call.
    pub(super) fn follow(&mut self, now: Now, mut job: Job, mut step: Step) {
        loop {
            match step {
                Step::Answer(body) => return self.answer_client(&job.client, job.msg_id, body),
                Step::Wait => {
                    let number = self.number();
                    self.jobs.insert(number, job);
                    return;
                }
                Step::Call(what) => {
                    let call = self.number();
                    match self.call(now, call, what) {
                        None => {
                            self.jobs.insert(call, job);
                            return;
                        }
                        Some(answer) => step = job.on_answer(answer, &self.context(now)),
                    }
                }
            }
        }
    }

    /// Makes a call; its answer, if it comes at once.
    pub(super) fn call(&mut self, now: Now, call: u64, what: Call) -> Option<CallAnswer> {
        let mut out = Vec::new();
        self.commit.step(now, CommitEvent::Call { call, what }, &mut out);
        let mut at_once = None;
        for command in out {
            match command {
                CommitCommand::Answer { call: answered, answer } if answered == call => {
                    at_once = Some(answer);
                }
                other => self.obey_commit(now, other),
            }
        }
        at_once
    }

    pub(super) fn answer_client(&self, client: &str, msg_id: u64, mut body: Map<String, Value>) {
        body.insert("in_reply_to".into(), msg_id.into());
        let id = self.wiring.ids.fetch_add(1, Ordering::Relaxed);
        body.insert("msg_id".into(), id.into());
        self.send(client.to_owned(), body);
    }

    pub(super) fn tick_jobs(&mut self, now: Now) {
        let calls: Vec<u64> = self.jobs.keys().copied().collect();
        for call in calls {
            let Some(mut job) = self.jobs.remove(&call) else { continue };
            match job.on_tick(&self.context(now)) {
                Step::Wait => {
                    self.jobs.insert(call, job);
                }
                step @ (Step::Call(_) | Step::Answer(_)) => {
                    self.local.push_back(Local::Commit(CommitEvent::Forget { call }));
                    self.follow(now, job, step);
                }
            }
        }
    }
}
