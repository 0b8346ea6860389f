//! `kubefwdctl svc`: single services, and the list of all.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use kubefwd_proto::control::v1::{
    AddServiceRequest, Filter, RemoveServiceRequest, SetCaptureRequest,
};
use serde::Serialize;

use super::add::{self, AddRequests, AddSettings};
use super::list;
use super::remove::{self, RemoveArgs, UserArgs};
use crate::error::CliError;
use crate::item::ServiceItem;
use crate::output::Format;
use crate::parse::ServiceTarget;
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
    #[arg(required = true, value_name = "NAMESPACE/SERVICE[:PORT[,PORT]]")]
    services: Vec<ServiceTarget>,
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
    /// Only this context
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Include those of other users
    #[arg(short = 'A', long)]
    all_users: bool,
    /// Watch for changes
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl ScopeArgs {
    /// In the form of the daemon's API.
    pub(crate) fn to_filter(&self) -> Filter {
        Filter {
            namespace: self.namespace.clone().unwrap_or_default(),
            context: self.context.clone().unwrap_or_default(),
            service: String::new(),
            all_users: self.all_users,
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
        SvcCommand::Rm(args) => remove_services(session, &args).await,
        SvcCommand::Capture(args) => capture(session, args).await,
        SvcCommand::Ls(scope) => {
            let if_none = "no services are forwarded; start with: kubefwdctl ns add NAMESPACE";
            list::run::<ServiceItem>(session, scope.to_filter(), scope.watch, if_none).await
        }
    }
}

fn requests(args: &SvcAddArgs) -> Result<AddRequests, CliError> {
    if args.local_ip.is_some() && args.services.len() > 1 {
        return Err(CliError::Usage {
            what: "--local-ip takes exactly one service, but several were given".to_owned(),
            hint: "run kubefwdctl svc add separately for each service that needs a fixed address"
                .to_owned(),
        });
    }
    let access = args.settings.cluster.to_access()?;
    let request = |target: &ServiceTarget| AddServiceRequest {
        access: Some(access.clone()),
        namespace: target.namespace.clone(),
        service: target.service.clone(),
        ports: target.ports.clone(),
        local_ip: args.local_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        options: Some(args.settings.to_options()),
    };
    Ok(AddRequests {
        services: args.services.iter().map(request).collect(),
        ..AddRequests::default()
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
        let answer = answer.map_err(|status| CliError::from_status(&what, &status))?;
        set.push(CaptureSet {
            service: answer.into_inner().service,
            capture: on,
        });
    }
    let lines = |what: &str| -> String {
        let lines = set.iter().map(|set| format!("{}{what}\n", set.service));
        lines.collect()
    };
    match out.format {
        Format::Json | Format::Yaml => out.value(&set),
        Format::Name => out.data(&lines("")),
        Format::Table | Format::Wide if out.confirms() && on => out.data(&lines(": capture on")),
        Format::Table | Format::Wide if out.confirms() => out.data(&lines(": capture off")),
        Format::Table | Format::Wide => Ok(()),
    }
}

async fn remove_services(session: &Session, args: &RemoveArgs) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    let mut removal = remove::Removal::new(session.out);
    for key in args.keys() {
        let request = RemoveServiceRequest {
            key: key.unwrap_or_default().to_owned(),
            uid: args.uid(),
            all: args.all,
        };
        let answer = daemon.control.remove_service(request).await;
        let what = match key {
            Some(key) => format!("cannot stop forwarding service {key}"),
            None => "cannot stop forwarding all single services".to_owned(),
        };
        removal.take(what, answer.map(|answer| answer.into_inner().removed))?;
    }
    removal.finish()
}
