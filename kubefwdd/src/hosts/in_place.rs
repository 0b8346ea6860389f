//! Writing the hosts file where it cannot be replaced: bind mounts of containers, hard links.
//!
//! The order keeps the file from ever being shorter than both its old and its new content, and
//! the foreign lines before our block from being written at all:
//!
//! 1. What lies beyond the old end is written first. A full disk is noticed here, and taken back.
//! 2. The rest is overwritten from the first byte that differs, with one write, and synced. A
//!    shorter content is filled up with newlines to the old length: were we interrupted now, the
//!    file would end in blank lines.
//! 3. The fill is cut off.
//!
//! A reader can meet a moment between two of these steps; that is the price of a mount point.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Makes the content of the file `new`, where it is `old` now.
pub(super) fn overwrite(path: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let common = old.len().min(new.len());
    let same = old
        .iter()
        .zip(new)
        .take_while(|(old, new)| old == new)
        .count();

    if new.len() > old.len() {
        append(&file, &new[common..], old.len())?;
    }
    let mut rest = new[same..common].to_vec();
    rest.resize(old.len() - same, b'\n');
    file.write_all_at(&rest, offset(same))?;
    file.sync_all()?;
    if new.len() < old.len() {
        file.set_len(offset(new.len()))?;
        file.sync_all()?;
    }
    Ok(())
}

/// Writes behind the old end; on failure the file ends there again.
fn append(file: &File, tail: &[u8], old_end: usize) -> io::Result<()> {
    let written = file
        .write_all_at(tail, offset(old_end))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        file.set_len(offset(old_end))?;
    }
    written
}

fn offset(position: usize) -> u64 {
    u64::try_from(position).expect("the file was read into memory, so its length fits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_content_becomes_any_other(
            head in prop::collection::vec(any::<u8>(), 0..50),
            old in prop::collection::vec(any::<u8>(), 0..50),
            new in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("hosts");
            let (old, new) = ([head.clone(), old].concat(), [head, new].concat());
            std::fs::write(&path, &old).unwrap();
            overwrite(&path, &old, &new).unwrap();
            prop_assert_eq!(std::fs::read(&path).unwrap(), new);
        }
    }
}
