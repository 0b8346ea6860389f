//! `kubefwdctl ns`: whole namespaces.

use clap::{Args, Subcommand};
use kubefwd_proto::common::v1::Selection;
use kubefwd_proto::control::v1::{AddNamespaceRequest, AttachRequest, RemoveNamespaceRequest};

use super::add::{self, AddSettings};
use super::list::{self, ListArgs};
use super::remove::{self, RemoveArgs};
use crate::connect::Daemon;
use crate::error::CliError;
use crate::item::NamespaceItem;
use crate::session::Session;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum NsCommand {
    /// Forward every service of the given namespaces
    Add(NsAddArgs),
    /// Stop forwarding namespaces
    #[command(aliases = ["remove", "delete"])]
    Rm(RemoveArgs),
    /// List forwarded namespaces
    #[command(alias = "list")]
    Ls(ListArgs),
}

/// `ns add`
#[derive(Args, Debug)]
pub(crate) struct NsAddArgs {
    /// Namespaces
    #[arg(required = true, value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) settings: AddSettings,
}

/// Which services of the namespaces.
#[derive(Args, Debug)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Only services matching this label selector, as with kubectl -l
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only services matching this field selector, such as metadata.name=db
    #[arg(short = 'f', long, value_name = "SELECTOR")]
    field_selector: Option<String>,
    /// Only services whose name matches this glob (repeatable)
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Skip services whose name matches this glob (repeatable)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

/// Runs one verb.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, command: NsCommand) -> Result<(), CliError> {
    match command {
        NsCommand::Add(args) => {
            let requests = requests(args.namespaces, &args.selection, &args.settings)?;
            add::run(session, requests, &args.settings).await
        }
        NsCommand::Rm(args) => {
            let request = async |daemon: &mut Daemon, key| {
                let (uid, all) = (args.user.user, args.all);
                let request = RemoveNamespaceRequest { key, uid, all };
                let answer = daemon.control.remove_namespace(request).await;
                answer.map(|answer| answer.into_inner().removed)
            };
            remove::run(session, &args, ("namespace", "namespaces"), request).await
        }
        NsCommand::Ls(args) => {
            let if_none = "no namespaces are forwarded; start with: kubefwdctl ns add NAMESPACE";
            list::run::<NamespaceItem>(session, args.to_filter(), args.watch, if_none).await
        }
    }
}

fn requests(
    namespaces: Vec<String>,
    selection: &SelectionArgs,
    settings: &AddSettings,
) -> Result<AttachRequest, CliError> {
    let request = AddNamespaceRequest {
        access: Some(settings.cluster.to_access()?),
        namespace: String::new(),
        selection: Some(Selection {
            label_selector: selection.selector.clone().unwrap_or_default(),
            field_selector: selection.field_selector.clone().unwrap_or_default(),
            include: selection.include.clone(),
            exclude: selection.exclude.clone(),
        }),
        options: Some(settings.to_options()),
    };
    let namespaces = namespaces.into_iter().map(|namespace| AddNamespaceRequest {
        namespace,
        ..request.clone()
    });
    Ok(AttachRequest {
        namespaces: namespaces.collect(),
        ..AttachRequest::default()
    })
}
