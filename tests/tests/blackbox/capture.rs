//! HTTP requests inside forwarded connections, as REST shows them: what was asked is what is shown.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kubefwd_tests::harness::http::{Place, Request};
use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::system::signal;
use kubefwd_tests::harness::{System, eventually};
use kubefwd_tests::{Behaviour, Namespace, Service, ServicePort, Workload};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{add, config, configured, content};

/// The configuration under which every service is captured.
const ON: &str = "[http]\ncapture = true\n";

/// [`content`], and a service `calls` with a port for gRPC.
fn with_calls() -> Namespace {
    content("demo")
        .workload(Workload::deployment("calls").listen("grpc", 50051, Behaviour::H2c))
        .service(Service::new("calls").port(ServicePort::tcp(50051)))
}

fn asked(system: &System, path: &str) -> Value {
    let reply = Request::new("GET", path).send(&system.rest_socket());
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()["data"].take()
}

/// What REST shows of a service, once that many requests were recorded.
fn shown(system: &System, key: &str, requests: u64) -> Value {
    let path = format!("/api/v1/services/{key}/http?count=100");
    eventually(&format!("{key} has {requests} requests"), || {
        let shown = asked(system, &path);
        let total = shown["summary"]["totalRequests"].as_u64().unwrap();
        assert!(total <= requests, "{shown}");
        (total == requests).then_some(shown)
    })
}

/// Method, path, status, size and protocol of each request, in no order.
fn requests(logs: &Value) -> BTreeMap<String, usize> {
    let mut requests = BTreeMap::new();
    for log in logs.as_array().unwrap() {
        let words = ["method", "path", "statusCode", "size", "protocol"];
        let words = words.map(|word| log[word].to_string().replace('"', ""));
        *requests.entry(words.join(" ")).or_default() += 1;
    }
    requests
}

fn expected(lines: &[(&str, usize)]) -> BTreeMap<String, usize> {
    lines
        .iter()
        .map(|(line, count)| ((*line).to_owned(), *count))
        .collect()
}

#[test]
fn requests_that_were_asked_are_shown() {
    run(async |sandbox| {
        let (_cluster, system) = configured(&sandbox, with_calls(), config(ON)).await;
        add(&system);
        let web = Place::Tcp("web".to_owned(), 80);
        for _ in 0..5 {
            let get = Request::new("GET", "/bytes/1000?token=secret").bytes("web");
            let mut connection = connect("web", 80);
            connection.write_all(&get).unwrap();
            read_sized(&mut connection, 1000);
        }
        assert_eq!(Request::new("GET", "/status/404").send(&web).status, 404);
        let upload = Request::new("POST", "/upload").body(vec![b'x'; 200_000]);
        assert_eq!(upload.send(&web).body, "200000\n");
        assert_eq!(Request::new("HEAD", "/bytes/77").send(&web).status, 200);
        // Several on one connection, one after the other and then at once.
        let mut connection = connect("web", 80);
        let chunked = Request::new("GET", "/chunked/5000").bytes("web");
        for pipelined in [1, 3] {
            connection.write_all(&chunked.repeat(pipelined)).unwrap();
            read_chunked(&mut connection, pipelined);
        }
        drop(connection);
        let web_shown = shown(&system, "web.demo.sim", 12);
        let forwards = web_shown["forwards"].as_array().unwrap();
        let [forward] = &forwards[..] else {
            panic!("one port: {web_shown}");
        };
        let counts = expected(&[
            ("GET /bytes/1000 200 1000 HTTP/1.1", 5),
            ("GET /chunked/5000 200 5000 HTTP/1.1", 4),
            ("HEAD /bytes/77 200 0 HTTP/1.1", 1),
            ("POST /upload 200 7 HTTP/1.1", 1),
        ]);
        let mut found = requests(&forward["logs"]);
        found.retain(|line, _| !line.contains("/status/404"));
        assert_eq!(found, counts);
        assert_eq!(
            web_shown["summary"]["statusCodes"],
            json!({"2xx": 11, "4xx": 1})
        );
        assert_eq!(
            web_shown["summary"]["topPaths"][0],
            json!({"path": "/bytes/1000", "count": 5})
        );
        // The same by forward; and what went to one service is not shown of another.
        let key = forward["forwardKey"].as_str().unwrap();
        let by_forward = asked(&system, &format!("/api/v1/forwards/{key}/http?count=100"));
        assert_eq!(by_forward["logs"], forward["logs"]);
        assert_eq!(by_forward["summary"]["totalRequests"], 12);
        let multi = Request::new("GET", "/x").send(&Place::Tcp("multi".to_owned(), 9090));
        assert_eq!(multi.status, 200);
        let multi = shown(&system, "multi.demo.sim", 1);
        let logged = |forward: &Value| forward["logs"].as_array().unwrap().len();
        let by_port: BTreeMap<&str, usize> = multi["forwards"]
            .as_array()
            .unwrap()
            .iter()
            .map(|forward| (forward["localPort"].as_str().unwrap(), logged(forward)))
            .collect();
        assert_eq!(by_port, BTreeMap::from([("80", 0), ("9090", 1)]));
        calls_are_shown(&system).await;
        // What is no HTTP is forwarded as ever, and not recorded.
        echo(&mut connect("echo", 7000), b"GET key\r\n\r\n");
        assert_eq!(
            shown(&system, "echo.demo.sim", 0)["forwards"][0]["logs"],
            json!([])
        );
    });
}

/// Reads an answer with a body of that size, which need not be text.
fn read_sized(connection: &mut TcpStream, size: usize) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        read.extend(byte);
    }
    connection.read_exact(&mut vec![0; size]).unwrap();
}

/// Reads that many answers in chunks.
fn read_chunked(connection: &mut TcpStream, answers: usize) {
    const END: &[u8] = b"\r\n0\r\n\r\n";
    let mut read = Vec::new();
    while read.windows(END.len()).filter(|end| *end == END).count() < answers {
        let mut buffer = [0; 4096];
        let count = connection.read(&mut buffer).unwrap();
        assert!(count > 0, "the connection ended after {} bytes", read.len());
        read.extend_from_slice(&buffer[..count]);
    }
}

async fn calls_are_shown(system: &System) {
    let stream = connect("calls", 50051);
    // The server's settings, which come before the client has said anything.
    stream.peek(&mut [0; 9]).unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let calls = (0..10).map(|number| {
        let mut client = client.clone();
        async move {
            let request =
                hyper::Request::post(format!("http://calls/shop.Orders/Get{}", number % 2))
                    .header("content-type", "application/grpc")
                    .body(Full::new(Bytes::from_static(b"\0\0\0\0\0")))
                    .unwrap();
            let answer = client.send_request(request).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes().len()
        }
    });
    let sizes = futures_util::future::join_all(calls).await;
    drop(client);
    connection.await.unwrap().unwrap();
    let shown = shown(system, "calls.demo.sim", 10);
    let logs = &shown["forwards"][0]["logs"];
    let size = sizes[0];
    let (first, second) = (
        format!("POST /shop.Orders/Get0 200 {size} gRPC"),
        format!("POST /shop.Orders/Get1 200 {size} gRPC"),
    );
    assert_eq!(requests(logs), expected(&[(&first, 5), (&second, 5)]));
    let statuses = logs.as_array().unwrap().iter();
    assert!(
        statuses.into_iter().all(|log| log["grpcStatus"] == 0),
        "{logs}"
    );
}

#[test]
fn queries_are_kept_where_that_is_wanted() {
    run(async |sandbox| {
        let options = config(&format!("{ON}keep_queries = true\n"));
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        let web = Place::Tcp("web".to_owned(), 80);
        let _answer = Request::new("GET", "/a?b=c").send(&web);
        let shown = shown(&system, "web.demo.sim", 1);
        assert_eq!(shown["forwards"][0]["logs"][0]["path"], "/a?b=c");
    });
}

#[test]
fn nothing_is_recorded_unless_that_is_wanted() {
    run(async |sandbox| {
        let options = config("");
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        let web = Place::Tcp("web".to_owned(), 80);
        // Bytes are reported once a second, requests sooner: when the second count comes, the first request was told.
        let mut counted = 0;
        for _ in 0..2 {
            assert_eq!(Request::new("GET", "/a").send(&web).status, 200);
            counted = eventually("its bytes are counted", || {
                let service = asked(&system, "/api/v1/services/web.demo.sim");
                let bytes = service["totalBytesIn"].as_u64();
                bytes.filter(|bytes| *bytes > counted)
            });
        }
        assert_eq!(
            shown(&system, "web.demo.sim", 0)["summary"]["totalRequests"],
            0
        );
    });
}

/// Looks at a path of `web` on a connection of its own.
fn look(path: &str) {
    let web = Place::Tcp("web".to_owned(), 80);
    assert_eq!(Request::new("GET", path).send(&web).status, 200);
}

/// Orders reach a worker in turn: once it has answered a question, it has obeyed those before.
fn obeyed(system: &System) {
    let _contexts = asked(system, "/api/v1/kubernetes/contexts");
}

#[test]
fn one_service_is_switched_while_it_is_forwarded() {
    run(async |sandbox| {
        let (_cluster, mut system) = configured(&sandbox, content("demo"), config(ON)).await;
        add(&system);
        let said = system.ctl(&["svc", "capture", "off", "web.demo"]).ok();
        assert_eq!(said, "web.demo.sim: capture off\n");
        obeyed(&system);
        look("/while-off");
        let multi = Request::new("GET", "/x").send(&Place::Tcp("multi".to_owned(), 9090));
        assert_eq!(multi.status, 200);
        let path = "/api/v1/services/web.demo.sim/http";
        let on = Request::new("PUT", path).json(&json!({"capture": true}));
        let on = on.send(&system.rest_socket());
        assert_eq!(
            (on.status, &on.json()["data"]["capture"]),
            (200, &json!(true))
        );
        obeyed(&system);
        look("/while-on");
        let web = shown(&system, "web.demo.sim", 1);
        assert_eq!(web["forwards"][0]["logs"][0]["path"], "/while-on");
        assert_eq!(shown(&system, "multi.demo.sim", 1)["capture"], true);
        // It is kept over a restart, and forgotten with the service.
        let _said = system.ctl(&["svc", "capture", "off", "web.demo.sim"]).ok();
        system.restart_daemon();
        let _web = system.service_in("web.demo.sim", "active");
        assert_eq!(asked(&system, path)["capture"], false);
        let _said = system.ctl(&["svc", "rm", "web.demo.sim"]).ok();
        let _said = system.ctl(&["svc", "add", "demo/web", "--wait"]).ok();
        assert_eq!(asked(&system, path)["capture"], true);
        let _missing = system
            .ctl(&["svc", "capture", "on", "nothing.demo"])
            .fails(6);
    });
}

#[test]
fn one_service_is_captured_where_others_are_not() {
    run(async |sandbox| {
        let options = config("");
        let (_cluster, system) = configured(&sandbox, content("demo"), options).await;
        add(&system);
        let _said = system.ctl(&["svc", "capture", "on", "web.demo.sim"]).ok();
        obeyed(&system);
        let multi = Request::new("GET", "/x").send(&Place::Tcp("multi".to_owned(), 9090));
        assert_eq!(multi.status, 200);
        look("/a");
        let _web = shown(&system, "web.demo.sim", 1);
        let multi = shown(&system, "multi.demo.sim", 0);
        assert_eq!(multi["capture"], false);
    });
}

#[test]
fn what_a_worker_saw_last_is_shown_although_it_ends() {
    run(async |sandbox| {
        let (_cluster, system) = configured(&sandbox, content("demo"), config(ON)).await;
        add(&system);
        look("/last");
        let [worker] = system.workers()[..] else {
            panic!("there is one user");
        };
        signal(worker, Signal::SIGTERM);
        let web = shown(&system, "web.demo.sim", 1);
        assert_eq!(web["forwards"][0]["logs"][0]["path"], "/last");
        // Another worker goes on.
        look("/next");
        let _web = shown(&system, "web.demo.sim", 2);
    });
}
