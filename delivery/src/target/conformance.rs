//! One suite for every [`Target`]: it checks the numbered clauses of [`super`] against what really arrives.
//!
//! A target's own tests add what only they can do: every status, garbage, brokers that die.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use wal_core::message::Message;
use wal_core::{Millis, ShardId, Timestamp, TxnId};

use super::{Later, Target};
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::{Name, Outgoing};

/// Nothing takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries of the suite's own.
const PAUSE: Duration = Duration::from_millis(50);
const SHARD: ShardId = ShardId(7);
const NAMESPACE: &str = "conformance";

/// A message as it arrived, in the words of [`Outgoing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The [`Name`] as text.
    pub name: String,
    /// Of which namespace.
    pub namespace: String,
    /// The shard's number, as text.
    pub shard: String,
    /// When it committed, microseconds since the Unix epoch, as text.
    pub timestamp_us: String,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// What the content is.
    pub content_type: String,
    /// The message's own headers, as they came: none of the target's, none of the protocol's.
    pub headers: Vec<(String, Bytes)>,
    /// The payload.
    pub payload: Bytes,
}

/// What the other side does with the tries that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes them.
    Takes,
    /// It is away as a whole: nobody is there, or it refuses everything for now.
    Away,
    /// It lets them come, and never answers.
    Hangs,
}

/// A target under test with its other side, and what can be asked of that. New, and nothing has arrived.
pub trait Bench: Sync {
    /// The target, with a time-out of a few seconds.
    fn target(&self) -> &dyn Target;

    /// Waits until something has arrived that was not told yet, and tells it, in its order.
    fn arrived(&self) -> Later<'_, Vec<Arrival>>;

    /// From now on the other side is so.
    fn turn(&self, mood: Mood) -> Later<'_, ()>;

    /// Waits until a try hangs on the other side, as far as that can be seen.
    fn hangs(&self) -> Later<'_, ()>;

    /// `Some` resolves once the other side has seen the end of a try that hung there, which then is never
    /// taken. `None`: the protocol cannot tell it, and what was dropped may still arrive.
    fn ended(&self) -> Option<Later<'_, ()>>;

    /// A message that the other side will never take, and takes all others meanwhile.
    fn unacceptable(&self) -> Message;

    /// What no failure may repeat, in full or in part: passwords, tokens.
    fn secrets(&self) -> Vec<String>;

    /// What arrives for an empty content type.
    fn empty_content_type(&self) -> &str {
        ""
    }

    /// Whether the target has a place for the key and the payload only, and needs a key. Then names are keys here,
    /// nothing else of a message is compared, and repeats need not be told from one another.
    fn has_keys_and_payloads_only(&self) -> bool {
        false
    }

    /// Whether it goes with a message where it is from: namespace, shard, time. If not, these are not compared.
    fn has_a_place_for_origins(&self) -> bool {
        true
    }

    /// Whether names of headers have no case, and only the values of one name have an order, as in HTTP.
    fn headers_are_as_in_http(&self) -> bool {
        false
    }
}

/// One run of the suite.
struct Run<'a> {
    bench: &'a dyn Bench,
    next: AtomicU16,
    arrivals: Vec<Arrival>,
    failures: Vec<Failure>,
}

/// Checks every clause.
///
/// # Panics
/// If one does not hold.
pub async fn run(bench: &dyn Bench) {
    let mut run =
        Run { bench, next: AtomicU16::new(0), arrivals: Vec::new(), failures: Vec::new() };
    bench.turn(Mood::Takes).await;
    run.clause_5_payloads_arrive_as_they_are().await;
    if !bench.has_keys_and_payloads_only() {
        run.clause_5_no_key_is_not_an_empty_key().await;
        run.clause_5_content_types_arrive_or_are_refused().await;
        run.clause_5_headers_keep_order_and_repeats().await;
        run.clause_5_odd_headers_arrive_or_are_refused().await;
    }
    run.clause_3_every_try_has_the_name().await;
    run.clause_1_many_at_once_all_arrive().await;
    run.clause_2_what_is_never_taken_is_permanent().await;
    run.clauses_1_and_2_a_target_that_is_away_is_overloaded().await;
    run.clauses_1_and_2_no_answer_is_a_failure_that_passes().await;
    run.clause_4_what_was_never_polled_is_never_sent().await;
    run.clause_4_a_dropped_future_ends_its_try().await;
    run.clause_6_no_failure_tells_a_secret();
}

impl Run<'_> {
    /// A message under a name of its own.
    fn outgoing(&self, mut message: Message) -> Outgoing {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = TxnId::from_parts(Millis(1_700_000_000_000), u128::from(number / 3));
        let name = Name { id, index: number % 3 };
        if self.bench.has_keys_and_payloads_only() {
            message.key = Some(name.to_string().into());
        }
        Outgoing {
            namespace: NAMESPACE.into(),
            shard: SHARD,
            name,
            timestamp: Timestamp(1_700_000_000_123_457 + i64::from(number) * 8),
            message: Arc::new(message),
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Answer {
        let answer = within("an answer", self.bench.target().send(outgoing.clone())).await;
        if let Answer::Failed(failure) = &answer {
            self.failures.push(failure.clone());
        }
        answer
    }

    /// Sends until it is delivered, or refused for good: a target may need a moment to find its other side
    /// again, and a machine may be slow.
    async fn settle(&mut self, outgoing: &Outgoing) -> Result<(), Failure> {
        let trying = async {
            loop {
                match self.send(outgoing).await {
                    Answer::Delivered => return Ok(()),
                    Answer::Failed(failure) if failure.class == ErrorClass::Permanent => {
                        return Err(failure);
                    }
                    Answer::Failed(failure) => assert_passes(&failure),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within("an answer that lasts", trying).await
    }

    async fn deliver(&mut self, outgoing: &Outgoing) {
        if let Err(failure) = self.settle(outgoing).await {
            panic!("nothing is wrong with {outgoing:?}: {failure:?}");
        }
    }

    async fn gather(&mut self) {
        let more = within("something that arrives", self.bench.arrived()).await;
        self.arrivals.extend(more);
    }

    fn all_of(&self, outgoing: &Outgoing) -> Vec<Arrival> {
        let name = outgoing.name.to_string();
        self.arrivals.iter().filter(|arrival| arrival.name == name).cloned().collect()
    }

    /// Waits until so many of a message have arrived; all of them are as they should be.
    async fn await_arrivals(&mut self, outgoing: &Outgoing, count: usize) {
        while self.all_of(outgoing).len() < count {
            self.gather().await;
        }
        for arrival in self.all_of(outgoing) {
            self.assert_same(outgoing, &arrival);
        }
    }

    /// Delivers a message, which then has arrived as it is.
    async fn deliver_and_compare(&mut self, message: Message) {
        let outgoing = self.outgoing(message);
        self.deliver(&outgoing).await;
        self.await_arrivals(&outgoing, 1).await;
    }

    fn assert_same(&self, outgoing: &Outgoing, arrival: &Arrival) {
        let message = &outgoing.message;
        assert_eq!(arrival.payload, message.payload, "the payload of {}", arrival.name);
        assert_eq!(arrival.key, message.key, "the key of {}", arrival.name);
        if self.bench.has_keys_and_payloads_only() {
            return;
        }
        let content_type = match message.content_type.as_str() {
            "" => self.bench.empty_content_type(),
            given => given,
        };
        assert_eq!(arrival.content_type, content_type, "the content type of {}", arrival.name);
        assert_eq!(
            self.comparable(&arrival.headers),
            self.comparable(&message.headers),
            "the headers of {}",
            arrival.name
        );
        if !self.bench.has_a_place_for_origins() {
            return;
        }
        let told = (&*arrival.namespace, arrival.shard.clone(), arrival.timestamp_us.clone());
        let (shard, timestamp_us) =
            (outgoing.shard.0.to_string(), outgoing.timestamp.0.to_string());
        assert_eq!(
            told,
            (&*outgoing.namespace, shard, timestamp_us),
            "where it is from (clause 5)"
        );
    }

    /// Headers with as much order and case as the target's protocol has.
    fn comparable(&self, headers: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
        if !self.bench.headers_are_as_in_http() {
            return headers.to_vec();
        }
        let mut by_name: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
        for (name, value) in headers {
            by_name.entry(name.to_ascii_lowercase()).or_default().push(value.clone());
        }
        let all = by_name.into_iter();
        all.flat_map(|(name, values)| values.into_iter().map(move |it| (name.clone(), it)))
            .collect()
    }

    async fn clause_5_payloads_arrive_as_they_are(&mut self) {
        let every_byte: Vec<u8> = (0..=255).collect();
        // Neither text nor anything that compresses.
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let payloads = [
            Vec::new(),
            vec![0],
            vec![255],
            b"\r\n\r\n0\r\n\r\n".to_vec(),
            every_byte,
            noise.take(1 << 20).collect(),
        ];
        for payload in payloads {
            let message = Message { payload: payload.into(), ..Message::default() };
            self.deliver_and_compare(message).await;
        }
    }

    async fn clause_5_no_key_is_not_an_empty_key(&mut self) {
        let every_byte: Bytes = (0..=255).collect();
        let plain = [&b""[..], b"order-7", b"100% a+b/c", "\u{e9}".as_bytes(), b" ", b"%41"];
        let keys = plain.map(Bytes::from_static).into_iter().chain([every_byte]).map(Some);
        for key in [None].into_iter().chain(keys) {
            let payload = Bytes::from_static(b"{}");
            self.deliver_and_compare(Message { key, payload, ..Message::default() }).await;
        }
    }

    async fn clause_5_content_types_arrive_or_are_refused(&mut self) {
        for fine in ["", "application/json", "text/plain; charset=\"utf-8\""] {
            let content_type = fine.to_owned();
            self.deliver_and_compare(Message { content_type, ..Message::default() }).await;
        }
        for odd in ["\u{fc}/\u{20ac}", "a/b\r\nx-injected: 1", " a/b ", "\0"] {
            let message = Message { content_type: odd.to_owned(), ..Message::default() };
            self.arrives_or_is_refused(message, "content-type").await;
        }
    }

    async fn clause_5_headers_keep_order_and_repeats(&mut self) {
        let every = (0x20..=0x7e).chain(0x80..=0xff).collect::<Vec<u8>>();
        let printable = [b"|", &every[..], b"|"].concat();
        let headers = [
            ("x-b", &b"2"[..]),
            ("x-a", b"1"),
            ("x-b", b"1"),
            ("x-empty", b""),
            ("x-b", b"2"),
            ("x-list", b"a, b,c"),
            ("x-bytes", &printable),
            ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value)));
        let payload = Bytes::from_static(b"{}");
        let message = Message { headers: headers.to_vec(), payload, ..Message::default() };
        self.deliver_and_compare(message).await;
        let many = (0..wal_core::message::MAX_HEADERS)
            .map(|number| (format!("x-{}", number % 40), number.to_string().into()));
        self.deliver_and_compare(Message { headers: many.collect(), ..Message::default() }).await;
    }

    async fn clause_5_odd_headers_arrive_or_are_refused(&mut self) {
        const NAMES: [&str; 22] = [
            "",
            "X-Upper",
            "with space",
            "with:colon",
            "with\nline",
            "with\0zero",
            "\u{fc}mlaut",
            "host",
            "Connection",
            "content-length",
            "content-type",
            "transfer-encoding",
            "te",
            "expect",
            "upgrade",
            "authorization",
            "idempotency-key",
            "Idempotency-Key",
            "handfast-id",
            "handfast-key",
            "handfast-shard",
            "handfast-anything",
        ];
        for name in NAMES {
            let headers = vec![(name.to_owned(), Bytes::from_static(b"7"))];
            self.arrives_or_is_refused(Message { headers, ..Message::default() }, name).await;
        }
        for value in [&b"a\r\nx-injected: 1"[..], b"a\nb", b"\0", b" a", b"a\t", b"\x7f", b" "] {
            let headers = vec![("x-odd".to_owned(), Bytes::from_static(value))];
            self.arrives_or_is_refused(Message { headers, ..Message::default() }, "x-odd").await;
        }
    }

    /// Either it arrives as it is, or it is refused for good and the failure names what is wrong.
    async fn arrives_or_is_refused(&mut self, message: Message, what: &str) {
        let outgoing = self.outgoing(message);
        match self.settle(&outgoing).await {
            Ok(()) => self.await_arrivals(&outgoing, 1).await,
            Err(Failure { text, .. }) => {
                let quoted = format!("{what:?}");
                assert!(text.contains(what) || text.contains(&quoted), "{what:?} in {text:?}");
                assert!(self.all_of(&outgoing).is_empty(), "it was refused, and arrived: {what:?}");
            }
        }
    }

    async fn clause_3_every_try_has_the_name(&mut self) {
        let outgoing = self.outgoing(Message { payload: "again".into(), ..Message::default() });
        for _ in 0..3 {
            self.deliver(&outgoing).await;
        }
        // A target that recognises repeats by itself may keep one.
        self.await_arrivals(&outgoing, 1).await;
        let mark = self.outgoing(Message::default());
        self.deliver(&mark).await;
        self.await_arrivals(&mark, 1).await;
        let count = self.all_of(&outgoing).len();
        assert!((1..=3).contains(&count), "three tries arrived {count} times");
    }

    async fn clause_1_many_at_once_all_arrive(&mut self) {
        let outgoing: Vec<Outgoing> = (0..100_usize)
            .map(|number| {
                let key = (number % 2 == 0).then(|| Bytes::from(format!("key-{}", number % 10)));
                let payload = Bytes::from(number.to_string().repeat(number * 10));
                self.outgoing(Message { key, payload, ..Message::default() })
            })
            .collect();
        let target = self.bench.target();
        let mut sending: Vec<_> =
            outgoing.iter().map(|outgoing| target.send(outgoing.clone())).collect();
        let mut answers: Vec<Option<Answer>> = vec![None; sending.len()];
        let all = std::future::poll_fn(|context| {
            for (future, answer) in sending.iter_mut().zip(&mut answers) {
                if answer.is_none()
                    && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
                {
                    *answer = Some(ready);
                }
            }
            match answers.iter().all(Option::is_some) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        });
        within("a hundred answers", all).await;
        drop(sending);
        for (outgoing, answer) in outgoing.iter().zip(answers) {
            if answer != Some(Answer::Delivered) {
                self.deliver(outgoing).await;
            }
            self.await_arrivals(outgoing, 1).await;
        }
    }

    async fn clause_2_what_is_never_taken_is_permanent(&mut self) {
        let refused = self.outgoing(self.bench.unacceptable());
        for _ in 0..2 {
            assert!(self.settle(&refused).await.is_err(), "the target will never take it");
        }
        self.deliver_and_compare(Message::default()).await;
        assert!(self.all_of(&refused).is_empty(), "it was refused, and arrived");
    }

    async fn clauses_1_and_2_a_target_that_is_away_is_overloaded(&mut self) {
        self.bench.turn(Mood::Away).await;
        let outgoing = self.outgoing(Message { payload: "away".into(), ..Message::default() });
        match self.send(&outgoing).await {
            Answer::Failed(Failure { class: ErrorClass::Overloaded { .. }, .. }) => {}
            other => panic!("the target is away as a whole: {other:?}"),
        }
        self.bench.turn(Mood::Takes).await;
        self.deliver(&outgoing).await;
        self.await_arrivals(&outgoing, 1).await;
    }

    async fn clauses_1_and_2_no_answer_is_a_failure_that_passes(&mut self) {
        self.bench.turn(Mood::Hangs).await;
        let outgoing = self.outgoing(Message { payload: "hangs".into(), ..Message::default() });
        match self.send(&outgoing).await {
            Answer::Delivered => panic!("nobody said so (clause 1)"),
            Answer::Failed(failure) => assert_passes(&failure),
        }
        self.bench.turn(Mood::Takes).await;
        self.deliver(&outgoing).await;
        self.await_arrivals(&outgoing, 1).await;
    }

    async fn clause_4_what_was_never_polled_is_never_sent(&mut self) {
        let dropped = self.outgoing(Message { payload: "unsent".into(), ..Message::default() });
        drop(self.bench.target().send(dropped.clone()));
        self.deliver_and_compare(Message::default()).await;
        assert!(self.all_of(&dropped).is_empty(), "it was dropped before it began");
    }

    async fn clause_4_a_dropped_future_ends_its_try(&mut self) {
        self.bench.turn(Mood::Hangs).await;
        let key = Some(Bytes::from_static(b"dropped"));
        let payload = Bytes::from_static(b"dropped");
        let dropped = self.outgoing(Message { key: key.clone(), payload, ..Message::default() });
        let mut sending = self.bench.target().send(dropped.clone());
        let begun = async {
            tokio::select! {
                biased;
                answer = &mut sending => panic!("the other side hangs: {answer:?}"),
                () = self.bench.hangs() => {}
            }
        };
        within("a try that hangs", begun).await;
        drop(sending);
        let ends = match self.bench.ended() {
            Some(ended) => {
                within("the end of a dropped try", ended).await;
                true
            }
            None => false,
        };
        self.bench.turn(Mood::Takes).await;
        let next = self.outgoing(Message { key, payload: "next".into(), ..Message::default() });
        self.deliver(&next).await;
        self.await_arrivals(&next, 1).await;
        let most = usize::from(!ends);
        assert!(self.all_of(&dropped).len() <= most, "what was dropped arrived");
        for arrival in self.all_of(&dropped) {
            self.assert_same(&dropped, &arrival);
        }
    }

    fn clause_6_no_failure_tells_a_secret(&self) {
        assert!(!self.failures.is_empty(), "there were some");
        for secret in self.bench.secrets() {
            for failure in &self.failures {
                assert!(!failure.text.contains(&secret), "{secret:?} is told in {failure:?}");
            }
        }
    }
}

/// It is not the message's fault, nor ours.
fn assert_passes(failure: &Failure) {
    match failure.class {
        ErrorClass::Transient | ErrorClass::Overloaded { .. } => {}
        ErrorClass::Permanent | ErrorClass::Ours => panic!("it passes: {failure:?}"),
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = timeout(PATIENCE, future).await else { panic!("waited in vain for {what}") };
    value
}
