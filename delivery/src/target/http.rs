//! Delivery by HTTP: one POST for each message.
//!
//! # The request
//!
//! The body is the payload, as it is. The connection is HTTP/2 if the server speaks it over TLS (ALPN), else
//! HTTP/1.1. Of the headers, in this order of precedence:
//!
//! | header | value |
//! |---|---|
//! | what is configured | as configured, with every request |
//! | `content-type` | the message's; `application/octet-stream` if it is empty |
//! | `idempotency-key` | the message's [`Name`](crate::Name), without quotes: the same at every try |
//! | `handfast-namespace`, `handfast-shard` | where the message was committed |
//! | `handfast-commit-timestamp-us` | when, microseconds since the Unix epoch |
//! | `handfast-key` | the message's key, percent-encoded (RFC 3986, all but unreserved letters); not there if it has no key |
//! | the message's own | under their names |
//!
//! HTTP has no case in the names of headers, and no order but among those of one name. Nothing else is lost:
//! a header of the message that cannot be sent as it is fails the message for good, and is named. These are
//! names and values that HTTP does not allow, values that begin or end with blanks (a receiver takes them
//! off), what is about the connection (`connection`, `te`, `host`, …), and all that the table has above it.
//!
//! Redirects are not followed: a POST must not wander. Proxies of the environment are not used. A certificate
//! must be by an authority that the system trusts (`SSL_CERT_FILE` names others), or by one of
//! [`HttpOptions::authorities_pem`].
//!
//! # The answer
//!
//! | answer | is | because |
//! |---|---|---|
//! | 2xx | delivered | whatever its body is, and even if the body breaks off |
//! | 429, 503 | overloaded, with `Retry-After` | it says so |
//! | 401, 402, 403, 407 | overloaded | a credential that is wrong, expired or unpaid is so for every message |
//! | 404, 405, 410 | overloaded | the URL is the same for every message: it is wrong, or a deployment is under way |
//! | no connection: refused, no such host, no TLS, too slow | overloaded | the endpoint is away |
//! | 409 | transient | another try with this key is at work still (the `Idempotency-Key` draft) |
//! | 408, 421, 425, other 5xx | transient | another try may do |
//! | no answer in time, broken off, not HTTP | transient | it may be about this message: perhaps it crashes who reads it |
//! | 422 | permanent | this key came with another payload before (the same draft), or the payload makes no sense |
//! | other 4xx, 3xx | permanent | it will never be taken as it is |
//!
//! Overloaded holds up everything and loses nothing: an operator's mistake does not fill the dead letters with
//! messages that are fine. So an endpoint that will never take one message, and is well otherwise, must say
//! so by 400 or 422, not by 403 or 404.
//!
//! Of an answer that is not 2xx the first 200 bytes of text are told, of at most 64 KiB that are read, without
//! anything that was configured. Of the URL nothing but scheme, host and port is ever told: a path or a query may
//! be a secret.
//!
//! # A future that is dropped
//!
//! ends its request: the connection is closed (HTTP/1.1), or the stream is reset (HTTP/2). What the server had
//! read of it by then, it has.

mod answers;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url, retry};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::answers::{judge, retry_after_us};
use super::secrets::{Secrets, excerpt, value_of};
use super::{Later, Target, TargetError};
use crate::message::{Answer, ErrorClass, Failure};
use crate::outgoing::Outgoing;

/// How long a try may take, unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that may be on their way at once, unless told otherwise.
pub const DEFAULT_MAX_REQUESTS: usize = 256;
/// Bytes of an answer's body that are read.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Bytes of it that a failure tells.
const MAX_TOLD_BYTES: usize = 200;
/// How long is waited for it: the status is known already.
const BODY_PATIENCE: Duration = Duration::from_millis(500);
/// How long connecting may take, if not half of the time-out is less.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a connection without requests is kept; servers often close theirs after a minute.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// A connection of HTTP/2 is asked so often whether it is there, and may take so long to answer. Otherwise
/// one whose other end has vanished would fail every request for many minutes.
const PING_EVERY: Duration = Duration::from_secs(5);

/// What the content is if the message does not say.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const NAMESPACE: HeaderName = HeaderName::from_static("handfast-namespace");
const SHARD: HeaderName = HeaderName::from_static("handfast-shard");
const TIMESTAMP: HeaderName = HeaderName::from_static("handfast-commit-timestamp-us");
const KEY: HeaderName = HeaderName::from_static("handfast-key");
/// What begins so is ours.
const OURS: &str = "handfast-";

/// Headers that are said by HTTP itself, or by us.
const RESERVED: [&str; 16] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&name.as_str()) || name.as_str().starts_with(OURS)
}

/// Options of an [`HttpTarget`].
#[derive(Clone)]
pub struct HttpOptions {
    /// Where to post to: `http://…` or `https://…`. A user and a password in it become an `authorization`.
    pub url: String,
    /// What goes with every request, such as `authorization`. A value `env:NAME` is read from the environment.
    pub headers: BTreeMap<String, String>,
    /// Certificates (PEM) of authorities that are trusted beside those of the system.
    pub authorities_pem: Option<String>,
    /// Requests that may be on their way at once, at least 1; so many connections are kept, too. More wait
    /// for half of the time-out, and then say that the target is overloaded.
    pub max_requests: usize,
    /// How long a try may take, from connecting to the end of the answer. More than 0.
    pub timeout: Duration,
}

impl HttpOptions {
    /// Options with the defaults for everything else.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: BTreeMap::new(),
            authorities_pem: None,
            max_requests: DEFAULT_MAX_REQUESTS,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl fmt::Debug for HttpOptions {
    // The URL and the values of headers may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("headers", &self.headers.keys())
            .field("max_requests", &self.max_requests)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A target behind one URL. See the module.
pub struct HttpTarget {
    client: Client,
    url: Url,
    /// What may be told of the URL.
    origin: String,
    /// What goes with every request.
    fixed: HeaderMap,
    secrets: Secrets,
    turns: Semaphore,
    max_requests: usize,
    timeout: Duration,
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTarget").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl HttpTarget {
    /// Prepares the client; connects to nothing yet.
    ///
    /// # Errors
    /// [`TargetError`] says which option cannot be as it is, and what to write instead.
    pub fn new(options: HttpOptions) -> Result<Self, TargetError> {
        let HttpOptions { url, headers, authorities_pem, max_requests, timeout } = options;
        let setting = |name: &str, why: &str| {
            Err(TargetError::Setting { name: name.to_owned(), why: why.to_owned() })
        };
        if timeout.is_zero() {
            return setting("the time-out", "a try takes some time; give it 10 s");
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&max_requests) {
            return setting("the number of requests at once", "write 1 or more");
        }
        let mut secrets = Secrets::default();
        let mut fixed = HeaderMap::new();
        let mut url = read_url(&url)?;
        take_authorization(&mut url, &mut fixed, &mut secrets)?;
        for (name, value) in &headers {
            let (known, value) = read_header(name, value, &mut secrets)?;
            if fixed.insert(known, value).is_some() {
                let why = "it is there twice; say it once".to_owned();
                return Err(TargetError::Header { name: name.clone(), why });
            }
        }
        let client = Client::builder()
            .user_agent(concat!("handfast/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            // Each try is one request, or how often a message was tried would not be known.
            .retry(retry::never())
            .connect_timeout((timeout / 2).min(MAX_CONNECT_TIME))
            .pool_max_idle_per_host(max_requests)
            .pool_idle_timeout(IDLE_TIME)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_EVERY);
        let client = match authorities_pem {
            // Nobody is asked for authorities, which a system may not have.
            None if url.scheme() == "http" => client.tls_certs_only([]),
            None => client,
            Some(pem) => {
                let authorities = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
                if authorities.is_empty() {
                    return setting(
                        "the authorities",
                        "there is no certificate in it: PEM is needed",
                    );
                }
                client.tls_certs_merge(authorities)
            }
        };
        let client = client.build().map_err(|error| TargetError::Client {
            why: format!(
                "{}; see that the system's authorities are installed, or name a file with SSL_CERT_FILE",
                chain(&error)
            ),
        })?;
        Ok(Self {
            client,
            origin: url.origin().ascii_serialization(),
            url,
            fixed,
            secrets,
            turns: Semaphore::new(max_requests),
            max_requests,
            timeout,
        })
    }

    /// The headers of a message's request; or which of them cannot be sent, and why.
    fn headers(&self, outgoing: &Outgoing) -> Result<HeaderMap, String> {
        let message = &outgoing.message;
        let mut headers = self.fixed.clone();
        for (name, value) in &message.headers {
            let cannot = |why: &str| format!("the header {name:?} cannot be sent by HTTP: {why}");
            let known = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| cannot("its name has other letters than HTTP allows"))?;
            if is_reserved(&known) || self.fixed.contains_key(&known) {
                return Err(cannot("it is set by Handfast, or for the whole target"));
            }
            let value = as_it_is(value).map_err(cannot)?;
            let room = headers.try_append(known, value);
            room.map_err(|_| cannot("there are more than a request may have"))?;
        }
        let content_type = match message.content_type.as_str() {
            "" => BYTES,
            text => as_it_is(text.as_bytes())
                .map_err(|why| format!("the content-type cannot be sent by HTTP: {why}"))?,
        };
        let namespace = as_it_is(outgoing.namespace.as_bytes())
            .map_err(|why| format!("the namespace's name cannot be sent by HTTP: {why}"))?;
        headers.insert(CONTENT_TYPE, content_type);
        if message.payload.is_empty() {
            // The client leaves it out, and there are servers that insist on it.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        headers.insert(IDEMPOTENCY_KEY, plain(&outgoing.name.to_string()));
        headers.insert(NAMESPACE, namespace);
        headers.insert(SHARD, HeaderValue::from(outgoing.shard.0));
        headers.insert(TIMESTAMP, HeaderValue::from(outgoing.timestamp.0));
        if let Some(key) = &message.key {
            headers.insert(KEY, plain(&percent_encoded(key)));
        }
        Ok(headers)
    }

    async fn deliver(&self, outgoing: Outgoing) -> Answer {
        let headers = match self.headers(&outgoing) {
            Ok(headers) => headers,
            Err(why) => return self.failed(ErrorClass::Permanent, &why),
        };
        let begun = Instant::now();
        let turn = timeout_at(begun + self.timeout / 2, self.turns.acquire());
        let Ok(turn) = turn.await else {
            let most = self.max_requests;
            let text = format!("{most} requests are under way to {}, as many as may", self.origin);
            return self.failed(AWAY, &text);
        };
        let _turn = turn.expect("nobody closes it");
        let end = begun + self.timeout;
        let request = self.client.post(self.url.clone()).headers(headers);
        let request = request.body(outgoing.message.payload.clone());
        match timeout_at(end, request.send()).await {
            Ok(Ok(response)) => self.answered(response, end).await,
            Ok(Err(error)) => self.broken(error),
            Err(_) => {
                let text = format!("{} has not answered within {:?}", self.origin, self.timeout);
                self.failed(ErrorClass::Transient, &text)
            }
        }
    }

    async fn answered(&self, mut response: Response, end: Instant) -> Answer {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|it| it.to_str().ok());
        let pause_us = header(RETRY_AFTER)
            .and_then(|value| retry_after_us(value, header(DATE), Timestamp::now));
        // Also of what is not told: a connection whose answer was not read cannot be used again.
        let body = beginning(&mut response, end.min(Instant::now() + BODY_PATIENCE)).await;
        let Some(class) = judge(status.as_u16(), pause_us) else { return Answer::Delivered };
        let body = String::from_utf8_lossy(&body);
        // Before it is cut: what is left of a secret would not be known again.
        let body = excerpt(&self.secrets.hide(&body), MAX_TOLD_BYTES);
        let colon = if body.is_empty() { "" } else { ": " };
        self.failed(class, &format!("{} answered {status}{colon}{body}", self.origin))
    }

    /// There is no answer.
    fn broken(&self, error: reqwest::Error) -> Answer {
        let class = match &error {
            error if error.is_connect() => AWAY,
            // A request that could not even be written down is our own fault.
            error if error.is_builder() => ErrorClass::Ours,
            _ => ErrorClass::Transient,
        };
        let what = if class == AWAY { "cannot be reached" } else { "gave no answer" };
        let error = error.without_url();
        // The library's own words say nothing but that something was sent.
        let why = error.source().map_or_else(|| error.to_string(), chain);
        self.failed(class, &format!("{} {what}: {why}", self.origin))
    }

    fn failed(&self, class: ErrorClass, text: &str) -> Answer {
        Answer::Failed(Failure { class, text: self.secrets.hide(text).into() })
    }
}

/// The target as a whole takes nothing, and says not for how long.
const AWAY: ErrorClass = ErrorClass::Overloaded { retry_after_us: None };

impl Target for HttpTarget {
    fn send(&self, outgoing: Outgoing) -> Later<'_, Answer> {
        Box::pin(self.deliver(outgoing))
    }
}

fn read_url(text: &str) -> Result<Url, TargetError> {
    let wrong = |why: &str| TargetError::Url { why: format!("{why}; write https://host/path") };
    // The library's own words could repeat what is secret in it: they do not.
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(wrong("it does not begin with http:// or https://"));
    }
    if url.fragment().is_some() {
        return Err(wrong("what follows a '#' is never sent"));
    }
    Ok(url)
}

/// Makes a header of the user and the password of a URL, and takes what else is secret from it.
fn take_authorization(
    url: &mut Url,
    fixed: &mut HeaderMap,
    secrets: &mut Secrets,
) -> Result<(), TargetError> {
    // Words of an ordinary path or query would only make texts unreadable.
    const LONG: usize = 12;
    for part in url.path_segments().into_iter().flatten().filter(|part| part.len() >= LONG) {
        secrets.add(part);
    }
    for (_, value) in url.query_pairs().filter(|(_, value)| value.len() >= LONG) {
        secrets.add(&value);
    }
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    secrets.add(url.password().unwrap_or_default());
    // The client would do so with every request: once is enough, and then nobody else sees them.
    let request = Client::builder().no_proxy().tls_certs_only([]).build();
    let request = request.and_then(|client| client.post(url.clone()).build());
    let request =
        request.map_err(|error| TargetError::Client { why: chain(&error.without_url()) })?;
    if let Some(value) = request.headers().get(AUTHORIZATION) {
        let mut value = value.clone();
        value.set_sensitive(true);
        secrets.add(value.to_str().unwrap_or_default());
        fixed.insert(AUTHORIZATION, value);
    }
    *url = request.url().clone();
    Ok(())
}

/// A header that goes with every request.
fn read_header(
    name: &str,
    value: &str,
    secrets: &mut Secrets,
) -> Result<(HeaderName, HeaderValue), TargetError> {
    let wrong = |why: &str| TargetError::Header { name: name.to_owned(), why: why.to_owned() };
    let known = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| wrong("its name has other letters than HTTP allows"))?;
    if is_reserved(&known) {
        return Err(wrong("Handfast or HTTP says it itself; leave it out"));
    }
    let value = value_of(name, value)?;
    secrets.add(&value);
    let mut value = as_it_is(value.as_bytes()).map_err(wrong)?;
    value.set_sensitive(true);
    Ok((known, value))
}

/// The value of a header that arrives with exactly these bytes; or why there is none.
fn as_it_is(bytes: &[u8]) -> Result<HeaderValue, &'static str> {
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| b" \t".contains(byte));
    if is_blank(bytes.first()) || is_blank(bytes.last()) {
        return Err("its value begins or ends with a blank, which would be lost");
    }
    HeaderValue::from_bytes(bytes).map_err(|_| "its value has bytes that HTTP does not allow")
}

/// The value of a header that has nothing but letters of ASCII.
fn plain(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("printable ASCII")
}

/// Every byte but RFC 3986's unreserved letters as `%` and two digits.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        }
    }
    text
}

/// The beginning of a body, as far as it comes in time.
async fn beginning(response: &mut Response, end: Instant) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_BODY_BYTES {
        match timeout_at(end, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = MAX_BODY_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            // Its end, or it broke off, or it takes too long.
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    body
}

/// An error with what is behind it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_in_a_path() {
        assert_eq!(percent_encoded(b""), "");
        assert_eq!(percent_encoded(b"aZ09-._~"), "aZ09-._~");
        assert_eq!(percent_encoded("a b/%é".as_bytes()), "a%20b%2F%25%C3%A9");
        assert_eq!(percent_encoded(&[0, 255]), "%00%FF");
    }

    #[test]
    fn a_value_arrives_as_it_is_or_not_at_all() {
        for fine in ["", "a", "a \t b", "\u{e9}"] {
            assert_eq!(as_it_is(fine.as_bytes()).expect("fine").as_bytes(), fine.as_bytes());
        }
        for wrong in [" a", "a ", "\ta", "a\r", "a\nb", "\0", "\u{7f}"] {
            as_it_is(wrong.as_bytes()).expect_err(wrong);
        }
    }
}
