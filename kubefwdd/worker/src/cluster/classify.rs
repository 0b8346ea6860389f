//! Errors of clusters as the user should read them: what happened, why, and what to do next.

use std::error::Error as StdError;
use std::io;

use kube::core::Status;
use kubefwd_model::text::clean;
use kubefwd_model::{Failure, Reason, failure};
use kubefwd_portforward::dial::{DialError, tls_failure};

use super::transport::NoAnswer;

/// What is quoted of a cluster's text at most, bytes.
const QUOTED: usize = 300;

/// Explains an error of a request.
pub fn classify(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => classify_status(status),
        kube::Error::SerdeError(error) => failure!(
            ClusterUnreachable,
            "unexpected response from the API server: {error}"
        )
        .hint("check that the kubeconfig's server is a Kubernetes API server and not a login page"),
        other => classify_chain(other),
    }
}

/// Explains a Status body of the API server.
pub fn classify_status(status: &Status) -> Failure {
    let text = shorten(&status.message);
    match status.code {
        401 => failure!(
            CredentialsNeeded,
            "the cluster rejected the credentials (401 {text})"
        )
        .hint("log in again; they may have expired or been revoked"),
        403 => forbidden(&status.message),
        404 => not_found(status, &text),
        410 => failure!(
            Conflict,
            "the cluster no longer has that version of the objects (410): {text}"
        )
        .hint("try again"),
        409 => failure!(Conflict, "the cluster reports a conflict: {text}"),
        400 | 422 => failure!(InvalidArgument, "the cluster rejected the request: {text}"),
        405 | 406 | 415 | 501 => failure!(
            Unsupported,
            "the cluster does not support this ({}): {text}",
            status.code
        )
        .hint("it may be too old, or a gateway in between may block this"),
        408 | 504 => failure!(
            Timeout,
            "the cluster gave up on the request ({}): {text}",
            status.code
        )
        .hint("try again"),
        429 => overloaded(status, &text),
        code => failure!(
            ClusterUnreachable,
            "the cluster cannot serve the request ({code}): {text}"
        )
        .hint("it may be starting or overloaded; retrying"),
    }
}

fn overloaded(status: &Status, text: &str) -> Failure {
    let details = status.details.as_ref();
    let hint = match details.map_or(0, |details| details.retry_after_seconds) {
        0 => "try again later".to_owned(),
        wait => format!("try again in {wait} s"),
    };
    failure!(
        LimitExceeded,
        "the cluster has too many requests (429): {text}"
    )
    .hint(hint)
}

/// `services is forbidden: User "x" cannot list resource "services" in API group "" in the namespace "staging"`, as the
/// API server's RBAC authorizer writes it, made shorter.
fn forbidden(message: &str) -> Failure {
    let Some((user, verb, resource, namespace)) = denied(message) else {
        let text = shorten(message);
        return failure!(
            ForbiddenByCluster,
            "permission denied by the cluster (403): {text}"
        )
        .hint("ask the cluster's administrator for the missing permission");
    };
    let (place, flag) = match namespace {
        Some(namespace) => (format!("in {namespace}"), format!("-n {namespace}")),
        None => (
            "in the whole cluster".to_owned(),
            "--all-namespaces".to_owned(),
        ),
    };
    failure!(
        ForbiddenByCluster,
        "permission denied: cannot {verb} {resource} {place} (as {user})"
    )
    .hint(format!(
        "ask for a role that allows this; `kubectl auth can-i {verb} {resource} {flag}` checks it"
    ))
}

/// Who may not do what, with which resource and in which namespace; a resource has its group behind it:
/// `endpointslices.discovery.k8s.io`.
fn denied(message: &str) -> Option<(String, String, String, Option<String>)> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once("\" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once("\" in API group \"")?;
    let (group, rest) = rest.split_once('"')?;
    let namespace = rest.split_once("in the namespace \"");
    let namespace = namespace.and_then(|(_, rest)| rest.split_once('"'));
    let resource = match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    };
    let namespace = namespace.map(|(namespace, _)| shorten(namespace));
    Some((shorten(user), shorten(verb), shorten(&resource), namespace))
}

fn not_found(status: &Status, text: &str) -> Failure {
    let details = status.details.as_ref();
    let kind = details.map_or("", |details| details.kind.as_str());
    let name = details.map_or("", |details| details.name.as_str());
    let failure = |reason, what: &str| {
        Failure::new(
            reason,
            format!("{what} {:?} does not exist in the cluster", shorten(name)),
        )
    };
    match kind {
        "namespaces" if !name.is_empty() => failure(Reason::NamespaceNotFound, "namespace"),
        "services" if !name.is_empty() => failure(Reason::ServiceNotFound, "service"),
        _ => failure!(NotFound, "the cluster answered: {text} (404)"),
    }
}

/// Explains an error by the first of its causes that is known.
fn classify_chain(error: &(dyn StdError + 'static)) -> Failure {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.clone();
        }
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            return dial.failure();
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return tls_failure("the API server", error);
        }
        if let Some(NoAnswer) = cause.downcast_ref() {
            return Failure::new(Reason::Timeout, NoAnswer.to_string())
                .hint("it may be overloaded; try again");
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if let Some(inner) = error.get_ref() {
                next = Some(inner);
                continue;
            }
            return failure!(
                ClusterUnreachable,
                "lost the connection to the API server: {error}"
            )
            .hint("retrying");
        }
        next = cause.source();
    }
    failure!(
        ClusterUnreachable,
        "the request to the API server failed: {}",
        chain(error)
    )
    .hint("retrying")
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = cause.source();
    }
    shorten(&text)
}

/// One line of bounded length, without control characters: the text comes from a cluster.
fn shorten(text: &str) -> String {
    let text = text.trim();
    let end = if text.len() > QUOTED { "…" } else { "" };
    clean(text, QUOTED) + end
}

#[cfg(test)]
mod tests;
