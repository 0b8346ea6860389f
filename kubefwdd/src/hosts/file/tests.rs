//! On real files in a directory of the test's own; mounts in a namespace of the test's own.

use std::cell::Cell;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

fn append(line: &str) -> impl for<'a> Fn(&'a [u8]) -> Cow<'a, [u8]> {
    move |content| Cow::Owned([content, line.as_bytes()].concat())
}

fn file(directory: &tempfile::TempDir, content: &[u8]) -> HostsFile {
    let path = directory.path().join("hosts");
    std::fs::write(&path, content).unwrap();
    HostsFile::new(path)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn replaces_the_file_and_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\xff\r\n");
    std::fs::set_permissions(hosts.path(), PermissionsExt::from_mode(0o664)).unwrap();
    let inode = hosts.path().metadata().unwrap().ino();
    let updated = hosts.update(append("b\n")).unwrap();
    assert_eq!(updated.way, Some(Way::Rename));
    assert_eq!(std::fs::read(hosts.path()).unwrap(), b"a\xff\r\nb\n");
    let metadata = hosts.path().metadata().unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o664);
    assert_ne!(metadata.ino(), inode);
    assert_eq!(
        names_in(directory.path()),
        ["hosts"],
        "no temporary file is left"
    );
    assert!(!hosts.differs_from(&updated.now));
}

#[test]
fn a_new_file_that_somebody_cleans_up_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\n");
    let cleans_up = || {
        hosts.remove_leftovers();
        true
    };
    assert!(!replace(hosts.path(), None, b"b\n", cleans_up).unwrap());
    assert_eq!(std::fs::read(hosts.path()).unwrap(), b"a\n");
    assert!(replace(hosts.path(), None, b"b\n", || true).unwrap());
    assert_eq!(std::fs::read(hosts.path()).unwrap(), b"b\n");
}

#[test]
fn writes_nothing_when_nothing_changes() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\n");
    let before = hosts.read().unwrap();
    let updated = hosts.update(|content| Cow::Borrowed(content)).unwrap();
    assert_eq!((updated.way, &updated.now), (None, &before));
    assert!(!hosts.differs_from(&before));
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    std::fs::write(&real, "a\n").unwrap();
    let link = directory.path().join("hosts");
    symlink("real", &link).unwrap();
    HostsFile::new(&link).update(append("b\n")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "a\nb\n");

    let dangling = directory.path().join("dangling");
    symlink("made", &dangling).unwrap();
    HostsFile::new(&dangling).update(append("x\n")).unwrap();
    assert!(dangling.is_symlink());
    assert_eq!(
        std::fs::read_to_string(directory.path().join("made")).unwrap(),
        "x\n"
    );
}

#[test]
fn a_hard_link_is_written_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a long line that goes away\n");
    let other = directory.path().join("other");
    std::fs::hard_link(hosts.path(), &other).unwrap();
    let updated = hosts.update(|_| Cow::Owned(b"b\n".to_vec())).unwrap();
    assert_eq!(updated.way, Some(Way::InPlace));
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "b\n");
}

#[test]
fn an_edit_by_another_program_is_merged_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\n");
    let edits = Cell::new(0);
    hosts
        .update(|content| {
            edits.set(edits.get() + 1);
            if edits.get() == 1 {
                std::fs::write(hosts.path(), "a\nforeign\n").unwrap();
            }
            Cow::Owned([content, b"ours\n"].concat())
        })
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(hosts.path()).unwrap(),
        "a\nforeign\nours\n"
    );

    let never = hosts.update(|content| {
        edits.set(edits.get() + 1);
        std::fs::write(hosts.path(), "x\n".repeat(edits.get())).unwrap();
        Cow::Owned([content, b"ours\n"].concat())
    });
    assert!(matches!(never, Err(HostsError::Contended(_))));
    assert!(
        !std::fs::read_to_string(hosts.path())
            .unwrap()
            .contains("ours")
    );
}

#[test]
fn a_missing_file_is_created_readable_for_all() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = HostsFile::new(directory.path().join("hosts"));
    assert_eq!(hosts.read().unwrap().content, b"");
    hosts.update(append("a\n")).unwrap();
    assert_eq!(hosts.path().metadata().unwrap().mode() & 0o7777, 0o644);
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refused = HostsFile::new(directory.path()).update(append("a\n"));
    assert!(
        matches!(refused, Err(HostsError::NotAFile(_))),
        "{refused:?}"
    );
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(
        HostsFile::new(&fifo).read(),
        Err(HostsError::NotAFile(_))
    ));
    let large = directory.path().join("large");
    File::create(&large).unwrap().set_len(SIZE_MAX + 1).unwrap();
    assert!(matches!(
        HostsFile::new(&large).read(),
        Err(HostsError::TooLarge(_))
    ));
}

/// Run by the tests below inside a mount namespace; does nothing otherwise.
#[test]
fn helper_update_in_namespace() {
    let Ok(path) = std::env::var("KUBEFWD_TEST_HOSTS") else {
        return;
    };
    match HostsFile::new(path).update(append("ours\n")) {
        Ok(updated) => println!("outcome: {:?}", updated.way),
        Err(error) => println!("outcome: {error}"),
    }
}

/// Runs `prepare` and then the helper above in user and mount namespaces of their own. `None`
/// where the machine does not allow those.
fn in_namespace(hosts: &Path, prepare: &str) -> Option<String> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "--", "sh", "-ec", script, "sh"]);
        command
    };
    if !unshare("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: no user namespaces here");
        return None;
    }
    let script = format!("{prepare}\nexec \"$2\" --exact {HELPER} --nocapture");
    let output = unshare(&script)
        .arg(hosts)
        .arg(std::env::current_exe().unwrap())
        .env("KUBEFWD_TEST_HOSTS", hosts)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = text.lines().find_map(|line| line.split_once("outcome: "));
    let (_, outcome) = outcome.unwrap_or_else(|| panic!("{output:?}"));
    Some(outcome.to_owned())
}

const HELPER: &str = "hosts::file::tests::helper_update_in_namespace";

#[test]
#[cfg(target_os = "linux")]
fn a_mount_point_is_written_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\n");
    let Some(outcome) = in_namespace(hosts.path(), "mount --bind \"$1\" \"$1\"") else {
        return;
    };
    assert_eq!(outcome, "Some(InPlace)");
    assert_eq!(std::fs::read_to_string(hosts.path()).unwrap(), "a\nours\n");
    assert_eq!(names_in(directory.path()), ["hosts"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_writable_file_in_a_read_only_directory_is_written_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\n");
    let prepare = "d=$(dirname \"$1\"); mount --bind \"$d\" \"$d\"; \
                   mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$d\"";
    let Some(outcome) = in_namespace(hosts.path(), prepare) else {
        return;
    };
    assert_eq!(outcome, "Some(InPlace)");
    assert_eq!(std::fs::read_to_string(hosts.path()).unwrap(), "a\nours\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_read_only_file_is_an_error_with_a_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = file(&directory, b"a\n");
    let prepare =
        "d=$(dirname \"$1\"); mount --bind \"$d\" \"$d\"; mount -o remount,bind,ro \"$d\"";
    let Some(outcome) = in_namespace(hosts.path(), prepare) else {
        return;
    };
    assert!(outcome.contains("is read-only"), "{outcome}");
    assert!(outcome.contains("mount it writable"), "{outcome}");
    assert_eq!(std::fs::read_to_string(hosts.path()).unwrap(), "a\n");
}
