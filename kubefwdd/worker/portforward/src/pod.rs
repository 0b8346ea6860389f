//! The connections to one pod: opened on first use, by one caller for all that wait; a few more under pressure.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::connection::{Connection, ConnectionConfig};
use crate::error::OpenError;
use crate::opener::Opener;
use crate::settings::Reopened;
use crate::transport::{Transport, upgrade::Upgraded};

/// Local connections on one connection before another is opened.
const STREAMS_PER_CONNECTION: usize = 64;
/// How long a permanent failure is reported without another attempt.
const DENIAL_TTL: Duration = Duration::from_secs(5);

/// What carries a connection to a pod.
pub(crate) enum Path {
    /// One connection for many.
    Shared(Arc<Connection>),
    /// One connection for this one only.
    Single(Box<Upgraded>),
}

/// The connections to one pod.
pub(crate) struct PodTunnel {
    pod: Backend,
    opener: Arc<Opener>,
    config: ConnectionConfig,
    state: Mutex<State>,
}

type Opened = Result<Option<Arc<Connection>>, OpenError>;

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    /// The result of the upgrade in progress, for all that wait for it; `None` within says that the cluster does not know
    /// shared connections.
    opening: Option<watch::Receiver<Option<Opened>>>,
    denied: Option<(Instant, OpenError)>,
    /// A connection was lost and no other opened since then.
    lost: Option<Lost>,
    gone: bool,
}

/// Attempts to replace a lost connection.
#[derive(Default)]
struct Lost {
    attempts: u32,
    /// When the first attempt began.
    began: Option<Instant>,
}

/// One connection to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Local connections on it.
    pub streams: usize,
    /// Whether it takes new connections.
    pub usable: bool,
}

enum Choice {
    Use(Arc<Connection>),
    Wait(watch::Receiver<Option<Opened>>),
}

impl PodTunnel {
    pub(crate) fn new(pod: Backend, opener: Arc<Opener>, config: ConnectionConfig) -> Self {
        Self {
            pod,
            opener,
            config,
            state: Mutex::default(),
        }
    }

    /// An open connection where one will do, else a new one.
    pub(crate) async fn path(self: &Arc<Self>, port: u16) -> Result<Path, OpenError> {
        if self.opener.transport() == Some(Transport::Channel) {
            return Box::pin(self.single(port)).await;
        }
        let mut opening = match self.choose(port)? {
            Choice::Use(connection) => return Ok(Path::Shared(connection)),
            Choice::Wait(opening) => opening,
        };
        let opened = opening.wait_for(Option::is_some).await;
        match opened.ok().and_then(|opened| opened.clone()) {
            Some(Ok(Some(connection))) => Ok(Path::Shared(connection)),
            // Boxed: the future that opens a connection must not enlarge that of everyone who waits for one.
            Some(Ok(None)) => Box::pin(self.single(port)).await,
            Some(Err(error)) => Err(error),
            None => Err(OpenError::Broken {
                transport: Transport::Spdy,
                why: "the upgrade was abandoned".to_owned(),
            }),
        }
    }

    /// A connection for one port and one client; or a shared one, if the cluster supports it by now.
    async fn single(self: &Arc<Self>, port: u16) -> Result<Path, OpenError> {
        let upgraded = self.opener.open(&self.pod, port).await?;
        if upgraded.transport == Transport::Channel {
            return Ok(Path::Single(Box::new(upgraded)));
        }
        Ok(Path::Shared(self.adopt(upgraded)))
    }

    fn choose(self: &Arc<Self>, port: u16) -> Result<Choice, OpenError> {
        let mut state = self.state.lock();
        state.sweep();
        let connections = state.connections.iter();
        let loads = connections.filter_map(|connection| Some((connection, connection.load()?)));
        let best = loads.min_by_key(|(_, load)| (load.overloaded, load.streams));
        if let Some((connection, load)) = best {
            let connection = Arc::clone(connection);
            let is_full = load.overloaded || load.streams >= STREAMS_PER_CONNECTION;
            if is_full && self.may_add(&state) {
                self.start(&mut state, port);
            }
            return Ok(Choice::Use(connection));
        }
        if let Some((until, error)) = &state.denied
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let opening = match &state.opening {
            Some(opening) => opening.clone(),
            None => self.start(&mut state, port),
        };
        Ok(Choice::Wait(opening))
    }

    /// Opens a connection in a task of its own, so that it does not depend on who asked first.
    fn start(self: &Arc<Self>, state: &mut State, port: u16) -> watch::Receiver<Option<Opened>> {
        let (sender, receiver) = watch::channel(None);
        state.opening = Some(receiver.clone());
        if let Some(lost) = &mut state.lost {
            lost.began.get_or_insert_with(Instant::now);
        }
        let tunnel = Arc::clone(self);
        tokio::spawn(async move {
            let result = tunnel.opener.open(&tunnel.pod, port).await;
            let opened = tunnel.opened(result);
            sender.send_replace(Some(opened));
        });
        receiver
    }

    fn opened(self: &Arc<Self>, result: Result<Upgraded, OpenError>) -> Opened {
        let opened = result.map(|upgraded| {
            // One that was made for a single port is of no use to the others; the next call makes its own.
            let is_shared = upgraded.transport != Transport::Channel;
            is_shared.then(|| self.adopt(upgraded))
        });
        let mut state = self.state.lock();
        state.opening = None;
        self.report_reopened(&mut state, opened.as_ref().err());
        if let Err(error) = &opened {
            tracing::debug!(pod = self.pod.pod, %error, "cannot open a tunnel");
            if !error.is_transient() && !error.is_pod_fault() {
                state.denied = Some((Instant::now() + DENIAL_TTL, error.clone()));
            }
        }
        opened
    }

    /// Reports attempts to replace a lost connection: the first failure, and the success.
    fn report_reopened(&self, state: &mut State, error: Option<&OpenError>) {
        let Some(lost) = &mut state.lost else { return };
        lost.attempts += 1;
        let reopened = Reopened {
            namespace: self.pod.namespace.clone(),
            pod_uid: self.pod.pod_uid.clone(),
            attempts: lost.attempts,
            took: lost.began.map_or(Duration::ZERO, |began| began.elapsed()),
            error: error.map(|error| error.failure().to_string()),
        };
        let is_first_or_last = error.is_none() || lost.attempts == 1;
        if error.is_none() {
            state.lost = None;
        }
        if let Some(sender) = &self.config.settings.reopened
            && is_first_or_last
            && sender.try_send(reopened).is_err()
        {
            let pod = &self.pod.pod;
            tracing::debug!(pod, "too many reopened tunnels to report all");
        }
    }

    fn adopt(self: &Arc<Self>, upgraded: Upgraded) -> Arc<Connection> {
        let tunnel = Arc::downgrade(self);
        let overloaded = move || {
            if let Some(tunnel) = tunnel.upgrade() {
                tunnel.relieve();
            }
        };
        let connection = Arc::new(Connection::spawn(upgraded, &self.config, overloaded));
        let mut state = self.state.lock();
        state.denied = None;
        state.connections.push(Arc::clone(&connection));
        if state.gone {
            connection.pod_gone();
        }
        connection
    }

    /// A connection is overloaded: opens another before a client has to wait for it.
    fn relieve(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.sweep();
        let loads = state.connections.iter().filter_map(|one| one.load());
        let is_free = loads.into_iter().any(|load| !load.overloaded);
        if !state.gone && !is_free && self.may_add(&state) {
            self.start(&mut state, 0);
        }
    }

    fn may_add(&self, state: &State) -> bool {
        let most = self.config.settings.connections_per_pod;
        state.opening.is_none() && state.connections.len() < most
    }

    pub(crate) fn pod_gone(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        for connection in &state.connections {
            connection.pod_gone();
        }
    }

    pub(crate) fn probe(&self) {
        for connection in &self.state.lock().connections {
            connection.probe();
        }
    }

    /// Opens a new connection for new streams.
    pub(crate) async fn reconnect(self: &Arc<Self>) -> Result<(), OpenError> {
        let had = {
            let mut state = self.state.lock();
            for connection in &state.connections {
                connection.drain();
            }
            let had = !state.connections.is_empty();
            // The caller reports the result.
            state.sweep();
            state.lost = None;
            had
        };
        if had {
            self.path(0).await?;
        }
        Ok(())
    }

    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        state.opening.is_none() && state.connections.iter().all(|one| one.is_closed())
    }

    /// None if it was not used for a while.
    pub(crate) fn connections(&self) -> Vec<ConnectionStatus> {
        let state = self.state.lock();
        let open = state.connections.iter().filter(|one| !one.is_closed());
        let connections = open.map(|connection| ConnectionStatus {
            streams: connection.streams(),
            usable: connection.load().is_some(),
        });
        connections.collect()
    }
}

// === impl State ===

impl State {
    /// Removes closed connections, and records if one was lost: even one that is still draining, since it is replaced
    /// before it has closed.
    fn sweep(&mut self) {
        // Asks all of them: each reports its failure once.
        let lost = self.connections.iter().filter(|one| one.take_new_failure());
        if lost.count() > 0 {
            self.lost.get_or_insert_default();
        }
        self.connections.retain(|one| !one.is_closed());
    }
}
