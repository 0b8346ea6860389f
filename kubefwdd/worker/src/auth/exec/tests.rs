//! Plugins that are good, missing, hanging, chatty and broken, as shell scripts.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

const GOOD: &str = r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"'"$TOKEN_PART"'"}}'"#;

struct Fixture {
    folder: TempDir,
    config: ExecConfig,
    environment: Environment,
}

impl Fixture {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = ExecConfig {
            api_version: Some(VERSIONS[0].to_owned()),
            command: Some("plugin".to_owned()),
            args: Some(vec![
                "get-token".to_owned(),
                "--client-secret=abc".to_owned(),
            ]),
            ..ExecConfig::default()
        };
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let environment = Environment::from([("PATH".to_owned(), path)]);
        Self {
            folder,
            config,
            environment,
        }
    }

    fn plugin(&self) -> Result<Plugin, Failure> {
        Plugin::new("jane", &self.config, &Cluster::default(), &self.environment)
    }

    async fn failure(&self) -> Failure {
        let failure = self.plugin().unwrap().run().await.unwrap_err();
        assert_eq!(failure.reason, Reason::CredentialsNeeded);
        failure
    }
}

#[tokio::test]
async fn a_plugin_sees_the_given_environment_and_nothing_else() {
    let mut fixture = Fixture::new(GOOD);
    let entry = |name: &str, value: &str| {
        [("name", name), ("value", value)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    };
    fixture.config.env = Some(vec![entry("TOKEN_PART", "from the kubeconfig")]);
    let credential = fixture.plugin().unwrap().run().await.unwrap();
    assert_eq!(credential.token.as_deref(), Some("from the kubeconfig"));

    // Cargo sets this for every test; a plugin must not see what the worker was started with.
    let fixture = Fixture::new(&GOOD.replace("$TOKEN_PART", "x${CARGO_MANIFEST_DIR}"));
    let credential = fixture.plugin().unwrap().run().await.unwrap();
    assert_eq!(credential.token.as_deref(), Some("x"));
}

#[tokio::test]
async fn the_plugin_gets_the_cluster_if_configured() {
    let mut fixture = Fixture::new(r#"printf '%s' "$KUBERNETES_EXEC_INFO" >&2; exit 1"#);
    fixture.config.provide_cluster_info = true;
    let cluster = Cluster {
        server: Some("https://cluster:6443".to_owned()),
        ..Cluster::default()
    };
    let plugin = Plugin::new("jane", &fixture.config, &cluster, &fixture.environment).unwrap();
    let failure = plugin.run().await.unwrap_err();
    assert!(
        failure
            .message
            .contains(r#""server":"https://cluster:6443""#),
        "{failure}"
    );
    assert!(
        failure.message.contains(r#""interactive":false"#),
        "{failure}"
    );
}

#[tokio::test]
async fn a_missing_plugin_shows_how_to_install_it() {
    let mut fixture = Fixture::new("");
    fixture.config.command = Some("no-such-plugin".to_owned());
    let failure = fixture.failure().await;
    assert!(failure.message.contains("no-such-plugin"), "{failure}");
    assert!(failure.message.contains("PATH="), "{failure}");
    fixture.config.install_hint = Some("brew install it".to_owned());
    assert_eq!(fixture.failure().await.hint, "brew install it");

    let path = fixture.folder.path().join("plugin");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    fixture.config.command = Some(path.display().to_string());
    assert!(fixture.failure().await.message.contains("not executable"));
}

#[tokio::test]
async fn a_failing_plugin_is_quoted_and_its_secrets_are_not() {
    let failure = Fixture::new("echo 'SSO session expired' >&2; exit 3")
        .failure()
        .await;
    assert!(failure.message.contains("exit status: 3"), "{failure}");
    assert!(failure.message.contains("SSO session expired"), "{failure}");
    assert!(
        failure
            .hint
            .contains("`plugin get-token --client-secret=…`"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_hanging_plugin_is_killed_with_everything_it_started() {
    let fixture = Fixture::new("sleep 600 & echo $! > \"$PIDS\"; echo 'open a browser' >&2; wait");
    let pids = fixture.folder.path().join("pids");
    let mut plugin = fixture.plugin().unwrap();
    plugin.limit = Duration::from_secs(1);
    plugin
        .environment
        .insert("PIDS".to_owned(), pids.display().to_string());
    let failure = plugin.run().await.unwrap_err();
    assert!(
        failure.message.contains("did not answer within 1 s"),
        "{failure}"
    );
    assert!(failure.message.contains("open a browser"), "{failure}");

    let pid: i32 = std::fs::read_to_string(&pids)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    while is_running(pid) {
        tokio::task::yield_now().await;
    }
}

/// A killed process stays visible as a zombie until somebody reaps it.
fn is_running(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.contains(") Z ")
}

#[tokio::test]
async fn what_a_plugin_leaves_running_does_not_hold_up_its_answer() {
    let mut fixture = Fixture::new(&format!("sleep 600 & {GOOD}"));
    fixture
        .environment
        .insert("TOKEN_PART".to_owned(), "t".to_owned());
    let credential = fixture.plugin().unwrap().run().await.unwrap();
    assert_eq!(credential.token.as_deref(), Some("t"));
}

#[tokio::test]
async fn rubbish_and_floods_are_refused() {
    let failure = Fixture::new("echo 'Please log in'").failure().await;
    assert!(failure.message.contains("Please log in"), "{failure}");
    let failure = Fixture::new("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done")
        .failure()
        .await;
    assert!(failure.message.contains("more than 1 MiB"), "{failure}");
}

#[test]
fn what_cannot_work_is_refused_before_it_runs() {
    let mut fixture = Fixture::new("");
    fixture.config.interactive_mode = Some(ExecInteractiveMode::Always);
    let failure = fixture.plugin().err().unwrap();
    assert_eq!(failure.reason, Reason::CredentialsNeeded);
    assert!(
        failure
            .hint
            .contains("`plugin get-token --client-secret=…`"),
        "{failure}"
    );

    let mut fixture = Fixture::new("");
    fixture.config.api_version = Some("client.authentication.k8s.io/v1alpha1".to_owned());
    let failure = fixture.plugin().err().unwrap();
    assert_eq!(failure.reason, Reason::KubeconfigInvalid);
    assert!(failure.message.contains("v1alpha1"), "{failure}");
}

#[test]
fn commands_can_be_pasted() {
    let words = ["a b", "--password", "hunter2", "it's", "--x=1"].map(str::to_owned);
    assert_eq!(
        command_line("aws", &words),
        r"aws 'a b' --password … 'it'\''s' --x=1"
    );
}
