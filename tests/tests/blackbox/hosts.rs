//! The hosts file between other programs' hands.

use std::fs;

use kubefwd_tests::harness::sandbox::{make_read_only, run, run_anywhere};
use kubefwd_tests::harness::{Options, System, Target, eventually};
use kubefwd_tests::{Behaviour, Namespace, Service, ServicePort, Workload};

use crate::support::{configured, content, forward, ready, ready_with};

#[test]
fn a_symlink_stays_one_and_its_target_is_written() {
    run_anywhere(async |sandbox| {
        let (file, link) = (sandbox.path("real-hosts"), sandbox.path("linked-hosts"));
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        std::os::unix::fs::symlink("real-hosts", &link).unwrap();
        let options = Options {
            hosts_file: Some(link.clone()),
            ..Options::default()
        };
        let (target, mut system) = ready_with(&sandbox, content("demo"), options).await;
        forward(&target, &system);
        let now = fs::read_to_string(&file).unwrap();
        assert!(now.contains(&target.host("web")), "{now}");
        system.stop_daemon();
        assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("real-hosts"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "127.0.0.1 localhost\n");
    });
}

#[test]
fn lines_that_others_add_meanwhile_stay() {
    run_anywhere(async |sandbox| {
        let (target, mut system) = ready(&sandbox).await;
        forward(&target, &system);
        let mut mixed = b"10.9.8.7 first-of-others\n".to_vec();
        mixed.extend(system.hosts());
        mixed.extend(b"10.9.8.6 last-of-others\n");
        fs::write("/etc/hosts", &mixed).unwrap();
        let _said = system.ctl(&["ns", "rm", target.namespace()]).ok();
        eventually("our lines are gone", || {
            let now = String::from_utf8(system.hosts()).unwrap();
            (!now.contains(&target.host("web"))).then_some(())
        });
        system.stop_daemon();
        let now = String::from_utf8(system.hosts()).unwrap();
        assert!(now.starts_with("10.9.8.7 first-of-others\n"), "{now}");
        assert!(now.ends_with("10.9.8.6 last-of-others\n"), "{now}");
    });
}

#[test]
fn a_block_that_another_program_removed_comes_back() {
    run_anywhere(async |sandbox| {
        let before = fs::read("/etc/hosts").unwrap();
        let (target, mut system) = ready(&sandbox).await;
        forward(&target, &system);
        fs::write("/etc/hosts", &before).unwrap();
        eventually("the names are back", || {
            let now = String::from_utf8_lossy(&system.hosts()).into_owned();
            now.contains(&target.host("web")).then_some(())
        });
        system.stop_daemon();
        assert_eq!(system.hosts(), before);
    });
}

#[test]
fn mode_and_owner_stay() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    run_anywhere(async |sandbox| {
        let file = sandbox.path("other-hosts");
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let options = Options {
            hosts_file: Some(file.clone()),
            ..Options::default()
        };
        let (target, system) = ready_with(&sandbox, content("demo"), options).await;
        let before = fs::metadata(&file).unwrap();
        forward(&target, &system);
        assert!(
            fs::read_to_string(&file)
                .unwrap()
                .contains(&target.host("web"))
        );
        let after = fs::metadata(&file).unwrap();
        assert_eq!(after.mode(), before.mode());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    });
}

#[test]
fn files_of_every_shape_come_back_byte_for_byte() {
    run_anywhere(async |sandbox| {
        let target = Target::start(&sandbox, content("demo")).await;
        let file = sandbox.path("other-hosts");
        let options = Options {
            hosts_file: Some(file.clone()),
            ..Options::default()
        };
        let mut system = System::prepare(&sandbox, &target.kubeconfig(), options);
        let shapes: [&[u8]; 6] = [
            b"",
            b"127.0.0.1 localhost",
            b"127.0.0.1 localhost\r\n10.0.0.1 a\r\n",
            b"\xff\xfe not text\n127.0.0.1 localhost\n\n\n",
            b"# only a comment",
            b"127.0.0.1\tlocalhost   # spaces\n::1 localhost\n10.0.0.5 redis Redis-Main # mine\n",
        ];
        for shape in shapes {
            fs::write(&file, shape).unwrap();
            system.start_daemon();
            forward(&target, &system);
            assert!(system.hosts_have("web"));
            let now = system.hosts();
            assert!(
                now.windows(shape.len().max(1)).any(|w| w == shape) || shape.is_empty(),
                "foreign bytes stay together"
            );
            system.stop_daemon();
            let shown = String::from_utf8_lossy(shape);
            assert_eq!(system.hosts(), shape, "{shown:?}");
            // The next daemon is to find nothing.
            fs::remove_dir_all(sandbox.path("state")).unwrap();
        }
    });
}

#[test]
fn a_file_that_cannot_be_written_is_said() {
    run_anywhere(async |sandbox| {
        let target = Target::start(&sandbox, content("demo")).await;
        let file = sandbox.path("other-hosts");
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        make_read_only(&file);
        let options = Options {
            hosts_file: Some(file),
            ..Options::default()
        };
        let system = System::start_with(&sandbox, &target.kubeconfig(), options);
        forward(&target, &system);
        let status = system.ctl(&["status"]);
        assert_eq!(status.code, 3, "{status}");
        assert!(status.out.contains("hosts file"), "{status}");
    });
}

#[test]
fn a_name_on_a_line_of_the_user_is_the_user_s() {
    run_anywhere(async |sandbox| {
        let own = "\n127.0.0.1\tlocalhost\n# mine\n10.1.2.3 printer\n";
        let before = fs::read_to_string("/etc/hosts").unwrap() + own;
        fs::write("/etc/hosts", &before).unwrap();
        let namespace = Namespace::new("demo")
            .workload(Workload::deployment("printer").listen("http", 8080, Behaviour::Http))
            .service(Service::new("printer").port(ServicePort::tcp(80).target("http")));
        let (target, mut system) = ready_with(&sandbox, namespace, Options::default()).await;
        forward(&target, &system);
        let hosts = String::from_utf8(system.hosts()).unwrap();
        assert!(
            hosts.contains("10.1.2.3 printer\n"),
            "the user's line is as it was: {hosts}"
        );
        let service = system.service(&target.key("printer")).unwrap();
        let names = service["hostnames"].as_array().unwrap();
        assert!(names.iter().all(|name| name != "printer"), "{service}");
        let full = target.host("printer");
        assert!(names.iter().any(|name| *name == full), "{service}");
        system.stop_daemon();
        assert_eq!(system.hosts(), before.as_bytes());
    });
}

#[test]
fn a_name_that_could_hide_a_site_is_refused() {
    run(async |sandbox| {
        let namespace = Namespace::new("com")
            .workload(Workload::deployment("github").listen("http", 8080, Behaviour::Http))
            .service(Service::new("github").port(ServicePort::tcp(80).target("http")));
        let (_cluster, system) = configured(&sandbox, namespace, Options::default()).await;
        let _said = system.ctl(&["ns", "add", "com", "--wait"]).ok();
        assert!(!system.hosts_have("github.com"));
        assert!(system.hosts_have("github.com.svc.cluster.local"));
        let doctor = system.ctl(&["doctor"]).out;
        assert!(
            doctor.contains("github.com") && doctor.contains("kubefwdctl names allow com"),
            "{doctor}"
        );
    });
}
