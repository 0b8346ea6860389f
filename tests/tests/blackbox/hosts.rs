//! The hosts file between other programs' hands.

use std::fs;

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{Options, eventually};

use crate::support::{add, configured, content, demo};

#[test]
fn a_symlink_stays_one_and_its_target_is_written() {
    run(async |sandbox| {
        let (file, link) = (sandbox.path("real-hosts"), sandbox.path("linked-hosts"));
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        std::os::unix::fs::symlink("real-hosts", &link).unwrap();
        let options = Options {
            hosts_file: Some(link.clone()),
            ..Options::default()
        };
        let (_cluster, mut system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        let now = fs::read_to_string(&file).unwrap();
        assert!(now.contains("web.demo"), "{now}");
        system.stop_daemon();
        assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("real-hosts"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "127.0.0.1 localhost\n");
    });
}

#[test]
fn lines_that_others_add_meanwhile_stay() {
    run(async |sandbox| {
        let (_cluster, mut system) = demo(&sandbox).await;
        add(&system);
        let mut mixed = b"10.9.8.7 first-of-others\n".to_vec();
        mixed.extend(system.hosts());
        mixed.extend(b"10.9.8.6 last-of-others\n");
        fs::write("/etc/hosts", &mixed).unwrap();
        let _said = system.ctl(&["ns", "rm", "demo"]).ok();
        eventually("our lines are gone", || {
            let now = String::from_utf8(system.hosts()).unwrap();
            (!now.contains("web.demo")).then_some(())
        });
        system.stop_daemon();
        let now = String::from_utf8(system.hosts()).unwrap();
        assert!(now.starts_with("10.9.8.7 first-of-others\n"), "{now}");
        assert!(now.ends_with("10.9.8.6 last-of-others\n"), "{now}");
    });
}

#[test]
fn a_block_that_another_program_removed_comes_back() {
    run(async |sandbox| {
        let before = fs::read("/etc/hosts").unwrap();
        let (_cluster, mut system) = demo(&sandbox).await;
        add(&system);
        fs::write("/etc/hosts", &before).unwrap();
        eventually("the names are back", || {
            let now = String::from_utf8_lossy(&system.hosts()).into_owned();
            now.contains("web.demo").then_some(())
        });
        system.stop_daemon();
        assert_eq!(system.hosts(), before);
    });
}

#[test]
fn mode_and_owner_stay() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    run(async |sandbox| {
        let file = sandbox.path("other-hosts");
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let options = Options {
            hosts_file: Some(file.clone()),
            ..Options::default()
        };
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        let before = fs::metadata(&file).unwrap();
        add(&system);
        assert!(fs::read_to_string(&file).unwrap().contains("web.demo"));
        let after = fs::metadata(&file).unwrap();
        assert_eq!(after.mode(), before.mode());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    });
}
