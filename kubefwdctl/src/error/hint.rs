//! What to do next where the daemon gave no hint.

use kubefwd_model::Reason;

/// The next step for a refusal.
pub(super) fn of(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidArgument => "kubefwdctl help",
        Reason::NotFound | Reason::AlreadyExists | Reason::Conflict => "kubefwdctl svc ls",
        Reason::ContextNotFound => "kubefwdctl context ls",
        Reason::NamespaceNotFound => "kubectl get namespaces",
        Reason::ServiceNotFound => "kubectl get services",
        Reason::PermissionDenied | Reason::Unauthenticated => "kubefwdctl doctor",
        Reason::ClusterUnreachable | Reason::ClusterUntrusted => "kubectl cluster-info",
        Reason::KubeconfigInvalid => "kubectl config view",
        Reason::CredentialsNeeded => {
            "log in to the cluster as you do for kubectl, then run this command again"
        }
        Reason::ForbiddenByCluster => "kubectl auth can-i --list",
        Reason::WorkerUnavailable | Reason::Timeout => "kubefwdctl status",
        Reason::LimitExceeded => "kubefwdctl ns rm NAMESPACE",
        Reason::Unsupported => "kubefwdctl version",
        Reason::PortUnavailable => "kubefwdctl doctor",
        Reason::ConnectionRefused | Reason::ConnectionLost | Reason::PodNotFound => {
            "kubectl get pods"
        }
        Reason::Internal => crate::service_manager::LOG_COMMAND,
    }
}
