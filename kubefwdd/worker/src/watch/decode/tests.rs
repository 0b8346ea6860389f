//! Objects as clusters send them.

use super::*;

fn service(json: serde_json::Value) -> Service {
    let wire: RawService = serde_json::from_value(json).unwrap();
    wire.compact().unwrap()
}

#[test]
fn a_service_keeps_what_forwarding_needs() {
    let service = service(serde_json::json!({
        "metadata": {"name": "web", "managedFields": [{"manager": "x"}]},
        "spec": {
            "type": "ClusterIP", "clusterIP": "None", "selector": {"app": "web", "a": "b"},
            "publishNotReadyAddresses": true,
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "appProtocol": "h2c"},
                {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
                {"name": "plain", "port": 81},
            ],
        },
    }));
    assert!(service.headless && service.publish_not_ready);
    assert_eq!(&*service.selector, ["a=b".into(), "app=web".into()]);
    assert_eq!(service.ports[0].target, Target::Name("web".into()));
    assert_eq!(service.ports[1].protocol, Protocol::Udp);
    assert_eq!(service.ports[2].target, Target::Number(81));
    assert_eq!(service.tcp_ports().count(), 2);
}

#[test]
fn an_external_name_has_no_selector_and_no_ports() {
    let service = service(serde_json::json!({
        "metadata": {"name": "db"},
        "spec": {"type": "ExternalName", "externalName": "db.example.com"},
    }));
    assert_eq!(service.external_name.as_deref(), Some("db.example.com"));
    assert!(service.ports.is_empty() && service.selector.is_empty());
}

#[test]
fn slices_tell_ready_from_draining_and_pods_from_other_addresses() {
    let slice = |endpoints: serde_json::Value| {
        let wire: RawSlice = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-1", "namespace": "demo", "labels": {SERVICE_NAME_LABEL: "web"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}, {"name": "any", "port": null}],
        }))
        .unwrap();
        wire.compact().unwrap()
    };
    let pod = |name: &str| serde_json::json!({"kind": "Pod", "namespace": "demo", "name": name, "uid": "u"});
    let slice = slice(serde_json::json!([
        {"addresses": ["10.0.0.1"], "targetRef": pod("a")},
        {"addresses": ["10.0.0.2"], "targetRef": pod("b"), "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.0.0.3"], "targetRef": pod("c"), "conditions": {"ready": false, "serving": false, "terminating": false}},
        {"addresses": ["10.0.0.4"], "conditions": {"ready": true}},
        {"addresses": ["10.0.0.5"], "targetRef": {"kind": "Pod", "namespace": "other", "name": "d", "uid": "u"}},
    ]));
    let conditions: Vec<_> = slice.endpoints.iter().map(|e| e.condition).collect();
    assert_eq!(
        conditions[..3],
        [Condition::Ready, Condition::Draining, Condition::NotReady]
    );
    let pods: Vec<_> = slice.endpoints.iter().map(|e| e.pod.is_some()).collect();
    assert_eq!(pods, [true, true, true, false, false]);
    assert_eq!(slice.ports.len(), 1);
}

#[test]
fn a_slice_of_no_service_is_left_out_and_empty_lists_may_be_null() {
    let wire: RawSlice =
        serde_json::from_str(r#"{"metadata":{"name":"x"},"endpoints":null,"ports":null}"#).unwrap();
    assert!(wire.compact().is_none());
    let page: Page<RawSlice> =
        serde_json::from_str(r#"{"metadata":{"resourceVersion":"7"},"items":null}"#).unwrap();
    assert!(page.items.is_none() && page.metadata.continue_.is_none());
}

#[test]
fn a_pod_is_running_until_it_ends() {
    let pod = |phase: &str| {
        let wire: RawPod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "ports": [
                {"name": "web", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"},
            ]}]},
            "status": {"phase": phase, "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        wire.compact().unwrap()
    };
    assert!(pod("Running").running && pod("Running").ready);
    assert!(!pod("Succeeded").running);
    assert_eq!(pod("Running").ports.len(), 1);
}
