//! `kubefwdd`: arguments, configuration, build, run.

use std::process::ExitCode;

use clap::Parser;
use kubefwdd::app::{self, Ending};
use kubefwdd::cli::{Cli, Command};
use kubefwdd::paths;

/// The configuration cannot be used (`EX_CONFIG` of sysexits.h): starting again will not help.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Run(cli.flags));
    let (Command::Run(flags) | Command::Cleanup(flags) | Command::CheckConfig(flags)) = &command;
    let (config, paths) = match paths::resolve(flags) {
        Ok(resolved) => resolved,
        Err(error) => return fail(&error.into(), EXIT_CONFIG),
    };
    let logs = app::init_log(flags.log.as_deref().or(config.log.as_deref()));
    let result = match &command {
        Command::Run(flags) => app::run(&config, paths, flags, logs),
        Command::Cleanup(_) => app::cleanup(&paths).map(|()| Ending::Stopped),
        Command::CheckConfig(_) => app::report_config(&paths).map(|()| Ending::Stopped),
    };
    match result {
        Ok(Ending::Stopped) => ExitCode::SUCCESS,
        Ok(Ending::HandedOver) => ExitCode::from(app::EXIT_HANDED_OVER),
        Err(error) => fail(&error, 1),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of the program, wherever logs go"
)]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}
