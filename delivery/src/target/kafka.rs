//! Delivery to a topic in Kafka: one record for each message.
//!
//! # The record
//!
//! | part | is |
//! |---|---|
//! | key | the message's key, as it is; none (null) if it has none |
//! | value | the payload, as it is; an empty one is empty, not null |
//! | timestamp | when the message's transaction committed, whole milliseconds; a topic of `LogAppendTime` has its own |
//! | headers | the message's in their order, then `handfast-id` (the [`Name`](crate::Name)), `handfast-namespace`, `handfast-shard`, `handfast-commit-timestamp-us`, and `content-type` if it is not empty |
//!
//! A header of the message that is called `content-type`, or begins with `handfast-`, fails the message for
//! good: a consumer could not tell it from ours. So does a name with a zero byte, which many clients cut there.
//!
//! Records of one key go to one partition of the topic: the one that Java's clients would choose
//! (`murmur2_random`), as long as the topic has the same number of partitions. Those without a key go anywhere.
//!
//! # The producer
//!
//! is idempotent (`enable.idempotence`, `acks=all`): what it sends again by itself is there once, and in order.
//! A new try is a new record: whoever reads the topic tells a repeat by `handfast-id`. The producer gives a
//! record up (`message.timeout.ms`) a little before [`KafkaOptions::timeout`]: it looks once a second only, and
//! so is done with it when the target answers, unless the time-out is shorter than a few seconds. A later
//! record of the same key then follows it in the same queue.
//!
//! A topic that is not there is never created, whatever the brokers allow: the target is overloaded until
//! somebody creates it.
//!
//! # Failures
//!
//! | failure | is | because |
//! |---|---|---|
//! | too large, `INVALID_RECORD`, `INVALID_TIMESTAMP` | permanent | the topic will never take it as it is |
//! | no such topic or partition, not authorised, login refused, no broker | overloaded | it is so for every message |
//! | no room in the producer's queue, quota exceeded | overloaded | less should be sent |
//! | given up after the time-out, nothing else taken meanwhile | overloaded | no leader, too few replicas, a broker that hangs: the client library says of all of them nothing but this |
//! | given up after the time-out, while others were taken | transient | |
//! | the producer failed for good | transient, or what its reason is | it is made anew |
//! | everything else | transient | |
//!
//! A broker judges a batch as a whole. So a record that was refused, perhaps for another one, is sent once more
//! alone, by a producer for that (not idempotent, one record at a time), and only then is the refusal believed.
//!
//! # A future that is dropped
//!
//! does not call its record back: the client library cannot. If a broker takes it at all, that is a second
//! after [`KafkaOptions::timeout`] at the latest. Dropping the target itself drops what has not been sent.

mod classes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wal_core::limits::MAX_RECORD_BYTES;
use wal_core::namespace::reserved_setting;

use self::classes::{class_of, is_of_a_batch};
use super::secrets::{Secrets, excerpt, value_of};
use super::{Later, Target, TargetError};
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::Outgoing;

/// How long a try may take, unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one record at most, as far as the client is asked: more than any message has. The topic has a say.
const MAX_MESSAGE_BYTES: usize = MAX_RECORD_BYTES + (64 << 10);
/// How long one request may take before it is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the client library looks which records it must give up, and something for the way of the answer.
const LOOKS_EVERY: Duration = Duration::from_millis(1_500);
/// So long before the time-out the target answers by itself, if not a part of the time-out is less: it knows
/// more of what a record waits for than who waits for the answer.
const EARLIER: Duration = Duration::from_millis(200);
/// How long a topic may be missing before that is told, if not half of the time-out is less.
const PROPAGATION: Duration = Duration::from_secs(30);
/// Bytes of what the client library says that a failure tells.
const MAX_TOLD_BYTES: usize = 300;

const ID: &str = "handfast-id";
const NAMESPACE: &str = "handfast-namespace";
const SHARD: &str = "handfast-shard";
const TIMESTAMP: &str = "handfast-commit-timestamp-us";
const CONTENT_TYPE: &str = "content-type";
/// What begins so is ours.
const OURS: &str = "handfast-";

/// Options of a [`KafkaTarget`].
#[derive(Clone)]
pub struct KafkaOptions {
    /// Brokers to start from, `host:port`, with commas between.
    pub brokers: String,
    /// The topic, which must be there.
    pub topic: String,
    /// Settings of the client library by its own names: TLS, SASL, compression. A value `env:NAME` is read from
    /// the environment. Those of [`reserved_setting`] are refused.
    pub client: BTreeMap<String, String>,
    /// How long a try may take: at least a millisecond, at most a day.
    pub timeout: Duration,
}

impl KafkaOptions {
    /// Options with the defaults for everything else.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            client: BTreeMap::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl fmt::Debug for KafkaOptions {
    // Client settings may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("client", &self.client.keys())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// How a record ended.
type Outcome = Result<(), KafkaError>;

/// Why a record was not taken.
struct Refusal {
    error: KafkaError,
    /// Why its producer failed for good, if it did.
    fatal: Option<(Code, String)>,
}

impl From<KafkaError> for Refusal {
    fn from(error: KafkaError) -> Self {
        Self { error, fatal: None }
    }
}

impl Refusal {
    fn code(&self) -> Code {
        self.error.rdkafka_error_code().unwrap_or(Code::Unknown)
    }
}

/// What the producers of a target learn.
#[derive(Default)]
struct News {
    /// Records that brokers took.
    taken: AtomicU64,
    /// What the client library complained of since the last of them.
    complaint: Mutex<Option<String>>,
}

impl News {
    fn complain(&self, reason: &str) {
        // `… (after 3ms in state CONNECT, 1 identical error(s) suppressed)`
        let reason = reason.split(" (after ").next().unwrap_or(reason);
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Hears of one producer's records.
struct Reports(Arc<News>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // Most of what the library calls an error is one connection; what matters comes back as an answer.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(fac, message, "Kafka target");
            }
            _ => tracing::debug!(fac, message, "Kafka target"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka target");
        // That all are down says less than why the last one is.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            self.0.complain(reason);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<Outcome>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(_) => {
                self.0.taken.fetch_add(1, Ordering::Relaxed);
                self.0.complaint.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(())
            }
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have gone: the try was dropped.
        let _ = waiting.send(outcome);
    }
}

/// A producer, which closes its connections on a thread of its own when nobody needs it: that takes a moment.
struct Client(Option<ThreadedProducer<Reports>>);

impl Client {
    fn producer(&self) -> &ThreadedProducer<Reports> {
        self.0.as_ref().expect("it is there until it is dropped")
    }

    /// Why it failed for good, if it did.
    fn fatal(&self) -> Option<(Code, String)> {
        self.producer().client().fatal_error()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let producer = self.0.take();
        let closing = thread::Builder::new().name("kafka-target-end".into());
        if let Err(error) = closing.spawn(move || drop(producer)) {
            tracing::warn!(%error, "a producer is closed where others wait for it");
        }
    }
}

/// A producer that is made when it is needed, and anew after it has failed for good.
struct Slot {
    config: ClientConfig,
    news: Arc<News>,
    client: Mutex<Option<Arc<Client>>>,
}

impl Slot {
    fn new(config: ClientConfig, news: &Arc<News>) -> Self {
        Self { config, news: Arc::clone(news), client: Mutex::default() }
    }

    fn get(&self) -> Result<Arc<Client>, KafkaError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client
            && client.fatal().is_none()
        {
            return Ok(Arc::clone(client));
        }
        let producer = self.config.create_with_context(Reports(Arc::clone(&self.news)))?;
        Ok(Arc::clone(client.insert(Arc::new(Client(Some(producer))))))
    }
}

/// A target that is a topic. See the module.
pub struct KafkaTarget {
    topic: String,
    secrets: Secrets,
    timeout: Duration,
    news: Arc<News>,
    /// Sends records in batches.
    together: Slot,
    /// Sends each record by itself, in half of the time: what was refused together with others, which happens
    /// at once.
    alone: Slot,
}

impl fmt::Debug for KafkaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTarget").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl KafkaTarget {
    /// Starts the producer, which connects in the background: brokers that are away are no error yet.
    ///
    /// # Errors
    /// [`TargetError`] says which option or client setting cannot be as it is, and what to do.
    pub fn new(options: KafkaOptions) -> Result<Self, TargetError> {
        const MOST: Duration = Duration::from_secs(24 * 60 * 60);
        let setting = |name: &str, why: &str| {
            Err(TargetError::Setting { name: name.to_owned(), why: why.to_owned() })
        };
        let KafkaOptions { brokers, topic, client, timeout } = options;
        if brokers.trim().is_empty() {
            return setting("the list of brokers", "it is empty; write host:port");
        }
        if topic.is_empty() || topic.contains('\0') {
            return setting("the topic", "it is not the name of one; write that of a topic");
        }
        if !(Duration::from_millis(1)..=MOST).contains(&timeout) {
            return setting("the time-out", "it must be between 1 ms and a day; give it 10 s");
        }
        let mut secrets = Secrets::default();
        let mut config = ClientConfig::new();
        defaults(&mut config);
        for (name, value) in &client {
            if let Some(why) = reserved_setting(name) {
                return setting(
                    &format!("the client setting {name}"),
                    &format!("{why}; leave it out"),
                );
            }
            let read = value_of(name, value)?;
            if is_secret(name) || read != *value {
                secrets.add(&read);
            }
            config.set(name, read);
        }
        fixed(&mut config, &brokers, timeout - LOOKS_EVERY.min(timeout / 4));
        let mut alone = config.clone();
        alone
            .set("batch.num.messages", "1")
            // One at a time keeps the order, too. An idempotent producer would stop for a moment after each
            // refusal, and those who share nothing with a bad record but its batch would run out of time.
            .set("enable.idempotence", "false")
            .set("max.in.flight.requests.per.connection", "1")
            .set("message.timeout.ms", millis(timeout / 2));
        let news = Arc::default();
        let (together, alone) = (Slot::new(config, &news), Slot::new(alone, &news));
        let target = Self { topic, secrets, timeout, news, together, alone };
        match target.together.get() {
            Ok(_) => Ok(target),
            Err(error) => {
                let why = target.secrets.hide(&error.to_string());
                Err(TargetError::Client { why: format!("{why}; correct the client's settings") })
            }
        }
    }

    async fn deliver(&self, outgoing: Outgoing) -> Answer {
        if let Err(why) = check(&outgoing) {
            return self.failed(ErrorClass::Permanent, &why);
        }
        let taken = self.news.taken.load(Ordering::Relaxed);
        let end = Instant::now() + self.timeout - EARLIER.min(self.timeout / 16);
        // By then the producer has given it up, or soon will.
        let late = |_| Err(KafkaError::MessageProduction(Code::MessageTimedOut).into());
        let outcome = timeout_at(end, self.outcome(&outgoing)).await.unwrap_or_else(late);
        let Err(refusal) = outcome else { return Answer::Delivered };
        let others = self.news.taken.load(Ordering::Relaxed) > taken;
        let (class, why) = self.judge(refusal, others);
        self.failed(class, &format!("the topic {} has not taken it: {why}", self.topic))
    }

    async fn outcome(&self, outgoing: &Outgoing) -> Result<(), Refusal> {
        match try_with(&self.together, &self.topic, outgoing).await {
            Err(refusal) if is_of_a_batch(refusal.code()) => {
                try_with(&self.alone, &self.topic, outgoing).await
            }
            outcome => outcome,
        }
    }

    /// What a refusal means, and what is told of it. `others`: whether other records were taken meanwhile.
    fn judge(&self, refusal: Refusal, others: bool) -> (ErrorClass, String) {
        let code = refusal.code();
        // Whatever such a producer then says of its records, this is why.
        if let Some((reason, text)) = refusal.fatal {
            return (class_of(reason, others), text);
        }
        let text = match self.news.complaint() {
            Some(complaint) => format!("{} ({complaint})", refusal.error),
            None => refusal.error.to_string(),
        };
        (class_of(code, others), text)
    }

    fn failed(&self, class: ErrorClass, text: &str) -> Answer {
        let text = excerpt(&self.secrets.hide(text), MAX_TOLD_BYTES);
        Answer::Failed(Failure { class, text: text.into() })
    }
}

impl Target for KafkaTarget {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(self.deliver(outgoing))
    }
}

/// What the user may set otherwise.
fn defaults(config: &mut ClientConfig) {
    config
        .set("client.id", "handfast")
        // A broker that was away is tried again soon.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.timeout.ms", "10000")
        .set("socket.nagle.disable", "true")
        .set("topic.metadata.refresh.fast.interval.ms", "100");
}

/// What makes delivering safe. The user's settings name none of these.
fn fixed(config: &mut ClientConfig, brokers: &str, timeout: Duration) {
    config
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("max.in.flight.requests.per.connection", "5")
        .set("allow.auto.create.topics", "false")
        .set("partitioner", "murmur2_random")
        // Records that come within so long go together. What the library holds back beyond that, for more than five
        // records of a partition being on their way, makes its thread poll without a pause: without lingering that
        // took four to eight times the processor time, and with 256 messages at once it was slower, too.
        .set("linger.ms", "5")
        .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
        .set("message.timeout.ms", millis(timeout))
        // A broker that hangs is asked again, or its successor; idempotence makes that harmless.
        .set("request.timeout.ms", millis(REQUEST_TIMEOUT.min(timeout)))
        // A topic that was just created may not have come round yet; one that is missing is told in time.
        .set("topic.metadata.propagation.max.ms", millis(PROPAGATION.min(timeout / 2)));
}

fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 5] = ["password", "secret", "token", "key.pem", "oauthbearer"];
    WORDS.iter().any(|word| name.contains(word))
}

/// At least one: the library takes 0 for no bound at all.
fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

/// Why a message can be no record, if so.
fn check(outgoing: &Outgoing) -> Result<(), String> {
    for (name, _) in &outgoing.message.headers {
        if name == CONTENT_TYPE || name.starts_with(OURS) {
            return Err(format!(
                "the header {name:?} cannot be a record's: Handfast sets it itself"
            ));
        }
        if name.contains('\0') {
            return Err(format!("the header {name:?} cannot be a record's: it has a zero byte"));
        }
    }
    Ok(())
}

fn headers(outgoing: &Outgoing) -> OwnedHeaders {
    const OF_OURS: usize = 5;
    let message = &outgoing.message;
    let mut headers = OwnedHeaders::new_with_capacity(message.headers.len() + OF_OURS);
    for (key, value) in &message.headers {
        headers = headers.insert(Header { key, value: Some(&value[..]) });
    }
    let id = outgoing.name.to_string();
    let shard = outgoing.shard.0.to_string();
    let timestamp = outgoing.timestamp.0.to_string();
    let content_type = &message.content_type;
    for (key, value) in [
        (ID, &*id),
        (NAMESPACE, &*outgoing.namespace),
        (SHARD, &*shard),
        (TIMESTAMP, &*timestamp),
        (CONTENT_TYPE, &**content_type),
    ] {
        if key != CONTENT_TYPE || !value.is_empty() {
            headers = headers.insert(Header { key, value: Some(value) });
        }
    }
    headers
}

/// Hands a record to a producer, and waits for what becomes of it.
async fn try_with(slot: &Slot, topic: &str, outgoing: &Outgoing) -> Result<(), Refusal> {
    // Held until the answer is there: a producer that is dropped answers nobody.
    let client = slot.get()?;
    let outcome = match enqueue(&client, topic, outgoing) {
        Ok(outcome) => outcome.await.unwrap_or(Err(KafkaError::Canceled)),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| Refusal { error, fatal: client.fatal() })
}

fn enqueue(
    client: &Client,
    topic: &str,
    outgoing: &Outgoing,
) -> Result<oneshot::Receiver<Outcome>, KafkaError> {
    let message = &outgoing.message;
    let (waiting, outcome) = oneshot::channel();
    let mut record: BaseRecord<'_, [u8], [u8], _> =
        BaseRecord::with_opaque_to(topic, Box::new(waiting))
            .payload(&message.payload[..])
            .headers(headers(outgoing))
            .timestamp(outgoing.timestamp.0.div_euclid(1_000));
    if let Some(key) = &message.key {
        record = record.key(&key[..]);
    }
    match client.producer().send(record) {
        Ok(()) => Ok(outcome),
        Err((error, _)) => Err(error),
    }
}
