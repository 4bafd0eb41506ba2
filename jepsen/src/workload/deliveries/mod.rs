//! Orders, each a row and one or two messages with keys to an endpoint that fails some of them for a while and some
//! for good. What is given up is redriven at the end, when the endpoint is well.

mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use handfast_client::v1::{DeadLetterSelection, DeadLetterWish};
use handfast_client::{Client, Message, Row, Transaction, not_exists};
use handfast_e2e::{Arrived, Endpoint};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::{Detail, Done, End, Figure, Later, Task, Workload};
use handfast_checker::Value;
use judge::{Course, Messages, Request, is_wrong};

const TARGET: &str = "shop";
const KEYS: usize = 12;
/// Orders of one read.
const ORDERS_PER_READ: i64 = 8;
/// Orders of one read at the end.
const ORDERS_PER_LAST_READ: i64 = 400;
/// An order is read, or asked for again, of so many that were asked for last.
const LATELY: i64 = 40;
/// Tries that fail until a message is given up: one of those that fail for a while is taken before.
const TRIES: usize = 4;
/// How long it may take, after the last restart, until every message is taken or given up; and then until what was
/// given up is taken.
const DEALT_WITH_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Dead letters of one answer.
const LETTERS: u32 = 1_000;

/// A message that goes with an order.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    key: String,
    body: String,
}

pub(crate) struct Deliveries {
    namespace: String,
    tables: String,
    endpoint: Endpoint,
    is_well: Arc<AtomicBool>,
    /// Orders so far.
    orders: AtomicI64,
    /// Transactions so far: one asks again for an order now and then, and must be aborted.
    asked: AtomicI64,
    /// What became of the messages, once that is known.
    course: Mutex<Course>,
}

impl Deliveries {
    /// With an endpoint of its own.
    pub(crate) async fn start(namespace: String) -> anyhow::Result<Self> {
        let (endpoint, is_well) = (Endpoint::start().await?, Arc::new(AtomicBool::new(false)));
        let well = Arc::clone(&is_well);
        endpoint.answers(move |arrived, before| {
            if well.load(Ordering::Relaxed) { Some(200) } else { answer(&arrived.body, before) }
        });
        let settings = format!("tries = {TRIES}\ntimeout_ms = 500\nlongest_pause_ms = 200");
        let tables = format!(
            "[[table]]\ncql = 'CREATE TABLE orders (id bigint PRIMARY KEY, note text)'\n{}",
            endpoint.target(TARGET, &settings)
        );
        let (orders, asked) = (AtomicI64::new(0), AtomicI64::new(0));
        Ok(Self { namespace, tables, endpoint, is_well, orders, asked, course: Mutex::default() })
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().expect("no holder of this lock panics")
    }

    /// Names of all dead letters.
    async fn dead(&self, client: &Client) -> anyhow::Result<BTreeSet<String>> {
        let (mut names, mut after) = (BTreeSet::new(), String::new());
        loop {
            let all = DeadLetterSelection::default();
            let some =
                client.admin().list_dead_letters(&self.namespace, all, LETTERS, &after).await?;
            names.extend(some.letters.into_iter().map(|letter| letter.name));
            if some.next.is_empty() {
                return Ok(names);
            }
            after = some.next;
        }
    }

    fn taken(&self) -> BTreeSet<String> {
        self.endpoint.taken().iter().map(|arrived| arrived.name().to_owned()).collect()
    }

    /// Waits until every message is taken or given up, then until all are taken.
    async fn deal(&self, client: &Client, ran: &[Done]) -> anyhow::Result<Course> {
        let sent = messages(ran);
        let sent: BTreeSet<&String> =
            sent.iter().filter(|(_, it)| it.at.is_some()).map(|(name, _)| name).collect();
        let end = Instant::now() + DEALT_WITH_WITHIN;
        loop {
            let (taken, dead) = (self.taken(), self.dead(client).await?);
            let is_known = |name: &&String| taken.contains(*name) || dead.contains(*name);
            if sent.iter().all(is_known) || Instant::now() > end {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // Nothing is given up that was taken: what is dead now was not.
        let ill = self.endpoint.arrived().len();
        let dead = self.dead(client).await?;
        self.is_well.store(true, Ordering::Relaxed);
        let (all, wish) = (DeadLetterSelection::default(), DeadLetterWish::Redrive);
        client.admin().change_dead_letters(&self.namespace, all, wish).await?;
        let end = Instant::now() + DEALT_WITH_WITHIN;
        let left = loop {
            let left = self.dead(client).await?;
            if left.is_empty() || Instant::now() > end {
                break left;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        Ok(Course { requests: Vec::new(), ill, dead, left })
    }
}

/// What an endpoint answers that is not well: some are refused for good, some fail until they are given up, some
/// fail for a while.
fn answer(body: &str, before: usize) -> Option<u16> {
    let number: usize = body.rsplit(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0);
    Some(match number % 200 {
        3 | 43 | 83 | 123 => 400,
        17 => 500,
        57 | 97 | 137 if before + 2 < TRIES => 500,
        11 | 111 if before == 0 => 503,
        71 if before == 0 => return None,
        _ => 200,
    })
}

/// The messages of all transactions, by name.
fn messages(ran: &[Done]) -> Messages {
    let mut messages = BTreeMap::new();
    for done in ran {
        let (Detail::Order(_, sent), Some(transaction)) = (&done.task.detail, &done.transaction)
        else {
            continue;
        };
        for (place, Sent { key, body }) in sent.iter().enumerate() {
            let at = match done.end {
                End::Committed(at) => Some((at, place)),
                End::Read | End::Failed => None,
            };
            let message = judge::Message { key: key.clone(), body: body.clone(), at };
            messages.insert(format!("{}/{place}", transaction.id()), message);
        }
    }
    messages
}

fn request(arrived: &Arrived) -> Request {
    let header = |name: &str| arrived.headers.get(name).cloned().unwrap_or_default();
    Request {
        name: arrived.name().to_owned(),
        key: header("handfast-key"),
        body: arrived.body.clone(),
        at: header("handfast-commit-timestamp-us").parse().ok(),
        taken: arrived.answered == 200,
    }
}

fn read(orders: std::ops::Range<i64>) -> Task {
    let rows = orders.clone().map(|order| ("orders", order.into())).collect();
    Task { f: "read", detail: Detail::Elements(orders.collect()), rows, transaction: None }
}

/// What an order's row says: the body of its transaction's first message.
fn note(row: &Row) -> Option<&str> {
    row.text("note").filter(|_| row.exists)
}

/// The order of which a transaction committed is there, and says which; nothing of another is.
fn orders_are_wrong(ran: &[Done], last: &[Done]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut written: BTreeMap<i64, &str> = BTreeMap::new();
    for done in ran.iter().filter(|done| done.has_committed()) {
        let Detail::Order(order, sent) = &done.task.detail else { continue };
        let Some(Sent { body, .. }) = sent.first() else { continue };
        if let Some(other) = written.insert(*order, body) {
            wrong.push(format!("order {order} was made twice: by {other} and by {body}"));
        }
    }
    let mut read = BTreeSet::new();
    for done in last {
        let Detail::Elements(orders) = &done.task.detail else { continue };
        for (order, row) in orders.iter().zip(&done.rows) {
            let (found, made) = (note(row), written.get(order).copied());
            if found != made {
                wrong.push(format!(
                    "order {order} is {found:?} at the end, and was made by {made:?}"
                ));
            }
            read.insert(*order);
        }
    }
    let unread = written.keys().filter(|order| !read.contains(order)).count();
    if unread > 0 {
        wrong.push(format!("{unread} of {} orders were not read at the end", written.len()));
    }
    wrong
}

impl Workload for Deliveries {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn tables(&self) -> &str {
        &self.tables
    }

    fn next(&self, rng: &mut StdRng) -> Task {
        let newest = self.orders.load(Ordering::Relaxed);
        let lately = |rng: &mut StdRng| rng.random_range((newest - LATELY).max(0)..newest);
        let order = match rng.random_range(0..10) {
            0 if newest > 0 => {
                let from = lately(rng);
                return read(from..from + ORDERS_PER_READ);
            }
            1 | 2 if newest > 0 => lately(rng),
            _ => self.orders.fetch_add(1, Ordering::Relaxed),
        };
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let places = 0..rng.random_range(1..=2_i64);
        let sent = places.map(|place| {
            let key = format!("key{}", rng.random_range(0..KEYS));
            Sent { key, body: format!("order {order}, message {}", 2 * number + place) }
        });
        let sent: Vec<Sent> = sent.collect();
        let note = sent[0].body.clone();
        let mut transaction = Transaction::new(&self.namespace)
            .require("orders", order, not_exists())
            .insert("orders", order, ("note", note));
        for Sent { key, body } in &sent {
            let message = Message::new(body.clone()).key(key.clone()).to(TARGET);
            transaction = transaction.message(message);
        }
        let (detail, rows) = (Detail::Order(order, sent), Vec::new());
        Task { f: "order", detail, rows, transaction: Some(transaction) }
    }

    fn settle<'a>(
        &'a self,
        clients: &'a [Client],
        ran: &'a [Done],
    ) -> Later<'a, anyhow::Result<()>> {
        Box::pin(async move {
            *self.course() = self.deal(&clients[0], ran).await?;
            Ok(())
        })
    }

    fn last(&self, _ran: &[Done]) -> Vec<Task> {
        let newest = self.orders.load(Ordering::Relaxed);
        let starts = (0..newest).step_by(ORDERS_PER_LAST_READ as usize);
        starts.map(|from| read(from..(from + ORDERS_PER_LAST_READ).min(newest))).collect()
    }

    fn shown(&self, task: &Task, rows: Option<&[Row]>) -> Value {
        match (&task.detail, rows) {
            (Detail::Order(order, sent), _) => {
                let text = |sent: &Sent| Value::Text(format!("{}: {}", sent.key, sent.body));
                vec![(*order).into(), Value::List(sent.iter().map(text).collect())].into()
            }
            (Detail::Elements(orders), Some(rows)) => {
                let there = orders.iter().zip(rows).filter(|(_, row)| row.exists);
                Value::List(there.map(|(order, _)| (*order).into()).collect())
            }
            _ => Value::Nil,
        }
    }

    fn figures(&self, ran: &[Done]) -> Vec<Figure> {
        let (requests, taken) = (self.endpoint.arrived(), self.taken().len());
        let is_order = |done: &&Done| matches!(done.task.detail, Detail::Order(..));
        let aborted = |done: &&Done| done.end == End::Failed && done.transaction.is_some();
        let refused = requests.iter().filter(|it| it.answered != 200).count();
        vec![
            ("messages that were taken", taken),
            ("requests that failed", refused),
            ("repeats of what was taken", requests.len().saturating_sub(refused + taken)),
            ("dead letters redriven", self.course().dead.len()),
            ("orders that did not commit", ran.iter().filter(is_order).filter(aborted).count()),
        ]
    }

    fn check(&self, ran: &[Done], last: &[Done]) -> Vec<String> {
        let mut course = self.course().clone();
        course.requests = self.endpoint.arrived().iter().map(request).collect();
        let mut wrong = is_wrong(&messages(ran), &course);
        wrong.extend(orders_are_wrong(ran, last));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_client::{RowVersion, Value as Cell};
    use rand::SeedableRng as _;

    fn done(task: Task, end: End) -> Done {
        let transaction = task.transaction.clone();
        let (rows, arrived, invoked, completed) = (Vec::new(), Vec::new(), 0, 1);
        Done { task, invoked, completed, rows, arrived, transaction, end }
    }

    fn row(note: Option<&str>) -> Row {
        let columns = note.map(|it| ("note".to_owned(), Cell::from(it))).into_iter().collect();
        Row { exists: note.is_some(), version: RowVersion([0; 16]), columns }
    }

    #[tokio::test]
    async fn what_is_told_becomes_messages_and_their_orders() -> anyhow::Result<()> {
        let workload = Deliveries::start("jepsen".to_owned()).await?;
        let mut rng = StdRng::seed_from_u64(1);
        let first = done(workload.next(&mut rng), End::Committed(8));
        let Detail::Order(order, sent) = &first.task.detail else { panic!("{first:?}") };
        let (body, sent) = (sent[0].body.clone(), sent.len());
        let again = Task { f: "order", ..first.task.clone() };
        assert_eq!((*order, messages(std::slice::from_ref(&first)).len()), (0, sent));
        let end = |note| {
            let mut end = done(workload.last(&[]).remove(0), End::Read);
            end.rows = vec![row(note)];
            end
        };
        let wrong = |ran: &[Done], note| orders_are_wrong(ran, &[end(note)]).join("; ");
        let ran = [first.clone(), done(again.clone(), End::Failed)];
        assert_eq!(wrong(&ran, Some(&*body)), "");
        assert!(wrong(&ran, None).contains("order 0 is None"), "lost");
        assert!(wrong(&ran[1..], Some(&*body)).contains("was made by None"), "aborted");
        let twice = [first, done(again, End::Committed(9))];
        assert!(wrong(&twice, Some(&*body)).contains("was made twice"));
        assert!(orders_are_wrong(&ran, &[]).join("").contains("not read"));
        // Nothing arrived of what committed.
        assert!(workload.check(&ran[..1], &[end(Some(&*body))]).join("").contains("is lost"));
        Ok(())
    }

    #[test]
    fn an_endpoint_that_is_not_well_fails_some_for_good_and_some_for_a_while() {
        let tries = |number: usize| {
            let body = format!("order 1, message {number}");
            (0..TRIES).map(|before| answer(&body, before).unwrap_or(0)).collect::<Vec<_>>()
        };
        assert_eq!(tries(203), [400; TRIES], "for good");
        assert_eq!(tries(217), [500; TRIES], "until it is given up");
        assert_eq!(tries(257), [500, 500, 200, 200], "for a while");
        assert_eq!(tries(211), [503, 200, 200, 200]);
        assert_eq!(tries(271), [0, 200, 200, 200], "no answer");
        assert_eq!(tries(202), [200; TRIES]);
    }
}
