//! What `kubefwdctl` prints as JSON and YAML, and how it ends.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::recording::Recording;
use super::scene::Scene;

/// Commands that show something.
const READ: [&str; 14] = [
    "context ls",
    "doctor",
    "events",
    "events -n 2",
    "fwd ls",
    "fwd ls -n other",
    "hosts",
    "ns ls",
    "reserve ls",
    "status",
    "svc ls",
    "svc ls -n other --context sim",
    "version",
    "version --client",
];

/// Commands that are refused.
const REFUSED: [&str; 12] = [
    "context ls --kubeconfig /nowhere",
    "fwd reconnect nothing",
    "ns add Not_A_Name",
    "ns add missing",
    "ns add demo --context nowhere",
    "ns frobnicate",
    "ns rm nothing",
    "reserve add late.demo.sim 10.1.1.1",
    "reserve rm 127.9.9.8",
    "svc add demo/missing",
    "svc capture on nothing",
    "svc rm nothing.demo.sim",
];

/// Commands that change something, in this order.
const CHANGED: [&str; 11] = [
    "svc add other/extra --wait",
    "svc capture on web.demo",
    "fwd reconnect multi.demo.sim",
    "fwd reconnect --failed",
    "svc rm extra.other",
    "ns rm other",
    "ns add other -l tier=front --exclude *-test --balance round-robin --domain example.test --wait",
    "ns add other -l tier=front --wait",
    "reserve add more.demo.sim 127.9.9.10",
    "reserve rm more.demo.sim",
    "svc rm --all",
];

pub(crate) fn read(scene: &Scene, recording: &mut Recording) {
    for command in READ {
        let words = command.split(' ').map(|word| word.trim_start_matches('-'));
        let name = format!("ctl-{}", words.collect::<Vec<_>>().join("-"));
        let json = run(scene, &format!("{command} -o json"));
        recording.json(&format!("{name}.json"), json.printed);
        let yaml = run(scene, &format!("{command} -o yaml"));
        recording.yaml(&format!("{name}.yaml"), yaml.printed);
        recording.answer("ctl-ends", command, json!([json.end, yaml.end]));
    }
    for command in REFUSED {
        record(scene, recording, "ctl-refusals", command);
    }
}

pub(crate) fn change(scene: &Scene, recording: &mut Recording) {
    for command in CHANGED {
        record(scene, recording, "ctl-changes", command);
    }
}

fn record(scene: &Scene, recording: &mut Recording, topic: &str, command: &str) {
    let Ran { printed, mut end } = run(scene, &format!("{command} -o json"));
    end["stdout"] = printed;
    recording.answer(topic, command, end);
}

/// What a command printed, and how it ended.
struct Ran {
    printed: Value,
    end: Value,
}

fn run(scene: &Scene, command: &str) -> Ran {
    let args: Vec<&str> = command.split(' ').collect();
    let answer = scene.system.ctl_with(&scene.kubeconfig, &args);
    let said: Vec<&str> = answer.err.lines().collect();
    Ran {
        printed: documents(&answer.out),
        end: json!({"code": answer.code, "stderr": said}),
    }
}

/// One document, or all of several. JSON is YAML, but for several values without anything between them.
fn documents(text: &str) -> Value {
    let json = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let found = json.collect::<Result<Vec<_>, _>>().unwrap_or_else(|_| {
        yaml_serde::Deserializer::from_str(text)
            .map(|document| Value::deserialize(document).unwrap())
            .collect()
    });
    match &found[..] {
        [] => Value::Null,
        [one] => one.clone(),
        _ => Value::Array(found),
    }
}
