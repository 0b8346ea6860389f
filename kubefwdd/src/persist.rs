//! Replacing a file as a whole: after a crash at any moment it has its old content or its new one.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file that is only ever replaced.
#[derive(Debug, Clone)]
pub struct AtomicFile {
    path: PathBuf,
    mode: u32,
}

impl AtomicFile {
    /// The file at `path`, readable by its owner alone.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o600,
        }
    }

    /// The permission bits that the file gets with each [`Self::write`], whatever the umask is.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Replaces the content and returns when it is safe on disk.
    ///
    /// # Errors
    /// When the directory cannot be written; the old content is still there then.
    pub fn write(&self, content: &[u8]) -> io::Result<()> {
        let directory = directory_of(&self.path);
        let mut temporary = tempfile::Builder::new()
            .prefix(".kubefwd-")
            .tempfile_in(directory)?;
        temporary.write_all(content)?;
        temporary
            .as_file()
            .set_permissions(Permissions::from_mode(self.mode))?;
        temporary.as_file().sync_all()?;
        temporary
            .persist(&self.path)
            .map_err(|failed| failed.error)?;
        sync_directory(directory)
    }
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a rename in the directory survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems (overlays, network shares) cannot sync a directory.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn replaces_content_and_mode_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let file = AtomicFile::new(&path).mode(0o640);
        file.write(b"one, and long").unwrap();
        file.write(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_keeps_the_old_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("occupied");
        std::fs::create_dir(&path).unwrap();
        assert!(AtomicFile::new(&path).write(b"x").is_err());
        assert!(path.is_dir());
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file"
        );
    }
}
