//! `kubefwdctl hosts`: the names of forwarded services.

use kubefwd_proto::control::v1::{GetHostsRequest, HostsEntry};
use serde::Serialize;

use crate::error::{Answer as _, CliError};
use crate::output::listing::{self, Column, Listed};
use crate::output::rows::or_dash;
use crate::session::Session;

/// A name in the hosts file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HostName {
    hostname: String,
    ip: String,
    /// Absent for the daemon's own name.
    #[serde(skip_serializing_if = "String::is_empty")]
    service_key: String,
    owner: u32,
}

/// Prints the daemon's block of the hosts file, as objects.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let answer = daemon.control.get_hosts(GetHostsRequest {}).await;
    let answer = answer.answered("cannot list host names")?;
    let file = answer.file.unwrap_or_default();
    if !file.error.is_empty() {
        session.out.warning(
            &format!("cannot write {}: {}", file.path, file.error),
            "kubefwdctl doctor",
        );
    }
    let names: Vec<_> = answer.entries.into_iter().map(HostName::from).collect();
    let if_none = "no host names: nothing is forwarded";
    listing::print(&session.out, "hostnames", &names, if_none)
}

impl From<HostsEntry> for HostName {
    fn from(entry: HostsEntry) -> Self {
        Self {
            hostname: entry.name,
            ip: entry.address,
            service_key: entry.service_key,
            owner: entry.uid,
        }
    }
}

impl Listed for HostName {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("ADDRESS", |it| it.ip.as_str().into()),
        Column::new("NAME", |it| it.hostname.as_str().into()),
        Column::wide("UID", |it| it.owner.to_string().into()),
        Column::new("SERVICE", |it| or_dash(&it.service_key)),
    ];

    fn key(&self) -> String {
        self.hostname.clone()
    }
}
