//! `kubefwdctl -o json` prints the documents of REST: every value that both have is the same, and the client has none of
//! its own.

use std::path::Path;

use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::run;
use serde_json::{Value, json};

use crate::support::{KEYS, World, each, list, number};

/// What only REST has: rates, which only the daemon measures.
const RATES: [&str; 4] = ["rateIn", "rateOut", "avgRateIn", "avgRateOut"];

#[test]
fn the_client_prints_the_documents_of_rest() {
    run(async |sandbox| {
        let world = World::start(&sandbox).await;
        world.add();
        echo(&mut connect("echo", 7000), &[7; 3_000]);
        world.until(
            "the bytes are counted and the connection is closed",
            "/api/v1/services/echo.demo.sim",
            |echo| {
                let open = &echo["forwards"][0]["connections"];
                number(&echo["totalBytesIn"]) == 3_000 && number(open) == 0
            },
        );
        let home = sandbox.path("home/.kube/config");
        for (command, path, field, only_client) in [
            ("svc ls", "/api/v1/services", "services", &[][..]),
            ("fwd ls", "/api/v1/forwards", "forwards", &[]),
            ("ns ls", "/api/v1/namespaces", "namespaces", &[]),
            (
                "context ls",
                "/api/v1/kubernetes/contexts",
                "contexts",
                &["server"],
            ),
        ] {
            let printed = ask(&world, &home, command);
            let answered = world.get(path);
            same_lists(command, &printed[field], &answered[field], only_client);
        }
        let listed = ask(&world, &home, "svc ls");
        assert_eq!(each(&listed["services"], "key"), KEYS);
        let dns = &listed["services"][0];
        assert_eq!(
            (&dns["status"], &dns["owner"]),
            (&json!("unsupported"), &json!(0))
        );
    });
}

fn ask(world: &World, kubeconfig: &Path, command: &str) -> Value {
    let words: Vec<&str> = command.split(' ').chain(["-o", "json"]).collect();
    world.system.ctl_with(kubeconfig, &words).json()
}

/// The same objects, whatever their order.
fn same_lists(what: &str, printed: &Value, answered: &Value, only_client: &[&str]) {
    let name = |object: &Value| object.get("key").unwrap_or(&object["name"]).to_string();
    let sorted = |objects: &Value| {
        let mut objects = list(objects).clone();
        objects.sort_by_key(name);
        objects
    };
    let (printed, answered) = (sorted(printed), sorted(answered));
    assert!(!printed.is_empty(), "{what} prints nothing");
    assert_eq!(printed.len(), answered.len(), "{what}");
    for (printed, answered) in printed.iter().zip(&answered) {
        let what = format!("{what}: {}", name(answered));
        same(&what, printed, answered, only_client);
    }
}

fn same(what: &str, printed: &Value, answered: &Value, only_client: &[&str]) {
    match (printed, answered) {
        (Value::Object(printed), Value::Object(answered)) => {
            for (key, value) in answered.iter().filter(|(key, _)| !RATES.contains(&&***key)) {
                let found = printed.get(key);
                let found = found.unwrap_or_else(|| panic!("{what}: the client has no {key}"));
                same(&format!("{what} / {key}"), found, value, only_client);
            }
            let own = printed.keys().filter(|key| !answered.contains_key(*key));
            let unknown: Vec<_> = own.filter(|key| !only_client.contains(&&***key)).collect();
            assert!(unknown.is_empty(), "{what}: REST has no {unknown:?}");
        }
        (Value::Array(printed), Value::Array(answered)) => {
            assert_eq!(printed.len(), answered.len(), "{what}");
            for (at, (printed, answered)) in printed.iter().zip(answered).enumerate() {
                same(&format!("{what} / {at}"), printed, answered, only_client);
            }
        }
        _ => assert_eq!(printed, answered, "{what}"),
    }
}
