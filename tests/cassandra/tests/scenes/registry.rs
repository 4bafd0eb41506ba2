//! What Handfast keeps in a keyspace of its own.

use handfast_cassandra_tests::{namespace, options};
use participant::store::cassandra::{self, Cluster, OpenError, Registry};
use wal_core::{Position, ShardId};

use super::Scene;

pub(crate) fn two_deployments_cannot_have_one_table(scene: &Scene<'_>) {
    scene.cql.keyspace("owned", 1);
    let cql = ["CREATE TABLE accounts (id text PRIMARY KEY, v bigint)"];
    let bank = |name: &str| namespace(scene.stack, name, "owned", "create_tables = true", &cql);
    let first = cassandra::open(&bank("bank"), 1, None).expect("the first takes it");
    cassandra::open(&bank("bank"), 1, None).expect("the same deployment, started again");
    let release = |error| match error {
        OpenError::OwnedByOther { release, namespace, what, .. } => {
            assert_eq!((namespace.as_str(), what.as_str()), ("bank", "table owned.accounts"));
            release
        }
        other => panic!("{other}"),
    };
    let error = cassandra::open(&bank("bank"), 2, None).expect_err("another deployment");
    let text = error.to_string();
    assert!(text.contains("belongs to namespace \"bank\"") && text.contains("since 20"), "{text}");
    release(error);
    let error = cassandra::open(&bank("branch"), 1, None).expect_err("another namespace");
    let statement = release(error);
    // Released by the statement that it was told, the second one takes it.
    scene.cql.run(&statement);
    cassandra::open(&bank("branch"), 2, None).expect("it was released");
    release_is_for_the_owner(&first.registry);
    let error = cassandra::open(&bank("bank"), 1, None).expect_err("it is the other's now");
    assert!(matches!(error, OpenError::OwnedByOther { .. }), "{error}");
    a_log_has_one_owner_too(&first.registry);

    // Many at once: one has it.
    let racers: Vec<_> = (0..8u128).map(|n| (n, bank(&format!("race{n}")))).collect();
    scene.cql.run("DELETE FROM handfast.owner WHERE table_name = 'owned.accounts' IF EXISTS");
    let won: Vec<bool> = std::thread::scope(|scope| {
        let racing: Vec<_> = racers
            .iter()
            .map(|(n, bank)| scope.spawn(move || cassandra::open(bank, *n, None).is_ok()))
            .collect();
        racing.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
}

fn a_log_has_one_owner_too(registry: &Registry) {
    for _ in 0..2 {
        registry.claim_log("bank", 1, "handfast-bank").expect("it is nobody's, then its own");
    }
    for (namespace, deployment) in [("branch", 1), ("bank", 2)] {
        let error = registry.claim_log(namespace, deployment, "handfast-bank");
        let text = error.expect_err("it is another's").to_string();
        assert!(text.contains("the log handfast-bank belongs to namespace \"bank\""), "{text}");
        assert!(text.contains("table_name = 'log/handfast-bank'"), "{text}");
    }
}

fn release_is_for_the_owner(registry: &Registry) {
    registry.release(1, ["owned.accounts".to_owned()].into_iter()).expect("nothing is done");
}

pub(crate) fn identities_and_hints_are_kept(scene: &Scene<'_>) {
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let registry = Registry::open(cluster, "handfast_two").expect("a keyspace of its own");
    assert_eq!(registry.log_identity("bank", 7).expect("drawn"), 7);
    assert_eq!(registry.log_identity("bank", 8).expect("kept"), 7);
    assert_eq!(registry.log_identity("other", 9).expect("another"), 9);

    let shard = ShardId(1023);
    assert_eq!(registry.hint("bank", shard).expect("read"), None);
    for (stored, found) in [(5, 5), (900, 900), (17, 900), (900, 900)] {
        registry.store_hint("bank", shard, Position(stored)).expect("stored");
        let hint = registry.hint("bank", shard).expect("read");
        assert_eq!(hint, Some(Position(found)), "the largest stays, whoever is late");
    }
    assert_eq!(registry.hint("bank", ShardId(0)).expect("read"), None);
    assert_eq!(registry.hint("other", shard).expect("read"), None);
}
