//! What is due later, for administrators.

use delivery::Name;
use delivery::schedule::{EntryState, Filter};
use handfast_proto::v1;
use wal_core::Millis;

use super::write::no_delays;
use crate::service::admin::AdminService;
use crate::service::errors::ServiceError;
use crate::service::listing;

impl AdminService {
    pub(in crate::service) async fn delayed_parts(
        &self,
        request: v1::ListDelayedRequest,
    ) -> Result<v1::ListDelayedResponse, ServiceError> {
        let namespace = self.shared.namespace(&request.namespace, "namespace")?;
        let Some(table) = namespace.delayed_table() else {
            return Err(ServiceError::invalid("namespace", no_delays(&namespace)));
        };
        let after = listing::after(&request.after, place)?;
        let limit = listing::limit(request.limit);
        let said = |at: u64| (at > 0).then_some(Millis(at));
        let state = if request.refused { EntryState::Refused } else { EntryState::Pending };
        let filter = Filter {
            shard: None,
            state: Some(state),
            due_before: said(request.due_before_ms),
            due_since: said(request.due_since_ms),
        };
        let index = self.control.delays()?;
        let found = index.entries(namespace.name(), filter, after, limit).await?;
        let next = match found.last() {
            Some(last) if found.len() >= limit as usize => format!("{}@{}", last.due.0, last.name),
            Some(_) | None => String::new(),
        };
        let count = match request.count {
            true => index.count(namespace.name()).await?,
            false => Default::default(),
        };
        let parts = found.into_iter().map(|entry| v1::DelayedPart {
            name: entry.name.to_string(),
            due_ms: entry.due.0,
            shard: entry.shard.0.into(),
        });
        Ok(v1::ListDelayedResponse {
            parts: parts.collect(),
            next,
            pending: count.pending,
            refused: count.refused,
            table: table.full_name().to_owned(),
        })
    }
}

fn place(text: &str) -> Option<(Millis, Name)> {
    let (due, name) = text.split_once('@')?;
    Some((Millis(due.parse().ok()?), name.parse().ok()?))
}
