//! `kubefwdctl hosts`: the names of forwarded services.

use kubefwd_proto::control::v1::{GetHostsRequest, HostsEntry};
use serde::Serialize;

use crate::error::{Answer as _, CliError};
use crate::output::listing::{self, Listed};
use crate::output::rows::{insert, or_dash, titles};
use crate::output::table::Cell;
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
    listing::print(&session.out, &names, "no host names: nothing is forwarded")
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
    const KIND: &'static str = "hostname";
    const PLURAL: &'static str = "hostnames";

    fn header(wide: bool) -> Vec<&'static str> {
        titles(&["ADDRESS", "NAME", "SERVICE"], wide, &["UID"])
    }

    fn row(&self, wide: bool) -> Vec<Cell> {
        let mut row = vec![
            self.ip.as_str().into(),
            self.hostname.as_str().into(),
            or_dash(&self.service_key).into(),
        ];
        if wide {
            insert(&mut row, [self.owner.to_string().into()]);
        }
        row
    }

    fn key(&self) -> String {
        self.hostname.clone()
    }
}
