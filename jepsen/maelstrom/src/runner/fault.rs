//! What happens to the cluster while clients work.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::child::Cluster;
use super::network::Network;
use super::options::RunnerOptions;
use super::record::Recorder;
use crate::kv::remote::SERVICE;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The nodes fall into two halves that do not hear each other.
    Cut,
    /// One node is heard by no other, but hears them.
    OneWay,
    /// One node cannot reach the service that keeps the log and the tables.
    Storage,
    /// A tenth of the messages between nodes and to the service is lost.
    Loss,
    /// Messages take ten times as long.
    Slow,
    /// Some nodes are killed as by `kill -9`, and started again.
    Kill,
    /// A node is stopped, for longer than its lease at times, and goes on.
    Pause,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Cut, Self::OneWay, Self::Storage, Self::Loss, Self::Slow, Self::Kill, Self::Pause];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::OneWay => "one-way",
            Self::Storage => "storage",
            Self::Loss => "loss",
            Self::Slow => "slow",
            Self::Kill => "kill",
            Self::Pause => "pause",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| format!("there is no fault {name:?}; choose among {known}"))
    }
}

/// Strikes with one fault after the other until the end; how often with each.
pub(super) fn strike(
    options: &RunnerOptions,
    cluster: &Cluster,
    network: &Network,
    recorder: &Recorder,
    mut random: StdRng,
    end: Instant,
) -> anyhow::Result<BTreeMap<Fault, usize>> {
    let mut struck: BTreeMap<Fault, usize> =
        options.faults.iter().map(|fault| (*fault, 0)).collect();
    let mut round: Vec<Fault> = Vec::new();
    loop {
        sleep_until(draw(&mut random, options.fault_interval), end);
        if Instant::now() >= end || options.faults.is_empty() {
            sleep_until(Duration::MAX, end);
            return Ok(struck);
        }
        if round.is_empty() {
            round.clone_from(&options.faults);
            round.shuffle(&mut random);
        }
        let fault = round.pop().expect("filled above");
        let mut strike = Strike { cluster, network, recorder, random: &mut random, end };
        let time = draw(strike.random, options.fault_interval);
        strike.with(fault, time, options.latency)?;
        *struck.entry(fault).or_default() += 1;
    }
}

/// Between half of it and one and a half.
fn draw(random: &mut StdRng, mean: Duration) -> Duration {
    mean.mul_f64(0.5 + random.random::<f64>())
}

fn sleep_until(time: Duration, end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    std::thread::sleep(time.min(left));
}

struct Strike<'a> {
    cluster: &'a Cluster,
    network: &'a Network,
    recorder: &'a Recorder,
    random: &'a mut StdRng,
    end: Instant,
}

impl Strike<'_> {
    /// One fault, from its beginning to its end.
    fn with(&mut self, fault: Fault, time: Duration, latency: Duration) -> anyhow::Result<()> {
        let names = self.cluster.names().to_vec();
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.shuffle(self.random);
        let one = order[0];
        let whom: Vec<usize> = match fault {
            Fault::Cut => order[..names.len() / 2].to_vec(),
            Fault::Kill if self.random.random_bool(0.4) => {
                order[..self.random.random_range(1..=names.len())].to_vec()
            }
            Fault::Loss | Fault::Slow => order.clone(),
            Fault::OneWay | Fault::Storage | Fault::Kill | Fault::Pause => vec![one],
        };
        let named = |nodes: &[usize]| {
            nodes.iter().map(|node| names[*node].as_str()).collect::<Vec<_>>().join(" ")
        };
        let ways = |from: &[usize], to: &[usize]| {
            let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
            let pairs: Vec<_> =
                pairs.map(|(from, to)| (names[from].clone(), names[to].clone())).collect();
            pairs
        };
        let rest: Vec<usize> = order.iter().copied().filter(|node| !whom.contains(node)).collect();
        self.recorder.fault(fault.name(), &named(&whom));
        match fault {
            Fault::Cut => {
                self.network.cut(ways(&whom, &rest));
                self.network.cut(ways(&rest, &whom));
            }
            Fault::OneWay => self.network.cut(ways(&whom, &rest)),
            Fault::Storage => {
                let (name, service) = (names[one].clone(), SERVICE.to_owned());
                self.network.cut([(name.clone(), service.clone()), (service, name)]);
            }
            Fault::Loss => self.network.worsen(Some(0.1), None),
            Fault::Slow => self.network.worsen(None, Some(10)),
            Fault::Kill => {
                for node in &whom {
                    self.cluster.kill(*node)?;
                }
            }
            Fault::Pause => self.cluster.signal(one, "STOP")?,
        }
        sleep_until(time, self.end);
        match fault {
            Fault::Cut | Fault::OneWay | Fault::Storage | Fault::Loss | Fault::Slow => {
                self.network.mend(latency);
            }
            Fault::Kill => {
                for node in &whom {
                    self.cluster.spawn(*node)?;
                }
            }
            Fault::Pause => self.cluster.signal(one, "CONT")?,
        }
        self.recorder.fault("heal", fault.name());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_faults_are_refused_with_the_known_ones() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        let error = "earthquake".parse::<Fault>().expect_err("there is none");
        assert!(error.contains("cut, one-way, storage, loss, slow, kill, pause"), "{error}");
    }
}
