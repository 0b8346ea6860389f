//! `kubefwdctl context`: the contexts of the caller's kubeconfig, as the caller's worker reads it.

use clap::Subcommand;
use kubefwd_proto::control::v1::ListContextsRequest;
use serde::Serialize;

use crate::cluster::KubeconfigArgs;
use crate::error::{Answer as _, CliError};
use crate::output::listing::{self, Column, Listed};
use crate::output::rows::or_dash;
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

/// The structured form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contexts {
    current_context: String,
    contexts: Vec<Context>,
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
    let current_context = answer.current_context;
    let contexts: Vec<_> = answer
        .contexts
        .into_iter()
        .map(|context| Context {
            active: context.name == current_context,
            name: context.name,
            cluster: context.cluster,
            user: context.user,
            namespace: context.namespace,
            server: context.server,
        })
        .collect();
    if session.out.is_structured() {
        return session.out.value(&Contexts {
            current_context,
            contexts,
        });
    }
    let if_none = "the kubeconfig has no contexts";
    listing::print(&session.out, "contexts", &contexts, if_none)
}

impl Listed for Context {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("CURRENT", |it| (if it.active { "*" } else { "" }).into()),
        Column::new("NAME", |it| it.name.as_str().into()),
        Column::new("CLUSTER", |it| it.cluster.as_str().into()),
        Column::new("USER", |it| it.user.as_str().into()),
        Column::wide("SERVER", |it| or_dash(&it.server)),
        Column::new("NAMESPACE", |it| it.namespace.as_str().into()),
    ];

    fn key(&self) -> String {
        self.name.clone()
    }
}
