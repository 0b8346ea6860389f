//! Content negotiation: which representation a client asks for.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::Status;

/// A representation the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The objects themselves.
    Objects,
    /// `as=Table`
    Table,
    /// `as=PartialObjectMetadata` or `as=PartialObjectMetadataList`
    Metadata,
    /// Discovery of all groups in one document.
    AggregatedDiscovery,
}

/// The first form in the client's order that the server has for this kind of request.
pub(crate) fn negotiate(headers: &HeaderMap, discovery: bool) -> Result<Form, Status> {
    let mut asked = false;
    for value in headers.get_all(ACCEPT) {
        for clause in value.to_str().unwrap_or_default().split(',') {
            asked = true;
            if let Some(form) = clause_form(clause, discovery) {
                return Ok(form);
            }
        }
    }
    if asked {
        Err(Status::not_acceptable())
    } else {
        Ok(Form::Objects)
    }
}

fn clause_form(clause: &str, discovery: bool) -> Option<Form> {
    let mut parts = clause.split(';').map(str::trim);
    let media = parts.next()?;
    if !matches!(
        media,
        "application/json" | "*/*" | "application/*" | "text/plain"
    ) || (media == "text/plain" && !discovery)
    {
        return None;
    }
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| parameters.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    match parameter("as") {
        None => Some(Form::Objects),
        Some("APIGroupDiscoveryList") if discovery && parameter("v") == Some("v2") => {
            Some(Form::AggregatedDiscovery)
        }
        Some("Table") if !discovery && parameter("v") == Some("v1") => Some(Form::Table),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList")
            if !discovery && parameter("v") == Some("v1") =>
        {
            Some(Form::Metadata)
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str, discovery: bool) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        negotiate(&headers, discovery).ok()
    }

    #[test]
    fn the_first_clause_the_server_knows_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl, false), Some(Form::Table));
        assert_eq!(
            form(
                "application/vnd.kubernetes.protobuf,application/json",
                false
            ),
            Some(Form::Objects)
        );
        assert_eq!(form("application/json, */*", false), Some(Form::Objects));
        assert_eq!(form("application/vnd.kubernetes.protobuf", false), None);
        assert_eq!(form("image/png", false), None);
        let discovery =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(form(discovery, true), Some(Form::AggregatedDiscovery));
        assert_eq!(
            form(
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                false
            ),
            Some(Form::Metadata)
        );
        assert_eq!(
            negotiate(&HeaderMap::new(), false).ok(),
            Some(Form::Objects)
        );
    }
}
