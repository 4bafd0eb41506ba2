//! `handfast bench cluster`: Handfast on a running cluster, and plain Kafka and plain Cassandra beside it.
//!
//! Everything that is compared is measured in turn, round after round, on the same brokers and nodes. Where
//! Handfast writes, a rate counts the time until the last commit is in the tables; where it delivers, until the
//! target has the last message.

mod load;
mod place;
mod plan;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use handfast_client::{StreamOptions, SubmitStream};

use crate::bench::Workload;
use crate::bench::workload::Source;
use crate::cli::{Global, duration};
use crate::exit::Failure;
use crate::output;
use load::{Looped, Worker};
use place::Place;
use plan::{GROUPS, Group, Line, What};
use report::{Report, Round, Surroundings};

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The file says where Kafka and Cassandra are, and how many shards and copies there shall be; its name and its
tables are not used. The benchmark makes a namespace of its own through the endpoints, which stays, and beside
it a plain topic and plain tables, which it drops, and a topic that messages are delivered to, which stays with the
namespace. It makes the keyspace if it is not there.

With one client a ratio is one of median latencies, and less is better; with several, of rates, and more is.

Examples:
  handfast bench cluster bank.toml --endpoint http://10.0.0.5:7420,http://10.0.0.6:7420
  handfast bench cluster bank.toml --only transfer-64 --only hot --duration 2m -o json")]
pub(crate) struct ClusterBenchArgs {
    /// A namespace file with the cluster's brokers, contact points, data centre and keyspace
    #[arg(value_name = "FILE")]
    pub(crate) definition: PathBuf,
    /// The namespace that is made, or used again if it is there with the same settings
    #[arg(long, default_value = "bench")]
    pub(crate) name: String,
    /// Shards of the namespace, and topic partitions of the plain topic [default: as the file says]
    #[arg(long)]
    pub(crate) shards: Option<u16>,
    /// How long each line is measured, all its rounds together
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub(crate) duration: Duration,
    /// Rounds, in each of which every line of a group is measured once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// Groups to measure; may be repeated [default: all]
    #[arg(long, value_parser = GROUPS.map(|group| group.name))]
    pub(crate) only: Vec<String>,
    /// Rows, spread over two tables
    #[arg(long, default_value_t = 10_000)]
    pub(crate) rows: u64,
    /// Bytes of a value, and of a plain record
    #[arg(long, default_value_t = 100)]
    pub(crate) value_bytes: usize,
}

/// Runs the benchmark.
pub(crate) async fn command(global: &Global, args: ClusterBenchArgs) -> Result<(), Failure> {
    let groups: Vec<&Group> = GROUPS
        .iter()
        .filter(|group| args.only.is_empty() || args.only.iter().any(|it| it == group.name))
        .collect();
    let place = place::make(&args, &global.endpoint).await?;
    let report = measure(&place, &args, &groups).await;
    place.clean_up().await;
    let report = report?;
    if output::is_table(global) {
        let (columns, lines) = report.lines(&groups);
        output::many(global, columns, lines)?;
        output::text("")?;
        let (columns, lines) = report.ratio_lines();
        output::many(global, columns, lines)?;
        eprintln!("{}", serde_json::to_string(&report.surroundings).map_err(Failure::error)?);
    } else {
        output::one(global, serde_json::to_value(&report).map_err(Failure::error)?)?;
    }
    let Surroundings { expected_sum: [least, most], sum, plain_sum, .. } = report.surroundings;
    if !(least..=most).contains(&sum) || sum != plain_sum {
        return Err(Failure::error(format!(
            "the balances do not add up: {sum} was read, {plain_sum} is in the tables, and {least} to {most} \
             is right; keep the cluster and report this"
        )));
    }
    Ok(())
}

async fn measure(
    place: &Place,
    args: &ClusterBenchArgs,
    groups: &[&Group],
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let namespace = &place.target.namespace;
    let mut report = Report {
        surroundings: Surroundings {
            cores: std::thread::available_parallelism()?.get(),
            cassandra_nodes: place.plain.nodes(),
            kafka_replication: namespace.log().kafka.as_ref().map_or(0, |it| it.replication),
            shards: namespace.shards(),
            endpoints: place.clients.len(),
            rows: args.rows,
            value_bytes: args.value_bytes,
            seconds_each: args.duration.as_secs_f64(),
            load: [load_average(), 0.0],
            ..Surroundings::default()
        },
        ..Report::default()
    };
    let before = place.sum(args.rows).await?;
    let lasts = args.duration / u32::from(args.rounds);
    warm_up(place, args, groups, lasts / 4).await?;
    let warm = place.sum(args.rows).await? - before;
    for group in groups {
        for round in 1..=usize::from(args.rounds) {
            for line in group.lines {
                let (figures, applied_after, looped) = one(place, args, *line, lasts).await?;
                let told = Round {
                    group: group.name,
                    round,
                    by: line.0.by(),
                    figures,
                    applied_after_ms: applied_after.map(|it| it.as_millis() as u64),
                    complaint: looped.complaint,
                    line: *line,
                };
                progress(&told);
                report.rounds.push(told);
            }
        }
        let ratios = group.ratios.iter().map(|ratio| ratio.over(&report.rounds, group));
        report.ratios.extend(ratios);
    }
    place.wait_until_applied(args.rows).await?;
    let hot = report.rounds.iter().filter(|it| it.line.0 == What::Handfast(Workload::Hot));
    let (committed, unknown) =
        hot.fold((0, 0), |(c, u), it| (c + it.figures.committed, u + it.figures.unknown));
    let least = before + warm + committed as i64;
    report.surroundings.expected_sum = [least, least + unknown as i64];
    report.surroundings.sum = place.sum(args.rows).await?;
    report.surroundings.plain_sum = place.plain_sum().await?;
    report.surroundings.load[1] = load_average();
    report.surroundings.seconds = begun.elapsed().as_secs_f64().round();
    Ok(report)
}

/// Everything once, and not counted: connections, caches and the servers' compilers are warm then.
async fn warm_up(
    place: &Place,
    args: &ClusterBenchArgs,
    groups: &[&Group],
    lasts: Duration,
) -> anyhow::Result<()> {
    eprintln!("warming up …");
    for line in groups.iter().flat_map(|group| group.lines) {
        one(place, args, *line, lasts.min(Duration::from_secs(5))).await?;
    }
    Ok(())
}

/// One measurement.
async fn one(
    place: &Place,
    args: &ClusterBenchArgs,
    (what, clients): Line,
    lasts: Duration,
) -> anyhow::Result<(crate::bench::report::Measured, Option<Duration>, Looped)> {
    let shards = place.target.namespace.shards();
    let workload = match what {
        What::Handfast(workload) => workload,
        What::Streamed | What::Delivered => Workload::Log,
        _ => Workload::Write,
    };
    let run: u64 = rand::random();
    let there = place.delivered().await?;
    let streams: Vec<SubmitStream> =
        place.clients.iter().map(|it| it.stream(StreamOptions::default())).collect();
    let workers = (0..clients).map(|number| Worker {
        what,
        topic: Arc::clone(if what == What::Gathered { &place.gathering } else { &place.topic }),
        tables: Arc::clone(&place.plain),
        client: place.clients[number % place.clients.len()].clone(),
        stream: streams[number % streams.len()].clone(),
        target: Arc::clone(&place.target),
        source: Source::new(workload, args.rows, args.value_bytes, run.wrapping_add(number as u64))
            .apart(shards),
        value: Bytes::from(vec![7; args.value_bytes]),
        shards,
    });
    let begun = Instant::now();
    let looped = load::run(workers.collect(), lasts).await?;
    let answered = Instant::now();
    if what.commits() {
        place.wait_until_applied(args.rows).await?;
    }
    if what == What::Delivered {
        place.wait_until_delivered(there + looped.tally.committed).await?;
    }
    let applied_after = what.commits().then(|| answered.elapsed());
    let figures = looped.tally.measured(&what.name(), what.transport(), clients, begun.elapsed());
    Ok((figures, applied_after, looped))
}

fn progress(round: &Round) {
    let Round { figures, by, round, applied_after_ms, complaint, .. } = round;
    eprint!(
        "{round} {by:<9} {:<28} {:>4} clients: {:>8.0}/s, p50 {:>7} µs, p99 {:>8} µs",
        figures.workload, figures.in_flight, figures.per_second, figures.p50_us, figures.p99_us
    );
    if let Some(ms) = applied_after_ms {
        eprint!(", all there {ms} ms later");
    }
    if figures.unknown + figures.refused > 0 {
        eprint!(", {} unknown, {} failed", figures.unknown, figures.refused);
    }
    if let Some(complaint) = complaint {
        eprint!(" ({complaint})");
    }
    eprintln!();
}

/// The load average of the last minute.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
