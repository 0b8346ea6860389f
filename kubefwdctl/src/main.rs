//! `kubefwdctl`: the command line of the kubefwd daemon.
//!
//! It needs no privileges: it talks to the daemon over a unix socket, and the daemon learns from the kernel who is calling.

mod cache;
mod cli;
mod cluster;
mod cmd;
mod connect;
mod error;
mod interrupt;
mod item;
mod output;
mod parse;
mod progress;
mod service_manager;
mod session;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::session::Session;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let session = Session::new(cli.global);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| error::CliError::System {
            what: "cannot start",
            source,
        })
        .and_then(|runtime| runtime.block_on(cli.command.run(&session)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            session.out.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
