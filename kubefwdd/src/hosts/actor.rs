//! The task that keeps our block in the hosts file right.
//!
//! wanted entries --watch--> [`HostsActor`] --watch--> [`HostsStatus`]
//!
//! A burst of changes is written once. What another program does to the file is noticed: its own
//! lines are left to it, our block is put back, each time a little later where that program insists.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kubefwd_core::hosts_block::{self, HostsEntries};
use kubefwd_core::status::HostsStatus;
use kubefwd_model::HostName;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::file::{HostsError, HostsFile, Snapshot, Updated};
use crate::file_watch::FileWatch;
use crate::sys;

/// A burst has ended when nothing came for this long.
const QUIET: Duration = Duration::from_millis(100);
/// A burst is written after this long even when it has not ended.
const PATIENCE: Duration = Duration::from_millis(500);
/// The wait after the first failure or interference; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// When the block has grown or shrunk by this many addresses since then, freed memory is given back to the system: a burst of
/// services ends here, and what it needed is not needed again.
const BURST: usize = 100;
/// The longest wait between attempts.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What our block is to hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Grows with each change; comes back in [`HostsStatus::revision`] when written.
    pub revision: u64,
    /// The entries.
    pub entries: HostsEntries,
}

/// The task, before it runs.
pub(crate) struct HostsActor {
    file: HostsFile,
    wanted: watch::Receiver<Wanted>,
    status: watch::Sender<HostsStatus>,
    /// The file as we last saw it.
    seen: Option<Snapshot>,
    /// Whether entries were asked for yet: before, a block that is there is left alone.
    is_asked: bool,
    retry: Retry,
    /// How many addresses the block had when freed memory was last given back.
    released_at: usize,
}

/// Removes our block from the file at `path`. True when there was one.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn cleanup(path: impl Into<PathBuf>) -> Result<bool, HostsError> {
    let file = HostsFile::new(path);
    file.remove_leftovers();
    let updated = file.update(hosts_block::remove)?;
    Ok(updated.way.is_some())
}

impl HostsActor {
    /// A task for `file`, and where its status appears. The value that `wanted` has now is not
    /// applied, only what is sent from now on.
    #[must_use]
    pub(crate) fn new(
        file: HostsFile,
        mut wanted: watch::Receiver<Wanted>,
    ) -> (Self, watch::Receiver<HostsStatus>) {
        wanted.mark_unchanged();
        let (status, receiver) = watch::channel(HostsStatus::default());
        let retry = Retry::default();
        (
            Self {
                file,
                wanted,
                status,
                seen: None,
                is_asked: false,
                retry,
                released_at: 0,
            },
            receiver,
        )
    }

    /// Runs until `stop`, or until every sender is gone. The block stays in the file
    /// as it is then; what was wanted last is written first.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut notices = FileWatch::new(self.file.path());
        self.look().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.is_asked = true;
                    self.settle(&stop).await;
                    self.apply().await;
                }
                () = notices.look_again() => self.look().await,
                () = self.retry.due() => self.apply().await,
            }
        }
        if self.wanted.has_changed().unwrap_or(false) || self.is_behind() {
            self.is_asked = true;
            self.apply().await;
        }
    }

    fn is_behind(&self) -> bool {
        self.is_asked && self.wanted.borrow().revision != self.status.borrow().revision
    }

    /// Waits for the end of a burst.
    async fn settle(&mut self, stop: &CancellationToken) {
        let latest = Instant::now() + PATIENCE;
        loop {
            let pause = (Instant::now() + QUIET).min(latest);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = timeout_at(pause, self.wanted.changed()) => {
                    if !matches!(changed, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    }

    /// Makes the file what is wanted.
    async fn apply(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let file = self.file.clone();
        let (entries, revision) = (wanted.entries.len(), wanted.revision);
        let is_burst = entries.abs_diff(self.released_at) >= BURST;
        if is_burst {
            self.released_at = entries;
        }
        let update = move || {
            let updated = file.update(|content| hosts_block::render(content, &wanted.entries));
            drop(wanted);
            let updated = updated.map(|Updated { now, way }| (foreign_names(&now), now, way));
            if is_burst {
                sys::release_freed_memory();
            }
            updated
        };
        match spawn_blocking(update).await {
            Ok(Ok((foreign_names, now, way))) => {
                self.seen = Some(now);
                self.retry.succeeded();
                self.status.send_modify(|status| {
                    status.revision = revision;
                    status.entries = entries;
                    status.error = None;
                    status.failing_since = None;
                    status.foreign_names = foreign_names;
                    if way.is_some() {
                        status.writes += 1;
                        status.last_written = Some(SystemTime::now());
                    }
                });
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(panic) => self.failed(&format!("the hosts file was not written: {panic}")),
        }
    }

    /// Finds out what another program did to the file.
    async fn look(&mut self) {
        if self
            .seen
            .as_ref()
            .is_some_and(|seen| !self.file.differs_from(seen))
        {
            return;
        }
        let file = self.file.clone();
        let read = move || file.read().map(|now| (foreign_names(&now), now));
        let (foreign_names, now) = match spawn_blocking(read).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return self.failed(&error.to_string()),
            Err(panic) => return self.failed(&format!("the hosts file was not read: {panic}")),
        };
        let is_right = !self.is_asked || {
            let wanted = self.wanted.borrow();
            let is_current = wanted.revision == self.status.borrow().revision;
            // A newer wish is on its way and will be written anyway.
            !is_current || hosts_block::render(&now.content, &wanted.entries) == now.content
        };
        self.seen = Some(now);
        let is_asked = self.is_asked;
        self.status.send_if_modified(|status| {
            let has_error = !is_asked && status.error.take().is_some();
            if has_error {
                status.failing_since = None;
            }
            let is_new = has_error || status.foreign_names != foreign_names;
            status.foreign_names = foreign_names;
            is_new
        });
        if is_right {
            return;
        }
        let wait = self.retry.interfered();
        self.status.send_modify(|status| {
            status.tampered += 1;
            status.last_tampered = Some(SystemTime::now());
        });
        let path = self.file.path().display();
        tracing::warn!(%path, ?wait, "another program changed our lines in the hosts file; restoring them");
    }

    fn failed(&mut self, error: &str) {
        // Nothing can be said about the file until it was read again.
        self.seen = None;
        if self.is_asked {
            self.retry.failed();
        }
        self.status.send_if_modified(|status| {
            let is_new = status.error.as_deref() != Some(error);
            if is_new {
                tracing::error!("{error}");
                status.failing_since.get_or_insert_with(SystemTime::now);
                status.error = Some(error.to_owned());
            }
            is_new
        });
    }
}

fn foreign_names(now: &Snapshot) -> Arc<BTreeSet<HostName>> {
    Arc::new(hosts_block::foreign_names(&now.content))
}

/// When to try again what did not last.
#[derive(Debug, Default)]
struct Retry {
    at: Option<Instant>,
    wait: Duration,
    last: Option<Instant>,
}

impl Retry {
    /// Waits for the moment to try again; forever where there is none.
    async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn failed(&mut self) {
        self.wait = (self.wait * 2).clamp(RETRY_MIN, RETRY_MAX);
        self.at = Some(Instant::now() + self.wait);
    }

    fn succeeded(&mut self) {
        self.at = None;
    }

    /// Another program changed the block: the first time it is put back at once, then later each
    /// time until it has been left alone for a while.
    fn interfered(&mut self) -> Duration {
        let now = Instant::now();
        let is_calm = self.last.is_none_or(|last| now - last > RETRY_MAX * 2);
        self.wait = match is_calm {
            true => Duration::ZERO,
            false => (self.wait * 2).clamp(RETRY_MIN, RETRY_MAX),
        };
        self.last = Some(now);
        // Programs often write a file in several steps.
        self.at = Some(now + self.wait.max(QUIET));
        self.wait
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;

    struct Running {
        directory: tempfile::TempDir,
        wanted: watch::Sender<Wanted>,
        status: watch::Receiver<HostsStatus>,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn start(content: &str) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        std::fs::write(&path, content).unwrap();
        let (wanted, receiver) = watch::channel(Wanted::default());
        let (actor, status) = HostsActor::new(HostsFile::new(path), receiver);
        let stop = CancellationToken::new();
        let task = tokio::spawn(actor.run(stop.clone()));
        Running {
            directory,
            wanted,
            status,
            stop,
            task,
        }
    }

    impl Running {
        fn path(&self) -> PathBuf {
            self.directory.path().join("hosts")
        }

        fn want(&self, revision: u64, names: &[&str]) {
            let names = names
                .iter()
                .map(|name| HostName::parse(name).unwrap())
                .collect();
            let entries = HostsEntries::from([(Ipv4Addr::new(127, 1, 27, 1), names)]);
            self.wanted.send_replace(Wanted { revision, entries });
        }

        async fn until(&mut self, is_reached: impl FnMut(&HostsStatus) -> bool) -> HostsStatus {
            let waited =
                tokio::time::timeout(Duration::from_secs(20), self.status.wait_for(is_reached));
            waited
                .await
                .expect("the status is reached in time")
                .unwrap()
                .clone()
        }
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[tokio::test]
    async fn a_burst_is_written_once() {
        let mut running = start("127.0.0.1 localhost\n");
        for revision in 1..=200 {
            running.want(revision, &["api"]);
            tokio::task::yield_now().await;
        }
        let status = running.until(|status| status.revision == 200).await;
        assert!(status.writes <= 2, "{} writes", status.writes);
        assert_eq!((status.entries, status.error), (1, None));
        assert!(read(&running.path()).contains("127.1.27.1\tapi\t"));
        running.stop.cancel();
        running.task.await.unwrap();
        assert!(cleanup(running.directory.path().join("hosts")).unwrap());
        assert_eq!(
            read(&running.directory.path().join("hosts")),
            "127.0.0.1 localhost\n"
        );
        assert!(!cleanup(running.directory.path().join("hosts")).unwrap());
    }

    #[tokio::test]
    async fn a_leftover_block_stays_until_entries_are_wanted() {
        let entries = HostsEntries::from([(
            Ipv4Addr::new(127, 1, 27, 9),
            vec![HostName::parse("old").unwrap()],
        )]);
        let old = hosts_block::render(b"10.0.0.5 mine\n", &entries);
        let mut running = start(std::str::from_utf8(&old).unwrap());
        let status = running
            .until(|status| !status.foreign_names.is_empty())
            .await;
        assert_eq!((status.revision, status.writes), (0, 0));
        assert!(read(&running.path()).contains("127.1.27.9\told"));
        running.want(1, &["api"]);
        running.until(|status| status.revision == 1).await;
        assert!(!read(&running.path()).contains("127.1.27.9"));
    }

    #[tokio::test]
    async fn a_block_that_another_program_removed_comes_back() {
        let mut running = start("");
        running.want(1, &["api"]);
        running.until(|status| status.revision == 1).await;
        // As editors do: a new file in its place.
        let new = running.directory.path().join("new");
        std::fs::write(&new, "10.0.0.5 theirs\n").unwrap();
        std::fs::rename(&new, running.path()).unwrap();
        let status = running.until(|status| status.writes == 2).await;
        assert_eq!(status.tampered, 1);
        assert!(status.foreign_names.contains("theirs"));
        let content = read(&running.path());
        assert!(
            content.starts_with("10.0.0.5 theirs\n# kubefwd begin"),
            "{content}"
        );
    }

    #[tokio::test]
    async fn foreign_lines_are_noticed_without_writing() {
        let mut running = start("");
        running.want(1, &["api"]);
        running.until(|status| status.revision == 1).await;
        let content = read(&running.path()) + "10.0.0.5 appended\n";
        std::fs::write(running.path(), content).unwrap();
        let status = running
            .until(|status| status.foreign_names.contains("appended"))
            .await;
        assert_eq!((status.writes, status.tampered), (1, 0));
    }

    #[tokio::test]
    async fn a_failure_is_told_and_tried_again() {
        let mut running = start("");
        std::fs::remove_file(running.path()).unwrap();
        std::fs::create_dir(running.path()).unwrap();
        running.want(1, &["api"]);
        let status = running.until(|status| status.error.is_some()).await;
        assert!(status.error.unwrap().contains("not a regular file"));
        assert_eq!(status.revision, 0);
        std::fs::remove_dir(running.path()).unwrap();
        let status = running.until(|status| status.revision == 1).await;
        assert_eq!(status.error, None);
    }

    #[tokio::test]
    async fn what_was_wanted_last_is_written_before_the_end() {
        let running = start("");
        running.want(1, &["api"]);
        running.stop.cancel();
        running.task.await.unwrap();
        assert!(read(&running.directory.path().join("hosts")).contains("api"));
    }
}
