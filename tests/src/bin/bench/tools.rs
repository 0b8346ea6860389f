//! What is compared, and the applications that it is compared on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::kubectl::Forward;

/// An application in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum App {
    /// Sends everything back.
    Echo,
    /// Sends without end.
    Source,
    /// Takes a length and so many bytes, then says `ok`.
    Sink,
    /// Answers HTTP.
    Http,
}

impl App {
    pub(crate) const ALL: [Self; 4] = [Self::Echo, Self::Source, Self::Sink, Self::Http];

    /// The port of the pod and of the service.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Echo => 7000,
            Self::Source => 7001,
            Self::Sink => 7002,
            Self::Http => 8080,
        }
    }

    /// The port's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Http => "http",
        }
    }
}

/// Who carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nobody: TCP to the application.
    Direct,
    /// kubectl over its WebSocket tunnel.
    WebSocket,
    /// kubectl over classic SPDY.
    Spdy,
    /// kubefwd.
    Ours,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::WebSocket, Self::Spdy, Self::Ours];
}

/// One of them, at work.
#[derive(Debug)]
pub(crate) enum Tool {
    /// Addresses that are there by themselves, and the process whose work counts, where one does.
    Fixed {
        addresses: BTreeMap<App, SocketAddr>,
        pid: Option<u32>,
    },
    /// A kubectl, started again when it has given up.
    Kubectl(Kubectl),
}

/// How to start a `kubectl port-forward`.
#[derive(Debug)]
pub(crate) struct Kubectl {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) context: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) websocket: bool,
    pub(crate) running: Option<Forward>,
}

impl Tool {
    /// Where an application answers.
    pub(crate) fn address(&mut self, app: App) -> Result<SocketAddr> {
        let addresses = match self {
            Self::Fixed { addresses, .. } => addresses,
            Self::Kubectl(kubectl) => &kubectl.forward()?.addresses,
        };
        addresses
            .get(&app)
            .copied()
            .with_context(|| format!("nothing listens for {}", app.name()))
    }

    /// The process that does the work.
    pub(crate) fn pid(&mut self) -> Result<Option<u32>> {
        Ok(match self {
            Self::Fixed { pid, .. } => *pid,
            Self::Kubectl(kubectl) => Some(kubectl.forward()?.pid()),
        })
    }
}

impl Kubectl {
    fn forward(&mut self) -> Result<&Forward> {
        if self.running.as_mut().is_some_and(Forward::has_ended) {
            self.running = None;
        }
        let forward = match self.running.take() {
            Some(forward) => forward,
            None => Forward::start(
                &self.kubeconfig,
                &self.context,
                &self.namespace,
                &self.pod,
                self.websocket,
            )?,
        };
        Ok(self.running.insert(forward))
    }
}
