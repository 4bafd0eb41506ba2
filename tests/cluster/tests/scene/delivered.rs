//! Where the load's messages go: an endpoint of this process, which refuses some, and a topic of the stack.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use handfast_client::{Client, v1};
use handfast_cluster::load::{Ended, NAMESPACE, Taken};
use handfast_cluster::{Cluster, Member, Part};
use handfast_e2e::Endpoint;
use handfast_kafka_tests::raw;

/// What the load calls the two.
pub(super) const TARGETS: [&str; 2] = [ENDPOINT, TOPIC];
const ENDPOINT: &str = "shop";
const TOPIC: &str = "stream";
/// In which everything is delivered once all is well.
const PATIENCE: Duration = Duration::from_secs(90);
/// As many as a listing has.
const LETTERS: u32 = 1_000;

pub(super) struct Targets {
    endpoint: Endpoint,
    /// Until then the endpoint takes no order whose number ends with 13.
    is_mended: Arc<AtomicBool>,
}

impl Targets {
    /// The endpoint also fails once for every tenth order.
    pub(super) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        raw::create_copied_topic(&cluster.stack().kafka_bootstrap(), TOPIC, 3, 3, &[]);
        let endpoint = Endpoint::start().await?;
        let is_mended = Arc::new(AtomicBool::new(false));
        let mended = Arc::clone(&is_mended);
        endpoint.answers(move |arrived, before| {
            let is_refused = arrived.body.ends_with("13") && !mended.load(Ordering::Relaxed);
            Some(match () {
                () if is_refused => 400,
                () if arrived.body.ends_with('7') && before == 0 => 500,
                () => 200,
            })
        });
        Ok(Self { endpoint, is_mended })
    }

    /// The sections of a namespace file.
    pub(super) fn file(&self, cluster: &Cluster) -> String {
        let brokers = cluster.stack().kafka_bootstrap();
        let endpoint = self.endpoint.target(ENDPOINT, "");
        format!(
            "{endpoint}\n[[target]]\nname = \"{TOPIC}\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{TOPIC}\"\n"
        )
    }

    /// Everything arrives, or is a dead letter; what is one is sent again, while a server that delivers is killed.
    pub(super) async fn end(&self, cluster: &Cluster, ended: &Ended) -> anyhow::Result<()> {
        let client = cluster.client().await?;
        let expected = ended.messages();
        let dead = self.until_taken_or_dead(&client, &expected).await?;
        ensure!(!dead.is_empty(), "none of {} messages was refused", expected.len());
        self.is_mended.store(true, Ordering::Relaxed);
        let wish = v1::DeadLetterWish::Redrive;
        let all = v1::DeadLetterSelection::default();
        let count = client.admin().change_dead_letters(NAMESPACE, all, wish).await?;
        ensure!(count == dead.len() as u64, "{count} of {} are sent again", dead.len());
        let delivery = Part::Member(Member::Delivery(1));
        cluster.kill(delivery)?;
        cluster.restart(delivery)?;
        let left = self.until_taken_or_dead_are(&client, &expected, 0).await?;
        ensure!(left.is_empty(), "still dead letters: {left:?}");
        ended.check_delivered(&self.taken()?, &dead).context("the endpoint")?;
        let records = self.until_in_topic(cluster, &expected).await?;
        ended.check_delivered(&records, &BTreeSet::new()).context("the topic")?;
        println!(
            "{} messages delivered, with {} requests to the endpoint, {} records in the topic; {} were dead letters",
            expected.len(),
            self.endpoint.arrived().len(),
            records.len(),
            dead.len()
        );
        Ok(())
    }

    fn taken(&self) -> anyhow::Result<Vec<Taken>> {
        let taken = self.endpoint.taken();
        let taken = taken.iter().map(|it| {
            Ok(Taken {
                name: it.name().to_owned(),
                key: it.headers["handfast-key"].clone(),
                timestamp_us: it.headers["handfast-commit-timestamp-us"].parse()?,
            })
        });
        taken.collect()
    }

    /// Waits until each message was taken by the endpoint or is a dead letter; those that are.
    async fn until_taken_or_dead(
        &self,
        client: &Client,
        expected: &BTreeSet<String>,
    ) -> anyhow::Result<BTreeSet<String>> {
        self.until_taken_or_dead_are(client, expected, usize::MAX).await
    }

    /// The same; at most so many may be.
    async fn until_taken_or_dead_are(
        &self,
        client: &Client,
        expected: &BTreeSet<String>,
        most: usize,
    ) -> anyhow::Result<BTreeSet<String>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let all = v1::DeadLetterSelection::default();
            let found = client.admin().list_dead_letters(NAMESPACE, all, LETTERS, "").await?;
            let dead: BTreeSet<String> = found.letters.into_iter().map(|it| it.name).collect();
            let taken = self.taken()?.into_iter().map(|it| it.name);
            let there: BTreeSet<String> = taken.chain(dead.iter().cloned()).collect();
            if there.is_superset(expected) && dead.len() <= most {
                return Ok(dead);
            }
            let missing = expected.difference(&there).count();
            ensure!(
                Instant::now() < end,
                "{missing} messages were neither delivered nor dead letters, {} are dead letters",
                dead.len()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until_in_topic(
        &self,
        cluster: &Cluster,
        expected: &BTreeSet<String>,
    ) -> anyhow::Result<Vec<Taken>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let brokers = cluster.stack().kafka_bootstrap();
            let reading = tokio::task::spawn_blocking(move || raw::read_all(&brokers, TOPIC));
            let records = match reading.await? {
                Ok(records) => records,
                Err(error) if Instant::now() < end => {
                    println!("the topic is read again: {error:#}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let records: Vec<Taken> = records
                .into_iter()
                .map(|it| {
                    Ok(Taken {
                        name: it.headers["handfast-id"].clone(),
                        key: it.key.unwrap_or_default(),
                        timestamp_us: it.headers["handfast-commit-timestamp-us"].parse()?,
                    })
                })
                .collect::<anyhow::Result<_>>()?;
            let there: BTreeSet<String> = records.iter().map(|it| it.name.clone()).collect();
            if there.is_superset(expected) {
                return Ok(records);
            }
            let missing = expected.difference(&there).count();
            ensure!(Instant::now() < end, "{missing} messages are not in the topic");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
