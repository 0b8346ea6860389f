//! The daemon while it runs, and how it stops: servers first, then names, listeners, workers.

use std::io;
use std::time::Duration;

use anyhow::Result;
use kubefwd_core::hosts_block::HostsEntries;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::{Ending, Parts, Stop, follow, grpc, notify, socket};
use crate::hosts::Wanted;
use crate::net;
use crate::store::Stopped;

/// How long everything together may take to stop; then it is left to the kernel.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The daemon while it runs.
pub(super) struct Running {
    grpc: JoinHandle<io::Result<()>>,
    rest: JoinHandle<io::Result<()>>,
    store: JoinHandle<Stopped>,
    hosts: JoinHandle<()>,
    writer: JoinHandle<()>,
    fd_store: JoinHandle<()>,
    /// What the hosts file is to have.
    wanted: watch::Sender<Wanted>,
    stop: Stop,
    /// Removed from the file system when dropped.
    _sockets: [socket::Bound; 2],
}

// === impl Running ===

impl Running {
    /// Starts everything; returns once the names that were known at start are in the hosts file and the servers accept.
    pub(super) async fn start(parts: Parts) -> Result<Self> {
        let Parts {
            store,
            handle,
            adapters,
            servers,
            hosts_status,
            stop,
            ..
        } = parts;
        let wanted = adapters.hosts.clone();
        let watch_groups = adapters.workers.clone().watch_groups();
        let observe = kubefwd_telemetry::observe(
            adapters.telemetry.clone(),
            handle.watch(),
            stop.store.clone(),
        );
        let hosts = tokio::spawn(parts.hosts.run(stop.hosts.clone()));
        let writer = tokio::spawn(parts.writer.run());
        let fd_store = tokio::spawn(adapters.fd_store.clone().run(stop.fd_store.clone()));
        let watchdog = notify::Watchdog::from_environment();
        let alive = watchdog.clone();
        let store = tokio::spawn(store.run(adapters, stop.store.clone(), move || {
            alive.store_is_alive();
        }));
        let spawned = &stop.tasks;
        let status = hosts_status.clone();
        spawned.spawn(follow::follow_hosts(
            status,
            handle.clone(),
            parts.rules.subscribe(),
        ));
        spawned.spawn(follow::follow_saving(parts.saving, handle.clone()));
        spawned.spawn(observe);
        spawned.spawn(watch_groups);
        spawned.spawn(watchdog.keep_asking(handle.clone(), stop.store.clone()));
        follow::first_names_are_written(hosts_status, &wanted).await;

        let sockets = [servers.control_socket, servers.rest_socket];
        let [control_socket, rest_socket] = &sockets;
        let (control_socket, rest_socket) = (control_socket.listener()?, rest_socket.listener()?);
        let grpc = grpc::serve(control_socket, parts.control.clone(), stop.servers.clone());
        let rest = servers
            .rest
            .serve(rest_socket, parts.control, stop.servers.clone());
        spawned.spawn(notify::keep_status(handle.watch(), stop.store.clone()));
        Ok(Self {
            grpc: tokio::spawn(grpc),
            rest: tokio::spawn(rest),
            store,
            hosts,
            writer,
            fd_store,
            wanted,
            stop,
            _sockets: sockets,
        })
    }

    /// Stops everything in order, within [`SHUTDOWN_TIMEOUT`].
    pub(super) async fn shut_down(self, ending: Ending) {
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.drain(ending))
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not stop in time; leaving them to the kernel");
        }
    }

    async fn drain(self, ending: Ending) {
        let stop = self.stop;
        stop.servers.cancel();
        report("gRPC", self.grpc.await);
        report("REST", self.rest.await);
        // A name never points at nothing: names go first.
        stop.store.cancel();
        let stopped = self.store.await.ok();
        if ending == Ending::Stopped {
            self.wanted.send_modify(|wanted| {
                wanted.revision += 1;
                wanted.entries = HostsEntries::new();
            });
        }
        stop.hosts.cancel();
        let _ = self.hosts.await;
        stop.workers.cancel();
        if let Some(stopped) = stopped {
            stopped.storage.save(stopped.state.save(), Vec::new());
            drop(stopped.storage);
            if ending == Ending::Stopped {
                let listeners = stopped.listeners.values();
                listeners.for_each(|socket| net::close(socket));
            }
        }
        stop.fd_store.cancel();
        let _ = self.fd_store.await;
        let _ = self.writer.await;
        stop.tasks.close();
        stop.tasks.wait().await;
    }
}

fn report(server: &str, result: Result<io::Result<()>, JoinError>) {
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{server} failed"),
        Err(error) => tracing::error!(%error, "{server} panicked"),
    }
}
