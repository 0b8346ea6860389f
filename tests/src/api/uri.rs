//! Query strings and the meaning of request paths.

use http::Method;

use crate::kinds::Kind;

/// A decoded query string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        Self(
            pairs
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a key, unless empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(k, _)| k == key);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let matching = self.0.iter().filter(move |(k, _)| k == key);
        matching.map(|(_, value)| value.as_str())
    }

    /// Whether a boolean parameter is set.
    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                    _ => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A request for stored objects or for a subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl ResourcePath {
    /// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`; `None` for paths that name no resource.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        let version = parts.next()?.to_owned();
        let mut rest: Vec<String> = parts.map(decode).collect();
        let mut namespace = None;
        // `/namespaces/NAME` alone is the namespace itself, and so are its own subresources.
        if rest.len() > 2
            && rest[0] == "namespaces"
            && !matches!(rest[2].as_str(), "status" | "finalize")
        {
            namespace = Some(rest[1].clone());
            rest.drain(..2);
        }
        let mut rest = rest.into_iter();
        Some(Self {
            group,
            version,
            namespace,
            resource: rest.next()?,
            name: rest.next(),
            subresource: rest.next(),
        })
    }

    /// The stored kind it is about.
    pub(crate) fn kind(&self) -> Option<Kind> {
        (self.version == "v1")
            .then(|| Kind::from_path(&self.group, &self.resource))
            .flatten()
    }

    /// `resource` or `resource/subresource`.
    pub(crate) fn full_resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.clone(),
        }
    }

    /// The RBAC verb of a request.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> &'static str {
        match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_none() => "deletecollection",
            Method::DELETE => "delete",
            _ if self.name.is_some() => "get",
            _ if query.flag("watch") => "watch",
            _ => "list",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resource with subresource, namespace and name.
    fn parse(path: &str) -> Option<(String, Option<String>, Option<String>)> {
        let path = ResourcePath::parse(path)?;
        Some((path.full_resource(), path.namespace, path.name))
    }

    #[test]
    fn paths_name_resources() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            parse("/api/v1/namespaces/demo/pods/db-0/portforward"),
            Some(("pods/portforward".into(), some("demo"), some("db-0")))
        );
        assert_eq!(
            parse("/api/v1/namespaces/demo"),
            Some(("namespaces".into(), None, some("demo")))
        );
        assert_eq!(
            parse("/apis/discovery.k8s.io/v1/endpointslices"),
            Some(("endpointslices".into(), None, None))
        );
        assert_eq!(parse("/api/v1"), None);
        assert_eq!(parse("/version"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some(
            "labelSelector=app%3Dweb%2Ctier+in&watch=1&x&ports=1&ports=2",
        ));
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in"));
        assert!(query.flag("watch"));
        assert_eq!(query.get("x"), None);
        assert_eq!(query.all("ports").collect::<Vec<_>>(), ["1", "2"]);
    }

    proptest::proptest! {
        #[test]
        fn any_path_and_query_is_read(text in ".{0,80}") {
            let _ = ResourcePath::parse(&text);
            let _ = Query::parse(Some(&text));
        }
    }
}
