//! The commands, one file for each noun.

pub(crate) mod add;
pub(crate) mod attach;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod fwd;
pub(crate) mod hosts;
pub(crate) mod list;
pub(crate) mod ns;
pub(crate) mod remove;
pub(crate) mod reserve;
pub(crate) mod status;
pub(crate) mod svc;
pub(crate) mod version;

use crate::cli::{Command, GlobalArgs};
use crate::connect::{Daemon, Socket};
use crate::error::CliError;
use crate::output::Output;

/// What every command gets: where the daemon is and where to print.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where the daemon is.
    pub(crate) socket: Socket,
    /// Where to print.
    pub(crate) out: Output,
}

impl Session {
    /// Reads the global options.
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        Self {
            socket: Socket::new(global.socket.clone()),
            out: Output::new(global.output, global.color, global.quiet, global.verbose),
        }
    }

    /// Connects, for queries.
    ///
    /// # Errors
    /// [`CliError::Unreachable`].
    pub(crate) async fn connect(&self) -> Result<Daemon, CliError> {
        Ok(self.socket.connect().await?)
    }

    /// Connects, for changes: warns when the daemon has another API level, since it may not understand the whole request.
    ///
    /// # Errors
    /// [`CliError::Unreachable`].
    pub(crate) async fn connect_to_change(&self) -> Result<Daemon, CliError> {
        let daemon = self.connect().await?;
        if let Some(skew) = daemon.skew() {
            self.out.warning(&skew.message, &skew.hint);
        }
        Ok(daemon)
    }
}

/// Runs one command.
///
/// # Errors
/// What is left to report, and the exit code with it.
pub(crate) async fn run(session: &Session, command: Command) -> Result<(), CliError> {
    match command {
        Command::Ns(command) => ns::run(session, command).await,
        Command::Svc(command) => svc::run(session, command).await,
        Command::Fwd(command) => fwd::run(session, command).await,
        Command::Reserve(command) => reserve::run(session, command).await,
        Command::Context(command) => context::run(session, command).await,
        Command::Status(args) => status::run(session, &args).await,
        Command::Events(args) => events::run(session, &args).await,
        Command::Hosts => hosts::run(session).await,
        Command::Doctor => doctor::run(session).await,
        Command::Version(args) => version::run(session, &args).await,
        Command::Completions(args) => completions::run(session, &args),
    }
}
