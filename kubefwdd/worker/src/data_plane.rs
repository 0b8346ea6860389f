//! The thread that carries bytes: local connections, tunnels and all their sockets.
//!
//! One thread and not several: the work of a connection is short, and whoever reads a tunnel writes the clients' sockets in
//! the same breath. With several threads every packet wakes one that then finds another at work on it. What takes longer,
//! as reading the lists of a large cluster does, runs elsewhere and holds no connection up.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Tasks that may run before sockets are looked at again. A tunnel with much to carry runs again and again, and others
/// must not wait for the default number of such turns.
const EVENT_INTERVAL: u32 = 2;

/// The thread; it ends with this value, and so does all that runs on it.
pub(crate) struct DataPlane {
    runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl DataPlane {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no descriptors or threads left.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("data-plane".to_owned())
            .spawn(move || {
                // It ends with an error, since nobody ever sends.
                let _dropped = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            runtime: handle,
            _stop: stop,
        })
    }

    /// Runs a task on the thread, with all that it starts.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_tasks_start_stays_on_the_thread_and_ends_with_it() {
        let data_plane = DataPlane::start().unwrap();
        let (sender, receiver) = oneshot::channel();
        let (alive, gone) = oneshot::channel::<()>();
        data_plane.spawn(async move {
            tokio::spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                sender.send(name).unwrap();
                let _alive = alive;
                std::future::pending::<()>().await;
            });
        });
        assert_eq!(receiver.await.unwrap().as_deref(), Some("data-plane"));
        drop(data_plane);
        assert!(gone.await.is_err());
    }
}
