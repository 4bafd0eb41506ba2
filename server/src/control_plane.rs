//! The control plane, joined to what serves its namespaces.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use control::{Change, ControlError as PlaneError, ControlPlane, Described};
use coordinator::service::{Control, ControlError, Definition};
use wal_core::Millis;
use wal_core::namespace::Namespace;

/// Who changes a namespace over the API: callers are not told apart yet.
const AUTHOR: &str = "api";

/// Serves namespaces. Both calls may block; the error says why, in words.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Serves a namespace that is not served yet.
    fn open(&self, namespace: Arc<Namespace>) -> Result<(), String>;
    /// Serves the next version of one that is.
    fn change(&self, namespace: Arc<Namespace>) -> Result<(), String>;
}

/// Namespaces, durable and served.
pub(crate) struct Namespaces {
    plane: ControlPlane,
    serve: Arc<dyn Serve>,
    /// One change at a time, so that what is served is what was stored last.
    changing: tokio::sync::Mutex<()>,
}

impl Namespaces {
    pub(crate) fn new(plane: ControlPlane, serve: Arc<dyn Serve>) -> Self {
        Self { plane, serve, changing: tokio::sync::Mutex::new(()) }
    }

    /// Runs something that may block where that is allowed.
    async fn serve(
        &self,
        namespace: &Arc<Namespace>,
        how: impl FnOnce(&dyn Serve, Arc<Namespace>) -> Result<(), String> + Send + 'static,
    ) -> Result<(), ControlError> {
        let (serve, namespace) = (Arc::clone(&self.serve), Arc::clone(namespace));
        match tokio::task::spawn_blocking(move || how(&*serve, namespace)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(ControlError::Broken(format!(
                "it is stored, but cannot be served: {why}; restart the server once that is cured"
            ))),
            Err(error) => Err(ControlError::Broken(format!("it was cut off: {error}"))),
        }
    }
}

fn definition(described: Described) -> Definition {
    Definition { namespace: Arc::new(described.namespace), text: described.source }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn error(error: PlaneError, name: &str) -> ControlError {
    let message = error.to_string();
    match error {
        PlaneError::Invalid(_) | PlaneError::FileTooLarge { .. } => {
            ControlError::InvalidDefinition(message)
        }
        PlaneError::ChangeRefused(_) | PlaneError::TooMany | PlaneError::NoteTooLong => {
            ControlError::ChangeRefused(message)
        }
        PlaneError::Exists { name, .. } => ControlError::Exists { name },
        PlaneError::NotFound { .. } => ControlError::NotFound { name: name.to_owned() },
        PlaneError::Conflict { name, expected, current } => {
            ControlError::VersionConflict { name, expected, found: current }
        }
        PlaneError::Damaged { .. } | PlaneError::Storage(_) => ControlError::Broken(message),
    }
}

/// The name that a file gives, for messages; empty if it cannot be read.
fn named(file: &str) -> String {
    Namespace::from_toml(file).map(|namespace| namespace.name().to_owned()).unwrap_or_default()
}

#[tonic::async_trait]
impl Control for Namespaces {
    async fn create(&self, file: &str) -> Result<Definition, ControlError> {
        let _one = self.changing.lock().await;
        let change = Change { by: AUTHOR, note: "", at: now(), expected_version: None };
        let created = self.plane.create(file, &change).await;
        let created = definition(created.map_err(|e| error(e, &named(file)))?);
        self.serve(&created.namespace, |serve, namespace| serve.open(namespace)).await?;
        Ok(created)
    }

    async fn validate(&self, file: &str) -> Result<(Definition, bool), ControlError> {
        let valid = self.plane.validate(file).await.map_err(|e| error(e, &named(file)))?;
        let exists = match self.plane.describe(valid.name(), None).await {
            Ok(_) => true,
            Err(PlaneError::NotFound { .. }) => false,
            Err(other) => return Err(error(other, valid.name())),
        };
        Ok((Definition { namespace: Arc::new(valid), text: file.to_owned() }, exists))
    }

    async fn list(&self) -> Result<Vec<Definition>, ControlError> {
        let mut all = Vec::new();
        for summary in self.plane.list().await.map_err(|e| error(e, ""))? {
            all.push(self.describe(&summary.name).await?);
        }
        Ok(all)
    }

    async fn describe(&self, name: &str) -> Result<Definition, ControlError> {
        let found = self.plane.describe(name, None).await;
        Ok(definition(found.map_err(|e| error(e, name))?))
    }

    async fn change(&self, file: &str, expected_version: u32) -> Result<Definition, ControlError> {
        let _one = self.changing.lock().await;
        let expected_version = Some(expected_version);
        let change = Change { by: AUTHOR, note: "", at: now(), expected_version };
        let changed = self.plane.change(file, &change).await;
        let changed = definition(changed.map_err(|e| error(e, &named(file)))?);
        self.serve(&changed.namespace, |serve, namespace| serve.change(namespace)).await?;
        Ok(changed)
    }
}
