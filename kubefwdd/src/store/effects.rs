//! Executes what the state asks for, and remembers what is due.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kubefwd_core::state::{BindFailure, Command, Effect, Reply, Report, State, View};
use kubefwd_model::{HostName, ListenerId, Uid, failure};
use kubefwd_telemetry::Telemetry;
use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::hosts::Wanted;
use crate::net::{self, FdStore, Listen, Loopback};
use crate::storage::Storage;
use crate::workers::Workers;

/// Observed changes are saved together: after a quiet time, and this often at most. Requests of users are saved at once.
const SAVE_DEBOUNCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// When a port that failed is tried again: soon at first, since a worker may be about to let go of it.
const BIND_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What effects are executed with.
pub(crate) struct Adapters {
    /// The users' workers.
    pub workers: Arc<Workers>,
    /// What the hosts file is to have.
    pub hosts: watch::Sender<Wanted>,
    /// Where the state is saved.
    pub storage: Storage,
    /// Where events go.
    pub telemetry: Arc<Telemetry>,
    /// How addresses become local.
    pub loopback: Loopback,
    /// How ports are listened on.
    pub listen: Listen,
    /// Where listeners outlive this daemon.
    pub fd_store: FdStore,
}

pub(super) struct EffectRunner {
    adapters: Adapters,
    listeners: HashMap<ListenerId, Arc<TcpListener>>,
    /// Descriptors beyond these are for requests, the hosts file and the state.
    max_listeners: u64,
    save_due: Option<Instant>,
    saved_at: Option<Instant>,
    bind_due: Option<Instant>,
    bind_backoff: Duration,
}

impl EffectRunner {
    pub(super) fn new(adapters: Adapters) -> Self {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, 0));
        Self {
            max_listeners: limit / 10 * 9,
            adapters,
            listeners: HashMap::new(),
            save_due: None,
            saved_at: None,
            bind_due: None,
            bind_backoff: BIND_BACKOFF.0,
        }
    }

    pub(super) fn into_parts(self) -> (HashMap<ListenerId, Arc<TcpListener>>, Storage) {
        (self.listeners, self.adapters.storage)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.save_due, self.bind_due].into_iter().flatten().min()
    }

    /// Executes effects until there are none, then publishes the snapshot.
    pub(super) fn settle(&mut self, state: &mut State, view: &watch::Sender<Arc<View>>) {
        loop {
            let effects = state.settle(SystemTime::now());
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                if let Some(report) = self.execute(effect) {
                    // Reports are never refused.
                    let _ = state.apply(Command::Report(report), SystemTime::now());
                }
            }
        }
        if view.borrow().revision != state.view().revision {
            view.send_replace(Arc::new(state.view().clone()));
        }
    }

    /// Executes one effect; what is known at once of its outcome comes back as a report.
    fn execute(&mut self, effect: Effect) -> Option<Report> {
        let workers = &self.adapters.workers;
        match effect {
            Effect::Bind {
                uid,
                listener,
                address,
                port,
            } => return Some(self.bind(uid, listener, address, port)),
            Effect::Close { listener } => {
                if let Some(socket) = self.listeners.remove(&listener) {
                    self.close(&socket);
                }
            }
            Effect::ReleaseAddress { address } => {
                if let Err(error) = self.adapters.loopback.remove(address) {
                    tracing::warn!(%address, %error, "cannot remove an address from the loopback interface");
                }
            }
            Effect::Grant {
                uid,
                listener,
                service,
                pod,
                service_port,
            } => {
                if let Some(socket) = self.listeners.get(&listener) {
                    workers.grant(uid, listener, socket, &service, pod, service_port);
                }
            }
            Effect::Revoke { uid, listener } => workers.revoke(uid, listener),
            Effect::SendDesired { uid, desired } => workers.send_desired(uid, desired),
            Effect::LimitAccess { uid, limited } => workers.limit_access(uid, limited),
            Effect::StartWorker { uid, environment } => workers.start(uid, environment),
            Effect::StopWorker { uid } => workers.stop(uid),
            Effect::WriteHosts { revision, changes } => self.change_hosts(revision, changes),
            Effect::Persist => self.save_soon(),
            Effect::Announce(event) => self.adapters.telemetry.events.push(event),
            Effect::Warn { uid, message } => workers.warn(uid, &message),
        }
        None
    }

    fn bind(&mut self, uid: Uid, listener: ListenerId, address: Ipv4Addr, port: u16) -> Report {
        let result = self.listen(uid, address, port).map(|socket| {
            let socket = Arc::new(socket);
            let address = SocketAddrV4::new(address, port);
            self.adapters.fd_store.keep(address, &socket);
            self.listeners.insert(listener, socket);
        });
        if result.is_err() {
            let backoff = self.bind_backoff;
            self.bind_due
                .get_or_insert_with(|| Instant::now() + backoff);
        }
        Report::Bound { listener, result }
    }

    fn listen(
        &mut self,
        uid: Uid,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<TcpListener, BindFailure> {
        if let Err(error) = self.adapters.loopback.ensure(address) {
            let failure = failure!(PortUnavailable, "{error}");
            return Err(failure.hint("see `kubefwdctl doctor`").into());
        }
        if self.listeners.len() as u64 >= self.max_listeners {
            let failure = failure!(
                PortUnavailable,
                "kubefwdd listens on as many ports as it can"
            );
            let hint = "raise the limit (LimitNOFILE of the service, or `ulimit -n`)";
            return Err(failure.hint(hint).into());
        }
        let place = SocketAddrV4::new(address, port);
        if self.adapters.listen.close_foreign(uid, place) {
            self.adapters.fd_store.forget(place);
        }
        self.adapters.listen.tcp(uid, address, port)
    }

    /// Ends a listener, also for the worker and the service manager, who have descriptors of it.
    fn close(&self, socket: &TcpListener) {
        net::close(socket);
        if let Ok(SocketAddr::V4(address)) = socket.local_addr() {
            self.adapters.fd_store.forget(address);
        }
    }

    fn change_hosts(&self, revision: u64, changes: Vec<(Ipv4Addr, Vec<HostName>)>) {
        self.adapters.hosts.send_modify(|wanted| {
            wanted.revision = revision;
            for (address, names) in changes {
                match names.is_empty() {
                    true => wanted.entries.remove(&address),
                    false => wanted.entries.insert(address, names),
                };
            }
        });
    }

    /// Everything that was known at the start has what it needs: what the last daemon left beyond that goes.
    pub(super) fn drop_unclaimed(&mut self) {
        for address in self.adapters.listen.close_kept() {
            tracing::info!(%address, "closed a listener of the last daemon that is no longer needed");
            self.adapters.fd_store.forget(address);
        }
        self.adapters.loopback.drop_unclaimed();
    }

    /// Tries ports that failed again, once it is time.
    pub(super) fn retry_ports(&mut self, state: &mut State) {
        if self.bind_due.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.bind_due = None;
        let retrying = state.apply(Command::RetryFailedPorts, SystemTime::now());
        self.bind_backoff = match retrying {
            Ok(Reply::Retrying(true)) => (self.bind_backoff * 2).min(BIND_BACKOFF.1),
            _ => BIND_BACKOFF.0,
        };
    }

    fn save_soon(&mut self) {
        let soon = Instant::now() + SAVE_DEBOUNCE.0;
        let last = self.saved_at.map(|last| last + SAVE_DEBOUNCE.1);
        self.save_due
            .get_or_insert(last.map_or(soon, |at| at.max(soon)));
    }

    /// Saves the state if it is time, or if somebody waits for it.
    pub(super) fn save_if_due(&mut self, state: &State, waiting: Vec<oneshot::Sender<()>>) {
        let now = Instant::now();
        let due = self
            .save_due
            .is_some_and(|at| at <= now || !waiting.is_empty());
        if due {
            self.save_due = None;
            self.saved_at = Some(now);
            self.adapters.storage.save(state.save(), waiting);
        } else {
            for saved in waiting {
                let _ = saved.send(());
            }
        }
    }
}
