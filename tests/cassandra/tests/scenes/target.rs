//! Rows of another keyspace, written by messages.

use std::sync::Arc;
use std::time::Duration;

use delivery::target::{TableOptions, TableTarget, Target};
use delivery::{Answer, ErrorClass, Failure, Name, Outgoing};
use handfast_cassandra_tests::namespace;
use handfast_stack::Server;
use participant::store::TableStore;
use participant::store::cassandra::{self, OpenError, open_unclaimed};
use tokio::runtime::Runtime;
use wal_core::message::Message;
use wal_core::namespace::Namespace;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

use super::Scene;

const ACCOUNTS: &str = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, note text)";
const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };

/// What a target of these tables says to messages.
struct Sender {
    target: TableTarget,
    runtime: Runtime,
}

impl Sender {
    fn to(tables: &Namespace) -> Self {
        let tables = Arc::new(tables.clone());
        let opened = Arc::clone(&tables);
        let open = move || match open_unclaimed(&opened, None) {
            Ok(store) => Ok(Arc::new(store) as Arc<dyn TableStore>),
            Err(error) => Err(error.to_string()),
        };
        let timeout = Duration::from_secs(4);
        let options = TableOptions { tables, open: Box::new(open), max_requests: 16, timeout };
        let target = TableTarget::new(options).expect("a target");
        Self { target, runtime: Runtime::new().expect("threads") }
    }

    fn send(&self, at: i64, payload: &str) -> Result<(), (ErrorClass, String)> {
        let outgoing = Outgoing {
            namespace: "bank".into(),
            shard: ShardId(0),
            name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index: 0 },
            timestamp: Timestamp(at),
            message: Arc::new(Message { payload: payload.to_owned().into(), ..Message::default() }),
        };
        match self.runtime.block_on(self.target.send(outgoing)) {
            Answer::Delivered => Ok(()),
            Answer::Failed(Failure { class, text }) => Err((class, text.to_string())),
        }
    }

    /// Why nothing can be sent, once that is known: opening may take longer than a try.
    fn closed(&self) -> String {
        for _ in 0..60 {
            let (class, text) = self.send(8, INSERT).expect_err("they cannot be opened");
            assert_eq!(class, AWAY, "{text}");
            if !text.contains("are not open within") {
                return text;
            }
        }
        panic!("it is never said why they cannot be opened");
    }

    /// Sends until it is delivered: what fails meanwhile passes.
    fn deliver(&self, at: i64, payload: &str) {
        for _ in 0..600 {
            match self.send(at, payload) {
                Ok(()) => return,
                Err((ErrorClass::Transient | ErrorClass::Overloaded { .. }, _)) => {}
                Err(failed) => panic!("{payload}: {failed:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{payload} is never delivered");
    }
}

fn put(columns: &str) -> String {
    format!(
        "{{\"put\": {{\"table\": \"accounts\", \"key\": {{\"id\": \"a\"}}, \"columns\": {{{columns}}}}}}}"
    )
}

const DELETE: &str = r#"{"delete": {"table": "accounts", "key": {"id": "a"}}}"#;
const INSERT: &str = r#"{"insert": {"table": "accounts", "key": {"id": "a"}}}"#;

pub(crate) fn the_last_write_wins_whatever_comes_late(scene: &Scene<'_>) {
    scene.cql.keyspace("copies", 1);
    let more = "create_tables = true\nrequest_timeout_ms = 1000";
    let tables = namespace(scene.stack, "target", "copies", more, &[ACCOUNTS]);
    let sender = Sender::to(&tables);
    let rows = || {
        let text = "SELECT balance, WRITETIME(balance), note FROM copies.accounts WHERE id = 'a'";
        scene.cql.rows::<(Option<i64>, Option<i64>, Option<String>)>(text)
    };
    let note = |text: &str| Some(text.to_owned());
    // Times from a year ago: dropping a column hides what was written before it.
    let at = |step: i64| 1_700_000_000_000_000 + step * Timestamp::STEP;
    sender.deliver(at(1), &put("\"balance\": 1, \"note\": \"x\""));
    assert_eq!(rows(), [(Some(1), Some(at(1) | 1), note("x"))]);
    sender.deliver(at(3), &put("\"balance\": 3"));
    // A repeat, and one that comes late.
    sender.deliver(at(1), &put("\"balance\": 1, \"note\": \"x\""));
    sender.deliver(at(2), &put("\"balance\": 2, \"note\": \"y\""));
    assert_eq!(rows(), [(Some(3), Some(at(3) | 1), note("y"))]);
    // Gone, and nothing from before brings it back.
    sender.deliver(at(5), DELETE);
    for (step, columns) in [(3, "\"balance\": 3"), (4, "\"balance\": 4")] {
        sender.deliver(at(step), &put(columns));
    }
    sender.deliver(at(4), INSERT);
    assert_eq!(rows(), []);
    sender.deliver(at(6), INSERT);
    sender.deliver(at(5), DELETE);
    assert_eq!(rows(), [(None, None, None)]);
    sender.deliver(at(7), &put("\"balance\": null, \"note\": \"z\""));
    assert_eq!(rows(), [(None, None, note("z"))]);

    // A node that hangs is for now, and says so in time.
    scene.stack.pause(Server::Cassandra(0)).expect("paused");
    let (class, text) = sender.send(at(8), &put("\"balance\": 8")).expect_err("it hangs");
    scene.stack.resume(Server::Cassandra(0)).expect("resumed");
    println!("  paused: {class:?}: {text}");
    assert!(matches!(class, ErrorClass::Transient | ErrorClass::Overloaded { .. }), "{text}");
    sender.deliver(at(8), &put("\"balance\": 8"));
    assert_eq!(rows(), [(Some(8), Some(at(8) | 1), note("z"))]);

    // What needs a column that is gone never will be taken; everything else is.
    scene.cql.run("ALTER TABLE copies.accounts DROP note");
    let (class, text) = sender.send(at(9), &put("\"note\": \"n\"")).expect_err("it is gone");
    assert_eq!(class, ErrorClass::Permanent, "{text}");
    assert!(text.contains("the column note of copies.accounts was dropped"), "{text}");
    sender.deliver(at(10), &put("\"balance\": 10"));
    let balance = "SELECT balance FROM copies.accounts WHERE id = 'a'";
    assert_eq!(scene.cql.rows::<(i64,)>(balance), [(10,)]);
}

pub(crate) fn what_a_namespace_has_claimed_is_no_target(scene: &Scene<'_>) {
    scene.cql.keyspace("claimed", 1);
    let bank = namespace(scene.stack, "bank", "claimed", "create_tables = true", &[ACCOUNTS]);
    let opened = cassandra::open(&bank, 7, None).expect("it is nobody's");
    match open_unclaimed(&bank, None) {
        Err(OpenError::OwnedByOther { what, namespace, .. }) => {
            assert_eq!((&*what, &*namespace), ("table claimed.accounts", "bank"));
        }
        other => panic!("{other:?}"),
    }
    let text = Sender::to(&bank).closed();
    assert!(text.contains("belongs to namespace \"bank\""), "{text}");
    let names = opened.store.table_names().into_iter();
    opened.registry.release(7, names).expect("released");
    Sender::to(&bank).deliver(8, INSERT);
}

pub(crate) fn tables_that_cannot_be_opened_give_nothing_up(scene: &Scene<'_>) {
    scene.cql.keyspace("unlike", 1);
    scene.cql.run("CREATE TABLE unlike.accounts (id text PRIMARY KEY, balance text, note text)");
    let tables = namespace(scene.stack, "target", "unlike", "", &[ACCOUNTS]);
    let text = Sender::to(&tables).closed();
    assert!(text.contains("the column \"balance\" is text in the cluster and bigint"), "{text}");
}
