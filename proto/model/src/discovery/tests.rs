//! The types as a worker's JSON brings them.

use serde_json::{from_str, json, to_value};

use super::*;

#[test]
fn what_is_written_is_read_back() {
    let pod = json!({
        "name": "db-0", "namespace": "demo", "phase": "Running", "status": "Running", "ready": "1/1", "restarts": 3,
        "createdAt": "2026-11-23T08:00:00.000Z", "labels": {"app": "db"}, "hostIP": "172.18.0.2",
        "containers": [{
            "name": "db", "image": "postgres", "ready": true, "started": true, "restartCount": 3, "state": "Running",
            "ports": [{"containerPort": 5432, "protocol": "TCP"}], "resources": {"cpuLimit": "1"},
        }],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    let read: PodDetail = serde_json::from_value(pod.clone()).unwrap();
    assert_eq!(read.pod.containers[0].ports[0].container_port, 5432);
    assert_eq!(to_value(&read).unwrap(), pod);
}

#[test]
fn what_a_worker_makes_up_is_refused_or_cleaned() {
    for malformed in [
        "",
        "[]",
        "{}",
        r#"{"name": 1, "status": ""}"#,
        r#"{"name": "a"}"#,
    ] {
        assert!(from_str::<Namespace>(malformed).is_err(), "{malformed}");
    }
    let event = r#"{"type": "", "reason": "", "message": "", "count": -1, "source": ""}"#;
    assert!(from_str::<Event>(event).is_err());
    let hostile = r#"{"name": "a\u0000\u001b[2J", "status": "", "and": ["more"]}"#;
    assert_eq!(from_str::<Namespace>(hostile).unwrap().name, "a  [2J");
}
