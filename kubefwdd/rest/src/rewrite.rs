//! Keys with slashes in the path.
//!
//! The names of contexts may hold `/` (every EKS context does), and clients write them as they are or as `%2F`. A router
//! takes a path apart at its slashes, so those that belong to a key are encoded before it sees them.

use axum::extract::Request;
use http::Uri;
use http::uri::PathAndQuery;

/// Routes whose next segment is a key, and what may follow it.
const KEYED: [(&str, &[&str]); 6] = [
    (
        "/api/v1/services/",
        &["/reconnect", "/sync", "/http", "/history/reconnections"],
    ),
    ("/api/v1/forwards/", &["/http"]),
    ("/api/v1/namespaces/", &[]),
    ("/api/v1/metrics/services/", &["/history"]),
    ("/api/v1/diagnostics/services/", &[]),
    ("/api/v1/diagnostics/forwards/", &[]),
];

/// Encodes the slashes inside of a key.
pub(crate) fn slashes_in_keys(mut request: Request) -> Request {
    if let Some(uri) = rewritten(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn rewritten(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let (prefix, endings) = KEYED.iter().find(|(prefix, _)| path.starts_with(prefix))?;
    let rest = &path[prefix.len()..];
    let ending = endings
        .iter()
        .find(|ending| rest.ends_with(*ending))
        .unwrap_or(&"");
    let key = &rest[..rest.len() - ending.len()];
    // A trailing slash is not part of a key.
    if !key.trim_end_matches('/').contains('/') {
        return None;
    }
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let encoded = key.replace('/', "%2F");
    let mut parts = uri.clone().into_parts();
    let new = format!("{prefix}{encoded}{ending}{query}");
    parts.path_and_query = Some(PathAndQuery::try_from(new).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slashes_of_keys_are_encoded() {
        let context = "arn:aws:eks:eu-1:12:cluster/prod";
        for (path, expected) in [
            (
                format!("/api/v1/services/api.shop.{context}"),
                Some("/api/v1/services/api.shop.arn:aws:eks:eu-1:12:cluster%2Fprod"),
            ),
            (
                format!("/api/v1/services/api.shop.{context}/history/reconnections?count=5"),
                Some(
                    "/api/v1/services/api.shop.arn:aws:eks:eu-1:12:cluster%2Fprod/history/reconnections?count=5",
                ),
            ),
            (
                format!("/api/v1/metrics/services/api.shop.{context}/history"),
                Some(
                    "/api/v1/metrics/services/api.shop.arn:aws:eks:eu-1:12:cluster%2Fprod/history",
                ),
            ),
            ("/api/v1/services/api.shop.kind/reconnect".to_owned(), None),
            ("/api/v1/services/reconnect".to_owned(), None),
            ("/api/v1/services/a.b.c%2Fd/http".to_owned(), None),
            ("/api/v1/kubernetes/pods/a/b/logs".to_owned(), None),
            ("/api/v1/services".to_owned(), None),
        ] {
            let uri: Uri = path.parse().unwrap();
            let new = rewritten(&uri).map(|uri| uri.to_string());
            assert_eq!(new.as_deref(), expected, "{path}");
        }
    }
}
