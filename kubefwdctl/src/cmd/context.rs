//! `kubefwdctl context`: the contexts of the caller's kubeconfig, as the caller's worker reads it.

use clap::Subcommand;
use kubefwd_proto::control::v1::ListContextsRequest;
use serde::Serialize;

use crate::cluster::KubeconfigArgs;
use crate::error::{Answer as _, CliError};
use crate::output::listing::{self, Listed};
use crate::output::rows::{insert, or_dash, titles};
use crate::output::table::Cell;
use crate::session::Session;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List contexts
    #[command(alias = "list")]
    Ls(KubeconfigArgs),
}

/// A context of the caller's kubeconfig.
#[derive(Serialize)]
struct Context {
    name: String,
    cluster: String,
    user: String,
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    server: String,
    /// It is the current one.
    active: bool,
}

/// Runs one verb.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, command: ContextCommand) -> Result<(), CliError> {
    let ContextCommand::Ls(args) = command;
    let access = args.to_access()?;
    let mut daemon = session.connect().await?;
    let request = ListContextsRequest {
        access: Some(access),
    };
    let answer = daemon.control.list_contexts(request).await;
    let answer = answer.answered("cannot list contexts")?;
    let current = answer.current_context;
    let contexts: Vec<_> = answer
        .contexts
        .into_iter()
        .map(|context| Context {
            active: context.name == current,
            name: context.name,
            cluster: context.cluster,
            user: context.user,
            namespace: context.namespace,
            server: context.server,
        })
        .collect();
    listing::print_with(
        &session.out,
        &[("currentContext", &current)],
        &contexts,
        "the kubeconfig has no contexts",
    )
}

impl Listed for Context {
    const KIND: &'static str = "context";
    const PLURAL: &'static str = "contexts";

    fn header(wide: bool) -> Vec<&'static str> {
        let narrow = ["CURRENT", "NAME", "CLUSTER", "USER", "NAMESPACE"];
        titles(&narrow, wide, &["SERVER"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            (if self.active { "*" } else { "" }).into(),
            self.name.as_str().into(),
            self.cluster.as_str().into(),
            self.user.as_str().into(),
            self.namespace.as_str().into(),
        ];
        if wide {
            insert(&mut row, [or_dash(&self.server).into()]);
        }
        row
    }

    fn key(&self) -> String {
        self.name.clone()
    }
}
