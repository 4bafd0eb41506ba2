//! Clients that go on whatever happens, what they were told, and whether the tables agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use handfast_client::{
    Client, Due, Level, Message, Options, Outcome, RetryPolicy, SubmitError, SubscribeError,
    Subscription, Transaction, Uuid, Value, column,
};
use tokio::task::{JoinHandle, JoinSet};

/// The tables that the clients write.
pub const DEFINITION: &str = r#"name = "faults"
shards = 8

[[table]]
cql = "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint)"

[[table]]
cql = "CREATE TABLE transfers (account text, id uuid, amount bigint, PRIMARY KEY (account, id))"

[[table]]
cql = "CREATE TABLE counters (id text PRIMARY KEY, n bigint)"

[[table]]
cql = "CREATE TABLE orders (id bigint PRIMARY KEY, lines bigint)"

[[table]]
cql = "CREATE TABLE lines (product text, order_id bigint, amount bigint, PRIMARY KEY (product, order_id))"

[[table]]
cql = "CREATE TABLE reminders (order_id bigint PRIMARY KEY, n bigint)"

[[table]]
cql = "CREATE TABLE later (id uuid, place int, due timestamp, body blob, problem text, PRIMARY KEY ((id, place)))"

[delay]
table = "later"
"#;
/// The namespace's name, and its keyspace's.
pub const NAMESPACE: &str = "faults";
const ACCOUNTS: usize = 24;
const OPENING_BALANCE: i64 = 1_000;
const PRODUCTS: usize = 16;
/// Lines of one order.
const LINES: usize = 4;
/// Every fourth order schedules its reminder.
const ORDERS_PER_REMINDER: i64 = 4;
/// When it is due, milliseconds after the order.
const REMINDER_DUE_MS: std::ops::Range<u64> = 500..5_000;
/// Of every so many orders the reminder is cancelled as soon as that was answered, if it is pending still.
const ORDERS_PER_CANCEL: i64 = 16;
/// How long a client waits for one answer before it calls the outcome unknown.
const WAIT: Duration = Duration::from_secs(10);
/// Pause of each client between two transactions: the machine is small, and faults need some of it.
const THINK: Duration = Duration::from_millis(5);

fn account(number: usize) -> String {
    format!("account-{number:02}")
}

/// Orders, and how often their reminder was done.
type Reminders = BTreeSet<(i64, i64)>;

/// What a transaction was to do.
#[derive(Clone, Debug)]
enum Work {
    Transfer {
        from: String,
        row: Uuid,
    },
    Count,
    Order {
        id: i64,
        products: Vec<String>,
    },
    /// Asked for by a call of its own, under the transaction's id.
    CancelReminder {
        order: i64,
        name: String,
    },
}

/// A transaction and what its client was told at last.
#[derive(Clone, Debug)]
struct Sent {
    transaction: Transaction,
    work: Work,
    /// `None` if it is in doubt, or if it was said that nothing was done: that is held to, too.
    outcome: Option<Outcome>,
}

impl Sent {
    fn committed(&self) -> bool {
        self.outcome.as_ref().is_some_and(Outcome::is_committed)
    }
}

/// How the clients have fared so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fared {
    /// Answers: committed or aborted.
    pub answered: usize,
    /// Outcomes that were left unknown.
    pub unknown: usize,
    /// Calls that failed although they were tried again for half a minute.
    pub failed: usize,
    /// The longest that a client has waited for an answer, milliseconds.
    pub longest_ms: u64,
}

#[derive(Default)]
struct Shared {
    sent: Mutex<Vec<Sent>>,
    stop: AtomicBool,
    answered: AtomicUsize,
    unknown: AtomicUsize,
    failed: AtomicUsize,
    longest_ms: AtomicUsize,
    next_order: AtomicI64,
    /// How often each transaction was told to a subscriber.
    told: Mutex<BTreeMap<Uuid, usize>>,
    /// Where orders send messages.
    targets: Vec<String>,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, BTreeMap<Uuid, usize>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<anyhow::Result<()>>,
    /// Listens to what commits, from before the first client on.
    listener: JoinHandle<anyhow::Result<()>>,
}

impl Load {
    /// Opens the accounts and lets clients loose: a third transfers, a third counts on one row, a third
    /// writes orders over several tables and partitions, some of which add to another row later.
    ///
    /// With `targets`, each order sends a message to all of them, by the key of its first product.
    pub async fn start(
        endpoints: &[String],
        clients: usize,
        targets: &[&str],
    ) -> anyhow::Result<Self> {
        let client = patient(endpoints).await?;
        let mut opening = Transaction::new(NAMESPACE).put("counters", "hot", ("n", 0_i64));
        for number in 0..ACCOUNTS {
            opening = opening.insert("accounts", account(number), ("balance", OPENING_BALANCE));
        }
        let opened = client.submit(&opening).await?;
        ensure!(opened.is_committed(), "the accounts were not opened: {opened:?}");
        let targets = targets.iter().map(|it| (*it).to_owned()).collect();
        let shared = Arc::new(Shared { targets, ..Shared::default() });
        let listener = tokio::spawn(listen(client, Arc::clone(&shared)));
        let mut set = JoinSet::new();
        for number in 0..clients {
            // Each begins with another endpoint.
            let mut endpoints = endpoints.to_vec();
            let first = number % endpoints.len();
            endpoints.rotate_left(first);
            let client = patient(&endpoints).await?;
            set.spawn(work(client, Arc::clone(&shared), number));
        }
        Ok(Self { shared, clients: set, listener })
    }

    /// How they have fared so far.
    pub fn fared(&self) -> Fared {
        let of = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        Fared {
            answered: of(&self.shared.answered),
            unknown: of(&self.shared.unknown),
            failed: of(&self.shared.failed),
            longest_ms: of(&self.shared.longest_ms) as u64,
        }
    }

    /// As [`Self::fared`]; the longest wait begins anew.
    pub fn lap(&self) -> Fared {
        let fared = self.fared();
        self.shared.longest_ms.store(0, Ordering::Relaxed);
        fared
    }

    /// Ends the load, resolves what is in doubt, and waits until all of it is in the tables.
    pub async fn end(mut self, endpoints: &[String]) -> anyhow::Result<Ended> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        let mut sent = std::mem::take(&mut *self.shared.sent());
        let client = patient(endpoints).await?;
        let mut resolved = 0;
        for it in &mut sent {
            if it.outcome.is_none() {
                let outcome = client.fence(&it.transaction.locator()).await?;
                resolved += 1;
                let unknown = matches!(outcome, Outcome::Unknown(_));
                ensure!(!unknown, "{} is still unknown", it.transaction.id());
                it.outcome = Some(outcome);
            }
        }
        for it in sent.iter().filter(|it| it.committed()) {
            let locator = it.transaction.locator();
            let applied = client.wait_for(&locator, Level::Applied, APPLY_WAIT).await?;
            ensure!(applied.is_committed(), "{locator} was told to be committed: {applied:?}");
        }
        self.check_told(&sent).await?;
        Ok(Ended { sent, resolved })
    }

    /// Holds the subscriber to it: what committed was told once, and nothing else.
    async fn check_told(self, sent: &[Sent]) -> anyhow::Result<()> {
        let Self { shared, listener, .. } = self;
        let end = Instant::now() + APPLY_WAIT;
        let missing = || {
            let told = shared.told();
            let mut committed = sent.iter().filter(|it| it.committed());
            committed
                .find(|it| !told.contains_key(&it.transaction.id()))
                .map(|it| it.transaction.id())
        };
        while let Some(id) = missing() {
            if listener.is_finished() {
                bail!("the subscriber has ended: {:?}", listener.await);
            }
            ensure!(Instant::now() < end, "{id} is committed, and was not told to a subscriber");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        listener.abort();
        let told = shared.told();
        for it in sent {
            let (id, times) = (it.transaction.id(), usize::from(it.committed()));
            let heard = told.get(&id).copied().unwrap_or(0);
            ensure!(
                heard == times,
                "{id} was told {heard} times to a subscriber, not {times}: {it:?}"
            );
        }
        Ok(())
    }
}

/// One transaction for each of many partitions, so that each shard is surely among them.
///
/// # Errors
/// If one of them does not commit, whatever the reason: then not every shard serves.
pub async fn touch_every_shard(client: &Client) -> anyhow::Result<()> {
    let mut tries: JoinSet<_> = (0..64)
        .map(|number| {
            let client = client.clone();
            let key = format!("touched-{number}");
            let transaction = Transaction::new(NAMESPACE).put("counters", key, ("n", 1_i64));
            async move { client.submit(&transaction).await }
        })
        .collect();
    while let Some(outcome) = tries.join_next().await {
        ensure!(outcome??.is_committed(), "unknown");
    }
    Ok(())
}

/// How long one transaction may take to be applied once all is well.
const APPLY_WAIT: Duration = Duration::from_secs(60);

async fn patient(endpoints: &[String]) -> anyhow::Result<Client> {
    let options = Options { wait: WAIT, retry: RetryPolicy::default(), ..Options::default() };
    Ok(Client::connect_with(endpoints.to_vec(), options).await?)
}

/// Notes what is told, whatever happens meanwhile, until it is ended.
async fn listen(client: Client, shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut stream = client.subscribe(Subscription::new(NAMESPACE).from_beginning());
    loop {
        match stream.next().await {
            Ok(told) => {
                let mut heard = shared.told();
                for it in told.transactions {
                    *heard.entry(it.id).or_default() += 1;
                }
            }
            Err(SubscribeError::Unavailable { message }) => eprintln!("not told: {message}"),
            Err(error) => return Err(error).context("no fault explains this"),
        }
    }
}

async fn work(client: Client, shared: Arc<Shared>, number: usize) -> anyhow::Result<()> {
    let mut cancel = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let (transaction, work) = match (cancel.take(), number % 3) {
            (Some(work), _) => (Transaction::new(NAMESPACE), work),
            (None, 0) => transfer(),
            (None, 1) => {
                (Transaction::new(NAMESPACE).add("counters", "hot", ("n", 1_i64)), Work::Count)
            }
            (None, _) => {
                let id = shared.next_order.fetch_add(1, Ordering::Relaxed);
                order(id, &shared.targets)
            }
        };
        let begun = Instant::now();
        let answer = ask(&client, &transaction, &work).await?;
        let took = usize::try_from(begun.elapsed().as_millis()).unwrap_or(usize::MAX);
        shared.longest_ms.fetch_max(took, Ordering::Relaxed);
        let (count, outcome) = match answer {
            Ok(Outcome::Unknown(_)) => (&shared.unknown, None),
            Ok(outcome) => (&shared.answered, Some(outcome)),
            Err(message) => {
                eprintln!("a call failed: {message}");
                (&shared.failed, None)
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Work::Order { id, .. } = work
            && id % ORDERS_PER_CANCEL == 0
        {
            let name = format!("{}/0", transaction.id());
            cancel = Some(Work::CancelReminder { order: id, name });
        }
        shared.sent().push(Sent { transaction, work, outcome });
        tokio::time::sleep(THINK).await;
    }
    Ok(())
}

/// Asks for what is to be done: its outcome, or why there is none.
async fn ask(
    client: &Client,
    transaction: &Transaction,
    work: &Work,
) -> anyhow::Result<Result<Outcome, String>> {
    let answer = match work {
        Work::CancelReminder { name, .. } => {
            client.cancel_delayed(NAMESPACE, transaction.id(), name).await
        }
        _ => client.submit(transaction).await,
    };
    match answer {
        Err(SubmitError::Unavailable { message } | SubmitError::Refused { message, .. }) => {
            Ok(Err(message))
        }
        other => Ok(Ok(other.context("no fault explains this")?)),
    }
}

fn transfer() -> (Transaction, Work) {
    let from = rand::random_range(0..ACCOUNTS);
    let to = account((from + rand::random_range(1..ACCOUNTS)) % ACCOUNTS);
    let (from, row, amount) = (account(from), Uuid::now_v7(), rand::random_range(1..=50_i64));
    let transaction = Transaction::new(NAMESPACE)
        .require("accounts", from.as_str(), column("balance").at_least(amount))
        .add("accounts", from.as_str(), ("balance", -amount))
        .add("accounts", to.as_str(), ("balance", amount))
        .insert("transfers", (from.as_str(), row), ("amount", amount));
    (transaction, Work::Transfer { from, row })
}

fn order(id: i64, targets: &[String]) -> (Transaction, Work) {
    let first = rand::random_range(0..PRODUCTS);
    let products: Vec<String> =
        (0..LINES).map(|line| format!("product-{:02}", (first + line) % PRODUCTS)).collect();
    let lines = i64::try_from(LINES).expect("a few");
    let mut transaction = Transaction::new(NAMESPACE).insert("orders", id, ("lines", lines));
    for product in &products {
        let key = (product.as_str(), id);
        transaction = transaction.insert("lines", key, ("amount", Value::from(id)));
    }
    if !targets.is_empty() {
        let message = Message::new(format!("order {id}")).key(products[0].clone());
        transaction = transaction.message(targets.iter().fold(message, Message::to));
    }
    if id % ORDERS_PER_REMINDER == 0 {
        let after = Duration::from_millis(rand::random_range(REMINDER_DUE_MS));
        let reminder = Transaction::new(NAMESPACE).add("reminders", id, ("n", 1_i64));
        transaction = transaction.later(Due::after(after), reminder);
    }
    (transaction, Work::Order { id, products })
}

/// A message that a target took. A repeat is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What repeats of it are told by.
    pub name: String,
    /// Its key.
    pub key: String,
    /// When its transaction committed.
    pub timestamp_us: i64,
}

/// Everything that the clients did, each with its one outcome.
pub struct Ended {
    sent: Vec<Sent>,
    /// Outcomes that were unknown, and had to be asked for.
    pub resolved: usize,
}

/// What an ordinary CQL reader finds.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Balance by account.
    pub accounts: BTreeMap<String, i64>,
    /// Account and id of each transfer.
    pub transfers: BTreeSet<(String, Uuid)>,
    /// The hot counter.
    pub counter: i64,
    /// Ids of orders.
    pub orders: BTreeSet<i64>,
    /// Product and order of each line.
    pub lines: BTreeSet<(String, i64)>,
    /// Order of each reminder, and how often it was done.
    pub reminders: Reminders,
    /// Rows of what is due later.
    pub pending: usize,
}

impl Ended {
    /// How many committed.
    pub fn committed(&self) -> usize {
        self.sent.iter().filter(|it| it.committed()).count()
    }

    /// How many were aborted.
    pub fn aborted(&self) -> usize {
        self.sent.len() - self.committed()
    }

    /// Orders whose reminder was scheduled, and those of them whose reminder was cancelled, each with 1.
    fn reminders(&self) -> (Reminders, Reminders) {
        let (mut scheduled, mut cancelled) = (Reminders::new(), Reminders::new());
        for it in self.sent.iter().filter(|it| it.committed()) {
            match &it.work {
                Work::Order { id, .. } if id % ORDERS_PER_REMINDER == 0 => {
                    scheduled.insert((*id, 1));
                }
                Work::CancelReminder { order, .. } => drop(cancelled.insert((*order, 1))),
                Work::Order { .. } | Work::Transfer { .. } | Work::Count => {}
            }
        }
        (scheduled, cancelled)
    }

    /// How many reminders were scheduled, and how many of them cancelled.
    pub fn scheduled(&self) -> (usize, usize) {
        let (scheduled, cancelled) = self.reminders();
        (scheduled.len(), cancelled.len())
    }

    /// The names of the messages of all orders that committed.
    pub fn messages(&self) -> BTreeSet<String> {
        let orders = self.sent.iter().filter(|it| matches!(it.work, Work::Order { .. }));
        let orders = orders.filter(|it| it.committed());
        orders.map(|it| format!("{}/0", it.transaction.id())).collect()
    }

    /// Holds a target to it: it took every message, and no other, those of a key in their order, but for those that
    /// were dead letters meanwhile.
    pub fn check_delivered(
        &self,
        taken: &[Taken],
        redriven: &BTreeSet<String>,
    ) -> anyhow::Result<()> {
        let found: BTreeSet<String> = taken.iter().map(|it| it.name.clone()).collect();
        same("messages", &found, &self.messages())?;
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        let mut seen = redriven.clone();
        for one in taken.iter().filter(|one| seen.insert(one.name.clone())) {
            let newest = newest.entry(&one.key).or_default();
            ensure!(*newest < one.timestamp_us, "{one:?} came behind a later one of its key");
            *newest = one.timestamp_us;
        }
        Ok(())
    }

    /// Holds the tables to every answer that was given, once what was due later is done.
    pub fn check(&self, found: &Found) -> anyhow::Result<()> {
        let total: i64 = found.accounts.values().sum();
        let expected = OPENING_BALANCE * i64::try_from(ACCOUNTS).expect("a few");
        ensure!(total == expected, "the accounts hold {total} together, not {expected}");
        let (mut transfers, mut orders, mut lines) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut counted = 0;
        for it in self.sent.iter().filter(|it| it.committed()) {
            match &it.work {
                Work::Transfer { from, row } => drop(transfers.insert((from.clone(), *row))),
                Work::Count => counted += 1,
                Work::Order { id, products } => {
                    orders.insert(*id);
                    lines.extend(products.iter().map(|product| (product.clone(), *id)));
                }
                Work::CancelReminder { .. } => {}
            }
        }
        ensure!(found.counter == counted, "{counted} were counted, not {}", found.counter);
        same("transfers", &found.transfers, &transfers)?;
        same("orders", &found.orders, &orders)?;
        same("lines", &found.lines, &lines)?;
        let (reminders, cancelled) = self.reminders();
        let unscheduled: Vec<_> = cancelled.difference(&reminders).collect();
        ensure!(unscheduled.is_empty(), "cancelled, and never scheduled: {unscheduled:?}");
        ensure!(found.pending == 0, "{} rows of what was due are left", found.pending);
        same("reminders", &found.reminders, &(&reminders - &cancelled))
    }
}

fn same<T: Ord + std::fmt::Debug>(
    what: &str,
    found: &BTreeSet<T>,
    told: &BTreeSet<T>,
) -> anyhow::Result<()> {
    let lost: Vec<&T> = told.difference(found).take(5).collect();
    let strange: Vec<&T> = found.difference(told).take(5).collect();
    if lost.is_empty() && strange.is_empty() {
        return Ok(());
    }
    bail!("{what}: told to be committed and not there: {lost:?}; there and not told: {strange:?}")
}
