//! Administration.

use std::time::Duration;

use handfast_proto::reason;
use handfast_proto::v1;
use tonic::{Code, Response, Status};

use crate::client::Client;
use crate::failure::{Failure, Meaning};

/// A change may have to create tables in a cluster, and topics: that takes its time.
const CHANGE_WAIT: Duration = Duration::from_secs(120);

/// Why an administrator's call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The request, or a definition, is wrong. Correct it.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It exists already, or somebody changed it meanwhile, or the change is refused. Look, then decide.
    #[error("{0}")]
    Conflict(String),
    /// The server is away or overloaded. A change may or may not have been made: look first.
    #[error("{0}")]
    Unavailable(String),
    /// It is stored, and cannot be served yet: its log or its tables cannot be opened.
    #[error("{0}")]
    NotServedYet(String),
    /// The server refused for a reason of its own.
    #[error("{1}")]
    Refused(Code, String),
}

impl From<Status> for AdminError {
    fn from(status: Status) -> Self {
        let Failure { meaning, code, message, reason: why, .. } = Failure::from(status);
        match (code, meaning) {
            _ if why == reason::NOT_SERVED_YET => Self::NotServedYet(message),
            (_, Meaning::NotDone | Meaning::InDoubt) => Self::Unavailable(message),
            (Code::InvalidArgument, _) => Self::Invalid(message),
            (Code::NotFound, _) => Self::NotFound(message),
            (Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition, _) => {
                Self::Conflict(message)
            }
            (code, Meaning::Final) => Self::Refused(code, message),
        }
    }
}

/// The administrator's calls. Each is tried once: changes are not safe to repeat blindly.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Client {
    /// The administrator's calls.
    pub fn admin(&self) -> Admin {
        Admin { client: self.clone() }
    }
}

/// The namespace of an answer.
fn namespace(found: Option<v1::Namespace>) -> Result<v1::Namespace, AdminError> {
    found.ok_or_else(|| AdminError::Unavailable(Failure::malformed("it has no namespace").message))
}

impl Admin {
    async fn call<T, R, F: Future<Output = Result<Response<R>, Status>>>(
        &self,
        message: T,
        call: impl FnOnce(
            handfast_proto::v1::handfast_admin_client::HandfastAdminClient<
                tonic::transport::Channel,
            >,
            tonic::Request<T>,
        ) -> F,
    ) -> Result<R, AdminError> {
        self.call_within(self.client.options.wait, message, call).await
    }

    async fn call_within<T, R, F: Future<Output = Result<Response<R>, Status>>>(
        &self,
        wait: Duration,
        message: T,
        call: impl FnOnce(
            handfast_proto::v1::handfast_admin_client::HandfastAdminClient<
                tonic::transport::Channel,
            >,
            tonic::Request<T>,
        ) -> F,
    ) -> Result<R, AdminError> {
        let request = Client::request(wait, message);
        Ok(call(self.client.servers.admin(), request).await?.into_inner())
    }

    /// Creates a namespace from its TOML definition. It serves when this answers.
    pub async fn create_namespace(&self, definition: &str) -> Result<v1::Namespace, AdminError> {
        let message = v1::CreateNamespaceRequest { definition: definition.to_owned() };
        let created = self.call_within(CHANGE_WAIT, message, async |mut admin, it| {
            admin.create_namespace(it).await
        });
        namespace(created.await?.namespace)
    }

    /// What a definition would make, and whether its namespace exists. Changes nothing.
    pub async fn validate_namespace(
        &self,
        definition: &str,
    ) -> Result<(v1::Namespace, bool), AdminError> {
        let message = v1::ValidateNamespaceRequest { definition: definition.to_owned() };
        let valid = self.call(message, async |mut admin, it| admin.validate_namespace(it).await);
        let valid = valid.await?;
        Ok((namespace(valid.namespace)?, valid.exists))
    }

    /// All namespaces, by name.
    pub async fn list_namespaces(&self) -> Result<Vec<v1::Namespace>, AdminError> {
        let message = v1::ListNamespacesRequest {};
        let all = self.call(message, async |mut admin, it| admin.list_namespaces(it).await);
        Ok(all.await?.namespaces)
    }

    /// One namespace.
    pub async fn describe_namespace(&self, name: &str) -> Result<v1::Namespace, AdminError> {
        let message = v1::DescribeNamespaceRequest { name: name.to_owned() };
        let found = self.call(message, async |mut admin, it| admin.describe_namespace(it).await);
        namespace(found.await?.namespace)
    }

    /// Makes a new version of a namespace, if its current one is `expected_version`. One that leaves out a
    /// target with work pending is refused.
    pub async fn change_namespace(
        &self,
        definition: &str,
        expected_version: u32,
    ) -> Result<v1::Namespace, AdminError> {
        self.change(definition, expected_version, false).await
    }

    /// The same, and what a target that is left out has not delivered is given up.
    pub async fn change_namespace_giving_up_pending(
        &self,
        definition: &str,
        expected_version: u32,
    ) -> Result<v1::Namespace, AdminError> {
        self.change(definition, expected_version, true).await
    }

    async fn change(
        &self,
        definition: &str,
        expected_version: u32,
        give_up_pending: bool,
    ) -> Result<v1::Namespace, AdminError> {
        let definition = definition.to_owned();
        let message = v1::ChangeNamespaceRequest { definition, expected_version, give_up_pending };
        let changed = self.call_within(CHANGE_WAIT, message, async |mut admin, it| {
            admin.change_namespace(it).await
        });
        namespace(changed.await?.namespace)
    }

    /// Creates a pool of participants.
    pub async fn create_pool(&self, name: &str, note: &str) -> Result<v1::Pool, AdminError> {
        let message = v1::CreatePoolRequest { name: name.to_owned(), note: note.to_owned() };
        let created = self.call(message, async |mut admin, it| admin.create_pool(it).await);
        let malformed = || AdminError::Unavailable(Failure::malformed("it has no pool").message);
        created.await?.pool.ok_or_else(malformed)
    }

    /// All pools, by name, and what they serve.
    pub async fn list_pools(&self) -> Result<Vec<v1::Pool>, AdminError> {
        let message = v1::ListPoolsRequest {};
        let all = self.call(message, async |mut admin, it| admin.list_pools(it).await);
        Ok(all.await?.pools)
    }

    /// Has the shards of a namespace led by the participants of a pool. How often it was pinned by now.
    pub async fn pin_namespace(
        &self,
        namespace: &str,
        pool: &str,
        note: &str,
    ) -> Result<u32, AdminError> {
        let [namespace, pool, note] = [namespace, pool, note].map(str::to_owned);
        let message = v1::PinNamespaceRequest { namespace, pool, note };
        let pinned = self.call(message, async |mut admin, it| admin.pin_namespace(it).await);
        Ok(pinned.await?.version)
    }

    /// The shards of a namespace, and how they are.
    pub async fn status(&self, namespace: &str) -> Result<v1::GetStatusResponse, AdminError> {
        let message = v1::GetStatusRequest { namespace: namespace.to_owned() };
        self.call(message, async |mut admin, it| admin.get_status(it).await).await
    }

    /// Transactions of a namespace that are durable and undecided, oldest first.
    pub async fn list_unresolved(
        &self,
        namespace: &str,
        min_age_ms: u64,
        limit: u32,
    ) -> Result<Vec<v1::Unresolved>, AdminError> {
        let namespace = namespace.to_owned();
        let message = v1::ListUnresolvedRequest { namespace, min_age_ms, limit };
        let found = self.call(message, async |mut admin, it| admin.list_unresolved(it).await);
        Ok(found.await?.transactions)
    }

    /// The targets of a namespace, and how delivering to them stands.
    pub async fn list_targets(&self, namespace: &str) -> Result<Vec<v1::TargetStatus>, AdminError> {
        let message = v1::ListTargetsRequest { namespace: namespace.to_owned() };
        let found = self.call(message, async |mut admin, it| admin.list_targets(it).await);
        Ok(found.await?.targets)
    }

    /// Tries whatever waits for a retry at once, of the shards that the asked server delivers.
    pub async fn retry_target(&self, namespace: &str, target: &str) -> Result<(), AdminError> {
        let (namespace, target) = (namespace.to_owned(), target.to_owned());
        let message = v1::RetryTargetRequest { namespace, target };
        self.call(message, async |mut admin, it| admin.retry_target(it).await).await.map(drop)
    }

    /// Dead letters, the oldest burial first, at most `limit`, and fewer if they are large; behind what an
    /// earlier answer said as `next`.
    pub async fn list_dead_letters(
        &self,
        namespace: &str,
        selection: v1::DeadLetterSelection,
        limit: u32,
        after: &str,
    ) -> Result<v1::ListDeadLettersResponse, AdminError> {
        self.dead_letters(namespace, selection, (limit, after), false).await
    }

    /// The same without their messages, but for the keys.
    pub async fn outline_dead_letters(
        &self,
        namespace: &str,
        selection: v1::DeadLetterSelection,
        limit: u32,
        after: &str,
    ) -> Result<v1::ListDeadLettersResponse, AdminError> {
        self.dead_letters(namespace, selection, (limit, after), true).await
    }

    async fn dead_letters(
        &self,
        namespace: &str,
        selection: v1::DeadLetterSelection,
        (limit, after): (u32, &str),
        without_payloads: bool,
    ) -> Result<v1::ListDeadLettersResponse, AdminError> {
        let (namespace, after) = (namespace.to_owned(), after.to_owned());
        let selection = Some(selection);
        let message =
            v1::ListDeadLettersRequest { namespace, selection, limit, after, without_payloads };
        self.call(message, async |mut admin, it| admin.list_dead_letters(it).await).await
    }

    /// How many dead letters there are of those that are chosen.
    pub async fn count_dead_letters(
        &self,
        namespace: &str,
        selection: v1::DeadLetterSelection,
    ) -> Result<v1::CountDeadLettersResponse, AdminError> {
        let (namespace, selection) = (namespace.to_owned(), Some(selection));
        let message = v1::CountDeadLettersRequest { namespace, selection };
        self.call(message, async |mut admin, it| admin.count_dead_letters(it).await).await
    }

    /// Has dead letters sent again, or not after all, or gives them up for good. Returns how many. Doing it
    /// again does no harm.
    pub async fn change_dead_letters(
        &self,
        namespace: &str,
        selection: v1::DeadLetterSelection,
        wish: v1::DeadLetterWish,
    ) -> Result<u64, AdminError> {
        let (namespace, selection) = (namespace.to_owned(), Some(selection));
        let message = v1::ChangeDeadLettersRequest { namespace, selection, wish: wish.into() };
        let done = self.call(message, async |mut admin, it| admin.change_dead_letters(it).await);
        Ok(done.await?.letters)
    }

    /// What is due later, or was refused when it was due; what is due first comes first. At most
    /// `request.limit`; behind what an earlier answer said as `next`.
    pub async fn list_delayed(
        &self,
        request: v1::ListDelayedRequest,
    ) -> Result<v1::ListDelayedResponse, AdminError> {
        self.call(request, async |mut admin, it| admin.list_delayed(it).await).await
    }

    /// The regions of a namespace, and, if the asked server sends to them, how that stands.
    pub async fn list_regions(
        &self,
        namespace: &str,
    ) -> Result<v1::ListRegionsResponse, AdminError> {
        let message = v1::ListRegionsRequest { namespace: namespace.to_owned() };
        self.call(message, async |mut admin, it| admin.list_regions(it).await).await
    }

    /// Moves the homes of tables, as the asked region sees them: a step of a failover.
    pub async fn move_homes(
        &self,
        request: v1::MoveHomesRequest,
    ) -> Result<v1::MoveHomesResponse, AdminError> {
        self.call_within(CHANGE_WAIT, request, async |mut admin, it| admin.move_homes(it).await)
            .await
    }

    /// Says up to when everything of another region has arrived.
    pub async fn set_arrived(
        &self,
        request: v1::SetArrivedRequest,
    ) -> Result<v1::SetArrivedResponse, AdminError> {
        self.call(request, async |mut admin, it| admin.set_arrived(it).await).await
    }

    /// Rows whose committed writes the tables refuse for good, of the shards that the asked server leads.
    pub async fn list_parked(
        &self,
        namespace: &str,
        limit: u32,
    ) -> Result<v1::ListParkedResponse, AdminError> {
        let message = v1::ListParkedRequest { namespace: namespace.to_owned(), limit };
        self.call(message, async |mut admin, it| admin.list_parked(it).await).await
    }

    /// Tries parked rows again at once.
    pub async fn retry_parked(
        &self,
        namespace: &str,
        choice: v1::ParkedChoice,
    ) -> Result<v1::RetryParkedResponse, AdminError> {
        let choice = Some(choice);
        let message = v1::RetryParkedRequest { namespace: namespace.to_owned(), choice };
        self.call(message, async |mut admin, it| admin.retry_parked(it).await).await
    }

    /// Gives up what is parked of rows, for good. Doing it again does no harm.
    pub async fn discard_parked(
        &self,
        namespace: &str,
        choice: v1::ParkedChoice,
    ) -> Result<v1::DiscardParkedResponse, AdminError> {
        let choice = Some(choice);
        let message = v1::DiscardParkedRequest { namespace: namespace.to_owned(), choice };
        self.call(message, async |mut admin, it| admin.discard_parked(it).await).await
    }
}
