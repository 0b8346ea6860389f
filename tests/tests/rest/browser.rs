//! A real browser, which runs as the right user: its pages of other sites change nothing and read nothing, and the
//! documentation works in it without any other host.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use kubefwd_tests::harness::sandbox::{Sandbox, run};
use kubefwd_tests::harness::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::devtools::Page;
use crate::support::{World, each, list, number, skip, text};

/// A page that tries what a page can, and tells its own server what came of it.
const HOSTILE: &str = r#"<!doctype html><title>hostile</title><body><script>
const api = "http://kubefwd.internal";
const told = {};
const attempt = async (name, what) => {
  try { told[name] = await what(); } catch (error) { told[name] = "failed"; }
};
const loads = (tag, url) => new Promise((resolve) => {
  const element = document.createElement(tag);
  element.onload = () => resolve("loaded");
  element.onerror = () => resolve("failed");
  element.src = url;
  document.body.append(element);
});
const body = JSON.stringify({ namespace: "other" });
const post = (mode, type) => fetch(api + "/api/v1/namespaces",
  { method: "POST", mode, body, headers: { "Content-Type": type } }).then((answer) => answer.type);
const form = (type) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.name = "f" + type.length;
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { action: api + "/api/v1/namespaces", method: "POST", enctype: type, target: frame.name });
  const field = document.createElement("input");
  Object.assign(field, { name: '{"namespace":"other","x":"', value: '"}' });
  form.append(field);
  document.body.append(form);
  frame.onload = () => { try { resolve("read " + frame.contentDocument.body.innerText); } catch { resolve("failed"); } };
  form.submit();
});
(async () => {
  await attempt("fetch", () => fetch(api + "/api/v1/services").then((answer) => answer.text()));
  await attempt("health", () => fetch(api + "/api/health").then((answer) => answer.text()));
  await attempt("opaque", () => fetch(api + "/api/v1/services", { mode: "no-cors" }).then((answer) => answer.type + answer.status));
  await attempt("json", () => post("cors", "application/json"));
  await attempt("plain", () => post("no-cors", "text/plain"));
  await attempt("delete", () => fetch(api + "/api/v1/namespaces/demo.sim", { method: "DELETE" }).then((answer) => answer.text()));
  await attempt("image", () => loads("img", api + "/docs/icon.svg"));
  await attempt("script", () => loads("script", api + "/docs/docs.js"));
  await attempt("form", () => form("text/plain"));
  await attempt("urlencoded", () => form("application/x-www-form-urlencoded"));
  await attempt("events", () => new Promise((resolve) => {
    const source = new EventSource(api + "/api/v1/events");
    source.onopen = () => resolve("open");
    source.onerror = () => { source.close(); resolve("failed"); };
  }));
  await fetch("/told", { method: "POST", body: JSON.stringify(told) });
})();
</script></body>"#;

/// The browser, where there is one.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|place| place.join("chromium"));
    places.find(|place| place.is_file())
}

/// Names that other programs never resolve lead to the page's server and, as after a rebinding, to the daemon.
fn command(program: &Path, sandbox: &Sandbox, own: u16) -> Command {
    let rules = format!("MAP evil.example 127.0.0.1:{own}, MAP rebound.example 127.2.27.1:80");
    let mut command = Command::new(program);
    command
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--host-resolver-rules={rules}"))
        .arg(format!(
            "--user-data-dir={}",
            sandbox.path("browser").display()
        ));
    command
}

fn start(program: &Path, sandbox: &Sandbox, own: u16, arguments: &[&str]) -> Child {
    let mut command = command(program, sandbox, own);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Serves the hostile page, and passes on what it tells.
fn serve(listener: TcpListener) -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut first = String::new();
            let (mut line, mut length) = (String::new(), 0);
            if stream.read_line(&mut first).is_err() {
                continue;
            }
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_err() {
                continue;
            }
            let page = if first.starts_with("GET / ") {
                HOSTILE
            } else {
                ""
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            let _gone = stream.get_mut().write_all((head + page).as_bytes());
            if first.starts_with("POST /told") {
                let told = serde_json::from_slice(&body).unwrap_or_default();
                let _over = sender.send(told);
            }
        }
    });
    receiver
}

/// What a page looks like once its scripts have run.
fn dom(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pages_of_other_sites_change_nothing_and_read_nothing() {
    run(async |sandbox| {
        let Some(program) = chromium() else {
            return skip("browser", "there is no chromium (Debian package chromium)");
        };
        let world = World::start(&sandbox).await;
        world.add();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let told = serve(listener);
        let mut browser = start(&program, &sandbox, own, &["http://evil.example/"]);
        let told = told.recv_timeout(PATIENCE);
        browser.kill().unwrap();
        browser.wait().unwrap();
        let told = told.expect("the page tells what came of its attempts");
        for name in [
            "fetch",
            "health",
            "json",
            "delete",
            "image",
            "script",
            "form",
            "urlencoded",
            "events",
        ] {
            assert_eq!(told[name], "failed", "{told}");
        }
        // Sent, and what came back is hidden from the page.
        assert!(
            ["opaque0", "failed"].contains(&text(&told["opaque"])),
            "{told}"
        );
        assert!(
            ["opaque", "failed"].contains(&text(&told["plain"])),
            "{told}"
        );
        let namespaces = world.get("/api/v1/namespaces");
        assert_eq!(each(&namespaces["namespaces"], "key"), ["demo.sim"]);

        // A name of theirs that leads to us: the page would be of that site, and gets nothing.
        let page = dom(start(
            &program,
            &sandbox,
            own,
            &["--dump-dom", "http://rebound.example/api/v1/services"],
        ));
        assert!(
            page.contains("FORBIDDEN") && !page.contains("web.demo.sim"),
            "{page}"
        );
        let page = dom(start(
            &program,
            &sandbox,
            own,
            &["--dump-dom", "http://rebound.example/docs"],
        ));
        assert!(page.contains("FORBIDDEN"), "{page}");
    });
}

#[test]
fn the_documentation_needs_no_other_host() {
    run(async |sandbox| {
        let Some(program) = chromium() else {
            return skip("browser", "there is no chromium (Debian package chromium)");
        };
        let world = World::start(&sandbox).await;
        world.add();
        let log = sandbox.path("net.json");
        let arguments = [
            "--dump-dom",
            "--virtual-time-budget=20000",
            &format!("--log-net-log={}", log.display()),
            "http://kubefwd.internal/docs",
        ];
        let page = dom(start(&program, &sandbox, 9, &arguments));
        let paths = world.call("GET", "/openapi.json", None).json();
        for path in paths["paths"].as_object().unwrap().keys() {
            assert!(
                page.contains(&format!(">{path}<")),
                "{path} is not on the page"
            );
        }
        let requests = requests(&log);
        let of_page: BTreeSet<&str> = requests.iter().map(|(url, _)| url.as_str()).collect();
        let ours = "http://kubefwd.internal/";
        assert!(
            of_page.iter().all(|url| url.starts_with(ours)),
            "{of_page:?}"
        );
        for path in ["docs", "docs/docs.js", "docs/docs.css", "openapi.json"] {
            assert!(
                of_page.contains(format!("{ours}{path}").as_str()),
                "{path}: {of_page:?}"
            );
        }
        for (url, status) in &requests {
            assert!(matches!(status, Some(200 | 304)), "{url}: {status:?}");
        }
    });
}

/// What a person does with the documentation: opens everything, looks for something, and sends requests from it.
const TRIED: &str = r#"(async () => {
  const until = async (what) => {
    for (;;) {
      const found = what();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const all = () => [...document.querySelectorAll("main > details")];
  await until(() => all().length > 0);
  for (const operation of all()) operation.open = true;
  await until(() => all().every((operation) => operation.querySelector(".body")));
  const told = { opened: all().length };
  const operation = (method, path) => all().find((one) =>
    one.querySelector(".method").textContent === method && one.querySelector(".path").textContent === path);
  const button = (one, name) => [...one.querySelectorAll("button")].find((button) => button.textContent === name);
  const output = (one) => [...one.querySelectorAll(".body > pre")][1].textContent;
  const fill = (one, name, value) => {
    const input = one.querySelector(`input[aria-label="${name}"]`);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  };
  const list = operation("GET", "/api/v1/services");
  fill(list, "search", "web");
  told.curl = list.querySelector(".body > pre").textContent;
  button(list, "Send").click();
  told.list = await until(() => output(list).includes("summary") && output(list));
  const reconnect = operation("POST", "/api/v1/services/{key}/reconnect");
  fill(reconnect, "key", "web.demo.sim");
  button(reconnect, "Send").click();
  told.reconnect = await until(() => output(reconnect).includes("meta") && output(reconnect));
  const add = operation("POST", "/api/v1/namespaces");
  add.querySelector("textarea").value = '{"namespace": "no such one"}';
  button(add, "Send").click();
  told.add = await until(() => output(add).includes("meta") && output(add));
  const events = operation("GET", "/api/v1/events");
  button(events, "Send").click();
  await until(() => output(events).includes(": connected"));
  told.following = !button(events, "Stop").hidden;
  button(events, "Stop").click();
  told.stopped = await until(() => button(events, "Stop").hidden && !button(events, "Send").disabled);
  const find = document.getElementById("find");
  find.value = "reconnect";
  find.dispatchEvent(new Event("input"));
  told.found = all().filter((one) => !one.hidden).map((one) => one.querySelector(".path").textContent);
  return told;
})()"#;

#[test]
fn the_documentation_sends_requests_and_shows_their_answers() {
    run(async |sandbox| {
        let Some(program) = chromium() else {
            return skip("browser", "there is no chromium (Debian package chromium)");
        };
        let world = World::start(&sandbox).await;
        world.add();
        let browser = command(&program, &sandbox, 9);
        let mut page = Page::open(&browser, &sandbox, "http://kubefwd.internal/docs");
        let told = page.value(TRIED);
        let paths = world.call("GET", "/openapi.json", None).json();
        let methods = paths["paths"].as_object().unwrap().values();
        let operations = methods.map(|methods| methods.as_object().unwrap().len());
        assert_eq!(number(&told["opened"]), operations.sum::<usize>() as u64);
        assert_eq!(
            told["curl"],
            "curl 'http://kubefwd.internal/api/v1/services?search=web'"
        );
        let shows = |name: &str, words: &[&str]| {
            let shown = text(&told[name]);
            assert!(
                words.iter().all(|word| shown.contains(word)),
                "{words:?}: {shown}"
            );
        };
        shows("list", &["200", "\"web.demo.sim\""]);
        assert!(!text(&told["list"]).contains("echo.demo.sim"), "{told}");
        shows("reconnect", &["200", "\"triggered\": 1"]);
        shows("add", &["400", "BAD_REQUEST"]);
        assert_eq!(
            (&told["following"], &told["stopped"]),
            (&json!(true), &json!(true))
        );
        let found = list(&told["found"]);
        assert!(
            !found.is_empty() && found.iter().all(|path| text(path).contains("reconnect")),
            "{found:?}"
        );
        assert_eq!(
            list(&world.get("/api/v1/services/web.demo.sim/history/reconnections")).len(),
            1
        );
    });
}

/// The requests that a page made, from the browser's own log of its network, with the status of each answer.
fn requests(log: &Path) -> Vec<(String, Option<u64>)> {
    let log = eventually("the browser has written its log", || {
        serde_json::from_slice::<Value>(&std::fs::read(log).ok()?).ok()
    });
    let kind = |name: &str| log["constants"]["logEventTypes"][name].clone();
    let (start, headers) = (
        kind("URL_REQUEST_START_JOB"),
        kind("HTTP_TRANSACTION_READ_RESPONSE_HEADERS"),
    );
    let mut found: Vec<(Value, String, Option<u64>)> = Vec::new();
    for event in list(&log["events"]) {
        let (params, source) = (&event["params"], &event["source"]["id"]);
        if event["type"] == start
            && let Some(url) = params["url"].as_str()
            && url.starts_with("http")
            // What the browser asks for itself belongs to no page.
            && (params["initiator"].as_str().is_some_and(|by| by.starts_with("http")) || url.contains("kubefwd"))
        {
            found.push((source.clone(), url.to_owned(), None));
        } else if event["type"] == headers
            && let Some(line) = params["headers"][0].as_str()
            && let Some(request) = found.iter_mut().rev().find(|(id, ..)| id == source)
        {
            request.2 = line
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok());
        }
    }
    assert_ne!(json!(found.len()), json!(0), "the log has requests");
    found
        .into_iter()
        .map(|(_, url, status)| (url, status))
        .collect()
}
