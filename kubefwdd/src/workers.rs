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
mod log;
mod permission;
mod questions;
mod session;
mod spawn;
mod supervise;

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use kubefwd_core::policy::GROUP;
use kubefwd_core::state::Desired;
use kubefwd_model::{Failure, ListenerId, PodName, ServiceKey, Uid, failure};
use kubefwd_proto::worker::v1::{self as wire, to_worker::Frame};
use kubefwd_telemetry::Telemetry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

use crate::store_handle::StoreHandle;
use log::WorkerLog;
use questions::Questions;

pub(crate) use questions::{Answers, Deadline};
pub(crate) use session::Outgoing;

/// Frames that may wait for one worker: every listener of the largest namespace at once. A worker that does not read
/// them is killed.
const QUEUE: usize = 65_536;

/// The registry.
pub(crate) struct Workers {
    /// The program; absolute, owned by root.
    program: PathBuf,
    /// What each worker is told when it starts.
    tuning: wire::Tuning,
    store: StoreHandle,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    tasks: TaskTracker,
    users: Mutex<HashMap<Uid, Arc<User>>>,
    /// Changes when the list of groups may have.
    groups: watch::Sender<()>,
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
    log: WorkerLog,
}

// === impl Workers ===

impl Workers {
    /// An empty registry. `stop` ends every worker; the tasks are tracked by `tasks`.
    pub(crate) fn new(
        (program, tuning): (PathBuf, wire::Tuning),
        store: StoreHandle,
        telemetry: Arc<Telemetry>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            program,
            tuning,
            store,
            telemetry,
            stop,
            tasks,
            users: Mutex::default(),
            groups: watch::Sender::new(()),
        })
    }

    /// Runs a worker for this user until [`Workers::stop`].
    pub(crate) fn start(self: &Arc<Self>, uid: Uid, environment: BTreeMap<String, String>) {
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
    fn set_environment(self: &Arc<Self>, uid: Uid, environment: BTreeMap<String, String>) {
        let Some(user) = self.existing(uid) else {
            self.user(uid, environment);
            return;
        };
        let before = std::mem::replace(&mut *user.environment.lock(), environment.clone());
        if before != environment {
            user.send(encode::environment(environment), None);
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
            let frame = Frame::Grant(wire::Grant {
                listener: listener.0,
                service: Some(encode::service_ref(service)),
                pod: pod.map(String::from).unwrap_or_default(),
                service_port: service_port.into(),
            });
            user.send(frame, Some(socket.clone()));
        }
    }

    /// Takes a listener from the user's worker.
    pub(crate) fn revoke(&self, uid: Uid, listener: ListenerId) {
        let listener = listener.0;
        self.send(uid, Frame::Revoke(wire::Revoke { listener }));
    }

    /// Tells the user's worker who may connect to its user's ports.
    pub(crate) fn limit_access(&self, uid: Uid, limited: bool) {
        let group = GROUP.to_owned();
        self.send(uid, Frame::Access(wire::Access { limited, group }));
    }

    /// Sends the user's worker its desired state.
    pub(crate) fn send_desired(&self, uid: Uid, desired: Desired) {
        self.send(uid, Frame::Desired(encode::desired(uid, desired)));
    }

    /// Closes the tunnels of these services so that they are reopened.
    pub(crate) fn reconnect(&self, uid: Uid, services: &[ServiceKey], resync: bool) {
        let services = services.iter().map(encode::service_ref).collect();
        self.send(uid, Frame::Reconnect(wire::Reconnect { services, resync }));
    }

    /// Logs what the user's worker made the daemon find worth a line.
    pub(crate) fn warn(&self, uid: Uid, message: &str) {
        if let Some(user) = self.existing(uid) {
            user.log.write(Level::WARN, None, message);
        }
    }

    /// Lists the cluster again for these services.
    pub(crate) fn resync(&self, uid: Uid, services: &[ServiceKey]) {
        let services = services.iter().map(encode::service_ref).collect();
        self.send(uid, Frame::Resync(wire::Resync { services }));
    }

    /// Asks the user's worker; starts one where there is none. The query gets its id here.
    ///
    /// # Errors
    /// When there is no worker to be had, with the reason.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        uid: Uid,
        environment: Option<BTreeMap<String, String>>,
        query: wire::Query,
    ) -> Result<Answers, Failure> {
        if let Some(environment) = environment {
            self.set_environment(uid, environment);
        }
        let user = self.user(uid, BTreeMap::new());
        let (id, answers) = user.questions.open(user.clone())?;
        user.running().await?;
        user.send(Frame::Query(wire::Query { id, ..query }), None);
        Ok(answers)
    }

    fn send(&self, uid: Uid, frame: Frame) {
        if let Some(user) = self.existing(uid) {
            user.send(frame, None);
        }
    }

    fn existing(&self, uid: Uid) -> Option<Arc<User>> {
        self.users.lock().get(&uid).cloned()
    }

    /// The user's entry; a new one gets its task.
    fn user(self: &Arc<Self>, uid: Uid, environment: BTreeMap<String, String>) -> Arc<User> {
        let mut users = self.users.lock();
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
            log: WorkerLog::new(uid),
        });
        users.insert(uid, user.clone());
        self.tasks
            .spawn(supervise::supervise(self.clone(), user.clone()));
        user
    }

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
    fn send(&self, frame: Frame, socket: Option<Arc<TcpListener>>) {
        let mut queue = self.queue.lock();
        let Some(sender) = queue.as_ref() else { return };
        if sender.try_send(Outgoing { frame, socket }).is_err() {
            // The session notices that its queue is gone and kills a worker that does not read.
            *queue = None;
        }
    }

    /// Waits until the worker runs.
    async fn running(&self) -> Result<(), Failure> {
        let mut start_error = self.start_error.subscribe();
        loop {
            if self.queue.lock().is_some() {
                return Ok(());
            }
            if let Some(error) = start_error.borrow_and_update().clone() {
                let uid = self.uid;
                let failure = failure!(
                    WorkerUnavailable,
                    "cannot start the worker of uid {uid}: {error}"
                );
                return Err(failure.hint("see the kubefwdd log: journalctl -u kubefwdd"));
            }
            if start_error.changed().await.is_err() {
                return Err(failure!(WorkerUnavailable, "the daemon is stopping"));
            }
        }
    }
}
