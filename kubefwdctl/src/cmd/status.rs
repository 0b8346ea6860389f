//! `kubefwdctl status`: the daemon as a whole.

mod report;
mod summary;

use clap::Args;
use kubefwd_model::{Health, Time};
use kubefwd_proto::control::v1::{Filter, GetStatusRequest};

use crate::connect::Daemon;
use crate::error::{Answer as _, CliError};
use crate::output::listing::Live;
use crate::output::{Format, Output};
use crate::session::Session;
use crate::watch::Watch;
use report::Status;

/// `status`
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Watch for changes
    #[arg(short, long)]
    watch: bool,
}

/// Prints the daemon's status.
///
/// # Errors
/// [`CliError::Degraded`] when it is not healthy, and what is left to report.
pub(crate) async fn run(session: &Session, args: &StatusArgs) -> Result<(), CliError> {
    let out = &session.out;
    let mut daemon = session.connect().await?;
    if args.watch {
        return watch(out, &mut daemon).await;
    }
    let status = get(&mut daemon).await?;
    match out.format {
        Format::Json | Format::Yaml => out.value(&status)?,
        Format::Name => out.data(&format!("{}\n", status.status))?,
        Format::Table | Format::Wide => {
            out.data(&summary::text(&status, out.is_coloured(), Time::now()))?;
        }
    }
    if status.status == Health::Healthy.as_str() {
        Ok(())
    } else {
        Err(CliError::Degraded)
    }
}

/// Every change to a forward changes the status, so each update is a reason to query it again.
async fn watch(out: &Output, daemon: &mut Daemon) -> Result<(), CliError> {
    let all = Filter {
        all_users: true,
        ..Filter::default()
    };
    let mut watch = Watch::open(daemon, all, "cannot watch the status").await?;
    let mut live = Live::new(*out);
    let mut shown: Option<Status> = None;
    loop {
        let status = get(daemon).await?;
        if shown.as_ref() != Some(&status) {
            live.print(&status)?;
            shown = Some(status);
        }
        watch.next().await?;
    }
}

async fn get(daemon: &mut Daemon) -> Result<Status, CliError> {
    let answer = daemon.control.get_status(GetStatusRequest {}).await;
    Ok(answer.answered("cannot show the status")?.into())
}
