//! Who leads what, as far as this node has heard, and whether it should stand itself.
//!
//! Only service depends on this, never correctness: the log decides who leads. A leader tells everybody
//! every [`BEAT_US`]; what a node has heard from a leader itself, it passes on, so that a leader that cannot
//! be heard directly is not taken for dead while anybody hears it. When nobody does for the silence, the
//! nodes stand in turn, each placed a silence later than the one before it, and only those that hear most of
//! the cluster: the smaller side of a cut does not disturb the larger.

use serde_json::{Map, Value, json};
use wal_core::{Epoch, ShardId};

use crate::protocol::body;

/// Time between two beats, microseconds.
pub(super) const BEAT_US: u64 = 100_000;
/// The type of a beat's message.
pub(super) const BEAT: &str = "handfast_beat";
/// Pause before standing again after a failure, microseconds: at first, and at most.
const BACKOFF_US: (u64, u64) = (100_000, 3_200_000);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    leader: Option<(Epoch, usize)>,
    /// When it was heard of, by whomever.
    heard_us: u64,
    /// When it was heard itself.
    direct_us: Option<u64>,
    retry_at_us: u64,
    failures: u32,
}

/// What a node knows of the others.
#[derive(Debug)]
pub(super) struct Peers {
    me: usize,
    names: Vec<String>,
    silence_us: u64,
    heard_us: Vec<Option<u64>>,
    shards: Vec<Known>,
}

impl Peers {
    /// A node that has heard of nobody yet. `names` are all nodes of the cluster, with this one.
    pub(super) fn new(
        me: usize,
        names: Vec<String>,
        shards: u16,
        silence_us: u64,
        now_us: u64,
    ) -> Self {
        let known = Known { heard_us: now_us, ..Known::default() };
        Self {
            me,
            heard_us: vec![None; names.len()],
            names,
            silence_us,
            shards: vec![known; usize::from(shards)],
        }
    }

    pub(super) const fn me(&self) -> usize {
        self.me
    }

    pub(super) fn name(&self, node: usize) -> Option<&str> {
        self.names.get(node).map(String::as_str)
    }

    pub(super) fn number_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.me;
        (0..self.names.len()).filter(move |node| *node != me)
    }

    /// The leader of a shard that was last heard of.
    pub(super) fn leader(&self, shard: ShardId) -> Option<(Epoch, usize)> {
        self.shards.get(usize::from(shard.0))?.leader
    }

    /// What this node tells the others.
    pub(super) fn beat(&self, now_us: u64, leads: &[(ShardId, Epoch)]) -> Map<String, Value> {
        let leads: Vec<Value> =
            leads.iter().map(|(shard, epoch)| json!([shard.0, epoch.0])).collect();
        let mut hears = Vec::new();
        for (shard, known) in self.shards.iter().enumerate() {
            if let Some((epoch, leader)) = known.leader
                && known.direct_us.is_some_and(|direct| now_us < direct + self.silence_us)
                && leader != self.me
            {
                hears.push(json!([shard, epoch.0, leader]));
            }
        }
        body(json!({ "type": BEAT, "leads": leads, "hears": hears }))
    }

    /// A beat arrives; the leaders that are news.
    pub(super) fn on_beat(
        &mut self,
        now_us: u64,
        from: usize,
        beat: &Map<String, Value>,
    ) -> Vec<(ShardId, Epoch)> {
        self.heard_us[from] = Some(now_us);
        let list =
            |name: &str| beat.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut news = Vec::new();
        for entry in list("leads") {
            if let [Some(shard), Some(epoch)] = numbers(&entry) {
                news.extend(self.learn(now_us, shard, Epoch(epoch), from, true));
            }
        }
        for entry in list("hears") {
            if let [Some(shard), Some(epoch), Some(leader)] = numbers(&entry)
                && (leader as usize) < self.names.len()
                && leader as usize != self.me
            {
                news.extend(self.learn(now_us, shard, Epoch(epoch), leader as usize, false));
            }
        }
        news
    }

    /// This node leads a shard.
    pub(super) fn leads(&mut self, now_us: u64, shard: ShardId, epoch: Epoch) {
        self.learn(now_us, u64::from(shard.0), epoch, self.me, true);
        if let Some(known) = self.shards.get_mut(usize::from(shard.0)) {
            known.failures = 0;
        }
    }

    fn learn(
        &mut self,
        now_us: u64,
        shard: u64,
        epoch: Epoch,
        leader: usize,
        direct: bool,
    ) -> Option<(ShardId, Epoch)> {
        let known = self.shards.get_mut(usize::try_from(shard).ok()?)?;
        let before = known.leader.map(|(epoch, _)| epoch);
        if before > Some(epoch) {
            return None;
        }
        let newer = before < Some(epoch);
        if newer {
            known.direct_us = None;
        }
        known.leader = Some((epoch, leader));
        known.heard_us = now_us;
        if direct {
            known.direct_us = Some(now_us);
        }
        newer.then_some((ShardId(u16::try_from(shard).ok()?), epoch))
    }

    /// An attempt to lead a shard has failed, or ended. `jitter` spreads the next.
    pub(super) fn failed(&mut self, now_us: u64, shard: ShardId, jitter_us: u64) {
        let Some(known) = self.shards.get_mut(usize::from(shard.0)) else { return };
        let pause_us = (BACKOFF_US.0 << known.failures.min(8)).min(BACKOFF_US.1);
        known.failures += 1;
        known.retry_at_us = now_us + pause_us + jitter_us % BACKOFF_US.0;
    }

    /// Whether this node should stand for a shard that it neither leads nor stands for.
    pub(super) fn should_stand(&self, now_us: u64, shard: ShardId) -> bool {
        let known = &self.shards[usize::from(shard.0)];
        let nodes = self.names.len();
        // Shard s is node s's to begin with; the next in order that can be heard stands next.
        let before = (0..nodes).map(|place| (usize::from(shard.0) + place) % nodes);
        let rank = before
            .take_while(|node| *node != self.me)
            .filter(|node| self.hears(*node, now_us))
            .count();
        let silent_us = now_us.saturating_sub(known.heard_us);
        let turn_us = self.silence_us * (rank as u64 + 1);
        now_us >= known.retry_at_us && silent_us > turn_us && self.hears_most(now_us)
    }

    fn hears_most(&self, now_us: u64) -> bool {
        let heard = 1 + self.others().filter(|node| self.hears(*node, now_us)).count();
        2 * heard > self.names.len()
    }

    fn hears(&self, node: usize, now_us: u64) -> bool {
        self.heard_us[node].is_some_and(|heard| now_us < heard + self.silence_us)
    }
}

/// The first numbers of a list.
fn numbers<const N: usize>(entry: &Value) -> [Option<u64>; N] {
    std::array::from_fn(|at| entry.get(at).and_then(Value::as_u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: u64 = 500_000;

    fn peers(me: usize) -> Peers {
        let names = ["n1", "n2", "n3"].map(str::to_owned).to_vec();
        Peers::new(me, names, 4, SILENCE, 0)
    }

    fn beat(leads: Value, hears: Value) -> Map<String, Value> {
        body(json!({ "type": BEAT, "leads": leads, "hears": hears }))
    }

    #[test]
    fn a_shard_that_nobody_leads_is_stood_for_in_turn() {
        let (mut first, mut second) = (peers(1), peers(2));
        for now in [100_000, 600_000, 1_000_001] {
            first.on_beat(now, 0, &beat(json!([]), json!([])));
            second.on_beat(now, 1, &beat(json!([]), json!([])));
            assert_eq!(first.should_stand(now, ShardId(1)), now > SILENCE, "it is its own");
            assert_eq!(second.should_stand(now, ShardId(1)), now > 2 * SILENCE, "it is the next");
        }
    }

    #[test]
    fn who_hears_nobody_does_not_stand() {
        let mut alone = peers(0);
        assert!(!alone.should_stand(10_000_000, ShardId(0)));
        assert!(!alone.should_stand(10_000_000, ShardId(1)));
        alone.on_beat(9_900_000, 2, &beat(json!([]), json!([])));
        assert!(alone.should_stand(10_000_000, ShardId(0)));
        let single = Peers::new(0, vec!["n1".into()], 1, SILENCE, 0);
        assert!(single.should_stand(1_000_000, ShardId(0)), "one of one is most");
    }

    #[test]
    fn a_leader_that_another_hears_is_not_taken_for_dead() {
        let mut peers = peers(0);
        let news = peers.on_beat(100_000, 1, &beat(json!([]), json!([[0, 3, 2]])));
        assert_eq!(news, [(ShardId(0), Epoch(3))]);
        assert_eq!(peers.leader(ShardId(0)), Some((Epoch(3), 2)));
        peers.on_beat(590_000, 1, &beat(json!([]), json!([[0, 3, 2]])));
        assert!(!peers.should_stand(900_000, ShardId(0)));
        let own = peers.beat(900_000, &[(ShardId(3), Epoch(1))]);
        assert_eq!(Value::Object(own), json!({ "type": BEAT, "leads": [[3, 1]], "hears": [] }));
        peers.on_beat(950_000, 2, &beat(json!([[0, 3]]), json!([])));
        let own = peers.beat(960_000, &[]);
        assert_eq!(own["hears"], json!([[0, 3, 2]]), "what was heard directly is passed on");
    }

    #[test]
    fn an_older_epoch_is_no_news_and_nonsense_is_passed_over() {
        let mut peers = peers(0);
        peers.on_beat(1, 1, &beat(json!([[0, 5]]), json!([])));
        assert!(peers.on_beat(2, 2, &beat(json!([[0, 4]]), json!([]))).is_empty());
        assert_eq!(peers.leader(ShardId(0)), Some((Epoch(5), 1)));
        let nonsense = beat(json!([[99, 1], ["x"], 7]), json!([[0, 9, 77], [0]]));
        assert!(peers.on_beat(3, 2, &nonsense).is_empty());
        assert!(peers.on_beat(4, 2, &body(json!({ "type": BEAT }))).is_empty());
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let mut peers = peers(0);
        let mut now = 10_000_000;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            peers.failed(now, ShardId(0), 0);
            let mut pause = 0;
            loop {
                peers.on_beat(now + pause, 1, &beat(json!([]), json!([])));
                if peers.should_stand(now + pause, ShardId(0)) {
                    break;
                }
                pause += 50_000;
            }
            pauses.push(pause);
            now += pause;
        }
        assert!(pauses.is_sorted() && pauses[7] == BACKOFF_US.1, "{pauses:?}");
    }
}
