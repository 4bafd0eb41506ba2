//! What the client does when calls fail, against a scripted service over real connections.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handfast_client::v1::handfast_server::{Handfast, HandfastServer};
use handfast_client::v1::outcome::State;
use handfast_client::{
    AbortReason, Client, Locator, Options, Outcome, ReadError, RetryPolicy, StreamOptions,
    SubmitError, SubscribeError, Subscription, TransactError, Transaction, column, exists, v1,
};
use handfast_proto::reason;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

/// What the service does with the next submission.
#[derive(Clone)]
enum Step {
    Commit,
    Abort(v1::aborted::Reason),
    Fail(Status),
    /// On a stream: break it, answering nothing of the message.
    Break,
}

#[derive(Default)]
struct Script {
    /// What to do; commits when there is nothing left.
    steps: VecDeque<Step>,
    /// Every transaction seen, in order.
    seen: Vec<v1::Transaction>,
    /// Versions of the rows read, in the order of the reads.
    versions: VecDeque<u8>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

impl Fake {
    fn with(steps: impl IntoIterator<Item = Step>) -> Self {
        let script = Script { steps: steps.into_iter().collect(), ..Script::default() };
        Self(Arc::new(Mutex::new(script)))
    }

    fn ids(&self) -> Vec<bytes::Bytes> {
        self.0.lock().expect("no panic").seen.iter().map(|seen| seen.id.clone()).collect()
    }

    fn next(&self, transaction: &v1::Transaction) -> Step {
        let mut script = self.0.lock().expect("no panic");
        script.seen.push(transaction.clone());
        script.steps.pop_front().unwrap_or(Step::Commit)
    }

    async fn serve(&self) -> Client {
        self.serve_with(Options {
            retry: RetryPolicy { give_up_after: Duration::from_secs(5), ..RetryPolicy::default() },
            ..Options::default()
        })
        .await
    }

    async fn serve_with(&self, options: Options) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let server =
            tonic::transport::Server::builder().add_service(HandfastServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Client::connect_with([format!("http://{address}")], options).await.expect("it listens")
    }
}

fn outcome(transaction: &v1::Transaction, state: State) -> v1::Outcome {
    let locator = v1::Locator {
        namespace: transaction.namespace.clone(),
        id: transaction.id.clone(),
        home_shard: Some(1),
    };
    v1::Outcome { locator: Some(locator), receipt: None, state: Some(state) }
}

fn committed(transaction: &v1::Transaction) -> v1::Outcome {
    let committed = v1::Committed { commit_timestamp_us: 8, applied: false };
    outcome(transaction, State::Committed(committed))
}

/// A refusal as the server makes it.
fn refusal(code: Code, reason: &str, retry: Option<Duration>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "handfast", std::collections::HashMap::new());
    if retry.is_some() {
        details.set_retry_info(retry);
    }
    Status::with_error_details(code, reason.to_lowercase(), details)
}

fn overloaded() -> Status {
    let retry = Some(Duration::from_millis(1));
    refusal(Code::ResourceExhausted, reason::OVERLOADED, retry)
}

fn condition_failed(index: u32) -> Step {
    let failed = v1::ConditionFailed { index, ..Default::default() };
    Step::Abort(v1::aborted::Reason::ConditionFailed(failed))
}

#[tonic::async_trait]
impl Handfast for Fake {
    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let transaction = request.into_inner().transaction.expect("always sent");
        let outcome = match self.next(&transaction) {
            Step::Commit => committed(&transaction),
            Step::Abort(reason) => {
                let aborted = v1::Aborted { reason: Some(reason) };
                outcome(&transaction, State::Aborted(aborted))
            }
            Step::Fail(status) => return Err(status),
            Step::Break => return Err(Status::internal("broken")),
        };
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    type SubmitStreamStream = ReceiverStream<Result<v1::SubmitStreamResponse, Status>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<v1::SubmitStreamRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let (out, answers) = mpsc::channel(4);
        let (fake, mut inbound) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(message)) = inbound.message().await {
                let mut answers = Vec::new();
                for submission in message.submissions {
                    let transaction = submission.transaction.expect("always sent");
                    let result = match fake.next(&transaction) {
                        Step::Break => return,
                        Step::Fail(status) => v1::streamed_answer::Result::Error(
                            prost::Message::decode(status.details()).expect("a status"),
                        ),
                        Step::Commit | Step::Abort(_) => {
                            v1::streamed_answer::Result::Outcome(committed(&transaction))
                        }
                    };
                    answers.push(v1::StreamedAnswer { tag: submission.tag, result: Some(result) });
                }
                if out.send(Ok(v1::SubmitStreamResponse { answers })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<v1::ReadResponse>, Status> {
        let mut script = self.0.lock().expect("no panic");
        let row = |_| v1::Row {
            exists: true,
            version: vec![script.versions.pop_front().unwrap_or_default(); 16].into(),
            columns: vec![v1::Column { name: "balance".into(), value: Some(7i64.into()) }],
        };
        let rows = request.into_inner().rows.into_iter().map(row).collect();
        Ok(Response::new(v1::ReadResponse { rows, ..Default::default() }))
    }

    async fn get_outcome(
        &self,
        _request: Request<v1::GetOutcomeRequest>,
    ) -> Result<Response<v1::GetOutcomeResponse>, Status> {
        Err(refusal(Code::FailedPrecondition, reason::ID_TOO_OLD, None))
    }

    async fn wait_for(
        &self,
        _request: Request<v1::WaitForRequest>,
    ) -> Result<Response<v1::WaitForResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn explain(
        &self,
        _request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        Err(refusal(Code::NotFound, reason::TRANSACTION_NOT_FOUND, None))
    }

    async fn change_delayed(
        &self,
        request: Request<v1::ChangeDelayedRequest>,
    ) -> Result<Response<v1::ChangeDelayedResponse>, Status> {
        let v1::ChangeDelayedRequest { namespace, id, .. } = request.into_inner();
        let transaction = v1::Transaction { namespace, id, ..Default::default() };
        match self.next(&transaction) {
            Step::Fail(status) => Err(status),
            _ => Ok(Response::new(v1::ChangeDelayedResponse {
                outcome: Some(committed(&transaction)),
            })),
        }
    }

    async fn write_to_log(
        &self,
        _request: Request<v1::WriteToLogRequest>,
    ) -> Result<Response<v1::WriteToLogResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    /// Tells a place one further than it was asked for, then ends as the next step says.
    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        use v1::subscribe_request::From;
        let place = match request.into_inner().from {
            Some(From::Resume(place)) => place[0] + 1,
            _ => 1,
        };
        let (out, responses) = mpsc::channel(2);
        let told = v1::SubscribeResponse { resume: vec![place].into(), ..Default::default() };
        let _ = out.send(Ok(told)).await;
        if let Step::Fail(status) = self.next(&v1::Transaction::default()) {
            let _ = out.send(Err(status)).await;
        }
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

#[tokio::test]
async fn a_subscription_goes_on_where_it_was_until_it_cannot() {
    let aged = refusal(Code::Unavailable, reason::CONNECTION_AGED, Some(Duration::from_millis(1)));
    let trimmed = refusal(Code::OutOfRange, reason::POSITION_TRIMMED, None);
    let fake = Fake::with([Step::Break, Step::Fail(aged), Step::Fail(trimmed)]);
    let mut stream = fake.serve().await.subscribe(Subscription::new("bank"));
    for place in 1..=3_u8 {
        let told = stream.next().await.expect("it goes on");
        assert_eq!(told.resume[..], [place], "neither repeated nor skipped");
    }
    let missed = stream.next().await;
    assert!(matches!(missed, Err(SubscribeError::Missed { .. })), "{missed:?}");
}

fn deposit() -> Transaction {
    Transaction::new("bank").add("accounts", "alice", ("balance", 5))
}

#[tokio::test]
async fn a_retry_keeps_the_id_and_the_content() {
    let lost = Step::Fail(Status::unavailable("the connection broke"));
    let fake = Fake::with([Step::Fail(overloaded()), lost, Step::Fail(Status::internal("odd"))]);
    let client = fake.serve().await;
    let deposit = deposit();
    let outcome = client.submit(&deposit).await.expect("an outcome");
    assert!(outcome.is_committed());
    assert_eq!(outcome.locator().id, deposit.id());
    let seen = fake.0.lock().expect("no panic").seen.clone();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|one| *one == seen[0]), "the same bytes every time");
}

#[tokio::test]
async fn a_doubt_that_stays_is_unknown_and_never_an_error() {
    let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
    for status in [
        Status::unavailable("the connection broke"),
        Status::deadline_exceeded("late"),
        Status::cancelled("cut"),
        Status::unknown("odd"),
    ] {
        let fake = Fake::with([Step::Fail(status)]);
        let client = fake.serve_with(options).await;
        let deposit = deposit();
        let outcome = client.submit(&deposit).await.expect("no error");
        let Outcome::Unknown(unknown) = outcome else { panic!("{outcome:?}") };
        assert_eq!(unknown.locator, deposit.locator());
    }
}

#[tokio::test]
async fn an_earlier_doubt_outlives_a_later_refusal() {
    let retry = RetryPolicy { give_up_after: Duration::from_millis(200), ..RetryPolicy::default() };
    let later = [refusal(Code::NotFound, reason::NAMESPACE_NOT_FOUND, None)];
    for last in later {
        let fake = Fake::with([Step::Fail(Status::unavailable("broke")), Step::Fail(last)]);
        let client = fake.serve_with(Options { retry, ..Options::default() }).await;
        let outcome = client.submit(&deposit()).await.expect("no error");
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    }
    // What speaks of the id itself is the truth, doubt or not.
    let too_old = refusal(Code::FailedPrecondition, reason::ID_TOO_OLD, None);
    let fake = Fake::with([Step::Fail(Status::unavailable("broke")), Step::Fail(too_old)]);
    let client = fake.serve_with(Options { retry, ..Options::default() }).await;
    let error = client.submit(&deposit()).await.expect_err("too old");
    assert!(matches!(error, SubmitError::TooOld { .. }), "{error:?}");
}

#[tokio::test]
async fn a_change_of_what_is_due_later_is_in_doubt_as_a_submission_is() {
    let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
    let (id, name) = (deposit().id(), "0198a2b4-0000-7000-8000-000000000001/0");
    let change = async |status: Option<Status>| {
        let client = Fake::with(status.map(Step::Fail)).serve_with(options).await;
        client.cancel_delayed("bank", id, name).await
    };
    assert!(change(None).await.expect("an outcome").is_committed());
    let lost = change(Some(Status::unavailable("the connection broke"))).await.expect("no error");
    let Outcome::Unknown(unknown) = lost else { panic!("{lost:?}") };
    assert_eq!(unknown.locator, Locator::new("bank", id));
    let refused = change(Some(overloaded())).await;
    assert!(matches!(refused, Err(SubmitError::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_was_certainly_not_done_is_an_error_that_says_so() {
    let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
    let cases = [
        (overloaded(), "unavailable"),
        (refusal(Code::InvalidArgument, reason::INVALID_REQUEST, None), "invalid"),
        (refusal(Code::NotFound, reason::NAMESPACE_NOT_FOUND, None), "namespace"),
        (refusal(Code::AlreadyExists, reason::ID_REUSED, None), "reused"),
        (Status::permission_denied("no"), "refused"),
    ];
    for (status, expected) in cases {
        let client = Fake::with([Step::Fail(status)]).serve_with(options).await;
        let kind = match client.submit(&deposit()).await.expect_err(expected) {
            SubmitError::Unavailable { .. } => "unavailable",
            SubmitError::Invalid { .. } => "invalid",
            SubmitError::NamespaceNotFound { .. } => "namespace",
            SubmitError::IdReused { .. } => "reused",
            SubmitError::TooOld { .. } => "too old",
            SubmitError::Refused { .. } => "refused",
        };
        assert_eq!(kind, expected);
    }
}

#[tokio::test]
async fn the_servers_wish_is_waited_for() {
    let asked = Duration::from_millis(300);
    let status = refusal(Code::ResourceExhausted, reason::OVERLOADED, Some(asked));
    let client = Fake::with([Step::Fail(status)]).serve().await;
    let start = std::time::Instant::now();
    client.submit(&deposit()).await.expect("an outcome");
    assert!(start.elapsed() >= asked);
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again_with_the_same_ids() {
    let fake = Fake::with([Step::Commit, Step::Commit, Step::Break, Step::Commit]);
    let client = fake.serve().await;
    let stream = client.stream(StreamOptions { window: 8, max_batch: 2 });
    let mut waiting = Vec::new();
    let mut ids = BTreeSet::new();
    for _ in 0..8 {
        let deposit = deposit();
        ids.insert(deposit.id());
        waiting.push((deposit.id(), stream.send(deposit).await));
    }
    for (id, answer) in waiting {
        let outcome = tokio::time::timeout(Duration::from_secs(10), answer).await;
        let outcome = outcome.expect("in time").expect("an outcome");
        assert!(outcome.is_committed() && outcome.locator().id == id);
    }
    let seen: BTreeSet<_> = fake.ids().into_iter().collect();
    assert_eq!(seen.len(), ids.len(), "no new id was drawn");
    assert!(fake.ids().len() > ids.len(), "what was in doubt was sent again");
}

#[tokio::test]
async fn a_streamed_refusal_is_retried_alone() {
    let fake = Fake::with([Step::Fail(overloaded())]);
    let client = fake.serve().await;
    let stream = client.stream(StreamOptions::default());
    assert!(stream.submit(deposit()).await.expect("an outcome").is_committed());
    let ids = fake.ids();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
}

#[tokio::test]
async fn the_window_holds_senders_up() {
    // Nothing is ever answered: the service breaks every stream.
    let fake = Fake::with(std::iter::repeat_n(Step::Break, 1_000));
    let stream = fake.serve().await.stream(StreamOptions { window: 2, max_batch: 2 });
    let _two = (stream.send(deposit()).await, stream.send(deposit()).await);
    let third = tokio::time::timeout(Duration::from_millis(100), stream.send(deposit())).await;
    assert!(third.is_err());
}

#[tokio::test]
async fn a_closure_is_run_again_with_a_new_id_only_after_a_conflict() {
    // One condition of its own, then the version: the version fails first, then everything holds.
    let fake = Fake::with([condition_failed(1), Step::Commit]);
    let client = fake.serve().await;
    let done = client
        .transact("bank", async |txn| {
            let row = txn.read_row("accounts", "alice").await?;
            txn.require("accounts", "bob", exists());
            txn.put("accounts", "alice", ("balance", row.integer("balance").unwrap_or(0) + 1));
            Ok::<_, ReadError>(())
        })
        .await
        .expect("it commits");
    assert_eq!(done.attempts, 2);
    let seen = fake.0.lock().expect("no panic").seen.clone();
    assert_ne!(seen[0].id, seen[1].id);
    let kinds: Vec<_> = seen[1].conditions.iter().map(|one| one.kind.clone()).collect();
    let version = v1::condition::Kind::RowVersion(vec![0u8; 16].into());
    assert_eq!(kinds, [Some(v1::condition::Kind::Exists(v1::Exists {})), Some(version)]);
}

#[tokio::test]
async fn a_condition_of_the_closures_own_ends_it() {
    let fake = Fake::with([condition_failed(0)]);
    let client = fake.serve().await;
    let ended = client
        .transact("bank", async |txn| {
            txn.read_row("accounts", "alice").await?;
            txn.require("accounts", "alice", column("balance").at_least(100));
            txn.put("accounts", "alice", ("balance", 0));
            Ok::<_, ReadError>(())
        })
        .await;
    let Err(TransactError::Aborted(aborted)) = ended else { panic!("{ended:?}") };
    assert!(matches!(aborted.reason, AbortReason::ConditionFailed(_)));
    assert_eq!(fake.ids().len(), 1);
}

#[tokio::test]
async fn a_closure_is_never_run_again_while_its_outcome_is_unknown() {
    let fake = Fake::with([Step::Fail(Status::unavailable("broke"))]);
    let options = Options { retry: RetryPolicy::NEVER, ..Options::default() };
    let client = fake.serve_with(options).await;
    let ended = client
        .transact("bank", async |txn| {
            txn.add("accounts", "alice", ("balance", 1));
            Ok::<_, ReadError>(())
        })
        .await;
    assert!(matches!(ended, Err(TransactError::Unknown(_))), "{ended:?}");
    assert_eq!(fake.ids().len(), 1);
}

#[tokio::test]
async fn contention_is_bounded() {
    let fake = Fake::with(std::iter::repeat_n(condition_failed(0), 100));
    let options = Options { max_attempts: 3, ..Options::default() };
    let client = fake.serve_with(options).await;
    let ended = client
        .transact("bank", async |txn| {
            txn.read_row("accounts", "alice").await?;
            txn.put("accounts", "alice", ("balance", 0));
            Ok::<_, ReadError>(())
        })
        .await;
    assert_eq!(ended, Err(TransactError::Contended { attempts: 3 }));
    assert_eq!(fake.ids().len(), 3);
}

#[tokio::test]
async fn a_row_seen_in_two_versions_runs_the_closure_again_without_a_submission() {
    let fake = Fake::default();
    fake.0.lock().expect("no panic").versions = VecDeque::from([1, 2, 3, 3]);
    let client = fake.serve().await;
    let done = client
        .transact("bank", async |txn| {
            txn.read_row("accounts", "alice").await?;
            txn.read_row("accounts", "alice").await?;
            txn.put("accounts", "alice", ("balance", 0));
            Ok::<_, ReadError>(())
        })
        .await
        .expect("it commits");
    assert_eq!((done.attempts, fake.ids().len()), (2, 1));
}

#[tokio::test]
async fn one_read_alone_commits_nothing_but_two_are_checked() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let one = client.transact("bank", async |txn| txn.read_row("accounts", "alice").await).await;
    assert!(one.expect("it is done").committed.is_none());
    let two = client
        .transact("bank", async |txn| {
            txn.read_row("accounts", "alice").await?;
            txn.read_row("accounts", "bob").await
        })
        .await;
    assert!(two.expect("it commits").committed.is_some());
    assert_eq!(fake.ids().len(), 1);
}

#[tokio::test]
async fn questions_fail_with_what_to_do() {
    let client = Fake::default().serve().await;
    let locator = Locator::new("bank", deposit().id());
    let error = client.outcome(&locator).await.expect_err("forgotten");
    assert!(matches!(error, handfast_client::OutcomeError::TooOld { .. }), "{error:?}");
    let error = client.explain(&locator).await.expect_err("nothing is left");
    assert!(matches!(error, handfast_client::ExplainError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn connecting_says_what_is_wrong() {
    use handfast_client::ConnectError;
    let none = Client::connect(Vec::<String>::new()).await.expect_err("no endpoint");
    assert_eq!(none, ConnectError::NoEndpoint);
    let bad = Client::connect(["127.0.0.1:1"]).await.expect_err("no scheme");
    assert!(matches!(bad, ConnectError::BadEndpoint { .. }), "{bad}");
    let gone = Client::connect(["http://127.0.0.1:1"]).await.expect_err("nobody listens");
    assert!(matches!(gone, ConnectError::Unreachable { .. }), "{gone}");
}
