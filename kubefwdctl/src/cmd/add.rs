//! What `ns add` and `svc add` share: options, requests, `--wait` and `--attach`.

mod attach;
mod lines;
mod names;
mod report;
mod settings;
mod wait;

use kubefwd_proto::control::v1::{AttachRequest, Filter};

use crate::error::CliError;
use crate::session::Session;
use crate::watch::Watch;
use report::Report;
pub(crate) use settings::AddSettings;

/// Adds, and then waits or stays attached as the settings say.
///
/// # Errors
/// What is left to report.
pub(super) async fn run(
    session: &Session,
    requests: AttachRequest,
    settings: &AddSettings,
) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    if settings.attach {
        return attach::run(session, daemon, requests, settings.wait).await;
    }
    // Opened before the change, so that no update is missed.
    let watch = match settings.wait {
        Some(limit) => {
            let what = format!("cannot forward {}", listed(&requests));
            let watch = Watch::open(&mut daemon, Filter::default(), &what).await?;
            Some((watch, limit))
        }
        None => None,
    };
    let mut report = Report::new(session.out);
    report.add_all(&mut daemon, requests).await?;
    let Some((mut watch, limit)) = watch else {
        report.print(None)?;
        if !report.targets.is_empty() {
            names::tell_known(&session.out, &mut daemon, report.targets.clone()).await?;
        }
        return report.end(Ok(()));
    };
    let result = wait::until_active(&session.out, &mut watch, report.targets.clone(), limit).await;
    if !matches!(result, Err(CliError::Interrupted)) {
        report.print(Some(&watch.cache))?;
    }
    report.end(result)
}

/// For messages: `demo, staging/db`.
fn listed(requests: &AttachRequest) -> String {
    let namespaces = requests.namespaces.iter().map(|one| one.namespace.clone());
    let services = requests.services.iter();
    let services = services.map(|one| format!("{}/{}", one.namespace, one.service));
    namespaces.chain(services).collect::<Vec<_>>().join(", ")
}
