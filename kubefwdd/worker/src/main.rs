//! `kubefwd-worker`: started by kubefwdd as the user, with a channel to it.

use std::io::IsTerminal;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use kubefwd_worker::cli::Args;
use kubefwd_worker::link::log::LogLayer;
use kubefwd_worker::link::{self, Outbox, Outgoing};
use kubefwd_worker::{sys, worker};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// `EX_USAGE` of sysexits.h: not started by kubefwdd, or with more rights than the user has.
const USAGE: u8 = 64;
/// For watches, credentials and the daemon; connections are accepted and carried by threads of their own.
const THREADS: usize = 1;
/// How long what was said last may take to be sent.
const FAREWELL: Duration = Duration::from_millis(500);
/// What standard error shows, beside what the daemon's log shows anyhow; the daemon passes this variable on.
const LOG: &str = "KUBEFWD_WORKER_LOG";

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
    let (outbox, outgoing) = link::queue();
    init_tracing(outbox.clone());
    match run(channel, outbox, outgoing) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubefwd-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that must happen before there is a second thread.
fn start(args: &Args) -> Result<UnixStream, sys::StartError> {
    let channel = sys::adopt_channel(args.channel_fd)?;
    sys::check_privilege(args.allow_root)?;
    sys::raise_descriptor_limit();
    Ok(channel)
}

fn run(channel: UnixStream, outbox: Outbox, outgoing: Outgoing) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let (sender, orders) = link::open(channel).context("cannot use the channel to kubefwdd")?;
        let end = CancellationToken::new();
        let sending = tokio::spawn(outgoing.drain_into(sender, end.clone()));
        let ended = worker::run(orders, outbox).await;
        end.cancel();
        // A daemon that does not read any more is not waited for.
        let _sent = tokio::time::timeout(FAREWELL, sending).await;
        anyhow::Ok(ended?)
    });
    // Whatever is left may be waiting for a plugin or a name server: nobody waits for it.
    runtime.shutdown_background();
    ended
}

fn init_tracing(outbox: Outbox) {
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new("off"));
    let stderr = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(stderr)
        .with(LogLayer::new(outbox))
        .init();
}
