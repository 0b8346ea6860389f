//! Peers that mean harm: a worker that says anything, clients that take whatever they get. Each harms nobody but itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::{run, run_as_root};
use kubefwd_tests::harness::users::{ALICE, BOB, create};
use kubefwd_tests::harness::{Options, Sandbox, System, programs};
use kubefwd_tests::stress::block::Hosts;
use kubefwd_tests::stress::kernel::{held, peak};
use kubefwd_tests::{Cluster, Namespace};

use crate::support::{content, demo, until};

/// The most memory that a daemon in these tests may ever need: several times what it needs for so few services.
const BOUND: u64 = 250 * 1024 * 1024;

/// Alice forwards `demo`; Bob forwards it too, and his worker does what the lines say, one at each start, and is an honest
/// one after the last.
async fn alice_and(sandbox: &Sandbox, lines: &str) -> (Cluster, System) {
    let cluster = Cluster::builder()
        .namespace(content("demo"))
        .namespace(Namespace::new("other"))
        .start()
        .await
        .unwrap();
    let mut options = create(sandbox);
    let hostile = sandbox.path("bin/hostile-worker");
    fs::copy(programs::find("hostile-worker"), &hostile).unwrap();
    options.flags = vec!["--worker".to_owned(), hostile.display().to_string()];
    let system = System::start_with(sandbox, "", options);
    let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
    let alices = ALICE.file(sandbox, "alice/kubeconfig", &kubeconfig, 0o600);
    let args = ["ns", "add", "demo", "--wait"];
    let _said = ALICE.ctl(sandbox, &system, &alices, &args).ok();
    let _script = BOB.file(sandbox, "bob/script", lines, 0o600);
    let bobs = BOB.file(sandbox, "bob/kubeconfig", &kubeconfig, 0o600);
    let args = ["ns", "add", "demo", "--defer"];
    let _started = BOB.ctl(sandbox, &system, &bobs, &args);
    (cluster, system)
}

#[test]
fn a_worker_that_breaks_the_protocol_is_ended_and_said() {
    run_as_root(async |sandbox| {
        let breaches = [
            ("oversized", "is larger than the limit"),
            ("truncated", "closed in the middle of a frame"),
            ("garbage", "cannot be decoded"),
            ("log-first", "its first frame was no hello"),
            ("protocol", "it speaks protocol 2, this daemon 1"),
            ("descriptor", "descriptors that do not belong"),
            ("dripping", "it said nothing for 10 s"),
        ];
        let lines: String = breaches
            .iter()
            .map(|(line, _)| format!("{line}\n"))
            .collect();
        let (_cluster, system) = alice_and(&sandbox, &lines).await;
        for (_, said) in breaches {
            system.logged(said);
            assert!(pod("web", 80).starts_with("web-"), "Alice is served");
        }
        // With the last line the script is over: an honest worker is started in the end.
        let kubeconfig = sandbox.path("bob/kubeconfig");
        until("Bob's honest worker forwards", || {
            let listed = BOB.ctl(&sandbox, &system, &kubeconfig, &["svc", "ls", "-o", "name"]);
            listed.out.contains("web.demo.sim")
        });
    });
}

#[test]
fn a_worker_that_lies_harms_nobody_else() {
    run_as_root(async |sandbox| {
        let (_cluster, system) = alice_and(&sandbox, "lies\n").await;
        system.logged("all lies told");
        let log = system.log();
        let forged = log.lines().any(|line| line.starts_with("kubefwdd: forged"));
        assert!(!forged && !log.contains("told\n\u{1b}"), "{log}");
        let hosts = Hosts::parse(&system.hosts()).unwrap();
        for name in ["localhost", "bank", "github.com", "stranger", ".."] {
            assert!(!hosts.names.contains_key(name), "{name}: {hosts:?}");
        }
        assert!(pod("web", 80).starts_with("web-"), "Alice is served");
        let alices = sandbox.path("alice/kubeconfig");
        let seen = ALICE.ctl(&sandbox, &system, &alices, &["svc", "ls", "-o", "name"]);
        let seen = seen.ok();
        let seen: BTreeSet<&str> = seen.lines().collect();
        assert_eq!(seen.len(), 4, "Alice has what she had: {seen:?}");
        let peak = peak(system.daemon_pid()).unwrap();
        assert!(peak < BOUND, "the daemon needed {peak} bytes");
    });
}

#[test]
fn a_worker_that_floods_the_log_is_cut_short() {
    run_as_root(async |sandbox| {
        let (_cluster, system) = alice_and(&sandbox, "flood\n").await;
        system.logged("it logs too much");
        assert!(pod("web", 80).starts_with("web-"), "Alice is served");
        let (log, peak) = (system.log().len(), peak(system.daemon_pid()).unwrap());
        assert!(log < 8 * 1024 * 1024, "a log of {log} bytes");
        assert!(peak < BOUND, "the daemon needed {peak} bytes");
    });
}

#[test]
fn clients_that_take_what_they_get_leave_something_for_others() {
    run_as_root(async |sandbox| {
        let cluster = Cluster::builder().namespace(content("demo")).start().await;
        let cluster = cluster.unwrap();
        let kubeconfig = cluster.kubeconfig("admin").unwrap().yaml();
        let options: Options = create(&sandbox);
        let system = System::start_with(&sandbox, "", options);
        let alices = ALICE.file(&sandbox, "alice/kubeconfig", &kubeconfig, 0o600);
        let before = held(system.daemon_pid()).unwrap().descriptors;
        let mut open = Vec::new();
        for number in 0..3_000 {
            let mut stream = UnixStream::connect(system.socket()).unwrap();
            // Some never say a word, some say no HTTP/2, some stop in the middle of it. Who is refused may not write.
            let _refused = match number % 3 {
                0 => Ok(()),
                1 => stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n"),
                _ => stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04"),
            };
            open.push(stream);
        }
        system.logged("connections to the control socket; more are refused");
        let args = ["ns", "add", "demo", "--wait"];
        let _said = ALICE.ctl(&sandbox, &system, &alices, &args).ok();
        assert!(pod("web", 80).starts_with("web-"), "Alice is served");
        drop(open);
        until("the descriptors are free again", || {
            held(system.daemon_pid()).unwrap().descriptors < before + 64
        });
        let peak = peak(system.daemon_pid()).unwrap();
        assert!(peak < BOUND, "the daemon needed {peak} bytes");
    });
}

#[test]
fn a_gibibyte_is_not_kept() {
    run(async |sandbox| {
        let (_cluster, system) = demo(&sandbox).await;
        let part = vec![b'x'; 1024 * 1024];
        let heads: [&[u8]; 2] = [
            b"POST /api/v1/namespaces HTTP/1.1\r\nHost: kubefwd.internal\r\nContent-Type: application/json\r\n\
              Content-Length: 1073741824\r\n\r\n",
            b"POST /v1/namespaces HTTP/1.1\r\nHost: kubefwd.internal\r\nX-Endless: ",
        ];
        for head in heads {
            let mut stream = UnixStream::connect(sandbox.path("rest.sock")).unwrap();
            stream.write_all(head).unwrap();
            // The daemon closes instead of reading all of it.
            let all = (0..1024).all(|_| stream.write_all(&part).is_ok());
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(!all || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        let version = system.ctl(&["version"]);
        assert_eq!(version.code, 0, "{version}");
        let peak = peak(system.daemon_pid()).unwrap();
        assert!(peak < BOUND, "the daemon needed {peak} bytes");
    });
}
