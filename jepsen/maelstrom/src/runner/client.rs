//! A client: one request at a time, to one node, taken down as Jepsen does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use crossbeam_channel::{Receiver, unbounded};
use handfast_checker::{Event, TXN, Type, Value};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value as Json};

use super::network::Network;
use super::options::RunnerOptions;
use super::record::Recorder;
use super::workload::{Generator, Operation, Step, Workload};
use crate::protocol::{Code, Message};

/// How a request ended.
enum End {
    Ok { steps: Vec<Step>, ts: Option<i64> },
    Fail(String),
    Info(String),
}

/// A client.
pub(super) struct Client {
    name: String,
    network: Arc<Network>,
    generator: Arc<Generator>,
    recorder: Arc<Recorder>,
    inbox: Receiver<Message>,
    nodes: usize,
    node: usize,
    process: i64,
    /// What is added to the process after a doubt: nobody else has that number.
    stride: i64,
    pause: Duration,
    patience: Duration,
    random: StdRng,
    last_id: u64,
    seen: BTreeMap<i64, i64>,
}

impl Client {
    pub(super) fn new(
        network: &Arc<Network>,
        generator: &Arc<Generator>,
        recorder: &Arc<Recorder>,
        worker: usize,
        options: &RunnerOptions,
    ) -> Self {
        let name = format!("c{worker}");
        let (end, inbox) = unbounded();
        network.join(&name, end);
        let seed = options.seed.wrapping_add(worker as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // As Maelstrom's clients wait; longer where messages take long.
        let least = match options.workload {
            Workload::TxnListAppend | Workload::TxnRwRegister => Duration::from_secs(5),
            Workload::LinKv => Duration::from_secs(1),
        };
        Self {
            name,
            network: Arc::clone(network),
            generator: Arc::clone(generator),
            recorder: Arc::clone(recorder),
            inbox,
            nodes: options.nodes,
            node: worker % options.nodes,
            process: worker as i64,
            stride: options.concurrency as i64 + 1,
            pause: Duration::from_secs_f64(options.concurrency as f64 / options.rate),
            patience: least.max(options.latency * 10),
            random: StdRng::seed_from_u64(seed),
            last_id: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Works until the end.
    pub(super) fn run(&mut self, end: Instant) {
        let mut next = Instant::now() + self.pause.mul_f64(self.random.random());
        while next < end {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let operation = self.generator.draw(&self.seen);
            self.invoke(&operation);
            let pause = self.pause.mul_f64(2.0 * self.random.random::<f64>());
            next = (next + pause).max(Instant::now());
        }
    }

    /// Asks every node in turn until it has served.
    pub(super) fn until_served(&mut self, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        let mut number = 0;
        for node in 0..self.nodes {
            self.node = node;
            loop {
                number += 1;
                match self.ask(&self.generator.probe(number)) {
                    End::Ok { .. } => break,
                    End::Fail(why) | End::Info(why) if Instant::now() >= end => {
                        bail!("n{} still says after {patience:?}: {why}", node + 1);
                    }
                    End::Fail(_) | End::Info(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }
        Ok(())
    }

    /// Reads everything at the end, each until it was read; whether all of it was.
    pub(super) fn final_reads(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        for operation in self.generator.final_reads() {
            while !self.invoke(&operation) {
                if Instant::now() >= end {
                    return false;
                }
                self.node = (self.node + 1) % self.nodes;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        true
    }

    /// Asks, and takes it down; whether it happened.
    fn invoke(&mut self, operation: &Operation) -> bool {
        let value = Operation::value(&operation.steps);
        self.recorder.write(Event::new(Type::Invoke, self.process, TXN, value.clone()));
        let end = self.ask(operation);
        let ended = |kind, value| Event::new(kind, self.process, TXN, value);
        let with_error = |kind, why: &str| {
            let mut event = ended(kind, value.clone());
            event.more.push(("error".to_owned(), Value::from(why)));
            event
        };
        let reads_only = operation.steps.iter().all(|step| step.f == "r");
        let event = match &end {
            End::Ok { steps, ts } => {
                for step in steps {
                    if let Value::Int(value) = step.value {
                        self.seen.insert(step.key, value);
                    }
                }
                Event { ts: *ts, ..ended(Type::Ok, Operation::value(steps)) }
            }
            End::Fail(why) => with_error(Type::Fail, why),
            // What only reads leaves nothing behind: it may count as not done.
            End::Info(why) if reads_only => with_error(Type::Fail, why),
            End::Info(why) => with_error(Type::Info, why),
        };
        if event.kind == Type::Info {
            self.process += self.stride;
        }
        self.recorder.write(event);
        matches!(end, End::Ok { .. })
    }

    fn ask(&mut self, operation: &Operation) -> End {
        self.last_id += 1;
        let mut body = operation.body.clone();
        body.insert("msg_id".into(), self.last_id.into());
        let dest = format!("n{}", self.node + 1);
        self.network.send(Message { src: self.name.clone(), dest, body });
        let until = Instant::now() + self.patience;
        loop {
            match self.inbox.recv_deadline(until) {
                Ok(answer) if answer.in_reply_to() == Some(self.last_id) => {
                    return judge(operation, &answer.body);
                }
                Ok(_) => {} // to something that was given up
                Err(_) => return End::Info("no answer in time".into()),
            }
        }
    }
}

/// What an answer means.
fn judge(operation: &Operation, answer: &Map<String, Json>) -> End {
    if let Some(steps) = operation.answered(answer) {
        let ts = answer.get("commit_timestamp").and_then(Json::as_i64);
        return End::Ok { steps, ts };
    }
    let number = answer.get("code").and_then(Json::as_u64);
    let code = number.and_then(Code::of);
    let text = Json::Object(answer.clone()).to_string();
    match (code, operation.missing()) {
        (Some(Code::KeyDoesNotExist), Some(steps)) => End::Ok { steps, ts: None },
        (Some(code), _) if code.is_definite() => End::Fail(text),
        // Also an answer that is not of the published form.
        _ => End::Info(text),
    }
}
