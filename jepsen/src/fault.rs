//! What may happen to the servers while the clients work. Each ground says which of these it has, and what
//! they are there.

/// What happens to the servers while the clients work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A process that leads shards is killed as by `kill -9`, and started again.
    Kill,
    /// All that lead shards are killed at once, and started again.
    KillAll,
    /// A gateway is killed, and started again.
    KillGateway,
    /// A process that leads shards is stopped for a while (SIGSTOP) and goes on (SIGCONT).
    Pause,
    /// Its wall clock jumps, forward and back.
    Clock,
    /// A process is asked to stop in order (SIGTERM), must exit with 0, and is started again.
    Drain,
    /// The disk is full for a while; then there is room again, and the server is started again.
    Disk,
    /// A Kafka broker is killed, and started again.
    Broker,
    /// A Cassandra node is killed, and started again.
    Node,
    /// PostgreSQL is stopped, and started again.
    Postgres,
    /// A participant is cut off from Kafka.
    CutKafka,
    /// A participant is cut off from Cassandra.
    CutCassandra,
    /// A participant is cut off from PostgreSQL.
    CutPostgres,
    /// A participant is cut off from the other servers.
    CutPeers,
    /// A participant cannot ask the other servers, and they can ask it.
    CutOneWay,
    /// All of these that the ground has, also several at the same time.
    Everything,
}

impl Fault {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::KillGateway => "kill-gateway",
            Self::Pause => "pause",
            Self::Clock => "clock",
            Self::Drain => "drain",
            Self::Disk => "disk",
            Self::Broker => "broker",
            Self::Node => "node",
            Self::Postgres => "postgres",
            Self::CutKafka => "cut-kafka",
            Self::CutCassandra => "cut-cassandra",
            Self::CutPostgres => "cut-postgres",
            Self::CutPeers => "cut-peers",
            Self::CutOneWay => "cut-one-way",
            Self::Everything => "everything",
        }
    }
}
