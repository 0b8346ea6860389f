//! The task that owns the state: takes calls from a bounded queue, carries their effects out, publishes the snapshot.
//!
//! Nothing in it waits for a slow thing: binding is a few microseconds, the workers' queues are tried and not awaited,
//! the hosts file and the state file have tasks of their own. Readers take the latest snapshot and never wait for it.

pub(crate) mod fuzzing;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kubefwd_model::{Failure, HostName, ListenerId, Reason};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::hosts::Wanted;
use crate::net::{self, Keeper, Listen, Loopback};
use crate::storage::Storage;
use crate::telemetry::Telemetry;
use crate::worker::Workers;
use kubefwd_core::addresses::API_ADDRESS;
use kubefwd_core::hosts_block::HostsEntries;
use kubefwd_core::names::API_NAME;
use kubefwd_core::state::{Effect, State, View};

const QUEUE: usize = 4096;
/// How many calls are taken together before the snapshot is published.
const BATCH: usize = 256;
/// Names of a burst of services go to the hosts task together.
const HOSTS_PAUSE: Duration = Duration::from_millis(50);
/// Observed changes are saved together, soon after a quiet time and so often at most; requests of users are saved at once.
const SAVE_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// When a port that could not be had is tried again: soon at first, since a worker may be about to let go of it.
const BIND_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

type Call = Box<dyn FnOnce(&mut State, SystemTime) + Send>;

enum Command {
    /// Changes that can be found out again.
    Report(Call),
    /// A user's request: answered when it is safe on disk.
    Request(Call, oneshot::Sender<()>),
}

/// How to reach the owner of the state. Cheap to clone.
#[derive(Clone)]
pub struct OwnerHandle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<View>>,
}

/// The owner before it runs.
pub struct Owner {
    state: State,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<Arc<View>>,
}

/// What the owner carries effects out with.
pub struct World {
    /// The users' workers.
    pub workers: Workers,
    /// Where the wanted entries of the hosts file go.
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
    pub keeper: Keeper,
    /// Whether the daemon's own REST address is named in the hosts file.
    pub name_api: bool,
}

/// The owner is gone: the daemon is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopping;

/// Makes the owner and the handle to it.
pub fn owner(state: State) -> (Owner, OwnerHandle) {
    let (sender, commands) = mpsc::channel(QUEUE);
    let (view, receiver) = watch::channel(Arc::new(View::default()));
    (
        Owner {
            state,
            commands,
            view,
        },
        OwnerHandle {
            commands: sender,
            view: receiver,
        },
    )
}

// === impl OwnerHandle ===

impl OwnerHandle {
    /// The latest snapshot.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Snapshots from now on.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Changes the state by something that was observed; returns when it was taken, not when it was done.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn report(
        &self,
        call: impl FnOnce(&mut State, SystemTime) + Send + 'static,
    ) -> Result<(), Stopping> {
        self.commands
            .send(Command::Report(Box::new(call)))
            .await
            .map_err(|_| Stopping)
    }

    /// Changes the state by a user's request; returns its result when everything that follows is done and saved, and the
    /// snapshot shows it.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn request<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut State, SystemTime) -> R + Send + 'static,
    ) -> Result<R, Stopping> {
        let (result_sender, result) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let call: Call = Box::new(move |state, now| {
            // The caller may have gone away; its request is carried out all the same.
            let _ = result_sender.send(call(state, now));
        });
        self.commands
            .send(Command::Request(call, done_sender))
            .await
            .map_err(|_| Stopping)?;
        done.await.map_err(|_| Stopping)?;
        result.await.map_err(|_| Stopping)
    }

    /// Reads the state itself, for what the snapshot does not show.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn read<R: Send + 'static>(
        &self,
        call: impl FnOnce(&State) -> R + Send + 'static,
    ) -> Result<R, Stopping> {
        let (sender, result) = oneshot::channel();
        let call = move |state: &mut State, _| {
            let _ = sender.send(call(state));
        };
        self.report(call).await?;
        result.await.map_err(|_| Stopping)
    }
}

// === impl Owner ===

impl Owner {
    /// Runs until `stop`; then gives back the state and the open listeners.
    ///
    /// `alive` is called after every round, so that a hang of this task is noticed (and not only one of a timer).
    pub async fn run(mut self, world: World, stop: CancellationToken, alive: impl Fn()) -> Ended {
        let mut hands = Hands::new(world);
        let mut batch = Vec::with_capacity(BATCH);
        hands.settle(&mut self.state, &self.view);
        self.state.started();
        hands.drop_unclaimed();
        loop {
            let timer = hands.next_deadline();
            tokio::select! {
                () = stop.cancelled() => break,
                taken = self.commands.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                }
                () = sleep_until(timer.unwrap_or_else(far_future)), if timer.is_some() => {}
            }
            let now = SystemTime::now();
            let mut waiting = Vec::new();
            for command in batch.drain(..) {
                match command {
                    Command::Report(call) => call(&mut self.state, now),
                    Command::Request(call, done) => {
                        call(&mut self.state, now);
                        waiting.push(done);
                    }
                }
            }
            hands.retry_ports(&mut self.state);
            hands.settle(&mut self.state, &self.view);
            hands.finish_round(&self.state, waiting);
            alive();
        }
        Ended {
            state: self.state,
            listeners: hands.listeners,
            storage: hands.world.storage,
        }
    }
}

/// What is left when the owner has stopped.
pub struct Ended {
    /// The last state.
    pub state: State,
    /// The listeners that are still open.
    pub listeners: HashMap<ListenerId, Arc<TcpListener>>,
    /// Where to save it.
    pub storage: Storage,
}

/// Carries effects out, and remembers what is due.
struct Hands {
    world: World,
    listeners: HashMap<ListenerId, Arc<TcpListener>>,
    hosts_due: Option<(u64, Instant)>,
    save_due: Option<Instant>,
    saved_at: Option<Instant>,
    bind_due: Option<Instant>,
    bind_pause: Duration,
}

impl Hands {
    fn new(world: World) -> Self {
        Self {
            world,
            listeners: HashMap::new(),
            hosts_due: None,
            save_due: None,
            saved_at: None,
            bind_due: None,
            bind_pause: BIND_PAUSE.0,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let hosts = self.hosts_due.map(|(_, at)| at);
        [hosts, self.save_due, self.bind_due]
            .into_iter()
            .flatten()
            .min()
    }

    /// Carries effects out until there are none, then publishes the snapshot.
    fn settle(&mut self, state: &mut State, view: &watch::Sender<Arc<View>>) {
        loop {
            let effects = state.settle(SystemTime::now());
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.carry_out(effect, state);
            }
        }
        if view.borrow().revision != state.view().revision {
            view.send_replace(Arc::new(state.view().clone()));
        }
    }

    fn carry_out(&mut self, effect: Effect, state: &mut State) {
        match effect {
            Effect::Bind {
                listener,
                address,
                port,
            } => {
                let result = self.listen(address, port).map(|socket| {
                    let socket = Arc::new(socket);
                    let place = SocketAddrV4::new(address, port);
                    self.world.keeper.keep(place, &socket);
                    self.listeners.insert(listener, socket);
                });
                if result.is_err() {
                    let pause = self.bind_pause;
                    self.bind_due.get_or_insert_with(|| Instant::now() + pause);
                }
                state.bound(listener, result, SystemTime::now());
            }
            Effect::Close { listener } => {
                if let Some(socket) = self.listeners.remove(&listener) {
                    self.close(&socket);
                }
            }
            Effect::ReleaseAddress { address } => {
                if let Err(error) = self.world.loopback.remove(address) {
                    tracing::warn!(%address, %error, "cannot remove an address");
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
                    self.world
                        .workers
                        .grant(uid, listener, socket, &service, pod, service_port);
                }
            }
            Effect::Revoke { uid, listener } => self.world.workers.revoke(uid, listener),
            Effect::Tell { uid } => self.world.workers.tell(uid, state.desired(uid)),
            Effect::LimitAccess { uid } => {
                let limited = state.is_access_limited();
                self.world.workers.limit_access(uid, limited);
            }
            Effect::StartWorker { uid } => {
                let environment = state
                    .wishes()
                    .users
                    .get(&uid)
                    .map(|user| user.environment.clone());
                self.world
                    .workers
                    .start(uid, environment.unwrap_or_default());
            }
            Effect::StopWorker { uid } => self.world.workers.stop(uid),
            Effect::WriteHosts { revision } => {
                let at = self
                    .hosts_due
                    .map_or_else(|| Instant::now() + HOSTS_PAUSE, |(_, at)| at);
                self.hosts_due = Some((revision, at));
            }
            Effect::Persist => {
                let soon = Instant::now() + SAVE_PAUSE.0;
                let last = self.saved_at.map(|last| last + SAVE_PAUSE.1);
                self.save_due
                    .get_or_insert(last.map_or(soon, |at| at.max(soon)));
            }
            Effect::Announce(event) => self.world.telemetry.events.push(event),
        }
    }

    fn listen(&mut self, address: Ipv4Addr, port: u16) -> Result<TcpListener, Failure> {
        if let Err(error) = self.world.loopback.ensure(address) {
            let failure = Failure::new(Reason::PortUnavailable, error.to_string());
            return Err(failure.hint("see `kubefwdctl doctor`"));
        }
        let listening = self.world.listen.tcp(address, port);
        listening.map_err(|error| {
            Failure::new(Reason::PortUnavailable, error.to_string()).hint(error.hint())
        })
    }

    /// Ends a listener, also for the worker and the service manager, who have descriptors of it.
    fn close(&self, socket: &TcpListener) {
        net::close(socket);
        if let Ok(SocketAddr::V4(address)) = socket.local_addr() {
            self.world.keeper.forget(address);
        }
    }

    /// Everything that was known at the start has what it needs: what the last daemon left beyond that goes.
    fn drop_unclaimed(&mut self) {
        for address in self.world.listen.close_kept() {
            tracing::info!(%address, "closing a listener of the previous daemon that is no longer needed");
            self.world.keeper.forget(address);
        }
        self.world.loopback.drop_unclaimed();
    }

    fn retry_ports(&mut self, state: &mut State) {
        if self.bind_due.is_some_and(|at| at <= Instant::now()) {
            self.bind_due = None;
            self.bind_pause = match state.retry_failed_ports() {
                true => (self.bind_pause * 2).min(BIND_PAUSE.1),
                false => BIND_PAUSE.0,
            };
        }
    }

    fn finish_round(&mut self, state: &State, waiting: Vec<oneshot::Sender<()>>) {
        let now = Instant::now();
        if let Some((revision, at)) = self.hosts_due
            && at <= now
        {
            self.hosts_due = None;
            let entries = self.hosts_entries(state);
            self.world.hosts.send_replace(Wanted { revision, entries });
        }
        let due = self
            .save_due
            .is_some_and(|at| at <= now || !waiting.is_empty());
        if due {
            self.save_due = None;
            self.saved_at = Some(now);
            self.world.storage.save(state.save(), waiting);
        } else {
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    fn hosts_entries(&self, state: &State) -> HostsEntries {
        let mut entries = state.hosts_entries();
        if self.world.name_api
            && let Ok(name) = HostName::parse(API_NAME)
        {
            entries.insert(API_ADDRESS, vec![name]);
        }
        entries
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
