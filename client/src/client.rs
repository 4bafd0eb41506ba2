//! The client, and how every call of it is tried again.

use std::time::Duration;

use handfast_proto::v1::handfast_client::HandfastClient;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::connect::{ConnectError, Servers};
use crate::failure::{Failure, Meaning};
use crate::options::{Level, Options};

/// What gRPC's own deadline is longer than the wait: the server answers before it, if it lives.
const DEADLINE_SLACK: Duration = Duration::from_secs(2);

/// A client of Handfast. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) servers: Servers,
    pub(crate) options: Options,
}

/// A call that was given up.
pub(crate) struct GivenUp {
    /// The last failure.
    pub(crate) failure: Failure,
    /// Whether this or an earlier try may have been done.
    pub(crate) in_doubt: bool,
}

impl Client {
    /// Connects to the first of the endpoints (`http://host:port`) that answers, with default options.
    /// When it fails, later calls turn to the next.
    pub async fn connect<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
    ) -> Result<Self, ConnectError> {
        Self::connect_with(endpoints, Options::default()).await
    }

    /// Connects with options.
    pub async fn connect_with<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Ok(Self { servers: Servers::connect(endpoints, &options).await?, options })
    }

    /// The same connections with other options.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Self {
        Self { servers: self.servers.clone(), options }
    }

    /// The same connections, answering at another level.
    #[must_use]
    pub fn at_level(&self, level: Level) -> Self {
        self.with_options(Options { level, ..self.options })
    }

    /// Calls, and calls again while that can help and the retry policy allows. `call` must be safe to
    /// repeat.
    pub(crate) async fn retry<T, R: Future<Output = Result<Response<T>, Status>>>(
        &self,
        mut call: impl FnMut(HandfastClient<Channel>) -> R,
    ) -> Result<T, GivenUp> {
        let start = Instant::now();
        let mut in_doubt = false;
        let mut tries = 0;
        loop {
            let failure = match call(self.servers.data()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => Failure::from(status),
            };
            in_doubt |= failure.meaning == Meaning::InDoubt;
            let pause = self.options.retry.pause(tries, failure.retry_after);
            let over = start.elapsed() + pause > self.options.retry.give_up_after;
            if failure.meaning == Meaning::Final || over {
                return Err(GivenUp { failure, in_doubt });
            }
            tracing::debug!(tries, ?pause, reason = failure.message, "trying again");
            if failure.retry_after.is_none() || failure.is_of_this_server() {
                self.servers.turn();
            }
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    /// A request with a deadline a little beyond `wait`.
    pub(crate) fn request<T>(wait: Duration, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(wait + DEADLINE_SLACK);
        request
    }
}
