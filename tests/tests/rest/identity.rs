//! Who may call: the user behind a connection, what a page of another site cannot do, and what the configuration changes.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use kubefwd_tests::harness::http::{Connection, Place, Request, read};
use kubefwd_tests::harness::net::resolve;
use kubefwd_tests::harness::sandbox::{Sandbox, replace_text, run, run_as_root};
use kubefwd_tests::harness::users::{self, ALICE, BOB, MALLORY, User};
use kubefwd_tests::harness::{Options, eventually};
use serde_json::{Value, json};

use crate::support::{World, data, each, list, refusal, tcp, text};

/// A world with alice, bob and mallory, where alice and bob have kubeconfigs at home.
async fn with_users(sandbox: &Sandbox, config: &str) -> World {
    let options = Options {
        config: config.to_owned(),
        ..users::create(sandbox)
    };
    let world = World::bare(sandbox, options).await;
    let kubeconfig = world.cluster.kubeconfig("admin").unwrap().yaml();
    for user in [ALICE, BOB] {
        let home = sandbox.path(user.name).join(".kube");
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(user.id), Some(user.id)).unwrap();
        let _path = user.file(
            sandbox,
            &format!("{}/.kube/config", user.name),
            &kubeconfig,
            0o600,
        );
    }
    eventually("kubefwd.internal has its name", || tcp().connect().ok());
    world
}

/// What curl prints when this user runs it: the answer, and the status behind it.
fn curl(user: &User, arguments: &[&str]) -> (u16, Value) {
    let mut command = Command::new("curl");
    command.uid(user.id).gid(user.id);
    command.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]);
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let found = text.rsplit_once('\n');
    let (body, status) =
        found.unwrap_or_else(|| panic!("{arguments:?}: {}: {error}", output.status));
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    (status.parse().unwrap(), body)
}

/// Root may ask over TCP although the group has members.
const ROOT_IS_A_MEMBER: &str = "[rest]\nroot = \"member\"\n";

const ADD: [&str; 5] = [
    "--json",
    r#"{"namespace":"demo","wait":true}"#,
    "http://kubefwd.internal/api/v1/namespaces",
    "--max-time",
    "90",
];

#[test]
fn a_user_outside_of_the_group_gets_health_and_nothing_else() {
    run_as_root(async |sandbox| {
        let world = with_users(&sandbox, ROOT_IS_A_MEMBER).await;
        world.add();
        let (status, health) = curl(&MALLORY, &["http://kubefwd.internal/api/health"]);
        assert_eq!((status, &health["status"]), (200, &json!("healthy")));
        let unix = sandbox.path("rest.sock").display().to_string();
        for path in [
            "/api/info",
            "/api/v1/services",
            "/api/v1/logs",
            "/api/v1/events",
            "/metrics",
        ] {
            let url = format!("http://kubefwd.internal{path}");
            for over in [
                vec![url.as_str()],
                vec!["--unix-socket", unix.as_str(), url.as_str()],
            ] {
                let (status, answer) = curl(&MALLORY, &over);
                assert_eq!(
                    (status, &answer["error"]["code"]),
                    (403, &json!("FORBIDDEN")),
                    "{path}"
                );
                assert!(
                    text(&answer["error"]["hint"]).contains("usermod"),
                    "{answer}"
                );
            }
        }
        for change in [
            ADD.as_slice(),
            &[
                "-X",
                "DELETE",
                "http://kubefwd.internal/api/v1/namespaces/demo.sim",
            ],
            &[
                "-X",
                "POST",
                "http://kubefwd.internal/api/v1/services/reconnect?force=true",
            ],
        ] {
            assert_eq!(curl(&MALLORY, change).0, 403);
        }
        assert_eq!(list(&world.get("/api/v1/services")["services"]).len(), 5);
    });
}

#[test]
fn root_counts_over_tcp_while_nobody_else_can_use_the_daemon() {
    run_as_root(async |sandbox| {
        let world = World::bare(&sandbox, Options::default()).await;
        world.add();
        let members = "kubefwd:x:64100:root,alice\n";
        let groups = std::fs::read_to_string("/etc/group").unwrap();
        replace_text(&sandbox, "/etc/group", &(members.to_owned() + &groups));
        let list = Request::new("GET", "/api/v1/services");
        let refused = refusal(&list.send(&tcp()), 403, "FORBIDDEN");
        let hint = text(&refused["hint"]);
        assert!(
            hint.contains("--unix-socket") && hint.contains("rest.root"),
            "{hint}"
        );
        data(&list.send(&world.system.rest_socket()), 200);
        assert_eq!(world.call("GET", "/api/health", None).status, 200);
    });
}

#[test]
fn root_over_tcp_is_who_the_configuration_says() {
    run_as_root(async |sandbox| {
        let mut world = with_users(&sandbox, "").await;
        for (root, status) in [("auto", 403), ("member", 200), ("never", 403)] {
            world
                .system
                .configure(&format!("[rest]\nroot = \"{root}\"\n"));
            world.system.reload();
            eventually("the configuration is in force", || {
                let got = world.call("GET", "/api/v1/services", None).status;
                (got == status).then_some(())
            });
        }
        // Root's own tools are as before.
        let _listed = world.system.json(&["svc", "ls"]);
    });
}

#[test]
fn a_browser_starts_no_plugin_by_following_a_link() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        for path in [
            "/api/v1/kubernetes/contexts",
            "/api/v1/kubernetes/namespaces",
            "/api/v1/kubernetes/pods/demo",
        ] {
            let get = || Request::new("GET", path);
            for (name, value) in [
                ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "image"),
            ] {
                let refused = get().header(name, value).send(&tcp());
                let error = refusal(&refused, 403, "FORBIDDEN");
                assert!(text(&error["hint"]).contains("X-Kubefwd"), "{error}");
                let ours = get().header(name, value).header("X-Kubefwd", "1");
                data(&ours.send(&tcp()), 200);
            }
            data(&get().header("User-Agent", "curl/8.5.0").send(&tcp()), 200);
        }
        // What is here already is shown to everybody who may see it.
        let get = Request::new("GET", "/api/v1/services").header("User-Agent", "Mozilla/5.0");
        data(&get.send(&tcp()), 200);
        drop(world);
    });
}

#[test]
fn users_act_on_their_own_forwards_and_root_on_all() {
    run_as_root(async |sandbox| {
        let world = with_users(&sandbox, ROOT_IS_A_MEMBER).await;
        let (status, added) = curl(&ALICE, &ADD);
        assert_eq!(status, 201, "{added}");
        let mine = |user: &User| {
            let (_, all) = curl(user, &["http://kubefwd.internal/api/v1/services"]);
            list(&all["data"]["services"]).len()
        };
        assert_eq!((mine(&ALICE), mine(&BOB)), (5, 0));
        let delete = [
            "-X",
            "DELETE",
            "http://kubefwd.internal/api/v1/services/web.demo.sim",
        ];
        assert_eq!(
            curl(&BOB, &delete).0,
            404,
            "what bob does not see is not there"
        );
        for path in [
            "/api/v1/services/web.demo.sim",
            "/api/v1/forwards/web.demo.sim",
        ] {
            assert_eq!(
                curl(&BOB, &[&format!("http://kubefwd.internal{path}")]).0,
                404
            );
        }
        let (_, events) = curl(&BOB, &["http://kubefwd.internal/api/v1/history/events"]);
        assert_eq!(events["data"], json!([]));
        // Bob forwards the same: his own, beside hers.
        let (status, added) = curl(&BOB, &ADD);
        assert_eq!(status, 201, "{added}");
        let owner = |user: &User| {
            let (_, all) = curl(user, &["http://kubefwd.internal/api/v1/namespaces"]);
            all["data"]["namespaces"][0]["owner"].clone()
        };
        assert_eq!(
            (owner(&ALICE), owner(&BOB)),
            (json!(ALICE.id), json!(BOB.id))
        );
        assert_eq!(curl(&BOB, &delete).0, 200);
        assert_eq!((mine(&ALICE), mine(&BOB)), (5, 4));

        // Root, where the kernel vouches for it, sees and changes everybody's; over TCP it is a user like others.
        let root =
            |method: &str, path: &str| Request::new(method, path).send(&world.system.rest_socket());
        let all = data(&root("GET", "/api/v1/namespaces"), 200);
        assert_eq!(list(&all["namespaces"]).len(), 2);
        assert_eq!(
            list(&world.get("/api/v1/namespaces")["namespaces"]).len(),
            0
        );
        data(
            &root("POST", "/api/v1/services/web.demo.sim/sync?force=true"),
            200,
        );
        data(&root("DELETE", "/api/v1/services/web.demo.sim"), 200);
        assert_eq!((mine(&ALICE), mine(&BOB)), (4, 4));
    });
}

#[test]
fn who_closes_at_once_does_not_pass_for_root() {
    run_as_root(async |sandbox| {
        let world = with_users(&sandbox, ROOT_IS_A_MEMBER).await;
        // The kernel shows a socket without an owner as root's. First what root itself may do while it is there.
        assert_eq!(world.call("GET", "/api/v1/services", None).status, 200);
        let post = Request::new("POST", "/api/v1/namespaces").json(&json!({"namespace": "demo"}));
        let bytes = post.bytes("kubefwd.internal");
        // A half-closed socket is as much as an ended one, and its answer can still be read.
        let Connection::Tcp(mut half) = tcp().connect().unwrap() else {
            panic!("it is TCP");
        };
        half.write_all(&bytes).unwrap();
        half.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        half.read_to_string(&mut answer).unwrap();
        // Whoever was faster: an answer to somebody who was there, or a refusal of nobody.
        let refused = answer.starts_with("HTTP/1.1 403");
        let answered = answer.starts_with("HTTP/1.1 201");
        assert!(refused || answered || answer.is_empty(), "{answer}");
        if answered {
            world.delete("/api/v1/namespaces/demo.sim");
        }
        // Mallory sends and is gone, many times.
        let file = sandbox.path("request");
        std::fs::write(&file, &bytes).unwrap();
        let line = format!(
            "for n in $(seq 200); do exec 3<>/dev/tcp/127.2.27.1/80; cat {} >&3; exec 3>&-; done",
            file.display()
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &line]).uid(MALLORY.id).gid(MALLORY.id);
        assert!(bash.status().unwrap().success());
        // All that is accepted in order has been answered once a later request is.
        assert_eq!(world.get("/api/v1/namespaces"), json!({"namespaces": []}));
        let over_unix = Request::new("GET", "/api/v1/namespaces").send(&world.system.rest_socket());
        assert_eq!(data(&over_unix, 200), json!({"namespaces": []}));
    });
}

#[test]
fn a_token_says_who_calls() {
    run_as_root(async |sandbox| {
        let token = "0123456789abcdef-alice";
        let path = users::own(
            &sandbox,
            "tokens",
            &format!("{token} {}\n", ALICE.id),
            0,
            0o600,
        );
        let config = format!("[rest]\nidentity = \"token\"\ntoken_file = {path:?}\n");
        let world = with_users(&sandbox, &config).await;
        let url = "http://kubefwd.internal/api/v1/services";
        let error = refusal(
            &world.call("GET", "/api/v1/services", None),
            401,
            "UNAUTHORIZED",
        );
        assert!(text(&error["hint"]).contains("Bearer"), "{error}");
        for wrong in [
            "Bearer 0123456789abcdef",
            "Basic 0123456789abcdef-alice",
            "0123456789abcdef-alice",
        ] {
            let reply = Request::new("GET", "/api/v1/services")
                .header("Authorization", wrong)
                .send(&tcp());
            refusal(&reply, 401, "UNAUTHORIZED");
        }
        assert_eq!(world.get("/api/health")["status"], "healthy");
        let header = format!("Authorization: Bearer {token}");
        let mut add = vec!["-H", header.as_str()];
        add.extend(ADD);
        let (status, added) = curl(&MALLORY, &add);
        assert_eq!(status, 201, "{added}");
        let (_, own) = curl(&MALLORY, &["-H", &header, url]);
        assert_eq!(own["data"]["services"][0]["owner"], json!(ALICE.id));
        // Over the unix socket the kernel goes on to say who it is.
        let (status, _) = curl(
            &MALLORY,
            &[
                "--unix-socket",
                &sandbox.path("rest.sock").display().to_string(),
                url,
            ],
        );
        assert_eq!(status, 403);
    });
}

#[test]
fn a_fixed_identity_holds_for_every_local_caller() {
    run_as_root(async |sandbox| {
        let config = format!("[rest]\nidentity = \"fixed:{}\"\n", ALICE.id);
        let world = with_users(&sandbox, &config).await;
        let (status, added) = curl(&MALLORY, &ADD);
        assert_eq!(status, 201, "{added}");
        let own = world.get("/api/v1/namespaces");
        assert_eq!(own["namespaces"][0]["owner"], json!(ALICE.id));
    });
}

#[test]
fn without_tcp_the_unix_socket_still_serves() {
    run(async |sandbox| {
        let options = Options {
            config: "[rest]\nlisten = \"off\"\n".to_owned(),
            ..Options::default()
        };
        let world = World::bare(&sandbox, options).await;
        let add = Request::new("POST", "/api/v1/namespaces")
            .json(&json!({"namespace": "demo", "wait": true}));
        data(&add.send(&world.system.rest_socket()), 201);
        assert!(resolve("kubefwd.internal").is_empty());
        assert!(std::net::TcpStream::connect("127.2.27.1:80").is_err());
    });
}

#[test]
fn a_port_that_is_taken_is_said_and_the_unix_socket_serves() {
    run(async |sandbox| {
        let _taken = std::net::TcpListener::bind("127.2.27.1:80").unwrap();
        let world = World::bare(&sandbox, Options::default()).await;
        let analyze = Request::new("GET", "/api/v1/analyze");
        let analysis = data(&analyze.send(&world.system.rest_socket()), 200);
        let rest = list(&analysis["issues"])
            .iter()
            .find(|issue| issue["component"] == "REST")
            .unwrap();
        let own = std::process::id().to_string();
        assert!(text(&rest["message"]).contains(&own), "{rest}");
        assert!(rest["hint"].is_string(), "{rest}");
    });
}

#[test]
fn requests_of_other_pages_and_for_other_hosts_are_refused() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        let get = |path: &str| Request::new("GET", path);
        for host in [
            "kubefwd.internal",
            "KUBEFWD.INTERNAL",
            "kubefwd.internal:80",
            "127.2.27.1",
            "localhost",
        ] {
            data(
                &get("/api/v1/services").header("Host", host).send(&tcp()),
                200,
            );
        }
        for path in ["/api/health", "/api/v1/services", "/docs", "/metrics"] {
            for host in [
                "evil.example",
                "kubefwd.internal.evil.example",
                "kubefwd.internal:8080",
                "127.2.27.2",
                "kubefwd.internal@evil.example",
                "",
            ] {
                refusal(
                    &get(path).header("Host", host).send(&tcp()),
                    403,
                    "FORBIDDEN",
                );
            }
            let twice = get(path)
                .header("Host", "kubefwd.internal")
                .header("Host", "evil.example");
            assert!([400, 403].contains(&twice.send(&tcp()).status));
            for (name, value) in [
                ("Origin", "http://evil.example"),
                ("Origin", "https://kubefwd.internal"),
                ("Origin", "null"),
                ("Origin", "http://localhost"),
                ("Referer", "http://127.0.0.1/"),
                ("Referer", "http://evil.example/page"),
                ("Referer", "http://kubefwd.internal.evil.example/"),
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Site", "same-site"),
            ] {
                let reply = get(path).header(name, value).send(&tcp());
                refusal(&reply, 403, "FORBIDDEN");
                assert!(
                    reply
                        .headers
                        .iter()
                        .all(|(name, _)| !name.starts_with("access-control"))
                );
            }
        }
        for (name, value) in [
            ("Origin", "http://kubefwd.internal"),
            ("Referer", "http://kubefwd.internal/docs"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "none"),
        ] {
            data(
                &get("/api/v1/services").header(name, value).send(&tcp()),
                200,
            );
        }
        // A whole address in the request line says as much as the header.
        let foreign = get("http://evil.example/api/v1/services").header("Host", "kubefwd.internal");
        refusal(&foreign.send(&tcp()), 403, "FORBIDDEN");
        let preflight = Request::new("OPTIONS", "/api/v1/namespaces")
            .header("Origin", "http://evil.example")
            .header("Access-Control-Request-Method", "POST");
        refusal(&preflight.send(&tcp()), 403, "FORBIDDEN");
        assert_eq!(
            each(&world.get("/api/v1/namespaces")["namespaces"], "key"),
            ["demo.sim"]
        );
    });
}

#[test]
fn heads_and_bodies_that_do_not_come_are_not_waited_for_for_ever() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let send = |bytes: &str| {
            let mut connection = tcp().connect().unwrap();
            connection.write_all(bytes.as_bytes()).unwrap();
            connection
        };
        let mut silent = send("GET /api/health HTTP/1.1\r\nHost: kubefwd.internal\r\n");
        let head = "POST /api/v1/namespaces HTTP/1.1\r\nHost: kubefwd.internal\r\nContent-Type: application/json\r\n";
        let slow = send(&format!("{head}Content-Length: 20\r\n\r\n{{"));
        let mut rest = String::new();
        // Closed, with or without a word, before the harness loses its patience.
        silent.read_to_string(&mut rest).unwrap();
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
            "{rest}"
        );
        let answer = read(slow, "POST".to_owned(), false).unwrap();
        assert_eq!(answer.head.status, 408);
        assert_eq!(world.get("/api/v1/namespaces"), json!({"namespaces": []}));
    });
}

/// Half of the connections that there are places for can be one user's. Who has more is told, and served when others end.
#[test]
fn each_user_has_a_limit_of_connections() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        let Ok((soft, hard)) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        else {
            panic!("there is a limit of open files");
        };
        let wanted = 8_192.min(hard);
        nix::sys::resource::setrlimit(
            nix::sys::resource::Resource::RLIMIT_NOFILE,
            wanted.max(soft),
            hard,
        )
        .unwrap();
        let place: Place = world.system.rest_socket();
        let streams: Vec<_> = (0..2_048)
            .map(|_| Request::new("GET", "/api/v1/events").open(&place))
            .collect();
        // Over TCP there are places of their own.
        assert_eq!(world.get("/api/health")["status"], "healthy");
        let health = Request::new("GET", "/api/health");
        let refused = health.send(&place);
        assert_eq!(refused.status, 503);
        let error = &refused.json()["error"];
        assert_eq!(error["code"], "UNAVAILABLE");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("2048 connections"), "{message}");
        assert_eq!(error["hint"], "close some, and try again");
        drop(streams);
        eventually("there is a place again", || {
            let reply = health.try_send(&place).ok()?;
            (reply.status == 200).then_some(())
        });
    });
}
