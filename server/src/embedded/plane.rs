//! Administration of namespaces: the control plane's store, and what is served of it.

use std::sync::{Arc, PoisonError};

use control::{Change, ControlError as StoreError, Described};
use coordinator::runtime::engine_schema;
use coordinator::service::{Control, ControlError, Definition};
use wal_core::namespace::Namespace;
use wal_core::{Clock, Millis};

use super::Embedded;

/// The author of what comes over the wire: connections carry no names yet.
const AUTHOR: &str = "api";

fn now() -> Millis {
    coordinator::runtime::SystemClock::new().now().millis()
}

const fn change(expected_version: Option<u32>, at: Millis) -> Change<'static> {
    Change { by: AUTHOR, note: "", at, expected_version }
}

fn definition(described: Described) -> Definition {
    Definition { namespace: Arc::new(described.namespace), text: described.source }
}

fn refused(error: StoreError, name: &str) -> ControlError {
    let name = name.to_owned();
    match error {
        StoreError::Invalid(error) => ControlError::InvalidDefinition(error.to_string()),
        StoreError::ChangeRefused(error) => ControlError::ChangeRefused(error.to_string()),
        StoreError::Exists { name, .. } => ControlError::Exists { name },
        StoreError::NotFound { .. } => ControlError::NotFound { name },
        StoreError::Conflict { name, expected, current } => {
            ControlError::VersionConflict { name, expected, found: current }
        }
        other => ControlError::Broken(other.to_string()),
    }
}

/// The name in a definition, as far as it can be read.
fn name_of(definition: &str) -> String {
    Namespace::from_toml(definition).map(|n| n.name().to_owned()).unwrap_or_default()
}

/// What serves the control plane of a data folder.
pub(crate) struct EmbeddedControl(pub(crate) Arc<Embedded>);

#[tonic::async_trait]
impl Control for EmbeddedControl {
    async fn create(&self, text: &str) -> Result<Definition, ControlError> {
        let store = self.0.control();
        let created = store.create(text, &change(None, now())).await;
        let described = created.map_err(|error| refused(error, &name_of(text)))?;
        let served = self.0.serve(described.namespace.clone()).await;
        served.map_err(|error| ControlError::Broken(error.to_string()))?;
        Ok(definition(described))
    }

    async fn validate(&self, text: &str) -> Result<(Definition, bool), ControlError> {
        let validated = self.0.control().validate(text).await;
        let namespace = validated.map_err(|error| refused(error, &name_of(text)))?;
        let exists = self.0.control().describe(namespace.name(), None).await.is_ok();
        Ok((Definition { namespace: Arc::new(namespace), text: text.to_owned() }, exists))
    }

    async fn list(&self) -> Result<Vec<Definition>, ControlError> {
        let summaries = self.0.control().list().await.map_err(|error| refused(error, ""))?;
        let mut definitions = Vec::with_capacity(summaries.len());
        for summary in summaries {
            definitions.push(self.describe(&summary.name).await?);
        }
        Ok(definitions)
    }

    async fn describe(&self, name: &str) -> Result<Definition, ControlError> {
        let described = self.0.control().describe(name, None).await;
        described.map(definition).map_err(|error| refused(error, name))
    }

    async fn change(&self, text: &str, expected_version: u32) -> Result<Definition, ControlError> {
        let changed = self.0.control().change(text, &change(Some(expected_version), now())).await;
        let described = changed.map_err(|error| refused(error, &name_of(text)))?;
        let namespace = Arc::new(described.namespace.clone());
        let all = self.0.served.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(served) = all.get(namespace.name()) {
            // The engines first: nothing validated against the new version may meet the old one.
            served.handle.change_schema(Arc::new(engine_schema(&namespace)));
            *served.namespace.write().unwrap_or_else(PoisonError::into_inner) = namespace;
        }
        drop(all);
        Ok(definition(described))
    }
}
