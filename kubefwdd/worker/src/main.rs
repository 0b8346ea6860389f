//! `kubefwd-worker`: started by kubefwdd as the user, with a channel to it.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use clap::Parser;
use kubefwd_worker::cli::Args;
use kubefwd_worker::{app, sys};

/// `EX_USAGE` of sysexits.h: not started by kubefwdd, or with more privileges than the user has.
const USAGE: u8 = 64;

#[expect(
    clippy::print_stderr,
    reason = "why it ends, when nothing else can say it"
)]
fn main() -> ExitCode {
    let channel = match start(&Args::parse()) {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("kubefwd-worker: {:#}", anyhow::Error::from(error));
            return ExitCode::from(USAGE);
        }
    };
    match app::run(channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubefwd-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that must happen before there is a second thread.
fn start(args: &Args) -> Result<UnixStream, sys::StartError> {
    sys::refuse_tracing();
    let channel = sys::adopt_channel(args.channel_fd)?;
    sys::check_privilege(args.allow_root)?;
    sys::raise_descriptor_limit();
    Ok(channel)
}
