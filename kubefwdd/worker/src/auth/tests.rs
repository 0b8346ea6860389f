//! ContextCredentials as their users see them: who waits, who is refused, what is run how often.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, AuthProviderConfig, Cluster, ExecConfig};
use secrecy::SecretString;
use tempfile::TempDir;

use kubefwd_model::Reason;

use super::kubeconfig::{Context, Environment};
use super::*;

fn context(user: AuthInfo) -> Context {
    Context {
        name: "real".to_owned(),
        namespace: "default".to_owned(),
        user_name: "jane".to_owned(),
        cluster: Cluster {
            server: Some("https://cluster:6443".to_owned()),
            insecure_skip_tls_verify: Some(true),
            ..Cluster::default()
        },
        user,
        files: Vec::new(),
    }
}

fn source(user: AuthInfo) -> ContextCredentials {
    ContextCredentials::new(&context(user), &Environment::new()).unwrap()
}

fn authorization(credentials: &Credentials) -> &str {
    credentials.headers[http::header::AUTHORIZATION]
        .to_str()
        .unwrap()
}

/// A plugin that counts its runs and prints `token-<run>` with what `status` adds.
struct Counter {
    folder: TempDir,
}

impl Counter {
    fn new(status: &str) -> (Self, AuthInfo) {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\ncd {0}\n[ ! -e fail ] || exit 1\necho x >> runs\nn=$(($(wc -l < runs)))\n\
             echo '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
             \"status\":{{\"token\":\"token-'$n'\"{status}}}}}'\n",
            folder.path().display()
        );
        let path = folder.path().join("plugin");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let exec = ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".to_owned()),
            command: Some(path.display().to_string()),
            env: Some(vec![
                [("name", "PATH"), ("value", "/usr/bin:/bin")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ]),
            ..ExecConfig::default()
        };
        let user = AuthInfo {
            exec: Some(exec),
            ..AuthInfo::default()
        };
        (Self { folder }, user)
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("runs"))
            .map_or(0, |text| text.lines().count())
    }
}

#[tokio::test]
async fn concurrent_callers_run_the_plugin_once() {
    let (counter, user) = Counter::new("");
    let source = source(user);
    let fetched = futures_util::future::join_all((0..20).map(|_| source.credentials(None))).await;
    for credentials in fetched {
        assert_eq!(authorization(&credentials.unwrap()), "Bearer token-1");
    }
    assert_eq!(counter.runs(), 1);
}

#[tokio::test]
async fn rejected_credentials_are_fetched_again_once_for_all() {
    let (counter, user) = Counter::new("");
    let source = source(user);
    let first = source.credentials(None).await.unwrap();
    let refused = Some(first.generation);
    let fetched = futures_util::future::join_all((0..5).map(|_| source.credentials(refused))).await;
    for credentials in fetched {
        let credentials = credentials.unwrap();
        assert_eq!(authorization(&credentials), "Bearer token-2");
        assert!(credentials.generation > first.generation);
        assert!(Arc::ptr_eq(
            credentials.tls.as_ref().unwrap(),
            first.tls.as_ref().unwrap()
        ));
    }
    assert_eq!(counter.runs(), 2);

    // The new one is refused as well: running the plugin for every request would not help.
    let failure = source
        .credentials(Some(first.generation + 1))
        .await
        .err()
        .unwrap();
    assert_eq!(failure.reason, Reason::CredentialsNeeded);
    assert_eq!(counter.runs(), 2);
}

#[tokio::test]
async fn an_expired_credential_is_not_used_and_failures_are_spaced_out() {
    let (counter, user) = Counter::new(r#","expirationTimestamp":"2000-01-01T00:00:00Z""#);
    let source = source(user);
    for _ in 0..3 {
        let failure = source.credentials(None).await.err().unwrap();
        assert!(
            failure.message.contains("expired at 2000-01-01"),
            "{failure}"
        );
    }
    assert_eq!(counter.runs(), 1);
    source.try_again();
    assert!(source.credentials(None).await.is_err());
    assert_eq!(counter.runs(), 2);
}

#[tokio::test]
async fn a_token_file_is_read_again_when_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let source = source(AuthInfo {
        token_file: Some(path.display().to_string()),
        ..AuthInfo::default()
    });
    let first = source.credentials(None).await.unwrap();
    assert_eq!(authorization(&first), "Bearer one");

    std::fs::write(&path, "two").unwrap();
    source.make_older(SignedDuration::from_secs(60));
    let second = source.credentials(Some(first.generation)).await.unwrap();
    assert_eq!(authorization(&second), "Bearer two");

    source.make_older(SignedDuration::from_secs(60));
    let failure = source
        .credentials(Some(second.generation))
        .await
        .err()
        .unwrap();
    assert!(failure.message.contains("refused the token"), "{failure}");
    // The file did not change, but the API server may have been wrong: the token stays in use.
    assert!(source.credentials(None).await.is_ok());
}

#[tokio::test]
async fn a_rotated_certificate_makes_a_new_tls_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = write_pair(folder.path(), 2100);
    let source = source(AuthInfo {
        client_certificate: Some(certificate.display().to_string()),
        client_key: Some(key.display().to_string()),
        ..AuthInfo::default()
    });
    let first = source.credentials(None).await.unwrap();
    write_pair(folder.path(), 2100);
    source.make_older(SignedDuration::from_secs(60));
    let second = source.credentials(Some(first.generation)).await.unwrap();
    assert!(!Arc::ptr_eq(
        first.tls.as_ref().unwrap(),
        second.tls.as_ref().unwrap()
    ));
}

#[tokio::test]
async fn an_expired_certificate_is_reported_with_its_date() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = write_pair(folder.path(), 2001);
    let source = source(AuthInfo {
        client_certificate: Some(certificate.display().to_string()),
        client_key: Some(key.display().to_string()),
        ..AuthInfo::default()
    });
    let failure = source.credentials(None).await.err().unwrap();
    assert_eq!(failure.reason, Reason::CredentialsNeeded);
    assert!(
        failure.message.contains("expired at 2001-01-01T00:00:00Z"),
        "{failure}"
    );
}

fn write_pair(folder: &Path, year: i32) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["jane".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(1990, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let paths = (folder.join("crt"), folder.join("key"));
    std::fs::write(&paths.0, certificate.pem()).unwrap();
    std::fs::write(&paths.1, key.serialize_pem()).unwrap();
    paths
}

#[tokio::test]
async fn an_inline_token_wins_over_a_plugin() {
    let (counter, user) = Counter::new("");
    let source = source(AuthInfo {
        token: Some(SecretString::from("inline")),
        ..user
    });
    let credentials = source.credentials(None).await.unwrap();
    assert_eq!(authorization(&credentials), "Bearer inline");
    assert_eq!(counter.runs(), 0);
}

#[test]
fn a_removed_auth_provider_names_its_successor() {
    for (name, wanted) in [("gcp", "gke-gcloud-auth-plugin"), ("azure", "kubelogin")] {
        let user = AuthInfo {
            auth_provider: Some(AuthProviderConfig {
                name: name.to_owned(),
                ..AuthProviderConfig::default()
            }),
            ..AuthInfo::default()
        };
        let failure = ContextCredentials::new(&context(user), &Environment::new())
            .err()
            .unwrap();
        assert_eq!(failure.reason, Reason::Unsupported);
        assert!(failure.hint.contains(wanted), "{failure}");
    }
}
