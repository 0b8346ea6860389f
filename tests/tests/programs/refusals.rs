//! What cannot be done is refused with what, why, and what to do next.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use kubefwd_tests::{Behaviour, Credential, Namespace, Service, ServicePort, Workload};

use crate::system::{Printed, System};
use crate::target::Sim;
use crate::{Case, Needs, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "refusals::a_daemon_that_does_not_run",
        Needs::Simulated,
        no_daemon,
    ),
    case("refusals::a_second_daemon", Needs::Simulated, second_daemon),
    case(
        "refusals::an_unknown_configuration_key",
        Needs::Simulated,
        configuration,
    ),
    case("refusals::kubeconfigs", Needs::Simulated, kubeconfigs),
    case("refusals::clusters", Needs::Simulated, clusters),
    case("refusals::credential_plugins", Needs::Simulated, plugins),
    case(
        "refusals::a_port_that_is_taken",
        Needs::Simulated,
        taken_port,
    ),
    case(
        "refusals::a_name_that_could_hide_a_site",
        Needs::Simulated,
        refused_name,
    ),
    case(
        "refusals::a_name_on_a_line_of_the_user",
        Needs::Simulated,
        own_line,
    ),
    case(
        "refusals::unknown_keys_and_ambiguous_ones",
        Needs::Simulated,
        keys,
    ),
    case(
        "refusals::a_hosts_file_that_cannot_be_written",
        Needs::Simulated,
        read_only_hosts,
    ),
];

fn no_daemon() {
    let system = System::prepare("");
    system.fails(
        &["status"],
        5,
        &["the kubefwd daemon is not running", "hint:"],
    );
    // Nobody listens behind this socket any more.
    drop(std::os::unix::net::UnixListener::bind(system.socket()).unwrap());
    system.fails(&["ns", "ls"], 5, &["hint:"]);
}

fn second_daemon() {
    let sim = Sim::demo();
    let system = System::start(&sim.kubeconfig());
    let second = Printed::of(
        system
            .daemon_command()
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap(),
    );
    second.failed_with(1, &["another kubefwdd (pid ", "stop it first"]);
    system.ok(&["status"]);
}

fn configuration() {
    let system = System::prepare("");
    let config = system.write("kubefwdd.toml", "[names]\nallow_sufixes = [\"dev\"]\n");
    let mut daemon = system.daemon_command();
    let printed = Printed::of(
        daemon
            .arg("--config")
            .arg(config)
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap(),
    );
    printed.failed_with(
        78,
        &[
            "names.allow_sufixes",
            "did you mean \"names.allow_suffixes\"",
        ],
    );
}

fn kubeconfigs() {
    let sim = Sim::demo();
    let system = System::start(&sim.kubeconfig());
    let with = |path: &std::path::Path, arguments: &[&str]| {
        Printed::of(
            system
                .ctl_command(arguments)
                .env("KUBECONFIG", path)
                .output()
                .unwrap(),
        )
    };
    with(&system.dir.path().join("none"), &["ns", "add", "demo"])
        .failed_with(1, &["no kubeconfig found", "hint:"]);
    let broken = system.write("broken", "clusters: [");
    with(&broken, &["ns", "add", "demo"]).failed_with(1, &["broken", "line 1"]);
    system.fails(
        &["ns", "add", "demo", "--context", "smi"],
        6,
        &["context \"smi\" does not exist", "sim"],
    );
    let empty = system.write("empty", "apiVersion: v1\nkind: Config\n");
    with(&empty, &["ns", "add", "demo"]).failed_with(6, &["no context was named", "--context"]);
    assert!(
        system.ok(&["ns", "ls"]).lines().count() <= 1,
        "nothing was recorded"
    );
}

fn clusters() {
    let sim = Sim::demo();
    let system = System::start(&sim.kubeconfig());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let down = sim
        .cluster
        .kubeconfig("admin")
        .unwrap()
        .server(format!("https://127.0.0.1:{port}"));
    let path = system.write("down", &down.yaml());
    let add = |path: &std::path::Path| {
        Printed::of(
            system
                .ctl_command(&["ns", "add", "demo"])
                .env("KUBECONFIG", path)
                .output()
                .unwrap(),
        )
    };
    add(&path).failed_with(1, &["connection refused", "hint:"]);

    let expired = sim
        .cluster
        .client_certificate("admin", Duration::ZERO)
        .unwrap();
    let expired = sim
        .cluster
        .kubeconfig_with(Credential::Certificate(expired));
    add(&system.write("expired", &expired.yaml())).failed_with(1, &["expired"]);

    let token = sim
        .cluster
        .kubeconfig_with(Credential::Token("wrong".into()));
    add(&system.write("token", &token.yaml())).failed_with(1, &["hint:"]);

    let other = Sim::demo();
    let untrusted = other
        .cluster
        .kubeconfig("admin")
        .unwrap()
        .server(sim.cluster.url());
    add(&system.write("untrusted", &untrusted.yaml())).failed_with(1, &["certificate"]);
}

fn plugins() {
    let sim = Sim::demo();
    let system = System::start(&sim.kubeconfig());
    let script = |name: &str, content: &str| {
        let path = system.write(name, content);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let add = |name: &str, command: String| {
        let credential = Credential::Exec {
            command,
            args: Vec::new(),
            env: Vec::new(),
        };
        let path = system.write(name, &sim.cluster.kubeconfig_with(credential).yaml());
        Printed::of(
            system
                .ctl_command(&["ns", "add", "demo"])
                .env("KUBECONFIG", path)
                .output()
                .unwrap(),
        )
    };
    add("missing", "no-such-plugin".into()).failed_with(1, &["no-such-plugin", "hint:"]);
    let rubbish = script("rubbish.sh", "#!/bin/sh\necho rubbish\n");
    add("rubbish", rubbish).failed_with(1, &["rubbish.sh"]);
    let failing = script("failing.sh", "#!/bin/sh\necho log in first >&2\nexit 3\n");
    add("failing", failing).failed_with(1, &["failing.sh", "log in first"]);
}

fn taken_port() {
    let sim = Sim::demo();
    let _taken = TcpListener::bind("0.0.0.0:7").unwrap();
    let system = System::start(&sim.kubeconfig());
    let own = format!("pid {}", std::process::id());
    let texts = ["port 7 of 127.", "is taken by", &own, "--port-map"];
    system.fails(&["ns", "add", "demo", "--wait=10s"], 3, &texts);
    // That port alone: everything else answers.
    assert!(crate::net::get("web", 80, "/").contains("pod: "));
}

fn refused_name() {
    let namespace = Namespace::new("com")
        .workload(Workload::deployment("github").listen("http", 8080, Behaviour::Http))
        .service(Service::new("github").port(ServicePort::tcp(80).target("http")));
    let sim = Sim::with([namespace]);
    let system = System::start(&sim.kubeconfig());
    system.ok(&["ns", "add", "com", "--wait"]);
    assert!(!system.hosts_have("github.com"));
    assert!(system.hosts_have("github.com.svc.cluster.local"));
    let doctor = system.ctl(&["doctor"]).out;
    assert!(
        doctor.contains("github.com") && doctor.contains("names.allow_suffixes"),
        "{doctor}"
    );
}

fn own_line() {
    let namespace = Namespace::new("demo")
        .workload(Workload::deployment("printer").listen("http", 8080, Behaviour::Http))
        .service(Service::new("printer").port(ServicePort::tcp(80).target("http")));
    let sim = Sim::with([namespace]);
    let system = sim.forwarding();
    let hosts = String::from_utf8(system.hosts()).unwrap();
    assert!(
        hosts.contains("10.1.2.3 printer\n"),
        "the user's line is as it was: {hosts}"
    );
    let service = system.service("printer").unwrap();
    let names = service["hostnames"].as_array().unwrap();
    assert!(
        names.iter().all(|name| name != "printer")
            && names.iter().any(|name| name == "printer.demo")
    );
}

fn keys() {
    let sim = Sim::demo();
    let system = sim.forwarding();
    system.fails(
        &["ns", "rm", "nope"],
        6,
        &["\"nope\" is not forwarded", "kubefwdctl ns ls"],
    );
    system.fails(
        &["svc", "rm", "nope"],
        6,
        &["\"nope\" is not forwarded", "kubefwdctl svc ls"],
    );
    system.fails(&["svc", "add", "demo/nope"], 6, &["nope"]);
    system.fails(&["fwd", "reconnect", "nope"], 6, &["nope"]);
    system.fails(&["ns", "add", "Not_A_Name"], 2, &["Not_A_Name", "only a-z"]);
    system.fails(&["ns", "frobnicate"], 2, &["frobnicate"]);
}

fn read_only_hosts() {
    let sim = Sim::demo();
    let mut system = System::prepare(&sim.kubeconfig()).with_hosts(b"127.0.0.1 localhost\n");
    let path = system.dir.path().join("other-hosts");
    // Read-only as a mount is, which stops root too.
    crate::sandbox::bind_over(&path, &path);
    crate::sandbox::make_read_only(&path);
    system.start_daemon();
    system.ok(&["ns", "add", "demo", "--wait"]);
    let status = system.ctl(&["status"]);
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.out.contains("hosts file"), "{status:?}");
    crate::sandbox::unbind(&path);
}
