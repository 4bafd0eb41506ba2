//! Many submissions over one stream, in batches.
//!
//! ```text
//! submit ──▶ window ──▶ jobs ──▶ Driver ──batches──▶ server
//!    ▲                             │ ▲
//!    └────────── answers ──────────┘ └──answers───── server
//! ```
//!
//! One task drives a stream. When it breaks, whatever has no answer is sent again on a new one, under
//! the same ids, for as long as the retry policy allows.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use handfast_proto::v1;
use handfast_proto::v1::streamed_answer::Result as Streamed;
use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::client::{Client, GivenUp};
use crate::errors::SubmitError;
use crate::failure::{Failure, Meaning};
use crate::outcome::Outcome;
use crate::submit::{self, outcome};
use crate::transaction::Transaction;

/// Request messages that may wait for the server to read them. Few: what waits here cannot be batched.
const MESSAGES_QUEUED: usize = 2;

/// Bounds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Submissions without an answer; beyond it `send` waits. At least 1.
    pub window: usize,
    /// Submissions of one message: 1 to 1,024.
    pub max_batch: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { window: 1_024, max_batch: 512 }
    }
}

type Answer = Result<Outcome, SubmitError>;

/// A submission on its way.
struct Job {
    transaction: Transaction,
    answer: oneshot::Sender<Answer>,
    /// Its place in the window, given back with the answer.
    _room: OwnedSemaphorePermit,
    since: Instant,
    tries: u32,
    in_doubt: bool,
}

impl Job {
    fn give_up(self, failure: Failure) {
        let given_up = GivenUp { failure, in_doubt: self.in_doubt };
        let answer = submit::given_up(given_up, || self.transaction.locator());
        let _ = self.answer.send(answer); // nobody may be waiting
    }
}

/// A stream of submissions. Cheap to clone; it ends when the last clone is gone and every answer is in.
#[derive(Clone, Debug)]
pub struct SubmitStream {
    jobs: mpsc::Sender<Job>,
    window: Arc<Semaphore>,
}

/// The answer to a submission, to be waited for. Dropping it does not cancel the transaction.
#[derive(Debug)]
#[must_use = "the outcome is in here"]
pub struct Submitted {
    answer: oneshot::Receiver<Answer>,
}

impl Future for Submitted {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let gone =
            |_| SubmitError::Unavailable { message: "the stream's task was ended".to_owned() };
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.map_err(gone).flatten())
    }
}

impl SubmitStream {
    /// Sends a transaction, waiting for room in the window; the answer is waited for apart.
    pub async fn send(&self, transaction: Transaction) -> Submitted {
        let room = Arc::clone(&self.window).acquire_owned().await;
        let room = room.expect("the window is never closed");
        let (sender, answer) = oneshot::channel();
        let job = Job {
            transaction,
            answer: sender,
            _room: room,
            since: Instant::now(),
            tries: 0,
            in_doubt: false,
        };
        // If the task is gone the sender is dropped with the job, and the answer says so.
        let _ = self.jobs.send(job).await;
        Submitted { answer }
    }

    /// Sends a transaction and waits for its outcome, as [`Client::submit`] does.
    pub async fn submit(&self, transaction: Transaction) -> Answer {
        self.send(transaction).await.await
    }
}

impl Client {
    /// Opens a stream of submissions. It connects when the first is sent.
    pub fn stream(&self, options: StreamOptions) -> SubmitStream {
        let window = options.window.max(1);
        let (jobs, queue) = mpsc::channel(window);
        let driver = Driver {
            client: self.clone(),
            max_batch: options.max_batch.clamp(1, 1_024),
            queue,
            pending: FxHashMap::default(),
            outgoing: Vec::new(),
            later: BTreeMap::new(),
            next: 0,
            elsewhere: false,
        };
        tokio::spawn(driver.run());
        SubmitStream { jobs, window: Arc::new(Semaphore::new(window)) }
    }
}

/// Why a stream is over.
enum Over {
    /// Every sender is gone and every answer is in.
    Done,
    /// It broke.
    Broken(Failure),
}

struct Driver {
    client: Client,
    max_batch: usize,
    queue: mpsc::Receiver<Job>,
    /// By tag; tags are never used again.
    pending: FxHashMap<u64, Job>,
    /// Tags to be sent now, in order.
    outgoing: Vec<u64>,
    /// Tags to be sent again, by when.
    later: BTreeMap<(Instant, u64), ()>,
    next: u64,
    /// Set by an answer that another server would not give.
    elsewhere: bool,
}

impl Driver {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            if self.pending.is_empty() {
                match self.queue.recv().await {
                    Some(job) => self.take(job),
                    None => return,
                }
            }
            let answered = self.next;
            match self.one_stream(&mut failures).await {
                Over::Done => return,
                Over::Broken(failure) => {
                    tracing::debug!(answered, failures, reason = failure.message, "stream broke");
                    let pause = self.client.options.retry.pause(failures, failure.retry_after);
                    self.on_broken(&failure);
                    self.client.servers.turn();
                    failures += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Opens a stream and drives it until it is over. `failures` is set to 0 by the first answer.
    async fn one_stream(&mut self, failures: &mut u32) -> Over {
        let (out, messages) = mpsc::channel(MESSAGES_QUEUED);
        // The response's headers may come only with the first answer: send meanwhile.
        let mut data = self.client.servers.data();
        let opening = data.submit_stream(ReceiverStream::new(messages));
        tokio::pin!(opening);
        let mut inbound: Option<Streaming<v1::SubmitStreamResponse>> = None;
        let mut jobs = Vec::new();
        let mut open = true;
        loop {
            if self.pending.is_empty() && !open {
                return Over::Done;
            }
            let due = self.later.first_key_value().map(|((at, _), ())| *at);
            tokio::select! {
                biased;
                opened = &mut opening, if inbound.is_none() => match opened {
                    Ok(response) => inbound = Some(response.into_inner()),
                    Err(status) => return Over::Broken(status.into()),
                },
                message = next(&mut inbound) => match message {
                    Ok(Some(message)) => {
                        *failures = 0;
                        message.answers.into_iter().for_each(|answer| self.on_answer(answer));
                        if std::mem::take(&mut self.elsewhere) {
                            return Over::Broken(Failure::cut_off("another server is asked"));
                        }
                    }
                    Ok(None) => return Over::Broken(Failure::malformed("the stream ended early")),
                    Err(status) => return Over::Broken(status.into()),
                },
                () = sleep_until(due) => self.send_what_is_due(Instant::now()),
                taken = self.queue.recv_many(&mut jobs, self.max_batch),
                    if open && self.outgoing.len() < self.max_batch => {
                    open = taken > 0;
                    jobs.drain(..).for_each(|job| self.take(job));
                }
                permit = out.reserve(), if !self.outgoing.is_empty() => match permit {
                    Ok(permit) => permit.send(self.batch()),
                    // The transport dropped the stream; its own end says why.
                    Err(_) if inbound.is_some() => self.outgoing.clear(),
                    Err(_) => return Over::Broken(Failure::cut_off("the stream was cut off")),
                },
            }
        }
    }

    fn take(&mut self, job: Job) {
        let tag = self.next;
        self.next += 1;
        self.pending.insert(tag, job);
        self.outgoing.push(tag);
    }

    /// The next message.
    fn batch(&mut self) -> v1::SubmitStreamRequest {
        let options = self.client.options;
        let count = self.outgoing.len().min(self.max_batch);
        let pending = &self.pending;
        let submission = |tag: u64| {
            let job = pending.get(&tag)?;
            Some(v1::StreamedSubmission {
                tag,
                transaction: Some(job.transaction.wire.clone()),
                level: v1::Level::from(options.level).into(),
                wait_ms: options.wait_ms(),
            })
        };
        let submissions = self.outgoing.drain(..count).filter_map(submission).collect();
        v1::SubmitStreamRequest { submissions }
    }

    fn on_answer(&mut self, answer: v1::StreamedAnswer) {
        let Some(mut job) = self.pending.remove(&answer.tag) else {
            return; // an answer nobody asked for
        };
        let failure = match answer.result {
            Some(Streamed::Outcome(wire)) => {
                let outcome = outcome(Some(wire), || job.transaction.locator());
                let _ = job.answer.send(Ok(outcome)); // nobody may be waiting
                return;
            }
            Some(Streamed::Error(error)) => Failure::of_answer(error),
            None => Failure::malformed("an answer has no result"),
        };
        job.in_doubt |= failure.meaning == Meaning::InDoubt;
        let retry = self.client.options.retry;
        let pause = retry.pause(job.tries, failure.retry_after);
        if failure.meaning == Meaning::Final || job.since.elapsed() + pause > retry.give_up_after {
            job.give_up(failure);
            return;
        }
        self.elsewhere |= failure.is_of_this_server();
        job.tries += 1;
        self.later.insert((Instant::now() + pause, answer.tag), ());
        self.pending.insert(answer.tag, job);
    }

    fn send_what_is_due(&mut self, now: Instant) {
        let not_due = self.later.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut self.later, not_due);
        self.outgoing.extend(due.into_keys().map(|(_, tag)| tag));
    }

    /// Everything without an answer will be sent again, in the old order, unless its time is up.
    fn on_broken(&mut self, failure: &Failure) {
        let give_up_after = self.client.options.retry.give_up_after;
        let over =
            |job: &Job| failure.meaning == Meaning::Final || job.since.elapsed() > give_up_after;
        let mut tags: Vec<u64> = self.pending.keys().copied().collect();
        tags.sort_unstable();
        self.later.clear();
        self.outgoing.clear();
        for tag in tags {
            let job = self.pending.get_mut(&tag).expect("its tag was just listed");
            job.in_doubt |= failure.meaning != Meaning::NotDone;
            if over(job) {
                let job = self.pending.remove(&tag).expect("its tag was just listed");
                job.give_up(failure.clone());
            } else {
                self.outgoing.push(tag);
            }
        }
    }
}

/// The next message of a stream that may not be open yet.
async fn next(
    inbound: &mut Option<Streaming<v1::SubmitStreamResponse>>,
) -> Result<Option<v1::SubmitStreamResponse>, tonic::Status> {
    match inbound {
        Some(inbound) => inbound.message().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
