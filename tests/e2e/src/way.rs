//! The way to a server, which can be cut, and counts: what goes there goes through here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that are carried at once.
const PIECE: usize = 16 << 10;

/// How a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayState {
    /// Everything gets through.
    Open,
    /// Nothing gets through, and nobody is told: what is under way comes later.
    Silent,
    /// Connections are broken, new ones too: what was under way never comes.
    Broken,
}

/// What has gone by a way.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    /// Bytes of those who connect, and of what they are answered.
    asked: AtomicU64,
    answered: AtomicU64,
}

/// A way, with an address of its own. Dropping it breaks it for good.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    counts: Arc<Counts>,
    state: watch::Sender<WayState>,
    to: watch::Sender<Option<SocketAddr>>,
    _serving: JoinSet<()>,
}

impl Way {
    /// One that leads nowhere yet: whoever takes it waits.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(WayState::Open);
        let (to, target) = watch::channel(None);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut carried = JoinSet::new();
            loop {
                // A connection that failed before it was taken is its client's business.
                if let Ok((from, _)) = listener.accept().await {
                    counted.connections.fetch_add(1, Ordering::Relaxed);
                    let counted = Arc::clone(&counted);
                    carried.spawn(carry(from, target.clone(), states.clone(), counted));
                }
                while carried.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, counts, state, to, _serving: serving })
    }

    /// Where it begins.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it leads.
    pub fn lead_to(&self, server: SocketAddr) {
        self.to.send_replace(Some(server));
    }

    /// Cuts or mends it.
    pub fn set(&self, state: WayState) {
        self.state.send_replace(state);
    }

    /// How many connections have come, those included that were broken at once.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many bytes those who connect have sent, and were answered.
    pub fn bytes(&self) -> (u64, u64) {
        let Counts { asked, answered, .. } = &*self.counts;
        (asked.load(Ordering::Relaxed), answered.load(Ordering::Relaxed))
    }
}

/// Carries one connection until one side ends it, or it is broken. Why it ended is nobody's business.
async fn carry(
    from: TcpStream,
    mut to: watch::Receiver<Option<SocketAddr>>,
    mut state: watch::Receiver<WayState>,
    counts: Arc<Counts>,
) -> Option<()> {
    let to = (*to.wait_for(Option::is_some).await.ok()?)?;
    passes(&mut state).await?;
    let there = TcpStream::connect(to).await.ok()?;
    let ((asked, answers), (answered, asks)) = (from.into_split(), there.into_split());
    tokio::select! {
        ended = copy(asked, asks, state.clone(), &counts.asked) => ended,
        ended = copy(answered, answers, state, &counts.answered) => ended,
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<WayState>,
    count: &AtomicU64,
) -> Option<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let mut is_broken = state.clone();
        let read = tokio::select! {
            _ = is_broken.wait_for(|it| *it == WayState::Broken) => return None,
            read = from.read(&mut piece) => read.ok().filter(|count| *count > 0)?,
        };
        passes(&mut state).await?;
        to.write_all(&piece[..read]).await.ok()?;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// Waits until something gets through; `None` if it never does.
async fn passes(state: &mut watch::Receiver<WayState>) -> Option<()> {
    let state = *state.wait_for(|it| *it != WayState::Silent).await.ok()?;
    (state == WayState::Open).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_silent_comes_later_and_what_is_broken_never() -> anyhow::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let way = Way::start().await?;
        way.lead_to(server.local_addr()?);
        let begins = way.url();
        let begins = begins.strip_prefix("http://").expect("a URL").to_owned();
        let mut client = TcpStream::connect(&begins).await?;
        client.write_all(b"a").await?;
        let (mut served, _) = server.accept().await?;
        assert_eq!(served.read_u8().await?, b'a');
        way.set(WayState::Silent);
        client.write_all(b"b").await?;
        let late = tokio::time::timeout(Duration::from_millis(100), served.read_u8()).await;
        assert!(late.is_err(), "nothing gets through");
        way.set(WayState::Open);
        assert_eq!(served.read_u8().await?, b'b');
        way.set(WayState::Broken);
        assert!(served.read_u8().await.is_err(), "it is broken");
        assert!(client.read_u8().await.is_err(), "on both sides");
        let mut refused = TcpStream::connect(&begins).await?;
        assert!(refused.read_u8().await.is_err(), "and new ones");
        assert_eq!((way.connections(), way.bytes()), (2, (2, 0)));
        Ok(())
    }
}
