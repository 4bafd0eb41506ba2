//! What waits for one connection. All namespaces share it, and none can fill it: one may have another
//! message waiting as long as it has fewer than there is room for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// The end where messages go in. Cheap to clone.
pub(super) struct Queue<T> {
    sender: mpsc::Sender<Waiting<T>>,
    /// How many of each namespace wait.
    waiting: Arc<Mutex<BTreeMap<Arc<str>, Arc<AtomicUsize>>>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waiting: Arc::clone(&self.waiting) }
    }
}

/// A message that waits, or has waited.
pub(super) struct Waiting<T> {
    pub(super) message: T,
    place: Option<Place>,
}

/// One of its namespace's that wait; given back when this is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Waiting<T> {
    /// The message, which waits no more.
    pub(super) fn take(self) -> T {
        drop(self.place);
        self.message
    }
}

/// The message was not taken: there is no room, or nobody at the other end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dropped;

/// A queue of so many messages.
pub(super) fn queue<T>(length: usize) -> (Queue<T>, mpsc::Receiver<Waiting<T>>) {
    let (sender, receiver) = mpsc::channel(length);
    (Queue { sender, waiting: Arc::default() }, receiver)
}

impl<T> Queue<T> {
    /// Has a message of a namespace wait, if there is room for it.
    pub(super) fn offer(&self, namespace: &Arc<str>, message: T) -> Result<(), Dropped> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = Arc::clone(waiting.entry(namespace.clone()).or_default());
        drop(waiting);
        let place = Place(count);
        if place.0.fetch_add(1, Ordering::Relaxed) >= self.sender.capacity() {
            return Err(Dropped);
        }
        let waiting = Waiting { message, place: Some(place) };
        self.sender.try_send(waiting).map_err(|_| Dropped)
    }

    /// Has a message wait that takes nobody's room: there is always some, for no namespace has all.
    pub(super) fn offer_anyway(&self, message: T) -> Result<(), Dropped> {
        self.sender.try_send(Waiting { message, place: None }).map_err(|_| Dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_cannot_fill_it_and_what_was_taken_makes_room() {
        let (queue, mut taken) = queue(8);
        let [noisy, quiet] = ["noisy", "quiet"].map(Arc::from);
        let offered = |namespace, count| {
            (0..count).filter(|number| queue.offer(namespace, *number).is_ok()).count()
        };
        assert_eq!(offered(&noisy, 100), 4);
        assert_eq!(offered(&quiet, 100), 2);
        assert_eq!(queue.offer_anyway(7), Ok(()));
        assert_eq!((offered(&noisy, 1), offered(&quiet, 1)), (0, 0));
        for number in 0..4 {
            assert_eq!(taken.try_recv().map(Waiting::take), Ok(number));
        }
        assert_eq!((offered(&noisy, 100), offered(&quiet, 100)), (3, 0));
        drop(taken);
        assert_eq!(queue.offer(&quiet, 1), Err(Dropped));
    }
}
