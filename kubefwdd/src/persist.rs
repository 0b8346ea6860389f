//! Replacing a file as a whole: after a crash at any moment it has its old content or its new one. A crash before the
//! rename leaves the new content behind under a temporary name; [`remove_leftovers`] is for the next start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// How temporary names begin.
const PREFIX: &str = ".kubefwd-";
/// Letters and digits that follow the prefix of a temporary name.
const RANDOM: usize = 6;

/// Replaces the content of the file at `path` and returns when it is safe on disk. As a temporary file it was made for its
/// owner alone, and stays so.
///
/// # Errors
/// When the directory cannot be written; the old content is still there then.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(PREFIX)
        .rand_bytes(RANDOM)
        .tempfile_in(directory)?;
    temporary.write_all(content)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|failed| failed.error)?;
    sync_directory(directory)
}

/// Removes what writers that were killed left in a directory of the daemon's own. Nobody may be writing there.
pub(crate) fn remove_leftovers(directory: &Path) {
    remove_temporary(directory, PREFIX);
}

/// Removes files whose names are a prefix and the random part of a temporary name. What cannot be removed stays, and is
/// said: it is in nobody's way.
pub(crate) fn remove_temporary(directory: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let is_temporary = random.is_some_and(|random| {
            random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_temporary || !is_file {
            continue;
        }
        let path = entry.path();
        match fs::remove_file(&path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removed a leftover of an interrupted write");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a leftover of an interrupted write");
            }
        }
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
        std::fs::write(&path, b"one, and long").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_interrupted_writes_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let names = [
            ".kubefwd-AbC123",
            ".kubefwd-AbC1234",
            ".kubefwd-ab-123",
            "state.json",
        ];
        for name in names {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(directory.path().join(".kubefwd-folder")).unwrap();
        remove_leftovers(directory.path());
        assert!(!directory.path().join(names[0]).exists());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_failure_keeps_the_old_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("occupied");
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert!(path.is_dir());
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file"
        );
    }
}
