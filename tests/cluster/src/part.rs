//! The parts of a cluster, by name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, bail};
use handfast_stack::{Server, Stack};

/// A server of Handfast, by number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// Takes calls, leads nothing.
    Gateway(usize),
    /// Leads shards.
    Participant(usize),
    /// Delivers messages.
    Delivery(usize),
}

impl Member {
    /// What `--role` says.
    pub(crate) const fn role(self) -> &'static str {
        match self {
            Self::Gateway(_) => "gateway",
            Self::Participant(_) => "participant",
            Self::Delivery(_) => "delivery",
        }
    }

    /// Its address in the stack's network, apart from the engines'.
    pub(crate) fn host(self, stack: &Stack) -> IpAddr {
        let (first, index) = match self {
            Self::Gateway(index) => (11, index),
            Self::Participant(index) => (21, index),
            Self::Delivery(index) => (31, index),
        };
        let number = u8::try_from(first + index).expect("there are at most nine of a kind");
        stack.host(number)
    }

    /// Where clients reach it.
    pub(crate) fn grpc(self, stack: &Stack) -> SocketAddr {
        SocketAddr::new(self.host(stack), 7_420)
    }

    /// Where operators reach it.
    pub(crate) fn http(self, stack: &Stack) -> SocketAddr {
        SocketAddr::new(self.host(stack), 7_421)
    }

    /// Where the other servers reach it.
    pub(crate) fn peers(self, stack: &Stack) -> SocketAddr {
        SocketAddr::new(self.host(stack), 7_430)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(index) => write!(f, "gateway-{}", index + 1),
            Self::Participant(index) => write!(f, "participant-{}", index + 1),
            Self::Delivery(index) => write!(f, "delivery-{}", index + 1),
        }
    }
}

/// Anything of a cluster that can be started and hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Kafka, Cassandra, PostgreSQL.
    Engine(Server),
    /// A server of Handfast.
    Member(Member),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(server) => f.write_str(&server.name()),
            Self::Member(member) => member.fmt(f),
        }
    }
}

impl FromStr for Part {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        if name == "postgres" {
            return Ok(Self::Engine(Server::Postgres));
        }
        let hint = "a part is called postgres, or kafka-1, cassandra-2, gateway-1, participant-3";
        let (kind, number) = name.rsplit_once('-').context(hint)?;
        let number: usize = number.parse().context(hint)?;
        let index = number.checked_sub(1).context("parts are numbered from 1")?;
        Ok(match kind {
            "kafka" => Self::Engine(Server::Kafka(index)),
            "cassandra" => Self::Engine(Server::Cassandra(index)),
            "gateway" => Self::Member(Member::Gateway(index)),
            "participant" => Self::Member(Member::Participant(index)),
            "delivery" => Self::Member(Member::Delivery(index)),
            _ => bail!("there is no kind of part called {kind:?}: {hint}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written() {
        for name in
            ["postgres", "kafka-1", "cassandra-3", "gateway-2", "participant-9", "delivery-1"]
        {
            let part: Part = name.parse().expect("a name");
            assert_eq!(part.to_string(), name);
        }
        for name in ["", "kafka", "kafka-0", "kafka-x", "zookeeper-1"] {
            name.parse::<Part>().expect_err("no name");
        }
    }
}
