//! `handfast region`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

use handfast_client::{Client, v1};
use serde_json::json;
use wal_core::value::Value;

use super::delayed::time;
use super::{connect, connect_to};
use crate::cli::{Global, RegionVerb};
use crate::exit::Failure;
use crate::output;

/// How often it is looked whether everything has arrived, and said how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(global: &Global, verb: RegionVerb) -> Result<(), Failure> {
    match verb {
        RegionVerb::List { namespace } => list(global, &namespace).await,
        RegionVerb::Failover { namespace, to, from, force, yes, within } => {
            let known = connect(global).await?.admin().list_regions(&namespace).await?;
            let from = old_home(&known, &to, from)?;
            let failover = Failover { global, namespace, from, to, known, within };
            if force { failover.forced(yes).await } else { failover.planned(yes).await }
        }
        RegionVerb::Accept { namespace, from, until, .. } => {
            let watermark_us = match until {
                None => 0,
                Some(text) => micros(&text)?,
            };
            let request = v1::SetArrivedRequest {
                namespace: namespace.clone(),
                from: from.clone(),
                watermark_us,
            };
            let before = connect(global).await?.admin().set_arrived(request).await?.before_us;
            output::one(
                global,
                json!({
                    "namespace": namespace, "from": from,
                    "before": shown(before), "before_us": before,
                    "arrived": shown(watermark_us), "arrived_us": watermark_us,
                }),
            )
        }
    }
}

fn micros(text: &str) -> Result<i64, Failure> {
    let since = time(text)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

async fn list(global: &Global, namespace: &str) -> Result<(), Failure> {
    let found = connect(global).await?.admin().list_regions(namespace).await?;
    let rows = found.regions.iter().map(|region| {
        let is_here = region.name == found.here;
        let lag_us = region.lags.iter().map(|lag| lag.lag_us).max();
        let lags = region.lags.iter().map(|lag| json!({"shard": lag.shard, "lag_us": lag.lag_us}));
        json!({
            "region": region.name,
            "here": is_here,
            "home": region.name == found.home || found.tables.iter().any(|it| it.home == region.name),
            "arrived": if is_here { json!("all") } else { shown(region.arrived_us) },
            "arrived_us": region.arrived_us,
            "arrived_transactions": region.arrived_transactions,
            "sent": if is_here || !region.sends { json!(null) } else { shown(region.sent_us) },
            "sent_us": region.sent_us,
            "sent_transactions": region.sent_transactions,
            "lag_ms": if region.sends { json!(lag_us.unwrap_or(0) / 1_000) } else { json!(null) },
            "waiting": region.waiting,
            "waiting_bytes": region.waiting_bytes,
            "lags": lags.collect::<Vec<_>>(),
            "problem": region.problem,
            "servers": region.servers,
            "term": found.term,
        })
    });
    let shown = ["region", "here", "home", "arrived", "sent", "lag_ms", "waiting", "problem"];
    output::many(global, &shown, rows.collect())
}

/// The region whose tables are to move.
fn old_home(
    known: &v1::ListRegionsResponse,
    to: &str,
    from: Option<String>,
) -> Result<String, Failure> {
    for region in [Some(to), from.as_deref()].into_iter().flatten() {
        if !known.regions.iter().any(|it| it.name == region) {
            let names: Vec<&str> = known.regions.iter().map(|it| &*it.name).collect();
            let names = names.join(", ");
            return Err(Failure::usage(format!(
                "there is no region {region:?}: there are {names}"
            )));
        }
    }
    if let Some(from) = from {
        return Ok(from);
    }
    let homes: BTreeSet<&str> =
        known.tables.iter().map(|it| &*it.home).chain([&*known.home]).collect();
    let mut others = homes.into_iter().filter(|home| !home.is_empty() && *home != to);
    match (others.next(), others.next()) {
        (Some(only), None) => Ok(only.to_owned()),
        (Some(_), Some(_)) => {
            Err(Failure::usage("tables have several homes: say which moves, --from"))
        }
        // It may have been interrupted between its two steps: then the other of two regions was the home.
        (None, _) => {
            let mut other = known.regions.iter().filter(|it| it.name != to);
            match (other.next(), other.next()) {
                (Some(only), None) => Ok(only.name.clone()),
                _ => Err(Failure::usage("say which region was the home: --from")),
            }
        }
    }
}

struct Failover<'a> {
    global: &'a Global,
    namespace: String,
    from: String,
    to: String,
    known: v1::ListRegionsResponse,
    within: Duration,
}

/// A region and how it sees things.
struct Seen {
    client: Client,
    regions: v1::ListRegionsResponse,
}

impl Seen {
    fn of(&self, region: &str) -> Option<&v1::Region> {
        self.regions.regions.iter().find(|it| it.name == region)
    }

    /// Whether nothing has its home in a region.
    fn has_left(&self, region: &str) -> bool {
        self.regions.home != region && self.regions.tables.iter().all(|it| it.home != region)
    }
}

impl Failover<'_> {
    /// How a region sees things, asked at its own servers.
    async fn ask(&self, region: &str) -> Result<Seen, Failure> {
        let servers = self.known.regions.iter().find(|it| it.name == region);
        let servers = servers.map(|it| it.servers.clone()).unwrap_or_default();
        let asked = async {
            let client = connect_to(self.global, servers).await?;
            let regions = client.admin().list_regions(&self.namespace).await?;
            Ok::<_, Failure>(Seen { client, regions })
        };
        asked.await.map_err(|failure| Failure {
            message: format!("region {region:?} cannot be asked: {}", failure.message),
            ..failure
        })
    }

    async fn move_homes(&self, at: &Seen, term: u64) -> Result<i64, Failure> {
        let request = v1::MoveHomesRequest {
            namespace: self.namespace.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            term,
        };
        Ok(at.client.admin().move_homes(request).await?.closed_us)
    }

    async fn planned(&self, yes: bool) -> Result<(), Failure> {
        let Self { namespace, from, to, .. } = self;
        let old = self.ask(from).await.map_err(|failure| Failure {
            message: format!(
                "{}\nif it is gone for good: --force, which says first what would be lost",
                failure.message
            ),
            ..failure
        })?;
        let new = self.ask(to).await?;
        let (old_term, new_term) = (old.regions.term, new.regions.term);
        let interrupted = old.has_left(from) && old_term > new_term;
        if old.has_left(from) && new.has_left(from) && old_term == new_term {
            eprintln!("nothing of {namespace:?} is at home in {from:?}: nothing is to be done");
            return self.done(new_term);
        }
        let arrived = new.of(from).map_or(0, |it| it.arrived_us);
        eprintln!(
            "The homes of tables of {namespace:?} move from {from:?} to {to:?}. Nothing is lost: {from:?} refuses writes to \
             them at once,\n{to:?} takes them when it has everything that {from:?} has committed; it has everything up to {}.",
            shown_text(arrived)
        );
        if let Some(sent) = old.of(to).filter(|it| it.sends) {
            let lag_us = sent.lags.iter().map(|lag| lag.lag_us).max().unwrap_or(0);
            eprintln!(
                "{} write times ({} bytes) are on the way, the oldest for {} ms.",
                sent.waiting,
                sent.waiting_bytes,
                lag_us / 1_000
            );
        }
        if !yes {
            return Err(Failure::error("nothing was changed; run it again with --yes to do it"));
        }
        let term = if interrupted { old_term } else { old_term.max(new_term) + 1 };
        let closed = self.move_homes(&old, term).await?;
        eprintln!(
            "{from:?} takes no more writes; waiting until {to:?} has everything up to {} …",
            shown_text(closed)
        );
        self.wait(&new, closed).await?;
        self.move_homes(&new, term).await?;
        self.tell_others(term).await;
        eprintln!("{to:?} takes writes.");
        self.done(term)
    }

    async fn wait(&self, new: &Seen, closed: i64) -> Result<(), Failure> {
        let Self { namespace, from, to, .. } = self;
        let began = Instant::now();
        let mut said = Instant::now();
        loop {
            let seen = new.client.admin().list_regions(namespace).await;
            let arrived =
                seen.as_ref().ok().and_then(|it| it.regions.iter().find(|it| it.name == *from));
            let arrived = arrived.map_or(0, |it| it.arrived_us);
            if arrived >= closed {
                return Ok(());
            }
            if began.elapsed() >= self.within {
                return Err(Failure::try_again(format!(
                    "{to:?} has everything up to {} only, {from:?} refuses writes meanwhile. Go on: the same again. \
                     Go back: handfast region failover {namespace} --to {from} --from {to} --yes",
                    shown_text(arrived)
                )));
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                let left = closed.saturating_sub(arrived) / 1_000;
                eprintln!("{to:?} is {left} ms behind …");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn forced(&self, yes: bool) -> Result<(), Failure> {
        let Self { namespace, from, to, .. } = self;
        let new = self.ask(to).await?;
        let arrived = new.of(from).map_or(0, |it| it.arrived_us);
        let ago_ms = new.regions.now_us.saturating_sub(arrived) / 1_000;
        eprintln!(
            "The homes of tables of {namespace:?} move from {from:?} to {to:?} without asking {from:?}.
What {from:?} has committed after {} ({ago_ms} ms ago) is not there: {to:?} goes on without it.
If {from:?} comes back, it follows by itself, and sends what it had: of each value the later write time stays.
See to it that nobody can write to {from:?} until then: it does not know.",
            shown_text(arrived)
        );
        if let Ok(old) = self.ask(from).await {
            let sent = old.of(to).filter(|it| it.sends);
            let waiting =
                sent.map_or(String::new(), |it| format!(" {} write times wait there.", it.waiting));
            eprintln!("But {from:?} answers.{waiting} Without --force nothing would be lost.");
        }
        if !yes {
            return Err(Failure::error("nothing was changed; run it again with --yes to do it"));
        }
        let term = new.regions.term + 1;
        self.move_homes(&new, term).await?;
        self.tell_others(term).await;
        eprintln!("{to:?} takes writes.");
        self.done(term)
    }

    /// Regions that are neither the old nor the new home: they follow by themselves if they are not told.
    async fn tell_others(&self, term: u64) {
        let others = self.known.regions.iter().map(|it| &it.name);
        for region in others.filter(|name| **name != self.from && **name != self.to) {
            let told = async { self.move_homes(&self.ask(region).await?, term).await };
            if let Err(failure) = told.await {
                eprintln!(
                    "region {region:?} was not told, and will follow by itself: {}",
                    failure.message
                );
            }
        }
    }

    fn done(&self, term: u64) -> Result<(), Failure> {
        output::one(
            self.global,
            json!({"namespace": self.namespace, "from": self.from, "home": self.to, "term": term}),
        )
    }
}

/// A time as people read it.
fn shown(us: i64) -> serde_json::Value {
    if us == 0 { json!("nothing") } else { Value::Timestamp(us / 1_000).to_json() }
}

fn shown_text(us: i64) -> String {
    shown(us).as_str().unwrap_or_default().to_owned()
}
