//! What stands between the target and a real server, and can let it hang.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery::target::conformance::{Arrival, Bench, Mood};
use delivery::target::{Later, MemcachedTarget, Target};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use wal_core::message::Message;

use crate::stored;

struct Shared {
    mood: Mutex<Mood>,
    stored: UnboundedSender<String>,
    hanging: UnboundedSender<()>,
    ended: UnboundedSender<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens before a server, command by command.
pub(crate) struct Between {
    pub(crate) address: SocketAddr,
    server: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
    stored: AsyncMutex<UnboundedReceiver<String>>,
    hanging: AsyncMutex<UnboundedReceiver<()>>,
    ended: AsyncMutex<UnboundedReceiver<()>>,
}

impl Between {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (to_stored, stored) = unbounded_channel();
        let (to_hanging, hanging) = unbounded_channel();
        let (to_ended, ended) = unbounded_channel();
        let shared = Arc::new(Shared {
            mood: Mutex::new(Mood::Takes),
            stored: to_stored,
            hanging: to_hanging,
            ended: to_ended,
        });
        let listening = tokio::spawn(listen(listener, server, Arc::clone(&shared)));
        Self {
            address,
            server,
            shared,
            listening: Mutex::new(Some(listening)),
            stored: AsyncMutex::new(stored),
            hanging: AsyncMutex::new(hanging),
            ended: AsyncMutex::new(ended),
        }
    }

    async fn turn(&self, mood: Mood) {
        *locked(&self.shared.mood) = mood;
        let is_listening = locked(&self.listening).is_some();
        match mood {
            // Its connections end with it.
            Mood::Away => {
                let listening = locked(&self.listening).take();
                if let Some(listening) = listening {
                    listening.abort();
                    let _ = listening.await; // aborted
                }
                // A process that another test is starting has the socket, too, until it becomes its program.
                while TcpStream::connect(self.address).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Mood::Takes | Mood::Hangs if is_listening => {}
            Mood::Takes | Mood::Hangs => {
                let listener = TcpListener::bind(self.address).await.expect("its port is free");
                let listening = listen(listener, self.server, Arc::clone(&self.shared));
                *locked(&self.listening) = Some(tokio::spawn(listening));
            }
        }
    }
}

async fn listen(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a listener accepts");
        connections.spawn(pass_on(client, server, Arc::clone(&shared)));
    }
}

/// One connection: each command is passed on whole, and then its answer. In a bad mood it is not, and the
/// connection waits for its end.
async fn pass_on(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    let server = TcpStream::connect(server).await.expect("the server runs");
    let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
    loop {
        let mut command = Vec::new();
        let Ok(1..) = client.read_until(b'\n', &mut command).await else { return };
        let line = String::from_utf8_lossy(&command).into_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "set" {
            let bytes: usize = words[4].parse().expect("how many bytes the value has");
            let mut value = vec![0; bytes + 2];
            if client.read_exact(&mut value).await.is_err() {
                return;
            }
            command.extend(value);
        }
        if *locked(&shared.mood) != Mood::Takes {
            let _ = shared.hanging.send(());
            let more = client.read(&mut [0; 16]).await;
            assert!(matches!(more, Ok(0) | Err(_)), "nothing comes before the answer");
            let _ = shared.ended.send(());
            return;
        }
        server.write_all(&command).await.expect("the server takes it");
        let mut answer = Vec::new();
        server.read_until(b'\n', &mut answer).await.expect("the server answers");
        if answer == b"STORED\r\n" {
            let _ = shared.stored.send(words[1].to_owned());
        }
        if client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// The suite's bench: a target, and what stands before a server.
pub(crate) struct MemcachedBench {
    pub(crate) target: MemcachedTarget,
    pub(crate) between: Between,
}

impl Bench for MemcachedBench {
    fn target(&self) -> &dyn Target {
        &self.target
    }

    /// What the server has under the keys that were set.
    fn arrived(&self) -> Later<'_, Vec<Arrival>> {
        Box::pin(async {
            let mut keys = self.between.stored.lock().await;
            let key = keys.recv().await.expect("somebody passes on");
            let payload = stored(self.between.server, key.as_bytes()).await;
            vec![Arrival {
                payload: payload.expect("it was stored").into(),
                key: Some(key.clone().into()),
                name: key,
                namespace: String::new(),
                shard: String::new(),
                timestamp_us: String::new(),
                content_type: String::new(),
                headers: Vec::new(),
            }]
        })
    }

    fn turn(&self, mood: Mood) -> Later<'_, ()> {
        Box::pin(async move {
            let mut hanging = self.between.hanging.lock().await;
            while hanging.try_recv().is_ok() {}
            let mut ended = self.between.ended.lock().await;
            while ended.try_recv().is_ok() {}
            self.between.turn(mood).await;
        })
    }

    fn hangs(&self) -> Later<'_, ()> {
        Box::pin(async {
            self.between.hanging.lock().await.recv().await.expect("somebody passes on");
        })
    }

    fn ended(&self) -> Option<Later<'_, ()>> {
        Some(Box::pin(async {
            self.between.ended.lock().await.recv().await.expect("somebody passes on");
        }))
    }

    /// Larger than the server's items may be.
    fn unacceptable(&self) -> Message {
        Message { payload: vec![b'x'; 5 << 20].into(), ..Message::default() }
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_keys_and_payloads_only(&self) -> bool {
        true
    }
}
