//! The users' workers: one supervised process for each user with forwards or questions.
//!
//! [`Workers`] is the registry that the store and the control layer speak to; a task per user
//! (`supervise`) starts the process (`spawn`), speaks with it (`session`) and starts it again when it dies.
//! Everything that comes from a worker is hostile until `decode` has checked it.

mod decode;
mod encode;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod limits;
mod questions;
mod session;
mod spawn;
mod supervise;

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use kubefwd_core::state::Desired;
use kubefwd_model::{Failure, ListenerId, PodName, Reason, ServiceKey, Uid};
use kubefwd_proto::worker::v1::{self as wire, query::Question};
use kubefwd_telemetry::Telemetry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store_handle::StoreHandle;
use questions::Questions;

pub(crate) use questions::{Answers, Deadline};
pub(crate) use session::Outgoing;

/// Frames that may wait for one worker: every listener of the largest namespace at once. A worker that does not read
/// them is killed.
const QUEUE: usize = 65_536;

/// How workers are made.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSettings {
    /// The program; absolute, owned by root.
    pub program: PathBuf,
    /// What each worker is told when it starts.
    pub tuning: wire::Tuning,
}

/// The registry. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    settings: WorkerSettings,
    store: StoreHandle,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    tasks: TaskTracker,
    users: Mutex<HashMap<Uid, Arc<User>>>,
}

/// What the registry and the task of one user share.
struct User {
    uid: Uid,
    /// The state wants this worker; otherwise it runs for questions only and ends when it is idle.
    wanted: watch::Sender<bool>,
    environment: Mutex<BTreeMap<String, String>>,
    /// The queue of the running session.
    queue: Mutex<Option<mpsc::Sender<Outgoing>>>,
    questions: Questions,
    /// Why the last start failed; `None` while it runs.
    start_error: watch::Sender<Option<String>>,
}

// === impl Workers ===

impl Workers {
    /// An empty registry. `stop` ends every worker; the tasks are tracked by `tasks`.
    pub(crate) fn new(
        settings: WorkerSettings,
        store: StoreHandle,
        telemetry: Arc<Telemetry>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let users = Mutex::default();
        let shared = Shared {
            settings,
            store,
            telemetry,
            stop,
            tasks,
            users,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs a worker for this user until [`Workers::stop`].
    pub(crate) fn start(&self, uid: Uid, environment: BTreeMap<String, String>) {
        let user = self.user(uid, environment);
        user.wanted.send_replace(true);
    }

    /// This user no longer wants anything: the worker ends once no question is open.
    pub(crate) fn stop(&self, uid: Uid) {
        if let Some(user) = self.existing(uid) {
            user.wanted.send_replace(false);
        }
    }

    /// A client of this user sent its environment, the latest and the only one with secrets.
    pub(crate) fn set_environment(&self, uid: Uid, environment: BTreeMap<String, String>) {
        let Some(user) = self.existing(uid) else {
            self.user(uid, environment);
            return;
        };
        let changed = {
            let mut current = user.environment.lock();
            let changed = *current != environment;
            current.clone_from(&environment);
            changed
        };
        if changed {
            user.send(encode::environment(environment).into());
        }
    }

    /// Hands a listener to the user's worker.
    pub(crate) fn grant(
        &self,
        uid: Uid,
        listener: ListenerId,
        socket: &Arc<TcpListener>,
        service: &ServiceKey,
        pod: Option<PodName>,
        service_port: u16,
    ) {
        if let Some(user) = self.existing(uid) {
            let frame = encode::grant(listener, service, pod, service_port);
            user.send(Outgoing {
                frame,
                socket: Some(socket.clone()),
            });
        }
    }

    /// Takes a listener from the user's worker.
    pub(crate) fn revoke(&self, uid: Uid, listener: ListenerId) {
        self.send_frame(uid, encode::revoke(listener));
    }

    /// Tells the user's worker who may connect to its user's ports.
    pub(crate) fn limit_access(&self, uid: Uid, limited: bool) {
        self.send_frame(uid, encode::access(limited));
    }

    /// Sends the user's worker its desired state.
    pub(crate) fn send_desired(&self, uid: Uid, desired: Desired) {
        self.send_frame(uid, encode::desired(uid, desired));
    }

    /// Closes the tunnels of these services so that they are reopened.
    pub(crate) fn reconnect(&self, uid: Uid, services: &[ServiceKey], resync: bool) {
        self.send_frame(uid, encode::reconnect(services, resync));
    }

    /// Lists the cluster again for these services.
    pub(crate) fn resync(&self, uid: Uid, services: &[ServiceKey]) {
        self.send_frame(uid, encode::resync(services));
    }

    /// Asks the user's worker; starts one where there is none.
    ///
    /// # Errors
    /// When there is no worker to be had, with the reason.
    pub(crate) async fn ask(
        &self,
        uid: Uid,
        environment: Option<BTreeMap<String, String>>,
        context: String,
        kubeconfig: Vec<String>,
        question: Question,
    ) -> Result<Answers, Failure> {
        if let Some(environment) = environment {
            self.set_environment(uid, environment);
        }
        let user = self.user(uid, BTreeMap::new());
        user.ask(context, kubeconfig, question).await
    }

    fn send_frame(&self, uid: Uid, frame: wire::ToWorker) {
        if let Some(user) = self.existing(uid) {
            user.send(frame.into());
        }
    }

    fn existing(&self, uid: Uid) -> Option<Arc<User>> {
        self.shared.users.lock().get(&uid).cloned()
    }

    /// The user's entry; a new one gets its task.
    fn user(&self, uid: Uid, environment: BTreeMap<String, String>) -> Arc<User> {
        let mut users = self.shared.users.lock();
        if let Some(user) = users.get(&uid) {
            return user.clone();
        }
        let user = Arc::new(User {
            uid,
            wanted: watch::Sender::new(false),
            environment: Mutex::new(environment),
            queue: Mutex::default(),
            questions: Questions::default(),
            start_error: watch::Sender::new(None),
        });
        users.insert(uid, user.clone());
        self.shared
            .tasks
            .spawn(supervise::supervise(self.shared.clone(), user.clone()));
        user
    }
}

// === impl Shared ===

impl Shared {
    /// Takes an idle user out of the registry, unless somebody wants it again.
    fn forget(&self, user: &User) -> bool {
        let mut users = self.users.lock();
        let idle = !*user.wanted.borrow() && user.questions.is_empty();
        if idle {
            users.remove(&user.uid);
        }
        idle
    }
}

// === impl User ===

impl User {
    fn environment(&self) -> BTreeMap<String, String> {
        self.environment.lock().clone()
    }

    /// Queues a frame for the running session; without one it is dropped, since a new session is told everything.
    fn send(&self, outgoing: Outgoing) {
        let mut queue = self.queue.lock();
        let Some(sender) = queue.as_ref() else { return };
        if sender.try_send(outgoing).is_err() {
            // The session notices that its queue is gone and kills a worker that does not read.
            *queue = None;
        }
    }

    async fn ask(
        self: &Arc<Self>,
        context: String,
        kubeconfig: Vec<String>,
        question: Question,
    ) -> Result<Answers, Failure> {
        let (id, answers) = self.questions.open(self.clone())?;
        let query = wire::Query {
            id,
            context,
            kubeconfig,
            question: Some(question),
        };
        self.running().await?;
        self.send(encode::query(query).into());
        Ok(answers)
    }

    /// Waits until the worker runs.
    async fn running(&self) -> Result<(), Failure> {
        let mut start_error = self.start_error.subscribe();
        loop {
            if self.queue.lock().is_some() {
                return Ok(());
            }
            if let Some(error) = start_error.borrow_and_update().clone() {
                return Err(Failure::new(
                    Reason::WorkerUnavailable,
                    format!("cannot start the worker of uid {}: {error}", self.uid),
                )
                .hint("see the kubefwdd log: journalctl -u kubefwdd"));
            }
            if start_error.changed().await.is_err() {
                return Err(Failure::new(
                    Reason::WorkerUnavailable,
                    "the daemon is stopping",
                ));
            }
        }
    }
}
