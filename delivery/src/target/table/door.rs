//! A store that is opened when it is first needed, and tried again for as long as that fails.

use std::sync::Arc;
use std::time::Duration;

use participant::store::TableStore;
use tokio::sync::watch;
use tokio::time::Instant;

use super::OpenTables;

/// A store that could not be opened is tried again so much later, if somebody needs it.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone)]
enum State {
    /// Nobody has tried, or it failed then and for this reason.
    Closed(Option<(Instant, Arc<str>)>),
    Opening,
    Open(Arc<dyn TableStore>),
}

impl State {
    /// Why it is closed, if it is too early to try again.
    fn failed(&self) -> Option<&Arc<str>> {
        match self {
            Self::Closed(Some((since, why))) if since.elapsed() < AGAIN_AFTER => Some(why),
            Self::Closed(_) | Self::Opening | Self::Open(_) => None,
        }
    }
}

/// Where the store is got.
pub(super) struct Door {
    open: OpenTables,
    state: watch::Sender<State>,
}

impl Door {
    pub(super) fn new(open: OpenTables) -> Self {
        Self { open, state: watch::Sender::new(State::Closed(None)) }
    }

    /// The store, or why it could not be opened a moment ago. Opening goes on if nobody waits for it any more.
    pub(super) async fn store(self: &Arc<Self>) -> Result<Arc<dyn TableStore>, Arc<str>> {
        let mut seen = self.state.subscribe();
        loop {
            let state = seen.borrow_and_update().clone();
            match (state.failed(), &state) {
                (Some(why), _) => return Err(Arc::clone(why)),
                (None, State::Open(store)) => return Ok(Arc::clone(store)),
                (None, State::Closed(_)) => self.begin(),
                (None, State::Opening) => seen.changed().await.expect("the sender is in the door"),
            }
        }
    }

    /// Begins to open it, unless somebody was faster.
    fn begin(self: &Arc<Self>) {
        let begins = self.state.send_if_modified(|state| {
            let begins = matches!(state, State::Closed(_)) && state.failed().is_none();
            if begins {
                *state = State::Opening;
            }
            begins
        });
        if !begins {
            return;
        }
        let door = Arc::clone(self);
        tokio::spawn(async move {
            let opening = {
                let door = Arc::clone(&door);
                tokio::task::spawn_blocking(move || (door.open)())
            };
            let opened = opening.await.unwrap_or_else(|error| Err(error.to_string()));
            door.state.send_replace(match opened {
                Ok(store) => State::Open(store),
                Err(why) => {
                    let text = format!("the tables cannot be opened: {why}");
                    State::Closed(Some((Instant::now(), text.into())))
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use participant::store::memory::MemoryStore;

    use super::*;

    /// A door that opens at the second try, and how often that was tried.
    fn door() -> (Arc<Door>, Arc<AtomicUsize>) {
        let tries = Arc::new(AtomicUsize::new(0));
        let tried = Arc::clone(&tries);
        let open: OpenTables = Box::new(move || match tried.fetch_add(1, Ordering::SeqCst) {
            0 => Err("nobody is there".to_owned()),
            _ => Ok(Arc::new(MemoryStore::default())),
        });
        (Arc::new(Door::new(open)), tries)
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_tried_again_later_and_once_for_all_who_wait() {
        let (door, tries) = door();
        let (one, other) = tokio::join!(door.store(), door.store());
        for failed in [one.err(), other.err(), door.store().await.err()] {
            let why = failed.expect("it fails at first");
            assert_eq!(&*why, "the tables cannot be opened: nobody is there");
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        door.state.send_replace(State::Closed(Some((Instant::now() - AGAIN_AFTER, "".into()))));
        let (one, other) = tokio::join!(door.store(), door.store());
        assert!(one.is_ok() && other.is_ok() && door.store().await.is_ok());
        assert_eq!(tries.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn opening_goes_on_without_those_who_waited() {
        let (door, tries) = door();
        drop(tokio::time::timeout(Duration::ZERO, door.store()).await);
        while door.state.borrow().failed().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1);
    }
}
