//! The daemon as a whole: built eagerly (everything that can fail does so before anything runs), run until a signal,
//! then taken down in the reverse order.

mod activation;
mod build;
mod follow;
mod machine;
mod notify;
mod reload;
mod shutdown;
mod signals;
mod socket;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kubefwd_core::names::NameRules;
use kubefwd_core::status::HostsStatus;
use nix::fcntl::Flock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Flags;
use crate::config::Config;
use crate::control::Control;
use crate::grpc;
use crate::hosts::{self, HostsActor};
use crate::paths::Paths;
use crate::storage::Writer;
use crate::store::{Adapters, Store};
use crate::store_handle::StoreHandle;
use crate::sys;
use reload::Reload;
use shutdown::Running;
use signals::{Asked, Signals};

pub use machine::{Logs, init_log};

/// Another daemon follows at once (`EX_TEMPFAIL` of sysexits.h): the exit status by which `kubefwdd cleanup` knows that
/// names are to stay, and the service manager that it has to start one.
pub const EXIT_HANDED_OVER: u8 = 75;

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is left behind.
    Stopped,
    /// Names and listeners are left to the next daemon.
    HandedOver,
}

/// Says that the configuration is good.
///
/// # Errors
/// When the answer cannot be printed.
pub fn report_config(paths: &Paths) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{} is valid", paths.config.display()).context("cannot print")
}

/// Removes what a crashed daemon left behind. Harmless where there is nothing; as the service manager's `ExecStopPost=` it
/// leaves names alone that the daemon has left to the next.
///
/// # Errors
/// When the hosts file cannot be written.
pub fn cleanup(paths: &Paths) -> Result<()> {
    // Given to this program alone, see systemd.exec(5).
    let status = |name: &str| std::env::var(name).unwrap_or_default();
    if !status("SERVICE_RESULT").is_empty()
        && status("EXIT_CODE") == "exited"
        && status("EXIT_STATUS") == EXIT_HANDED_OVER.to_string()
    {
        tracing::info!("the daemon is restarting: its names stay");
        return Ok(());
    }
    clean_up(paths)
}

fn clean_up(paths: &Paths) -> Result<()> {
    let removed = hosts::cleanup(&paths.hosts)?;
    machine::loopback(&paths.state_dir)?
        .clear()
        .context("cannot remove addresses")?;
    tracing::info!(removed, hosts = %paths.hosts.display(), "cleaned up");
    Ok(())
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start; nothing was changed then.
pub fn run(config: &Config, paths: Paths, flags: &Flags, logs: Logs) -> Result<Ending> {
    machine::raise_descriptor_limit();
    sys::share_one_heap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let app = App::build(config, paths, flags, logs)?;
        app.run().await
    })
}

/// Everything, built and not yet running.
struct App {
    parts: Parts,
    reload: Reload,
    paths: Paths,
    /// Held as long as this daemon runs.
    lock: Option<Flock<File>>,
}

/// What runs.
struct Parts {
    store: Store,
    handle: StoreHandle,
    adapters: Adapters,
    hosts: HostsActor,
    hosts_status: watch::Receiver<HostsStatus>,
    writer: Writer,
    /// Why the state cannot be saved.
    saving: watch::Receiver<Option<String>>,
    control: Arc<Control>,
    servers: Servers,
    rules: watch::Sender<NameRules>,
    stop: Stop,
}

/// The servers' sockets, bound or taken over from the last daemon.
struct Servers {
    control_socket: socket::Bound,
    rest_socket: socket::Bound,
    rest: kubefwd_rest::Server,
}

/// What stops, in this order.
#[derive(Clone, Default)]
struct Stop {
    /// gRPC and REST: no new request.
    servers: CancellationToken,
    /// The store.
    store: CancellationToken,
    /// The workers.
    workers: CancellationToken,
    /// The hosts file.
    hosts: CancellationToken,
    /// The listeners that outlive this process.
    fd_store: CancellationToken,
    tasks: TaskTracker,
}

// === impl App ===

impl App {
    async fn run(self) -> Result<Ending> {
        let mut signals = Signals::new()?;
        let Self {
            parts,
            reload,
            paths,
            lock,
        } = self;
        let can_hand_over = parts.adapters.fd_store.is_available();
        let running = Running::start(parts).await?;
        notify::ready();
        tracing::info!(socket = %paths.socket.display(), hosts = %paths.hosts.display(), "kubefwdd is ready");
        let ending = loop {
            match signals.next().await {
                Asked::Reload => reload.run().await,
                Asked::HandOver if can_hand_over => break Ending::HandedOver,
                Asked::HandOver | Asked::Stop => break Ending::Stopped,
            }
        };
        notify::stopping();
        tracing::info!(?ending, "stopping");
        running.shut_down(ending).await;
        if ending == Ending::Stopped {
            clean_up(&paths)?;
        }
        drop(lock);
        Ok(ending)
    }
}

/// Makes the directory of a file, open to everybody to enter.
fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}
