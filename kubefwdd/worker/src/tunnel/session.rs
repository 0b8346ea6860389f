//! The connections to one pod: opened on first use, by one caller for all that wait; a few more under pressure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubefwd_proto::Failure;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::connection::{Common, Connection};
use super::error::OpenError;
use super::opener::Opener;
use super::upgrade::{Transport, Upgraded};
use super::{PodId, Reopened, Settings};

/// How long a refusal that the next try cannot change is believed.
const DENIED: Duration = Duration::from_secs(5);

/// A way to a pod.
pub(super) enum Path {
    /// A connection that carries many.
    Shared(Arc<Connection>),
    /// A connection for this one alone.
    Single(Box<Upgraded>),
}

/// The connections to one pod.
pub(super) struct Session {
    pod: PodId,
    pod_uid: String,
    opener: Arc<Opener>,
    common: Common,
    most: usize,
    streams_each: usize,
    reopened: Option<mpsc::Sender<Reopened>>,
    state: Mutex<State>,
}

type Opened = Result<Option<Arc<Connection>>, OpenError>;

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    /// The result of the upgrade under way, for all that wait for it; `None` within says that the cluster does not know
    /// shared connections.
    opening: Option<watch::Receiver<Option<Opened>>>,
    denied: Option<(Instant, OpenError)>,
    last_error: Option<Failure>,
    /// A connection was lost and no other opened since then.
    lost: Option<Lost>,
    gone: bool,
}

/// What was done about a lost connection.
#[derive(Default)]
struct Lost {
    attempts: u32,
    /// When the first attempt began.
    began: Option<Instant>,
}

/// One connection to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// How its frames travel.
    pub transport: Transport,
    /// Local connections that it carries.
    pub streams: usize,
    /// The smoothed round trip to the container runtime.
    pub round_trip: Duration,
    /// It takes new connections.
    pub usable: bool,
}

/// What tunnels know about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// The connections to it; none where nobody has used it for a while.
    pub connections: Vec<ConnectionStatus>,
    /// Why the last try to connect failed, until one succeeds.
    pub last_error: Option<Failure>,
}

enum Choice {
    Use(Arc<Connection>),
    Wait(watch::Receiver<Option<Opened>>),
}

impl Session {
    pub(super) fn new(
        pod: PodId,
        pod_uid: &str,
        opener: Arc<Opener>,
        common: Common,
        settings: &Settings,
    ) -> Self {
        Self {
            pod,
            pod_uid: pod_uid.to_owned(),
            opener,
            common,
            most: settings.connections_per_pod,
            streams_each: settings.streams_per_connection,
            reopened: settings.reopened.clone(),
            state: Mutex::default(),
        }
    }

    /// A way to the pod: an open connection where one will do, else a new one.
    pub(super) async fn path(self: &Arc<Self>, port: u16) -> Result<Path, OpenError> {
        if self.opener.transport() == Some(Transport::Channel) {
            return Box::pin(self.single(port)).await;
        }
        let mut opening = match self.choose(port)? {
            Choice::Use(connection) => return Ok(Path::Shared(connection)),
            Choice::Wait(opening) => opening,
        };
        let opened = match opening.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone(),
            Err(_) => None,
        };
        match opened {
            Some(Ok(Some(connection))) => Ok(Path::Shared(connection)),
            // Boxed: what opens a connection must not weigh on everyone who waits for one.
            Some(Ok(None)) => Box::pin(self.single(port)).await,
            Some(Err(error)) => Err(error),
            None => Err(OpenError::Broken {
                transport: Transport::Spdy,
                why: "the upgrade was given up".to_owned(),
            }),
        }
    }

    /// A connection for one port and one client; or a shared one, if the cluster now speaks better.
    async fn single(self: &Arc<Self>, port: u16) -> Result<Path, OpenError> {
        let upgraded = self.opener.open(&self.pod, port).await?;
        if upgraded.transport == Transport::Channel {
            return Ok(Path::Single(Box::new(upgraded)));
        }
        Ok(Path::Shared(self.adopt(upgraded)))
    }

    fn choose(self: &Arc<Self>, port: u16) -> Result<Choice, OpenError> {
        let mut state = self.lock();
        state.sweep();
        let best = state
            .connections
            .iter()
            .filter_map(|connection| Some((connection, connection.load()?)))
            .min_by_key(|(_, load)| (load.burdened, load.streams))
            .map(|(connection, load)| (Arc::clone(connection), load));
        if let Some((connection, load)) = best {
            let pressed = load.burdened || load.streams >= self.streams_each;
            if pressed && state.connections.len() < self.most && state.opening.is_none() {
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
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let result = session.opener.open(&session.pod, port).await;
            let opened = session.note(result);
            sender.send_replace(Some(opened));
        });
        receiver
    }

    fn note(self: &Arc<Self>, result: Result<Upgraded, OpenError>) -> Opened {
        let opened = match result {
            // One that was made for a single port is of no use to the others; the next call makes its own.
            Ok(upgraded) if upgraded.transport == Transport::Channel => Ok(None),
            Ok(upgraded) => Ok(Some(self.adopt(upgraded))),
            Err(error) => Err(error),
        };
        let mut state = self.lock();
        state.opening = None;
        self.tell(&mut state, opened.as_ref().err());
        if let Err(error) = &opened {
            tracing::debug!(pod = self.pod.name, %error, "no tunnel");
            state.last_error = Some(error.failure());
            if !error.is_transient() && !error.is_pods_fault() {
                state.denied = Some((Instant::now() + DENIED, error.clone()));
            }
        }
        opened
    }

    /// Tells of the end of an attempt to replace a lost connection: the first that fails, and the one that does not.
    fn tell(&self, state: &mut State, error: Option<&OpenError>) {
        let Some(lost) = &mut state.lost else { return };
        lost.attempts += 1;
        let reopened = Reopened {
            namespace: self.pod.namespace.clone(),
            pod_uid: self.pod_uid.clone(),
            attempts: lost.attempts,
            took: lost.began.map_or(Duration::ZERO, |began| began.elapsed()),
            error: error.map(|error| error.failure().to_string()),
        };
        let is_news = error.is_none() || lost.attempts == 1;
        if error.is_none() {
            state.lost = None;
        }
        if let Some(sender) = &self.reopened
            && is_news
            && sender.try_send(reopened).is_err()
        {
            tracing::debug!(
                pod = self.pod.name,
                "too many tunnels are opened anew to tell of all"
            );
        }
    }

    fn adopt(self: &Arc<Self>, upgraded: Upgraded) -> Arc<Connection> {
        let session = Arc::downgrade(self);
        let burdened = move || {
            if let Some(session) = session.upgrade() {
                session.relieve();
            }
        };
        let connection = Arc::new(Connection::spawn(upgraded, &self.common, burdened));
        let mut state = self.lock();
        state.denied = None;
        state.last_error = None;
        state.connections.push(Arc::clone(&connection));
        if state.gone {
            connection.pod_gone();
        }
        connection
    }

    /// A connection has become a bad place for new streams: opens another before somebody has to wait for it.
    fn relieve(self: &Arc<Self>) {
        let mut state = self.lock();
        state.sweep();
        let loads = state.connections.iter().filter_map(|one| one.load());
        let is_free = loads.into_iter().any(|load| !load.burdened);
        let may = !state.gone && state.opening.is_none() && state.connections.len() < self.most;
        if may && !is_free {
            self.start(&mut state, 0);
        }
    }

    pub(super) fn pod_gone(&self) {
        let mut state = self.lock();
        state.gone = true;
        for connection in &state.connections {
            connection.pod_gone();
        }
    }

    pub(super) fn resume(&self) {
        for connection in &self.lock().connections {
            connection.resume();
        }
    }

    /// New streams use a new connection from now on.
    pub(super) async fn reconnect(self: &Arc<Self>) -> Result<(), OpenError> {
        let had = {
            let mut state = self.lock();
            for connection in &state.connections {
                connection.retire();
            }
            let had = !state.connections.is_empty();
            // Whoever asks for it is told in another way.
            state.sweep();
            state.lost = None;
            had
        };
        if had {
            self.path(0).await?;
        }
        Ok(())
    }

    pub(super) fn is_unused(&self) -> bool {
        let state = self.lock();
        state.opening.is_none()
            && state
                .connections
                .iter()
                .all(|connection| connection.is_closed())
    }

    pub(super) fn status(&self, pod_uid: String) -> PodStatus {
        let state = self.lock();
        let trouble = state
            .connections
            .iter()
            .find_map(|connection| connection.trouble());
        let trouble =
            trouble.map(|why| Failure::new(kubefwd_proto::Reason::ClusterUnreachable, why));
        PodStatus {
            namespace: self.pod.namespace.clone(),
            pod: self.pod.name.clone(),
            pod_uid,
            connections: state
                .connections
                .iter()
                .filter(|connection| !connection.is_closed())
                .map(|connection| ConnectionStatus {
                    transport: connection.transport(),
                    streams: connection.streams(),
                    round_trip: connection.round_trip(),
                    usable: connection.load().is_some(),
                })
                .collect(),
            last_error: state.last_error.clone().or(trouble),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Forgets connections that have ended, and remembers that one was lost: also of one that still ends, since its
    /// place is taken before that.
    fn sweep(&mut self) {
        // All of them are asked: what is known is not told again.
        let lost = self.connections.iter().filter(|one| one.has_new_trouble());
        if lost.count() > 0 {
            self.lost.get_or_insert_default();
        }
        self.connections
            .retain(|connection| !connection.is_closed());
    }
}
