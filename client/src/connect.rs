//! The way to the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use handfast_proto::v1::handfast_admin_client::HandfastAdminClient;
use handfast_proto::v1::handfast_client::HandfastClient;
use tonic::transport::{Channel, Endpoint};

use crate::options::Options;

/// HTTP/2 windows: about what a round trip of batches needs.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// How often a connection is asked whether it is still there, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Why no server could be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No endpoint was given.
    #[error("no endpoint was given; name one, such as http://127.0.0.1:7420")]
    NoEndpoint,
    /// An endpoint is not a URL.
    #[error("endpoint {endpoint:?} is not a URL ({why}); write it as http://host:port")]
    BadEndpoint {
        /// It.
        endpoint: String,
        /// What is wrong.
        why: String,
    },
    /// None of the endpoints answers.
    #[error("no server answers at {endpoints} ({why}); is it running?")]
    Unreachable {
        /// Those that were tried.
        endpoints: String,
        /// What the last one's connection failed with.
        why: String,
    },
}

/// One connection to each server, and the one in use.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    channels: Arc<[Channel]>,
    current: Arc<AtomicUsize>,
}

impl Servers {
    /// Connects to the first server that answers. The others are connected to when they are needed.
    pub(crate) async fn connect(
        endpoints: Vec<String>,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        let mut parsed = Vec::new();
        for endpoint in &endpoints {
            parsed.push(parse(endpoint, options)?);
        }
        let mut last = ConnectError::NoEndpoint;
        for (index, endpoint) in parsed.iter().enumerate() {
            match endpoint.connect().await {
                Ok(connected) => {
                    let lazily = parsed.iter().enumerate().map(|(other, endpoint)| {
                        if other == index { connected.clone() } else { endpoint.connect_lazy() }
                    });
                    let channels = lazily.collect();
                    return Ok(Self { channels, current: Arc::new(AtomicUsize::new(index)) });
                }
                Err(error) => {
                    last = ConnectError::Unreachable {
                        endpoints: endpoints.join(", "),
                        why: innermost(&error),
                    };
                }
            }
        }
        Err(last)
    }

    fn channel(&self) -> Channel {
        self.channels[self.current.load(Ordering::Relaxed) % self.channels.len()].clone()
    }

    /// The data service of the server in use.
    pub(crate) fn data(&self) -> HandfastClient<Channel> {
        HandfastClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The administration service of the server in use.
    pub(crate) fn admin(&self) -> HandfastAdminClient<Channel> {
        HandfastAdminClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Turns to the next server: the one in use failed.
    pub(crate) fn turn(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }
}

fn parse(endpoint: &str, options: &Options) -> Result<Endpoint, ConnectError> {
    let bad = |why: String| ConnectError::BadEndpoint { endpoint: endpoint.to_owned(), why };
    if !endpoint.contains("://") {
        return Err(bad("the scheme is missing".to_owned()));
    }
    let endpoint =
        Endpoint::from_shared(endpoint.to_owned()).map_err(|error| bad(innermost(&error)))?;
    Ok(endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// The cause that says most: the last one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
