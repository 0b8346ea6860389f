//! Every mistake is answered in the envelope, with what, why and what to do next.

use kubefwd_tests::harness::http::Request;
use kubefwd_tests::harness::sandbox::run;
use serde_json::json;

use crate::support::{World, refusal, tcp, text};

#[test]
fn unknown_routes_methods_and_bodies() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        for path in [
            "/api",
            "/api/",
            "/api/v1",
            "/api/v1/nothing",
            "/api/v2/services",
            "/nothing",
        ] {
            refusal(&world.call("GET", path, None), 404, "NOT_FOUND");
        }
        for (method, path, allowed) in [
            ("PUT", "/api/v1/services", "GET,HEAD,POST"),
            ("PATCH", "/api/v1/services/web.demo.sim", "DELETE,GET,HEAD"),
            ("POST", "/api/health", "GET,HEAD"),
            ("DELETE", "/api/v1/events", "GET,HEAD"),
            ("GET", "/api/v1/services/web.demo.sim/sync", "POST"),
            ("OPTIONS", "/api/v1/services", "GET,HEAD,POST"),
        ] {
            let reply = world.call(method, path, None);
            refusal(&reply, 405, "BAD_REQUEST");
            let mut found: Vec<&str> = reply
                .header("allow")
                .unwrap()
                .split(',')
                .map(str::trim)
                .collect();
            found.sort_unstable();
            assert_eq!(found.join(","), allowed, "{reply}");
        }
        let post = || Request::new("POST", "/api/v1/namespaces");
        let json = || post().header("Content-Type", "application/json");
        for body in [
            "",
            "{",
            "[]",
            "null",
            "\"demo\"",
            "{\"namespace\":\"demo\",}",
            "\u{feff}{}",
        ] {
            let error = refusal(&json().body(body).send(&tcp()), 400, "BAD_REQUEST");
            assert!(text(&error["message"]).contains("JSON"), "{error}");
        }
        let latin = [b"{\"namespace\":\"".as_slice(), &[0xe9], b"\"}"].concat();
        refusal(&json().body(latin).send(&tcp()), 400, "BAD_REQUEST");
        // A body that a form of any page can send.
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            let reply = post()
                .header("Content-Type", kind)
                .body("{\"namespace\":\"demo\"}")
                .send(&tcp());
            let error = refusal(&reply, 415, "BAD_REQUEST");
            assert!(text(&error["hint"]).contains("application/json"), "{error}");
        }
        refusal(
            &post().body("{\"namespace\":\"demo\"}").send(&tcp()),
            415,
            "BAD_REQUEST",
        );
        let charset = post().header("Content-Type", "application/json; charset=utf-8");
        refusal(&charset.body("{}").send(&tcp()), 400, "BAD_REQUEST");
        assert_eq!(world.get("/api/v1/namespaces"), json!({"namespaces": []}));
    });
}

#[test]
fn bodies_have_a_limit_however_they_come() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let post = || {
            Request::new("POST", "/api/v1/namespaces").header("Content-Type", "application/json")
        };
        let name = "x".repeat(64 * 1024);
        let body = json!({"namespace": name}).to_string();
        let error = refusal(&post().body(body.clone()).send(&tcp()), 413, "BAD_REQUEST");
        assert!(text(&error["message"]).contains("64 KiB"), "{error}");
        // Announced and never sent: nothing is waited for.
        let announced = post().header("Content-Length", "99999999").send(&tcp());
        refusal(&announced, 413, "BAD_REQUEST");
        // In chunks, so that its size is not known before.
        let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let reply = post()
            .header("Transfer-Encoding", "chunked")
            .body(chunked)
            .send(&tcp());
        refusal(&reply, 413, "BAD_REQUEST");
        assert_eq!(world.get("/api/v1/namespaces"), json!({"namespaces": []}));
    });
}

#[test]
fn values_that_cannot_be_meant_are_never_replaced_by_defaults() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        for path in [
            "/api/v1/history/events?count=0",
            "/api/v1/history/events?type=odd",
            "/api/v1/history/errors?count=abc",
            "/api/v1/logs?level=loud",
            "/api/v1/logs?count=-5",
            "/api/v1/logs/system?count=99999999",
            "/api/v1/events?type=odd",
            "/api/v1/metrics/services/web.demo.sim/history?duration=long",
            "/api/v1/metrics/services/web.demo.sim/history?duration=1h&interval=0s",
            "/api/v1/metrics/services/web.demo.sim/history?points=0",
            "/api/v1/services/web.demo.sim/http?count=1.5",
            "/api/v1/forwards/web.demo.sim/http?count=",
            "/api/v1/kubernetes/services",
            "/api/v1/kubernetes/services?namespace=No_Name",
            "/api/v1/kubernetes/pods/demo?labelSelector=%3D%3D",
            "/api/v1/kubernetes/pods/demo/web/logs?tailLines=some",
            "/api/v1/kubernetes/pods/demo/web/logs?sinceTime=yesterday",
            "/api/v1/kubernetes/pods/demo/web/logs?follow=maybe",
            "/api/v1/services/%ff",
            "/api/v1/services?namespace=%ff",
        ] {
            let error = refusal(&world.call("GET", path, None), 400, "BAD_REQUEST");
            assert!(text(&error["message"]).len() > 10, "{path}: {error}");
        }
    });
}

#[test]
fn heads_that_are_no_http_end_the_connection() {
    use std::io::{Read as _, Write as _};
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let huge = format!(
            "GET / HTTP/1.1\r\nHost: kubefwd.internal\r\nX: {}\r\n\r\n",
            "x".repeat(70_000)
        );
        for head in ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", huge.as_str()] {
            let mut stream = tcp().connect().unwrap();
            // The server may have closed before all of it is written.
            let _broken = stream.write_all(head.as_bytes());
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{answer}"
            );
        }
        assert_eq!(world.get("/api/health")["status"], "healthy");
    });
}
