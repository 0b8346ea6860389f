//! Disks that are full, and what lies about after writes that were interrupted.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use kubefwd_tests::harness::sandbox::run_anywhere;
use kubefwd_tests::harness::{Options, System, Target, eventually};
use kubefwd_tests::stress::block::Hosts;
use nix::mount::{MsFlags, mount};

use crate::support::{content, forward};

/// A file system with room for so many bytes.
fn small_disk(place: &Path, bytes: u64) {
    fs::create_dir(place).unwrap();
    let size = format!("size={bytes},mode=0755");
    let kind = Some("tmpfs");
    mount(kind, place, kind, MsFlags::empty(), Some(size.as_str())).unwrap();
}

/// Leaves no byte free.
fn fill(disk: &Path) {
    let mut file = File::create(disk.join("filler")).unwrap();
    let block = [b'x'; 4096];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_shortens_no_hosts_file_and_is_said() {
    run_anywhere(async |sandbox| {
        let target = Target::start(&sandbox, content("demo")).await;
        let disk = sandbox.path("disk");
        small_disk(&disk, 256 * 1024);
        let file = disk.join("hosts");
        // A page of foreign lines: the block does not fit beside it any more.
        let foreign = "10.0.0.1 somebody # their comment\n".repeat(120);
        fs::write(&file, &foreign).unwrap();
        let options = Options {
            hosts_file: Some(file.clone()),
            ..Options::default()
        };
        let mut system = System::start_with(&sandbox, &target.kubeconfig(), options);
        fill(&disk);
        let _late = system.ctl(&["ns", "add", target.namespace(), "--defer"]);
        let said = eventually("the full disk is said", || {
            let status = system.ctl(&["status"]);
            status.out.contains("No space left").then_some(status)
        });
        assert_eq!(said.code, 3, "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
        fs::remove_file(disk.join("filler")).unwrap();
        eventually("the names are written when there is room", || {
            system.hosts_have(&target.host("web")).then_some(())
        });
        fill(&disk);
        system.stop_daemon();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            foreign,
            "what needs no room is done on a full disk too"
        );
    });
}

#[test]
fn a_full_disk_below_the_state_loses_nothing_that_was_acknowledged() {
    run_anywhere(async |sandbox| {
        let target = Target::start(&sandbox, content("demo")).await;
        small_disk(&sandbox.path("state"), 64 * 1024);
        let mut system = System::start_with(&sandbox, &target.kubeconfig(), Options::default());
        forward(&target, &system);
        fill(&sandbox.path("state"));
        let web = target.host("web");
        let reserved = system.ctl(&["reserve", "add", &web, "127.77.1.1"]);
        eventually("the full disk is said", || {
            let said = system.ctl(&["status"]).out + &system.ctl(&["doctor"]).out;
            said.contains("No space left").then_some(())
        });
        system.kill_daemon();
        system.start_daemon();
        assert!(
            system.namespace(target.namespace()).is_some(),
            "what was saved before is still there; the reservation: {reserved}"
        );
    });
}

#[test]
fn what_interrupted_writes_left_is_removed() {
    run_anywhere(async |sandbox| {
        let target = Target::start(&sandbox, content("demo")).await;
        let folder = sandbox.path("etc");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("hosts");
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        let left = [
            folder.join(".kubefwd-hosts-AbC123"),
            sandbox.path("state/.kubefwd-AbC123"),
        ];
        let options = Options {
            hosts_file: Some(file.clone()),
            ..Options::default()
        };
        let mut system = System::prepare(&sandbox, &target.kubeconfig(), options);
        fs::create_dir(sandbox.path("state")).unwrap();
        let leave = || {
            for path in &left {
                fs::write(path, "half").unwrap();
            }
        };
        leave();
        system.start_daemon();
        assert!(left.iter().all(|path| !path.exists()), "after a start");
        forward(&target, &system);
        system.kill_daemon();
        leave();
        let _said = system.kubefwdd(&["cleanup"]).ok();
        assert!(!left[0].exists(), "after a clean-up");
        let hosts = Hosts::parse(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(hosts.foreign, b"127.0.0.1 localhost\n");
    });
}
