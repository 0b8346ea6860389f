//! What `ns add` and `svc add` share: the settings, the requests, and `--wait`.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use kubefwd_proto::common::v1::{Balance, PortMapping};
use kubefwd_proto::control::v1::{
    AddNamespaceRequest, AddServiceRequest, Filter, Options, Service, ServiceState,
};
use serde::Serialize;
use tokio::time::Instant;

use super::{Session, attach};
use crate::access::AccessArgs;
use crate::connect::Daemon;
use crate::error::CliError;
use crate::follow::Follow;
use crate::interrupt::Interrupts;
use crate::mirror::{Id, Mirror};
use crate::output::rows::state;
use crate::output::table::{Cell, Table};
use crate::output::{Format, Output, shape};
use crate::parse;
use crate::progress::{Progress, Targets, explain};

/// Settings for everything that one command adds.
#[derive(Args, Debug)]
pub(crate) struct AddSettings {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Map a service port to a different local port (repeatable)
    #[arg(long, value_name = "SERVICE_PORT:LOCAL_PORT", value_parser = parse::port_mapping, help_heading = "Forwarding")]
    port_map: Vec<PortMapping>,
    /// Also add names under this domain, such as SERVICE.DOMAIN
    #[arg(long, value_name = "DOMAIN", help_heading = "Forwarding")]
    domain: Option<String>,
    /// How to pick a ready pod for each new connection: primary, round-robin or least-connections [default: primary]
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        hide_possible_values = true,
        help_heading = "Forwarding"
    )]
    balance: Option<BalanceChoice>,
    /// Add it even if the cluster is unreachable or the object does not exist yet
    #[arg(long, help_heading = "Forwarding")]
    defer: bool,
    /// Wait until every service is active, for 30s unless TIME is given; exits with 3 on timeout
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        value_parser = parse::duration,
        help_heading = "Duration"
    )]
    pub(crate) wait: Option<Duration>,
    /// Forward only while this command runs
    #[arg(long, help_heading = "Duration")]
    attach: bool,
}

/// How a ready pod is picked for each new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BalanceChoice {
    /// The same pod while it is ready
    Primary,
    /// Each in turn
    RoundRobin,
    /// The one with the fewest connections
    LeastConnections,
}

impl AddSettings {
    /// In the form of the daemon's API.
    pub(crate) fn to_options(&self) -> Options {
        let balance = match self.balance {
            None => Balance::Unspecified,
            Some(BalanceChoice::Primary) => Balance::Primary,
            Some(BalanceChoice::RoundRobin) => Balance::RoundRobin,
            Some(BalanceChoice::LeastConnections) => Balance::LeastConnections,
        };
        Options {
            port_mappings: self.port_map.clone(),
            domain: self.domain.clone().unwrap_or_default(),
            balance: balance.into(),
            defer: self.defer,
        }
    }
}

/// What one command asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    /// Whole namespaces.
    pub(crate) namespaces: Vec<AddNamespaceRequest>,
    /// Single services.
    pub(crate) services: Vec<AddServiceRequest>,
}

impl Wishes {
    /// For messages: `demo, staging/db`.
    pub(crate) fn names(&self) -> String {
        let namespaces = self.namespaces.iter().map(|wish| wish.namespace.clone());
        let services = self
            .services
            .iter()
            .map(|wish| format!("{}/{}", wish.namespace, wish.service));
        namespaces.chain(services).collect::<Vec<_>>().join(", ")
    }
}

/// Adds, and then waits or stays attached as the settings say.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(
    session: &Session,
    wishes: Wishes,
    settings: &AddSettings,
) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    if settings.attach {
        return attach::run(session, daemon, wishes, settings.wait).await;
    }
    // Opened before the change, so that no update is missed.
    let follow = match settings.wait {
        Some(limit) => {
            let what = format!("cannot forward {}", wishes.names());
            let follow = Follow::open(&mut daemon, Filter::default(), &what).await?;
            Some((follow, limit))
        }
        None => None,
    };
    let mut addition = Addition::new(session.out);
    addition.add_all(&mut daemon, wishes).await?;
    let Some((mut follow, limit)) = follow else {
        addition.print(None)?;
        return addition.end(Ok(()));
    };
    let result = wait(&session.out, &mut follow, addition.targets.clone(), limit).await;
    if !matches!(result, Err(CliError::Interrupted)) {
        addition.print(Some(&follow.mirror))?;
    }
    addition.end(result)
}

async fn wait(
    out: &Output,
    follow: &mut Follow,
    targets: Targets,
    limit: Duration,
) -> Result<(), CliError> {
    let mut interrupts = Interrupts::new()?;
    let deadline = Instant::now() + limit;
    let keys = targets.keys();
    follow.what = format!("cannot wait for {keys}");
    let mut progress = Progress::new(targets, &follow.mirror);
    let mut lines = ServiceLines::new(*out, Series::Once);
    let known: Vec<Id> = progress.ids().cloned().collect();
    lines.show(&known, &follow.mirror)?;
    while !progress.is_complete(&follow.mirror) {
        tokio::select! {
            delta = follow.receive() => {
                let touched = progress.apply(&delta?, &follow.mirror);
                lines.show(&touched, &follow.mirror)?;
            }
            () = tokio::time::sleep_until(deadline) => {
                return Err(not_active(&progress, &follow.mirror, limit));
            }
            () = interrupts.next() => {
                out.note(&format!("interrupted; still forwarding {keys}"));
                return Err(CliError::Interrupted);
            }
        }
    }
    if out.confirms() && !keys.is_empty() {
        out.data(&format!("{}\n", progress.summary()))?;
    }
    Ok(())
}

/// The error of a wait that timed out.
pub(crate) fn not_active(progress: &Progress, mirror: &Mirror, limit: Duration) -> CliError {
    let missing = progress.missing(mirror);
    CliError::NotActive {
        what: format!(
            "{} after {}",
            missing.what,
            crate::output::units::duration(limit)
        ),
        causes: missing.causes,
        hint: match missing.hint {
            hint if hint.is_empty() => "kubefwdctl doctor".to_owned(),
            hint => hint,
        },
    }
}

/// What was added so far, and the first failure.
struct Addition {
    out: Output,
    targets: Targets,
    added: Added,
    failed: Option<u8>,
}

/// The structured form, with the names of REST.
#[derive(Default, Serialize)]
struct Added {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<AddedNamespace>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<AddedService>,
}

#[derive(Serialize)]
struct AddedNamespace {
    key: String,
    namespace: String,
    context: String,
    /// Only after a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<shape::Service>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddedService {
    key: String,
    service_name: String,
    namespace: String,
    context: String,
    /// Only after a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<shape::Service>,
}

impl Addition {
    fn new(out: Output) -> Self {
        Self {
            out,
            targets: Targets::default(),
            added: Added::default(),
            failed: None,
        }
    }

    /// One failure does not stop the others; a lost connection does.
    async fn add_all(&mut self, daemon: &mut Daemon, wishes: Wishes) -> Result<(), CliError> {
        for wish in wishes.namespaces {
            let namespace = wish.namespace.clone();
            match daemon.control.add_namespace(wish).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    self.say(&answer.key)?;
                    self.targets.revision = self.targets.revision.max(answer.revision);
                    self.targets.namespaces.insert(answer.key.clone());
                    self.added.namespaces.push(AddedNamespace {
                        key: answer.key,
                        namespace,
                        context: answer.context,
                        services: None,
                    });
                }
                Err(status) => {
                    let what = format!("cannot forward namespace {namespace}");
                    self.fail(CliError::from_status(what, &status))?;
                }
            }
        }
        for wish in wishes.services {
            let (namespace, service_name) = (wish.namespace.clone(), wish.service.clone());
            match daemon.control.add_service(wish).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    self.say(&answer.key)?;
                    self.targets.revision = self.targets.revision.max(answer.revision);
                    self.targets.services.insert(answer.key.clone());
                    self.added.services.push(AddedService {
                        key: answer.key,
                        service_name,
                        namespace,
                        context: answer.context,
                        service: None,
                    });
                }
                Err(status) => {
                    let what = format!("cannot forward service {namespace}/{service_name}");
                    self.fail(CliError::from_status(what, &status))?;
                }
            }
        }
        Ok(())
    }

    fn say(&self, key: &str) -> Result<(), CliError> {
        match self.out.format {
            Format::Name => self.out.data(&format!("{key}\n")),
            _ if self.out.confirms() => self.out.data(&format!("{key} added\n")),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: CliError) -> Result<(), CliError> {
        if matches!(error, CliError::Lost { .. }) {
            return Err(error);
        }
        self.out.error(&error);
        self.failed.get_or_insert(error.exit_code());
        Ok(())
    }

    /// Prints the structured form, with the services as the mirror has them.
    fn print(&mut self, mirror: Option<&Mirror>) -> Result<(), CliError> {
        if !matches!(self.out.format, Format::Json | Format::Yaml) {
            return Ok(());
        }
        if let Some(mirror) = mirror {
            for added in &mut self.added.namespaces {
                let own = mirror.services.values().filter(|service| {
                    service.namespace == added.namespace && service.context == added.context
                });
                added.services = Some(own.map(shape::Service::from).collect());
            }
            for added in &mut self.added.services {
                let own = mirror
                    .services
                    .values()
                    .find(|service| service.key == added.key);
                added.service = own.map(shape::Service::from);
            }
        }
        self.out.value(&self.added)
    }

    /// A failed addition, already reported, decides the exit code before an incomplete wait does.
    fn end(self, result: Result<(), CliError>) -> Result<(), CliError> {
        let Some(code) = self.failed else {
            return result;
        };
        if let Err(error) = result {
            self.out.error(&error);
        }
        Err(CliError::Reported(code))
    }
}

/// Whether structured output is a stream, one object per line, or one value that the caller prints at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    /// One value at the end.
    Once,
    /// One object per line.
    Live,
}

/// Prints a line for each service once it is up (or cannot be), and again when that changes.
pub(crate) struct ServiceLines {
    out: Output,
    series: Series,
    table: Table,
    printed: HashMap<Id, Vec<Cell>>,
}

impl ServiceLines {
    /// Nothing is printed yet.
    pub(crate) fn new(out: Output, series: Series) -> Self {
        Self {
            table: Table::new(out.is_coloured()),
            out,
            series,
            printed: HashMap::new(),
        }
    }

    /// Prints those of these services that have news.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn show(&mut self, ids: &[Id], mirror: &Mirror) -> Result<(), CliError> {
        let mut rows = Vec::new();
        for id in ids {
            let Some(service) = mirror.services.get(id) else {
                continue;
            };
            let row = row(service);
            self.table.measure(&row);
            let is_news = match self.printed.get(id) {
                Some(before) => *before != row,
                None => matches!(
                    service.state(),
                    ServiceState::Active | ServiceState::Unsupported
                ),
            };
            if !is_news {
                continue;
            }
            self.printed.insert(id.clone(), row.clone());
            match self.out.format {
                Format::Json | Format::Yaml if self.series == Series::Live => {
                    self.out.item(&shape::Service::from(service))?;
                }
                _ if self.out.confirms() => rows.push(row),
                _ => {}
            }
        }
        self.out.data(&self.table.render(&rows))
    }
}

/// `db  127.1.27.1:5432  demo/db  active`
fn row(service: &Service) -> Vec<Cell> {
    let shape = shape::Service::from(service);
    let ports = shape.ports();
    let address = match (shape.local_ip.as_str(), ports.as_str()) {
        ("", _) => "-".to_owned(),
        (ip, "") => ip.to_owned(),
        (ip, ports) => format!("{ip}:{ports}"),
    };
    let mut row = vec![
        shape.service_name.as_str().into(),
        address.into(),
        format!("{}/{}", shape.namespace, shape.service_name).into(),
        state(shape.status),
    ];
    if service.state() != ServiceState::Active {
        let explained = explain(service);
        let reason = explained.split_once(": ").map_or("", |(_, reason)| reason);
        row.push(reason.into());
    }
    row
}
