//! Everything that can change the state, as data: a recorded sequence of commands, replayed, gives the same state.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use kubefwd_model::{
    Failure, HostName, ListenerId, NamespaceKey, Options, Reason, Selection, ServiceKey,
    ServiceName, Traffic, Uid,
};

use super::observed::{ForwardReport, ObservedService, Phase};
use super::spec::{Environment, Lease};
use super::{Settings, Topic};
use crate::addresses::{Reservation, ReserveError, Target};
use crate::names::{NameRules, Refusal};

/// One change of the state: a user's request, a setting, or something that was observed.
#[derive(Clone, Debug)]
pub enum Command {
    /// Forward a namespace.
    AddNamespace(AddNamespace),
    /// Forward one service. A service that was taken out of its namespace comes back with it.
    AddService(AddService),
    /// Stop forwarding namespaces, and the services of them that were added by name.
    RemoveNamespaces {
        /// The user.
        uid: Uid,
        /// Which namespaces.
        which: Which,
    },
    /// Stop forwarding services. One that is forwarded as part of its namespace is taken out of it.
    RemoveServices {
        /// The user.
        uid: Uid,
        /// Which services.
        which: Which,
    },
    /// Record HTTP requests of a service's new connections, or do not, until the service is removed.
    SetCapture {
        /// The user.
        uid: Uid,
        /// Its key, or the front of it where that is unambiguous.
        service: String,
        /// Whether to record.
        on: bool,
    },
    /// A client that had a lease is gone, and with it what it added.
    EndLease(Lease),
    /// Let services have names within a suffix.
    AllowSuffix(HostName),
    /// Take back what was allowed.
    DenySuffix(HostName),
    /// Reserve an address; what is forwarded already moves to it.
    Reserve(Reservation),
    /// Give a reservation up; what has the address keeps it until it is removed.
    Unreserve {
        /// Whose reservation.
        uid: Uid,
        /// What it is for.
        target: Target,
    },
    /// A client of this user sent its environment, with everything that a restart had taken.
    EnvironmentReceived {
        /// The user.
        uid: Uid,
    },
    /// The administrator changed the configuration.
    SetSettings(Box<Settings>),
    /// The machine's own names, foreign lines of the hosts file or the configuration changed.
    SetNameRules(NameRules),
    /// Warnings about one topic, which replace the last ones about it.
    SetWarnings {
        /// The topic.
        topic: Topic,
        /// The warnings.
        warnings: Vec<String>,
    },
    /// Try to listen again on every port that failed.
    RetryFailedPorts,
    /// Everything that was known at the start has been asked for. From now on a unit gets its names when a worker holds one
    /// of its listeners; until then it had them in the last run too, and whoever connects waits in the listener's queue.
    FinishStart,
    /// Changes nothing: a round for the watchdog.
    Ping,
    /// Something was observed.
    Report(Report),
}

/// What comes back from the workers, the kernel and the hosts file.
#[derive(Clone, Debug)]
pub enum Report {
    /// A worker's process was started.
    WorkerStarted {
        /// Its user.
        uid: Uid,
        /// The process.
        pid: u32,
        /// The user's name.
        user: String,
    },
    /// A worker said hello.
    WorkerReady {
        /// Its user.
        uid: Uid,
    },
    /// A worker exited.
    WorkerGone {
        /// Its user.
        uid: Uid,
        /// Why.
        error: String,
        /// Whether it is started again.
        restarts: bool,
    },
    /// The phase of a namespace.
    Namespace {
        /// The namespace.
        key: NamespaceKey,
        /// Grows with every report of this worker.
        sequence: u64,
        /// Its phase.
        phase: Phase,
        /// What works differently than usual.
        notes: Vec<String>,
    },
    /// Services that were found, changed or removed.
    Services {
        /// Their namespace.
        namespace: NamespaceKey,
        /// Found or changed.
        found: Vec<(ServiceName, ObservedService)>,
        /// Removed.
        removed: Vec<ServiceName>,
        /// Set at the end of a full list: every service that exists.
        listed: Option<BTreeSet<ServiceName>>,
    },
    /// The kernel's answer to [`super::Effect::Bind`].
    Bound {
        /// The listener.
        listener: ListenerId,
        /// Whether it listens.
        result: Result<(), BindFailure>,
    },
    /// A worker's answer to [`super::Effect::Grant`].
    Held {
        /// Its user.
        uid: Uid,
        /// The listener.
        listener: ListenerId,
        /// Why it could not be taken.
        error: Option<String>,
    },
    /// Whether a forward reaches a pod.
    Forward {
        /// The worker's user.
        uid: Uid,
        /// The listener.
        listener: ListenerId,
        /// What the worker says.
        report: ForwardReport,
    },
    /// Counters of forwards, as totals since the worker took the listeners.
    Traffic {
        /// The worker's user.
        uid: Uid,
        /// By listener.
        traffic: Vec<(ListenerId, Traffic)>,
    },
    /// A worker refused connections of another user.
    PeerDenied {
        /// The worker's user.
        uid: Uid,
        /// The listener.
        listener: ListenerId,
        /// Whose connections, where the kernel knows.
        peer: Option<Uid>,
        /// How many.
        count: u64,
        /// When, by the clock that is never set.
        at: Instant,
    },
    /// The hosts file holds this revision of the entries.
    HostsWritten {
        /// The revision.
        revision: u64,
    },
    /// The hosts file cannot be written.
    HostsFailed,
}

/// Why a port cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindFailure {
    /// For people.
    pub failure: Failure,
    /// Another address would do: somebody listens on this very one.
    pub only_here: bool,
}

impl From<Failure> for BindFailure {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            only_here: false,
        }
    }
}

/// What a command gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    #[default]
    Done,
    /// Done to these namespaces.
    Namespaces(Vec<NamespaceKey>),
    /// Done to these services.
    Services(Vec<ServiceKey>),
    /// Whether any port has to be tried again.
    Retrying(bool),
}

/// Who asks for something to be forwarded, and how their worker is to do it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The user's name.
    pub user: String,
    /// The kubeconfig files that define the context.
    pub kubeconfig: Vec<String>,
    /// Removed when this client exits.
    pub lease: Option<Lease>,
    /// The part of the caller's environment that may be kept on disk; `None` leaves what is known.
    pub environment: Option<Environment>,
}

/// Forward a namespace.
#[derive(Clone, Debug)]
pub struct AddNamespace {
    /// The namespace.
    pub key: NamespaceKey,
    /// Which of its services.
    pub selection: Selection,
    /// How to forward them.
    pub options: Options,
    /// Who asks, and how.
    pub origin: Origin,
}

/// Forward one service.
#[derive(Clone, Debug)]
pub struct AddService {
    /// The service.
    pub key: ServiceKey,
    /// Which of its ports; empty: all.
    pub ports: BTreeSet<u16>,
    /// The address it must have.
    pub address: Option<Ipv4Addr>,
    /// How to forward it.
    pub options: Options,
    /// Who asks, and how.
    pub origin: Origin,
}

/// Which namespaces or services to remove.
#[derive(Clone, Debug)]
pub enum Which {
    /// All namespaces of the user, or every service that was added by name.
    All,
    /// The one with this key, or with this front of it where that is unambiguous.
    Named(String),
}

/// Namespaces and single services that one user may ask for: each is kept, and written with every change.
pub(super) const MAX_REQUESTS: usize = 2_000;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Forwarded already.
    #[error("{what} {key} is forwarded already")]
    Exists {
        /// namespace or service
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// Not forwarded.
    #[error("{what} {key:?} is not forwarded")]
    Missing {
        /// namespace or service
        what: &'static str,
        /// What was asked for.
        key: String,
        /// The command that lists them.
        list: &'static str,
    },
    /// It could be one of several.
    #[error("{key:?} could be one of: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// The context is in use from another kubeconfig.
    #[error(
        "context {context:?} is in use from another kubeconfig ({})",
        paths(kubeconfig)
    )]
    OtherKubeconfig {
        /// The context.
        context: String,
        /// Where it is used from.
        kubeconfig: Vec<String>,
    },
    /// The user asked for too much.
    #[error(
        "you forward {MAX_REQUESTS} namespaces and single services already, which is as many as one user can"
    )]
    TooMany,
    /// The domain is not one that the administrator lists.
    #[error("names below {domain} could hide servers of your network")]
    Domain {
        /// The domain.
        domain: HostName,
        /// Those that are listed.
        allowed: Vec<HostName>,
    },
    /// Names within this suffix are never given.
    #[error("names within {} are never given: {}", .0.name, .0.why())]
    Suffix(Refusal),
    /// The address is not available.
    #[error(transparent)]
    Address(#[from] ReserveError),
}

// === impl Refused ===

impl Refused {
    /// For programs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Exists { .. } => Reason::AlreadyExists,
            Self::Missing { .. } => Reason::NotFound,
            Self::Ambiguous { .. } | Self::Domain { .. } | Self::Suffix(_) => {
                Reason::InvalidArgument
            }
            Self::OtherKubeconfig { .. } | Self::Address(_) | Self::TooMany => Reason::Conflict,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "to change how, remove it first".to_owned(),
            Self::Missing { list, .. } => format!("see `kubefwdctl {list}`"),
            Self::Ambiguous { .. } => "give the whole key".to_owned(),
            Self::OtherKubeconfig { .. } => {
                "remove its namespaces first (`kubefwdctl ns ls`), or rename one of the contexts"
                    .to_owned()
            }
            Self::Domain { allowed, .. } => format!(
                "use a domain within {}, or have the administrator add it to names.domains in kubefwdd.toml",
                HostName::texts(allowed).join(", ")
            ),
            Self::TooMany => "forward whole namespaces instead of single services".to_owned(),
            Self::Suffix(_) => "no option changes that".to_owned(),
            Self::Address(error) => error.hint().to_owned(),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(refused.reason(), refused.to_string()).hint(refused.hint())
    }
}

fn paths(kubeconfig: &[String]) -> String {
    match kubeconfig {
        [] => "the default one".to_owned(),
        paths => paths.join(":"),
    }
}
