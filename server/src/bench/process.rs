//! The benchmark in one process: the engines, the log and the store, without a network.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use coordinator::api::{Answer, Call, CallAnswer, Level, ReadAnswer};
use coordinator::runtime::Answers;
use wal_core::build::{build, build_key};
use wal_core::namespace::Namespace;
use wal_core::{ColumnId, Row, TxnId};

use super::report::{Ended, Measured, Tally};
use super::workload::{self, NAMESPACE, Request, Source};
use super::{BenchArgs, Workload};
use crate::compose::System;

/// No answer will come.
const FAILED: &str = "the namespace has failed; what was said before tells why";

/// Takes the engine's answers and wakes the driver.
#[derive(Default)]
struct Inbox {
    answers: Mutex<Vec<(u64, Option<CallAnswer>)>>,
    arrived: Condvar,
}

impl Answers for Inbox {
    fn deliver(&self, answers: &mut Vec<(u64, Option<CallAnswer>)>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).append(answers);
        self.arrived.notify_one();
    }
}

impl Inbox {
    /// Waits for answers and takes them all.
    fn take(&self, into: &mut Vec<(u64, Option<CallAnswer>)>) -> bool {
        const PATIENCE: Duration = Duration::from_secs(30);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.arrived.wait_timeout_while(answers, PATIENCE, |a| a.is_empty());
        let (mut answers, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        into.clear();
        std::mem::swap(&mut *answers, into);
        !timeout.timed_out()
    }
}

/// A running namespace in this process.
pub(super) struct InProcess {
    system: System,
    namespace: Arc<Namespace>,
    inbox: Arc<Inbox>,
    rows: u64,
}

impl InProcess {
    pub(super) async fn start(folder: &Path, args: &BenchArgs) -> anyhow::Result<Self> {
        let system = System::open(folder, "in process".to_owned(), None, None).await?;
        if system.backend.namespace(NAMESPACE).is_none() {
            system.control.create(&workload::namespace_file(args.retain_mib << 20)).await?;
        }
        let namespace = system.backend.namespace(NAMESPACE).context("it was created above")?;
        let process = Self { system, namespace, inbox: Arc::default(), rows: args.rows };
        for batch in workload::preparation(args.rows) {
            let call = process.submission(&batch)?;
            match process.one(call)? {
                CallAnswer::Submit(Answer::Committed { .. }) => {}
                other => bail!("preparing rows: {other:?}"),
            }
        }
        Ok(process)
    }

    /// Runs one workload in a closed loop with so many requests in flight.
    pub(super) fn run(
        &self,
        workload: Workload,
        in_flight: usize,
        args: &BenchArgs,
    ) -> anyhow::Result<Measured> {
        let before = self.sum()?;
        let mut source = Source::new(workload, args.rows, args.value_bytes, 42);
        let begun = Instant::now();
        let mut sent_at = vec![begun; in_flight];
        let first: anyhow::Result<Vec<_>> =
            (0..in_flight as u64).map(|tag| Ok((self.call(source.next())?, tag))).collect();
        self.hand_over(first?)?;
        let mut tally = Tally::default();
        let mut under_way = in_flight;
        let mut answers = Vec::new();
        let mut calls = Vec::new();
        while under_way > 0 {
            if !self.inbox.take(&mut answers) {
                bail!("{under_way} requests got no answer within 30 s");
            }
            let now = Instant::now();
            let over = begun.elapsed() >= args.duration;
            for (tag, answer) in answers.drain(..) {
                let answer = answer.context(FAILED)?;
                let sent = &mut sent_at[tag as usize];
                tally.count(ended(&answer), now - *sent);
                if over {
                    under_way -= 1;
                } else {
                    *sent = now;
                    calls.push((self.call(source.next())?, tag));
                }
            }
            if !calls.is_empty() {
                self.hand_over(std::mem::take(&mut calls))?;
            }
        }
        let took = begun.elapsed();
        let mut measured = tally.measured(workload.name(), "process", in_flight, took);
        measured.sum = workload.check(before, self.sum()?, &measured);
        Ok(measured)
    }

    pub(super) fn id_window_ms(&self) -> u64 {
        let Ok(snapshot) = self.system.backend.look(&self.namespace, 0) else { return 0 };
        super::report::window_ms(&snapshot)
    }

    pub(super) fn stop(self) {
        self.system.stop(Duration::from_secs(30));
    }

    fn hand_over(&self, calls: Vec<(Call, u64)>) -> anyhow::Result<()> {
        self.system.backend.call(&self.namespace, calls, self.inbox.clone())?;
        Ok(())
    }

    fn call(&self, request: Request) -> anyhow::Result<Call> {
        match request {
            Request::Submit(batch) => self.submission(&batch),
            Request::Read(rows) => self.read(&rows),
        }
    }

    fn submission(&self, batch: &wal_core::build::Batch) -> anyhow::Result<Call> {
        let id = TxnId::from_uuid(uuid::Uuid::now_v7())?;
        let txn = Arc::new(build(&self.namespace, id, batch)?);
        Ok(Call::Submit { txn, level: Level::Committed })
    }

    fn read(&self, rows: &[(&str, i64)]) -> anyhow::Result<Call> {
        let key =
            |(table, id): &(&str, i64)| build_key(&self.namespace, table, &workload::key(*id));
        let keys = rows.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        Ok(Call::Read { keys })
    }

    fn one(&self, call: Call) -> anyhow::Result<CallAnswer> {
        self.hand_over(vec![(call, 0)])?;
        let mut answers = Vec::new();
        self.inbox.take(&mut answers);
        let (_, answer) = answers.pop().context("no answer within 30 s")?;
        answer.context(FAILED)
    }

    fn sum(&self) -> anyhow::Result<i64> {
        const AT_ONCE: usize = 1_000;
        let mut sum = 0;
        for rows in workload::all_rows(self.rows).chunks(AT_ONCE) {
            let CallAnswer::Read(ReadAnswer::Rows(rows)) = self.one(self.read(rows)?)? else {
                bail!("the balances cannot be read");
            };
            sum += rows.iter().map(balance).sum::<i64>();
        }
        Ok(sum)
    }
}

fn balance(row: &Row) -> i64 {
    let column = ColumnId(1);
    let bytes = row.get(column).and_then(|value| value.as_ref().try_into().ok());
    bytes.map_or(0, i64::from_be_bytes)
}

fn ended(answer: &CallAnswer) -> Ended {
    match answer {
        CallAnswer::Submit(Answer::Committed { .. } | Answer::Logged(_))
        | CallAnswer::Read(ReadAnswer::Rows(_)) => Ended::Committed,
        CallAnswer::Submit(Answer::Aborted { .. }) => Ended::Aborted,
        CallAnswer::Submit(
            Answer::Overloaded { .. }
            | Answer::Unavailable { .. }
            | Answer::ClocksApart { .. }
            | Answer::IdReused
            | Answer::TooOld { .. }
            | Answer::FromFuture,
        )
        | CallAnswer::Read(ReadAnswer::Overloaded { .. } | ReadAnswer::Unavailable { .. })
        | CallAnswer::Outcome(_) => Ended::Refused,
    }
}
