//! Delivery to memcached, as EVCache speaks it: each message sets an item, or deletes it.
//!
//! # The item
//!
//! The key is the message's, behind the configured prefix; the value is the payload as it is; the flags are 0.
//! Two headers of the message say more, under names without case:
//!
//! | header | what it says |
//! |---|---|
//! | `op` | `set`, as without it, or `delete`: there is no item of the key any more |
//! | `ttl` | after how many seconds the item is gone, 0 to 31,536,000, counted from when the server took it; 0: when the server needs the room. Without it what is configured |
//!
//! An item has no place for anything else: other headers, the content type and the message's name do not go
//! with it. A message without a key, whose key memcached does not allow (over 250 bytes with the prefix, blanks,
//! control characters), or with an `op` or a `ttl` that says something else fails for good.
//!
//! Of several servers one has the item: see the ring in `memcached/ring.rs`. Whoever reads must look for
//! it there; so it is computed as libmemcached does (`ketama`, weighted, MD5), by the names of the servers: what is
//! configured as `host:port`, without the port if that is 11211. Where a client calls them otherwise, say the
//! name behind the address: EVCache's own calls a server `HOST/IP:11211`.
//!
//! # A repeat
//!
//! sets the same value again: nobody need tell it from the first, so that names do not go with items (clause 3
//! has nothing to tell). It makes the item live for another `ttl`, and brings back what was evicted. Messages of a
//! key come in order, so what the last of them left is what stays.
//!
//! # The answer
//!
//! | answer | is | because |
//! |---|---|---|
//! | `STORED`, `DELETED`, `NOT_FOUND` of a delete | delivered | there is nothing more to do |
//! | no connection: refused, no such host, too slow | overloaded | the server is away |
//! | `SERVER_ERROR out of memory …` | overloaded | it can keep nothing now |
//! | `ERROR …`, `CLIENT_ERROR …` about authentication | overloaded | too many connections, or nobody is let in: so for every message |
//! | `SERVER_ERROR object too large …`, other `CLIENT_ERROR` | permanent | it will never be taken as it is |
//! | other `SERVER_ERROR`, `NOT_STORED` and whatever else | transient | another try may do |
//! | no answer in time, broken off | transient | it may be about this message |
//!
//! A value that was refused has taken the item of its key with it: memcached would rather have none than an old one.
//!
//! # A future that is dropped
//!
//! ends its connection at once, and what was not on its way yet never is. What the server had received by then,
//! it may still do.

mod item;
mod ring;
mod wire;

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use wal_core::namespace::MAX_TTL_S;

use self::item::{Item, MAX_KEY_BYTES};
use self::ring::Ring;
use self::wire::{exchange, judge, told};
use super::{Later, Target, TargetError};
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::Outgoing;

/// How long a try may take, unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that may be on their way at once, unless told otherwise.
pub const DEFAULT_MAX_REQUESTS: usize = 256;
/// How long connecting may take, if not half of the time-out is less.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a connection without requests is kept.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// The port that names of servers leave out.
const USUAL_PORT: &str = ":11211";
/// The target as a whole takes nothing.
const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };

/// Options of a [`MemcachedTarget`].
#[derive(Clone, Debug)]
pub struct MemcachedOptions {
    /// The servers, at least one: `host:port`, and behind a blank the name by which keys are spread, if it is
    /// another.
    pub servers: Vec<String>,
    /// What every key begins with.
    pub prefix: String,
    /// After how many seconds items are gone whose messages do not say; 0: when the server needs the room.
    pub ttl_s: u64,
    /// Requests that may be on their way at once, at least 1, each on a connection of its own. More wait for
    /// half of the time-out, and then say that the target is overloaded.
    pub max_requests: usize,
    /// How long a try may take, from connecting to the answer. More than 0.
    pub timeout: Duration,
}

impl MemcachedOptions {
    /// Options with the defaults for everything else.
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            prefix: String::new(),
            ttl_s: 0,
            max_requests: DEFAULT_MAX_REQUESTS,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// One server, and the connections to it that nobody uses, the longest unused first.
struct Server {
    address: String,
    idle: Mutex<Vec<(TcpStream, Instant)>>,
}

/// A target of memcached servers. See the module.
pub struct MemcachedTarget {
    servers: Vec<Server>,
    ring: Ring,
    prefix: String,
    ttl_s: u64,
    turns: Semaphore,
    max_requests: usize,
    timeout: Duration,
}

impl fmt::Debug for MemcachedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.servers.iter().map(|server| &*server.address).collect();
        f.debug_struct("MemcachedTarget").field("servers", &servers).finish_non_exhaustive()
    }
}

impl MemcachedTarget {
    /// Prepares the target; connects to nothing yet.
    ///
    /// # Errors
    /// [`TargetError`] says which option cannot be as it is, and what to write instead.
    pub fn new(options: MemcachedOptions) -> Result<Self, TargetError> {
        let MemcachedOptions { servers, prefix, ttl_s, max_requests, timeout } = options;
        let setting = |name: &str, why: String| TargetError::Setting { name: name.to_owned(), why };
        if timeout.is_zero() {
            return Err(setting("the time-out", "a try takes some time; give it 10 s".to_owned()));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&max_requests) {
            let why = "write 1 or more".to_owned();
            return Err(setting("the number of requests at once", why));
        }
        if ttl_s > MAX_TTL_S {
            return Err(setting("ttl_s", format!("{ttl_s} is more than {MAX_TTL_S}")));
        }
        let plain = prefix.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        if prefix.len() >= MAX_KEY_BYTES || !plain {
            let why = format!("at most {} bytes, no blanks or controls", MAX_KEY_BYTES - 1);
            return Err(setting("prefix", why));
        }
        if servers.is_empty() {
            return Err(setting("servers", "name one, as host:port".to_owned()));
        }
        let named: Vec<(&str, &str)> = servers.iter().map(|server| read_server(server)).collect();
        if let Some((address, _)) = named.iter().find(|(address, _)| !is_address(address)) {
            return Err(setting("servers", format!("{address:?} is not host:port")));
        }
        let ring = Ring::new(named.iter().map(|(_, name)| *name));
        let servers = named
            .iter()
            .map(|(address, _)| Server { address: (*address).to_owned(), idle: Mutex::default() });
        Ok(Self {
            servers: servers.collect(),
            ring,
            prefix,
            ttl_s,
            turns: Semaphore::new(max_requests),
            max_requests,
            timeout,
        })
    }

    async fn deliver(&self, outgoing: Outgoing) -> Answer {
        match self.try_once(&outgoing).await {
            Ok(()) => Answer::Delivered,
            Err((class, text)) => Answer::Failed(Failure { class, text: text.into() }),
        }
    }

    async fn try_once(&self, outgoing: &Outgoing) -> Result<(), (ErrorClass, String)> {
        let item = Item::of(&outgoing.message, &self.prefix, self.ttl_s)
            .map_err(|why| (ErrorClass::Permanent, why))?;
        let began = Instant::now();
        let end = began + self.timeout;
        let Ok(turn) = timeout_at(began + self.timeout / 2, self.turns.acquire()).await else {
            let text = format!("{} requests are on their way already", self.max_requests);
            return Err((AWAY, text));
        };
        let _turn = turn.expect("nobody closes it");
        let server = &self.servers[self.ring.server_of(&item.key)];
        let address = &server.address;
        let mut answer = None;
        if let Some(mut stream) = server.take_idle() {
            match timeout_at(end, exchange(&mut stream, &item)).await {
                // The server had closed it, or is no more: that says nothing about the message.
                Ok(Err(error)) if is_broken(&error) => {}
                said => answer = Some((said, stream)),
            }
        }
        let (said, stream) = match answer {
            Some(answer) => answer,
            None => {
                let mut stream = self.connect(address, end).await?;
                (timeout_at(end, exchange(&mut stream, &item)).await, stream)
            }
        };
        let transient = |text| (ErrorClass::Transient, text);
        let said = said
            .map_err(|_| format!("{address} did not answer within {:?}", self.timeout))
            .and_then(|said| said.map_err(|error| format!("{address} did not answer: {error}")))
            .map_err(transient)?;
        judge(&said.line, &item.op).map_err(|class| (class, told(address, &said.line)))?;
        if said.is_whole {
            server.keep(stream);
        }
        Ok(())
    }

    async fn connect(
        &self,
        address: &str,
        end: Instant,
    ) -> Result<TcpStream, (ErrorClass, String)> {
        let patience = (self.timeout / 2).min(MAX_CONNECT_TIME);
        let text = match timeout_at(end.min(Instant::now() + patience), connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => format!("cannot connect to {address}: {error}"),
            Err(_) => format!("cannot connect to {address} within {patience:?}"),
        };
        Err((AWAY, text))
    }
}

impl Target for MemcachedTarget {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(self.deliver(outgoing))
    }
}

impl Server {
    fn idle(&self) -> MutexGuard<'_, Vec<(TcpStream, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last. One that the server has closed, or on which it has said something
    /// that nobody asked, is none.
    fn take_idle(&self) -> Option<TcpStream> {
        let mut idle = self.idle();
        while let Some((stream, _)) = idle.pop() {
            let nothing = stream.try_read(&mut [0]);
            if nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
        None
    }

    fn keep(&self, stream: TcpStream) {
        let now = Instant::now();
        let mut idle = self.idle();
        let old = idle.partition_point(|(_, since)| now - *since > IDLE_TIME);
        idle.drain(..old);
        idle.push((stream, now));
    }
}

/// Whether the other end has ended a connection.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A try that is given up must not be carried out later, behind the next one of its key: whatever has not left
    // yet goes with the connection.
    stream.set_zero_linger()?;
    Ok(stream)
}

/// Address and name of a server.
fn read_server(text: &str) -> (&str, &str) {
    match text.split_once(' ') {
        Some((address, name)) => (address, name),
        None => (text, text.strip_suffix(USUAL_PORT).unwrap_or(text)),
    }
}

fn is_address(address: &str) -> bool {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_the_names_that_other_clients_give_them() {
        assert_eq!(read_server("cache-1:11211"), ("cache-1:11211", "cache-1"));
        assert_eq!(read_server("cache-1:11212"), ("cache-1:11212", "cache-1:11212"));
        assert_eq!(read_server("[::1]:11211"), ("[::1]:11211", "[::1]"));
        let named = "10.0.0.1:11211 a/10.0.0.1:11211";
        assert_eq!(read_server(named), ("10.0.0.1:11211", "a/10.0.0.1:11211"));
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        let of = |server: &str| MemcachedOptions::new(vec![server.to_owned()]);
        let good = of("localhost:11211");
        MemcachedTarget::new(good.clone()).expect("good");
        for (options, what) in [
            (MemcachedOptions::new(vec![]), "servers"),
            (of("localhost"), "servers"),
            (of(":11211"), "servers"),
            (of("a:0"), "servers"),
            (MemcachedOptions { prefix: "a b".into(), ..good.clone() }, "prefix"),
            (MemcachedOptions { prefix: "a".repeat(250), ..good.clone() }, "prefix"),
            (MemcachedOptions { ttl_s: MAX_TTL_S + 1, ..good.clone() }, "ttl_s"),
            (MemcachedOptions { max_requests: 0, ..good.clone() }, "requests at once"),
            (MemcachedOptions { timeout: Duration::ZERO, ..good.clone() }, "time-out"),
        ] {
            let error = MemcachedTarget::new(options).expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
