//! Workloads and services as a real cluster is given them: containers that need nothing but busybox.

use serde_json::{Value, json};

use crate::pods::behaviour::Behaviour;
use crate::spec::{Service, ServiceKind, TargetPort, Workload, WorkloadKind};

/// A namespace, with a label by which those of tests that were killed can be found.
pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubefwd-tests"}},
    })
}

/// A Deployment or StatefulSet for `kubectl apply`.
///
/// # Panics
/// When it has something that only the simulated cluster can do.
pub(crate) fn workload(workload: &Workload, namespace: &str, image: &str) -> Value {
    let Workload {
        name,
        kind,
        replicas,
        labels,
        template,
    } = workload;
    let kind = match kind {
        WorkloadKind::Deployment => "Deployment",
        WorkloadKind::StatefulSet => "StatefulSet",
        WorkloadKind::Pod => panic!("{name}: a real cluster gets Deployments and StatefulSets"),
    };
    // One container for each port: each runs one program in the foreground.
    let containers: Vec<Value> = template
        .behaviours
        .iter()
        .map(|(port, behaviour)| {
            let declared = template
                .ports
                .iter()
                .find(|declared| declared.port == *port);
            let port_name = declared.and_then(|declared| declared.name.clone());
            let mut container = json!({
                "name": format!("port-{port}"),
                "image": image,
                "command": ["sh", "-c", script(name, *port, behaviour, namespace)],
                "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
            });
            if let Some(port_name) = port_name {
                container["ports"] = json!([{"name": port_name, "containerPort": port}]);
            }
            container
        })
        .collect();
    let mut value = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": containers},
            },
        },
    });
    if kind == "StatefulSet" {
        value["spec"]["serviceName"] = json!(name);
    }
    value
}

/// What a container does: one program in the foreground.
///
/// Busybox is built with different servers that run a program for each client: with `tcpsvd`, with an `nc` that stays for
/// the next client by `-lk`, or with one that does by `-ll`.
fn script(workload: &str, port: u16, behaviour: &Behaviour, namespace: &str) -> String {
    if *behaviour == Behaviour::Http {
        return format!(
            "mkdir -p /tmp/www && \
             printf 'pod: %s\\nnamespace: {namespace}\\nport: {port}\\n' \"$HOSTNAME\" > /tmp/www/index.html && \
             exec httpd -f -p {port} -h /tmp/www"
        );
    }
    let Some(program) = program(behaviour) else {
        panic!("{workload}: busybox has nothing that does {behaviour:?}");
    };
    let prepare = match behaviour {
        Behaviour::Sink => SINK,
        _ => "",
    };
    format!(
        "{prepare}\
         command -v tcpsvd > /dev/null && exec tcpsvd -c 200 0.0.0.0 {port} {program}; \
         nc --help 2>&1 | grep -q -e -lk && exec nc -lk -p {port} -e {program}; \
         exec nc -ll -p {port} -e {program}"
    )
}

/// What serves one client, of those behaviours that are a program's.
pub(crate) fn program(behaviour: &Behaviour) -> Option<&'static str> {
    match behaviour {
        Behaviour::Echo => Some("cat"),
        Behaviour::Source(None) => Some("cat /dev/zero"),
        Behaviour::Sink => Some("sh /tmp/sink"),
        _ => None,
    }
}

/// The length comes first; it is counted and not compared. Whoever never stops sends the largest there is, which is -1 here.
const SINK: &str = r#"cat > /tmp/sink <<'END'
length=$((0x$(dd bs=1 count=8 2> /dev/null | od -An -tx1 | tr -d ' \n')))
[ $length -lt 0 ] && exec cat > /dev/null
[ "$(head -c $length | wc -c)" -eq $length ] && echo ok $length
END
"#;

/// A service for `kubectl apply`.
pub(crate) fn service(service: &Service, namespace: &str) -> Value {
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            let target = match &port.target {
                TargetPort::Number(number) => json!(number),
                TargetPort::Name(name) => json!(name),
            };
            let mut value =
                json!({"port": port.port, "targetPort": target, "protocol": port.protocol});
            if let Some(name) = &port.name {
                value["name"] = json!(name);
            }
            value
        })
        .collect();
    let mut spec = json!({});
    if !ports.is_empty() {
        spec["ports"] = json!(ports);
    }
    if !service.selector.is_empty() {
        spec["selector"] = json!(service.selector);
    }
    if service.publish_not_ready {
        spec["publishNotReadyAddresses"] = json!(true);
    }
    match &service.kind {
        ServiceKind::ClusterIp => {}
        ServiceKind::Headless => spec["clusterIP"] = json!("None"),
        ServiceKind::ExternalName(name) => {
            spec["type"] = json!("ExternalName");
            spec["externalName"] = json!(name);
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.name, "namespace": namespace, "labels": service.labels},
        "spec": spec,
    })
}
