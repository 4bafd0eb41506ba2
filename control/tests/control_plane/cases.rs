//! What the control plane does on any database. Each test gets an empty one.

use control::{Change, ControlError, ControlPlane, DEFAULT_POOL, OpenError};
use delivery::Store;
use wal_core::Millis;
use wal_core::record::NEWEST_WRITE_VERSION;

use crate::database::Database;

const BANK: &str = r#"
# The ledger of the demo.
name = "bank"
shards = 8

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"
"#;

fn by(by: &'static str, at: u64) -> Change<'static> {
    Change { by, note: "a note", at: Millis(at), expected_version: None }
}

fn from(version: u32) -> Change<'static> {
    Change { expected_version: Some(version), ..by("ada", 9) }
}

fn with_in_flight(count: u32) -> String {
    format!("{BANK}\n[limits]\nin_flight = {count}\n")
}

pub(crate) async fn a_namespace_is_created_changed_and_found_again_after_a_restart(
    database: Database,
) {
    let control = database.open().await;
    let first = control.create(BANK, &by("ada", 1)).await.expect("created");
    assert_eq!((first.namespace.version(), first.namespace.shards()), (1, 8));
    let second = control.change(&with_in_flight(7), &from(1)).await.expect("changed");
    assert_eq!((second.namespace.version(), second.namespace.limits().in_flight), (2, 7));
    control.close().await;

    let control = database.open().await;
    assert_eq!(control.describe("bank", None).await.expect("current"), second);
    let old = control.describe("bank", Some(1)).await.expect("the first");
    assert_eq!(old, first);
    assert!(old.source.contains("# The ledger of the demo."));
    let history = control.history("bank", None, 10).await.expect("a history");
    assert_eq!(history, [second.entry.clone(), first.entry.clone()]);
    assert_eq!(control.history("bank", Some(2), 10).await.expect("older"), [first.entry]);
    assert_eq!(control.history("bank", Some(1), 10).await.expect("none"), []);
    assert_eq!(control.history("bank", None, 1).await.expect("newest"), history[..1]);
    let list = control.list().await.expect("a list");
    assert_eq!((list.len(), list[0].name.as_str(), &list[0].current), (1, "bank", &second.entry));
}

pub(crate) async fn a_change_from_an_old_version_is_a_conflict(database: Database) {
    let control = database.open().await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    control.change(&with_in_flight(7), &from(1)).await.expect("changed");
    let error = control.change(&with_in_flight(8), &from(1)).await.expect_err("too late");
    assert!(matches!(error, ControlError::Conflict { expected: 1, current: 2, .. }), "{error}");
    assert_eq!(control.describe("bank", None).await.expect("current").namespace.version(), 2);
}

pub(crate) async fn of_many_changes_at_once_each_version_is_made_by_one(database: Database) {
    let control = database.open().await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    let mut tasks = Vec::new();
    for number in 0..8 {
        // Half of them through a second opening of the same file, as another process would.
        let control = if number % 2 == 0 { control.clone() } else { database.open().await };
        tasks.push(tokio::spawn(async move {
            control.change(&with_in_flight(100 + number), &from(1)).await
        }));
    }
    let mut won = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(described) => {
                assert_eq!(described.namespace.version(), 2);
                won += 1;
            }
            Err(ControlError::Conflict { expected: 1, current: 2, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(control.history("bank", None, 10).await.expect("a history").len(), 2);
}

pub(crate) async fn what_changes_nothing_makes_no_version(database: Database) {
    let control = database.open().await;
    let first = control.create(BANK, &by("ada", 1)).await.expect("created");
    let spelled_out = first.namespace.to_toml();
    let same = control.change(&spelled_out, &by("bob", 2)).await.expect("nothing to do");
    assert_eq!(same, first);
}

pub(crate) async fn a_write_version_stays_until_it_is_raised(database: Database) {
    let control = database.open().await;
    let newest = control.create(BANK, &by("ada", 1)).await.expect("created").namespace;
    assert!(newest.to_toml().contains(&format!("write_version = {NEWEST_WRITE_VERSION}\n")));
    let other = BANK.replace("\"bank\"", "\"other\"");
    let first = format!("write_version = 1\n{other}");
    control.create(&first, &by("ada", 1)).await.expect("an older release's");
    let silent = format!("{other}\n[limits]\nin_flight = 7\n");
    let second = control.change(&silent, &from(1)).await.expect("changed").namespace;
    assert_eq!((second.version(), second.write_version()), (2, 1));
    let raised = format!("write_version = 2\n{silent}");
    let third = control.change(&raised, &from(2)).await.expect("raised").namespace;
    assert_eq!((third.version(), third.write_version()), (3, 2));
    let error = control.change(&first, &from(3)).await.expect_err("lowered");
    assert!(error.to_string().contains("only rises"), "{error}");
    let snapshot = control.snapshot().await.expect("a snapshot");
    let placed = snapshot.namespace("other").expect("it is there");
    assert_eq!(placed.described.namespace.write_version(), 2);
}

pub(crate) async fn bad_files_and_names_change_nothing_and_say_what_to_do(database: Database) {
    let control = database.open().await;
    let error = control.change(BANK, &by("ada", 1)).await.expect_err("not created yet");
    assert_eq!(error.to_string(), "there is no namespace \"bank\"");
    let error = control.create("name = 'bank'", &by("ada", 1)).await.expect_err("no table");
    assert!(matches!(error, ControlError::Invalid(_)));
    assert_eq!(control.list().await.expect("a list"), []);

    control.create(BANK, &by("ada", 1)).await.expect("created");
    let error = control.create(BANK, &by("bob", 2)).await.expect_err("it exists");
    assert!(matches!(error, ControlError::Exists { version: 1, .. }), "{error}");
    let fewer = BANK.replace("shards = 8", "shards = 4");
    let error = control.change(&fewer, &from(1)).await.expect_err("shards may not change");
    assert!(matches!(error, ControlError::ChangeRefused(_)), "{error}");
    let error = control.validate(&fewer).await.expect_err("the same");
    assert!(matches!(error, ControlError::ChangeRefused(_)), "{error}");
    assert_eq!(control.validate(&with_in_flight(3)).await.expect("good").version(), 2);

    let error = control.describe("bnak", None).await.expect_err("misspelt");
    assert_eq!(error.to_string(), "there is no namespace \"bnak\": did you mean \"bank\"?");
    let error = control.describe("bank", Some(7)).await.expect_err("not made yet");
    assert_eq!(error.to_string(), "there is no version 7 of \"bank\": its newest is 1");
    assert!(control.history("bnak", None, 9).await.is_err());
    let long = "x".repeat(control::MAX_NOTE_BYTES + 1);
    let change = Change { note: &long, ..by("ada", 1) };
    let error = control.change(&with_in_flight(5), &change).await.expect_err("too long");
    assert!(matches!(error, ControlError::NoteTooLong));
    let huge = format!("{BANK}#{}", "x".repeat(control::MAX_FILE_BYTES));
    assert!(matches!(
        control.create(&huge, &by("ada", 1)).await,
        Err(ControlError::FileTooLarge { .. })
    ));
    assert_eq!(control.history("bank", None, 9).await.expect("a history").len(), 1);
}

pub(crate) async fn a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) {
    database.open().await.close().await;
    database.run(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  VALUES (9999, 'from the future', TRUE, X'00', 0)",
    )
    .await;
    let error = ControlPlane::open(&database.address).await.expect_err("too new");
    assert!(matches!(error, OpenError::TooNew { found: 9999, .. }), "{error}");
    assert!(error.to_string().contains("newer version of Handfast"));
    database.run("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    database.open().await;
    database.run("UPDATE _sqlx_migrations SET checksum = X'00'").await;
    let error = ControlPlane::open(&database.address).await.expect_err("another migration");
    assert!(matches!(error, OpenError::Foreign { migration: 1, .. }), "{error}");
}

pub(crate) async fn a_damaged_version_is_told_and_never_used(database: Database) {
    let control = database.open().await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    database.run("UPDATE namespace_versions SET canonical = 'name = 7'").await;
    let error = control.describe("bank", None).await.expect_err("damaged");
    assert!(matches!(error, ControlError::Damaged { version: 1, .. }), "{error}");
}

pub(crate) async fn number_versions(database: Database, steps: Vec<(u32, u32)>) {
    let control = database.open().await;
    let mut made = vec![control.create(BANK, &by("ada", 1)).await.expect("created")];
    for (expected, in_flight) in steps {
        let current = made.last().expect("never empty").clone();
        let result = control.change(&with_in_flight(in_flight + 1), &from(expected)).await;
        match result {
            Ok(next) if next != current => {
                assert_eq!(expected, current.namespace.version());
                assert_eq!(next.namespace.version(), expected + 1);
                made.push(next);
            }
            Ok(_) => assert_eq!(expected, current.namespace.version()),
            Err(error) => {
                assert!(matches!(error, ControlError::Conflict { .. }), "{error}");
                assert_ne!(expected, current.namespace.version());
            }
        }
    }
    for described in &made {
        let version = described.namespace.version();
        assert_eq!(&control.describe("bank", Some(version)).await.expect("kept"), described);
    }
}

pub(crate) async fn a_namespace_is_pinned_to_a_pool_and_the_history_says_by_whom(
    database: Database,
) {
    let control = database.open().await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    let placement = control.placement("bank").await.expect("placed");
    assert_eq!((&*placement.pool, placement.version()), (DEFAULT_POOL, 0));
    assert_eq!(control.placements("bank", 10).await.expect("a history"), []);

    let pool = control.create_pool("noisy", &by("ada", 2)).await.expect("created");
    let error = control.create_pool("noisy", &by("bob", 3)).await.expect_err("it exists");
    assert!(matches!(error, ControlError::PoolExists { .. }), "{error}");
    let pools = control.pools().await.expect("pools");
    assert_eq!((pools.len(), &*pools[0].name, &pools[1]), (2, DEFAULT_POOL, &pool));
    for name in ["", "Noisy", "1st", "a b", &"x".repeat(control::MAX_POOL_NAME_BYTES + 1)] {
        let error = control.create_pool(name, &by("ada", 2)).await.expect_err("a bad name");
        assert!(matches!(error, ControlError::BadPoolName { .. }), "{error}");
    }

    let from_nothing = Change { expected_version: Some(0), ..by("bob", 4) };
    let pinned = control.pin("bank", "noisy", &from_nothing);
    let pinned = pinned.await.expect("pinned");
    assert_eq!((&*pinned.pool, pinned.version()), ("noisy", 1));
    assert_eq!(control.pin("bank", "noisy", &by("eve", 5)).await.expect("nothing to do"), pinned);
    let error = control.pin("bank", DEFAULT_POOL, &from(7)).await.expect_err("another version");
    assert!(matches!(error, ControlError::Conflict { expected: 7, current: 1, .. }), "{error}");
    let freed = control.pin("bank", DEFAULT_POOL, &from(1)).await.expect("freed");
    assert_eq!(control.placement("bank").await.expect("placed"), freed);
    assert_eq!(control.placements("bank", 10).await.expect("a history"), [freed, pinned.clone()]);
    let entry = pinned.entry.expect("pinned once");
    assert_eq!((&*entry.changed_by, entry.changed_at, &*entry.note), ("bob", Millis(4), "a note"));

    let error = control.pin("bank", "noizy", &by("ada", 6)).await.expect_err("no such pool");
    assert_eq!(error.to_string(), "there is no pool \"noizy\": did you mean \"noisy\"?");
    let error = control.pin("bnak", "noisy", &by("ada", 6)).await.expect_err("no such namespace");
    assert!(error.to_string().contains("did you mean \"bank\"?"), "{error}");
    // A change of the namespace leaves its place alone, and the other way round.
    let changed = control.change(&with_in_flight(7), &from(1)).await.expect("changed");
    assert_eq!(changed.namespace.version(), 2);
    assert_eq!(control.placement("bank").await.expect("placed").version(), 2);
}

pub(crate) async fn of_many_pins_at_once_one_wins(database: Database) {
    let control = database.open().await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    let mut tasks = Vec::new();
    for number in 0..6 {
        let control = if number % 2 == 0 { control.clone() } else { database.open().await };
        tasks.push(tokio::spawn(async move {
            let pool = format!("pool-{number}");
            control.create_pool(&pool, &by("ada", 2)).await.expect("created");
            let change = Change { expected_version: Some(0), ..by("ada", 3) };
            control.pin("bank", &pool, &change).await
        }));
    }
    let mut won = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(ControlError::Conflict { expected: 0, current: 1, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((won, control.placements("bank", 9).await.expect("a history").len()), (1, 1));
    assert_eq!(control.revision().await.expect("a number"), 1 + 6 + 1);
}

pub(crate) async fn every_change_raises_the_revision_and_shows_in_the_snapshot(database: Database) {
    let control = database.open().await;
    let empty = control.snapshot().await.expect("a snapshot");
    assert_eq!((empty.revision, empty.namespaces.len()), (0, 0));
    assert!(!empty.installation.is_empty());

    let bank = control.create(BANK, &by("ada", 1)).await.expect("created");
    let shop = control.create(&BANK.replace("bank", "shop"), &by("ada", 1)).await.expect("created");
    let bank_2 = control.change(&with_in_flight(7), &from(1)).await.expect("changed");
    assert_ne!(bank, bank_2);
    control.create_pool("noisy", &by("ada", 2)).await.expect("created");
    control.pin("shop", "noisy", &by("ada", 3)).await.expect("pinned");
    // What changes nothing, or fails, raises nothing.
    control.change(&with_in_flight(7), &from(2)).await.expect("nothing to do");
    control.change(&with_in_flight(8), &from(1)).await.expect_err("too late");
    control.create(BANK, &by("ada", 1)).await.expect_err("it exists");
    let all = control.snapshot().await.expect("a snapshot");
    assert_eq!((all.revision, control.revision().await.expect("a number")), (5, 5));
    assert_eq!(all.installation, empty.installation);
    let placed = |name: &str| all.namespace(name).cloned().expect("there");
    assert_eq!((placed("bank").described, &*placed("bank").pool), (bank_2, DEFAULT_POOL));
    assert_eq!((placed("shop").described, &*placed("shop").pool), (shop, "noisy"));
    assert_eq!(database.open().await.snapshot().await.expect("the same"), all);
}

/// What the first release left: its migration alone, and a namespace.
pub(crate) async fn a_database_of_the_first_release_is_brought_up_to_date(database: Database) {
    let control = database.open().await;
    let bank = control.create(BANK, &by("ada", 1)).await.expect("created");
    control.close().await;
    database.run(WITHOUT_DELIVERIES).await;
    database
        .run(
            "DROP TABLE placements; DROP TABLE pools; DROP TABLE installation; \
             DELETE FROM _sqlx_migrations WHERE version = 2",
        )
        .await;
    let snapshot = database.open().await.snapshot().await.expect("a snapshot");
    assert_eq!(snapshot.namespace("bank").expect("still there").described, bank);
}

/// What was there before deliveries were.
const WITHOUT_DELIVERIES: &str = "DROP TABLE deliverers; DROP TABLE deliveries; \
                                  DROP TABLE dead_letter_changes; DROP TABLE dead_letters; \
                                  DROP TABLE settled_tickets; DROP TABLE dead_letter_counts; \
                                  DROP TABLE delay_changes; DROP TABLE delays; \
                                  DELETE FROM _sqlx_migrations WHERE version >= 3";

pub(crate) async fn a_database_without_deliveries_is_brought_up_to_date(database: Database) {
    let control = database.open().await;
    control.create(BANK, &by("ada", 1)).await.expect("created");
    control.pin("bank", DEFAULT_POOL, &by("ada", 2)).await.expect("nothing to do");
    let before = control.snapshot().await.expect("a snapshot");
    control.close().await;
    database.run(WITHOUT_DELIVERIES).await;
    let control = database.open().await;
    assert_eq!(control.snapshot().await.expect("a snapshot"), before);
    assert_eq!(control.owners("bank").await.expect("there are tables"), []);
    assert_eq!(control.count("bank").await.expect("there are tables"), []);
}
