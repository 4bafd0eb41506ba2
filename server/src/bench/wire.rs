//! The benchmark over gRPC: a server process of its own, the client library in this one.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use handfast_client::{
    Client, Message, Outcome, StreamOptions, SubmitError, SubmitStream, Transaction, column,
};
use tokio::process::{Child, Command};
use wal_core::build::{Batch, Check, Columns, Write};
use wal_core::value::Value;

use super::report::{Ended, Measured, Tally};
use super::workload::{self, NAMESPACE, Request, Source};
use super::{BenchArgs, Transport, Workload, disk};

/// A server in a process of its own, and a client of it.
pub(super) struct OverWire {
    server: Served,
    client: Client,
    rows: u64,
}

/// How one task's submissions travel.
#[derive(Clone)]
enum Lane {
    Unary(Client),
    Stream(SubmitStream),
}

/// A server process of the benchmark's own.
pub(super) struct Served {
    process: Child,
    pub(super) client: Client,
    /// Where it is.
    pub(super) endpoint: String,
}

impl Served {
    /// Of the server, so far.
    pub(super) fn peak_memory_mib(&self) -> u64 {
        self.process.id().map_or(0, disk::peak_memory_mib)
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("cannot stop the server process")
    }
}

/// Starts a server on a folder with one namespace.
pub(super) async fn serve(folder: &Path, namespace: &str) -> anyhow::Result<Served> {
    let served = serve_nothing(folder).await?;
    served.client.admin().create_namespace(namespace).await?;
    Ok(served)
}

/// Starts a server on a folder.
pub(super) async fn serve_nothing(folder: &Path) -> anyhow::Result<Served> {
    const PATIENCE: Duration = Duration::from_secs(30);
    std::fs::create_dir_all(folder)?;
    let (listen, http) = (free_address()?, free_address()?);
    let process = Command::new(std::env::current_exe()?)
        .args(["serve", "--log", "warn", "--listen", &listen, "--http", &http])
        .arg("--data")
        .arg(folder.join("data"))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a server process")?;
    let endpoint = format!("http://{listen}");
    let begun = Instant::now();
    loop {
        match Client::connect([endpoint.as_str()]).await {
            Ok(client) => return Ok(Served { process, client, endpoint }),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

impl OverWire {
    pub(super) async fn start(folder: &Path, args: &BenchArgs) -> anyhow::Result<Self> {
        let server = serve(folder, &workload::namespace_file(args.retain_mib << 20)).await?;
        let client = server.client.clone();
        for batch in workload::preparation(args.rows) {
            let outcome = client.submit(&transaction(&batch)).await?;
            if !matches!(outcome, Outcome::Committed(_)) {
                bail!("preparing rows: {outcome:?}");
            }
        }
        Ok(Self { server, client, rows: args.rows })
    }

    /// Runs one workload in a closed loop with so many requests in flight.
    pub(super) async fn run(
        &self,
        workload: Workload,
        transport: Transport,
        in_flight: usize,
        args: &BenchArgs,
    ) -> anyhow::Result<Measured> {
        let before = self.sum().await?;
        let lane = match transport {
            Transport::Stream => {
                let options = StreamOptions { window: in_flight, ..StreamOptions::default() };
                Lane::Stream(self.client.stream(options))
            }
            Transport::Unary | Transport::Process => Lane::Unary(self.client.clone()),
        };
        let begun = Instant::now();
        let until = begun + args.duration;
        let tasks: Vec<_> = (0..in_flight as u64)
            .map(|seed| {
                let source = Source::new(workload, args.rows, args.value_bytes, seed);
                tokio::spawn(drive(lane.clone(), self.client.clone(), source, until))
            })
            .collect();
        let mut tally = Tally::default();
        for task in tasks {
            tally.merge(&task.await??);
        }
        let took = begun.elapsed();
        let mut measured = tally.measured(workload.name(), transport.name(), in_flight, took);
        measured.sum = workload.check(before, self.sum().await?, &measured);
        Ok(measured)
    }

    /// The server's process.
    pub(super) fn process(&self) -> u32 {
        self.server.process.id().unwrap_or(0)
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.server.stop().await
    }

    async fn sum(&self) -> anyhow::Result<i64> {
        const AT_ONCE: usize = 1_000;
        let mut sum = 0;
        for rows in workload::all_rows(self.rows).chunks(AT_ONCE) {
            let rows = self.client.read(NAMESPACE, rows.iter().copied()).await?;
            sum += rows.iter().filter_map(|row| row.integer("balance")).sum::<i64>();
        }
        Ok(sum)
    }
}

async fn drive(
    lane: Lane,
    reader: Client,
    mut source: Source,
    until: Instant,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while Instant::now() < until {
        let request = source.next();
        let begun = Instant::now();
        let ended = match request {
            Request::Submit(batch) => {
                let transaction = transaction(&batch);
                let outcome = match &lane {
                    Lane::Unary(client) => client.submit(&transaction).await,
                    Lane::Stream(stream) => stream.submit(transaction).await,
                };
                ended(outcome)?
            }
            Request::Read(rows) => {
                reader.read(NAMESPACE, rows).await?;
                Ended::Committed
            }
        };
        tally.count(ended, begun.elapsed());
    }
    Ok(tally)
}

pub(super) fn ended(outcome: Result<Outcome, SubmitError>) -> anyhow::Result<Ended> {
    Ok(match outcome {
        Ok(Outcome::Committed(_)) => Ended::Committed,
        Ok(Outcome::Aborted(_)) => Ended::Aborted,
        Ok(Outcome::Unknown(_)) => Ended::Unknown,
        Err(SubmitError::Unavailable { .. }) => Ended::Refused,
        Err(error) => return Err(error.into()),
    })
}

/// The client library's form of a batch of the benchmark.
fn transaction(batch: &Batch) -> Transaction {
    transaction_of(NAMESPACE, batch, |table| table)
}

/// The same for another namespace, whose tables have other names.
pub(super) fn transaction_of<'a>(
    namespace: &str,
    batch: &'a Batch,
    named: impl Fn(&'a str) -> &'a str,
) -> Transaction {
    let mut transaction = Transaction::new(namespace);
    for mutation in &batch.mutations {
        let (table, key) = (named(&mutation.table), id(&mutation.key));
        transaction = match &mutation.write {
            Write::Put(columns) => match value(columns) {
                Value::Blob(bytes) => transaction.put(table, key, ("value", bytes.clone())),
                _ => transaction,
            },
            Write::Insert(columns) => {
                transaction.insert(table, key, ("balance", integer(value(columns))))
            }
            Write::Add(columns) => {
                transaction.add(table, key, ("balance", integer(value(columns))))
            }
            Write::DeleteRow | Write::DeleteColumns(_) => transaction,
        };
    }
    for condition in &batch.conditions {
        if let Check::Compare { value: Some(amount), .. } = &condition.check {
            let enough = column("balance").at_least(integer(amount));
            transaction = transaction.require(named(&condition.table), id(&condition.key), enough);
        }
    }
    for message in &batch.messages {
        let told = Message::new(message.payload.clone());
        let key = message.key.clone().unwrap_or_default();
        transaction = transaction.message(told.key(key));
    }
    transaction
}

fn value(columns: &Columns) -> &Value {
    columns[0].1.as_ref().expect("the benchmark writes no nulls")
}

fn id(key: &Columns) -> i64 {
    integer(value(key))
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::BigInt(number) => *number,
        _ => 0,
    }
}

/// An address of this machine that nobody listens on.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
