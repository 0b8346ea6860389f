//! The endpoints of a service: from EndpointSlices, or from Endpoints where slices may not be read or are not known.

use k8s_openapi::api::core::v1::{
    EndpointAddress as CoreAddress, EndpointPort as CorePort, Endpoints, Service,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Api;
use kube::api::ListParams;
use kubefwd_model::discovery::{EndpointAddress, EndpointPort, EndpointSubset};
use kubefwd_model::text::Text;
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::worker::v1::EndpointsQuery;

use super::lists::{Pages, number, protocol};
use super::sender::{AnswerSender, Stop};
use super::{ask, log_in, unless_forbidden, valid_name};
use crate::cluster::Cluster;

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

pub(super) async fn endpoints(
    cluster: &Cluster,
    question: EndpointsQuery,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    valid_name("service", &question.service)?;
    log_in(cluster).await?;
    let subsets = match from_slices(cluster, &question).await {
        Err(slices) if matches!(slices.reason, Reason::ForbiddenByCluster | Reason::NotFound) => {
            let found = from_endpoints(cluster, &question).await;
            // If neither may be read, report the API that is in use today.
            found.map_err(|endpoints| match endpoints.reason {
                Reason::ForbiddenByCluster => slices,
                _ => endpoints,
            })?
        }
        found => {
            let subsets = found?;
            if subsets.is_empty() {
                service_exists(cluster, &question).await?;
            }
            subsets
        }
    };
    answers.send_list(subsets, true).await
}

async fn from_slices(
    cluster: &Cluster,
    question: &EndpointsQuery,
) -> Result<Vec<EndpointSubset>, Failure> {
    let api: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), &question.namespace);
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL}={}", question.service));
    let mut pages = Pages::new(api, params);
    let mut subsets = Vec::new();
    while let Some((slices, _)) = pages.next().await? {
        subsets.extend(slices.into_iter().map(of_slice));
    }
    Ok(subsets)
}

async fn from_endpoints(
    cluster: &Cluster,
    question: &EndpointsQuery,
) -> Result<Vec<EndpointSubset>, Failure> {
    let api: Api<Endpoints> = Api::namespaced(cluster.client.clone(), &question.namespace);
    let endpoints = ask(api.get(&question.service)).await?;
    let addresses =
        |list: Option<Vec<CoreAddress>>| list.into_iter().flatten().map(address).collect();
    let port = |port: CorePort| EndpointPort {
        name: Text::non_empty(port.name),
        port: number(port.port),
        protocol: protocol(port.protocol),
    };
    let subsets = endpoints.subsets.into_iter().flatten();
    let subsets = subsets.map(|subset| EndpointSubset {
        addresses: addresses(subset.addresses),
        not_ready_addresses: addresses(subset.not_ready_addresses),
        ports: subset.ports.into_iter().flatten().map(port).collect(),
    });
    Ok(subsets.collect())
}

/// A service that does not exist has no slice either.
async fn service_exists(cluster: &Cluster, question: &EndpointsQuery) -> Result<(), Failure> {
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &question.namespace);
    unless_forbidden(ask(api.get_metadata(&question.service)).await)
}

fn of_slice(slice: EndpointSlice) -> EndpointSubset {
    let ports = slice.ports.into_iter().flatten().map(|port| EndpointPort {
        name: Text::non_empty(port.name),
        port: number(port.port.unwrap_or_default()),
        protocol: protocol(port.protocol),
    });
    let mut subset = EndpointSubset {
        ports: ports.collect(),
        ..EndpointSubset::default()
    };
    for endpoint in slice.endpoints.into_iter().flatten() {
        // Unknown counts as ready (discovery/v1 API).
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready);
        let list = match ready {
            Some(false) => &mut subset.not_ready_addresses,
            _ => &mut subset.addresses,
        };
        list.extend(of_endpoint(endpoint));
    }
    subset
}

/// All addresses of an endpoint belong to the same pod; the first is the one to use.
fn of_endpoint(endpoint: Endpoint) -> Option<EndpointAddress> {
    Some(address(CoreAddress {
        ip: endpoint.addresses.into_iter().next()?,
        hostname: endpoint.hostname,
        node_name: endpoint.node_name,
        target_ref: endpoint.target_ref,
    }))
}

fn address(address: CoreAddress) -> EndpointAddress {
    let target = address.target_ref;
    let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
    EndpointAddress {
        ip: address.ip.into(),
        hostname: Text::non_empty(address.hostname),
        node_name: Text::non_empty(address.node_name),
        pod_name: Text::non_empty(pod.and_then(|target| target.name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_is_sorted_by_readiness() {
        let slice = json!({
            "addressType": "IPv4", "metadata": {},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "nodeName": "n"},
                {"addresses": []},
            ],
        });
        let subset = of_slice(serde_json::from_value(slice).unwrap());
        assert_eq!(subset.addresses.len(), 1);
        assert_eq!(subset.addresses[0].pod_name.as_deref(), Some("a"));
        assert_eq!(
            subset.not_ready_addresses[0].node_name.as_deref(),
            Some("n")
        );
        assert_eq!(subset.ports[0].protocol, "TCP");
    }
}
