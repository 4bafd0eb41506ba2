//! Another region, asked by its servers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use delivery::region::{Applied, Arrived, Batch, Peer, PeerError};
use delivery::target::Later;
use handfast_proto::region as wire;
use handfast_proto::region::region_client::RegionClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;
use wal_core::Timestamp;
use wal_core::namespace::{Namespace, RegionSettings};

use super::{MAX_BATCH_BYTES, homes_from_wire, rows};
use crate::service::backend::Backend;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Another region: one connection, to any of its servers.
pub struct RegionPeer {
    backend: Arc<dyn Backend>,
    /// As it was when sending began: its tables only grow.
    namespace: Arc<Namespace>,
    settings: RegionSettings,
    to: String,
    servers: Vec<String>,
    /// The connection, and which server is next.
    open: Mutex<(Option<RegionClient<Channel>>, usize)>,
}

impl RegionPeer {
    /// A region of a namespace that has this name.
    pub fn new(
        backend: Arc<dyn Backend>,
        namespace: Arc<Namespace>,
        settings: RegionSettings,
        to: String,
        servers: Vec<String>,
    ) -> Self {
        Self { backend, namespace, settings, to, servers, open: Mutex::new((None, 0)) }
    }

    fn between(&self) -> wire::Between {
        wire::Between {
            namespace: self.namespace.name().to_owned(),
            from: self.settings.here.clone(),
            to: self.to.clone(),
            term: self.settings.term,
        }
    }

    fn client(&self) -> Result<RegionClient<Channel>, PeerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &open.0 {
            return Ok(client.clone());
        }
        let server = self.servers.get(open.1 % self.servers.len().max(1));
        let server = server.ok_or_else(|| failed("it has no servers".to_owned(), None))?;
        open.1 += 1;
        let endpoint = Endpoint::from_shared(server.clone())
            .map_err(|error| failed(format!("{server}: {error}"), None))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_millis(self.settings.timeout_ms))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let client = RegionClient::new(endpoint.connect_lazy())
            .max_encoding_message_size(MAX_BATCH_BYTES)
            .max_decoding_message_size(MAX_BATCH_BYTES);
        open.0 = Some(client.clone());
        Ok(client)
    }

    /// What a server refused or did not answer. The next call goes to another one, if it may be its fault.
    fn refused(&self, status: &Status) -> PeerError {
        let may_be_server = matches!(
            status.code(),
            tonic::Code::Unavailable
                | tonic::Code::Unknown
                | tonic::Code::DeadlineExceeded
                | tonic::Code::Cancelled
                | tonic::Code::Internal
                | tonic::Code::Unimplemented
        );
        if may_be_server {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
        }
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        failed(format!("region {:?}: {}", self.to, status.message()), retry_after)
    }
}

fn failed(text: String, retry_after: Option<Duration>) -> PeerError {
    PeerError { text, retry_after }
}

fn from_wire(arrived: wire::ArrivedResponse) -> Arrived {
    Arrived {
        watermark: Timestamp(arrived.watermark_us),
        transactions: arrived.transactions,
        term: arrived.term,
        homes: homes_from_wire(arrived.home, arrived.tables),
    }
}

impl Peer for RegionPeer {
    fn arrived(&self) -> Later<'_, Result<Arrived, PeerError>> {
        Box::pin(async move {
            let request = wire::ArrivedRequest { between: Some(self.between()) };
            let answered = self.client()?.arrived(request).await;
            Ok(from_wire(answered.map_err(|status| self.refused(&status))?.into_inner()))
        })
    }

    fn apply(&self, batch: Batch, arrived: u64) -> Later<'_, Result<Applied, PeerError>> {
        Box::pin(async move {
            // The log may have rows of tables that were added since.
            let newest = self.backend.namespace(self.namespace.name());
            let namespace = newest.as_ref().unwrap_or(&self.namespace);
            let (tables, rows) = rows::to_wire(namespace, &batch.rows);
            let request = wire::ApplyRequest {
                between: Some(self.between()),
                after_us: batch.after.0,
                transactions_before: arrived,
                until_us: batch.until.0,
                transactions: batch.transactions,
                tables,
                rows,
            };
            let answered = self.client()?.apply(request).await;
            let answer = answered.map_err(|status| self.refused(&status))?.into_inner();
            let arrived = answer.arrived.map(from_wire).unwrap_or_default();
            Ok(match answer.applied {
                true => Applied::Yes { term: arrived.term },
                false => Applied::Not(arrived),
            })
        })
    }
}
