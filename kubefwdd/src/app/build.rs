//! Building the daemon: everything that can fail does so here, before anything runs.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use anyhow::{Context, Result};
use kubefwd_core::addresses::API_ADDRESS;
use kubefwd_core::hosts_block::HostsEntries;
use kubefwd_core::names::{API_NAME, NameRules};
use kubefwd_core::state::{Command, State, Topic};
use kubefwd_core::status::{Info, RestStatus};
use kubefwd_model::HostName;
use kubefwd_telemetry::Telemetry;
use nix::fcntl::Flock;
use tokio::sync::watch;

use super::activation::Inherited;
use super::{App, Logs, Parts, Reload, Servers, Stop, machine, socket};
use crate::cli::Flags;
use crate::config::Config;
use crate::control::Control;
use crate::hosts::{HostsActor, HostsFile, Wanted};
use crate::net::{FdStore, Listen};
use crate::paths::Paths;
use crate::persist;
use crate::rest_control;
use crate::storage;
use crate::store::{Adapters, store};
use crate::store_handle::StoreHandle;
use crate::workers::Workers;

impl App {
    pub(super) fn build(config: &Config, paths: Paths, flags: &Flags, logs: Logs) -> Result<Self> {
        let (lock, hosts_file) = prepare(&paths)?;
        let (servers, identification, listen, fd_store) = bind(config, &paths, flags)?;
        let rules = machine::name_rules(&paths.hosts, config.allowed_suffixes()?);
        let stop = Stop::default();
        let telemetry = Arc::new(Telemetry::new(logs.ring.clone()));
        let (store, handle) = store(restore(config, &paths, &rules)?);
        let workers = workers(config, &paths, &handle, &telemetry, &stop)?;
        let wanted = watch::Sender::new(own_entries(servers.rest.has_api_address()));
        let (hosts, hosts_status) = HostsActor::new(hosts_file, wanted.subscribe());
        let (storage, writer, saving) = storage::storage(&paths.state_dir);
        let control = Control {
            store: handle.clone(),
            workers: workers.clone(),
            telemetry: telemetry.clone(),
            hosts: hosts_status.clone(),
            rest: servers.rest.status().clone(),
            info: info(config, &paths),
            tasks: stop.tasks.clone(),
            leases: AtomicU64::default(),
        };
        let rules = watch::Sender::new(rules);
        let reload = Reload {
            started: (config.clone(), paths.clone()),
            flags: flags.clone(),
            logs,
            identification,
            rules: rules.clone(),
            store: handle.clone(),
        };
        let adapters = Adapters {
            workers,
            hosts: wanted,
            storage,
            telemetry,
            loopback: machine::loopback(&paths.state_dir)?,
            listen,
            fd_store,
        };
        let parts = Parts {
            store,
            handle,
            adapters,
            hosts,
            hosts_status,
            writer,
            saving,
            control: Arc::new(control),
            servers,
            rules,
            stop,
        };
        Ok(Self {
            parts,
            reload,
            paths,
            lock,
        })
    }
}

/// Binds the sockets of this daemon, or takes them over from the last one.
fn bind(
    config: &Config,
    paths: &Paths,
    flags: &Flags,
) -> Result<(Servers, kubefwd_rest::Identification, Listen, FdStore)> {
    let mut inherited = Inherited::take()?;
    let control_socket = socket::Bound::new(&paths.socket, &mut inherited)?;
    let rest_socket = socket::Bound::new(&paths.rest_socket, &mut inherited)?;
    inherited.close_strangers();
    let mut listen = Listen::with(inherited.ports);
    let fd_store = FdStore::new(listen.kept());
    let mut settings = rest_control::settings(&config.rest);
    settings.listen = flags.rest_listen.as_deref().unwrap_or(settings.listen);
    let open = |address| rest_control::listen(address, &mut listen);
    let (rest, identification) = kubefwd_rest::Server::new(settings, open)?;
    if let Some((address, socket)) = rest.tcp() {
        fd_store.keep(address, &Arc::new(socket));
    }
    if let RestStatus::Failed(why) = rest.status() {
        let socket = paths.rest_socket.display();
        tracing::warn!("REST is served on {socket} only: {why}");
    }
    let servers = Servers {
        control_socket,
        rest_socket,
        rest,
    };
    Ok((servers, identification, listen, fd_store))
}

/// Makes sure that no other daemon runs, and removes what a killed one may have left half-written.
fn prepare(paths: &Paths) -> Result<(Option<Flock<File>>, HostsFile)> {
    let state_dir = &paths.state_dir;
    machine::create_private(state_dir)
        .with_context(|| format!("cannot create {}", state_dir.display()))?;
    machine::check_program(&paths.worker)?;
    let lock = machine::lock(state_dir)?;
    persist::remove_leftovers(state_dir);
    let hosts_file = HostsFile::new(&paths.hosts);
    hosts_file.remove_leftovers();
    Ok((lock, hosts_file))
}

fn workers(
    config: &Config,
    paths: &Paths,
    store: &StoreHandle,
    telemetry: &Arc<Telemetry>,
    stop: &Stop,
) -> Result<Arc<Workers>> {
    let program = (paths.worker.clone(), machine::tuning(config)?);
    let (stopped, tasks) = (stop.workers.clone(), stop.tasks.clone());
    let (store, telemetry) = (store.clone(), telemetry.clone());
    Ok(Workers::new(program, store, telemetry, stopped, tasks))
}

/// The state as it was saved.
fn restore(config: &Config, paths: &Paths, rules: &NameRules) -> Result<State> {
    let loaded = storage::load(&paths.state_dir);
    let mut state = State::restore(loaded.saved, machine::settings(config)?, rules.clone());
    let warnings = Command::SetWarnings {
        topic: Topic::Loading,
        warnings: loaded.warning.into_iter().collect(),
    };
    state.apply(warnings, SystemTime::now())?;
    Ok(state)
}

/// What the hosts file is to have whatever is forwarded: the name of REST.
fn own_entries(name_api: bool) -> Wanted {
    let mut entries = HostsEntries::new();
    if name_api && let Ok(name) = HostName::parse(API_NAME) {
        entries.insert(API_ADDRESS, vec![name]);
    }
    Wanted {
        revision: 0,
        entries,
    }
}

fn info(config: &Config, paths: &Paths) -> Info {
    Info {
        version: env!("CARGO_PKG_VERSION"),
        started_at: SystemTime::now(),
        pid: std::process::id(),
        config_path: paths.config.clone(),
        state_path: paths.state_dir.clone(),
        hosts_path: paths.hosts.clone(),
        address_range: config.addresses.range.clone(),
    }
}
