//! What one command asks the daemon to add.

use kubefwd_proto::control::v1::{AddNamespaceRequest, AddServiceRequest};

/// Requests for namespaces and services.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddRequests {
    pub(crate) namespaces: Vec<AddNamespaceRequest>,
    pub(crate) services: Vec<AddServiceRequest>,
}

impl AddRequests {
    /// For messages: `demo, staging/db`.
    pub(super) fn names(&self) -> String {
        let namespaces = self.namespaces.iter().map(|one| one.namespace.clone());
        let services = self.services.iter();
        let services = services.map(|one| format!("{}/{}", one.namespace, one.service));
        namespaces.chain(services).collect::<Vec<_>>().join(", ")
    }
}
