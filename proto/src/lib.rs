//! The wire contract of Handfast: messages, clients and servers of the services `handfast.v1.Handfast`
//! and `handfast.v1.HandfastAdmin`, generated from `proto/handfast/v1/*.proto`, whose comments are the
//! reference. `bytes` fields are slices of the message that they came in ([`bytes::Bytes`]).

/// Version 1.
pub mod v1 {
    #![allow(unreachable_pub, missing_docs, clippy::all)]
    tonic::include_proto!("handfast.v1");
}

/// What the servers of one cluster say to each other; not for clients.
pub mod peer {
    #![allow(unreachable_pub, missing_docs, clippy::all)]
    tonic::include_proto!("handfast.peer.v1");
}

/// What the installations of a namespace in several regions say to each other; not for clients.
pub mod region {
    #![allow(unreachable_pub, missing_docs, clippy::all)]
    tonic::include_proto!("handfast.region.v1");
}

mod display;
mod value;

/// The encoded `FileDescriptorSet` of every message and service, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/handfast.v1.bin"));

/// The domain of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "handfast";

/// The address that a server listens on and a client looks at if it is told nothing else.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:7420";

/// The stable reasons of `google.rpc.ErrorInfo`.
pub mod reason {
    /// A field is wrong.
    pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
    /// The id's time is too far ahead of the server's clock.
    pub const ID_FROM_FUTURE: &str = "ID_FROM_FUTURE";
    /// The id was used for other content.
    pub const ID_REUSED: &str = "ID_REUSED";
    /// The id's outcome may have been forgotten.
    pub const ID_TOO_OLD: &str = "ID_TOO_OLD";
    /// There is no such namespace.
    pub const NAMESPACE_NOT_FOUND: &str = "NAMESPACE_NOT_FOUND";
    /// The namespace is there, and this server cannot serve it yet; nothing was logged.
    pub const NAMESPACE_UNSERVED: &str = "NAMESPACE_UNSERVED";
    /// The log says nothing of the transaction.
    pub const TRANSACTION_NOT_FOUND: &str = "TRANSACTION_NOT_FOUND";
    /// A queue is full; nothing was logged.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// A shard has no leader.
    pub const SHARD_UNAVAILABLE: &str = "SHARD_UNAVAILABLE";
    /// The clocks of the server that was asked and of a shard's leader are too far apart.
    pub const CLOCKS_APART: &str = "CLOCKS_APART";
    /// A read waited too long for undecided transactions.
    pub const READ_TIMED_OUT: &str = "READ_TIMED_OUT";
    /// The server stops.
    pub const SHUTTING_DOWN: &str = "SHUTTING_DOWN";
    /// A stream's connection is as old as it may become; what has no answer was not read.
    pub const CONNECTION_AGED: &str = "CONNECTION_AGED";
    /// The log cannot be read just now.
    pub const LOG_UNAVAILABLE: &str = "LOG_UNAVAILABLE";
    /// What a subscription would go on with is not kept any more.
    pub const POSITION_TRIMMED: &str = "POSITION_TRIMMED";
    /// The namespace has another log than the one that a subscription has read.
    pub const LOG_REPLACED: &str = "LOG_REPLACED";
    /// A namespace definition is wrong.
    pub const INVALID_DEFINITION: &str = "INVALID_DEFINITION";
    /// The namespace exists.
    pub const NAMESPACE_EXISTS: &str = "NAMESPACE_EXISTS";
    /// The change is not possible on live data.
    pub const CHANGE_REFUSED: &str = "CHANGE_REFUSED";
    /// A namespace was created or changed, but cannot be served yet.
    pub const NOT_SERVED_YET: &str = "NOT_SERVED_YET";
    /// The namespace was changed meanwhile.
    pub const NAMESPACE_VERSION_CONFLICT: &str = "NAMESPACE_VERSION_CONFLICT";
    /// The store of namespaces is away; nothing was changed.
    pub const CONTROL_UNAVAILABLE: &str = "CONTROL_UNAVAILABLE";
    /// Something broke inside the server.
    pub const INTERNAL: &str = "INTERNAL";
}
