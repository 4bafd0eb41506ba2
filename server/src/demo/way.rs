//! The way from one server to another, which can be cut.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A way with an address of its own. Dropping it cuts it for good.
pub(super) struct Way {
    begins: SocketAddr,
    leads_to: SocketAddr,
    carrying: JoinSet<()>,
}

impl Way {
    /// An open one.
    pub(super) async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let begins = listener.local_addr()?;
        let mut way = Self { begins, leads_to: server, carrying: JoinSet::new() };
        way.carrying.spawn(carry_all(listener, server));
        Ok(way)
    }

    /// Where it begins.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.begins)
    }

    /// Breaks its connections, and refuses new ones.
    pub(super) async fn cut(&mut self) {
        self.carrying.shutdown().await;
    }

    /// Opens it again.
    pub(super) async fn mend(&mut self) -> anyhow::Result<()> {
        let listener = listen(self.begins).await?;
        self.carrying.spawn(carry_all(listener, self.leads_to));
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

async fn carry_all(listener: TcpListener, to: SocketAddr) {
    let mut carried = JoinSet::new();
    loop {
        // A connection that failed before it was taken is its client's business.
        if let Ok((mut from, _)) = listener.accept().await {
            carried.spawn(async move {
                if let Ok(mut there) = TcpStream::connect(to).await {
                    // Why it ended is nobody's business.
                    let _ = copy_bidirectional(&mut from, &mut there).await;
                }
            });
        }
        while carried.try_join_next().is_some() {}
    }
}
