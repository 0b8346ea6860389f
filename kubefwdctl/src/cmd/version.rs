//! `kubefwdctl version`: this program's and the daemon's.

use clap::Args;
use kubefwd_proto::control::API_LEVEL;
use serde::Serialize;

use crate::error::CliError;
use crate::output::Format;
use crate::session::Session;

/// `version`
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// Show only the client version
    #[arg(long)]
    client: bool,
}

/// Both sides.
#[derive(Serialize)]
struct Versions {
    client: Side,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<Side>,
}

/// One side.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    version: String,
    api_level: u32,
}

/// Prints the versions; the client's even if the daemon does not answer.
///
/// # Errors
/// [`CliError::Unreachable`], after the client's version was printed.
pub(crate) async fn run(session: &Session, args: &VersionArgs) -> Result<(), CliError> {
    let mut result = Ok(());
    let mut daemon = None;
    if !args.client {
        match session.connect().await {
            Ok(answered) => daemon = Some(answered),
            Err(error) => result = Err(error),
        }
    }
    let skew = daemon.as_ref().and_then(|daemon| daemon.skew());
    let versions = Versions {
        client: Side {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_level: API_LEVEL,
        },
        daemon: daemon.map(|daemon| Side {
            version: daemon.version,
            api_level: daemon.api_level,
        }),
    };
    match session.out.format {
        Format::Json | Format::Yaml => session.out.value(&versions)?,
        Format::Name => session
            .out
            .data(&format!("{}\n", versions.client.version))?,
        Format::Table | Format::Wide => session.out.data(&text(&versions))?,
    }
    if let Some(skew) = skew {
        session.out.warning(&skew.message, &skew.hint);
    }
    result
}

fn text(versions: &Versions) -> String {
    let line = |name: &str, side: &Side| {
        format!("{name}  {} (API level {})\n", side.version, side.api_level)
    };
    let daemon = versions
        .daemon
        .as_ref()
        .map(|side| line("kubefwdd  ", side));
    line("kubefwdctl", &versions.client) + &daemon.unwrap_or_default()
}
