//! Noticing that something happened to a file.
//!
//! A notice says only "look again": what happened is found out by reading.

#[cfg(target_os = "linux")]
mod inotify;

use std::path::Path;
use std::time::Duration;

/// How often the file is looked at where the system does not tell.
const INTERVAL: Duration = Duration::from_secs(2);

/// Notices about one file.
pub(crate) struct FileWatch {
    #[cfg(target_os = "linux")]
    events: Option<inotify::Events>,
}

impl FileWatch {
    /// Watches the file at `path`, which may come and go.
    pub(crate) fn new(path: &Path) -> Self {
        #[cfg(target_os = "linux")]
        {
            let events = inotify::Events::new(path);
            if let Err(error) = &events {
                tracing::info!(%error, path = %path.display(), "cannot watch the file, polling every 2 s instead");
            }
            Self {
                events: events.ok(),
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Self {}
        }
    }

    /// Returns when it is worth looking at the file again. May be dropped and called again.
    pub(crate) async fn look_again(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(events) = &mut self.events {
            match events.next().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the watch on a file ended, polling every 2 s instead");
                    self.events = None;
                }
            }
        }
        // One stat per interval: macOS tells of renames in a directory only by its descriptor.
        tokio::time::sleep(INTERVAL).await;
    }
}
