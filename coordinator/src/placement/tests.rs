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
const LOG: Nonce = Nonce(7);
const LOST_LOG: Nonce = Nonce(6);

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
        self.start_with(index, LOG);
    }

    fn start_with(&mut self, index: usize, log: Nonce) {
        let config = PlacementConfig::new(address(index), log, true, SHARDS);
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

const NOW: Now = Now { wall_us: 0, mono_us: 1_000_000_000 };

/// One process, and what it is told.
fn process(index: usize, participates: bool) -> (Placement, Vec<PlacementCommand>) {
    let config = PlacementConfig::new(address(index), LOG, participates, SHARDS);
    (Placement::new(config), Vec::new())
}

fn leading(shard: u16, epoch: u64) -> PlacementEvent {
    PlacementEvent::Leading { shard: ShardId(shard), epoch: Epoch(epoch) }
}

/// Somebody says what it leads.
fn claim(index: usize, log: Option<Nonce>, leads: &[(u16, u64)]) -> PlacementEvent {
    let leads = leads.iter().map(|(shard, epoch)| (ShardId(*shard), Epoch(*epoch))).collect();
    let beat = Beat { log, participates: true, leads, ..Beat::default() };
    PlacementEvent::Heard { address: address(index), beat }
}

/// Somebody says what it would say by itself.
fn heard(index: usize, placement: &Placement) -> PlacementEvent {
    PlacementEvent::Heard { address: address(index), beat: placement.beat() }
}

#[test]
fn who_begins_to_lead_when_a_later_epoch_was_heard_of_leaves_it_at_once() {
    let (mut placement, mut out) = process(0, true);
    placement.step(NOW, claim(1, Some(LOG), &[(3, 7)]), &mut out);
    out.clear();
    placement.step(NOW, leading(3, 6), &mut out);
    assert_eq!(out, [PlacementCommand::Vacate(ShardId(3))]);
    assert_eq!(placement.beat().leads, [], "and does not say that it leads");
    assert_eq!(placement.route(ShardId(3)), Some((Epoch(7), &address(1))));
}

#[test]
fn who_was_deposed_by_somebody_who_died_before_it_heard_is_told_by_others() {
    let (mut deposed, mut out) = process(0, true);
    let (mut gateway, _) = process(2, false);
    deposed.step(NOW, leading(3, 6), &mut out);
    gateway.step(NOW, claim(1, Some(LOG), &[(3, 7)]), &mut out);
    assert_eq!(gateway.beat().over, [], "nobody claims an older epoch");
    gateway.step(NOW, PlacementEvent::Gone { address: address(1) }, &mut out);
    gateway.step(NOW, heard(0, &deposed), &mut out);
    assert_eq!(gateway.route(ShardId(3)), Some((Epoch(7), &address(1))));
    assert_eq!(gateway.beat().over, [(ShardId(3), Epoch(7))]);
    out.clear();
    deposed.step(NOW, heard(2, &gateway), &mut out);
    assert_eq!(out, [PlacementCommand::Vacate(ShardId(3))]);
    // It stands again, wins the next epoch, and nothing is contradicted any more.
    deposed.step(NOW, leading(3, 8), &mut out);
    gateway.step(NOW, heard(0, &deposed), &mut out);
    assert_eq!(gateway.route(ShardId(3)), Some((Epoch(8), &address(0))));
    assert_eq!(gateway.beat().over, []);
}

#[test]
fn who_remembers_a_lost_log_deposes_nobody_in_the_new_one_and_is_not_misled_by_it() {
    let mut world = World::new(2);
    let config = PlacementConfig::new(address(2), LOST_LOG, false, SHARDS);
    let (mut old, mut out) = (Placement::new(config), Vec::new());
    let all = |epoch| (0..SHARDS).map(|shard| (shard, epoch)).collect::<Vec<_>>();
    old.step(world.now(), leading(3, 40), &mut out);
    old.step(world.now(), claim(7, Some(LOST_LOG), &all(40)), &mut out);
    assert_eq!(old.beat().leads, [(ShardId(3), Epoch(40))]);
    out.clear();
    let mut won = 0;
    for _ in 0..100 {
        old.step(world.now(), claim(8, Some(LOST_LOG), &all(39)), &mut out);
        assert_eq!(old.beat().over.len(), usize::from(SHARDS));
        for index in [0, 1] {
            world.step(index, heard(2, &old));
            let new = &world.nodes[index].as_ref().expect("it runs").placement;
            old.step(world.now(), heard(index, new), &mut out);
        }
        won += world.run(100);
    }
    assert_eq!(out, [], "the new log's epochs say nothing to it");
    assert_eq!(old.route(ShardId(3)), Some((Epoch(40), &address(2))));
    assert_eq!(won, usize::from(SHARDS), "each is won once");
    assert_eq!(world.shares(), [8, 8]);
    for node in world.nodes.iter().flatten() {
        for (shard, leader) in (0..).map(ShardId).zip(world.leaders()) {
            let leader = address(leader.expect("it is led"));
            assert_eq!(node.placement.route(shard), Some((Epoch(1), &leader)));
        }
        assert_eq!(node.placement.beat().over, []);
    }
}

#[test]
fn who_takes_part_in_another_log_counts_and_what_it_leads_there_does_not() {
    let mut world = World::new(2);
    world.start_with(1, LOST_LOG);
    world.run(3_000);
    assert_eq!(world.shares(), [8, 8]);
    assert_eq!(world.run(60_000), 0, "nothing moves without a cause");
    let leaders = world.leaders();
    let placement = &world.nodes[0].as_ref().expect("it runs").placement;
    for (shard, leader) in (0..).map(ShardId).zip(leaders) {
        assert_eq!(placement.route(shard).is_some(), leader == Some(0));
    }
    // Nobody hands these over in this log: who is to lead them waits for nobody.
    world.step(1, PlacementEvent::Participates(false));
    world.run(200);
    let own = &world.nodes[1].as_ref().expect("it runs").placement.beat().leads;
    assert_eq!(own.len(), 8, "it leads them on in its own");
    assert_eq!(world.run(400), 8);
}

#[test]
fn epochs_of_a_server_that_does_not_name_its_log_count_as_far_as_it_leads() {
    let (mut placement, mut out) = process(0, true);
    for shard in [3, 4] {
        placement.step(NOW, leading(shard, 6), &mut out);
    }
    out.clear();
    let over = vec![(ShardId(4), Epoch(9))];
    let beat = Beat {
        participates: true,
        leads: vec![(ShardId(3), Epoch(7))],
        over,
        log: None,
        ..Beat::default()
    };
    placement.step(NOW, PlacementEvent::Heard { address: address(1), beat }, &mut out);
    let (shard, epoch) = (ShardId(3), Epoch(7));
    let route = PlacementCommand::Route { shard, epoch, address: address(1) };
    assert_eq!(out, [route, PlacementCommand::Vacate(shard)]);
    assert_eq!(placement.beat().leads, [(ShardId(4), Epoch(6))]);
    out.clear();
    placement.step(NOW, claim(1, None, &[(3, 7), (4, 5)]), &mut out);
    assert_eq!(out, [], "it says nothing new");
}

#[test]
fn what_may_be_an_epoch_of_another_log_is_not_held_against_anybody() {
    let (mut placement, mut out) = process(0, true);
    placement.step(NOW, claim(1, None, &[(3, 40), (4, 40)]), &mut out);
    placement.step(NOW, claim(2, Some(LOG), &[(4, 2)]), &mut out);
    assert_eq!(placement.beat().over, []);
    out.clear();
    placement.step(NOW, leading(3, 2), &mut out);
    let (shard, epoch) = (ShardId(3), Epoch(2));
    assert_eq!(out, [PlacementCommand::Route { shard, epoch, address: address(0) }]);
    assert_eq!(placement.beat().leads, [(shard, epoch)]);
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
    let config = PlacementConfig::new(address(1), LOG, false, SHARDS);
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
