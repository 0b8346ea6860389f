//! Reading and replacing the hosts file without ever losing a byte that is not ours.

use std::borrow::Cow;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::in_place;
use crate::persist::{directory_of, remove_temporary, sync_directory};
use crate::sys;

/// The largest file that is read, in bytes.
const SIZE_MAX: u64 = 64 << 20;
/// How often a file that changes under our hands is tried before we say so.
const ATTEMPTS: u32 = 10;
/// The mode of a hosts file that we have to create.
const NEW_FILE_MODE: u32 = 0o644;
/// How the name of a new file begins before it takes the place of the old one.
const TEMPORARY: &str = ".kubefwd-hosts-";

/// Why the hosts file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostsError {
    /// Opening or reading failed.
    #[error("cannot read the hosts file {0}: {1}; check that it exists and is readable")]
    Read(PathBuf, #[source] io::Error),
    /// Too large to be a hosts file.
    #[error("the hosts file {0} is larger than 64 MiB: point hosts_file at the right file")]
    TooLarge(PathBuf),
    /// A directory, a device, …
    #[error("the hosts file {0} is not a regular file: point hosts_file at the right file")]
    NotAFile(PathBuf),
    /// Neither the file nor its directory can be written.
    #[error(
        "the hosts file {0} is read-only ({1}): names do not resolve until it can be \
         written; mount it writable, remove its immutable flag (`chattr -i`), or let \
         hosts_file name a file that resolvers read"
    )]
    ReadOnly(PathBuf, #[source] io::Error),
    /// Writing failed otherwise.
    #[error("cannot write the hosts file {0}: {1}; its content is unchanged")]
    Write(PathBuf, #[source] io::Error),
    /// Another program kept changing it.
    #[error(
        "the hosts file {0} was changed by another program each of {ATTEMPTS} times we were \
         about to replace it: find out which program writes it"
    )]
    Contended(PathBuf),
}

/// The hosts file of this machine, by path.
#[derive(Debug, Clone)]
pub(crate) struct HostsFile {
    path: PathBuf,
}

/// What was in the file at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The content; empty for a missing file.
    pub content: Vec<u8>,
    /// What tells this state of the file from a later one.
    pub(super) identity: Identity,
}

/// The outcome of an update.
#[derive(Debug)]
pub(crate) struct Updated {
    /// The file as it is now.
    pub now: Snapshot,
    /// How it was written; `None` where it was right already.
    pub way: Option<Way>,
}

/// How the file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A new file took its place.
    Rename,
    /// Its bytes were overwritten, because it could not be replaced (a mount point, a second hard
    /// link, a directory that is read-only).
    InPlace,
}

/// A state of the file: another program's change makes it another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Identity {
    #[default]
    Missing,
    File {
        device: u64,
        inode: u64,
        length: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

impl HostsFile {
    /// The file at `path`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. A missing one is empty.
    ///
    /// # Errors
    /// When it cannot be read or is not a regular file of sane size.
    pub(crate) fn read(&self) -> Result<Snapshot, HostsError> {
        self.read_target(&self.target()?)
            .map(|(snapshot, _)| snapshot)
    }

    /// Replaces the file by what `edit` makes of it. `edit` is asked again when another program
    /// changed the file in between, and nothing is written when it gives back what it got.
    ///
    /// # Errors
    /// When the file cannot be read or written; it then has its old content.
    pub(crate) fn update(
        &self,
        edit: impl for<'a> Fn(&'a [u8]) -> Cow<'a, [u8]>,
    ) -> Result<Updated, HostsError> {
        // A link is followed, so that its target is replaced and not the link.
        let target = self.target()?;
        for _ in 0..ATTEMPTS {
            let (before, metadata) = self.read_target(&target)?;
            let Cow::Owned(wanted) = edit(&before.content) else {
                return Ok(Updated {
                    now: before,
                    way: None,
                });
            };
            let Some(way) = self.write_once(&target, metadata.as_ref(), &before, &wanted)? else {
                continue;
            };
            let identity = identity_of(&target).map_err(|source| self.read_error(source))?;
            let content = wanted;
            return Ok(Updated {
                now: Snapshot { content, identity },
                way: Some(way),
            });
        }
        Err(HostsError::Contended(self.path.clone()))
    }

    /// Removes new files that a daemon which was killed left beside the hosts file. No daemon may be writing it.
    pub(crate) fn remove_leftovers(&self) {
        if let Ok(target) = self.target() {
            remove_temporary(directory_of(&target), TEMPORARY);
        }
    }

    /// Whether the file differs from the snapshot.
    pub(super) fn differs_from(&self, snapshot: &Snapshot) -> bool {
        let now = self
            .target()
            .ok()
            .and_then(|target| identity_of(&target).ok());
        now != Some(snapshot.identity)
    }

    /// `None` when another program changed the file before we could.
    fn write_once(
        &self,
        target: &Path,
        metadata: Option<&Metadata>,
        before: &Snapshot,
        wanted: &[u8],
    ) -> Result<Option<Way>, HostsError> {
        let is_unchanged = || identity_of(target).ok() == Some(before.identity);
        // A second hard link would keep the old content after a rename.
        let has_links = metadata.is_some_and(|metadata| metadata.nlink() > 1);
        if !has_links {
            match replace(target, metadata, wanted, is_unchanged) {
                Ok(true) => return Ok(Some(Way::Rename)),
                Ok(false) => return Ok(None),
                Err(error)
                    if is_worth_in_place(&error)
                        || in_place::is_full(&error) && wanted.len() <= before.content.len() =>
                {
                    tracing::debug!(path = %target.display(), %error, "cannot replace the hosts file, writing in place");
                }
                Err(source) => return Err(self.write_error(source)),
            }
        }
        if !is_unchanged() {
            return Ok(None);
        }
        in_place::overwrite(target, &before.content, wanted)
            .map_err(|source| self.write_error(source))?;
        Ok(Some(Way::InPlace))
    }

    /// Where the content is: the path with all links followed.
    fn target(&self) -> Result<PathBuf, HostsError> {
        match self.path.canonicalize() {
            Ok(target) => Ok(target),
            // Missing, or a link to a file that is missing: that one is created.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let Ok(link) = self.path.read_link() else {
                    return Ok(self.path.clone());
                };
                Ok(directory_of(&self.path).join(link))
            }
            Err(source) => Err(self.read_error(source)),
        }
    }

    fn read_target(&self, target: &Path) -> Result<(Snapshot, Option<Metadata>), HostsError> {
        // Without O_NONBLOCK a FIFO in its place would hang us.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(target);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((Snapshot::default(), None));
            }
            Err(source) => return Err(self.read_error(source)),
        };
        let metadata = file.metadata().map_err(|source| self.read_error(source))?;
        if !metadata.is_file() {
            return Err(HostsError::NotAFile(self.path.clone()));
        }
        let mut content = Vec::new();
        let read = Read::by_ref(&mut file)
            .take(SIZE_MAX + 1)
            .read_to_end(&mut content);
        read.map_err(|source| self.read_error(source))?;
        if u64::try_from(content.len()).is_ok_and(|length| length > SIZE_MAX) {
            return Err(HostsError::TooLarge(self.path.clone()));
        }
        let identity = Identity::of(&metadata);
        Ok((Snapshot { content, identity }, Some(metadata)))
    }

    fn read_error(&self, source: io::Error) -> HostsError {
        HostsError::Read(self.path.clone(), source)
    }

    fn write_error(&self, source: io::Error) -> HostsError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                HostsError::ReadOnly(path, source)
            }
            _ => HostsError::Write(path, source),
        }
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn identity_of(target: &Path) -> io::Result<Identity> {
    match target.metadata() {
        Ok(metadata) => Ok(Identity::of(&metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Identity::Missing),
        Err(error) => Err(error),
    }
}

/// Puts a new file in place of `target`, with its mode, owner and label. False when
/// `is_unchanged` says that there is something else by now, or the new file is gone.
fn replace(
    target: &Path,
    metadata: Option<&Metadata>,
    content: &[u8],
    is_unchanged: impl Fn() -> bool,
) -> io::Result<bool> {
    let directory = directory_of(target);
    let mut temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(directory)?;
    temporary.write_all(content)?;
    take_after(&temporary, target, metadata)?;
    temporary.as_file().sync_all()?;
    if !is_unchanged() {
        return Ok(false);
    }
    match temporary.persist(target) {
        Ok(_) => {}
        // Somebody has cleaned it up.
        Err(failed) if failed.error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(failed) => return Err(failed.error),
    }
    sync_directory(directory)?;
    Ok(true)
}

/// Gives the new file the owner, mode and labels of the old one.
fn take_after(new: &NamedTempFile, old: &Path, metadata: Option<&Metadata>) -> io::Result<()> {
    let new = new.as_file();
    let Some(metadata) = metadata else {
        return new.set_permissions(PermissionsExt::from_mode(NEW_FILE_MODE));
    };
    let ours = new.metadata()?;
    if (ours.uid(), ours.gid()) != (metadata.uid(), metadata.gid()) {
        fchown(new, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    // After the owner: changing that clears bits of the mode.
    new.set_permissions(PermissionsExt::from_mode(metadata.mode() & 0o7777))?;
    sys::copy_labels(&File::open(old)?, new)
}

/// Whether writing in place can work where replacing did not: the file is a mount point, its
/// directory is read-only or on a full quota of names, or we may not give files away.
fn is_worth_in_place(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ResourceBusy
            | ErrorKind::CrossesDevices
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests;
