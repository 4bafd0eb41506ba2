//! The target over a store that fails as it is told to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use participant::store::Refusal;
use participant::store::memory::MemoryStore;
use tokio::sync::mpsc;
use wal_core::message::Message;
use wal_core::namespace::TargetPlace;
use wal_core::{Millis, Row, RowKey, RowMutation, ShardId, Timestamp, TxnId};

use super::*;
use crate::outgoing::Name;
use crate::target::conformance::{self, Arrival, Bench, Mood};

/// The tables of a target, as a namespace declares them.
fn tables(cql: &[&str]) -> Arc<Namespace> {
    let cql: Vec<String> = cql.iter().map(|cql| format!("{cql:?}")).collect();
    let file = format!(
        "name = 'bank'\n[[table]]\ncql = 'CREATE TABLE t (i int PRIMARY KEY)'\n[[target]]\nname = 'copy'\n\
         kind = 'table'\ncontact_points = ['c1']\ndatacenter = 'dc1'\nkeyspace = 'copies'\ntables = [{}]\n",
        cql.join(", ")
    );
    let namespace = Namespace::from_toml(&file).unwrap_or_else(|error| panic!("{error}"));
    match &namespace.targets()[0].place {
        TargetPlace::Table { tables, .. } => Arc::clone(tables),
        other => panic!("{other:?}"),
    }
}

const ACCOUNTS: &str = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, note text)";

type Answering = Box<dyn Fn() -> Result<(), StoreError> + Send + Sync>;

/// A store in memory behind a gate.
struct Gated {
    rows: MemoryStore,
    mood: Mutex<Mood>,
    turned: Condvar,
    hanging: mpsc::UnboundedSender<()>,
    applied: mpsc::UnboundedSender<RowMutation>,
}

impl Gated {
    // A panic leaves a mood behind that is fit for use.
    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, mood: Mood) {
        *self.mood() = mood;
        self.turned.notify_all();
    }
}

impl TableStore for Gated {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        self.rows.read(keys)
    }

    fn apply(&self, mutations: &[RowMutation]) -> Result<(), StoreError> {
        let mut mood = self.mood();
        while *mood == Mood::Hangs {
            let _ = self.hanging.send(()); // a test that does not look
            mood = self.turned.wait(mood).unwrap_or_else(PoisonError::into_inner);
        }
        if *mood == Mood::Away {
            let why = "nobody is there".to_owned();
            return Err(StoreError::Overloaded { action: "apply rows", why });
        }
        self.rows.apply(mutations)?;
        for mutation in mutations {
            let _ = self.applied.send(mutation.clone()); // a test that does not look
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.rows.sync()
    }
}

/// Answers every apply in the same way.
struct Always(Answering);

impl TableStore for Always {
    fn read(&self, keys: &[RowKey]) -> Result<Vec<Row>, StoreError> {
        Ok(vec![Row::default(); keys.len()])
    }

    fn apply(&self, _: &[RowMutation]) -> Result<(), StoreError> {
        (self.0)()
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn target(tables: &Arc<Namespace>, store: Arc<dyn TableStore>, most: usize) -> TableTarget {
    let options = TableOptions {
        tables: Arc::clone(tables),
        open: Box::new(move || Ok(Arc::clone(&store))),
        max_requests: most,
        timeout: Duration::from_secs(2),
    };
    TableTarget::new(options).expect("a target")
}

fn outgoing(at: i64, payload: &str) -> Outgoing {
    Outgoing {
        namespace: "bank".into(),
        shard: ShardId(3),
        name: Name { id: TxnId::from_parts(Millis(1_700_000_000_000), 1), index: 0 },
        timestamp: Timestamp(at),
        message: Arc::new(Message { payload: payload.to_owned().into(), ..Message::default() }),
    }
}

fn failure(answer: Answer) -> (ErrorClass, String) {
    match answer {
        Answer::Delivered => panic!("it was delivered"),
        Answer::Failed(Failure { class, text }) => (class, text.to_string()),
    }
}

/// Messages of any bytes as rows of a table: the suite knows nothing of rows.
struct InRows {
    target: TableTarget,
    store: Arc<Gated>,
    hanging: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
    applied: tokio::sync::Mutex<mpsc::UnboundedReceiver<RowMutation>>,
}

const MESSAGES: &str = "CREATE TABLE messages (name blob PRIMARY KEY, payload blob)";
/// What is given to the target as it is.
const AS_IT_IS: &str = "as it is";

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = "0x".to_owned();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

impl Target for InRows {
    fn send(&self, mut outgoing: Outgoing) -> Later<'_, Answer> {
        let message = &outgoing.message;
        if message.content_type != AS_IT_IS {
            let (name, payload) = (message.key.as_deref().unwrap_or_default(), &message.payload);
            let row = format!(
                "{{\"put\": {{\"table\": \"messages\", \"key\": {{\"name\": \"{}\"}}, \"columns\": \
                 {{\"payload\": \"{}\"}}}}}}",
                hex(name),
                hex(payload)
            );
            outgoing.message = Arc::new(Message { payload: row.into(), ..Message::default() });
        }
        self.target.send(outgoing)
    }
}

impl Bench for InRows {
    fn target(&self) -> &dyn Target {
        self
    }

    fn arrived(&self) -> Later<'_, Vec<Arrival>> {
        Box::pin(async {
            let RowMutation { key, delta } =
                self.applied.lock().await.recv().await.expect("the store is there");
            let payload = delta.cells[0].value.clone().expect("it is put");
            vec![Arrival {
                name: String::from_utf8(key.partition.to_vec()).expect("a name"),
                key: Some(key.partition),
                payload,
                namespace: String::new(),
                shard: String::new(),
                timestamp_us: String::new(),
                content_type: String::new(),
                headers: Vec::new(),
            }]
        })
    }

    fn turn(&self, mood: Mood) -> Later<'_, ()> {
        Box::pin(async move {
            let mut hanging = self.hanging.lock().await;
            while hanging.try_recv().is_ok() {}
            self.store.turn(mood);
        })
    }

    fn hangs(&self) -> Later<'_, ()> {
        Box::pin(async {
            self.hanging.lock().await.recv().await.expect("the store is there");
        })
    }

    /// A call of the store cannot be taken back.
    fn ended(&self) -> Option<Later<'_, ()>> {
        None
    }

    fn unacceptable(&self) -> Message {
        let (content_type, payload) = (AS_IT_IS.to_owned(), Bytes::from_static(b"no row"));
        Message { content_type, payload, ..Message::default() }
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_keys_and_payloads_only(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_holds() {
    let (to_hanging, hanging) = mpsc::unbounded_channel();
    let (to_applied, applied) = mpsc::unbounded_channel();
    let store = Arc::new(Gated {
        rows: MemoryStore::default(),
        mood: Mutex::new(Mood::Takes),
        turned: Condvar::new(),
        hanging: to_hanging,
        applied: to_applied,
    });
    conformance::run(&InRows {
        target: target(&tables(&[MESSAGES]), Arc::clone(&store) as _, 8),
        store,
        hanging: hanging.into(),
        applied: applied.into(),
    })
    .await;
}

/// Writes of one row, each at its time.
const WRITES: [(i64, &str); 5] = [
    (
        800,
        r#"{"put": {"table": "accounts", "key": {"id": "a"}, "columns": {"balance": 1, "note": "x"}}}"#,
    ),
    (808, r#"{"delete": {"table": "accounts", "key": {"id": "a"}}}"#),
    (816, r#"{"insert": {"table": "copies.accounts", "key": {"id": "a"}}}"#),
    (824, r#"{"put": {"table": "accounts", "key": {"id": "a"}, "columns": {"balance": 2}}}"#),
    (824, r#"{"put": {"table": "accounts", "key": {"id": "a"}, "columns": {"note": null}}}"#),
];

#[tokio::test]
async fn repeats_and_any_order_leave_the_same_row() {
    let tables =
        tables(&["CREATE TABLE copies.accounts (id text PRIMARY KEY, balance bigint, note text)"]);
    let mut left = BTreeSet::new();
    for first in 0..WRITES.len() {
        for step in 1..WRITES.len() {
            let store = Arc::new(MemoryStore::default());
            let target = target(&tables, Arc::clone(&store) as _, 1);
            // Each comes twice; five is a prime number, so every step meets them all.
            for number in 0..2 * WRITES.len() {
                let (at, payload) = WRITES[(first + number * step) % WRITES.len()];
                assert_eq!(target.send(outgoing(at, payload)).await, Answer::Delivered);
            }
            left.insert(format!("{:?}", store.rows()));
            let rows = store.rows();
            let [(_, row)] = &rows[..] else { panic!("{rows:?}") };
            assert_eq!(
                (row.deleted_at, row.marker_at),
                (Some(Timestamp(808)), Some(Timestamp(817)))
            );
            let values: Vec<_> =
                row.cells.iter().map(|it| (it.timestamp.0, it.value.is_some())).collect();
            assert_eq!(values, [(825, true), (824, false)]);
        }
    }
    assert_eq!(left.len(), 1, "{left:#?}");
}

#[tokio::test]
async fn what_is_no_row_of_the_tables_is_refused_for_good_and_says_why() {
    let tables = tables(&[ACCOUNTS]);
    let store = Arc::new(MemoryStore::default());
    let target = target(&tables, Arc::clone(&store) as _, 1);
    let put = |rest: &str| format!(r#"{{"put": {{"table": "accounts", {rest}}}}}"#);
    for (payload, said) in [
        (String::new(), "the payload: this is not JSON"),
        ("[]".to_owned(), "expected one of put, insert, delete, add"),
        (r#"{"mutations": []}"#.to_owned(), "mutations: unknown mutation"),
        (
            r#"{"delete": {"table": "acounts", "key": {"id": "a"}}}"#.to_owned(),
            "delete.table: unknown table \"acounts\": did you mean \"accounts\"?",
        ),
        (put(r#""key": {"id": "a"}, "columns": {"balanse": 1}"#), "did you mean \"balance\"?"),
        (
            put(r#""key": {"id": "a"}, "columns": {"balance": "x"}"#),
            "put.columns.balance: expected bigint",
        ),
        (put(r#""key": {"id": 7}, "columns": {"balance": 1}"#), "put.key.id: expected text"),
        (put(r#""key": {}, "columns": {"balance": 1}"#), "key: the key of accounts also needs id"),
        (put(r#""key": {"id": "a"}, "columns": {}"#), "columns: nothing is written"),
        (
            put(r#""key": {"id": "a"}, "columns": {"id": "b"}"#),
            "columns.id: this column is part of",
        ),
        (
            r#"{"add": {"table": "accounts", "key": {"id": "a"}, "columns": {"balance": 1}}}"#
                .to_owned(),
            "an add cannot be delivered",
        ),
    ] {
        let (class, text) = failure(target.send(outgoing(800, &payload)).await);
        assert_eq!(class, ErrorClass::Permanent, "{payload}: {text}");
        assert!(text.contains(said), "{payload}: {text}");
    }
    let no_text = Message { payload: Bytes::from_static(b"\xff"), ..Message::default() };
    let no_text = Outgoing { message: Arc::new(no_text), ..outgoing(800, "") };
    let (class, text) = failure(target.send(no_text).await);
    assert!(class == ErrorClass::Permanent && text.contains("is not text"), "{text}");
    assert!(store.rows().is_empty());
}

#[tokio::test]
async fn failures_of_the_store_have_their_class() {
    let refused = |refusals: Vec<Refusal>| StoreError::Refused(refusals);
    let for_now = |why: &str| StoreError::Transient { action: "apply rows", why: why.to_owned() };
    let gone = || Refusal { index: 0, why: "the column note was dropped".to_owned() };
    let answers: [(Answering, ErrorClass, &str); 4] = [
        (
            Box::new(move || Err(refused(vec![gone()]))),
            ErrorClass::Permanent,
            "the column note was dropped",
        ),
        (Box::new(move || Err(refused(Vec::new()))), ErrorClass::Transient, "refuses 0 rows"),
        (Box::new(move || Err(for_now("too slow"))), ErrorClass::Transient, "too slow"),
        (
            Box::new(|| {
                Err(StoreError::Overloaded { action: "apply rows", why: "busy".to_owned() })
            }),
            AWAY,
            "busy",
        ),
    ];
    for (answer, expected, said) in answers {
        let target = target(&tables(&[ACCOUNTS]), Arc::new(Always(answer)), 1);
        let (class, text) = failure(target.send(outgoing(800, WRITES[0].1)).await);
        assert_eq!(class, expected, "{text}");
        assert!(text.contains(said), "{text}");
    }
}

/// The runtime catches it there, for every target.
#[tokio::test]
async fn a_store_that_panics_is_a_target_that_panics() {
    let target = target(&tables(&[ACCOUNTS]), Arc::new(Always(Box::new(|| panic!("a bug")))), 1);
    let sent = tokio::spawn(async move { target.send(outgoing(800, WRITES[0].1)).await });
    let panic = sent.await.expect_err("it panics").into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"a bug"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_has_so_many_threads_and_no_more() {
    let (to_hanging, mut hanging) = mpsc::unbounded_channel();
    let (to_applied, mut applied) = mpsc::unbounded_channel();
    let store = Arc::new(Gated {
        rows: MemoryStore::default(),
        mood: Mutex::new(Mood::Hangs),
        turned: Condvar::new(),
        hanging: to_hanging,
        applied: to_applied,
    });
    let target = target(&tables(&[ACCOUNTS]), Arc::clone(&store) as _, 2);
    let next = AtomicI64::new(800);
    let send = || target.send(outgoing(next.fetch_add(8, Ordering::Relaxed), WRITES[0].1));
    let (one, two) = (send(), send());
    let (one, two, more) = tokio::join!(one, two, async {
        for _ in 0..2 {
            hanging.recv().await.expect("both hang");
        }
        send().await
    });
    let (class, text) = failure(more);
    assert_eq!((class, &*text), (AWAY, "2 rows are on their way already"));
    for hung in [one, two] {
        let (class, text) = failure(hung);
        assert!(class == ErrorClass::Transient && text.contains("not applied within"), "{text}");
    }
    // Nobody waits for them any more, and still they have their turns.
    assert_eq!(failure(send().await).0, AWAY);
    store.turn(Mood::Takes);
    assert_eq!(send().await, Answer::Delivered);
    for _ in 0..3 {
        applied.recv().await.expect("the two that hung, and the last");
    }
    let newest = store.rows.rows()[0].1.newest();
    assert_eq!(newest, Some(Timestamp(next.load(Ordering::Relaxed) - 8).of_put()), "the last sent");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let with = |max_requests, timeout| {
        let tables = tables(&[ACCOUNTS]);
        let open: OpenTables = Box::new(|| Err("nobody asks".to_owned()));
        TableTarget::new(TableOptions { tables, open, max_requests, timeout })
    };
    for (made, what) in [
        (with(0, Duration::from_secs(1)), "the number of requests at once"),
        (with(1, Duration::ZERO), "the time-out"),
    ] {
        let error = made.expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}
