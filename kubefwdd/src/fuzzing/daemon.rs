//! A daemon without sockets, processes and files, for two users.

use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use kubefwd_core::policy::{Actor, User, Via};
use kubefwd_core::state::Saved;
use kubefwd_core::status::{HostsStatus, Info, RestStatus};
use kubefwd_model::{Failure, Reason, Uid};
use kubefwd_proto::channel::{Accepts, channel};
use kubefwd_proto::worker::v1::{
    self as wire, answer::Answer as Content, from_worker::Frame as From, query::Question,
    to_worker::Frame as To,
};
use kubefwd_telemetry::Telemetry;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::control::Control;
use crate::store::fuzzing::World;
use crate::workers::{Workers, fuzzing as workers};

/// Whose requests or whose worker are tried out.
pub(super) const CALLER: Uid = Uid::new(1000);
/// Who must not notice.
pub(super) const NEIGHBOUR: Uid = Uid::new(1001);

/// The neighbour came first.
static SAVED: LazyLock<Saved> = LazyLock::new(|| World::of(&[NEIGHBOUR, CALLER]).saved());

thread_local! {
    static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_all().build().ok();
}

/// Runs a future to its end.
pub(super) fn run<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| match runtime {
        Some(runtime) => runtime.block_on(future),
        None => panic!("no runtime can be had"),
    })
}

/// The daemon.
pub(super) struct Daemon {
    pub(super) world: World,
    pub(super) workers: Arc<Workers>,
    pub(super) control: Arc<Control>,
}

impl Daemon {
    /// With the services of two users; the worker of `hostile` does not behave.
    pub(super) fn new(hostile: Option<Uid>) -> Self {
        let (world, owner) = World::new(SAVED.clone(), hostile);
        let telemetry = Arc::new(Telemetry::default());
        let workers = workers::workers(owner.clone(), telemetry.clone());
        let (_, hosts) = watch::channel(HostsStatus::default());
        let info = Info {
            version: "0.0.0",
            started_at: SystemTime::UNIX_EPOCH,
            pid: 1,
            config_path: "/etc/kubefwd/kubefwdd.toml".into(),
            state_path: "/var/lib/kubefwd".into(),
            hosts_path: "/etc/hosts".into(),
            address_range: "127.0.0.0/8".to_owned(),
        };
        let control = Arc::new(Control {
            store: owner,
            workers: workers.clone(),
            telemetry,
            hosts,
            rest: RestStatus::Off,
            info,
            tasks: TaskTracker::new(),
            leases: AtomicU64::default(),
        });
        Self {
            world,
            workers,
            control,
        }
    }
}

/// A member of the group on the unix socket.
pub(super) fn actor(uid: Uid) -> Actor {
    let user = User {
        uid,
        gid: uid.get(),
        name: None,
        member: true,
    };
    Actor {
        user: Some(user),
        via: Via::UnixSocket,
    }
}

/// A worker that answers every question with `answer`, or as a worker should; until the channel ends.
pub(super) async fn answering(socket: UnixStream, answer: Option<Content>) {
    let opened = channel::<wire::FromWorker, wire::ToWorker>(socket, Accepts::Descriptors);
    let Ok((mut sender, mut receiver)) = opened else {
        return;
    };
    let mut frame = Some(hello());
    loop {
        if let Some(frame) = frame.take()
            && sender.send(&frame, None).await.is_err()
        {
            return;
        }
        let Ok(Some((received, _))) = receiver.receive().await else {
            return;
        };
        if let Some(To::Query(query)) = received.frame {
            let content = answer.clone().unwrap_or_else(|| usual(query.question));
            frame = Some(wire::FromWorker {
                frame: Some(From::Answer(wire::Answer {
                    id: query.id,
                    last: true,
                    answer: Some(content),
                })),
            });
        }
    }
}

/// A worker's first frame.
pub(super) fn hello() -> wire::FromWorker {
    let hello = wire::Hello {
        protocol: kubefwd_proto::worker::PROTOCOL,
        version: "0.0.0".to_owned(),
    };
    wire::FromWorker {
        frame: Some(From::Hello(hello)),
    }
}

fn usual(question: Option<Question>) -> Content {
    match question {
        Some(Question::Check(_)) => Content::Check(wire::CheckAnswer {
            context: "kind".to_owned(),
            namespace: "shop".to_owned(),
            kubeconfig: vec!["/home/ann/.kube/config".to_owned()],
            ..Default::default()
        }),
        _ => Content::Failure(Failure::new(Reason::ClusterUnreachable, "no cluster").into()),
    }
}
