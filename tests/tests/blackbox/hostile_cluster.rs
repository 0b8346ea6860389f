//! Clusters that serve anything: the worker's memory stays bounded, its other namespaces go on, and the one that is served
//! rubbish says so.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use kubefwd_tests::harness::net::pod;
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{System, eventually};
use kubefwd_tests::stress::kernel::peak;

use crate::support::{add, demo};

/// The most memory that a worker may ever need here.
const BOUND: u64 = 400 * 1024 * 1024;

/// What a cluster answers to whoever lists or watches services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rubbish {
    /// Every page names a next one, which is the same.
    EndlessPages,
    /// A body without an end.
    EndlessBody,
    /// JSON in JSON in JSON.
    Nested,
    /// A list of something else.
    WrongKind,
    /// Names that are none, and resource versions that are none.
    Names,
    /// A good list, then a line of a watch that does not end.
    EndlessLine,
}

/// Serves it over HTTP/1.1 without TLS for as long as the test runs; returns a kubeconfig's context `evil`.
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
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: evil\n\
         contexts: [{{name: evil, context: {{cluster: evil, user: evil}}}}]\n\
         clusters: [{{name: evil, cluster: {{server: 'http://{address}'}}}}]\n\
         users: [{{name: evil, user: {{token: t}}}}]\n"
    )
}

fn answer(rubbish: Rubbish, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
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
        let is_watch = request.contains("watch=");
        if !request.contains("/services") {
            json(&mut stream, &list("EndpointSliceList", "", "1", ""))?;
            continue;
        }
        let service = |name: &str| {
            format!(
                "{{\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"demo\",\"resourceVersion\":\"1\"}},\
                 \"spec\":{{\"selector\":{{\"app\":\"web\"}},\"ports\":[{{\"port\":80}}]}}}}"
            )
        };
        match rubbish {
            Rubbish::EndlessPages => {
                json(
                    &mut stream,
                    &list("ServiceList", &service("a"), "1", "again"),
                )?;
            }
            Rubbish::EndlessBody => endless(&mut stream, "{\"kind\":\"")?,
            Rubbish::Nested => {
                let text = format!("{{\"items\":{}", "[".repeat(10_000));
                json(&mut stream, &text)?;
            }
            Rubbish::WrongKind => json(&mut stream, "{\"kind\":\"PodList\",\"items\":\"none\"}")?,
            Rubbish::Names => {
                let all = ["a\\n127.0.0.1 bank", "..", "\\u0000", "localhost", ""];
                let all: Vec<_> = all.iter().map(|name| service(name)).collect();
                json(
                    &mut stream,
                    &list("ServiceList", &all.join(","), "\\n-1", ""),
                )?;
            }
            Rubbish::EndlessLine if is_watch => endless(&mut stream, "{\"type\":\"")?,
            Rubbish::EndlessLine => json(&mut stream, &list("ServiceList", "", "1", ""))?,
        }
    }
}

fn list(kind: &str, items: &str, version: &str, token: &str) -> String {
    format!(
        "{{\"kind\":\"{kind}\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"{version}\",\
         \"continue\":\"{token}\"}},\"items\":[{items}]}}"
    )
}

fn json(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn endless(stream: &mut TcpStream, begin: &str) -> io::Result<()> {
    const PART: usize = 1024 * 1024;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{begin}\r\n",
        begin.len()
    )?;
    let part = "x".repeat(PART);
    // More than the worker may need, and then an end, so that no machine runs out of memory by a test.
    for _ in 0..1_024 {
        write!(stream, "{PART:x}\r\n{part}\r\n")?;
    }
    Ok(())
}

/// Forwards `demo` of a good cluster, then `demo` of a bad one, and waits until that says this.
async fn beside(sandbox: &kubefwd_tests::harness::Sandbox, rubbish: Rubbish, said: &[&str]) {
    let (_cluster, system) = demo(sandbox).await;
    add(&system);
    let evil = sandbox.path("evil");
    std::fs::write(&evil, serve(rubbish)).unwrap();
    let _refused = system.ctl_with(&evil, &["ns", "add", "demo", "--defer"]);
    let state = eventually("the bad namespace says what is wrong", || {
        let namespace = evil_namespace(&system)?;
        let text = namespace.to_string();
        said.iter().any(|said| text.contains(said)).then_some(text)
    });
    assert!(
        pod("web", 80).starts_with("web-"),
        "the other goes on: {state}"
    );
    let worker = system.workers()[0];
    let peak = peak(worker).unwrap();
    assert!(peak < BOUND, "the worker needed {peak} bytes: {state}");
    let status = system.ctl(&["status"]).out;
    assert!(!status.contains("restart"), "the worker lives: {status}");
    assert!(!system.hosts_have("bank"));
}

fn evil_namespace(system: &System) -> Option<serde_json::Value> {
    let all = system.try_json(&["ns", "ls"])?;
    let all = all["namespaces"].as_array()?;
    all.iter().find(|n| n["context"] == "evil").cloned()
}

#[test]
fn pages_without_an_end() {
    run(async |sandbox| {
        beside(
            &sandbox,
            Rubbish::EndlessPages,
            &["pages", "large", "continue"],
        )
        .await
    });
}

#[test]
fn a_list_without_an_end() {
    run(async |sandbox| beside(&sandbox, Rubbish::EndlessBody, &["large", "bytes", "limit"]).await);
}

#[test]
fn json_nested_without_an_end() {
    run(async |sandbox| {
        beside(
            &sandbox,
            Rubbish::Nested,
            &["recursion", "JSON", "understood"],
        )
        .await
    });
}

#[test]
fn a_list_of_something_else() {
    run(async |sandbox| {
        beside(
            &sandbox,
            Rubbish::WrongKind,
            &["invalid", "JSON", "understood"],
        )
        .await
    });
}

#[test]
fn names_that_are_none() {
    run(async |sandbox| {
        beside(
            &sandbox,
            Rubbish::Names,
            &["watching", "connecting", "failed"],
        )
        .await
    });
}

#[test]
fn a_line_of_a_watch_without_an_end() {
    run(async |sandbox| beside(&sandbox, Rubbish::EndlessLine, &["large", "bytes", "limit"]).await);
}
