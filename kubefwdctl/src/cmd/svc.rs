//! `kubefwdctl svc`: single services, and the list of all.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use kubefwd_proto::control::v1::{
    AddServiceRequest, AttachRequest, Filter, RemoveServiceRequest, SetCaptureRequest,
};
use serde::Serialize;

use super::add::{self, AddSettings};
use super::list::{self, ListArgs};
use super::remove::{self, RemoveArgs, UserArgs};
use crate::connect::Daemon;
use crate::error::{Answer as _, CliError};
use crate::item::ServiceItem;
use crate::parse;
use crate::session::Session;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum SvcCommand {
    /// Forward single services
    Add(SvcAddArgs),
    /// Stop forwarding single services
    #[command(aliases = ["remove", "delete"])]
    Rm(RemoveArgs),
    /// Turn recording of HTTP requests on or off
    Capture(CaptureArgs),
    /// List forwarded services, including those of forwarded namespaces
    #[command(alias = "list")]
    Ls(ScopeArgs),
}

/// `svc add`
#[derive(Args, Debug)]
pub(crate) struct SvcAddArgs {
    /// Services, optionally with the ports to forward [default: all ports]
    #[arg(
        required = true,
        value_name = "NAMESPACE/SERVICE[:PORT[,PORT]]",
        value_parser = parse::service
    )]
    services: Vec<AddServiceRequest>,
    /// Loopback address, for a single service only [default: chosen by the daemon]
    #[arg(long, value_name = "ADDRESS")]
    local_ip: Option<Ipv4Addr>,
    #[command(flatten)]
    settings: AddSettings,
}

/// `svc capture`
#[derive(Args, Debug)]
pub(crate) struct CaptureArgs {
    /// Applies to new connections
    state: Switch,
    /// Service keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    user: UserArgs,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// The structured form, as in REST.
#[derive(Serialize)]
struct CaptureSet {
    service: String,
    capture: bool,
}

/// Which services to list; `svc ls` and `fwd ls` share it.
#[derive(Args, Debug)]
pub(crate) struct ScopeArgs {
    /// Only this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

impl ScopeArgs {
    /// In the form of the daemon's API.
    pub(crate) fn to_filter(&self) -> Filter {
        Filter {
            namespace: self.namespace.clone().unwrap_or_default(),
            ..self.list.to_filter()
        }
    }
}

/// Runs one verb.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, command: SvcCommand) -> Result<(), CliError> {
    match command {
        SvcCommand::Add(args) => {
            let requests = requests(&args)?;
            add::run(session, requests, &args.settings).await
        }
        SvcCommand::Rm(args) => {
            let request = async |daemon: &mut Daemon, key| {
                let (uid, all) = (args.user.user, args.all);
                let request = RemoveServiceRequest { key, uid, all };
                let answer = daemon.control.remove_service(request).await;
                answer.map(|answer| answer.into_inner().removed)
            };
            remove::run(session, &args, ("service", "single services"), request).await
        }
        SvcCommand::Capture(args) => capture(session, args).await,
        SvcCommand::Ls(scope) => {
            let if_none = "no services are forwarded; start with: kubefwdctl ns add NAMESPACE";
            list::run::<ServiceItem>(session, scope.to_filter(), scope.list.watch, if_none).await
        }
    }
}

fn requests(args: &SvcAddArgs) -> Result<AttachRequest, CliError> {
    if args.local_ip.is_some() && args.services.len() > 1 {
        return Err(CliError::Usage {
            what: "--local-ip takes exactly one service, but several were given".to_owned(),
            hint: "run kubefwdctl svc add separately for each service that needs a fixed address"
                .to_owned(),
        });
    }
    let access = args.settings.cluster.to_access()?;
    let request = |named: &AddServiceRequest| AddServiceRequest {
        access: Some(access.clone()),
        local_ip: args.local_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        options: Some(args.settings.to_options()),
        ..named.clone()
    };
    Ok(AttachRequest {
        services: args.services.iter().map(request).collect(),
        ..AttachRequest::default()
    })
}

async fn capture(session: &Session, args: CaptureArgs) -> Result<(), CliError> {
    let out = &session.out;
    let on = args.state == Switch::On;
    let mut daemon = session.connect_to_change().await?;
    let mut set = Vec::new();
    for key in args.keys {
        let what = format!("cannot change capture of service {key}");
        let uid = args.user.user;
        let request = SetCaptureRequest { key, on, uid };
        let answer = daemon.control.set_capture(request).await;
        let service = answer.answered(what)?.service;
        set.push(CaptureSet {
            service,
            capture: on,
        });
    }
    if out.is_structured() {
        return out.value(&set);
    }
    let services: Vec<_> = set.iter().map(|set| &set.service).collect();
    let done = if on { ": capture on" } else { ": capture off" };
    out.confirm(&services, done)
}
