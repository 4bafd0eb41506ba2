//! Addresses: each stack has a network of loopback for itself, so that stacks run side by side on the
//! ports that everybody knows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

/// Tried in turn; a network is nearly always free.
const TRIES: usize = 100;
/// Held while a stack is being started, so that two do not choose the same network.
const CLAIM_PORT: u16 = 7;
const CLAIM_HOST: u8 = 254;

/// The first three numbers of a network's addresses; all are on loopback unless chosen otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Network(pub [u8; 3]);

impl Network {
    /// A network that nobody has claimed, and the claim, which ends when it is dropped.
    pub(crate) fn claim_free() -> anyhow::Result<(Self, TcpListener)> {
        for _ in 0..TRIES {
            let network = Self([127, rand::random_range(16..=254), rand::random_range(1..=254)]);
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
        // A port above 1024, so that anybody may: the claim is a number, not a service.
        let claim = SocketAddr::new(self.host(CLAIM_HOST), 20_000 + CLAIM_PORT);
        TcpListener::bind(claim).with_context(|| format!("{claim} is taken"))
    }

    /// The address of host `number`.
    pub(crate) fn host(self, number: u8) -> IpAddr {
        let [a, b, c] = self.0;
        IpAddr::V4(Ipv4Addr::new(a, b, c, number))
    }
}
