//! The topic of a namespace is deleted.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use handfast_client::{
    Client, Level, Options, OutcomeError, RetryPolicy, SubmitError, Transaction,
};
use handfast_cluster::load::NAMESPACE;
use handfast_cluster::{Cluster, Member, Part};
use handfast_kafka_tests::raw;
use tokio::runtime::Runtime;

const TOPIC: &str = "handfast-faults";
const PATIENCE: Duration = Duration::from_secs(120);

/// Its servers say so and go on serving the others; it is given up only when that is asked for, by one who
/// was told what is lost; what was decided in it is answered for no more, and what was applied is there.
pub(crate) fn a_log_that_is_lost_is_given_up_for_a_new_one(cluster: &Cluster) {
    let tokio = Runtime::new().expect("a runtime");
    let participants: Vec<Part> = cluster.participants().map(Part::Member).collect();
    let before = tokio.block_on(async {
        let client = cluster.client().await.expect("it is served");
        let client = client.at_level(Level::Applied);
        let kept = Transaction::new(NAMESPACE).put("counters", "kept", ("n", 7_i64));
        let outcome = client.submit(&kept).await.expect("it is served");
        assert!(outcome.is_committed(), "{outcome:?}");
        kept
    });
    let whole = recover(cluster, &[]);
    assert!(!whole.status.success() && stderr(&whole).contains("nothing is lost"), "{whole:?}");

    participants.iter().for_each(|part| cluster.kill(*part).expect("killed"));
    raw::delete_topic(&cluster.stack().kafka_bootstrap(), TOPIC);
    for part in &participants {
        cluster.restart(*part).expect("the other namespace is served");
    }
    tokio.block_on(async {
        let once = Options { retry: RetryPolicy::NEVER, ..Options::default() };
        let on = Client::connect_with([cluster.endpoint(Member::Participant(0))], once).await;
        let on = on.expect("it serves the other namespace");
        let bank = Transaction::new("bank").put("accounts", "alice", ("balance", 1_i64));
        assert!(on.submit(&bank).await.expect("it is well").is_committed());
        let faults = Transaction::new(NAMESPACE).put("counters", "x", ("n", 1_i64));
        let refused = on.submit(&faults).await.expect_err("its log is lost");
        assert!(matches!(refused, SubmitError::Unavailable { .. }), "{refused}");
        assert!(refused.to_string().contains("recover --new-log"), "{refused}");
    });

    let told = recover(cluster, &[]);
    println!("{}", stderr(&told));
    assert!(!told.status.success() && stderr(&told).contains("Lost with it, for good"), "{told:?}");
    let done = recover(cluster, &["--yes"]);
    assert!(done.status.success(), "{done:?}");

    let (begun, soon) = (Instant::now(), Duration::from_millis(200));
    tokio.block_on(async {
        let client = cluster.client().await.expect("the gateways are well");
        loop {
            let again = Transaction::new(NAMESPACE).put("counters", "anew", ("n", 8_i64));
            match client.submit(&again).await {
                Ok(outcome) if outcome.is_committed() => break,
                _ if begun.elapsed() < PATIENCE => tokio::time::sleep(soon).await,
                other => panic!("it is not served after {PATIENCE:?}: {other:?}"),
            }
        }
        println!("served again {} ms after the new log was begun", begun.elapsed().as_millis());
        let rows = [("counters", "kept"), ("counters", "anew")];
        let rows = client.read(NAMESPACE, rows).await.expect("it is served");
        let found: Vec<Option<i64>> = rows.iter().map(|row| row.integer("n")).collect();
        assert_eq!(found, [Some(7), Some(8)]);
        let old = client.outcome(&before.locator()).await.expect_err("its log is lost");
        assert!(matches!(old, OutcomeError::TooOld { .. }), "{old}");
        let again = client.submit(&before).await.expect_err("it may be committed");
        assert!(matches!(again, SubmitError::TooOld { .. }), "{again}");
    });
}

/// Clocks of one machine agree, so that a second is enough.
fn recover(cluster: &Cluster, more: &[&str]) -> Output {
    let mut command = Command::new(handfast_e2e::binary().expect("it was built"));
    command.args(["namespace", "recover", NAMESPACE, "--new-log", "--clocks-ahead", "1s"]);
    command.args(["--control", &cluster.stack().postgres_url().expect("it has one")]).args(more);
    command.output().expect("it runs")
}

fn stderr(output: &Output) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&output.stderr)
}
