//! Assembles the worker: logging, the runtime, the channel to the daemon and the event loop.

use std::io::IsTerminal;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context;
use kubefwd_proto::channel::{self, Accepts};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::event_loop;
use crate::outbox::log_layer::LogLayer;
use crate::outbox::{self, Outbox};

/// For watches, credentials and the daemon; connections are accepted and forwarded by threads of their own.
const THREADS: usize = 1;
/// How long sending the last frames may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);
/// The log level on standard error, in addition to the daemon's log; the daemon passes this variable on.
const LOG: &str = "KUBEFWD_WORKER_LOG";

/// Runs until the daemon or a signal asks the worker to end, or the daemon is gone.
///
/// # Errors
/// The operating system refuses what the worker needs, or the daemon does not follow the protocol.
pub fn run(socket: UnixStream) -> anyhow::Result<()> {
    let (outbox, outgoing) = outbox::queue();
    init_tracing(outbox.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let (sender, orders) = channel::channel(socket, Accepts::Descriptors)
            .context("cannot use the channel to kubefwdd")?;
        let end = CancellationToken::new();
        let sending = tokio::spawn(outgoing.drain_into(sender, end.clone()));
        let ended = event_loop::run(orders, outbox).await;
        end.cancel();
        // Does not wait for a daemon that has stopped reading.
        let _sent = tokio::time::timeout(SHUTDOWN_TIMEOUT, sending).await;
        anyhow::Ok(ended?)
    });
    // Does not wait for plugins and name servers.
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
