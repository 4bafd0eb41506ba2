//! Several servers on one log: they share its shards, pass each other what they do not lead, and take over
//! from one that dies. The engines, the runtime, the placement and the network are those of production; log
//! and tables are in memory.

#[path = "cluster/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coordinator::api::{Answer, CallAnswer};
use participant::engine::ParkedChoice;
use serde_json::json;
use wal_core::TxnId;
use world::{ACCOUNTS, World, account_name, all_shards, new_id};

/// What became of one client's transactions: `None` where no answer came.
type Told = BTreeMap<TxnId, Option<bool>>;

/// Moves money about until told to stop.
fn transfer(world: &World, client: usize, stop: &AtomicBool, committed: &AtomicU64) -> Told {
    let mut told = Told::new();
    let mut count = client;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let (from, to) = (count * 7 % ACCOUNTS, (count * 7 + 1 + count % 5) % ACCOUNTS);
        if from == to {
            continue;
        }
        let (from, to) = (json!({"id": account_name(from)}), json!({"id": account_name(to)}));
        let id = new_id();
        let call = world.transaction(
            id,
            &json!({
                "mutations": [
                    {"add": {"table": "accounts", "key": from, "columns": {"balance": -1}}},
                    {"add": {"table": "accounts", "key": to, "columns": {"balance": 1}}},
                ],
                "conditions": [
                    {"table": "accounts", "key": from, "column": "balance", "op": ">=", "value": 1},
                ],
            }),
        );
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let node = (client + count) % world.nodes.len();
            count += world.nodes.len() + 1;
            match world.call(node, call.clone()) {
                Some(CallAnswer::Submit(Answer::Committed { .. })) => {
                    committed.fetch_add(1, Ordering::Relaxed);
                    told.insert(id, Some(true));
                    break;
                }
                Some(CallAnswer::Submit(Answer::Aborted { .. })) => {
                    told.insert(id, Some(false));
                    break;
                }
                _ if Instant::now() > end || stop.load(Ordering::Relaxed) => {
                    told.insert(id, None);
                    break;
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
    told
}

/// Runs clients while `trouble` happens; then everything must add up.
fn with_clients(world: &World, trouble: impl FnOnce(&dyn Fn(u64))) {
    let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    let told: Vec<Told> = std::thread::scope(|scope| {
        let client = |client| {
            let (stop, committed) = (&stop, &committed);
            scope.spawn(move || transfer(world, client, stop, committed))
        };
        let clients: Vec<_> = (0..6).map(client).collect();
        let go_on = |more: u64| {
            let (goal, end) = (
                committed.load(Ordering::Relaxed) + more,
                Instant::now() + Duration::from_secs(30),
            );
            let began = Instant::now();
            while committed.load(Ordering::Relaxed) < goal {
                assert!(Instant::now() < end, "nothing more is committed");
                std::thread::sleep(Duration::from_millis(5));
            }
            println!("{more} more committed after {} ms", began.elapsed().as_millis());
        };
        trouble(&go_on);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let began = Instant::now();
    // Whatever was not answered, and a part of what was: each costs a question to every shard.
    let asked = told.into_iter().flatten().enumerate();
    for (_, (id, told)) in asked.filter(|(n, (_, told))| told.is_none() || n % 20 == 0) {
        let outcome = world.resolve(0, id);
        assert!(told.is_none_or(|told| told == outcome), "{id} was told {told:?}, is {outcome}");
    }
    println!("every outcome found after {} ms", began.elapsed().as_millis());
    for index in 0..world.nodes.len() {
        if world.handle(index).is_some() {
            assert_eq!(world.total(index), 100 * ACCOUNTS as i64, "as read through server {index}");
        }
    }
}

#[test]
fn three_servers_share_the_shards_and_any_takes_every_transaction() {
    let world = World::new(3);
    world.wait_for_shares(&[2, 3, 3]);
    world.open_accounts();
    with_clients(&world, |go_on| go_on(300));
}

#[test]
fn a_namespace_is_led_by_the_participants_of_its_pool_alone() {
    let world = World::new(3);
    world.wait_for_shares(&[2, 3, 3]);
    world.open_accounts();
    with_clients(&world, |go_on| {
        go_on(100);
        let participate = |index, participates| {
            world.handle(index).expect("it runs").participate(participates);
        };
        // It is pinned to the pool of which the last one alone is.
        participate(0, false);
        participate(1, false);
        world.wait_for_shares(&[0, 0, all_shards()]);
        assert_eq!(world.shares()[2], all_shards());
        go_on(100);
        // And back again; the others are of that pool.
        participate(0, true);
        participate(1, true);
        participate(2, false);
        world.wait_for_shares(&[0, all_shards() / 2, all_shards() / 2]);
        assert_eq!(world.shares()[2], 0);
        go_on(100);
    });
}

#[test]
fn a_server_that_dies_is_taken_over_and_comes_back() {
    let world = World::new(3);
    world.wait_for_shares(&[2, 3, 3]);
    world.open_accounts();
    with_clients(&world, |go_on| {
        go_on(50);
        for victim in [1, 2, 0] {
            println!("server {victim} dies");
            world.kill(victim);
            world.wait_for_shares(&[0, 4, 4]);
            go_on(100);
            world.start(victim);
            world.wait_for_shares(&[2, 3, 3]);
            go_on(100);
        }
    });
}

#[test]
fn a_server_that_is_drained_hands_over_and_nobody_waits_for_its_silence() {
    let world = World::new(2);
    world.wait_for_shares(&[4, 4]);
    world.open_accounts();
    with_clients(&world, |go_on| {
        go_on(50);
        let mut leaving = world.nodes[1].lock().expect("nobody panicked").take();
        if let Some(node) = &mut leaving {
            node.running.drain(Duration::from_secs(10));
        }
        drop(leaving);
        world.wait_for_shares(&[0, all_shards()]);
        go_on(50);
    });
}

/// Accounts whose rows are parked, by what all living servers say.
fn parked(world: &World) -> Vec<usize> {
    let handles = (0..world.nodes.len()).filter_map(|index| world.handle(index));
    let lists = handles.filter_map(|handle| handle.parked(100));
    let rows: Vec<_> = lists.flat_map(|list| list.rows).collect();
    let is_parked = |account: &usize| rows.iter().any(|(_, row)| row.key == world.key(*account).1);
    (0..ACCOUNTS).filter(is_parked).collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn rows_that_the_tables_refuse_are_parked_and_outlive_their_leader() {
    let world = World::new(2);
    world.wait_for_shares(&[4, 4]);
    world.open_accounts();
    wait_until("the accounts are in the tables", || world.store.rows().len() == ACCOUNTS);
    world.store.refuse([0, 1].map(|account| world.key(account).1));
    let puts: Vec<_> = (0..ACCOUNTS)
        .map(|account| {
            let key = json!({"id": account_name(account)});
            json!({"put": {"table": "accounts", "key": key, "columns": {"balance": 5}}})
        })
        .collect();
    let id = new_id();
    let call = world.transaction(id, &json!({"mutations": puts}));
    world.call(0, call);
    assert!(world.resolve(0, id), "nothing stands in its way");
    // Two rows are parked, whoever leads them; all others are applied, of their shards too.
    wait_until("two rows are parked", || parked(&world) == [0, 1]);
    wait_until("the others are applied", || (2..ACCOUNTS).all(|other| world.stored(other) == 5));
    assert_eq!([world.stored(0), world.stored(1)], [100, 100]);
    assert_eq!(world.balances(1, &[0, 1, 2]), [5, 5, 5], "they are committed");
    for index in 0..2 {
        let list = world.handle(index).and_then(|handle| handle.parked(0)).expect("a list");
        let led = world.shares()[index];
        assert_eq!((list.rows.len(), list.elsewhere.len()), (0, all_shards() - led));
        assert!(list.elsewhere.iter().all(|(_, leader)| leader.is_some()));
    }

    world.kill(0);
    world.wait_for_shares(&[0, 8]);
    wait_until("they are parked by the next leader", || parked(&world) == [0, 1]);
    let survivor = world.handle(1).expect("it lives");
    let discarded = ParkedChoice::Rows([world.key(0).1].into());
    let done = survivor.discard_parked(discarded).expect("it is durable");
    assert_eq!((done.rows, done.elsewhere.len()), (1, 0));
    assert_eq!(parked(&world), [1]);
    assert_eq!(world.balances(1, &[0, 1]), [100, 5], "what the tables hold, and what is parked");
    world.store.refuse([]);
    let done = survivor.retry_parked(ParkedChoice::All).expect("it is tried");
    assert_eq!(done.rows, 1);
    wait_until("it is applied", || parked(&world).is_empty());
    assert_eq!([world.stored(0), world.stored(1)], [100, 5]);

    // What was discarded stays so, for those who read the log anew.
    world.start(0);
    world.wait_for_shares(&[4, 4]);
    world.kill(1);
    world.wait_for_shares(&[0, 8]);
    assert_eq!(world.balances(0, &[0, 1, 2]), [100, 5, 5]);
    assert_eq!([world.stored(0), world.stored(1)], [100, 5]);
}

/// A shard's checkpoint costs its log megabytes, and all that waits behind them; where each has a log of its own,
/// what the others write is no reason for one.
#[test]
fn a_shard_that_wrote_little_makes_no_checkpoint_for_what_others_wrote() {
    const NOTE_BYTES: usize = 1 << 20;
    const NOTES: usize = 140;
    let world = World::new(1);
    world.wait_for_shares(&[all_shards()]);
    world.open_accounts();
    let note = "n".repeat(NOTE_BYTES);
    let key = json!({"id": account_name(0)});
    let put = json!({"put": {"table": "accounts", "key": key, "columns": {"note": note}}});
    let batch = json!({"mutations": [put]});
    for _ in 0..NOTES {
        let answer = world.call(0, world.transaction(new_id(), &batch));
        let is_committed = matches!(answer, Some(CallAnswer::Submit(Answer::Committed { .. })));
        assert!(is_committed, "{answer:?}");
    }
    let (busy, _) = world.key(0);
    let shards = world.handle(0).and_then(|it| it.look(0)).expect("it runs").shards;
    for shard in shards {
        assert_eq!(shard.counters.checkpoints > 0, shard.shard == busy, "{shard:?}");
    }
}
