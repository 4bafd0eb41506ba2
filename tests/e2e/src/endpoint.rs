//! An HTTP endpoint that messages are delivered to, and that does as it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
    /// What it was answered.
    pub answered: u16,
}

impl Arrived {
    /// What repeats of it are told by.
    pub fn name(&self) -> &str {
        &self.headers["idempotency-key"]
    }
}

/// Says with which status a request is answered; `None`: it never is.
type Answer = dyn Fn(&Arrived, usize) -> Option<u16> + Send + Sync;

struct Inner {
    arrived: Vec<Arrived>,
    /// How often each came, by name.
    came: BTreeMap<String, usize>,
    answer: Arc<Answer>,
    /// How long an answer takes.
    delay: Duration,
}

/// An endpoint on a free port. It ends with the test.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Endpoint {
    /// Starts one that takes everything.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (arrived, came) = (Vec::new(), BTreeMap::new());
        let inner =
            Inner { arrived, came, answer: Arc::new(|_, _| Some(200)), delay: Duration::ZERO };
        let endpoint = Self { address, inner: Arc::new(Mutex::new(inner)) };
        let router = Router::new().route("/", post(take)).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(endpoint)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The section of a namespace file that makes it a target, with `settings` as further lines.
    pub fn target(&self, name: &str, settings: &str) -> String {
        let url = self.url();
        format!(
            "\n[[target]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"{url}\"\nfirst_pause_ms = 10\n{settings}\n"
        )
    }

    /// From now on requests are answered so: the function gets the request, and how often its message came
    /// before.
    pub fn answers(&self, answer: impl Fn(&Arrived, usize) -> Option<u16> + Send + Sync + 'static) {
        self.inner().answer = Arc::new(answer);
    }

    /// From now on every answer takes so long.
    pub fn takes(&self, delay: Duration) {
        self.inner().delay = delay;
    }

    /// What has come, in that order.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.inner().arrived.clone()
    }

    /// What was taken, in that order: answered 200.
    pub fn taken(&self) -> Vec<Arrived> {
        self.arrived().into_iter().filter(|it| it.answered == 200).collect()
    }

    /// Waits until so many different messages were taken; what was taken then.
    pub async fn until_taken(&self, count: usize) -> anyhow::Result<Vec<Arrived>> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let taken = self.taken();
            let mut names: Vec<&str> = taken.iter().map(Arrived::name).collect();
            names.sort_unstable();
            names.dedup();
            if names.len() >= count {
                return Ok(taken);
            }
            anyhow::ensure!(
                Instant::now() < end,
                "only {} of {count} messages were taken, of {} requests",
                names.len(),
                self.arrived().len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn take(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let mut arrived = Arrived { headers: headers.collect(), body: text(&body), answered: 0 };
    let (answer, delay) = {
        let mut inner = endpoint.inner();
        let came = inner.came.entry(arrived.name().to_owned()).or_default();
        let before = std::mem::replace(came, *came + 1);
        let answer = (inner.answer)(&arrived, before);
        arrived.answered = answer.unwrap_or(0);
        inner.arrived.push(arrived);
        (answer, inner.delay)
    };
    tokio::time::sleep(delay).await;
    match answer.map(StatusCode::from_u16) {
        Some(Ok(status)) => (status, "said the endpoint").into_response(),
        Some(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => std::future::pending().await,
    }
}
