//! `/version`, health and discovery.

use http::StatusCode;
use serde_json::{Value, json};

use super::apps;
use super::respond::{self, Answer, Body, status};
use crate::json;
use crate::kinds::{ALL, Kind};
use crate::status::Status;

/// The served groups beside the core group, each in version v1.
const GROUPS: [&str; 3] = ["apps", "authorization.k8s.io", "discovery.k8s.io"];

/// Whether a group and version are served.
pub(crate) fn knows(group: &str, version: &str) -> bool {
    version == "v1" && (group.is_empty() || GROUPS.contains(&group))
}

/// Answers a path that names no resource.
pub(crate) fn answer(minor: u32, path: &str, aggregated: bool) -> Answer {
    let body = match path {
        "/version" => version(minor),
        "/healthz" | "/livez" | "/readyz" => return health(),
        "/api" if aggregated => return aggregated_answer(&[""]),
        "/apis" if aggregated => return aggregated_answer(&GROUPS),
        "/api" => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": "10.88.0.1:6443"},
            ],
        }),
        "/apis" => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": GROUPS.iter().map(|group| api_group(group)).collect::<Vec<_>>(),
        }),
        _ => {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            match parts[..] {
                ["api", "v1"] => resources(""),
                ["apis", group] if GROUPS.contains(&group) => {
                    let mut value = api_group(group);
                    value["kind"] = json!("APIGroup");
                    value["apiVersion"] = json!("v1");
                    value
                }
                ["apis", group, "v1"] if GROUPS.contains(&group) => resources(group),
                ["apis", ..] => return unknown_group(),
                ["healthz" | "livez" | "readyz", "ping"] => return health(),
                _ => return status(&Status::no_such_resource()),
            }
        }
    };
    respond::json(StatusCode::OK, json::compact(&body))
}

fn health() -> Answer {
    respond::api(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        Body::Whole(Some("ok".into())),
    )
}

fn unknown_group() -> Answer {
    let mut response = respond::api(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        Body::Whole(Some("404 page not found\n".into())),
    );
    response.headers_mut().insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        http::HeaderValue::from_static("nosniff"),
    );
    response
}

fn version(minor: u32) -> Value {
    json!({
        "major": "1",
        "minor": minor.to_string(),
        "emulationMajor": "1",
        "emulationMinor": minor.to_string(),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": minor.saturating_sub(1).to_string(),
        "gitVersion": format!("v1.{minor}.2"),
        "gitCommit": "simulated",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "go1.26.6",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn api_group(group: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/v1"), "version": "v1"});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

/// A resource or subresource as discovery names it.
struct Entry {
    name: String,
    singular: String,
    kind: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
    short_names: &'static [&'static str],
    all: bool,
    group_version: Option<&'static str>,
}

fn entries(group: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = ALL
        .into_iter()
        .filter(|kind| kind.group() == group)
        .map(stored)
        .collect();
    let subresource = |name: &str, kind, verbs, group_version| Entry {
        name: name.to_owned(),
        singular: String::new(),
        kind,
        namespaced: true,
        verbs,
        short_names: &[],
        all: false,
        group_version,
    };
    match group {
        "" => {
            entries.push(subresource("pods/log", "Pod", &["get"], None));
            let verbs = &["create", "get"];
            entries.push(subresource(
                "pods/portforward",
                "PodPortForwardOptions",
                verbs,
                None,
            ));
            entries.sort_by(|a, b| a.name.cmp(&b.name));
        }
        "apps" => {
            for (plural, kind) in apps::RESOURCES {
                entries.push(Entry {
                    name: plural.to_owned(),
                    singular: kind.to_lowercase(),
                    kind,
                    namespaced: true,
                    verbs: &["get", "patch"],
                    short_names: &[],
                    all: false,
                    group_version: None,
                });
                let name = format!("{plural}/scale");
                entries.push(subresource(&name, "Scale", &["patch"], None));
            }
        }
        "authorization.k8s.io" => {
            for kind in ["SelfSubjectAccessReview", "SelfSubjectRulesReview"] {
                entries.push(Entry {
                    name: format!("{}s", kind.to_lowercase()),
                    singular: kind.to_lowercase(),
                    kind,
                    namespaced: false,
                    verbs: &["create"],
                    short_names: &[],
                    all: false,
                    group_version: None,
                });
            }
        }
        _ => {}
    }
    entries
}

fn stored(kind: Kind) -> Entry {
    Entry {
        name: kind.plural().to_owned(),
        singular: kind.name().to_lowercase(),
        kind: kind.name(),
        namespaced: kind.namespaced(),
        verbs: match kind {
            Kind::Service => &["create", "delete", "get", "list", "patch", "watch"],
            Kind::Namespace | Kind::Pod => &["create", "delete", "get", "list", "watch"],
            _ => &["get", "list", "watch"],
        },
        short_names: kind.short_names(),
        all: kind.in_category_all(),
        group_version: None,
    }
}

fn resources(group: &str) -> Value {
    let group_version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    let resources: Vec<Value> = entries(group)
        .into_iter()
        .map(|entry| {
            let mut value = json!({
                "name": entry.name,
                "singularName": entry.singular,
                "namespaced": entry.namespaced,
                "kind": entry.kind,
                "verbs": entry.verbs,
            });
            if !entry.short_names.is_empty() {
                value["shortNames"] = json!(entry.short_names);
            }
            if entry.all {
                value["categories"] = json!(["all"]);
            }
            if let Some(group_version) = entry.group_version {
                value["version"] = json!(group_version);
            }
            value
        })
        .collect();
    let mut value = json!({
        "kind": "APIResourceList", "groupVersion": group_version, "resources": resources,
    });
    if !group.is_empty() {
        value["apiVersion"] = json!("v1");
    }
    value
}

fn aggregated_answer(groups: &[&str]) -> Answer {
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(group)).collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let mut answer = respond::json(StatusCode::OK, json::compact(&body));
    answer.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        ),
    );
    answer
}

fn aggregated_group(group: &str) -> Value {
    let (subresources, plain): (Vec<Entry>, Vec<Entry>) = entries(group)
        .into_iter()
        .partition(|entry| entry.name.contains('/'));
    let kind_of = |kind: &str| json!({"group": "", "version": "", "kind": kind});
    let resources: Vec<Value> = plain
        .into_iter()
        .map(|entry| {
            let subs: Vec<Value> = subresources
                .iter()
                .filter_map(|sub| {
                    let name = sub.name.strip_prefix(&entry.name)?.strip_prefix('/')?;
                    Some(json!({
                        "subresource": name, "responseKind": kind_of(sub.kind), "verbs": sub.verbs,
                    }))
                })
                .collect();
            let mut value = json!({
                "resource": entry.name,
                "responseKind": kind_of(entry.kind),
                "scope": if entry.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": entry.singular,
                "verbs": entry.verbs,
            });
            if !entry.short_names.is_empty() {
                value["shortNames"] = json!(entry.short_names);
            }
            if entry.all {
                value["categories"] = json!(["all"]);
            }
            if !subs.is_empty() {
                value["subresources"] = json!(subs);
            }
            value
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    json!({
        "metadata": metadata,
        "versions": [{"version": "v1", "resources": resources, "freshness": "Current"}],
    })
}
