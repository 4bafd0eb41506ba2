//! A real HTTP server that keeps what arrives, and can be told how to answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, Version};
use delivery::target::conformance::{Arrival, Bench, Mood};
use delivery::target::{Later, Target};
use tokio::net::TcpListener;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wal_core::message::Message;

/// A message of this content type is never taken.
const UNACCEPTABLE: &str = "test/unacceptable";
/// What the target and HTTP say beside the message's own headers.
const NOT_THE_MESSAGES: [&str; 12] = [
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "handfast-commit-timestamp-us",
    "handfast-key",
    "handfast-namespace",
    "handfast-shard",
    "host",
    "idempotency-key",
    "user-agent",
    "x-api-key",
];

/// What the server says to whatever comes.
#[derive(Clone, Default)]
pub(crate) struct Saying {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// The body is the request's headers.
    pub(crate) repeats: bool,
}

struct Shared {
    mood: Mutex<Mood>,
    saying: Mutex<Saying>,
    requests: Mutex<Vec<(Version, HeaderMap)>>,
    arrivals: UnboundedSender<Arrival>,
    hanging: UnboundedSender<String>,
    ended: UnboundedSender<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server, until the process ends.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    arrivals: AsyncMutex<UnboundedReceiver<Arrival>>,
    hanging: AsyncMutex<UnboundedReceiver<String>>,
    ended: AsyncMutex<UnboundedReceiver<String>>,
    /// The try that was seen to hang last.
    hung: Mutex<String>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (to_arrivals, arrivals) = unbounded_channel();
        let (to_hanging, hanging) = unbounded_channel();
        let (to_ended, ended) = unbounded_channel();
        let shared = Arc::new(Shared {
            mood: Mutex::new(Mood::Takes),
            saying: Mutex::new(Saying { status: 200, ..Saying::default() }),
            requests: Mutex::default(),
            arrivals: to_arrivals,
            hanging: to_hanging,
            ended: to_ended,
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            shared,
            arrivals: AsyncMutex::new(arrivals),
            hanging: AsyncMutex::new(hanging),
            ended: AsyncMutex::new(ended),
            hung: Mutex::default(),
        }
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    /// From now on it says this.
    pub(crate) fn say(&self, saying: Saying) {
        *locked(&self.shared.saying) = saying;
    }

    /// The requests so far: version of HTTP and headers.
    pub(crate) fn requests(&self) -> Vec<(Version, HeaderMap)> {
        locked(&self.shared.requests).clone()
    }
}

/// Tells that a request's connection or stream is gone.
struct Ending {
    shared: Arc<Shared>,
    name: String,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.shared.ended.send(self.name.clone()); // nobody may listen any more
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    locked(&shared.requests).push((head.version, headers.clone()));
    let name = text(&headers, "idempotency-key");
    let mood = *locked(&shared.mood);
    match mood {
        Mood::Takes => {}
        Mood::Away => return response(503, Body::from("not now")),
        Mood::Hangs => {
            let _ending = Ending { shared: Arc::clone(&shared), name: name.clone() };
            let _ = shared.hanging.send(name);
            return std::future::pending().await;
        }
    }
    let Ok(payload) = to_bytes(body, 64 << 20).await else {
        return response(400, Body::from("the body broke off"));
    };
    if text(&headers, "content-type") == UNACCEPTABLE {
        return response(422, Body::from("nobody takes that"));
    }
    let saying = locked(&shared.saying).clone();
    if (200..300).contains(&saying.status) {
        let _ = shared.arrivals.send(arrival(name, &headers, payload));
    }
    let body = if saying.repeats { format!("{headers:#?}") } else { saying.body };
    let mut response = response(saying.status, Body::from(body));
    for (name, value) in saying.headers {
        response.headers_mut().append(name, value.parse().expect("a value"));
    }
    response
}

fn response(status: u16, body: Body) -> Response<Body> {
    Response::builder().status(status).body(body).expect("a status")
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

fn arrival(name: String, headers: &HeaderMap, payload: Bytes) -> Arrival {
    let own = headers.iter().filter(|(name, _)| !NOT_THE_MESSAGES.contains(&name.as_str()));
    Arrival {
        name,
        namespace: text(headers, "handfast-namespace"),
        shard: text(headers, "handfast-shard"),
        timestamp_us: text(headers, "handfast-commit-timestamp-us"),
        key: headers.get("handfast-key").map(|key| decoded(key.as_bytes())),
        content_type: text(headers, "content-type"),
        headers: own
            .map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
        payload,
    }
}

/// Takes percent-encoding off.
fn decoded(text: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(&after[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes.into()
}

/// The suite's bench: a target, and the receiver behind it.
pub(crate) struct HttpBench<T> {
    pub(crate) target: T,
    pub(crate) receiver: Receiver,
    pub(crate) secrets: Vec<String>,
}

impl<T: Target> Bench for HttpBench<T> {
    fn target(&self) -> &dyn Target {
        &self.target
    }

    fn arrived(&self) -> Later<'_, Vec<Arrival>> {
        Box::pin(async {
            let mut arrivals = self.receiver.arrivals.lock().await;
            let mut all = vec![arrivals.recv().await.expect("the server runs")];
            while let Ok(more) = arrivals.try_recv() {
                all.push(more);
            }
            all
        })
    }

    fn turn(&self, mood: Mood) -> Later<'_, ()> {
        Box::pin(async move {
            let mut hanging = self.receiver.hanging.lock().await;
            while hanging.try_recv().is_ok() {}
            *locked(&self.receiver.shared.mood) = mood;
        })
    }

    fn hangs(&self) -> Later<'_, ()> {
        Box::pin(async {
            let name = self.receiver.hanging.lock().await.recv().await.expect("the server runs");
            *locked(&self.receiver.hung) = name;
        })
    }

    fn ended(&self) -> Option<Later<'_, ()>> {
        Some(Box::pin(async {
            let hung = locked(&self.receiver.hung).clone();
            let mut ended = self.receiver.ended.lock().await;
            while ended.recv().await.expect("the server runs") != hung {}
        }))
    }

    fn unacceptable(&self) -> Message {
        Message { content_type: UNACCEPTABLE.into(), ..Message::default() }
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    fn empty_content_type(&self) -> &str {
        "application/octet-stream"
    }

    fn headers_are_as_in_http(&self) -> bool {
        true
    }
}
