//! A target that was away for long: much to read, and little room for it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use participant::follow::Place;
use tokio::sync::mpsc;
use wal_core::ShardId;
use wal_core::log::VISIT_BYTES;
use wal_core::message::Message;

use super::world::{NAMESPACE, TARGET, World};
use crate::runtime::reader::{Order, Reader};

const READ: ShardId = ShardId(0);
/// A shard of which there is nothing.
const EMPTY: ShardId = ShardId(1);
const MESSAGES: usize = 4_096;
const PAYLOAD_BYTES: usize = 4_096;

#[test]
fn not_much_more_is_read_than_there_is_room_for() {
    let mut world = World::new();
    for _ in 0..MESSAGES {
        let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
        let targets = vec![TARGET.to_owned()];
        world.encoded("a", Message { payload, targets, ..Message::default() }.encode());
    }
    let (orders, ordered) = crossbeam_channel::unbounded();
    let (batches, mut read) = mpsc::channel(1);
    let reader = Reader {
        namespace: NAMESPACE.into(),
        name: TARGET.into(),
        picks: World::picks(),
        log: Arc::new(world.log.clone()),
        orders: ordered,
        batches,
        progress_every: Duration::ZERO,
        passes_trimmed: false,
    };
    let reader = thread::spawn(move || reader.run());
    let begin = |shard| Order::Begin { shard, generation: 1, place: Place::default() };
    let order = |order| orders.send(order).expect("it reads");

    order(begin(READ));
    let mut seen = read.blocking_recv().expect("it reads").items;
    order(Order::Room { shard: READ, is_there: false });
    order(begin(EMPTY)); // obeyed after that: once this one is told of, nothing more comes of the other
    let mut collect = |is_over: &dyn Fn(ShardId, usize) -> bool| {
        loop {
            let batch = read.blocking_recv().expect("it reads");
            seen.extend(batch.items);
            if is_over(batch.shard, seen.len()) {
                return seen.len();
            }
        }
    };
    let before = collect(&|shard, _| shard == EMPTY);
    // What was received, what waited behind it, what waited for a place to wait, and the visit's rest.
    assert!(before * PAYLOAD_BYTES <= 4 * VISIT_BYTES, "{before} messages of {MESSAGES}");

    order(Order::Room { shard: READ, is_there: true });
    assert_eq!(collect(&|_, count| count >= MESSAGES), MESSAGES);
    assert!(seen.is_sorted_by(|(one, _), (next, _)| one.position < next.position), "in order");
    drop((orders, read));
    reader.join().expect("it ends where nobody listens");
}
