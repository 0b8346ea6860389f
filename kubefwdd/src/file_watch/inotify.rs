//! Notices by inotify, from the directory (renames) and from the file itself (a mounted file's
//! directory hears nothing of writes to it).

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::persist::directory_of;

/// The notices of one file, under the path where its content is.
pub(super) struct Events {
    queue: AsyncFd<Queue>,
    directory: WatchDescriptor,
    name: OsString,
    path: PathBuf,
    file: Option<WatchDescriptor>,
}

/// `AsyncFd` asks for the number of the descriptor.
struct Queue(Inotify);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Events {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        // Where it is a link, what it points at is what changes.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let in_directory = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CLOSE_WRITE;
        let directory = inotify.add_watch(directory_of(&path), in_directory)?;
        #[expect(
            deprecated,
            reason = "sound here: Queue owns its descriptor and never changes it"
        )]
        let queue = AsyncFd::with_interest(Queue(inotify), Interest::READABLE)?;
        let name = path.file_name().map(OsString::from).unwrap_or_default();
        let mut events = Self {
            queue,
            directory,
            name,
            path,
            file: None,
        };
        events.watch_file();
        Ok(events)
    }

    /// Waits for a notice about the file.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.queue.readable().await?;
            let events = match self.queue.get_ref().0.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            };
            if events.iter().any(|event| self.is_about_file(event)) {
                self.watch_file();
                return Ok(());
            }
        }
    }

    fn is_about_file(&self, event: &InotifyEvent) -> bool {
        // After an overflow nobody knows.
        event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
            || Some(event.wd) == self.file && !event.mask.contains(AddWatchFlags::IN_IGNORED)
            || event.wd == self.directory && event.name.as_ref() == Some(&self.name)
    }

    /// Watches the file that is there now. The same one again changes nothing.
    fn watch_file(&mut self) {
        let to_file =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DELETE_SELF;
        let inotify = &self.queue.get_ref().0;
        let now = inotify.add_watch(&self.path, to_file).ok();
        if let Some(old) = self.file.filter(|_| self.file != now) {
            // The system has dropped it already when the file is gone.
            let _ = inotify.rm_watch(old);
        }
        self.file = now;
    }
}
