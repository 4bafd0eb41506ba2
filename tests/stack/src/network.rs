//! Addresses: each stack has a network of loopback for itself, so that stacks run side by side on the
//! ports that everybody knows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

/// Tried in turn; a network is nearly always free.
const TRIES: usize = 100;
/// Held while a stack is being started, so that two do not choose the same network.
const CLAIM_PORT: u16 = 20_007;
const CLAIM_HOST: u8 = 254;

/// The first three numbers of a network's addresses; all are on loopback unless chosen otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Network(pub [u8; 3]);

impl Network {
    /// A network that nobody has claimed, and the claim, which ends when it is dropped.
    pub(crate) fn claim_free() -> anyhow::Result<(Self, TcpListener)> {
        for _ in 0..TRIES {
            let network = Self::drawn();
            if let Ok(claim) = network.claim() {
                return Ok((network, claim));
            }
        }
        bail!(
            "no loopback network is free among {TRIES} that were tried: are 127.*.*.* addresses up?"
        )
    }

    /// Claims it; fails if it is claimed.
    pub(crate) fn claim(self) -> anyhow::Result<TcpListener> {
        let claim = SocketAddr::new(self.host(CLAIM_HOST), CLAIM_PORT);
        TcpListener::bind(claim).with_context(|| format!("{claim} is taken"))
    }

    /// One that is drawn, for a stack whose addresses must be known before it is made. It may be taken.
    pub fn drawn() -> Self {
        Self([127, rand::random_range(16..=254), rand::random_range(1..=254)])
    }

    /// The address of host `number`: servers are on 1 to 3.
    pub fn host(self, number: u8) -> IpAddr {
        let [a, b, c] = self.0;
        IpAddr::V4(Ipv4Addr::new(a, b, c, number))
    }
}
