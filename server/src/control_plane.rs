//! The control plane, joined to what serves its namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::{
    Change, ControlError as PlaneError, ControlPlane, DEFAULT_POOL, Described, Follower, Snapshot,
};
use coordinator::service::{Control, ControlError, Definition, Pool};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wal_core::Millis;
use wal_core::namespace::Namespace;

/// Who changes a namespace over the API: callers are not told apart yet.
const AUTHOR: &str = "api";

/// When a namespace that could not be served is tried again.
pub(crate) const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Serves namespaces. All but [`Serve::place`] may block; the error says why, in words.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Serves a namespace that is not served yet, whose shards the participants of `pool` lead.
    fn open(&self, namespace: Arc<Namespace>, pool: &str) -> Result<(), String>;
    /// Another pool leads the shards of a namespace that is served.
    fn place(&self, name: &str, pool: &str);
    /// Serves the next version of one that is.
    fn change(&self, namespace: Arc<Namespace>) -> Result<(), String>;
}

/// What is done at the start with a namespace that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// The server does not start.
    Stop,
    /// The server starts without it, for the others must not suffer, and tries again each time so much
    /// later.
    TryAgain(Duration),
}

/// Namespaces, durable and served. What other servers change is served here too, as soon as it is seen.
pub(crate) struct Namespaces {
    follower: Follower,
    serve: Arc<dyn Serve>,
    /// How each is served, by name.
    slots: std::sync::Mutex<BTreeMap<String, Slot>>,
}

/// The version of a namespace that is served, and the pool; `None` if it is not. Of one namespace one change
/// at a time, and none back to an older version.
type Slot = Arc<Mutex<Option<(u32, String)>>>;

impl Namespaces {
    /// Serves every namespace that there is, and from then on what is created and changed.
    pub(crate) async fn start(
        follower: Follower,
        serve: Arc<dyn Serve>,
        unserved: Unserved,
    ) -> anyhow::Result<Arc<Self>> {
        let mut changes = follower.watch();
        let mut snapshot = Arc::clone(&changes.borrow_and_update());
        let namespaces = Arc::new(Self { follower, serve, slots: std::sync::Mutex::default() });
        let mut serving = Serving::default();
        serving.begin(&namespaces, &snapshot);
        let mut failed = Vec::new();
        while let Some(done) = serving.next().await {
            failed.extend(done.err());
        }
        failed.sort();
        let pause = match (unserved, failed.first()) {
            (Unserved::Stop, Some((name, why))) => anyhow::bail!("namespace {name:?}: {why}"),
            (Unserved::Stop, None) => TRY_AGAIN_AFTER,
            (Unserved::TryAgain(pause), _) => pause,
        };
        let weak = Arc::downgrade(&namespaces);
        tokio::spawn(async move {
            let mut again = Instant::now() + pause;
            loop {
                tokio::select! {
                    changed = changes.changed() => {
                        // Ends with the follower, which ends with the namespaces.
                        let Ok(()) = changed else { return };
                        snapshot = Arc::clone(&changes.borrow_and_update());
                    }
                    () = tokio::time::sleep_until(again), if !serving.unserved.is_empty() => {}
                    Some(_) = serving.next() => continue,
                }
                again = Instant::now() + pause;
                let Some(namespaces) = Weak::upgrade(&weak) else { return };
                serving.begin(&namespaces, &snapshot);
            }
        });
        Ok(namespaces)
    }

    fn slot(&self, name: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(name.to_owned()).or_default())
    }

    /// Serves this version of a namespace that was stored, unless it or a later one is served already, by this
    /// pool. Without a pool it stays with its own; a new one has the default one.
    ///
    /// What it does may block, and runs where that is allowed. It runs to its end, with the lock, whether
    /// or not the caller waits so long: were it forgotten half-way that a namespace is being opened, it
    /// would be opened twice, and its two halves depose each other for ever.
    fn serve(
        &self,
        namespace: Arc<Namespace>,
        pool: Option<String>,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let (serve, slot) = (Arc::clone(&self.serve), self.slot(namespace.name()));
        async move {
            let mut served = slot.lock_owned().await;
            let version = namespace.version();
            if let Some((newest, current)) = &mut *served {
                if let Some(pool) = pool.as_ref().filter(|pool| *pool != current) {
                    serve.place(namespace.name(), pool);
                    current.clone_from(pool);
                }
                if *newest >= version {
                    return Ok(());
                }
            }
            let work = move || {
                let pool = match &*served {
                    Some((_, current)) => {
                        serve.change(namespace)?;
                        current.clone()
                    }
                    None => {
                        let pool = pool.unwrap_or_else(|| DEFAULT_POOL.to_owned());
                        serve.open(namespace, &pool)?;
                        pool
                    }
                };
                *served = Some((version, pool));
                Ok(())
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(error) => Err(format!("it was cut off: {error}")),
            }
        }
    }

    /// The database, for a call that changes something.
    fn plane(&self) -> Result<&ControlPlane, ControlError> {
        self.follower.plane().ok_or_else(|| {
            ControlError::Unavailable("it was not reached since this server started".to_owned())
        })
    }

    /// What deliveries keep, once the database was reached.
    pub(crate) fn store(&self) -> Option<Arc<dyn delivery::Store>> {
        Some(Arc::new(self.follower.plane()?.clone()))
    }

    /// What is due when, once the database was reached.
    #[expect(dead_code, reason = "nothing is delayed yet")]
    pub(crate) fn index(&self) -> Option<Arc<dyn delivery::schedule::Index>> {
        Some(Arc::new(self.follower.plane()?.clone()))
    }

    /// The database, for a call that looks; `None` while it is away, and what was last seen must do.
    fn plane_to_look_at(&self) -> Option<&ControlPlane> {
        self.follower.plane().filter(|_| self.follower.is_reachable())
    }
}

/// Of a change that was stored.
fn stored_only(why: String) -> ControlError {
    ControlError::Unserved(format!(
        "it is stored, but cannot be served yet: {why}\nonce that is cured it is served by itself: every \
         server tries again every {} s",
        TRY_AGAIN_AFTER.as_secs()
    ))
}

fn definition(described: Described) -> Definition {
    Definition { namespace: Arc::new(described.namespace), text: described.source }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn error(error: PlaneError, name: &str) -> ControlError {
    let message = error.to_string();
    if error.is_unreachable() {
        return ControlError::Unavailable(message);
    }
    match error {
        PlaneError::Invalid(_) | PlaneError::FileTooLarge { .. } => {
            ControlError::InvalidDefinition(message)
        }
        PlaneError::ChangeRefused(_)
        | PlaneError::TooMany
        | PlaneError::TooManyPools
        | PlaneError::BadPoolName { .. }
        | PlaneError::PoolExists { .. }
        | PlaneError::NoteTooLong => ControlError::ChangeRefused(message),
        PlaneError::Exists { name, .. } => ControlError::Exists { name },
        PlaneError::NotFound { .. } => ControlError::NotFound { name: name.to_owned() },
        PlaneError::Conflict { name, expected, current } => {
            ControlError::VersionConflict { name, expected, found: current }
        }
        PlaneError::Damaged { .. } | PlaneError::Storage(_) => ControlError::Broken(message),
    }
}

/// The error of a call that names both a namespace and a pool.
fn pin_error(failed: PlaneError, namespace: &str) -> ControlError {
    match failed {
        PlaneError::NotFound { ref what, .. } if what.starts_with("pool ") => {
            ControlError::ChangeRefused(failed.to_string())
        }
        other => error(other, namespace),
    }
}

/// The name that a file gives, for messages; empty if it cannot be read.
fn named(file: &str) -> String {
    Namespace::from_toml(file).map(|namespace| namespace.name().to_owned()).unwrap_or_default()
}

/// Namespaces that are being opened and changed: whichever takes its time holds up no other.
#[derive(Default)]
struct Serving {
    tasks: JoinSet<(String, Result<(), String>)>,
    busy: BTreeSet<String>,
    /// To be tried again.
    unserved: BTreeSet<String>,
}

impl Serving {
    /// Begins to serve all that is not served yet as it should be.
    fn begin(&mut self, namespaces: &Namespaces, snapshot: &Snapshot) {
        for placed in &snapshot.namespaces {
            let namespace = Arc::new(placed.described.namespace.clone());
            let name = namespace.name().to_owned();
            if !self.busy.insert(name.clone()) {
                self.unserved.insert(name); // with another version, maybe
                continue;
            }
            self.unserved.remove(&name);
            let served = namespaces.serve(namespace, Some(placed.pool.clone()));
            self.tasks.spawn(async move { (name, served.await) });
        }
    }

    /// Waits until one has come to an end; `None` if there is none. The error is what cannot be served, by name,
    /// and why.
    async fn next(&mut self) -> Option<Result<(), (String, String)>> {
        let (name, done) = self.tasks.join_next().await?.expect("serving does not panic");
        self.busy.remove(&name);
        let Err(why) = done else { return Some(Ok(())) };
        tracing::error!(namespace = name, "it cannot be served: {why}");
        self.unserved.insert(name.clone());
        Some(Err((name, why)))
    }
}

#[tonic::async_trait]
impl Control for Namespaces {
    async fn create(&self, file: &str) -> Result<Definition, ControlError> {
        let change = Change { by: AUTHOR, note: "", at: now(), expected_version: None };
        let created = match self.plane() {
            Ok(plane) => plane.create(file, &change).await.map_err(|e| error(e, &named(file))),
            Err(away) => Err(away),
        };
        let created = match created {
            // A server that starts with namespace files needs no database to know those that it serves.
            Err(ControlError::Unavailable(_))
                if self.follower.current().namespace(&named(file)).is_some() =>
            {
                return Err(ControlError::Exists { name: named(file) });
            }
            other => definition(other?),
        };
        self.serve(Arc::clone(&created.namespace), None).await.map_err(stored_only)?;
        Ok(created)
    }

    async fn validate(&self, file: &str) -> Result<(Definition, bool), ControlError> {
        let plane = self.plane()?;
        let valid = plane.validate(file).await.map_err(|e| error(e, &named(file)))?;
        let exists = match plane.describe(valid.name(), None).await {
            Ok(_) => true,
            Err(PlaneError::NotFound { .. }) => false,
            Err(other) => return Err(error(other, valid.name())),
        };
        Ok((Definition { namespace: Arc::new(valid), text: file.to_owned() }, exists))
    }

    async fn list(&self) -> Result<Vec<Definition>, ControlError> {
        let snapshot = match self.plane_to_look_at() {
            Some(plane) => Arc::new(plane.snapshot().await.map_err(|e| error(e, ""))?),
            None => self.follower.current(),
        };
        let all = snapshot.namespaces.iter();
        Ok(all.map(|placed| definition(placed.described.clone())).collect())
    }

    async fn describe(&self, name: &str) -> Result<Definition, ControlError> {
        if let Some(plane) = self.plane_to_look_at() {
            let found = plane.describe(name, None).await;
            return Ok(definition(found.map_err(|e| error(e, name))?));
        }
        match self.follower.current().namespace(name) {
            Some(placed) => Ok(definition(placed.described.clone())),
            None => Err(ControlError::NotFound { name: name.to_owned() }),
        }
    }

    async fn change(&self, file: &str, expected_version: u32) -> Result<Definition, ControlError> {
        let expected_version = Some(expected_version);
        let change = Change { by: AUTHOR, note: "", at: now(), expected_version };
        let changed = self.plane()?.change(file, &change).await;
        let changed = definition(changed.map_err(|e| error(e, &named(file)))?);
        self.serve(Arc::clone(&changed.namespace), None).await.map_err(stored_only)?;
        Ok(changed)
    }

    fn deliveries(&self) -> Result<Arc<dyn delivery::Store>, ControlError> {
        Ok(Arc::new(self.plane()?.clone()))
    }

    async fn create_pool(&self, name: &str, note: &str) -> Result<Pool, ControlError> {
        let change = Change { by: AUTHOR, note, at: now(), expected_version: None };
        let created = self.plane()?.create_pool(name, &change).await.map_err(|e| error(e, name))?;
        Ok(Pool { name: created.name, note: created.note, namespaces: Vec::new() })
    }

    async fn pools(&self) -> Result<Vec<Pool>, ControlError> {
        let plane = self.plane()?;
        let pools = plane.pools().await.map_err(|e| error(e, ""))?;
        let snapshot = plane.snapshot().await.map_err(|e| error(e, ""))?;
        let served_by = |pool: &str| {
            let served = snapshot.namespaces.iter().filter(|placed| placed.pool == pool);
            served.map(|placed| placed.described.namespace.name().to_owned()).collect()
        };
        let pools = pools.into_iter().map(|pool| Pool {
            namespaces: served_by(&pool.name),
            name: pool.name,
            note: pool.note,
        });
        Ok(pools.collect())
    }

    async fn pin(&self, namespace: &str, pool: &str, note: &str) -> Result<u32, ControlError> {
        let change = Change { by: AUTHOR, note, at: now(), expected_version: None };
        let pinned = self.plane()?.pin(namespace, pool, &change).await;
        // Every server hears of it in the same way, within a second; this one too.
        Ok(pinned.map_err(|failed| pin_error(failed, namespace))?.version())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use control::{FollowOptions, POLL};

    use super::*;

    /// Takes its time to open.
    #[derive(Default)]
    struct Slow {
        opened: AtomicUsize,
    }

    impl Serve for Slow {
        fn place(&self, _: &str, _: &str) {}

        fn open(&self, _: Arc<Namespace>, _: &str) -> Result<(), String> {
            std::thread::sleep(Duration::from_millis(300));
            self.opened.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }

        fn change(&self, _: Arc<Namespace>) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_namespace_is_opened_once_even_if_its_creator_does_not_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}", folder.path().join("control.db").display());
        let follower = Follower::start(FollowOptions { address, copy: None, poll: POLL }).await;
        let slow = Arc::new(Slow::default());
        let namespaces =
            Namespaces::start(follower.expect("a file"), slow.clone(), Unserved::Stop).await;
        let namespaces = namespaces.expect("there is nothing to serve yet");
        let file = "name = \"n\"\n[[table]]\ncql = \"CREATE TABLE t (id int PRIMARY KEY)\"\n";
        let created =
            tokio::time::timeout(Duration::from_millis(150), namespaces.create(file)).await;
        assert!(created.is_err(), "it took 300 ms");
        let described = namespaces.describe("n").await.expect("it was stored");
        namespaces.serve(described.namespace, None).await.expect("it is served");
        assert_eq!(slow.opened.load(Ordering::SeqCst), 1);
    }

    /// Cannot open one of its namespaces at first, and takes its time to find that out.
    #[derive(Default)]
    struct Picky {
        held: AtomicBool,
        cured: AtomicBool,
        opened: std::sync::Mutex<Vec<String>>,
        placed: std::sync::Mutex<Vec<(String, String)>>,
    }

    impl Serve for Picky {
        fn place(&self, name: &str, pool: &str) {
            let placed = (name.to_owned(), pool.to_owned());
            self.placed.lock().expect("no test panics with it").push(placed);
        }

        fn open(&self, namespace: Arc<Namespace>, _: &str) -> Result<(), String> {
            if namespace.name() == "bad" && !self.cured.load(Ordering::SeqCst) {
                while self.held.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return Err("its tables are away".to_owned());
            }
            self.opened.lock().expect("no test panics with it").push(namespace.name().to_owned());
            Ok(())
        }

        fn change(&self, _: Arc<Namespace>) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_namespace_that_cannot_be_opened_holds_up_no_other_and_is_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}", folder.path().join("control.db").display());
        let follow = || {
            let options = FollowOptions { address: address.clone(), copy: None, poll: POLL };
            async { Follower::start(options).await.expect("a file") }
        };
        let creating = follow().await;
        let plane = creating.plane().expect("a file is never away");
        for name in ["bad", "good"] {
            let change = Change { by: AUTHOR, note: "", at: now(), expected_version: None };
            let table = "[[table]]\ncql = \"CREATE TABLE t (id int PRIMARY KEY)\"\n";
            let created = plane.create(&format!("name = \"{name}\"\n{table}"), &change).await;
            created.expect("they are new");
        }
        let picky = Arc::new(Picky::default());
        let stopped = Namespaces::start(follow().await, picky.clone(), Unserved::Stop).await;
        assert!(stopped.is_err_and(|error| error.to_string().contains("its tables are away")));

        let picky = Arc::new(Picky::default());
        let soon = Unserved::TryAgain(Duration::from_millis(50));
        let started = Namespaces::start(follow().await, picky.clone(), soon).await;
        let _namespaces = started.expect("one of them can be served");
        let opened = || picky.opened.lock().expect("no test panics with it").clone();
        assert_eq!(opened(), ["good"]);
        picky.cured.store(true, Ordering::SeqCst);
        while opened() != ["good", "bad"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What is pinned to another pool is placed there, once.
        let change = Change { by: AUTHOR, note: "", at: now(), expected_version: None };
        plane.create_pool("apart", &change).await.expect("it is new");
        let placed = || picky.placed.lock().expect("no test panics with it").clone();
        for (count, name) in (1..).zip(["good", "bad"]) {
            plane.pin(name, "apart", &change).await.expect("both are there");
            while placed().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let apart = |name: &str| (name.to_owned(), "apart".to_owned());
        assert_eq!(placed(), [apart("good"), apart("bad")]);
    }

    #[tokio::test]
    async fn what_takes_long_to_fail_holds_up_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}", folder.path().join("control.db").display());
        let follower = Follower::start(FollowOptions { address, copy: None, poll: POLL }).await;
        let picky = Arc::new(Picky { held: AtomicBool::new(true), ..Picky::default() });
        let unserved = Unserved::TryAgain(Duration::from_millis(50));
        let namespaces = Namespaces::start(follower.expect("a file"), picky.clone(), unserved);
        let namespaces = namespaces.await.expect("there is nothing to serve yet");
        let file = |name| {
            format!("name = \"{name}\"\n[[table]]\ncql = \"CREATE TABLE t (id int PRIMARY KEY)\"\n")
        };
        let bad = Arc::clone(&namespaces);
        let bad_file = file("bad");
        let failing = tokio::spawn(async move { bad.create(&bad_file).await.map(|_| ()) });
        // By its own server, and by others that see it in the database.
        while namespaces.describe("bad").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        namespaces.create(&file("good")).await.expect("it is served");
        let change = Change { by: AUTHOR, note: "", at: now(), expected_version: None };
        let plane = namespaces.plane().expect("a file is never away");
        plane.create(&file("other"), &change).await.expect("it is new");
        let opened = || picky.opened.lock().expect("no test panics with it").clone();
        while opened() != ["good", "other"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        picky.held.store(false, Ordering::SeqCst);
        assert!(failing.await.expect("it does not panic").is_err());
        picky.cured.store(true, Ordering::SeqCst);
        while opened() != ["good", "other", "bad"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
