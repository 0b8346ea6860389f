//! The user's kubeconfig: which files, merged as client-go merges them, and one context of it.
//!
//! Rules: <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>. The environment is
//! the one that the user's latest client sent, not the one that this process was started with.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use kubefwd_model::discovery::{self, Contexts};
use kubefwd_model::{Failure, failure};

use super::finished;
use super::suggest::nearest;

/// The user's environment, as the daemon passes it on.
pub type Environment = BTreeMap<String, String>;

/// How many names a message lists at most.
const NAMED: usize = 12;

/// The merged content of a user's kubeconfig files.
#[derive(Clone, Debug)]
pub struct Merged {
    config: Kubeconfig,
    /// The files that were read, in order.
    files: Vec<PathBuf>,
    /// What each of them says.
    contents: Vec<Kubeconfig>,
}

/// One context with the cluster and the user that it names.
#[derive(Clone)]
pub struct Context {
    /// The name of the context.
    pub name: String,
    /// The namespace that the context names; `default` where it names none.
    pub namespace: String,
    /// The name of the kubeconfig user; empty for an anonymous one.
    pub user_name: String,
    /// Where the API server is.
    pub cluster: Cluster,
    /// What to present to it.
    pub user: AuthInfo,
    /// The files that context, cluster and user were taken from, in the order of the list.
    pub files: Vec<PathBuf>,
}

impl Merged {
    /// Reads and merges: `explicit` paths if there are any, else those of `KUBECONFIG`, else `~/.kube/config`.
    ///
    /// A listed path that does not exist is skipped, as kubectl does, unless none exists.
    ///
    /// # Errors
    /// No file exists, one cannot be read, or one is not a kubeconfig. The message names the file.
    pub async fn load(explicit: &[String], environment: &Environment) -> Result<Self, Failure> {
        let paths = paths(explicit, environment)?;
        let reading = tokio::task::spawn_blocking(move || read(&paths));
        finished("reading the kubeconfig", reading.await)
    }

    /// The name of the current context, empty where none is set.
    pub fn current_context(&self) -> &str {
        self.config.current_context.as_deref().unwrap_or_default()
    }

    /// Every context, usable or not, in the order of the files.
    pub fn contexts(&self) -> Contexts {
        let current = self.current_context();
        let listed = self.config.contexts.iter().map(|named| {
            let context = named.context.clone().unwrap_or_default();
            let cluster = self.cluster(&context.cluster);
            discovery::Context {
                active: named.name == current,
                name: named.name.as_str().into(),
                server: cluster.and_then(|cluster| cluster.server.clone()).into(),
                cluster: context.cluster.into(),
                user: context.user.into(),
                namespace: context.namespace.into(),
            }
        });
        Contexts {
            contexts: listed.collect(),
            current_context: current.into(),
        }
    }

    /// Resolves a context, or the current one for an empty name.
    ///
    /// # Errors
    /// The context (the message lists those that exist), its cluster or its user does not exist.
    pub fn context(&self, name: &str) -> Result<Context, Failure> {
        let name = match name {
            "" => self.current_context(),
            named => named,
        };
        if name.is_empty() {
            return Err(self.no_current_context());
        }
        let named = self.config.contexts.iter().find(|named| named.name == name);
        let context = named
            .and_then(|named| named.context.as_ref())
            .ok_or_else(|| self.unknown_context(name))?;

        let cluster = self
            .cluster(&context.cluster)
            .ok_or_else(|| self.dangling(name, "cluster", &context.cluster))?;
        if cluster.server.as_deref().unwrap_or_default().is_empty() {
            return Err(failure!(
                KubeconfigInvalid,
                "cluster {:?} of context {name:?} has no server",
                context.cluster
            )
            .hint(format!(
                "set it with `kubectl config set-cluster {} --server=https://…`",
                context.cluster
            )));
        }
        let user_name = context.user.clone().unwrap_or_default();
        let user = match user_name.as_str() {
            "" => Some(AuthInfo::default()),
            named => self.user(named).cloned(),
        };
        let user = user.ok_or_else(|| self.dangling(name, "user", &user_name))?;
        let namespace = context.namespace.clone();
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Ok(Context {
            name: name.to_owned(),
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            files: self.files_of(name, &context.cluster, &user_name),
            user_name,
            cluster: cluster.clone(),
            user,
        })
    }

    /// Where kube takes them from when it merges: the first files that have them.
    fn files_of(&self, context: &str, cluster: &str, user: &str) -> Vec<PathBuf> {
        let has_context = |c: &Kubeconfig| c.contexts.iter().any(|named| named.name == context);
        let has_cluster = |c: &Kubeconfig| c.clusters.iter().any(|named| named.name == cluster);
        let has_user = |c: &Kubeconfig| c.auth_infos.iter().any(|named| named.name == user);
        let places = BTreeSet::from([
            self.contents.iter().position(has_context),
            self.contents.iter().position(has_cluster),
            self.contents.iter().position(has_user),
        ]);
        let files = places.into_iter().flatten();
        files.map(|place| self.files[place].clone()).collect()
    }

    fn cluster(&self, name: &str) -> Option<&Cluster> {
        let named = self.config.clusters.iter().find(|named| named.name == name);
        named.and_then(|named| named.cluster.as_ref())
    }

    fn user(&self, name: &str) -> Option<&AuthInfo> {
        let mut users = self.config.auth_infos.iter();
        let named = users.find(|named| named.name == name);
        named.and_then(|named| named.auth_info.as_ref())
    }

    fn names(&self) -> Vec<&str> {
        let contexts = self.config.contexts.iter();
        contexts.map(|context| context.name.as_str()).collect()
    }

    fn unknown_context(&self, name: &str) -> Failure {
        let names = self.names();
        let there = if names.is_empty() {
            format!(": {} has no contexts", list_paths(&self.files))
        } else {
            format!("; there is {}", list_names(&names))
        };
        let failure = failure!(ContextNotFound, "context {name:?} does not exist{there}");
        match nearest(name, names) {
            Some(near) => failure.hint(format!("did you mean {near:?}?")),
            None => failure.hint("use one of them, or another file with --kubeconfig"),
        }
    }

    fn no_current_context(&self) -> Failure {
        let names = self.names();
        let there = if names.is_empty() {
            "no contexts".to_owned()
        } else {
            list_names(&names)
        };
        failure!(
            ContextNotFound,
            "no context was given and {} sets no current-context; available: {there}",
            list_paths(&self.files)
        )
        .hint("use --context, or set one with `kubectl config use-context NAME`")
    }

    fn dangling(&self, context: &str, kind: &str, name: &str) -> Failure {
        failure!(
            KubeconfigInvalid,
            "context {context:?} uses {kind} {name:?}, which is in none of {}",
            list_paths(&self.files)
        )
        .hint(format!(
            "add the {kind}, or add the file that has it to KUBECONFIG"
        ))
    }
}

/// The home directory: of the environment, else of the user database.
pub(crate) fn home(environment: &Environment) -> Option<PathBuf> {
    let named = environment.get("HOME").filter(|home| !home.is_empty());
    named.map(PathBuf::from).or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid());
        user.ok().flatten().map(|user| user.dir)
    })
}

fn paths(explicit: &[String], environment: &Environment) -> Result<Vec<PathBuf>, Failure> {
    let home = home(environment);
    // The user's client makes paths absolute; others are relative to the worker's directory.
    let absolute = |path: PathBuf| match &home {
        Some(home) if path.is_relative() => home.join(path),
        _ => path,
    };
    let listed: Vec<PathBuf> = if explicit.is_empty() {
        let variable = environment.get("KUBECONFIG").map_or("", String::as_str);
        std::env::split_paths(variable).collect()
    } else {
        explicit.iter().map(PathBuf::from).collect()
    };
    let listed: Vec<PathBuf> = listed
        .into_iter()
        .filter(|path| !path.as_os_str().is_empty())
        .map(absolute)
        .collect();
    if !listed.is_empty() {
        return Ok(listed);
    }
    let default = home.map(|home| vec![home.join(".kube/config")]);
    default.ok_or_else(|| {
        failure!(
            KubeconfigInvalid,
            "no kubeconfig: neither KUBECONFIG nor HOME is set"
        )
        .hint("pass the file with --kubeconfig")
    })
}

fn read(paths: &[PathBuf]) -> Result<Merged, Failure> {
    let mut merged = Kubeconfig::default();
    let (mut files, mut contents) = (Vec::new(), Vec::new());
    for path in paths {
        let mut next = match Kubeconfig::read_from(path) {
            Ok(config) => config,
            Err(KubeconfigError::ReadConfig(error, _))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => return Err(unreadable(path, error)),
        };
        // An empty name sets nothing, also where an earlier file has it.
        next.current_context = next.current_context.filter(|name| !name.is_empty());
        merged = merged
            .merge(next.clone())
            .map_err(|error| unreadable(path, error))?;
        files.push(path.clone());
        contents.push(next);
    }
    if files.is_empty() {
        return Err(failure!(
            KubeconfigInvalid,
            "no kubeconfig found; tried {}",
            list_paths(paths)
        )
        .hint("pass the file with --kubeconfig or KUBECONFIG"));
    }
    Ok(Merged {
        config: merged,
        files,
        contents,
    })
}

fn unreadable(path: &Path, error: KubeconfigError) -> Failure {
    let path = path.display();
    match error {
        KubeconfigError::ReadConfig(error, _) => failure!(
            KubeconfigInvalid,
            "cannot read {path} as user {}: {error}",
            user_name()
        )
        .hint("give your user read permission on it, or use another file with --kubeconfig"),
        KubeconfigError::Parse(error) => {
            let place = error.location().map_or_else(String::new, |at| {
                format!(", line {}, column {}", at.line(), at.column())
            });
            // The parser's own rendering quotes the lines around the mistake, which may hold a token.
            let text = error.without_snippet().to_string();
            let text = text.lines().next().unwrap_or_default();
            failure!(KubeconfigInvalid, "{path}{place}: {text}")
                .hint("fix the file; `kubectl config view` shows what is read from it")
        }
        other => failure!(KubeconfigInvalid, "{path}: {other}")
            .hint("fix the file; `kubectl config view` shows what is read from it"),
    }
}

/// The name of the user that this process runs as, for messages.
pub(crate) fn user_name() -> String {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn list_paths(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<_>>().join(", ")
}

fn list_names(names: &[&str]) -> String {
    match names.split_at_checked(NAMED) {
        Some((first, rest)) if !rest.is_empty() => {
            format!("{}, and {} more", first.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
