//! A shard of which something cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use participant::follow::Told;

use super::world::{PATIENCE, Scripted, TARGET, World, only, until};
use crate::message::Ticket;
use crate::outgoing::Outgoing;
use crate::runtime::{Picks, PicksMessages};

/// A message of a form that this version does not know.
const UNKNOWN: Bytes = Bytes::from_static(b"\xEE of a later version");

/// A version that learns to read: it skips what it knows to be for others.
struct Learns(Arc<PicksMessages>, Arc<AtomicBool>);

impl Picks for Learns {
    type Item = (Ticket, Outgoing);

    fn bytes(&self, item: &Self::Item) -> usize {
        self.0.bytes(item)
    }

    fn pick(&self, told: &Told) -> Result<Vec<Self::Item>, String> {
        match self.0.pick(told) {
            Err(_) if self.1.load(Ordering::SeqCst) => Ok(Vec::new()),
            picked => picked,
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_what_is_behind_it_is_shown_and_never_passed() {
    let mut world = World::new();
    world.message("a", "before");
    let id = world.encoded("b", UNKNOWN);
    world.message("a", "behind");
    let target = Scripted::takes_all();
    let learned = Arc::new(AtomicBool::new(false));
    let picks: Arc<PicksMessages> = Arc::new(Learns(World::picks(), Arc::clone(&learned)));

    // However often it is begun anew.
    for _ in 0..3 {
        let delivery = world.deliver_to(Arc::clone(&target) as _, Arc::clone(&picks));
        let why = || only(&delivery)?.unread;
        until("it is shown", || why().is_some_and(|why| why.contains(&id.to_string()))).await;
        until("it is counted", || world.shows("handfast_delivery_unread", 1)).await;
        until("what is before it arrives", || target.has_taken("before")).await;
        delivery.stop(PATIENCE).await;
        let mark = world.store.owner(TARGET).and_then(|owner| owner.mark).expect("stored");
        let record = world.position_of(id);
        assert!(mark.dealt_with <= record && mark.hold <= record, "{mark:?} passes {record}");
        assert!(!target.has_taken("behind"));
    }

    let delivery = world.deliver_to(Arc::clone(&target) as _, picks);
    until("it is shown", || only(&delivery).is_some_and(|it| it.unread.is_some())).await;
    learned.store(true, Ordering::SeqCst);
    delivery.retry();
    until("what is behind it arrives", || target.has_taken("behind")).await;
    until("it is shown no more", || only(&delivery).is_some_and(|it| it.unread.is_none())).await;
    until("it is counted no more", || world.shows("handfast_delivery_unread", 0)).await;
    delivery.stop(PATIENCE).await;
    let taken = target.taken();
    assert_eq!(taken.iter().filter(|it| *it == "behind").count(), 1, "{taken:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_with_its_place() {
    let mut world = World::new();
    world.message("a", "before");
    world.garbage(Bytes::from_static(b"no record"));
    let target = Scripted::takes_all();
    let delivery = world.deliver(&target);
    let why = || only(&delivery)?.unread;
    until("it is shown", || why().is_some_and(|why| why.contains("position"))).await;
    until("what is before it arrives", || target.has_taken("before")).await;
    delivery.stop(PATIENCE).await;
}
