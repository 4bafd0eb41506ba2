//! Delivering the messages of one shard to one target (a Kafka topic, an HTTP endpoint, …).
//!
//! Words:
//!
//! * a **message** is one thing that a committed record of the shard sends to the target. Its **ticket** is
//!   (position of the record, index inside it): it orders the messages, and is the key by which a target
//!   recognises a repeat;
//! * a **try** is one sending of a message; its number is 1 for the first;
//! * a **lane** is the messages of one key, in log order; only its **head** may be out;
//! * a **dead letter** is a message that was given up, durably stored with the history of its tries, and
//!   **burying** it is to store it there;
//! * the **mark** is the first position that is not wholly dealt with. A message is dealt with once it was
//!   delivered, is durably in the dead letters, or was discarded;
//! * the **window** is how many tries may be in flight at once.
//!
//! [`Engine`] is a pure state machine: [`step`](Engine::step) takes the time and one event, and says what is to
//! be done. Whatever drives it reads the shard's committed stream, sends what the engine says, stores dead
//! letters and marks, and wakes it when it asks for that ([`Engine::next_wake`]).
//!
//! ```text
//!  the shard's committed stream                                                     the target
//!        │                      ┌ lanes ─────────┐  heads  ┌ window ────┐                │
//!        ├─ Take(a1 a2 b1 c1) ─▶│ a: a1 ◀ a2     │────────▶│ in flight  │── Send(a1) ───▶│
//!        ├─ ReadTo(7)           │ b: b1          │         │ a1  b1  c1 │── Send(b1) ───▶│
//!        │                      │ c: c1          │         └────────────┘── Send(c1) ───▶│
//!        │                      └────────────────┘                                       │
//!        │            a1 delivered: a2 is the head, goes next ◀──── Answered(a1) ────────┤
//!        │            b1 transient: lane b waits, a and c go on ◀── Answered(b1) ────────┤
//!        │            c1 permanent ── Bury(c1) ──▶ dead letters ◀── Answered(c1) ────────┤
//!        │                 lane c waits ◀── Buried(c1) ──┘                               │
//!        ▼
//!      Mark ◀── the first position of which a message is still held
//! ```
//!
//! # What is promised
//!
//! * **At least once.** Every message is delivered, or durably in the dead letters, or was discarded by
//!   somebody. A message may be delivered more than once: after a try whose answer was lost, and after a
//!   restart, which goes on from the last mark and hands in again whatever follows it. The ticket is the same
//!   every time.
//! * **Order per key, through retries.** Two messages of a key are never in flight together, and the later one
//!   is not sent before the earlier one was dealt with. After a restart messages behind the mark are repeated,
//!   again in order: what a key's messages leave behind in the end is not stale. Messages without a key have
//!   no order.
//! * **One failing key holds up no other key**, beyond the slots that its tries take: retries take every other
//!   slot at most while there is something fresh to send.
//! * **The mark never passes what is not dealt with.**
//! * **Bounded.** [`Engine::room`] says how much more it takes in. A message that is stuck (a bug on our side,
//!   a long backoff) takes up room, and holds the mark, but what follows it goes on: a restart then repeats
//!   what was delivered since.
//!
//! # What the engine relies on
//!
//! 1. Messages are handed in strictly in the order of their tickets, all of a record before
//!    [`Event::ReadTo`] passes it. Repeats are ignored; what comes after its place was passed is ignored and
//!    counted ([`Status::ignored`]).
//! 2. Messages that are in the dead letters, or were discarded, are not handed in again after a restart.
//!    Otherwise an earlier message of a key could be delivered for the first time after a later one.
//! 3. Every [`Command::Send`] is answered: the driver has a deadline, and answers
//!    [`ErrorClass::Transient`] by itself when it passes. By then the try must be over for sure (connection
//!    closed, idempotent producer), or the target must recognise old tries by their ticket: the engine cannot
//!    call back what is still on its way. The same holds for the tries of an engine that is no more.
//! 4. Every [`Command::Bury`] is answered, `ok` only once the dead letter is durable. Storing the same ticket
//!    again changes nothing.
//! 5. [`Event::Discard`] is given after the discarding is durable.
//! 6. Marks may be stored lazily, but only in the order in which they are said.
//!
//! # How the window is found
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, *Analysis of the increase and decrease
//! algorithms for congestion avoidance in computer networks*, 1989): the window grows by one for each window
//! of deliveries that used at least half of it, and shrinks to a share of the size that overloaded the target.
//! A window shrinks once for the tries that it had in flight, as in TCP (RFC 5681). Then nothing is sent for a
//! pause, exponential with jitter, or longer if the target asks for it; then one try probes. For a while the
//! size that overloaded is in doubt, and the window stays below it.
//!
//! Optionally, latency is a second signal: when its short average is far above its long one, the window shrinks
//! by a tenth, as in the `Gradient2` limit of Netflix's concurrency-limits. The long average follows, so a
//! target that is simply slower than it was is not starved for ever.
//!
//! # Time
//!
//! All durations are microseconds of [`Now::mono_us`](wal_core::Now), which must not go back (an earlier time
//! is taken as the latest seen). Only the history of a message speaks of the wall clock.

mod backoff;
mod caught;
mod config;
mod engine;
mod history;
mod lane;
mod latency;
mod mark;
mod message;
mod outgoing;
pub mod region;
mod rules;
pub mod runtime;
pub mod schedule;
mod store;
pub mod target;
mod window;

pub use config::{
    BurialConfig, DeliveryConfig, LatencyConfig, MarkConfig, Pauses, RetryConfig, WindowConfig,
};
pub use engine::{Command, Engine, Event, Paused, Room, Status, Which};
pub use history::{History, KEPT_TRIES, MAX_TEXT_BYTES, Try};
pub use message::{Answer, Cause, ErrorClass, Failure, Message, Ticket};
pub use outgoing::{Name, NotAName, Outgoing};
pub use rules::{Rule, Rules, Strict, Without};
pub use store::{
    Burial, Chosen, Claim, Course, DeadLetter, LetterCount, LetterPlace, LetterState, Mark, Owner,
    Redriven, Selection, Store, StoreError, Stored, Wish,
};

#[cfg(test)]
mod tests;
