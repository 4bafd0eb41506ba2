//! HTTP for operators: metrics, liveness, readiness, version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;

/// Upper bounds of the buckets of every histogram of seconds.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Whether the server takes calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Operators {
    readiness: Readiness,
    metrics: PrometheusHandle,
}

/// Starts to count. Once for each process.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
        .context("cannot start metrics")
}

/// The routes.
pub(crate) fn routes(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text_of_metrics))
        .route("/version", get(|| async { body("application/json", version()) }))
        .fallback(not_found)
        .with_state(Operators { readiness, metrics })
}

fn version() -> String {
    json!({"version": env!("CARGO_PKG_VERSION")}).to_string()
}

fn body(content_type: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

async fn readyz(State(operators): State<Operators>) -> Response {
    if operators.readiness.is_ready() {
        return "ok\n".into_response();
    }
    problem(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", "the server is starting or stopping")
}

async fn text_of_metrics(State(operators): State<Operators>) -> Response {
    operators.metrics.run_upkeep();
    body("text/plain; version=0.0.4", operators.metrics.render())
}

async fn not_found(uri: Uri) -> Response {
    let detail = format!("there is no {}; try /metrics, /livez, /readyz, /version", uri.path());
    problem(StatusCode::NOT_FOUND, "NOT_FOUND", &detail)
}

/// An error as problem+json (RFC 9457), with a reason that never changes.
fn problem(status: StatusCode, reason: &str, detail: &str) -> Response {
    let problem = json!({"status": status.as_u16(), "title": reason, "detail": detail});
    (status, body("application/problem+json", problem.to_string())).into_response()
}
