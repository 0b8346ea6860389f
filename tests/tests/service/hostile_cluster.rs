//! Clusters that serve anything: what is wrong is said of the namespace that is served it, the worker's memory stays
//! bounded, and another cluster of the same user goes on working.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{Options, Sandbox, System, eventually};
use kubefwd_tests::stress::block::Hosts;
use kubefwd_tests::stress::kernel::peak;
use serde_json::{Value, json};

use crate::support::forwarding;

/// The most memory that daemon and worker may ever need here: one of the largest answers, as bytes and as what it says.
const BOUND: u64 = 500 * 1024 * 1024;
/// Services that this daemon forwards for one user.
const SERVICES: usize = 300;
const MIB: usize = 1024 * 1024;

/// What a cluster answers to whoever lists or watches services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rubbish {
    /// Every page names a next one, which is the same.
    SamePage,
    /// Every page names a next one, and brings more.
    Pages,
    /// Every page names a next one, and brings nothing.
    EmptyPages,
    /// A body without an end.
    EndlessBody,
    /// JSON in JSON in JSON.
    Nested,
    /// A list of something else.
    WrongKind,
    /// Names that are none.
    Names,
    /// As many services as a cluster could have, in one answer.
    ManyServices,
    /// A service of many megabytes.
    HugeObject,
    /// A good list, then a line of a watch that does not end.
    EndlessLine,
    /// A good list, then as many changes as the connection takes.
    Storm,
    /// An answer that comes a byte at a time.
    Drip,
}

/// Serves it over HTTP without TLS for as long as the test runs; returns a kubeconfig whose context is `evil`.
fn serve(rubbish: Rubbish) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // A client that has had enough closes.
                let _closed = answer(rubbish, stream);
            });
        }
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "evil",
        "contexts": [{"name": "evil", "context": {"cluster": "evil", "user": "evil"}}],
        "clusters": [{"name": "evil", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "evil", "user": {"token": "t"}}],
    })
    .to_string()
}

fn answer(rubbish: Rubbish, mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut pages = 0;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut line = request.clone();
        while !line.trim().is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
        }
        let (out, is_watch) = (&mut stream, request.contains("watch="));
        if !request.contains("/services") {
            send(out, &list("EndpointSliceList", "", ""))?;
            continue;
        }
        let good = list("ServiceList", &service("storm", 80), "");
        match rubbish {
            Rubbish::SamePage => send(out, &list("ServiceList", &service("a", 80), "again"))?,
            Rubbish::Pages | Rubbish::EmptyPages => {
                pages += 1;
                let count = if rubbish == Rubbish::Pages { 20_000 } else { 0 };
                let token = format!("page-{pages}");
                send(out, &list("ServiceList", &many(pages, count), &token))?;
            }
            Rubbish::EndlessBody => endless(out, "{\"kind\":\"")?,
            Rubbish::Nested => send(out, &format!("{{\"items\":{}", "[".repeat(10_000)))?,
            Rubbish::WrongKind => send(out, "{\"kind\":\"PodList\",\"items\":\"none\"}")?,
            Rubbish::Names => {
                let names = [
                    "a\\n127.0.0.1 bank",
                    "..",
                    "\\u0000",
                    "localhost",
                    "",
                    "UPPER",
                ];
                let all: Vec<String> = names.iter().map(|name| service(name, 80)).collect();
                send(out, &list("ServiceList", &all.join(","), ""))?;
            }
            Rubbish::ManyServices if !is_watch => {
                send(out, &list("ServiceList", &many(0, 100_000), ""))?;
            }
            Rubbish::HugeObject if !is_watch => {
                let note = format!(
                    "\"annotations\":{{\"note\":\"{}\"}},\"name\"",
                    "x".repeat(64 * MIB)
                );
                let huge = service("huge", 80).replace("\"name\"", &note);
                send(out, &list("ServiceList", &huge, ""))?;
            }
            Rubbish::EndlessLine if is_watch => endless(out, "{\"type\":\"")?,
            Rubbish::Storm if is_watch => storm(out)?,
            Rubbish::Drip => drip(out)?,
            // A watch in which nothing happens.
            Rubbish::ManyServices | Rubbish::HugeObject if is_watch => begin(out)?,
            _ => send(out, &good)?,
        }
    }
}

fn service(name: &str, port: u16) -> String {
    format!(
        "{{\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"demo\",\"resourceVersion\":\"1\"}},\
         \"spec\":{{\"selector\":{{\"app\":\"web\"}},\"ports\":[{{\"port\":{port}}}]}}}}"
    )
}

fn many(page: usize, count: usize) -> String {
    let all: Vec<String> = (0..count)
        .map(|n| service(&format!("s{page}-{n}"), 80))
        .collect();
    all.join(",")
}

fn list(kind: &str, items: &str, token: &str) -> String {
    format!(
        "{{\"kind\":\"{kind}\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"1\",\
         \"continue\":\"{token}\"}},\"items\":[{items}]}}"
    )
}

fn send(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    // In one piece: the kernel waits before it sends a second.
    stream.write_all(format!("{head} {length}\r\n\r\n{body}").as_bytes())
}

/// The head of an answer that goes on.
fn begin(stream: &mut TcpStream) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
}

fn chunk(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let length = text.len();
    stream.write_all(format!("{length:x}\r\n{text}\r\n").as_bytes())
}

fn endless(stream: &mut TcpStream, first: &str) -> io::Result<()> {
    begin(stream)?;
    chunk(stream, first)?;
    let part = "x".repeat(MIB);
    // More than the worker may need, and then an end, so that no machine runs out of memory by a test.
    for _ in 0..1_024 {
        chunk(stream, &part)?;
    }
    Ok(())
}

/// A service whose port changes all the time.
fn storm(stream: &mut TcpStream) -> io::Result<()> {
    begin(stream)?;
    for port in (1_000..2_000).cycle() {
        let event = format!(
            "{{\"type\":\"MODIFIED\",\"object\":{}}}\n",
            service("storm", port)
        );
        chunk(stream, &event)?;
    }
    Ok(())
}

fn drip(stream: &mut TcpStream) -> io::Result<()> {
    begin(stream)?;
    loop {
        chunk(stream, " ")?;
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A daemon that forwards `demo` of a good cluster, and `demo` of a bad one.
async fn beside(sandbox: &Sandbox, rubbish: Rubbish) -> (kubefwd_tests::Cluster, System) {
    let options = Options {
        config: format!("[limits]\nservices_per_user = {SERVICES}\n"),
        ..Options::default()
    };
    let (cluster, system) = forwarding(sandbox, options).await;
    let evil = sandbox.path("evil");
    fs::write(&evil, serve(rubbish)).unwrap();
    let _accepted = system
        .ctl_with(&evil, &["ns", "add", "demo", "--defer"])
        .ok();
    (cluster, system)
}

/// The bad namespace, as it is listed.
fn evil(system: &System) -> Option<Value> {
    let all = system.try_json(&["ns", "ls"])?;
    let all = all["namespaces"].as_array()?;
    all.iter().find(|n| n["context"] == "evil").cloned()
}

/// Waits until the bad namespace says this.
fn says(system: &System, text: &str) {
    eventually(&format!("the bad namespace says {text:?}"), || {
        evil(system)?.to_string().contains(text).then_some(())
    });
}

/// The good cluster is served, nothing has ended or grown without bounds, and the hosts file has no name that is none.
fn nothing_is_spoilt(system: &System) {
    assert!(pod("web", 80).starts_with("web-"));
    let web = system.service("web.demo.sim").unwrap();
    assert_eq!(web["status"], "active");
    // Its exit code says that something is not well.
    let status = system.try_json(&["status"]).unwrap();
    let workers = status["workers"].as_array().unwrap();
    assert_eq!((workers.len(), &workers[0]["restarts"]), (1, &json!(0)));
    let hosts = Hosts::parse(&system.hosts()).unwrap();
    for name in ["bank", "localhost", "..", "UPPER", ""] {
        assert!(!hosts.names.contains_key(name), "{name}: {hosts:?}");
    }
    for process in [system.daemon_pid(), system.workers()[0]] {
        let peak = peak(process).unwrap();
        assert!(peak < BOUND, "a process needed {peak} bytes");
    }
}

async fn is_refused(sandbox: Sandbox, rubbish: Rubbish, text: &str) {
    let (_cluster, system) = beside(&sandbox, rubbish).await;
    says(&system, text);
    nothing_is_spoilt(&system);
}

#[test]
fn a_page_that_is_its_own_successor_is_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::SamePage, "list is endless").await);
}

#[test]
fn pages_without_an_end_are_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::Pages, "list is endless").await);
}

#[test]
fn empty_pages_without_an_end_are_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::EmptyPages, "list is endless").await);
}

#[test]
fn a_list_without_an_end_is_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::EndlessBody, "a response of more than").await);
}

#[test]
fn a_line_of_a_watch_without_an_end_is_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::EndlessLine, "a line of more than").await);
}

#[test]
fn json_nested_without_an_end_is_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::Nested, "an invalid response").await);
}

#[test]
fn a_list_of_something_else_is_refused() {
    run(async |sandbox| is_refused(sandbox, Rubbish::WrongKind, "invalid type").await);
}

#[test]
fn names_that_are_none_reach_no_hosts_file() {
    run(async |sandbox| {
        let (_cluster, system) = beside(&sandbox, Rubbish::Names).await;
        system.logged("further warnings are not logged");
        nothing_is_spoilt(&system);
    });
}

#[test]
fn of_a_hundred_thousand_services_as_many_are_forwarded_as_may_be() {
    run(async |sandbox| {
        let (_cluster, system) = beside(&sandbox, Rubbish::ManyServices).await;
        says(&system, "more than 300 services");
        eventually("the user has as many as may be", || {
            let all = system.json(&["svc", "ls"]);
            (all["services"].as_array()?.len() == SERVICES).then_some(())
        });
        nothing_is_spoilt(&system);
    });
}

#[test]
fn a_service_of_many_megabytes_is_a_service() {
    run(async |sandbox| {
        let (_cluster, system) = beside(&sandbox, Rubbish::HugeObject).await;
        eventually("the service is listed", || system.service("huge.demo.evil"));
        nothing_is_spoilt(&system);
    });
}

#[test]
fn a_storm_of_changes_holds_up_nobody() {
    run(async |sandbox| {
        let (_cluster, system) = beside(&sandbox, Rubbish::Storm).await;
        let port = || {
            system.service("storm.demo.evil")?["forwards"][0]["localPort"]
                .as_str()
                .map(str::to_owned)
        };
        let first = eventually("the service is listed", port);
        for _ in 0..5 {
            nothing_is_spoilt(&system);
            eventually("it goes on changing", || port().filter(|now| *now != first));
        }
    });
}

#[test]
fn an_answer_that_drips_holds_up_nobody() {
    run(async |sandbox| {
        let (_cluster, system) = beside(&sandbox, Rubbish::Drip).await;
        eventually("it is asked", || {
            (evil(&system)?["status"] == "connecting").then_some(())
        });
        nothing_is_spoilt(&system);
        let _said = system.ctl(&["ns", "rm", "demo.evil"]).ok();
        assert!(evil(&system).is_none());
        nothing_is_spoilt(&system);
    });
}
