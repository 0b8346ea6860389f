//! What every command gets from the global options: where the daemon is and where to print.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::connect::{Daemon, Socket};
use crate::error::CliError;
use crate::output::{ColorChoice, Format, Output};

/// Options that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Format of standard output
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true,
        help = "Output format: table, wide, json, yaml or name"
    )]
    output: Format,
    /// Daemon socket [default: /run/kubefwd/kubefwdd.sock]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "KUBEFWD_SOCKET",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,
    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    color: ColorChoice,
    /// Print only data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Show progress notes even when stderr is not a terminal
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    verbose: bool,
}

/// Where the daemon is and where to print.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) socket: Socket,
    pub(crate) out: Output,
}

impl Session {
    /// Reads the global options.
    pub(crate) fn new(global: GlobalArgs) -> Self {
        Self {
            socket: Socket::new(global.socket),
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
