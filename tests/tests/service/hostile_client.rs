//! Clients that mean harm: they flood the daemon's interfaces, stop in the middle, never read, or send without an end. Others
//! are served meanwhile.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use kubefwd_tests::harness::http::Request;
use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::{run, run_as_root};
use kubefwd_tests::harness::users::{ALICE, create};
use kubefwd_tests::harness::{Options, System, eventually, system as program};
use kubefwd_tests::stress::kernel::{held, peak};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{forwarding, prepared};

/// By how much the daemon may grow, whatever clients do: hundreds of connections, and what each may have under way.
const GROWTH: u64 = 100 * 1024 * 1024;
/// Connections that one user may have to the control socket, and to REST.
const PER_USER: usize = 256 + 2_048;
const MIB: usize = 1024 * 1024;

/// Connects, and says this; who is refused may not write.
fn open(path: &Path, words: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    let _refused = stream.write_all(words);
    stream
}

/// Halves of requests, as far as one waits for the rest.
const HALVES: [&[u8]; 2] = [
    b"",
    b"GET /api/v1/services HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
];
/// The same where HTTP/2 is spoken.
const HALVES_OF_TWO: [&[u8]; 2] = [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04"];

/// Enough for a flood of connections, here and in the daemon.
fn raise_descriptor_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
}

fn memory_is_bounded(system: &System, before: u64) {
    let grown = peak(system.daemon_pid()).unwrap() - before;
    assert!(grown < GROWTH, "the daemon grew by {grown} bytes");
}

#[test]
fn who_takes_every_connection_takes_none_of_another_users() {
    run_as_root(async |sandbox| {
        let (cluster, mut system) = prepared(&sandbox, create(&sandbox)).await;
        raise_descriptor_limit();
        system.start_daemon();
        let yaml = cluster.kubeconfig("admin").unwrap().yaml();
        let alices = ALICE.file(&sandbox, "alice/kubeconfig", &yaml, 0o600);
        let before = held(system.daemon_pid()).unwrap();
        // This process is root; Alice is another user.
        let mut taken = Vec::new();
        let floods = [
            (system.socket(), HALVES_OF_TWO),
            (sandbox.path("rest.sock"), HALVES),
        ];
        for (path, halves) in floods {
            taken.extend((0..2_500).map(|number| open(&path, halves[number % 2])));
        }
        system.logged("connections to the control socket; more are refused");
        system.logged("connections to the REST API; more are refused");
        let own = PER_USER as u64 + 64;
        eventually("what is too much is closed", || {
            let now = held(system.daemon_pid()).unwrap().descriptors;
            (now < before.descriptors + own).then_some(())
        });

        let add = ["ns", "add", "demo", "--wait"];
        let _said = ALICE.ctl(&sandbox, &system, &alices, &add).ok();
        assert!(pod("web", 80).starts_with("web-"));
        let mut curl = Command::new("curl");
        curl.uid(ALICE.id)
            .gid(ALICE.id)
            .args(["-sS", "--max-time", "60", "--unix-socket"])
            .arg(sandbox.path("rest.sock"))
            .arg("http://localhost/api/v1/services");
        let listed = program::run(&mut curl).ok();
        assert!(listed.contains("web.demo.sim"), "{listed}");

        drop(taken);
        eventually("the descriptors are free again", || {
            let now = held(system.daemon_pid()).unwrap().descriptors;
            (now < before.descriptors + 64).then_some(())
        });
        assert!(system.ctl(&["status"]).out.contains("kubefwdd"));
        memory_is_bounded(&system, before.resident);
    });
}

#[test]
fn who_sends_without_an_end_is_not_listened_to() {
    run(async |sandbox| {
        let (_cluster, system) = forwarding(&sandbox, Options::default()).await;
        let before = held(system.daemon_pid()).unwrap().resident;
        let rest = sandbox.path("rest.sock");
        let part = vec![b'x'; MIB];
        let head = "HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let heads: [(&Path, String); 5] = [
            // A gibibyte that is announced, one that is not, and one in the head itself.
            (
                &rest,
                format!("POST /api/v1/namespaces {head}Content-Length: 1073741824\r\n\r\n"),
            ),
            (
                &rest,
                format!(
                    "POST /api/v1/namespaces {head}Transfer-Encoding: chunked\r\n\r\n40000000\r\n"
                ),
            ),
            (&rest, format!("POST /api/v1/namespaces {head}X-Endless: ")),
            (&rest, "GET /".to_owned()),
            // The largest frame that HTTP/2 has.
            (
                &system.socket(),
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{7f}\u{7f}\u{7f}\0\0\0\0\0\u{1}".to_owned(),
            ),
        ];
        for (path, head) in heads {
            let mut stream = open(path, head.as_bytes());
            let all = (0..1_024).all(|_| stream.write_all(&part).is_ok());
            assert!(!all, "a gibibyte was read: {head:?}");
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            let is_refusal = !answer.starts_with("HTTP/1.1") || answer.starts_with("HTTP/1.1 4");
            assert!(is_refusal, "{head:?}: {answer}");
        }
        assert!(pod("web", 80).starts_with("web-"));
        let _listed = system.ctl(&["svc", "ls"]).ok();
        memory_is_bounded(&system, before);
    });
}

#[test]
fn who_never_reads_what_was_asked_for_holds_up_nobody() {
    run(async |sandbox| {
        let (_cluster, system) = forwarding(&sandbox, Options::default()).await;
        let before = held(system.daemon_pid()).unwrap().resident;
        let asks = [
            "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
            "GET /api/v1/services HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ];
        let mut deaf = Vec::new();
        for number in 0..240 {
            let stream = UnixStream::connect(sandbox.path("rest.sock")).unwrap();
            stream.set_nonblocking(true).unwrap();
            // As many questions as the connection takes.
            let ask = asks[number % asks.len()].repeat(64);
            let _full = (&stream).write(ask.as_bytes());
            deaf.push(stream);
        }
        // Something happens, that those who follow events would have to be told.
        for _ in 0..3 {
            let _said = system.ctl(&["ns", "rm", "demo"]).ok();
            let _said = system.ctl(&["ns", "add", "demo", "--wait"]).ok();
        }
        assert!(pod("web", 80).starts_with("web-"));
        let reply = Request::new("GET", "/api/v1/services").send(&system.rest_socket());
        assert_eq!(reply.status, 200);
        memory_is_bounded(&system, before);
        for stream in &deaf {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    });
}
