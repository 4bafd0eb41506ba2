//! Servers without a client-facing service, on one log and one table store in memory, with the real network
//! between them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coordinator::api::{Answer, Call, CallAnswer, Level, OutcomeAnswer, OutcomeQuery, ReadAnswer};
use coordinator::placement::PlacementConfig;
use coordinator::runtime::{
    Answers, Cluster, Handle, Hold, Parts, Running, SystemClock, start_among,
};
use coordinator::service::peers::{PeerOptions, Peers};
use participant::engine::Leadership;
use participant::store::memory::MemoryStore;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use wal_core::log::memory::MemoryLog;
use wal_core::namespace::Namespace;
use wal_core::{Nonce, Row, RowKey, ShardId, TxnId};

const DEFINITION: &str = r#"
name = "bank"
shards = 8
[policy]
recover_after_ms = 300
[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, note text)"
"#;

/// Accounts, each with 100 at first.
pub(crate) const ACCOUNTS: usize = 12;
/// What a client waits for one answer; then it knows nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// One server.
pub(crate) struct Node {
    pub(crate) running: Running,
    tokio: Option<tokio::runtime::Runtime>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background(); // its connections break
        }
    }
}

/// All of them.
pub(crate) struct World {
    pub(crate) namespace: Arc<Namespace>,
    log: MemoryLog,
    pub(crate) store: Arc<MemoryStore>,
    addresses: Vec<SocketAddr>,
    pub(crate) nodes: Vec<Mutex<Option<Node>>>,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let free = |_| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("its address")
        };
        let world = Self {
            namespace: Arc::new(Namespace::from_toml(DEFINITION).expect("a definition")),
            log: MemoryLog::new(Nonce(7)),
            store: Arc::new(MemoryStore::default()),
            addresses: (0..nodes).map(free).collect(),
            nodes: (0..nodes).map(|_| Mutex::new(None)).collect(),
        };
        (0..nodes).for_each(|index| world.start(index));
        world
    }

    pub(crate) fn start(&self, index: usize) {
        let address = self.addresses[index];
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let text: Arc<str> = address.to_string().into();
        let peers = tokio.block_on(async {
            let peers = Peers::start(PeerOptions {
                cluster: "test".to_owned(),
                address: text.clone(),
                seeds: self.addresses.iter().take(1).map(|seed| seed.to_string().into()).collect(),
                max_message_bytes: 16 << 20,
            });
            let listener = TcpListener::bind(address).await.expect("the port is free");
            let router = Server::builder().add_service(peers.service());
            tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
            peers
        });
        let parts = Parts {
            namespace: self.namespace.clone(),
            log: Arc::new(self.log.clone()),
            store: self.store.clone(),
            clock: Arc::new(SystemClock::new()),
            leadership: Leadership::Lease { lease_us: 300_000, drift_ppm: 1_000 },
            address: address.to_string(),
            seed: u64::from(address.port()) << 20 | index as u64,
            readers: 2,
            keep_log_for: Duration::ZERO,
            hold: Hold::Nothing,
        };
        let placement =
            PlacementConfig::new(text, parts.log.identity(), true, self.namespace.shards());
        let cluster = Cluster { transport: peers.transport("bank"), placement };
        let running = start_among(parts, cluster).expect("it starts");
        peers.register("bank", running.handle());
        let node = Node { running, tokio: Some(tokio) };
        *self.nodes[index].lock().expect("nobody panicked") = Some(node);
    }

    /// As `kill -9` would: nothing is finished, nothing is said.
    pub(crate) fn kill(&self, index: usize) {
        *self.nodes[index].lock().expect("nobody panicked") = None;
    }

    pub(crate) fn handle(&self, index: usize) -> Option<Handle> {
        let node = self.nodes[index].lock().expect("nobody panicked");
        node.as_ref().map(|node| node.running.handle())
    }

    /// How many shards each living server leads.
    pub(crate) fn shares(&self) -> Vec<usize> {
        let led = |index| {
            let snapshot = self.handle(index)?.look(0)?;
            Some(snapshot.shards.iter().filter(|shard| shard.role == "leading").count())
        };
        (0..self.nodes.len()).map(|index| led(index).unwrap_or_default()).collect()
    }

    pub(crate) fn wait_for_shares(&self, wanted: &[usize]) {
        let began = Instant::now();
        let end = began + Duration::from_secs(30);
        loop {
            let mut shares = self.shares();
            shares.sort_unstable();
            if shares == wanted {
                return println!("{wanted:?} after {} ms", began.elapsed().as_millis());
            }
            assert!(Instant::now() < end, "shards led: {shares:?}, wanted {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks a server, once. `None` if there was no answer in time.
    pub(crate) fn call(&self, index: usize, call: Call) -> Option<CallAnswer> {
        let handle = self.handle(index)?;
        let (sink, answers) = crossbeam_channel::bounded(1);
        let first = handle.call(vec![(call, 1)], Arc::new(Sink(sink))).ok()?;
        let answer = answers.recv_timeout(PATIENCE).ok();
        if answer.is_none() {
            handle.forget(first);
        }
        answer
    }

    pub(crate) fn transaction(&self, id: TxnId, batch: &serde_json::Value) -> Call {
        let batch = wal_core::json::parse_batch(&self.namespace, batch).expect("a batch").batch;
        let txn = wal_core::build::build(&self.namespace, id, &batch).expect("a transaction");
        Call::Submit { txn: Arc::new(txn), level: Level::Committed }
    }

    /// Everything in all accounts, read as one through `index`.
    pub(crate) fn total(&self, index: usize) -> i64 {
        self.balances(index, &(0..ACCOUNTS).collect::<Vec<_>>()).into_iter().sum()
    }

    pub(crate) fn key(&self, account: usize) -> (ShardId, RowKey) {
        let name = json!({"table": "accounts", "key": {"id": account_name(account)}});
        let (table, key) =
            wal_core::json::parse_key(&self.namespace, &name).expect("the name of a row");
        wal_core::build::build_key(&self.namespace, &table, &key).expect("a key")
    }

    /// What is in some accounts, read as one through `index`.
    pub(crate) fn balances(&self, index: usize, accounts: &[usize]) -> Vec<i64> {
        let keys: Vec<_> = accounts.iter().map(|account| self.key(*account)).collect();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let call = Call::Read { keys: keys.clone() };
            if let Some(CallAnswer::Read(ReadAnswer::Rows(rows))) = self.call(index, call) {
                return rows.iter().map(balance).collect();
            }
            assert!(Instant::now() < end, "the accounts cannot be read");
        }
    }

    /// What the tables hold of an account.
    pub(crate) fn stored(&self, account: usize) -> i64 {
        let (_, key) = self.key(account);
        let rows = self.store.rows();
        balance(&rows.iter().find(|(of, _)| *of == key).expect("it was opened").1)
    }

    /// The one outcome of a transaction, whatever it takes: it is fenced.
    pub(crate) fn resolve(&self, index: usize, id: TxnId) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let query = OutcomeQuery { id, home: None, fence: true, wait: Some(Level::Committed) };
            match self.call(index, Call::Outcome(query)) {
                Some(CallAnswer::Outcome(OutcomeAnswer::Committed { .. })) => return true,
                Some(CallAnswer::Outcome(OutcomeAnswer::Aborted { .. })) => return false,
                _ => assert!(Instant::now() < end, "{id} has no outcome"),
            }
        }
    }

    /// Opens the accounts.
    pub(crate) fn open_accounts(&self) {
        let put = |account: usize| {
            let key = json!({"id": account_name(account)});
            json!({"put": {"table": "accounts", "key": key, "columns": {"balance": 100}}})
        };
        let puts: Vec<_> = (0..ACCOUNTS).map(put).collect();
        let call = self.transaction(new_id(), &json!({"mutations": puts}));
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match self.call(0, call.clone()) {
                Some(CallAnswer::Submit(Answer::Committed { .. })) => return,
                other => assert!(Instant::now() < end, "the accounts cannot be opened: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn balance(row: &Row) -> i64 {
    let value = row.get(wal_core::ColumnId(1)).cloned();
    let bytes = value.expect("the account was opened");
    i64::from_be_bytes(bytes.as_ref().try_into().expect("a bigint"))
}

struct Sink(crossbeam_channel::Sender<CallAnswer>);

impl Answers for Sink {
    fn deliver(&self, answers: &mut Vec<(u64, Option<CallAnswer>)>) {
        for (_, answer) in answers.drain(..) {
            let Some(answer) = answer else { continue }; // a server that has ended
            let _ = self.0.try_send(answer); // who asked may have given up
        }
    }
}

pub(crate) fn account_name(account: usize) -> String {
    format!("account-{account}")
}

pub(crate) fn new_id() -> TxnId {
    TxnId(uuid::Uuid::now_v7().as_u128())
}

pub(crate) const fn all_shards() -> usize {
    8
}
