//! Who makes the faults strike, and writes down when.

use std::collections::BTreeMap;
use std::time::Duration;

use handfast_checker::{Event, NEMESIS, Type, Value};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::ground::{Blow, Ground};
use crate::history::History;
use crate::timeline::{Band, nanos};

/// When the faults may stop.
pub(crate) struct Until {
    pub(crate) time: Instant,
    /// Not before so many faults.
    pub(crate) faults: usize,
    /// But then in any case.
    pub(crate) latest: Instant,
}

/// What struck.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    /// How often, by name.
    pub(crate) counts: BTreeMap<&'static str, usize>,
    /// How many strikes there were: one may be of several kinds.
    pub(crate) strikes: usize,
    /// When.
    pub(crate) bands: Vec<Band>,
}

/// Strikes until it may stop, and leaves servers that serve.
pub(crate) async fn strike<G: Ground>(
    fault: Fault,
    ground: &mut G,
    until: &Until,
    history: &History,
    rng: &mut StdRng,
) -> anyhow::Result<Struck> {
    let mut struck = Struck::default();
    let quiet = ground.quiet_ms(fault);
    loop {
        let now = Instant::now();
        let enough = struck.strikes >= until.faults || fault == Fault::None || now >= until.latest;
        if now >= until.time && enough {
            return Ok(struck);
        }
        if fault == Fault::None {
            tokio::time::sleep_until(until.time).await;
            continue;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(quiet.clone()))).await;
        write(history, fault, "begins")?;
        let blows = ground.strike(fault, rng).await?;
        let kinds: Vec<&str> = blows.iter().map(|blow| blow.kind).collect();
        write(history, fault, &format!("is over: {}", kinds.join(", ")))?;
        struck.strikes += 1;
        for Blow { kind, from, to } in blows {
            *struck.counts.entry(kind).or_default() += 1;
            let [from, to] = [from, to].map(|at| nanos(at.duration_since(history.start())));
            struck.bands.push(Band { name: kind.to_owned(), from, to });
        }
    }
}

fn write(history: &History, fault: Fault, what: &str) -> anyhow::Result<u64> {
    let what = Value::Text(what.to_owned());
    history.write(Event::new(Type::Info, NEMESIS, fault.name(), what))
}
