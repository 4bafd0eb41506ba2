//! Servers keep their configuration while the database is away, also across a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control::{Change, Copy, CopyError, FollowError, FollowOptions, Follower, OpenError, Snapshot};
use handfast_stack::Server;
use sqlx::{AnyConnection, Connection as _, Executor as _};
use wal_core::Millis;

use crate::database::Database;
use crate::postgres;

const PATIENCE: Duration = Duration::from_secs(30);

fn file(name: &str) -> String {
    format!(
        "name = \"{name}\"\n[[table]]\ncql = \"CREATE TABLE t (id text PRIMARY KEY, v bigint)\"\n"
    )
}

fn by_ada() -> Change<'static> {
    Change { by: "ada", note: "", at: Millis(1), expected_version: None }
}

fn options(database: &Database, folder: &Path) -> FollowOptions {
    FollowOptions {
        address: database.address.clone(),
        copy: Some(copy_of(folder)),
        poll: Duration::from_millis(50),
    }
}

fn copy_of(folder: &Path) -> PathBuf {
    folder.join("control-plane.copy")
}

/// Waits until the follower has seen what is asked for.
async fn until(follower: &Follower, seen: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut watch = follower.watch();
    let found = tokio::time::timeout(PATIENCE, watch.wait_for(|snapshot| seen(snapshot))).await;
    Arc::clone(&found.expect("in time").expect("it is asked on"))
}

async fn until_reachable_is(follower: &Follower, expected: bool) {
    let asked = async {
        while follower.is_reachable() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("in time");
}

#[tokio::test]
async fn a_server_goes_by_what_it_saw_last_while_postgresql_is_away_and_across_a_restart() {
    let stack = postgres();
    let database = Database::postgres(&stack).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(&database, folder.path());
    let admin = database.open().await;

    let follower = Follower::start(options.clone()).await.expect("follows");
    assert!(follower.is_reachable());
    assert_eq!(follower.current().namespaces, []);
    admin.create(&file("bank"), &by_ada()).await.expect("created");
    until(&follower, |it| it.namespace("bank").is_some()).await;

    // Killed: what was seen stays. Of a paused one nothing is heard either.
    stack.kill9(Server::Postgres).expect("killed");
    until_reachable_is(&follower, false).await;
    assert!(follower.current().namespace("bank").is_some());
    // The server starts again, and the database is still away.
    drop(follower);
    let follower = Follower::start(options.clone()).await.expect("follows by the copy");
    assert!(!follower.is_reachable());
    assert!(follower.plane().is_none());
    assert!(follower.current().namespace("bank").is_some());

    // It comes back, and what changes then arrives.
    stack.restart(Server::Postgres).expect("back");
    until_reachable_is(&follower, true).await;
    let plane = follower.plane().expect("reached").clone();
    plane.create(&file("shop"), &by_ada()).await.expect("created");
    plane.create_pool("noisy", &by_ada()).await.expect("created");
    plane.pin("shop", "noisy", &by_ada()).await.expect("pinned");
    let pinned = |it: &Snapshot| it.namespace("shop").is_some_and(|shop| shop.pool == "noisy");
    let seen = until(&follower, pinned).await;
    let copy = Copy::read(&copy_of(folder.path())).expect("good").expect("there");
    assert_eq!(copy.snapshot, *seen);

    stack.pause(Server::Postgres).expect("paused");
    until_reachable_is(&follower, false).await;
    stack.resume(Server::Postgres).expect("resumed");
    until_reachable_is(&follower, true).await;
}

#[tokio::test]
async fn a_database_that_is_away_and_was_never_seen_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = "postgres://handfast:secret@127.0.0.1:1/handfast".to_owned();
    let copy = Some(copy_of(folder.path()));
    let options = FollowOptions { address, copy, poll: Duration::from_secs(1) };
    let error = Follower::start(options.clone()).await.expect_err("never seen");
    assert!(matches!(error, FollowError::NeverSeen { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("secret"));
    // A copy that is damaged is as good as none, and says so.
    std::fs::write(copy_of(folder.path()), "deadbeef\n{}").expect("written");
    let error = Follower::start(options.clone()).await.expect_err("damaged");
    assert!(matches!(error, FollowError::Copy(CopyError::Damaged { .. })), "{error}");
    // What is wrong by itself does not wait for better times.
    let bad = FollowOptions { address: "nonsense".into(), ..options };
    let error = Follower::start(bad).await.expect_err("no address");
    assert!(matches!(error, FollowError::Open(OpenError::BadAddress { .. })), "{error}");
}

#[tokio::test]
async fn a_database_that_has_too_much_to_do_is_waited_for() {
    let stack = postgres();
    let database = Database::postgres(&stack).await;
    drop(database.open().await);
    sqlx::any::install_default_drivers();
    let mut other = AnyConnection::connect(&database.address).await.expect("a connection");
    other.execute("BEGIN; LOCK TABLE namespaces IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(&database, folder.path());
    let starting = tokio::spawn(Follower::start(options));
    // Longer than a statement may take.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!starting.is_finished(), "it did not wait: {:?}", starting.await);
    other.execute("COMMIT").await.expect("let go");
    let follower = starting.await.expect("no panic").expect("follows");
    assert!(follower.is_reachable());
}

#[tokio::test]
async fn another_installation_and_a_database_that_lost_changes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (Database::sqlite(), Database::sqlite());
    let admin = first.open().await;
    admin.create(&file("bank"), &by_ada()).await.expect("created");
    drop(Follower::start(options(&first, folder.path())).await.expect("follows"));

    let error = Follower::start(options(&second, folder.path())).await.expect_err("another");
    assert!(matches!(error, FollowError::OtherInstallation { .. }), "{error}");
    first.run("UPDATE installation SET revision = 0").await;
    let error = Follower::start(options(&first, folder.path())).await.expect_err("went back");
    assert!(matches!(error, FollowError::WentBack { found: 0, seen: 1, .. }), "{error}");
    assert!(error.to_string().contains("restore a newer backup"), "{error}");
    // As the message says.
    std::fs::remove_file(copy_of(folder.path())).expect("deleted");
    Follower::start(options(&first, folder.path())).await.expect("follows");
}

#[tokio::test]
async fn a_copy_of_which_one_bit_is_flipped_is_never_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::sqlite();
    database.open().await.create(&file("bank"), &by_ada()).await.expect("created");
    drop(Follower::start(options(&database, folder.path())).await.expect("follows"));
    let path = copy_of(folder.path());
    let good = std::fs::read(&path).expect("there");
    for at in (0..good.len()).step_by(37) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).expect("written");
        assert!(Copy::read(&path).is_err(), "byte {at} was flipped unseen");
    }
    // With the database there it is written anew.
    drop(Follower::start(options(&database, folder.path())).await.expect("follows"));
    assert_eq!(std::fs::read(&path).expect("there").len(), good.len());
}
