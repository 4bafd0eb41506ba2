//! Keeping up with the control plane, whether its database is there or not.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wal_core::Millis;

use crate::copy::{Copy, CopyError};
use crate::error::{ControlError, OpenError, is_busy};
use crate::open::PATIENCE;
use crate::plane::ControlPlane;
use crate::snapshot::Snapshot;

/// How often the database is asked whether anything has changed: a change reaches every server within
/// this time and that of two small queries.
pub const POLL: Duration = Duration::from_secs(1);
/// How long a server that has never seen the database waits for one that is there, but busy: when a whole
/// installation starts at once it may be, and without it there is nothing to serve.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);
/// How often the copy is written again to say that it still holds.
const CONFIRM: Duration = Duration::from_secs(60);
/// How often the log says again that the database is away.
const REMIND: Duration = Duration::from_secs(60);

/// What to follow.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// The database, as [`ControlPlane::open`] takes it.
    pub address: String,
    /// The file for the copy of what was last seen; its folder must be there. `None` keeps none, for a
    /// database that is a file beside it.
    pub copy: Option<PathBuf>,
    /// How often to ask, usually [`POLL`].
    pub poll: Duration,
}

/// Why a server may not go by this control plane.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It cannot be opened, for another reason than that it is away.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is away, and was never seen.
    #[error("{why}; this server has never seen it, and so knows no namespace to serve")]
    NeverSeen {
        /// Why it is away.
        why: Box<FollowError>,
    },
    /// It was opened, and then failed.
    #[error("{0}")]
    Read(#[from] ControlError),
    /// The copy cannot be used, or not be written.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// It belongs to other servers.
    #[error(
        "the control database {address} belongs to installation {found}, this server to {ours}; check \
         the address, or delete {copy} to have it join that one", copy = copy.display()
    )]
    OtherInstallation {
        /// Which database.
        address: String,
        /// Its installation.
        found: String,
        /// The one that was seen before.
        ours: String,
        /// Where that is written.
        copy: PathBuf,
    },
    /// It has lost changes that were seen before.
    #[error(
        "the control database {address} is at revision {found}, this server has seen revision {seen}: \
         changes were lost; restore a newer backup, or delete {copy} to go by what is left",
        copy = copy.display()
    )]
    WentBack {
        /// Which database.
        address: String,
        /// Its revision.
        found: u64,
        /// The one that was seen before.
        seen: u64,
        /// Where that is written.
        copy: PathBuf,
    },
}

impl FollowError {
    fn is_unreachable(&self) -> bool {
        match self {
            Self::Open(error) => error.is_unreachable(),
            Self::Read(error) => error.is_unreachable(),
            Self::NeverSeen { .. }
            | Self::Copy(_)
            | Self::OtherInstallation { .. }
            | Self::WentBack { .. } => false,
        }
    }

    /// Whether the database is there, and only has too much to do, or is starting.
    fn is_busy(&self) -> bool {
        match self {
            Self::Open(OpenError::Unreachable { why, .. })
            | Self::Read(ControlError::Storage(why)) => is_busy(why),
            _ => false,
        }
    }
}

/// The control plane as a server sees it. Dropping it ends the asking.
#[derive(Debug)]
pub struct Follower {
    plane: Arc<OnceLock<ControlPlane>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    reachable: watch::Receiver<bool>,
    asking: JoinHandle<()>,
}

impl Follower {
    /// Opens the database and reads everything; if it is away, goes by the copy of what was last seen,
    /// and keeps on trying.
    pub async fn start(options: FollowOptions) -> Result<Self, FollowError> {
        let plane = OnceLock::new();
        let copy = options.copy.as_deref().map_or(Ok(None), Copy::read);
        let opened = match copy {
            Ok(Some(_)) => open_and_read(&options.address).await,
            Ok(None) | Err(_) => open_and_read_patiently(&options.address).await,
        };
        let (copy, reachable) = match opened {
            Ok((opened, snapshot)) => {
                let seen = match copy {
                    Ok(copy) => copy,
                    Err(error) => {
                        tracing::warn!("{error}; it is written anew, since the database is there");
                        None
                    }
                };
                if let Some(seen) = &seen {
                    check_follows(&options, opened.address(), &seen.snapshot, &snapshot)?;
                }
                let copy = Copy { snapshot, seen_at: now() };
                if let Some(path) = &options.copy {
                    copy.write(path)?;
                }
                plane.set(opened).expect("it was empty");
                (copy, true)
            }
            Err(error) if error.is_unreachable() => {
                let Some(copy) = copy? else {
                    return Err(FollowError::NeverSeen { why: Box::new(error) });
                };
                let age_s = now().0.saturating_sub(copy.seen_at.0) / 1_000;
                tracing::warn!(
                    age_s,
                    revision = copy.snapshot.revision,
                    "{error}; serving by what was last seen of it, {age_s} s ago"
                );
                (copy, false)
            }
            Err(error) => return Err(error),
        };
        let plane = Arc::new(plane);
        let (tell, snapshots) = watch::channel(Arc::new(copy.snapshot));
        let (tell_reachable, reachable) = watch::channel(reachable);
        let asking = Asking {
            plane: Arc::clone(&plane),
            tell,
            tell_reachable,
            written: Instant::now(),
            heard: Instant::now(),
            reminded: Instant::now(),
            options,
        };
        Ok(Self { plane, snapshots, reachable, asking: tokio::spawn(asking.run()) })
    }

    /// What was last seen.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// For waiting for changes: each value is everything as it is now, those between may be missed.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Whether the database answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        *self.reachable.borrow()
    }

    /// The database itself, for administration; `None` until it was reached once.
    pub fn plane(&self) -> Option<&ControlPlane> {
        self.plane.get()
    }
}

async fn open_and_read(address: &str) -> Result<(ControlPlane, Snapshot), FollowError> {
    let opened = ControlPlane::open(address).await?;
    let snapshot = opened.snapshot().await?;
    Ok((opened, snapshot))
}

/// The same, for a server that can do nothing without it.
async fn open_and_read_patiently(address: &str) -> Result<(ControlPlane, Snapshot), FollowError> {
    let begun = Instant::now();
    loop {
        match open_and_read(address).await {
            Err(error) if error.is_busy() && begun.elapsed() < FIRST_PATIENCE => {
                tracing::warn!("{error}; trying again");
                tokio::time::sleep(POLL).await;
            }
            done => return done,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// What the task knows that asks.
struct Asking {
    options: FollowOptions,
    plane: Arc<OnceLock<ControlPlane>>,
    tell: watch::Sender<Arc<Snapshot>>,
    tell_reachable: watch::Sender<bool>,
    /// When the copy was last written.
    written: Instant,
    /// When the database last answered.
    heard: Instant,
    reminded: Instant,
}

impl Asking {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(self.options.poll).await;
            // A server that is paused accepts connections and answers nothing.
            let asked = tokio::time::timeout(PATIENCE, self.ask()).await;
            match asked {
                Ok(Ok(())) => self.note_answer(),
                Ok(Err(error)) => self.note_silence(&error.to_string()),
                Err(_) => self.note_silence("it does not answer"),
            }
        }
    }

    async fn ask(&mut self) -> Result<(), FollowError> {
        let plane = match self.plane.get() {
            Some(plane) => plane,
            None => {
                let (opened, snapshot) = open_and_read(&self.options.address).await?;
                let address = opened.address().to_owned();
                check_follows(&self.options, &address, &self.tell.borrow(), &snapshot)?;
                self.plane.get_or_init(|| opened)
            }
        };
        let seen = Arc::clone(&self.tell.borrow());
        if plane.revision().await? == seen.revision {
            if self.written.elapsed() >= CONFIRM {
                self.keep(&seen);
            }
            return Ok(());
        }
        let snapshot = plane.snapshot().await?;
        check_follows(&self.options, plane.address(), &seen, &snapshot)?;
        tracing::info!(revision = snapshot.revision, "the control plane has changed");
        let snapshot = Arc::new(snapshot);
        // Kept before it is acted on, so that a restart never falls behind what was served.
        self.keep(&snapshot);
        self.tell.send_replace(snapshot);
        Ok(())
    }

    fn keep(&mut self, snapshot: &Snapshot) {
        self.written = Instant::now();
        let Some(path) = &self.options.copy else { return };
        let copy = Copy { snapshot: snapshot.clone(), seen_at: now() };
        if let Err(error) = copy.write(path) {
            tracing::error!(
                "{error}; after a restart without the database, what was seen before counts"
            );
        }
    }

    fn note_answer(&mut self) {
        self.heard = Instant::now();
        if !self.tell_reachable.send_replace(true) {
            tracing::info!("the control database answers again");
        }
    }

    fn note_silence(&mut self, why: &str) {
        let was_reachable = self.tell_reachable.send_replace(false);
        if was_reachable || self.reminded.elapsed() >= REMIND {
            self.reminded = Instant::now();
            let age_s = self.heard.elapsed().as_secs();
            tracing::warn!(age_s, "{why}; serving by what was last seen of the control plane");
        }
    }
}

/// Refuses what cannot be a later state of the same installation.
fn check_follows(
    options: &FollowOptions,
    address: &str,
    seen: &Snapshot,
    found: &Snapshot,
) -> Result<(), FollowError> {
    let (address, copy) = (address.to_owned(), options.copy.clone().unwrap_or_default());
    if found.installation != seen.installation {
        let (found, ours) = (found.installation.clone(), seen.installation.clone());
        return Err(FollowError::OtherInstallation { address, found, ours, copy });
    }
    if found.revision < seen.revision {
        let (found, seen) = (found.revision, seen.revision);
        return Err(FollowError::WentBack { address, found, seen, copy });
    }
    Ok(())
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
