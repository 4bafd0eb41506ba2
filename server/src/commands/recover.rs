//! `handfast namespace recover --new-log`.

use control::ControlPlane;
use serde_json::json;
use wal_core::Millis;
use wal_core::value::Value;

use crate::cli::{Global, RecoverArgs};
use crate::compose::recover::{Lost, examine};
use crate::exit::Failure;
use crate::output;

/// Says what is lost; with `--yes`, begins a new log.
pub(crate) async fn run(global: &Global, args: RecoverArgs) -> Result<(), Failure> {
    let plane = ControlPlane::open(&args.control).await.map_err(Failure::error)?;
    let found = plane.describe(&args.name, None).await;
    plane.close().await;
    let namespace = found.map_err(Failure::error)?.namespace;
    let lost = blocking(move || examine(namespace)).await?.ok_or_else(|| {
        Failure::error(
            "nothing is lost: the topic is the log that was written. Nothing was changed; to give it up \
             all the same, delete the topic first",
        )
    })?;
    let floor = Lost::floor(args.clocks_ahead);
    eprintln!("{}", account(&args.name, &lost, floor));
    if !args.yes {
        return Err(Failure::error(
            "nothing was changed; run it again with --yes to begin a new log",
        ));
    }
    let (topic, shards) = (lost.topic.clone(), lost.shards());
    eprintln!("beginning a new log in the topic {topic} …");
    blocking(move || lost.begin_anew(floor)).await?;
    eprintln!(
        "done; servers that could not open it do within 10 s; start those again that had it open before"
    );
    output::one(
        global,
        json!({"namespace": args.name, "topic": topic, "shards": shards, "floor_ms": floor.0}),
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Failure::error(format!("it was cut off: {error}")))??)
}

/// What is lost, and what is not.
fn account(name: &str, lost: &Lost, floor: Millis) -> String {
    let until = Value::Timestamp(i64::try_from(floor.0).unwrap_or(i64::MAX)).to_string();
    format!(
        "The topic {topic} is not the log that the namespace {name:?} has written: {what}.

Lost with it, for good, in all of its {shards} shards:
  * writes that were acknowledged and had not reached the tables: at most limits.overlay_bytes, which is
    {bytes} bytes for each server, and while Cassandra is well those of the last moments. A transaction
    over several rows may be in the tables in part.
  * transactions that were logged or prepared, and not decided.
  * the outcomes: every id drawn until {until} is answered as too old, for it may have been committed.
    Look at the rows that it writes before you send it again under a new id.
  * rows that were parked.
Not lost: everything that is in the tables.
",
        topic = lost.topic,
        what = lost.what,
        shards = lost.shards(),
        bytes = lost.most_bytes_lost(),
        until = until.trim_matches('\''),
    )
}
