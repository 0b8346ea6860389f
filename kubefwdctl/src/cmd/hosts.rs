//! `kubefwdctl hosts`: the names of forwarded services.

use kubefwd_proto::control::v1::GetHostsRequest;

use super::Session;
use crate::error::CliError;
use crate::output::listing;
use crate::output::shape::HostName;

/// Prints the daemon's block of the hosts file, as objects.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let answer = daemon.control.get_hosts(GetHostsRequest {}).await;
    let answer = answer
        .map_err(|status| CliError::from_status("cannot list host names", &status))?
        .into_inner();
    let file = answer.file.unwrap_or_default();
    if !file.error.is_empty() {
        session.out.warning(
            &format!("cannot write {}: {}", file.path, file.error),
            "kubefwdctl doctor",
        );
    }
    let names: Vec<_> = answer
        .entries
        .into_iter()
        .map(|entry| HostName {
            ip: entry.address,
            hostname: entry.name,
            service: entry.service_key,
            uid: entry.uid,
        })
        .collect();
    listing::print(&session.out, &names, "no host names: nothing is forwarded")
}
