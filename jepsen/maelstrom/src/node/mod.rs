//! A node: the engines of production behind Maelstrom's protocol.
//!
//! ```text
//!  stdin ──▶ reader ──┬─ answers of lin-kv ──▶ log, tables ──┐
//!                     └─ everything else ──▶ core thread ◀────┘ appended, rows read, replayed
//!                                              │  jobs of clients ◀─▶ commit engine ◀─▶ shard engines
//!  stdout ◀── writer ◀─────────────────────────┘
//! ```
//!
//! One thread runs all engines of a node. Every node is a gateway for clients and may lead shards; requests
//! for a shard go to its leader's node. Leadership is proved by leases and decided by the log.

mod ask;
mod core;
mod init;
mod job;
mod peers;
mod seat;
mod storage;

use std::io::{self, BufRead, BufWriter, Write};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use self::core::{Core, Input};
use crate::kv::remote::{RemoteKv, SERVICE};
use crate::protocol::Message;

/// Settings of a node. Nodes of one cluster have the same.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Shards of the namespace.
    pub shards: u16,
    /// How long a lease runs.
    pub lease: Duration,
    /// After how long a leader that nobody hears is taken for dead.
    pub silence: Duration,
    /// A transaction is answered within so long.
    pub answer_txn_within: Duration,
    /// A read, write or compare-and-set of `lin-kv` is answered within so long.
    pub answer_key_within: Duration,
    /// After how long, at most, a request to the service that was not answered is sent again.
    pub storage_timeout: Duration,
    /// Bytes of a shard's log after which a checkpoint is written.
    pub checkpoint_every_bytes: u64,
    /// Answers to transactions carry their commit timestamp.
    pub commit_timestamps: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            shards: 6,
            lease: Duration::from_millis(1_000),
            silence: Duration::from_millis(500),
            answer_txn_within: Duration::from_millis(4_000),
            answer_key_within: Duration::from_millis(900),
            storage_timeout: Duration::from_millis(1_000),
            checkpoint_every_bytes: 256 << 10,
            commit_timestamps: false,
        }
    }
}

/// Serves until stdin ends.
///
/// # Errors
/// If stdin cannot be read, or the service holds what another configuration has written.
pub fn run(options: NodeOptions) -> anyhow::Result<()> {
    let (out, outgoing) = unbounded::<Message>();
    std::thread::Builder::new().name("stdout".into()).spawn(move || write(&outgoing))?;
    let send: crate::kv::remote::Send = Arc::new(move |message| {
        let _ = out.send(message); // the writer ends only with the process
    });
    let (input, arrivals) = unbounded();
    let kv: Arc<OnceLock<Arc<RemoteKv>>> = Arc::default();
    let (answers, arrived) = (Arc::clone(&kv), input.clone());
    std::thread::Builder::new().name("stdin".into()).spawn(move || read(&answers, &arrived))?;

    let ids = Arc::new(AtomicU64::new(1));
    let Some(init) = init::await_init(&arrivals, &send) else { return Ok(()) };
    let remote =
        RemoteKv::new(init.node.clone(), send.clone(), Arc::clone(&ids), options.storage_timeout);
    assert!(kv.set(Arc::clone(&remote)).is_ok(), "a node is initialised once");
    let wiring = core::Wiring { kv: remote, send, ids, input, arrivals };
    Core::open(options, init, wiring)?.run()
}

/// Hands every line on. Answers of the service go straight to who waits for them, since the core thread
/// may be waiting itself.
fn read(kv: &OnceLock<Arc<RemoteKv>>, core: &Sender<Input>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if line.trim().is_empty() {
            continue;
        }
        match Message::parse(&line) {
            Ok(message) => match (message.in_reply_to(), kv.get()) {
                (Some(id), Some(kv)) if message.src == SERVICE => kv.on_reply(id, &message.body),
                _ => {
                    if core.send(Input::Message(message)).is_err() {
                        return; // the core is gone
                    }
                }
            },
            Err(error) => eprintln!("{error}"),
        }
    }
    let _ = core.send(Input::End); // the core may be gone
}

/// Writes messages, each a line; flushes when there is nothing more to write.
fn write(outgoing: &Receiver<Message>) {
    let mut out = BufWriter::new(io::stdout());
    while let Ok(first) = outgoing.recv() {
        for message in std::iter::once(first).chain(outgoing.try_iter()) {
            if writeln!(out, "{}", message.to_line()).is_err() {
                return;
            }
        }
        if out.flush().is_err() {
            return;
        }
    }
}
