//! `kubefwdctl names`: suffixes that names may have although they could hide something.

use clap::{Args, Subcommand};
use kubefwd_proto::control::v1::{
    self as pb, AllowSuffixRequest, DenySuffixRequest, ListSuffixesRequest,
};
use serde::Serialize;

use crate::error::{Answer as _, CliError};
use crate::output::listing::{self, Column, Listed};
use crate::session::Session;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum NamesCommand {
    /// Allow names such as api.SUFFIX; root only
    Allow(SuffixArgs),
    /// Take a suffix back, and all names that end in it; root only
    Deny(SuffixArgs),
    /// List allowed suffixes
    #[command(alias = "list")]
    Ls,
}

/// `names allow`, `names deny`
#[derive(Args, Debug)]
pub(crate) struct SuffixArgs {
    /// A suffix such as dev, or a whole name
    #[arg(value_name = "SUFFIX")]
    suffix: String,
}

/// A suffix that names may have.
#[derive(Serialize)]
struct AllowedSuffix {
    suffix: String,
    /// It comes from the daemon's configuration file.
    configured: bool,
}

/// Runs one verb.
///
/// # Errors
/// What is left to report.
pub(crate) async fn run(session: &Session, command: NamesCommand) -> Result<(), CliError> {
    match command {
        NamesCommand::Allow(args) => allow(session, args).await,
        NamesCommand::Deny(args) => deny(session, args).await,
        NamesCommand::Ls => list(session).await,
    }
}

async fn allow(session: &Session, SuffixArgs { suffix }: SuffixArgs) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    let what = format!("cannot allow names within {suffix}");
    let request = AllowSuffixRequest {
        suffix: suffix.clone(),
    };
    let answer = daemon.control.allow_suffix(request).await;
    let answer = answer.answered(what)?;
    session
        .out
        .note(&format!("services may have names within {suffix}"));
    if !answer.warning.is_empty() {
        session
            .out
            .warning(&answer.warning, "`kubefwdctl names deny` takes it back");
    }
    Ok(())
}

async fn deny(session: &Session, SuffixArgs { suffix }: SuffixArgs) -> Result<(), CliError> {
    let mut daemon = session.connect_to_change().await?;
    let what = format!("cannot take back names within {suffix}");
    let request = DenySuffixRequest {
        suffix: suffix.clone(),
    };
    daemon.control.deny_suffix(request).await.answered(what)?;
    session
        .out
        .note(&format!("services no longer have names within {suffix}"));
    Ok(())
}

async fn list(session: &Session) -> Result<(), CliError> {
    let mut daemon = session.connect().await?;
    let answer = daemon.control.list_suffixes(ListSuffixesRequest {}).await;
    let answer = answer.answered("cannot list allowed suffixes")?;
    let suffixes = answer.suffixes.into_iter().map(AllowedSuffix::from);
    let suffixes: Vec<_> = suffixes.collect();
    let if_none = "no suffixes are allowed beyond those that hide nothing";
    listing::print(&session.out, "suffixes", &suffixes, if_none)
}

impl From<pb::AllowedSuffix> for AllowedSuffix {
    fn from(allowed: pb::AllowedSuffix) -> Self {
        let pb::AllowedSuffix { suffix, configured } = allowed;
        Self { suffix, configured }
    }
}

impl Listed for AllowedSuffix {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("SUFFIX", |it| it.suffix.as_str().into()),
        Column::new("FROM", |it| match it.configured {
            true => "configuration".into(),
            false => "names allow".into(),
        }),
    ];

    fn key(&self) -> String {
        self.suffix.clone()
    }
}
