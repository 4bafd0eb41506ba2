use super::*;

/// Several processes over one log, which only counts epochs.
struct World {
    now_us: u64,
    nodes: Vec<Option<Node>>,
    epochs: Vec<u64>,
    /// Pairs that do not hear each other.
    cut: Vec<(usize, usize)>,
    /// Who the log refuses once it stands.
    failing: Vec<usize>,
    /// Who does not reach the log.
    apart: Vec<usize>,
}

struct Node {
    placement: Placement,
    /// Candidates, and when each will lead.
    standing: BTreeMap<ShardId, u64>,
    draining: BTreeMap<ShardId, u64>,
}

const SHARDS: u16 = 16;

fn address(index: usize) -> Arc<str> {
    format!("node-{index}").into()
}

impl World {
    fn new(nodes: usize) -> Self {
        let mut world = Self {
            now_us: 1_000_000_000,
            nodes: (0..nodes).map(|_| None).collect(),
            epochs: vec![0; usize::from(SHARDS)],
            cut: Vec::new(),
            failing: Vec::new(),
            apart: Vec::new(),
        };
        (0..nodes).for_each(|index| world.start(index));
        world
    }

    fn start(&mut self, index: usize) {
        let config = PlacementConfig::new(address(index), true, SHARDS);
        self.nodes[index] = Some(Node {
            placement: Placement::new(config),
            standing: BTreeMap::new(),
            draining: BTreeMap::new(),
        });
    }

    const fn now(&self) -> Now {
        Now { wall_us: 0, mono_us: self.now_us }
    }

    fn step(&mut self, index: usize, event: PlacementEvent) {
        let now = self.now();
        let Some(node) = &mut self.nodes[index] else { return };
        let (mut out, mut probes) = (Vec::new(), Vec::new());
        node.placement.step(now, event, &mut out);
        for command in out {
            match command {
                PlacementCommand::Stand(shard) => {
                    node.standing.insert(shard, now.mono_us + 300_000);
                }
                PlacementCommand::Drain(shard) => {
                    node.draining.insert(shard, now.mono_us + 50_000);
                }
                PlacementCommand::Vacate(shard) => {
                    node.standing.remove(&shard);
                    node.draining.remove(&shard);
                }
                PlacementCommand::Probe(shard) => probes.push(shard),
                PlacementCommand::Route { .. } => {}
            }
        }
        for shard in probes {
            let reached = !self.apart.contains(&index);
            self.step(index, PlacementEvent::Probed { shard, reached });
        }
    }

    /// Lets time pass in ticks; everybody beats every 200 ms. Returns how often a candidate won.
    fn run(&mut self, ms: u64) -> usize {
        let mut won = 0;
        for _ in 0..ms / 10 {
            self.now_us += 10_000;
            for index in 0..self.nodes.len() {
                self.step(index, PlacementEvent::Tick);
                won += self.ripen(index);
                if self.now_us.is_multiple_of(200_000) {
                    self.beat(index);
                }
            }
        }
        won
    }

    fn ripen(&mut self, index: usize) -> usize {
        let Some(node) = &mut self.nodes[index] else { return 0 };
        let ripe = |map: &BTreeMap<ShardId, u64>| -> Vec<ShardId> {
            map.iter().filter(|(_, at)| **at <= self.now_us).map(|(shard, _)| *shard).collect()
        };
        let (won, drained) = (ripe(&node.standing), ripe(&node.draining));
        for shard in &won {
            node.standing.remove(shard);
        }
        for shard in &drained {
            node.draining.remove(shard);
        }
        for shard in drained {
            self.step(index, PlacementEvent::Lost { shard, why: Loss::HandedOver });
        }
        if self.failing.contains(&index) || self.apart.contains(&index) {
            for shard in won {
                self.step(index, PlacementEvent::Lost { shard, why: Loss::Failed });
            }
            return 0;
        }
        for shard in &won {
            self.epochs[usize::from(shard.0)] += 1;
            let epoch = Epoch(self.epochs[usize::from(shard.0)]);
            self.step(index, PlacementEvent::Leading { shard: *shard, epoch });
        }
        won.len()
    }

    fn beat(&mut self, index: usize) {
        let Some(node) = &self.nodes[index] else { return };
        let (beat, address) = (node.placement.beat(), address(index));
        for other in 0..self.nodes.len() {
            let cut = self.cut.contains(&(index, other)) || self.cut.contains(&(other, index));
            if other != index && !cut {
                let (address, beat) = (address.clone(), beat.clone());
                self.step(other, PlacementEvent::Heard { address, beat });
            }
        }
    }

    /// As [`Self::run`], with a log that deposes whoever led before; each notices when it appends.
    fn run_with_a_log(&mut self, ms: u64) -> usize {
        let mut won = 0;
        for _ in 0..ms / 100 {
            won += self.run(100);
            for index in 0..self.nodes.len() {
                let node = self.nodes[index].as_ref();
                let leads = node.map(|node| node.placement.beat().leads).unwrap_or_default();
                for (shard, epoch) in leads {
                    if epoch.0 < self.epochs[usize::from(shard.0)] {
                        self.step(index, PlacementEvent::Lost { shard, why: Loss::Deposed });
                    }
                }
            }
        }
        won
    }

    /// The log refuses a process from now on.
    fn fail(&mut self, index: usize) {
        self.failing.push(index);
        self.lose_all(index);
    }

    fn lose_all(&mut self, index: usize) {
        let node = self.nodes[index].as_ref().expect("it runs");
        for (shard, _) in node.placement.beat().leads {
            self.step(index, PlacementEvent::Lost { shard, why: Loss::Failed });
        }
    }

    /// Who leads each shard in its newest epoch.
    fn leaders(&self) -> Vec<Option<usize>> {
        let leads =
            |node: &Node, shard, epoch| node.placement.beat().leads.contains(&(shard, epoch));
        let leader = |(shard, epoch): (ShardId, &u64)| {
            let epoch = Epoch(*epoch);
            self.nodes.iter().position(|n| n.as_ref().is_some_and(|n| leads(n, shard, epoch)))
        };
        (0..).map(ShardId).zip(&self.epochs).map(leader).collect()
    }

    fn shares(&self) -> Vec<usize> {
        let leaders = self.leaders();
        (0..self.nodes.len()).map(|n| leaders.iter().filter(|l| **l == Some(n)).count()).collect()
    }
}

#[test]
fn three_that_start_together_share_the_shards_and_stay() {
    let mut world = World::new(3);
    world.run(3_000);
    let mut shares = world.shares();
    shares.sort_unstable();
    assert_eq!(shares, [5, 5, 6]);
    assert_eq!(world.run(60_000), 0, "nothing moves without a cause");
}

#[test]
fn the_shards_of_one_that_dies_are_led_within_two_seconds_and_given_back() {
    let mut world = World::new(3);
    world.run(3_000);
    let before = world.leaders();
    world.nodes[1] = None;
    world.run(2_000);
    let after = world.leaders();
    assert!(after.iter().all(|leader| matches!(leader, Some(0 | 2))), "{after:?}");
    for (before, after) in before.iter().zip(&after) {
        assert!(*before == Some(1) || before == after, "only what it led moves");
    }
    world.start(1);
    world.run(5_000);
    assert_eq!(world.leaders(), before);
    assert_eq!(world.run(60_000), 0);
}

#[test]
fn who_refuses_connections_is_gone_at_once() {
    let mut world = World::new(2);
    world.run(3_000);
    world.nodes[1] = None;
    world.step(0, PlacementEvent::Gone { address: address(1) });
    world.run(400);
    assert_eq!(world.shares()[0], usize::from(SHARDS));
}

#[test]
fn one_that_leaves_hands_over_and_nobody_waits_for_silence() {
    let mut world = World::new(3);
    world.run(3_000);
    world.step(2, PlacementEvent::Leave);
    world.run(1_000);
    let shares = world.shares();
    assert_eq!(shares, [8, 8, 0]);
}

#[test]
fn a_gateway_leads_nothing_and_learns_the_routes() {
    let mut world = World::new(2);
    let config = PlacementConfig::new(address(1), false, SHARDS);
    world.nodes[1].as_mut().expect("it runs").placement = Placement::new(config);
    world.run(3_000);
    assert_eq!(world.shares(), [usize::from(SHARDS), 0]);
    let gateway = &world.nodes[1].as_ref().expect("it runs").placement;
    for shard in (0..SHARDS).map(ShardId) {
        assert_eq!(gateway.route(shard), Some((Epoch(1), &address(0))));
    }
}

#[test]
fn a_namespace_that_is_given_to_another_pool_moves_there_and_back() {
    let mut world = World::new(4);
    world.run(3_000);
    assert_eq!(world.shares(), [4, 4, 4, 4]);
    for outsider in [0, 1] {
        world.step(outsider, PlacementEvent::Participates(false));
    }
    world.run(3_000);
    assert_eq!(world.shares(), [0, 0, 8, 8]);
    assert_eq!(world.run(60_000), 0, "nothing moves without a cause");
    world.nodes[2] = None;
    world.run(2_000);
    assert_eq!(world.shares(), [0, 0, 0, 16]);
    // The pool's last: nobody else stands for it.
    world.nodes[3] = None;
    assert_eq!(world.run(30_000), 0);
    for member in [0, 1] {
        world.step(member, PlacementEvent::Participates(true));
    }
    world.run(3_000);
    assert_eq!(world.shares(), [8, 8, 0, 0]);
}

#[test]
fn who_leads_goes_on_while_the_pool_that_is_to_take_over_is_empty() {
    let mut world = World::new(3);
    world.nodes[2] = None;
    world.run(3_000);
    let before = world.leaders();
    for outsider in [0, 1] {
        world.step(outsider, PlacementEvent::Participates(false));
    }
    assert_eq!(world.run(30_000), 0);
    assert_eq!(world.leaders(), before);
    world.start(2);
    world.run(4_000);
    assert_eq!(world.shares(), [0, 0, usize::from(SHARDS)]);
}

#[test]
fn one_that_is_cut_off_lets_the_others_lead() {
    let mut world = World::new(3);
    world.run(3_000);
    let its_own = world.shares()[0];
    world.cut.extend([(0, 1), (0, 2)]);
    // The others take what it led, even themselves out, and are left alone.
    let won = world.run_with_a_log(10_000);
    assert!((its_own..=its_own + 2).contains(&won), "{won} for {its_own}");
    assert_eq!(world.shares(), [0, 8, 8]);
    world.cut.clear();
    world.run_with_a_log(30_000);
    assert_eq!(world.shares().iter().max(), Some(&6));
}

#[test]
fn two_that_cannot_hear_each_other_depose_each_other_ever_less_often() {
    let mut world = World::new(2);
    world.run(3_000);
    world.cut.push((0, 1));
    let wins: Vec<usize> = (0..6).map(|_| world.run_with_a_log(10_000)).collect();
    assert_eq!(wins[0], 0, "each goes on with what it leads");
    let shards = usize::from(SHARDS);
    assert!(wins[1..].iter().all(|won| *won <= 2 * shards), "{wins:?}");
    world.cut.clear();
    world.run(30_000);
    assert_eq!(world.shares(), [8, 8]);
    assert_eq!(world.run(30_000), 0);
}

#[test]
fn what_one_fails_to_lead_others_lead_and_it_tries_again_ever_less_often() {
    let mut world = World::new(3);
    world.run(3_000);
    world.fail(1);
    world.run(2_000);
    assert!(world.leaders().iter().all(|leader| matches!(leader, Some(0 | 2))));
    let moves: Vec<usize> = (0..5).map(|_| world.run(60_000)).collect();
    assert!(moves[0] > 0 && moves[3] + moves[4] <= moves[0], "{moves:?}");
    world.failing.clear();
    world.run(400_000);
    assert_eq!(world.shares().iter().max(), Some(&6), "{:?}", world.shares());
    assert_eq!(world.run(60_000), 0, "nothing moves without a cause");
}

#[test]
fn where_everybody_fails_everybody_tries_on() {
    let mut world = World::new(3);
    world.run(3_000);
    (0..3).for_each(|index| world.fail(index));
    world.run(600_000);
    world.failing.clear();
    world.run(25_000);
    assert!(world.leaders().iter().all(Option::is_some), "{:?}", world.leaders());
}

#[test]
fn one_that_does_not_reach_the_log_is_given_nothing_until_it_does() {
    let mut world = World::new(3);
    world.run(3_000);
    world.apart.push(1);
    world.lose_all(1);
    world.run(2_000);
    assert!(world.leaders().iter().all(|leader| matches!(leader, Some(0 | 2))));
    assert_eq!(world.run(600_000), 0, "nothing moves to it and back");
    world.apart.clear();
    world.run(330_000);
    assert_eq!(world.shares().iter().max(), Some(&6), "{:?}", world.shares());
}
