//! Closed loops: so many clients, each with one request under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use handfast_client::{Client, Message, SubmitStream, Transaction};
use participant::store::StoreError;
use participant::store::cassandra::PlainTables;
use rand::RngExt;
use tokio::sync::oneshot;
use wal_core::ShardId;
use wal_core::log::kafka::PlainTopic;

use super::place::{self, Target};
use super::plan::What;
use crate::bench::report::{Ended, Tally};
use crate::bench::wire::{ended, transaction_of};
use crate::bench::workload::{Request, Source, TABLES};

/// One client.
pub(super) struct Worker {
    pub(super) what: What,
    pub(super) topic: Arc<PlainTopic>,
    pub(super) tables: Arc<PlainTables>,
    pub(super) client: Client,
    /// Shared by all clients of an endpoint.
    pub(super) stream: SubmitStream,
    pub(super) target: Arc<Target>,
    /// Draws requests and rows.
    pub(super) source: Source,
    pub(super) value: Bytes,
    pub(super) shards: u16,
}

/// What a loop came to.
#[derive(Default)]
pub(super) struct Looped {
    pub(super) tally: Tally,
    /// The first of what went wrong.
    pub(super) complaint: Option<String>,
}

/// Runs all of them until the time is over and each has its last answer.
pub(super) async fn run(workers: Vec<Worker>, lasts: Duration) -> anyhow::Result<Looped> {
    let until = Instant::now() + lasts;
    let tasks: Vec<_> = workers.into_iter().map(|it| tokio::spawn(it.drive(until))).collect();
    let mut all = Looped::default();
    for task in tasks {
        let Looped { tally, complaint } = task.await??;
        all.tally.merge(&tally);
        all.complaint = all.complaint.or(complaint);
    }
    Ok(all)
}

impl Worker {
    async fn drive(mut self, until: Instant) -> anyhow::Result<Looped> {
        let mut looped = Looped::default();
        while Instant::now() < until {
            let begun = Instant::now();
            let (ended, complaint) = self.once().await?;
            looped.tally.count(ended, begun.elapsed());
            looped.complaint = looped.complaint.or(complaint);
        }
        Ok(looped)
    }

    async fn once(&mut self) -> anyhow::Result<(Ended, Option<String>)> {
        let plain = match self.what {
            What::Handfast(_) => return self.handfast().await,
            What::Streamed => return self.streamed(|message| message).await,
            What::Delivered => return self.streamed(|message| message.to(place::TOPIC)).await,
            What::Append(count) => self.append(count).await,
            What::Gathered => self.append(1).await,
            What::Write(count) => {
                let rows = self.rows(count);
                told(self.tables.write_balances(&rows, 1).await)
            }
            What::Read(count) => {
                let rows = self.rows(count);
                told(self.tables.read(&rows).await)
            }
            What::Logged(count) => {
                let rows = self.rows(count);
                told(self.tables.write_logged(&rows, &self.value).await)
            }
            What::LwtSpread => {
                let row = self.rows(1)[0];
                told(self.tables.write_conditionally(row, 1).await)
            }
            What::LwtHot => told(self.tables.write_conditionally((0, 0), 1).await),
        };
        Ok(match plain {
            Ok(()) => (Ended::Committed, None),
            Err(why) => (Ended::Refused, Some(why)),
        })
    }

    /// Rows as Handfast's workloads have them: one, two of two tables, or ten of one.
    fn rows(&mut self, count: usize) -> Vec<(usize, i64)> {
        let index = |(table, id): (&str, i64)| (usize::from(table == TABLES[1]), id);
        match count {
            10 => self.source.ten_rows().into_iter().map(index).collect(),
            count => self.source.two_rows().into_iter().map(index).take(count).collect(),
        }
    }

    async fn append(&self, count: usize) -> Result<(), String> {
        let first = rand::rng().random_range(0..self.shards);
        // Neighbours have different leaders, as far as there are several brokers: at its best for Kafka.
        let to: Vec<ShardId> =
            (0..count as u16).map(|n| ShardId((first + n) % self.shards)).collect();
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |result| {
            let _ = tell.send(result); // nobody may wait any more
        });
        self.topic.append(&to, &self.value, done);
        told.await.unwrap_or_else(|_| Err("the producer ended".to_owned()))
    }

    /// A message of one of as many keys as there are rows.
    async fn streamed(
        &mut self,
        to: impl FnOnce(Message) -> Message,
    ) -> anyhow::Result<(Ended, Option<String>)> {
        let message = Message::new(self.value.clone()).key(self.source.id().to_be_bytes().to_vec());
        let transaction = Transaction::new(&self.target.name).message(to(message));
        let outcome = self.stream.submit(transaction).await;
        let complaint = outcome.as_ref().err().map(ToString::to_string);
        Ok((ended(outcome)?, complaint))
    }

    async fn handfast(&mut self) -> anyhow::Result<(Ended, Option<String>)> {
        let Target { name, tables, .. } = &*self.target;
        let named = |table: &str| tables[usize::from(table == TABLES[1])].as_str();
        match self.source.next() {
            Request::Submit(batch) => {
                let transaction = transaction_of(name, &batch, named);
                let outcome = self.client.submit(&transaction).await;
                let complaint = outcome.as_ref().err().map(ToString::to_string);
                Ok((ended(outcome)?, complaint))
            }
            Request::Read(rows) => {
                let rows = rows.map(|(table, id)| (named(table), id));
                Ok(match self.client.read(name, rows).await {
                    Ok(_) => (Ended::Committed, None),
                    Err(error @ handfast_client::ReadError::Unavailable { .. }) => {
                        (Ended::Refused, Some(error.to_string()))
                    }
                    Err(error) => return Err(error.into()),
                })
            }
        }
    }
}

fn told(result: Result<(), StoreError>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}
