//! Both services, health and reflection on one router.

use std::sync::Arc;

use handfast_proto::FILE_DESCRIPTOR_SET;
use handfast_proto::region::region_server::RegionServer;
use handfast_proto::v1::handfast_admin_server::HandfastAdminServer;
use handfast_proto::v1::handfast_server::HandfastServer;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::admin::AdminService;
use super::backend::Backend;
use super::control::Control;
use super::data::DataService;
use super::regions::{MAX_BATCH_BYTES, RegionService};
use super::shared::{Draining, ServiceLimits, Shared};

/// HTTP/2 window of one stream: about what a round trip of batches needs.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 window of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The longest list of headers that is read.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// Stops a service in order. Cheap to clone.
#[derive(Clone)]
pub struct Drain {
    shared: Arc<Shared>,
    health: HealthReporter,
    switch: Arc<watch::Sender<bool>>,
}

impl Drain {
    /// Says NOT_SERVING, refuses new calls with UNAVAILABLE, and ends streams once what they have in
    /// flight is answered. Returns at once; calls in work go on.
    pub async fn begin(&self) {
        for service in HEALTH_NAMES {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        self.switch.send_replace(true);
    }

    /// Waits until every call in work is answered and every stream has ended. Comes after
    /// [`Drain::begin`], or it may never come.
    pub async fn finished(&self) {
        self.shared.idle().await;
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.switch.borrow()
    }
}

/// The names that health is asked about: the whole server, and each service.
const HEALTH_NAMES: [&str; 3] = ["", "handfast.v1.Handfast", "handfast.v1.HandfastAdmin"];

/// Builds the router: data, administration, health (SERVING), reflection. Serve it with [`super::serve`],
/// to be closed after [`Drain::begin`].
pub async fn router(
    backend: Arc<dyn Backend>,
    control: Arc<dyn Control>,
    limits: ServiceLimits,
) -> (Router, Drain) {
    let (switch, draining) = watch::channel(false);
    let shared = Arc::new(Shared::new(backend, limits, Draining::new(draining)));
    let data = HandfastServer::new(DataService { shared: Arc::clone(&shared) })
        .max_decoding_message_size(limits.max_message_bytes);
    let admin = HandfastAdminServer::new(AdminService { shared: Arc::clone(&shared), control });
    let region = RegionServer::new(RegionService { shared: Arc::clone(&shared) })
        .max_decoding_message_size(MAX_BATCH_BYTES);
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in HEALTH_NAMES {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptor set was made by the build");
    let streams = limits.max_streams.max(limits.max_calls).min(u32::MAX as usize) as u32;
    let router = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(streams)
        .http2_keepalive_interval(Some(limits.connections.keepalive))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .add_service(data)
        .add_service(admin)
        .add_service(region)
        .add_service(health_service)
        .add_service(reflection);
    (router, Drain { shared, health, switch: Arc::new(switch) })
}
