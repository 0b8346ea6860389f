//! The pods: what runs in them, and the connections to it.

pub(crate) mod behaviour;
pub mod http;
pub mod pattern;
pub(crate) mod pipe;
pub(crate) mod tcp;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use self::behaviour::{Behaviour, Place};
use self::pipe::{Conn, connection};
use crate::ids;

/// A pod's network namespace and the processes in it. Costs no task while nobody is connected.
pub(crate) struct Sandbox {
    pub(crate) namespace: Arc<str>,
    pub(crate) pod: Arc<str>,
    pub(crate) uid: String,
    ports: Arc<BTreeMap<u16, Behaviour>>,
    running: AtomicBool,
    removed: AtomicBool,
    /// Ends the processes' open connections; made when the first is opened.
    processes: Mutex<Option<Processes>>,
}

#[derive(Clone, Default)]
struct Processes {
    killed: CancellationToken,
    reset: CancellationToken,
}

/// Why the runtime could not connect to a port of a pod, in containerd's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DialError(String);

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Sandbox {
    pub(crate) fn new(
        namespace: &str,
        pod: &str,
        uid: &str,
        ports: Arc<BTreeMap<u16, Behaviour>>,
        running: bool,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            pod: pod.into(),
            uid: uid.to_owned(),
            ports,
            running: AtomicBool::new(running),
            removed: AtomicBool::new(false),
            processes: Mutex::default(),
        }
    }

    /// The sandbox id, 64 hexadecimal digits, as in containerd's messages.
    pub(crate) fn id(&self) -> String {
        ids::hex64(&self.uid)
    }

    fn network(&self) -> String {
        format!("/var/run/netns/cni-{}", ids::uuid_from(&self.uid))
    }

    /// Connects to a port on the pod's loopback.
    pub(crate) fn dial(&self, port: u16) -> Result<Conn, DialError> {
        if self.removed.load(Ordering::Acquire) {
            return Err(DialError(format!(
                "network namespace for sandbox \"{}\" is closed",
                self.id()
            )));
        }
        let behaviour = self.ports.get(&port);
        let Some(behaviour) = behaviour.filter(|_| self.running.load(Ordering::Acquire)) else {
            return Err(self.refused(port));
        };
        let processes = self.with_processes(|slot| slot.get_or_insert_default().clone());
        let (near, far) = connection();
        let behaviour = behaviour.clone();
        let place = Place {
            namespace: Arc::clone(&self.namespace),
            pod: Arc::clone(&self.pod),
            port,
        };
        tokio::spawn(run(behaviour, far, place, processes));
        Ok(near)
    }

    /// What containerd says when nothing listens on the port.
    pub(crate) fn refused(&self, port: u16) -> DialError {
        DialError(format!(
            "failed to execute portforward in network namespace \"{}\": failed to connect to localhost:{port} inside \
             namespace \"{}\", IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused IPv6 dial tcp6: address \
             localhost: no suitable address found ",
            self.network(),
            self.id(),
        ))
    }

    /// What containerd says when an established connection fails.
    pub(crate) fn broken(&self, port: u16, error: &io::Error) -> DialError {
        let what = match error.kind() {
            io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
            io::ErrorKind::BrokenPipe => "write: broken pipe".to_owned(),
            _ => error.to_string(),
        };
        let verb = what.split(':').next().unwrap_or("read");
        DialError(format!(
            "failed to execute portforward in network namespace \"{}\": {verb} tcp4 127.0.0.1:40000->127.0.0.1:{port}: \
             {what}",
            self.network(),
        ))
    }

    /// Whether the processes run, that is, whether ports can be connected to.
    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Release);
        if !running {
            self.close_connections();
        }
    }

    /// The sandbox is gone: established connections end, dials fail with another text.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        self.close_connections();
    }

    /// Ends open connections as the death of their process does.
    pub(crate) fn close_connections(&self) {
        if let Some(processes) = self.with_processes(Option::take) {
            processes.killed.cancel();
        }
    }

    /// Ends open connections with a reset.
    pub(crate) fn reset_connections(&self) {
        if let Some(processes) = self.with_processes(Option::take) {
            processes.reset.cancel();
        }
    }

    fn with_processes<T>(&self, f: impl FnOnce(&mut Option<Processes>) -> T) -> T {
        f(&mut self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

async fn run(behaviour: Behaviour, conn: Conn, place: Place, processes: Processes) {
    let resetter = conn.writer.resetter();
    tokio::select! {
        biased;
        () = processes.reset.cancelled() => resetter.reset(),
        () = processes.killed.cancelled() => {}
        () = behaviour.serve(conn, place) => {}
    }
}
