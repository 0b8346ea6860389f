//! What was added so far, and the first failure.

use kubefwd_proto::control::v1::AttachRequest;
use serde::Serialize;
use tonic::Response;

use super::super::failures::Failures;
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
    failures: Failures,
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
            failures: Failures::new(out),
        }
    }

    /// Adds everything. One failure does not stop the others; a lost connection does.
    ///
    /// # Errors
    /// [`CliError::Lost`]; [`CliError::Output`].
    pub(super) async fn add_all(
        &mut self,
        daemon: &mut Daemon,
        requests: AttachRequest,
    ) -> Result<(), CliError> {
        for request in requests.namespaces {
            let namespace = request.namespace.clone();
            let what = format!("cannot forward namespace {namespace}");
            let answer = daemon.control.add_namespace(request).await;
            let answer = answer.map(Response::into_inner);
            if let Some(answer) = self.failures.check(answer, what)? {
                self.confirm(&answer.key, answer.revision)?;
                self.targets.namespaces.insert(answer.key.clone());
                self.added.namespaces.push(AddedNamespace {
                    key: answer.key,
                    namespace,
                    context: answer.context,
                    services: None,
                });
            }
        }
        for request in requests.services {
            let (namespace, service_name) = (request.namespace.clone(), request.service.clone());
            let what = format!("cannot forward service {namespace}/{service_name}");
            let answer = daemon.control.add_service(request).await;
            let answer = answer.map(Response::into_inner);
            if let Some(answer) = self.failures.check(answer, what)? {
                self.confirm(&answer.key, answer.revision)?;
                self.targets.services.insert(answer.key.clone());
                self.added.services.push(AddedService {
                    key: answer.key,
                    service_name,
                    namespace,
                    context: answer.context,
                    service: None,
                });
            }
        }
        Ok(())
    }

    fn confirm(&mut self, key: &str, revision: u64) -> Result<(), CliError> {
        self.targets.revision = self.targets.revision.max(revision);
        self.out.confirm(&[key], " added")
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
        self.failures.end(result)
    }
}
