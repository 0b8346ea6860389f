//! `kubefwd-worker`: takes the daemon's channel, makes sure of its rights, runs until the daemon is done with it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use kubefwd_worker::cli::Args;
use kubefwd_worker::link::{self, log::LogLayer};
use kubefwd_worker::{sys, worker};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Threads for bytes and watches; accepting has one of its own.
const THREADS: usize = 2;
/// What standard error shows; the daemon passes this variable on.
const LOG: &str = "KUBEFWD_WORKER_LOG";

#[expect(clippy::print_stderr, reason = "why it cannot start, when nothing else could say it")]
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubefwd-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let channel = sys::adopt_channel(args.channel_fd)?;
    sys::check_privilege(args.allow_root)?;
    let (outbox, outgoing) = link::queue();
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new("off")));
    tracing_subscriber::registry()
        .with(stderr)
        .with(LogLayer::new(outbox.clone()))
        .try_init()
        .context("cannot set up logging")?;
    let descriptors = sys::raise_descriptor_limit();
    tracing::debug!(descriptors, "started");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let (sender, receiver) = link::open(channel).context("cannot use the channel")?;
        let sending = tokio::spawn(outgoing.drain_into(sender));
        let ended = worker::run(receiver, outbox).await;
        // Frames that are queued go nowhere any more: the daemon is gone or done with this worker.
        sending.abort();
        Ok::<_, anyhow::Error>(ended?)
    });
    // A look-up or plugin that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}
