//! The way to a server, which can be cut: what goes there goes through here.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that are carried at once.
const PIECE: usize = 16 << 10;

/// How a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Everything gets through.
    Open,
    /// Nothing gets through, and nobody is told: what is under way comes later.
    Silent,
    /// Connections are broken, new ones too: what was under way never comes.
    Broken,
}

/// A way, with an address of its own. Dropping it breaks it for good.
pub(super) struct Way {
    address: SocketAddr,
    state: watch::Sender<State>,
    to: watch::Sender<Option<SocketAddr>>,
    _serving: JoinSet<()>,
}

impl Way {
    /// One that leads nowhere yet: whoever takes it waits.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(State::Open);
        let (to, target) = watch::channel(None);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut carried = JoinSet::new();
            loop {
                // A connection that failed before it was taken is its client's business.
                if let Ok((from, _)) = listener.accept().await {
                    carried.spawn(carry(from, target.clone(), states.clone()));
                }
                while carried.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, state, to, _serving: serving })
    }

    /// Where it begins.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it leads.
    pub(super) fn lead_to(&self, server: SocketAddr) {
        self.to.send_replace(Some(server));
    }

    /// Cuts or mends it.
    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Carries one connection until one side ends it, or it is broken. Why it ended is nobody's business.
async fn carry(
    from: TcpStream,
    mut to: watch::Receiver<Option<SocketAddr>>,
    mut state: watch::Receiver<State>,
) -> Option<()> {
    let to = (*to.wait_for(Option::is_some).await.ok()?)?;
    passes(&mut state).await?;
    let there = TcpStream::connect(to).await.ok()?;
    let ((asked, answers), (answered, asks)) = (from.into_split(), there.into_split());
    tokio::select! {
        ended = copy(asked, asks, state.clone()) => ended,
        ended = copy(answered, answers, state) => ended,
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<State>,
) -> Option<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let mut is_broken = state.clone();
        let read = tokio::select! {
            _ = is_broken.wait_for(|it| *it == State::Broken) => return None,
            read = from.read(&mut piece) => read.ok().filter(|count| *count > 0)?,
        };
        passes(&mut state).await?;
        to.write_all(&piece[..read]).await.ok()?;
    }
}

/// Waits until something gets through; `None` if it never does.
async fn passes(state: &mut watch::Receiver<State>) -> Option<()> {
    let state = *state.wait_for(|it| *it != State::Silent).await.ok()?;
    (state == State::Open).then_some(())
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
        way.set(State::Silent);
        client.write_all(b"b").await?;
        let late = tokio::time::timeout(Duration::from_millis(100), served.read_u8()).await;
        assert!(late.is_err(), "nothing gets through");
        way.set(State::Open);
        assert_eq!(served.read_u8().await?, b'b');
        way.set(State::Broken);
        assert!(served.read_u8().await.is_err(), "it is broken");
        assert!(client.read_u8().await.is_err(), "on both sides");
        let mut refused = TcpStream::connect(&begins).await?;
        assert!(refused.read_u8().await.is_err(), "and new ones");
        Ok(())
    }
}
