//! The data plane's runtime: one thread for local connections, tunnels and all their sockets.
//!
//! One thread and not several: the work per connection is short, and reading a tunnel and writing the clients' sockets go
//! together. With several threads each packet would wake one that then finds another already at work on it. Longer work,
//! such as decoding the lists of a large cluster, runs elsewhere and does not hold up connections.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Tasks that may run before sockets are polled again. A busy tunnel runs again and again, and others
/// must not wait for the default number of such turns.
const EVENT_INTERVAL: u32 = 2;

/// The thread; dropping this value stops it and everything that runs on it.
pub(crate) struct DataPlane {
    _stop: oneshot::Sender<()>,
}

impl DataPlane {
    /// Starts the thread, and on it a task with all that it spawns.
    ///
    /// # Errors
    /// When the system has no descriptors or threads left.
    pub(crate) fn start(task: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        runtime.spawn(task);
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("data-plane".to_owned())
            .spawn(move || {
                // Always an error: nothing is ever sent.
                let _dropped = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self { _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_tasks_start_stays_on_the_thread_and_ends_with_it() {
        let (sender, receiver) = oneshot::channel();
        let (alive, gone) = oneshot::channel::<()>();
        let data_plane = DataPlane::start(async move {
            tokio::spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                sender.send(name).unwrap();
                let _alive = alive;
                std::future::pending::<()>().await;
            });
        })
        .unwrap();
        assert_eq!(receiver.await.unwrap().as_deref(), Some("data-plane"));
        drop(data_plane);
        assert!(gone.await.is_err());
    }
}
