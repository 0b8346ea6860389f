//! `kubefwdctl doctor`: diagnoses problems, first on this side, then in the daemon.

mod checks;
mod finding;

use kubefwd_model::{Finding, Severity};
use kubefwd_proto::control::v1::DiagnoseRequest;

use crate::connect::Daemon;
use crate::error::{Answer as _, CliError};
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
            match diagnose(daemon).await {
                Ok(found) => findings.extend(found),
                Err(error) => findings.push(from_error("diagnosis", &error)),
            }
            findings
        }
        Err(unreachable) => vec![
            from_error("daemon", &unreachable.into()),
            membership(),
            kubeconfig(),
        ],
    };
    listing::print(&session.out, "findings", &findings, "")?;
    if findings
        .iter()
        .any(|finding| finding.severity >= Severity::Warning)
    {
        return Err(CliError::Degraded);
    }
    Ok(())
}

async fn diagnose(mut daemon: Daemon) -> Result<Vec<Finding>, CliError> {
    const WHAT: &str = "the daemon did not report its status";
    let answer = daemon.control.diagnose(DiagnoseRequest {}).await;
    let findings = answer.answered(WHAT)?.findings.into_iter();
    let read: Result<_, _> = findings.map(Finding::try_from).collect();
    read.map_err(|error| CliError::malformed(WHAT, error))
}
