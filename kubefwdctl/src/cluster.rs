//! What the user's worker needs to reach a cluster as this shell would: context, kubeconfig paths, environment.

use std::path::{Path, PathBuf};

use clap::Args;
use kubefwd_proto::control::v1::Access;
use kubefwd_proto::environment;

use crate::error::CliError;

/// Which cluster.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Kubeconfig context [default: the current context]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) kubeconfig: KubeconfigArgs,
}

impl ClusterArgs {
    /// In the form of the daemon's API.
    ///
    /// # Errors
    /// See [`KubeconfigArgs::to_access`].
    pub(crate) fn to_access(&self) -> Result<Access, CliError> {
        Ok(Access {
            context: self.context.clone().unwrap_or_default(),
            ..self.kubeconfig.to_access()?
        })
    }
}

/// Which kubeconfig.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KubeconfigArgs {
    /// Kubeconfig file (repeatable; files are merged) [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Vec<PathBuf>,
}

impl KubeconfigArgs {
    /// In the form of the daemon's API, without a context. The worker has another working directory, so paths are made absolute.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a path that is empty or not UTF-8; [`CliError::System`] without a working directory.
    pub(crate) fn to_access(&self) -> Result<Access, CliError> {
        let kubeconfig = self
            .kubeconfig
            .iter()
            .map(|path| absolute_text(path))
            .collect::<Result<_, _>>()?;
        let mut environment = environment::of_this_process();
        if let Some(list) = environment.get_mut("KUBECONFIG") {
            *list = absolute_list(list)?;
        }
        Ok(Access {
            context: String::new(),
            kubeconfig,
            environment: environment.into_iter().collect(),
        })
    }
}

/// The files of `KUBECONFIG`, each absolute; empty entries mean nothing, as for kubectl.
fn absolute_list(list: &str) -> Result<String, CliError> {
    let paths = std::env::split_paths(list)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| absolute_text(&path))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(paths.join(":"))
}

fn absolute_text(path: &Path) -> Result<String, CliError> {
    if path.as_os_str().is_empty() {
        return Err(usage("the kubeconfig path is empty"));
    }
    let absolute = std::path::absolute(path).map_err(|source| CliError::System {
        what: "cannot determine the working directory",
        source,
    })?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| usage(&format!("the kubeconfig path {path:?} is not valid UTF-8")))
}

fn usage(what: &str) -> CliError {
    CliError::Usage {
        what: what.to_owned(),
        hint: "use a different path: --kubeconfig FILE".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_absolute_and_lose_empty_entries() {
        let here = std::env::current_dir().expect("a working directory");
        let expected = format!("/etc/a:{}/b/c", here.display());
        assert_eq!(absolute_list("/etc/a::b/c:").expect("valid"), expected);
    }

    #[test]
    fn paths_of_options_become_absolute() {
        let args = ClusterArgs {
            context: Some("real".to_owned()),
            kubeconfig: KubeconfigArgs {
                kubeconfig: vec!["x".into(), "/y".into()],
            },
        };
        let access = args.to_access().expect("valid");
        assert!(access.kubeconfig[0].starts_with('/') && access.kubeconfig[0].ends_with("/x"));
        assert_eq!(access.kubeconfig[1], "/y");
        assert_eq!(access.context, "real");
    }

    #[test]
    fn an_empty_path_is_a_usage_error() {
        let args = KubeconfigArgs {
            kubeconfig: vec![PathBuf::new()],
        };
        assert_eq!(args.to_access().expect_err("empty").exit_code(), 2);
    }
}
