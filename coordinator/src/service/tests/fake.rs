//! A scripted engine and control plane, and a real server in front of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use handfast_proto::v1;
use handfast_proto::v1::handfast_admin_client::HandfastAdminClient;
use handfast_proto::v1::handfast_client::HandfastClient;
use participant::engine::{ParkedChoice, ParkedRow, Unresolved};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use wal_core::log::IntentLog;
use wal_core::log::memory::MemoryLog;
use wal_core::namespace::Namespace;
use wal_core::record::{Body, CommitSingle, Header, Record};
use wal_core::{
    Cell, Epoch, Fingerprint, Millis, Nonce, Position, Row, Sequence, ShardId, Timestamp,
    Transaction, TxnId,
};

use crate::api::{Answer, Call, CallAnswer, OutcomeAnswer, ReadAnswer, Receipt};
use crate::runtime::{Answers, NamespaceSnapshot, ParkedDone, ParkedList};
use crate::service::{
    Backend, BackendError, Control, ControlError, Definition, Delivering, Drain, LoggedRecord,
    Pool, Refused, ServiceLimits, router, serve,
};

pub(super) const DEFINITION: &str = r#"
name = "bank"
shards = 16

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint, note text, since timestamp)"

[[table]]
cql = "CREATE TABLE transfers (account text, seq int, amount bigint, PRIMARY KEY (account, seq))"
"#;

/// What the engine does with a call; `None` is to never answer.
pub(super) type Script = Box<dyn Fn(&Call) -> Option<CallAnswer> + Send + Sync>;

/// An engine that does as it is told.
pub(super) struct FakeBackend {
    pub(super) namespace: Arc<Namespace>,
    /// Served too.
    pub(super) other: Option<Arc<Namespace>>,
    pub(super) script: Script,
    pub(super) refuse: Option<Refused>,
    /// It has failed: what the script does not answer is answered with nothing, at once.
    pub(super) failed: bool,
    pub(super) calls: AtomicU64,
    pub(super) forgotten: Mutex<Vec<u64>>,
    /// Sinks whose calls are never answered, kept as a real engine keeps them.
    pub(super) held: Mutex<Vec<Arc<dyn Answers>>>,
    pub(super) log: MemoryLog,
}

impl FakeBackend {
    pub(super) fn new(
        script: impl Fn(&Call) -> Option<CallAnswer> + Send + Sync + 'static,
    ) -> Self {
        Self {
            namespace: Arc::new(Namespace::from_toml(DEFINITION).expect("a definition")),
            other: None,
            script: Box::new(script),
            refuse: None,
            failed: false,
            calls: AtomicU64::new(0),
            forgotten: Mutex::default(),
            held: Mutex::default(),
            log: MemoryLog::new(Nonce(1)),
        }
    }

    pub(super) fn called(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn forgotten(&self) -> Vec<u64> {
        self.forgotten.lock().expect("no test panics with it").clone()
    }
}

impl Backend for FakeBackend {
    fn address(&self) -> &str {
        "here"
    }

    fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        let served = [Some(&self.namespace), self.other.as_ref()];
        served.into_iter().flatten().find(|served| served.name() == name).cloned()
    }

    fn why_unserved(&self, name: &str) -> Option<String> {
        (name == "unserved").then(|| "the brokers are away".to_owned())
    }

    fn call(
        &self,
        _namespace: &Namespace,
        calls: Vec<(Call, u64)>,
        answers: Arc<dyn Answers>,
    ) -> Result<u64, Refused> {
        if let Some(refused) = &self.refuse {
            return Err(refused.clone());
        }
        let first = self.calls.fetch_add(calls.len() as u64, Ordering::SeqCst);
        let decided = calls.iter().map(|(call, tag)| (*tag, (self.script)(call)));
        let decided: Vec<_> = decided.collect();
        let failed = self.failed;
        if !failed && decided.iter().any(|(_, answer)| answer.is_none()) {
            self.held.lock().expect("no test panics with it").push(Arc::clone(&answers));
        }
        // Last first: nobody may rely on an order.
        std::thread::spawn(move || {
            let decided = decided.into_iter().rev();
            let mut decided: Vec<_> =
                decided.filter(|(_, answer)| failed || answer.is_some()).collect();
            answers.deliver(&mut decided);
        });
        Ok(first)
    }

    fn forget(&self, _namespace: &Namespace, call: u64) {
        self.forgotten.lock().expect("no test panics with it").push(call);
    }

    fn delivering(&self, _namespace: &Namespace) -> Vec<Delivering> {
        Vec::new()
    }

    fn sending(&self, _: &Namespace) -> Vec<(String, delivery::region::ShipStatus)> {
        Vec::new()
    }

    fn retry_target(&self, _namespace: &Namespace, _target: &str) {}

    fn log(&self, _namespace: &Namespace) -> Result<Arc<dyn IntentLog>, BackendError> {
        Ok(Arc::new(self.log.clone()))
    }

    fn explain(&self, namespace: &Namespace, id: TxnId) -> Result<Vec<LoggedRecord>, BackendError> {
        if id == UNLOGGED {
            return Ok(Vec::new());
        }
        let table = namespace.table_named("accounts").expect("it is declared");
        let key = table.row_key(&[&"alice".into()], &[]).expect("a key");
        let row =
            wal_core::RowOp { key, conditions: Vec::new(), write: wal_core::WriteOp::DeleteRow };
        let body = Body::CommitSingle(Box::new(CommitSingle {
            id,
            fingerprint: Fingerprint(1),
            timestamp: Timestamp(800),
            part: Arc::new(vec![row]),
            adds: Vec::new(),
        }));
        let header = Header { epoch: Epoch(2), seq: Sequence(5), previous: 0 };
        let record = Record { header, body };
        Ok(vec![LoggedRecord { shard: ShardId(3), position: Position(77), accepted: true, record }])
    }

    fn parked(&self, namespace: &Namespace, limit: usize) -> Result<ParkedList, BackendError> {
        let table = namespace.table_named("accounts").expect("it is declared");
        let balance = table.find_column("balance").expect("it is declared").id;
        let value = Some(Bytes::copy_from_slice(&5_i64.to_be_bytes()));
        let cell = Cell { column: balance, timestamp: Timestamp(801), value };
        let row = ParkedRow {
            key: table.row_key(&[&"alice".into()], &[]).expect("a key"),
            delta: Row { cells: vec![cell], ..Row::default() },
            first: Timestamp(800),
            last: Timestamp(808),
            commits: 2,
            why: "the column balance was dropped".into(),
            tries: 3,
        };
        Ok(ParkedList {
            rows: vec![(ShardId(4), row); limit.min(1)],
            total: 2,
            elsewhere: vec![(ShardId(5), Some("there".into())), (ShardId(6), None)],
        })
    }

    /// As many rows as were named, 100 of a table, 1,000 of all.
    fn retry_parked(
        &self,
        _namespace: &Namespace,
        which: ParkedChoice,
    ) -> Result<ParkedDone, BackendError> {
        let rows = match which {
            ParkedChoice::Rows(rows) => rows.len(),
            ParkedChoice::Table(_) => 100,
            ParkedChoice::All => 1_000,
        };
        Ok(ParkedDone { rows, elsewhere: vec![(ShardId(6), None)] })
    }

    fn discard_parked(
        &self,
        namespace: &Namespace,
        which: ParkedChoice,
    ) -> Result<ParkedDone, BackendError> {
        self.retry_parked(namespace, which)
    }

    fn look(
        &self,
        _namespace: &Namespace,
        limit: usize,
    ) -> Result<NamespaceSnapshot, BackendError> {
        let txn = Unresolved {
            id: id(9),
            shard: ShardId(1),
            state: "prepared",
            participants: vec![ShardId(1), ShardId(2)],
        };
        let unresolved = vec![txn; limit.min(2)];
        Ok(NamespaceSnapshot {
            shards: Vec::new(),
            unresolved,
            in_flight: 7,
            log_bytes: 4096,
            elsewhere: Vec::new(),
        })
    }
}

/// One namespace, for ever.
struct FakeControl(Arc<Namespace>);

impl FakeControl {
    fn only(&self) -> Definition {
        Definition { namespace: Arc::clone(&self.0), text: DEFINITION.to_owned() }
    }
}

#[tonic::async_trait]
impl Control for FakeControl {
    async fn create(&self, definition: &str) -> Result<Definition, ControlError> {
        let made = Namespace::from_toml(definition)
            .map_err(|error| ControlError::InvalidDefinition(error.to_string()))?;
        if made.name() == self.0.name() {
            return Err(ControlError::Exists { name: made.name().to_owned() });
        }
        Ok(Definition { namespace: Arc::new(made), text: definition.to_owned() })
    }

    async fn validate(&self, definition: &str) -> Result<(Definition, bool), ControlError> {
        let made = Namespace::from_toml(definition)
            .map_err(|error| ControlError::InvalidDefinition(error.to_string()))?;
        let exists = made.name() == self.0.name();
        Ok((Definition { namespace: Arc::new(made), text: definition.to_owned() }, exists))
    }

    async fn list(&self) -> Result<Vec<Definition>, ControlError> {
        Ok(vec![self.only()])
    }

    async fn describe(&self, name: &str) -> Result<Definition, ControlError> {
        if name == self.0.name() {
            return Ok(self.only());
        }
        Err(ControlError::NotFound { name: name.to_owned() })
    }

    async fn change(
        &self,
        _definition: &str,
        expected_version: u32,
    ) -> Result<Definition, ControlError> {
        if expected_version == self.0.version() {
            return Ok(self.only());
        }
        Err(ControlError::VersionConflict {
            name: self.0.name().to_owned(),
            expected: expected_version,
            found: self.0.version(),
        })
    }

    fn deliveries(&self) -> Result<Arc<dyn delivery::Store>, ControlError> {
        Err(ControlError::Unavailable("this one has no deliveries".to_owned()))
    }

    fn delays(&self) -> Result<Arc<dyn delivery::schedule::Index>, ControlError> {
        Err(ControlError::Unavailable("this one has no delays".to_owned()))
    }

    async fn create_pool(&self, name: &str, note: &str) -> Result<Pool, ControlError> {
        let (name, note) = (name.to_owned(), note.to_owned());
        Ok(Pool { name, note, namespaces: Vec::new() })
    }

    async fn pools(&self) -> Result<Vec<Pool>, ControlError> {
        let namespaces = vec![self.0.name().to_owned()];
        Ok(vec![Pool { name: "default".to_owned(), note: String::new(), namespaces }])
    }

    async fn pin(&self, _namespace: &str, pool: &str, _note: &str) -> Result<u32, ControlError> {
        match pool {
            "default" => Ok(1),
            other => Err(ControlError::ChangeRefused(format!("pool {other:?} does not exist"))),
        }
    }
}

/// A server on a port of its own.
pub(super) struct Server {
    pub(super) backend: Arc<FakeBackend>,
    pub(super) drain: Drain,
    pub(super) address: SocketAddr,
    pub(super) channel: Channel,
}

impl Server {
    pub(super) async fn start(backend: FakeBackend) -> Self {
        Self::start_with(backend, ServiceLimits::default()).await
    }

    pub(super) async fn start_with(backend: FakeBackend, limits: ServiceLimits) -> Self {
        let backend = Arc::new(backend);
        let control = Arc::new(FakeControl(Arc::clone(&backend.namespace)));
        let (router, drain) = router(backend.clone(), control, limits).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let never = std::future::pending();
        tokio::spawn(serve(router, listener, limits.connections, || 0.5, never));
        let channel = Channel::from_shared(format!("http://{address}")).expect("a URL");
        let channel = channel.connect().await.expect("it listens");
        Self { backend, drain, address, channel }
    }

    pub(super) fn data(&self) -> HandfastClient<Channel> {
        HandfastClient::new(self.channel.clone())
    }

    pub(super) fn admin(&self) -> HandfastAdminClient<Channel> {
        HandfastAdminClient::new(self.channel.clone())
    }
}

/// An id that no log says anything of.
pub(super) const UNLOGGED: TxnId = TxnId(0x0190_0000_0000_7000_8000_0000_0000_dead);

/// A valid id.
pub(super) fn id(number: u128) -> TxnId {
    TxnId::from_parts(Millis(1_760_000_000_000), number)
}

pub(super) fn id_bytes(id: TxnId) -> bytes::Bytes {
    id.0.to_be_bytes().to_vec().into()
}

/// An engine that commits everything.
pub(super) fn commits(call: &Call) -> Option<CallAnswer> {
    match call {
        Call::Submit { txn, .. } => Some(CallAnswer::Submit(committed(txn))),
        Call::Read { keys } => {
            Some(CallAnswer::Read(ReadAnswer::Rows(vec![wal_core::Row::default(); keys.len()])))
        }
        Call::Outcome(_) => Some(CallAnswer::Outcome(OutcomeAnswer::Unknown)),
    }
}

pub(super) fn committed(txn: &Transaction) -> Answer {
    Answer::Committed {
        receipt: receipt(txn.id, txn.home()),
        timestamp: Timestamp(1_760_000_000_000_008),
        applied: false,
    }
}

pub(super) fn receipt(id: TxnId, home: ShardId) -> Receipt {
    Receipt { id, home, epoch: Epoch(3), seq: Sequence(4) }
}

pub(super) fn row(table: &str, key: impl IntoIterator<Item = v1::Value>) -> Option<v1::RowKey> {
    Some(v1::RowKey { table: table.to_owned(), key: key.into_iter().collect() })
}

pub(super) fn column(name: &str, value: impl Into<v1::Value>) -> v1::Column {
    v1::Column { name: name.to_owned(), value: Some(value.into()) }
}

pub(super) fn put(
    table: &str,
    key: impl Into<v1::Value>,
    columns: Vec<v1::Column>,
) -> v1::Mutation {
    let op = Some(v1::mutation::Op::Put(v1::Put { columns }));
    v1::Mutation { row: row(table, [key.into()]), op }
}

/// One put of one account.
pub(super) fn deposit(number: u128) -> v1::Transaction {
    v1::Transaction {
        namespace: "bank".to_owned(),
        id: id_bytes(id(number)),
        mutations: vec![put("accounts", "alice", vec![column("balance", 5i64)])],
        ..v1::Transaction::default()
    }
}

/// A status must carry this code, reason and `ErrorInfo`'s domain; gives the details.
pub(super) fn expect(status: &Status, code: Code, reason: &str) -> ErrorDetails {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    assert_eq!(info.domain, "handfast");
    details
}
