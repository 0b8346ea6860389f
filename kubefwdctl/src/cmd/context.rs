//! `kubefwdctl context`: the contexts of the caller's kubeconfig, as the caller's worker reads it.

use clap::Subcommand;
use kubefwd_proto::control::v1::ListContextsRequest;

use super::Session;
use crate::access::KubeconfigArgs;
use crate::error::CliError;
use crate::output::{listing, shape};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List contexts
    #[command(alias = "list")]
    Ls(KubeconfigArgs),
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
    let answer = answer
        .map_err(|status| CliError::from_status("cannot list contexts", &status))?
        .into_inner();
    let current = answer.current_context;
    let contexts: Vec<_> = answer
        .contexts
        .into_iter()
        .map(|context| shape::Context {
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
