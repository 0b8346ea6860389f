//! What kubeconfigs and credential plugins hold, with any bytes.

use kube::config::Kubeconfig;

use super::certificate::{Identity, certificates};
use super::exec::credential::parse;

/// The output of a credential plugin.
pub fn credential(bytes: &[u8]) {
    for version in [
        "client.authentication.k8s.io/v1",
        "client.authentication.k8s.io/v1beta1",
    ] {
        if let Err(why) = parse(bytes, version) {
            assert!(!why.to_string().is_empty());
        }
    }
}

/// PEM of a certificate and, behind it, of its key.
pub fn certificate(bytes: &[u8]) {
    let found = certificates(bytes);
    let identity = Identity::from_pem(bytes, bytes);
    assert!(found.is_ok() || identity.is_err());
}

/// A kubeconfig, alone and merged with itself.
pub fn kubeconfig(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // What a kubeconfig is, kube decides; that it returns is what counts here.
    let (Ok(one), Ok(other)) = (Kubeconfig::from_yaml(text), Kubeconfig::from_yaml(text)) else {
        return;
    };
    let contexts = one.contexts.len();
    if let Ok(merged) = one.merge(other) {
        assert!(merged.contexts.len() <= 2 * contexts);
    }
}
