//! What was added so far, and the first failure.

use kubefwd_proto::control::v1::{AddNamespaceRequest, AddServiceRequest};
use serde::Serialize;

use super::requests::AddRequests;
use crate::cache::Cache;
use crate::connect::Daemon;
use crate::error::CliError;
use crate::item::ServiceItem;
use crate::output::Output;
use crate::progress::Targets;

/// Adds one object after the other, and reports each.
pub(super) struct Report {
    out: Output,
    /// What was added.
    pub(super) targets: Targets,
    added: Added,
    failed: Option<u8>,
}

/// The structured form, with the names of REST.
#[derive(Default, Serialize)]
struct Added {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<AddedNamespace>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<AddedService>,
}

#[derive(Serialize)]
struct AddedNamespace {
    key: String,
    namespace: String,
    context: String,
    /// Only after a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<ServiceItem>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddedService {
    key: String,
    service_name: String,
    namespace: String,
    context: String,
    /// Only after a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceItem>,
}

impl Report {
    /// Nothing is added yet.
    pub(super) fn new(out: Output) -> Self {
        Self {
            out,
            targets: Targets::default(),
            added: Added::default(),
            failed: None,
        }
    }

    /// Adds everything. One failure does not stop the others; a lost connection does.
    ///
    /// # Errors
    /// [`CliError::Lost`]; [`CliError::Output`].
    pub(super) async fn add_all(
        &mut self,
        daemon: &mut Daemon,
        requests: AddRequests,
    ) -> Result<(), CliError> {
        for request in requests.namespaces {
            self.add_namespace(daemon, request).await?;
        }
        for request in requests.services {
            self.add_service(daemon, request).await?;
        }
        Ok(())
    }

    async fn add_namespace(
        &mut self,
        daemon: &mut Daemon,
        request: AddNamespaceRequest,
    ) -> Result<(), CliError> {
        let namespace = request.namespace.clone();
        let answer = match daemon.control.add_namespace(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                let what = format!("cannot forward namespace {namespace}");
                return self.fail(CliError::from_status(what, &status));
            }
        };
        self.confirm(&answer.key, answer.revision)?;
        self.targets.namespaces.insert(answer.key.clone());
        self.added.namespaces.push(AddedNamespace {
            key: answer.key,
            namespace,
            context: answer.context,
            services: None,
        });
        Ok(())
    }

    async fn add_service(
        &mut self,
        daemon: &mut Daemon,
        request: AddServiceRequest,
    ) -> Result<(), CliError> {
        let (namespace, service_name) = (request.namespace.clone(), request.service.clone());
        let answer = match daemon.control.add_service(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                let what = format!("cannot forward service {namespace}/{service_name}");
                return self.fail(CliError::from_status(what, &status));
            }
        };
        self.confirm(&answer.key, answer.revision)?;
        self.targets.services.insert(answer.key.clone());
        self.added.services.push(AddedService {
            key: answer.key,
            service_name,
            namespace,
            context: answer.context,
            service: None,
        });
        Ok(())
    }

    fn confirm(&mut self, key: &str, revision: u64) -> Result<(), CliError> {
        self.targets.revision = self.targets.revision.max(revision);
        self.out.confirm(&[key], " added")
    }

    fn fail(&mut self, error: CliError) -> Result<(), CliError> {
        if matches!(error, CliError::Lost { .. }) {
            return Err(error);
        }
        self.out.error(&error);
        self.failed.get_or_insert(error.exit_code());
        Ok(())
    }

    /// Prints the structured form, with the services as the cache has them.
    pub(super) fn print(&mut self, cache: Option<&Cache>) -> Result<(), CliError> {
        if !self.out.is_structured() {
            return Ok(());
        }
        if let Some(cache) = cache {
            let services = || cache.services.values();
            let key = |item: &ServiceItem| item.service.key.to_string();
            let namespace = |item: &ServiceItem| item.service.key.namespace_key().to_string();
            for added in &mut self.added.namespaces {
                let own = services().filter(|item| namespace(item) == added.key);
                added.services = Some(own.cloned().collect());
            }
            for added in &mut self.added.services {
                added.service = services().find(|item| key(item) == added.key).cloned();
            }
        }
        self.out.value(&self.added)
    }

    /// A failed addition, already reported, decides the exit code before an incomplete wait does.
    ///
    /// # Errors
    /// [`CliError::Reported`], or the error of the wait.
    pub(super) fn end(self, result: Result<(), CliError>) -> Result<(), CliError> {
        let Some(code) = self.failed else {
            return result;
        };
        if let Err(error) = result {
            self.out.error(&error);
        }
        Err(CliError::Reported(code))
    }
}
