//! Names of contexts with characters that mean something in a URL, as those of EKS, GKE and OpenShift have.

use kubefwd_tests::harness::net::{connect, echo};
use kubefwd_tests::harness::sandbox::{Sandbox, run};
use serde_json::json;

use crate::support::{World, each, text};

/// A context's name, and ways to write it in a path.
const CONTEXTS: [(&str, &[&str]); 3] = [
    (
        "arn:aws:eks:eu-central-1:123456789012:cluster/prod.v2",
        &[
            "arn:aws:eks:eu-central-1:123456789012:cluster/prod.v2",
            "arn:aws:eks:eu-central-1:123456789012:cluster%2Fprod.v2",
            "arn%3Aaws%3Aeks%3Aeu-central-1%3A123456789012%3Acluster%2fprod.v2",
        ],
    ),
    (
        "admin@cluster.example.com:6443",
        &[
            "admin@cluster.example.com:6443",
            "admin%40cluster.example.com%3A6443",
        ],
    ),
    (
        "default/api-crc-testing:6443/kubeadmin",
        &[
            "default/api-crc-testing:6443/kubeadmin",
            "default%2Fapi-crc-testing:6443%2Fkubeadmin",
        ],
    ),
];

#[test]
fn an_arn_of_eks() {
    run(async |sandbox| every_route(&sandbox, CONTEXTS[0]).await);
}

#[test]
fn a_user_and_a_host_with_a_port() {
    run(async |sandbox| every_route(&sandbox, CONTEXTS[1]).await);
}

#[test]
fn slashes() {
    run(async |sandbox| every_route(&sandbox, CONTEXTS[2]).await);
}

async fn every_route(sandbox: &Sandbox, (name, spellings): (&str, &[&str])) {
    let world = World::with(sandbox, "", |kubeconfig| kubeconfig.context(name)).await;
    world.post(
        "/api/v1/services",
        &json!({"namespace": "demo", "serviceName": "echo", "context": name, "wait": true}),
    );
    echo(&mut connect("echo", 7000), b"hello");
    let service = format!("echo.demo.{name}");
    for spelling in spellings {
        let key = format!("echo.demo.{spelling}");
        for path in [
            format!("/api/v1/services/{key}"),
            format!("/api/v1/metrics/services/{key}"),
            format!("/api/v1/diagnostics/services/{key}"),
            format!("/api/v1/metrics/services/{key}/history?duration=1m"),
        ] {
            assert_eq!(world.get(&path)["key"], json!(service), "{path}");
        }
        assert_eq!(
            world.get(&format!("/api/v1/services/{key}/http"))["serviceKey"],
            json!(service)
        );
        let _history = world.get(&format!("/api/v1/services/{key}/history/reconnections"));
        let pod = text(&world.get(&format!("/api/v1/forwards/{key}"))["podName"]).to_owned();
        for path in [
            format!("/api/v1/forwards/{key}.{pod}.7000"),
            format!("/api/v1/forwards/{pod}.demo.{spelling}"),
            format!("/api/v1/diagnostics/forwards/{key}"),
        ] {
            assert_eq!(world.get(&path)["serviceKey"], json!(service), "{path}");
        }
        let _traffic = world.get(&format!("/api/v1/forwards/{key}/http?count=1"));
        assert_eq!(
            world.get(&format!("/api/v1/namespaces/demo.{spelling}"))["context"],
            json!(name)
        );
        let again = world.act(&format!("/api/v1/services/{key}/reconnect"));
        assert_eq!(again["services"], json!([service]));
        let synced = world.act(&format!("/api/v1/services/{key}/sync"));
        assert_eq!(synced["service"], json!(service));
    }
    let encoded = spellings.last().unwrap();
    let found = world.get(&format!("/api/v1/services?context={encoded}"));
    assert_eq!(each(&found["services"], "key"), [service.as_str()]);
    let pods = world.get(&format!(
        "/api/v1/kubernetes/services?namespace=demo&context={encoded}"
    ));
    assert_eq!(list_forwarded(&pods["services"]), [service.as_str()]);
    world.delete(&format!("/api/v1/services/echo.demo.{}", spellings[0]));
    assert_eq!(world.get("/api/v1/services")["services"], json!([]));
}

fn list_forwarded(services: &serde_json::Value) -> Vec<&str> {
    let forwarded = services.as_array().unwrap().iter();
    forwarded
        .filter_map(|service| service["forwardKey"].as_str())
        .collect()
}
