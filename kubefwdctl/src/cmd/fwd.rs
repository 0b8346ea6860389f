//! `kubefwdctl fwd`: forwarded ports.

use clap::{ArgGroup, Args, Subcommand};
use kubefwd_proto::control::v1::ReconnectRequest;
use serde::Serialize;

use super::list;
use super::remove::UserArgs;
use super::svc::ScopeArgs;
use crate::error::{Answer as _, CliError};
use crate::item::ForwardItem;
use crate::session::Session;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum FwdCommand {
    /// List forwarded ports
    #[command(alias = "list")]
    Ls(ScopeArgs),
    /// Close and reopen tunnels; this drops their connections
    Reconnect(ReconnectArgs),
}

/// `fwd reconnect`
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["keys", "all", "failed"]))]
pub(crate) struct ReconnectArgs {
    /// Service or forward keys
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// All of yours
    #[arg(long)]
    all: bool,
    /// All of yours that are in error
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    user: UserArgs,
}

/// The structured form, as in REST.
#[derive(Serialize)]
struct Reconnected {
    triggered: usize,
    services: Vec<String>,
}

/// Runs one verb.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, command: FwdCommand) -> Result<(), CliError> {
    match command {
        FwdCommand::Ls(scope) => {
            let if_none = "no ports are forwarded; start with: kubefwdctl ns add NAMESPACE";
            list::run::<ForwardItem>(session, scope.to_filter(), scope.list.watch, if_none).await
        }
        FwdCommand::Reconnect(args) => reconnect(session, args).await,
    }
}

async fn reconnect(session: &Session, args: ReconnectArgs) -> Result<(), CliError> {
    let out = &session.out;
    let mut daemon = session.connect_to_change().await?;
    let request = ReconnectRequest {
        keys: args.keys,
        // `--failed` means all of those in error.
        all: args.all || args.failed,
        failed_only: args.failed,
        uid: args.user.user,
    };
    let answer = daemon.control.reconnect(request).await;
    let services = answer.answered("cannot reconnect")?.triggered;
    if out.is_structured() {
        let triggered = services.len();
        return out.value(&Reconnected {
            triggered,
            services,
        });
    }
    if services.is_empty() && out.is_table() {
        out.note("nothing to reconnect");
    }
    out.confirm(&services, " reconnecting")
}
