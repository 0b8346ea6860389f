//! Writing the hosts file where it cannot be replaced: bind mounts of containers, hard links.
//!
//! Whoever is killed between two bytes of it leaves both what stands before our block and what stands behind it in the file,
//! each whole and in its order. What stands before is never written. What stands behind (the *tail*) moves when the block
//! grows or shrinks, and is never overwritten before it is whole in another place:
//!
//! 1. Where the tail's new place overlaps its old one, a copy of it is written behind the end of the file; where it lies
//!    behind the end anyway, it is written there. A full disk is noticed here, and taken back.
//! 2. Where the block grows over the old tail, that is blanked first: no half of a line of ours may meet half of another's.
//!    Then everything from the first byte that differs is overwritten. What is too much is filled up with newlines.
//! 3. The copy and the fill are cut off.
//!
//! After a kill the file may end in blank lines, or have the tail twice. A reader can meet a moment between two of these
//! steps; that is the price of a mount point.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kubefwd_core::hosts_block;

/// Makes the content of the file `new`, where it is `old` now.
pub(super) fn overwrite(path: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    rewrite(&file, old, new, &hosts_block::behind(old))
}

/// The steps that can be done to a file, and interrupted.
trait Target {
    /// Writes all of it from there on.
    fn write(&self, bytes: &[u8], offset: usize) -> io::Result<()>;
    /// Cuts the file.
    fn cut(&self, length: usize) -> io::Result<()>;
    /// Waits until all of it is on disk.
    fn sync(&self) -> io::Result<()>;
}

/// Makes the content `new`, where it is `old` now. `tail` is to survive anything, if `new` ends in it.
fn rewrite(target: &impl Target, old: &[u8], new: &[u8], tail: &[u8]) -> io::Result<()> {
    let tail = if new.ends_with(tail) { tail } else { &[] };
    let is_at = new.len() - tail.len();
    // Otherwise some of it is in our block still, and has no place of its own.
    let was_whole = old.ends_with(tail);
    let was_at = if was_whole {
        old.len() - tail.len()
    } else {
        old.len()
    };
    let same = common(&old[..was_at], &new[..is_at]);
    let mut rest = new[same..is_at].to_vec();

    if was_whole && was_at == is_at {
        target.write(&rest, same)?;
        return target.sync();
    }
    if is_at >= old.len() {
        let beyond = [blank(old.len(), is_at).as_slice(), tail].concat();
        append(target, &beyond, old.len())?;
        target.write(&blank(was_at, old.len()), was_at)?;
        target.write(&rest, same)?;
        return target.sync();
    }
    rest.extend(tail);
    // Until the file is cut, the old tail stays as it is where the new one does not overlap it.
    let mut end = was_at;
    if !was_whole || new.len() > was_at {
        let copy = [blank(old.len(), new.len()).as_slice(), tail].concat();
        match append(target, &copy, old.len()) {
            // There is no room for a copy, but for the content: the block must be able to go.
            Err(error) if is_full(&error) && new.len() <= old.len() => {}
            result => result?,
        }
        if is_at > was_at {
            target.write(&blank(was_at, old.len()), was_at)?;
        }
        end = old.len();
    }
    rest.extend(blank(same + rest.len(), end));
    target.write(&rest, same)?;
    target.sync()?;
    target.cut(new.len())?;
    target.sync()
}

/// Writes behind the old end; on failure the file ends there again.
fn append(target: &impl Target, bytes: &[u8], old_end: usize) -> io::Result<()> {
    let written = target.write(bytes, old_end).and_then(|()| target.sync());
    if written.is_err() {
        target.cut(old_end)?;
    }
    written
}

/// Blank lines from one offset to another.
fn blank(from: usize, to: usize) -> Vec<u8> {
    vec![b'\n'; to.saturating_sub(from)]
}

/// In how many bytes both begin alike.
fn common(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().zip(other);
    pairs.take_while(|(one, other)| one == other).count()
}

impl Target for File {
    fn write(&self, bytes: &[u8], offset: usize) -> io::Result<()> {
        self.write_all_at(bytes, position(offset))
    }

    fn cut(&self, length: usize) -> io::Result<()> {
        self.set_len(position(length))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

fn position(offset: usize) -> u64 {
    u64::try_from(offset).expect("the file was read into memory, so its length fits")
}

/// Whether there is no room for a second file. What is not longer than the old content still fits in its place.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io::ErrorKind;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use kubefwd_model::HostName;

    use super::*;
    use kubefwd_core::hosts_block::{HostsEntries, remove, render};

    /// A file whose writer is killed after this many bytes; cutting the file counts as one.
    struct Killed {
        content: RefCell<Vec<u8>>,
        left: Cell<usize>,
        /// The file cannot become longer than that.
        room: usize,
    }

    impl Killed {
        fn after(bytes: usize, content: &[u8]) -> Self {
            Self {
                content: RefCell::new(content.to_vec()),
                left: Cell::new(bytes),
                room: usize::MAX,
            }
        }

        fn spend(&self, wanted: usize) -> usize {
            let spent = wanted.min(self.left.get());
            self.left.set(self.left.get() - spent);
            spent
        }
    }

    impl Target for Killed {
        fn write(&self, bytes: &[u8], offset: usize) -> io::Result<()> {
            let mut content = self.content.borrow_mut();
            assert!(offset <= content.len(), "a hole");
            let fits = bytes.len().min(self.room - offset);
            let written = self.spend(fits);
            let end = (offset + written).max(content.len());
            content.resize(end, 0);
            content[offset..offset + written].copy_from_slice(&bytes[..written]);
            match written {
                _ if written == bytes.len() => Ok(()),
                _ if written == fits => Err(ErrorKind::StorageFull.into()),
                _ => Err(io::Error::other("killed")),
            }
        }

        fn cut(&self, length: usize) -> io::Result<()> {
            match self.spend(1) {
                0 => Err(io::Error::other("killed")),
                _ => {
                    self.content.borrow_mut().truncate(length);
                    Ok(())
                }
            }
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn entries(names: &[String]) -> HostsEntries {
        let all = names.iter().zip(1..);
        let entry = |(name, last): (&String, u8)| {
            let name = HostName::parse(name).unwrap();
            (Ipv4Addr::new(127, 1, 27, last), vec![name])
        };
        all.map(entry).collect()
    }

    fn has(content: &[u8], part: &[u8]) -> bool {
        part.is_empty() || content.windows(part.len()).any(|window| window == part)
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-z]{1,20}", 0..6)
    }

    /// Whole lines, as other programs write them.
    fn foreign() -> impl Strategy<Value = String> {
        let line = "10\\.0\\.0\\.[1-9] [a-z]{1,12}\n";
        prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn any_content_becomes_any_other(
            head in prop::collection::vec(any::<u8>(), 0..50),
            old in prop::collection::vec(any::<u8>(), 0..50),
            new in prop::collection::vec(any::<u8>(), 0..50),
            tail in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("hosts");
            let old = [head.clone(), old, tail.clone()].concat();
            let new = [head, new, tail.clone()].concat();
            std::fs::write(&path, &old).unwrap();
            overwrite(&path, &old, &new).unwrap();
            prop_assert_eq!(&std::fs::read(&path).unwrap(), &new);
            // The same with a tail that is to survive.
            let target = Killed::after(usize::MAX, &old);
            rewrite(&target, &old, &new, &tail).unwrap();
            prop_assert_eq!(&*target.content.borrow(), &new);
        }
    }

    proptest! {
        // Each is hundreds of kills.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_kill_takes_a_foreign_byte(
            before in foreign(),
            inside in foreign(),
            behind in foreign(),
            first in names(),
            second in names(),
        ) {
            let block = render(before.as_bytes(), &entries(&first)).into_owned();
            let line = block[before.len()..].iter().position(|byte| *byte == b'\n');
            let begin = line.map_or(block.len(), |at| before.len() + at + 1);
            let (head, rest) = block.split_at(begin);
            let old = [head, inside.as_bytes(), rest, behind.as_bytes()].concat();
            let new = render(&old, &entries(&second)).into_owned();
            let tail = hosts_block::behind(&old);
            for bytes in 0.. {
                let target = Killed::after(bytes, &old);
                let result = rewrite(&target, &old, &new, &tail);
                let found = target.content.into_inner();
                // At once, and after the next start has looked at it.
                for found in [&found, &*remove(&found)] {
                    prop_assert!(found.starts_with(before.as_bytes()), "{bytes}");
                    let rest = &found[before.len()..];
                    let shown = String::from_utf8_lossy(found);
                    prop_assert!(has(rest, behind.as_bytes()), "{bytes}: {shown}");
                    for line in inside.split_inclusive('\n') {
                        prop_assert!(has(rest, line.as_bytes()), "{bytes}: {line:?} in {shown}");
                    }
                }
                let left = remove(&found).into_owned();
                let mut lines = left.split(|byte| *byte == b'\n');
                let stale = lines.find(|line| line.ends_with(b"\t# kubefwd"));
                prop_assert!(stale.is_none(), "{bytes}: {}", String::from_utf8_lossy(&left));
                if result.is_ok() {
                    prop_assert_eq!(found, new);
                    break;
                }
            }
        }
    }

    #[test]
    fn on_a_full_disk_a_block_can_go_and_none_can_come() {
        let before = b"10.0.0.1 one\n".to_vec();
        let some = entries(&["api".to_owned()]);
        let behind = b"10.0.0.2 two\n".repeat(50);
        let with = [&*render(&before, &some), &behind].concat();
        let without = remove(&with).into_owned();
        let full = |content: &[u8]| Killed {
            room: content.len(),
            ..Killed::after(usize::MAX, content)
        };
        let target = full(&with);
        rewrite(&target, &with, &without, &behind).unwrap();
        assert_eq!(*target.content.borrow(), without);

        let target = full(&without);
        let error = rewrite(&target, &without, &with, &behind).unwrap_err();
        assert!(is_full(&error));
        assert_eq!(*target.content.borrow(), without);
    }
}
