//! `SubmitStream`: submissions in, answers out, both in batches.
//!
//! ```text
//! client ──submissions──▶ on_submissions ──calls──▶ engine
//!                              │ (refused)            │
//! client ◀──answers── out ◀────┴──── Inbox ◀──────────┘
//! ```
//!
//! One task owns a stream. While too many submissions are in flight, or the client does not take its
//! answers, it stops reading, and HTTP/2's flow control holds the client up.

use std::sync::Arc;
use std::time::Duration;

use handfast_proto::v1::streamed_answer::Result as Streamed;
use handfast_proto::v1::{
    self, StreamedAnswer, StreamedSubmission, SubmitStreamRequest, SubmitStreamResponse,
};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Status, Streaming};
use wal_core::Transaction;
use wal_core::namespace::Namespace;

use super::calls::Inbox;
use super::connections::until;
use super::errors::ServiceError;
use super::outcome;
use super::shared::Shared;
use super::submission::{NamespaceCache, Submission};
use super::tenants::{Share, Taken};
use super::wait::requested;
use crate::api::{Call, CallAnswer};

/// Response messages that may wait for the client to take them.
const RESPONSES_QUEUED: usize = 4;
/// Deadlines are looked at no more often than this.
const DEADLINE_RESOLUTION: Duration = Duration::from_millis(10);

/// What a stream sends back.
pub(super) type Responses = mpsc::Receiver<Result<SubmitStreamResponse, Status>>;
type Sender = mpsc::Sender<Result<SubmitStreamResponse, Status>>;

/// A submission that the engine has.
struct InFlight {
    /// The client's name for it.
    tag: u64,
    /// The engine's.
    call: u64,
    deadline: Instant,
    namespace: Arc<Namespace>,
    txn: Arc<Transaction>,
    _taken: Taken,
}

/// Submissions to one namespace on their way to the engine.
#[derive(Default)]
struct Group {
    namespace: Option<Arc<Namespace>>,
    members: Vec<(u64, InFlight)>,
    calls: Vec<(Call, u64)>,
}

/// Owns one stream.
struct StreamTask {
    shared: Arc<Shared>,
    /// Of the streams; that of the namespace of its first submission.
    share: Option<Share>,
    inbox: Arc<Inbox>,
    /// By a number of our own: the client's tags need not be unique for us to be right.
    in_flight: FxHashMap<u64, InFlight>,
    next: u64,
    /// No deadline of a submission in flight is sooner.
    soonest: Instant,
}

/// Starts a stream, which ends when its connection does; its answers come out of the receiver.
pub(super) fn start(
    shared: Arc<Shared>,
    inbound: Streaming<SubmitStreamRequest>,
    ends: Option<Instant>,
) -> Result<Responses, ServiceError> {
    let permit = shared.enter_stream()?;
    let (out, responses) = mpsc::channel(RESPONSES_QUEUED);
    let task = StreamTask {
        shared,
        share: None,
        inbox: Arc::default(),
        in_flight: FxHashMap::default(),
        next: 0,
        soonest: Instant::now(),
    };
    tokio::spawn(async move {
        task.run(inbound, out, ends).await;
        drop(permit);
    });
    Ok(responses)
}

impl StreamTask {
    /// Until the client has closed its side and has every answer, the client is gone, or the server stops or
    /// the connection ends: then what is in flight is answered, and the end of the stream says why.
    async fn run(
        mut self,
        mut inbound: Streaming<SubmitStreamRequest>,
        out: Sender,
        ends: Option<Instant>,
    ) {
        self.shared.metrics.streams.increment(1);
        let mut draining = self.shared.draining.clone();
        let mut arrived = Vec::new();
        let (mut reading, mut aged) = (true, false);
        while reading || !self.in_flight.is_empty() {
            let room = self.in_flight.len() < self.shared.limits.max_stream_in_flight;
            let answers = tokio::select! {
                biased;
                () = out.closed() => break,
                () = self.inbox.arrived() => {
                    self.inbox.take(&mut arrived);
                    arrived.drain(..).filter_map(|(tag, answer)| self.on_answer(tag, answer)).collect()
                }
                () = tokio::time::sleep_until(self.soonest), if !self.in_flight.is_empty() => {
                    self.on_deadline(Instant::now())
                }
                () = draining.begun(), if reading => {
                    reading = false;
                    Vec::new()
                }
                () = until(ends), if reading => {
                    (reading, aged) = (false, true);
                    Vec::new()
                }
                message = inbound.message(), if reading && room => match message {
                    Ok(Some(message)) => match self.on_submissions(message) {
                        Ok(answers) => answers,
                        Err(error) => {
                            self.shared.metrics.refused(&error);
                            let _ = out.send(Err(error.into())).await;
                            break;
                        }
                    },
                    Ok(None) => {
                        reading = false;
                        Vec::new()
                    }
                    Err(_) => break, // the client is gone
                }
            };
            if !answers.is_empty() && out.send(Ok(SubmitStreamResponse { answers })).await.is_err()
            {
                break;
            }
        }
        if self.shared.draining.has_begun() {
            let _ = out.send(Err(ServiceError::ShuttingDown.into())).await;
        } else if aged {
            let _ = out.send(Err(ServiceError::ConnectionAged.into())).await;
        }
    }

    /// Hands a message's submissions to the engine; returns the answers of those that it did not take.
    fn on_submissions(
        &mut self,
        message: SubmitStreamRequest,
    ) -> Result<Vec<StreamedAnswer>, ServiceError> {
        let most = self.shared.limits.max_stream_batch;
        if message.submissions.len() > most {
            let got = message.submissions.len();
            return Err(ServiceError::invalid(
                "submissions",
                format!("at most {most} in one message, got {got}; send more messages"),
            ));
        }
        let now = Instant::now();
        let mut refused = Vec::new();
        let mut group = Group::default();
        let mut cache = NamespaceCache::default();
        for mut streamed in message.submissions {
            self.count_stream(&mut cache, streamed.transaction.as_ref())?;
            let checked = Submission::check(
                &self.shared,
                &mut cache,
                streamed.transaction.take(),
                streamed.level,
            );
            match checked {
                Ok(submission) => self.join(&mut group, submission, &streamed, now, &mut refused),
                Err(error) => refused.push(self.refusal(streamed.tag, &error)),
            }
        }
        self.hand_over(&mut group, &mut refused);
        Ok(refused)
    }

    /// Counts the stream as one of the namespace that is named first, and is served. Fails if that has its
    /// part of all streams: then this one ends, before anything of it has reached an engine.
    fn count_stream(
        &mut self,
        cache: &mut NamespaceCache,
        named: Option<&v1::Transaction>,
    ) -> Result<(), ServiceError> {
        if self.share.is_none()
            && let Some(named) = named
            && let Ok((namespace, _)) = cache.get(&self.shared, &named.namespace)
        {
            self.share = Some(self.shared.share_stream(namespace)?);
        }
        Ok(())
    }

    /// Adds a submission to the group, after handing the group over if it is of another namespace.
    fn join(
        &mut self,
        group: &mut Group,
        submission: Submission,
        streamed: &StreamedSubmission,
        now: Instant,
        refused: &mut Vec<StreamedAnswer>,
    ) {
        let Submission { namespace, txn, level, taken } = submission;
        if group.namespace.as_ref().is_some_and(|current| !Arc::ptr_eq(current, &namespace)) {
            self.hand_over(group, refused);
        }
        let number = self.next;
        self.next += 1;
        group.calls.push((Call::Submit { txn: Arc::clone(&txn), level }, number));
        let deadline = now + requested(&namespace, streamed.wait_ms);
        let namespace = group.namespace.get_or_insert(namespace).clone();
        let tag = streamed.tag;
        let member = InFlight { tag, call: 0, deadline, namespace, txn, _taken: taken };
        group.members.push((number, member));
    }

    /// Gives a group to its engine, all or none.
    fn hand_over(&mut self, group: &mut Group, refused: &mut Vec<StreamedAnswer>) {
        let Group { namespace: Some(namespace), members, calls } = std::mem::take(group) else {
            return;
        };
        match self.shared.backend.call(&namespace, calls, self.inbox.clone()) {
            Ok(first) => {
                self.shared.metrics.stream_in_flight.increment(members.len() as f64);
                for (call, (number, mut member)) in (first..).zip(members) {
                    member.call = call;
                    if self.in_flight.is_empty() || member.deadline < self.soonest {
                        self.soonest = member.deadline;
                    }
                    self.in_flight.insert(number, member);
                }
            }
            Err(error) => {
                let error = ServiceError::from(error);
                refused.extend(members.iter().map(|(_, member)| self.refusal(member.tag, &error)));
            }
        }
    }

    fn refusal(&self, tag: u64, error: &ServiceError) -> StreamedAnswer {
        self.shared.metrics.refused(error);
        StreamedAnswer { tag, result: Some(Streamed::Error(error.to_rpc_status())) }
    }

    /// The engine answered, or never will; `None` if the wait had ended before.
    fn on_answer(&mut self, number: u64, answer: Option<CallAnswer>) -> Option<StreamedAnswer> {
        let InFlight { tag, namespace, txn, .. } = self.in_flight.remove(&number)?;
        self.shared.metrics.stream_in_flight.decrement(1.0);
        match outcome::of_submission(&self.shared.metrics, &namespace, &txn, answer) {
            Ok(outcome) => Some(StreamedAnswer { tag, result: Some(Streamed::Outcome(outcome)) }),
            Err(error) => Some(self.refusal(tag, &error)),
        }
    }

    /// Answers unknown for everything whose wait has ended.
    fn on_deadline(&mut self, now: Instant) -> Vec<StreamedAnswer> {
        let mut over = Vec::new();
        let mut soonest = None;
        for (number, member) in &self.in_flight {
            if member.deadline <= now {
                over.push(*number);
            } else if soonest.is_none_or(|soonest| member.deadline < soonest) {
                soonest = Some(member.deadline);
            }
        }
        self.soonest = soonest.unwrap_or(now).max(now + DEADLINE_RESOLUTION);
        over.sort_unstable();
        let mut answers = Vec::with_capacity(over.len());
        for member in over.iter().filter_map(|number| self.in_flight.remove(number)) {
            self.shared.metrics.stream_in_flight.decrement(1.0);
            self.shared.metrics.wait_ended();
            self.shared.backend.forget(&member.namespace, member.call);
            let outcome = outcome::unknown(&member.namespace, &member.txn);
            answers
                .push(StreamedAnswer { tag: member.tag, result: Some(Streamed::Outcome(outcome)) });
        }
        answers
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        self.shared.metrics.streams.decrement(1);
        self.shared.metrics.stream_in_flight.decrement(self.in_flight.len() as f64);
        for member in self.in_flight.values() {
            self.shared.backend.forget(&member.namespace, member.call);
        }
    }
}
