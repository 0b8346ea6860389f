//! The daemon as a whole: built eagerly (everything that can fail does so before anything runs), run until a signal,
//! then taken down in the reverse order.

mod activation;
mod machine;
mod notify;
mod reload;
mod signals;
mod socket;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Flags;
use crate::config::Config;
use crate::control::{Control, Info, RestStatus};
use crate::hosts::{self, HostsActor, HostsFile, HostsStatus, Wanted};
use crate::net::{self, Keeper, Listen, Storekeeper};
use crate::owner::{Owner, OwnerHandle, World, owner};
use crate::paths::Paths;
use crate::persist;
use crate::storage::{self, Writer};
use crate::sys;
use crate::telemetry::{self, Telemetry};
use crate::worker::{WorkerSettings, Workers};
use crate::{grpc, rest};
use activation::Inherited;
use kubefwd_core::hosts_block::HostsEntries;
use kubefwd_core::names::NameRules;
use kubefwd_core::state::{State, Topic};
pub use machine::Logs;
use reload::Reload;
use signals::{Asked, Signals};

/// How long everything together may take to end; then it is left to the kernel.
const FAREWELL: Duration = Duration::from_secs(5);

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

/// Logs to standard error and into a ring; `filter` in the syntax of `EnvFilter`, `info` without one.
pub fn init_log(filter: Option<&str>) -> Logs {
    machine::init_log(filter)
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
    owner: Owner,
    handle: OwnerHandle,
    world: World,
    hosts: HostsActor,
    hosts_status: watch::Receiver<HostsStatus>,
    writer: Writer,
    keeper: Keeper,
    storekeeper: Storekeeper,
    control: Control,
    control_socket: socket::Bound,
    rest: rest::Server,
    rest_socket: socket::Bound,
    rules: watch::Sender<NameRules>,
    reload: Reload,
    /// Why the state cannot be saved.
    saving: watch::Receiver<Option<String>>,
    stop: Stop,
    paths: Paths,
    /// Held as long as this daemon runs.
    lock: Option<machine::Lock>,
}

/// What ends, in this order.
#[derive(Clone, Default)]
struct Stop {
    /// The faces: no new request.
    faces: CancellationToken,
    /// The owner of the state.
    owner: CancellationToken,
    /// The workers.
    workers: CancellationToken,
    tasks: TaskTracker,
}

// === impl App ===

impl App {
    fn build(config: &Config, paths: Paths, flags: &Flags, logs: Logs) -> Result<Self> {
        let state_dir = &paths.state_dir;
        fs::create_dir_all(state_dir)
            .with_context(|| format!("cannot create {}", state_dir.display()))?;
        let lock = machine::Lock::take(state_dir)?;
        persist::remove_leftovers(state_dir);
        let hosts_file = HostsFile::new(&paths.hosts);
        hosts_file.remove_leftovers();
        let mut inherited = Inherited::take()?;
        let control_socket = socket::Bound::new(&paths.socket, &mut inherited)?;
        let rest_socket = socket::Bound::new(&paths.rest_socket, &mut inherited)?;
        inherited.close_strangers();
        let mut listen = Listen::with(inherited.ports);
        let (keeper, storekeeper) = net::keeper(listen.kept());
        let (rest, identification, rest_status) =
            rest::Server::new(&config.rest, flags.rest_listen.as_deref(), &mut listen)?;
        if let Some((address, socket)) = rest.tcp() {
            keeper.keep(address, &Arc::new(socket));
        }
        if let RestStatus::Failed(why) = &*rest_status.borrow() {
            tracing::warn!(
                "REST is served on {} only: {why}",
                paths.rest_socket.display()
            );
        }

        let loaded = storage::load(state_dir);
        let rules = machine::name_rules(&paths.hosts, config.allowed_suffixes()?);
        let mut state = State::restore(loaded.saved, machine::settings(config)?, rules.clone());
        state.set_warnings(Topic::Loading, loaded.warning.into_iter().collect());
        let loopback = machine::loopback(state_dir)?;

        let stop = Stop::default();
        let telemetry = Arc::new(Telemetry::new(logs.ring.clone()));
        let (owner, handle) = owner(state);
        let workers = Workers::new(
            WorkerSettings {
                program: paths.worker.clone(),
                tuning: machine::tuning(config)?,
            },
            handle.clone(),
            telemetry.clone(),
            stop.workers.clone(),
            stop.tasks.clone(),
        );
        let wanted = watch::Sender::new(Wanted::default());
        let (hosts, hosts_status) = HostsActor::new(hosts_file, wanted.subscribe());
        let (storage, writer, saving) = storage::storage(state_dir);
        let control = Control::new(
            handle.clone(),
            workers.clone(),
            telemetry.clone(),
            hosts_status.clone(),
            rest_status.clone(),
            Info {
                version: env!("CARGO_PKG_VERSION"),
                started_at: SystemTime::now(),
                pid: std::process::id(),
                config_path: paths.config.clone(),
                state_path: state_dir.clone(),
                hosts_path: paths.hosts.clone(),
            },
            stop.tasks.clone(),
        );
        let rules = watch::Sender::new(rules);
        let reload = Reload {
            flags: flags.clone(),
            config: config.clone(),
            paths: paths.clone(),
            logs,
            identification,
            rules: rules.clone(),
            owner: handle.clone(),
        };
        let name_api = rest.has_api_address();
        let world = World {
            workers,
            hosts: wanted,
            storage,
            telemetry,
            loopback,
            listen,
            keeper: keeper.clone(),
            name_api,
        };
        Ok(Self {
            owner,
            handle,
            world,
            hosts,
            hosts_status,
            writer,
            keeper,
            storekeeper,
            control,
            control_socket,
            rest,
            rest_socket,
            rules,
            reload,
            saving,
            stop,
            paths,
            lock,
        })
    }

    async fn run(self) -> Result<Ending> {
        let Self {
            owner,
            handle,
            world,
            hosts,
            hosts_status,
            writer,
            keeper,
            storekeeper,
            control,
            control_socket,
            rest,
            rest_socket,
            rules,
            reload,
            saving,
            stop,
            paths,
            lock,
        } = self;
        let mut signals = Signals::new()?;
        let wanted = world.hosts.clone();
        let telemetry = world.telemetry.clone();
        let hosts_stop = CancellationToken::new();
        let hosts = tokio::spawn(hosts.run(hosts_stop.clone()));
        let writer = tokio::spawn(writer.run());
        let storekeeper_stop = CancellationToken::new();
        let storekeeper = tokio::spawn(storekeeper.run(storekeeper_stop.clone()));
        let watchdog = notify::Watchdog::from_environment();
        let alive = watchdog.clone();
        let owner =
            tokio::spawn(owner.run(world, stop.owner.clone(), move || alive.owner_is_alive()));
        stop.tasks.spawn(follow_hosts(
            hosts_status.clone(),
            handle.clone(),
            rules.subscribe(),
        ));
        stop.tasks.spawn(follow_saving(saving, handle.clone()));
        let observe = telemetry::observe(telemetry, handle.watch(), stop.owner.clone());
        stop.tasks.spawn(observe);
        stop.tasks
            .spawn(watchdog.keep_asking(handle.clone(), stop.owner.clone()));
        first_names_are_written(hosts_status.clone(), &wanted).await;

        let grpc = grpc::serve(
            control_socket.listener()?,
            control.clone(),
            stop.faces.clone(),
        );
        let rest = rest.serve(rest_socket.listener()?, control.clone(), stop.faces.clone());
        let grpc = tokio::spawn(grpc);
        let rest = tokio::spawn(rest);
        let status = notify::keep_status(handle.watch(), stop.owner.clone());
        stop.tasks.spawn(status);
        notify::ready();
        tracing::info!(socket = %paths.socket.display(), hosts = %paths.hosts.display(), "kubefwdd is ready");

        let ending = loop {
            match signals.next().await {
                Asked::Reload => reload.run().await,
                Asked::HandOver if keeper.is_there() => break Ending::HandedOver,
                Asked::HandOver | Asked::Stop => break Ending::Stopped,
            }
        };
        notify::stopping();
        tracing::info!(?ending, "stopping");
        let farewell = async {
            stop.faces.cancel();
            report("gRPC", grpc.await);
            report("REST", rest.await);
            // A name never points at nothing: names go first.
            stop.owner.cancel();
            let ended = owner.await.ok();
            if ending == Ending::Stopped {
                let revision = wanted.borrow().revision + 1;
                wanted.send_replace(Wanted {
                    revision,
                    entries: HostsEntries::new(),
                });
            }
            hosts_stop.cancel();
            let _ = hosts.await;
            stop.workers.cancel();
            if let Some(ended) = ended {
                ended.storage.save(ended.state.save(), Vec::new());
                drop(ended.storage);
                if ending == Ending::Stopped {
                    ended
                        .listeners
                        .values()
                        .for_each(|socket| net::close(socket));
                }
            }
            storekeeper_stop.cancel();
            let _ = storekeeper.await;
            let _ = writer.await;
            stop.tasks.close();
            stop.tasks.wait().await;
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("some tasks did not stop in time; leaving them to the kernel");
        }
        if ending == Ending::Stopped {
            clean_up(&paths)?;
        }
        drop(lock);
        Ok(ending)
    }
}

/// Tells the owner what became of the hosts file: which names are in it, and which names others put there.
async fn follow_hosts(
    mut status: watch::Receiver<HostsStatus>,
    owner: OwnerHandle,
    mut rules: watch::Receiver<NameRules>,
) {
    let mut settled = 0;
    loop {
        let changed = tokio::select! {
            changed = status.changed() => changed,
            changed = rules.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let now = status.borrow_and_update().clone();
        let told = match now.error {
            // Where the file cannot be written there is nothing to wait for.
            Some(_) => owner.report(|state, _| state.hosts_failed()).await,
            None if now.revision > settled => {
                settled = now.revision;
                owner
                    .report(move |state, _| state.hosts_settled(now.revision))
                    .await
            }
            None => Ok(()),
        };
        if told.is_err() {
            return;
        }
        let hosts_lines = (*now.foreign_names).clone();
        let rules = NameRules {
            hosts_lines,
            ..rules.borrow_and_update().clone()
        };
        if owner
            .report(move |state, _| state.set_name_rules(rules))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Shows in the status why the state cannot be saved.
async fn follow_saving(mut saving: watch::Receiver<Option<String>>, owner: OwnerHandle) {
    while saving.changed().await.is_ok() {
        let warnings = saving.borrow_and_update().iter().cloned().collect();
        let told = owner.report(move |state, _| state.set_warnings(Topic::Saving, warnings));
        if told.await.is_err() {
            return;
        }
    }
}

/// Waits until the names that were known at start are in the hosts file, or cannot be written.
async fn first_names_are_written(
    mut status: watch::Receiver<HostsStatus>,
    wanted: &watch::Sender<Wanted>,
) {
    let mut asked = wanted.subscribe();
    let first = asked
        .wait_for(|wanted| wanted.revision > 0)
        .await
        .map(|wanted| wanted.revision);
    let Ok(first) = first else { return };
    let _ = status
        .wait_for(|status| status.revision >= first || status.error.is_some())
        .await;
}

fn report(face: &str, result: Result<std::io::Result<()>, tokio::task::JoinError>) {
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{face} failed"),
        Err(error) => tracing::error!(%error, "{face} panicked"),
    }
}

/// Makes the directory of a file, open to everybody to enter.
fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}
