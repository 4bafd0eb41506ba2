//! Wrong addresses, and databases that refuse: the error says which, what was tried, and what to do.

use control::{ControlPlane, OpenError};
use handfast_stack::Server;

use crate::database::Database;
use crate::postgres;

#[tokio::test]
async fn a_file_that_is_no_database_or_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("control.db");
    std::fs::write(&path, "x".repeat(4096)).expect("written");
    let error = ControlPlane::open_file(&path).await.expect_err("no database");
    assert!(error.to_string().starts_with("cannot open the control database"), "{error}");
    let nowhere = folder.path().join("nowhere/control.db");
    let error = ControlPlane::open_file(&nowhere).await.expect_err("no folder");
    assert!(error.to_string().contains("is its folder there"), "{error}");
    let odd = folder.path().join("a b?#%c.db");
    ControlPlane::open_file(&odd).await.expect("made").close().await;
    assert!(odd.is_file(), "under the name that was given");
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    for address in ["", "data/control.db", "mysql://localhost/x", "http://localhost"] {
        let error = ControlPlane::open(address).await.expect_err("no address");
        assert!(matches!(error, OpenError::BadAddress { .. }), "{error}");
        assert!(error.to_string().contains("write sqlite:PATH or postgres://"), "{error}");
    }
}

#[tokio::test]
async fn a_postgresql_that_refuses_says_what_is_wrong_and_no_password() {
    let stack = postgres();
    let good = Database::postgres(&stack).await;
    let open = |address: String| async move {
        let error = ControlPlane::open(&address).await.expect_err("refused");
        assert!(!error.to_string().contains("secret"), "{error}");
        println!("{error}");
        error
    };
    let server = stack.address(Server::Postgres);
    let wrong = format!("postgres://handfast:secret@{server}/handfast");
    assert!(matches!(open(wrong).await, OpenError::Denied { .. }));
    let nobody = format!("postgres://nobody:secret@{server}/handfast");
    assert!(matches!(open(nobody).await, OpenError::Denied { .. }));
    let elsewhere = good.address.rsplit_once('/').expect("a database").0.to_owned() + "/nothing";
    assert!(matches!(open(elsewhere).await, OpenError::NoDatabase { .. }));
    let port = format!("postgres://handfast:secret@{}:1/handfast", server.ip());
    let error = open(port).await;
    assert!(error.is_unreachable() && error.to_string().contains(":1/handfast"), "{error}");

    // One who may look and not create.
    good.run("CREATE ROLE guest LOGIN PASSWORD 'secret'").await;
    let name = good.address.rsplit_once('/').expect("a database").1;
    let guest = format!("postgres://guest:secret@{server}/{name}");
    let error = open(guest.clone()).await;
    assert!(matches!(error, OpenError::Denied { .. }), "{error}");
    // Nor write, in one that is up to date.
    good.open().await.close().await;
    let error = open(guest).await;
    assert!(matches!(error, OpenError::Denied { .. }), "{error}");

    stack.pause(Server::Postgres).expect("paused");
    let error = open(good.address.clone()).await;
    assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
    stack.resume(Server::Postgres).expect("resumed");
    stack.stop(Server::Postgres).expect("stopped");
    let error = open(good.address.clone()).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}
