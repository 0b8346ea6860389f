//! Merging, resolving, and what is said when that fails.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use kubefwd_model::Reason;

use super::*;

const ONE: &str = "
current-context: ''
contexts:
- name: minikube
  context: {cluster: local, user: jane, namespace: team}
- name: dangling
  context: {cluster: gone, user: jane}
clusters:
- name: local
  cluster: {server: 'https://one:6443', certificate-authority: ca.crt}
- name: nowhere
  cluster: {}
users:
- name: jane
  user: {tokenFile: ../token, exec: {command: ./plugin}}
";
const TWO: &str = "
current-context: other
contexts:
- name: minikube
  context: {cluster: never, user: never}
- name: other
  context: {cluster: local}
- name: empty
  context: {cluster: nowhere}
clusters:
- name: local
  cluster: {server: 'https://two:6443'}
";

struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn environment(&self, names: &[&str]) -> Environment {
        let mut environment = Environment::from([("HOME".to_owned(), self.path(""))]);
        if !names.is_empty() {
            let list: Vec<String> = names
                .iter()
                .map(|name| {
                    if name.is_empty() {
                        String::new()
                    } else {
                        self.path(name)
                    }
                })
                .collect();
            environment.insert("KUBECONFIG".to_owned(), list.join(":"));
        }
        environment
    }
}

async fn failure(explicit: &[String], environment: &Environment) -> Failure {
    Merged::load(explicit, environment).await.unwrap_err()
}

#[tokio::test]
async fn the_first_file_wins_name_by_name() {
    let files = Files::new(&[("a/one", ONE), ("two", TWO)]);
    let environment = files.environment(&["a/one", "", "missing", "two"]);
    let merged = Merged::load(&[], &environment).await.unwrap();
    assert_eq!(merged.current_context(), "other");

    let context = merged.context("minikube").unwrap();
    assert_eq!(context.namespace, "team");
    assert_eq!(context.cluster.server.as_deref(), Some("https://one:6443"));
    assert_eq!(
        context.cluster.certificate_authority,
        Some(files.path("a/ca.crt"))
    );
    assert_eq!(context.user.token_file, Some(files.path("a/../token")));
    assert_eq!(
        context.user.exec.unwrap().command,
        Some(files.path("a/./plugin"))
    );

    let current = merged.context("").unwrap();
    assert_eq!(
        (current.name.as_str(), current.namespace.as_str()),
        ("other", "default")
    );
    assert_eq!(current.cluster.server.as_deref(), Some("https://one:6443"));
    assert!(current.user_name.is_empty());
    let listed: Vec<_> = merged
        .contexts()
        .contexts
        .into_iter()
        .map(|c| (c.name, c.server))
        .collect();
    let listed: Vec<_> = listed
        .iter()
        .map(|(name, server)| (&**name, &**server))
        .collect();
    let one = "https://one:6443";
    assert_eq!(
        listed,
        [
            ("minikube", one),
            ("dangling", ""),
            ("other", one),
            ("empty", "")
        ]
    );
}

#[tokio::test]
async fn explicit_paths_win_over_kubeconfig_and_that_over_home() {
    let files = Files::new(&[(".kube/config", ONE), ("two", TWO)]);
    let home = files.environment(&[]);
    assert!(
        Merged::load(&[], &home)
            .await
            .unwrap()
            .context("minikube")
            .is_ok()
    );
    let listed = files.environment(&["two"]);
    assert!(
        Merged::load(&[], &listed)
            .await
            .unwrap()
            .context("dangling")
            .is_err()
    );
    let explicit = [files.path(".kube/config")];
    let merged = Merged::load(&explicit, &listed).await.unwrap();
    assert_eq!(merged.contexts().contexts.len(), 2);
}

#[tokio::test]
async fn missing_and_unreadable_files_are_named() {
    let files = Files::new(&[("secret", ONE)]);
    let nothing = failure(&[], &files.environment(&[])).await;
    assert_eq!(nothing.reason, Reason::KubeconfigInvalid);
    assert!(nothing.message.contains("/.kube/config"), "{nothing}");
    let both = failure(&[], &files.environment(&["a", "b"])).await;
    assert!(
        both.message.contains("/a, ") && both.message.contains("/b"),
        "{both}"
    );

    let path = files.path("secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if nix::unistd::geteuid().is_root() {
        // Root reads everything; a folder in place of the file cannot be read by anybody.
        let folder = failure(&[files.path("")], &Environment::new()).await;
        assert!(folder.message.contains("cannot read"), "{folder}");
    } else {
        let denied = failure(&[path], &Environment::new()).await;
        assert!(denied.message.contains("Permission denied"), "{denied}");
    }
}

#[tokio::test]
async fn broken_yaml_names_the_line_and_quotes_no_secret() {
    let text = "users:\n- name: jane\n  user:\n    token: s3cret\n   password: [\n";
    let files = Files::new(&[("broken", text)]);
    let failure = failure(&[files.path("broken")], &Environment::new()).await;
    assert_eq!(failure.reason, Reason::KubeconfigInvalid);
    assert!(failure.message.contains("broken, line 5"), "{failure}");
    assert!(!failure.message.contains("s3cret"), "{failure}");
}

#[tokio::test]
async fn what_a_context_lacks_is_named() {
    let files = Files::new(&[("one", ONE), ("two", TWO)]);
    let merged = Merged::load(&[], &files.environment(&["one", "two"]))
        .await
        .unwrap();
    let said = |name: &str| merged.context(name).err().unwrap();
    let unknown = said("minikub");
    assert_eq!(unknown.reason, Reason::ContextNotFound);
    assert!(
        unknown.message.contains("minikube, dangling, other"),
        "{unknown}"
    );
    assert!(unknown.hint.contains("\"minikube\""), "{unknown}");
    assert!(said("dangling").message.contains("cluster \"gone\""));
    assert!(said("empty").message.contains("has no server"));

    let merged = Merged::load(&[files.path("one")], &Environment::new())
        .await
        .unwrap();
    let none = merged.context("").err().unwrap();
    assert_eq!(none.reason, Reason::ContextNotFound);
    assert!(none.message.contains("no current-context"), "{none}");
}

#[tokio::test]
async fn a_context_names_the_files_that_define_it() {
    const USERS: &str = "
contexts:
- name: mixed
  context: {cluster: local, user: joe}
users:
- name: joe
  user: {token: x}
";
    let files = Files::new(&[("one", ONE), ("two", TWO), ("users", USERS)]);
    let of = async |list: &[&str], context: &str| {
        let merged = Merged::load(&[], &files.environment(list)).await.unwrap();
        let paths = merged.context(context).unwrap().files;
        paths
            .into_iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&["one", "two", "users"], "minikube").await, ["one"]);
    assert_eq!(of(&["two", "users"], "mixed").await, ["two", "users"]);
    assert_eq!(
        of(&["users", "missing", "one", "two"], "mixed").await,
        ["users", "one"],
        "the cluster is that of the first file that has it"
    );
}
