//! Texts that real clusters sent (tests/fixtures/captures) and errors as the transport makes them.

use std::sync::Arc;

use kube::core::response::StatusDetails;
use proptest::prelude::*;
use rustls::pki_types::UnixTime;

use rustls::{AlertDescription, CertificateError};

use super::*;

fn api(code: u16, message: &str) -> Failure {
    classify(&kube::Error::Api(Box::new(
        Status::failure(message, "").with_code(code),
    )))
}

fn service(error: impl Into<tower::BoxError>) -> Failure {
    classify(&kube::Error::Service(error.into()))
}

#[test]
fn a_refusal_names_verb_resource_and_place() {
    let failure = api(
        403,
        "pods \"db-0\" is forbidden: User \"system:serviceaccount:demo:viewer\" cannot create resource \"pods/portforward\" in API group \"\" in the namespace \"demo\"",
    );
    assert_eq!(failure.reason, Reason::ForbiddenByCluster);
    assert_eq!(
        failure.message,
        "permission denied: cannot create pods/portforward in demo (as system:serviceaccount:demo:viewer)"
    );
    let failure = api(
        403,
        "endpointslices.discovery.k8s.io is forbidden: User \"u\" cannot list resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope",
    );
    assert!(
        failure
            .message
            .contains("cannot list endpointslices.discovery.k8s.io in the whole cluster"),
        "{failure}"
    );
    assert!(
        failure
            .hint
            .contains("kubectl auth can-i list endpointslices.discovery.k8s.io"),
        "{failure}"
    );
    let other = api(403, "<html>\nno\n</html>");
    assert!(other.message.contains("<html> no </html>"), "{other}");
}

#[test]
fn every_status_has_its_reason() {
    for (code, reason) in [
        (400, Reason::InvalidArgument),
        (401, Reason::CredentialsNeeded),
        (403, Reason::ForbiddenByCluster),
        (404, Reason::NotFound),
        (406, Reason::Unsupported),
        (409, Reason::Conflict),
        (410, Reason::Conflict),
        (429, Reason::LimitExceeded),
        (500, Reason::ClusterUnreachable),
        (503, Reason::ClusterUnreachable),
        (504, Reason::Timeout),
    ] {
        let failure = api(code, "why");
        assert_eq!(failure.reason, reason, "{code}");
        assert!(failure.message.contains("why"), "{failure}");
    }
}

/// The Status in a captured answer, and what is made of it.
fn captured(answer: &str) -> Failure {
    let body = &answer[answer.find("\r\n\r\n").or(answer.find("\n\n")).unwrap()..];
    let body = &body[body.find('{').unwrap()..];
    classify_status(&serde_json::from_str(body).unwrap())
}

#[test]
fn answers_of_a_real_cluster_are_understood() {
    let failure = captured(include_str!(
        "../../../../../tests/fixtures/captures/status-401-bad-token.txt"
    ));
    assert_eq!(failure.reason, Reason::CredentialsNeeded);
    let failure = captured(include_str!(
        "../../../../../tests/fixtures/captures/status-404-service.txt"
    ));
    assert_eq!(failure.reason, Reason::ServiceNotFound);
    let failure = captured(include_str!(
        "../../../../../tests/fixtures/captures/status-403-viewer-portforward-post.txt"
    ));
    assert!(
        failure
            .message
            .starts_with("permission denied: cannot create pods/portforward in demo"),
        "{failure}"
    );
    let failure = captured(include_str!(
        "../../../../../tests/fixtures/captures/status-403-anonymous.txt"
    ));
    assert!(
        failure.message.contains("(as system:anonymous)"),
        "{failure}"
    );
    let failure = captured(include_str!(
        "../../../../../tests/fixtures/captures/status-410-list-old-exact.txt"
    ));
    assert_eq!(failure.reason, Reason::Conflict);
    let failure = captured(include_str!(
        "../../../../../tests/fixtures/captures/status-504-list-future-resourceversion.txt"
    ));
    assert_eq!(failure.reason, Reason::Timeout);
}

#[test]
fn what_does_not_exist_is_named() {
    let missing = |kind: &str| {
        let details = StatusDetails {
            name: "staging".to_owned(),
            kind: kind.to_owned(),
            group: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        classify_status(
            &Status::failure("not found", "NotFound")
                .with_code(404)
                .with_details(details),
        )
    };
    assert_eq!(missing("namespaces").reason, Reason::NamespaceNotFound);
    assert_eq!(missing("services").reason, Reason::ServiceNotFound);
    assert!(missing("services").message.contains("\"staging\""));
    assert_eq!(missing("pods").reason, Reason::NotFound);
}

#[test]
fn a_failure_of_the_credentials_comes_through_unchanged() {
    let failure = failure!(CredentialsNeeded, "the plugin is missing").hint("install it");
    assert_eq!(service(failure.clone()), failure);
}

#[test]
fn connections_that_fail_say_why() {
    let target = || "cluster:6443".to_owned();
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let failure = service(DialError::Connect {
        target: target(),
        source: refused,
    });
    assert_eq!(failure.reason, Reason::ClusterUnreachable);
    assert!(
        failure
            .message
            .contains("nothing is listening on cluster:6443"),
        "{failure}"
    );

    let tls = |error: rustls::Error| {
        let source = io::Error::new(io::ErrorKind::InvalidData, error);
        service(DialError::Tls {
            target: target(),
            source,
        })
    };
    let certificate = |error| tls(rustls::Error::InvalidCertificate(error));
    let unknown = certificate(CertificateError::UnknownIssuer);
    assert_eq!(unknown.reason, Reason::ClusterUntrusted);
    assert!(unknown.message.contains("cluster:6443"), "{unknown}");
    let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let expired = certificate(CertificateError::ExpiredContext {
        time: at(2),
        not_after: at(1),
    });
    assert!(expired.message.contains("expired"), "{expired}");
    let odd = certificate(CertificateError::Other(rustls::OtherError(Arc::new(
        io::Error::other("odd"),
    ))));
    assert_eq!(odd.reason, Reason::ClusterUntrusted);
    let alert = tls(rustls::Error::AlertReceived(
        AlertDescription::CertificateExpired,
    ));
    assert_eq!(alert.reason, Reason::CredentialsNeeded);
}

#[test]
fn a_broken_connection_is_found_below_other_errors() {
    let inner = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
    let wrapped = io::Error::other(io::Error::other(inner));
    assert_eq!(service(wrapped).reason, Reason::CredentialsNeeded);
    let broken = service(io::Error::from(io::ErrorKind::ConnectionReset));
    assert_eq!(broken.reason, Reason::ClusterUnreachable);
}

proptest! {
    #[test]
    fn any_text_of_a_cluster_becomes_one_bounded_line(code: u16, message: String) {
        let failure = api(code, &message);
        prop_assert!(failure.message.chars().count() < 3 * QUOTED);
        prop_assert!(!failure.message.contains(char::is_control));
    }
}
