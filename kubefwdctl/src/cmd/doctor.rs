//! `kubefwdctl doctor`: diagnoses problems, first on this side, then in the daemon.

mod checks;
mod finding;

use kubefwd_model::{Finding, Severity};
use kubefwd_proto::control::v1::DiagnoseRequest;

use crate::connect::Daemon;
use crate::error::CliError;
use crate::output::listing;
use crate::session::Session;
use checks::{kubeconfig, membership, version};
use finding::{from_error, ok};

/// Prints all findings.
///
/// # Errors
/// [`CliError::Degraded`] if one of them is a warning or an error; [`CliError::Output`].
pub(crate) async fn run(session: &Session) -> Result<(), CliError> {
    let findings = match session.socket.connect().await {
        Ok(daemon) => {
            let socket = session.socket.path().display();
            let answers = format!("kubefwdd {} answers on {socket}", daemon.version);
            let mut findings = vec![ok("daemon", answers), version(&daemon)];
            findings.extend([membership(), kubeconfig()]);
            findings.extend(diagnose(daemon).await);
            findings
        }
        Err(unreachable) => vec![
            from_error("daemon", &unreachable.into()),
            membership(),
            kubeconfig(),
        ],
    };
    listing::print(&session.out, &findings, "")?;
    if findings
        .iter()
        .any(|finding| finding.severity >= Severity::Warning)
    {
        return Err(CliError::Degraded);
    }
    Ok(())
}

async fn diagnose(mut daemon: Daemon) -> Vec<Finding> {
    const WHAT: &str = "the daemon did not report its status";
    let findings = match daemon.control.diagnose(DiagnoseRequest {}).await {
        Ok(answer) => {
            let findings = answer.into_inner().findings.into_iter();
            let read: Result<_, _> = findings.map(Finding::try_from).collect();
            read.map_err(|error| CliError::malformed(WHAT, error))
        }
        Err(status) => Err(CliError::from_status(WHAT, &status)),
    };
    findings.unwrap_or_else(|error| vec![from_error("diagnosis", &error)])
}
