//! The proxy in front of an API server: the kubeconfig's `proxy-url`, else the environment's, as kubectl reads it.

use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::Cluster;
use kubefwd_model::{Failure, failure};

use crate::auth::kubeconfig::Environment;

/// The proxy to connect through, as `http://`, `https://` or `socks5://` with its credentials, if it has any.
///
/// # Errors
/// The address of the proxy is invalid, or its kind is not supported.
pub(super) fn choose(
    cluster: &Cluster,
    server: &Uri,
    environment: &Environment,
) -> Result<Option<Uri>, Failure> {
    if let Some(url) = cluster.proxy_url.as_deref().filter(|url| !url.is_empty()) {
        return parse("proxy-url of the kubeconfig", url).map(Some);
    }
    let variable = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| {
            let value = environment.get(name).filter(|value| !value.is_empty())?;
            Some((name, value.as_str()))
        })
    };
    let named = if server.scheme() == Some(&Scheme::HTTP) {
        variable(["HTTP_PROXY", "http_proxy"])
    } else {
        variable(["HTTPS_PROXY", "https_proxy"])
    };
    let exempt = variable(["NO_PROXY", "no_proxy"]).map_or("", |(_, value)| value);
    let named = named.filter(|_| !is_local(server) && !is_exempt(server, exempt));
    named.map(|(name, url)| parse(name, url)).transpose()
}

/// Never uses a proxy for this machine (as in Go's `net/http`): local clusters work with any setting.
fn is_local(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn is_exempt(server: &Uri, exempt: &str) -> bool {
    let matcher = Matcher::builder().all("http://proxy").no(exempt.to_owned());
    matcher.build().intercept(server).is_none()
}

fn parse(origin: &str, url: &str) -> Result<Uri, Failure> {
    let with_scheme = match url.split_once("://") {
        Some(("socks5h", rest)) => format!("socks5://{rest}"),
        Some(_) => url.to_owned(),
        None => format!("http://{url}"),
    };
    let invalid = |why: &str| {
        // The address itself may hold a password.
        failure!(KubeconfigInvalid, "invalid proxy in {origin}: {why}")
            .hint("use http://, https:// or socks5://host:port")
    };
    let uri: Uri = with_scheme
        .parse()
        .map_err(|_| invalid("it is not a valid address"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("it has no host"));
    }
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") => Ok(uri),
        _ => Err(invalid("its scheme is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        proxy_url: Option<&str>,
        server: &str,
        environment: &[(&str, &str)],
    ) -> Option<String> {
        let cluster = Cluster {
            proxy_url: proxy_url.map(str::to_owned),
            ..Cluster::default()
        };
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        choose(&cluster, &server.parse().unwrap(), &environment)
            .unwrap()
            .map(|uri| uri.to_string())
    }

    #[test]
    fn the_kubeconfig_wins_over_the_environment_and_its_exceptions() {
        let environment = [
            ("HTTPS_PROXY", "proxy:3128"),
            ("NO_PROXY", ".corp,10.0.0.0/8"),
        ];
        let plain = Some("http://proxy:3128/".to_owned());
        assert_eq!(
            chosen(None, "https://api.example:6443", &environment),
            plain
        );
        for exempt in [
            "https://api.corp",
            "https://10.1.2.3:6443",
            "https://localhost:1",
            "https://127.0.0.1:1",
            "https://[::1]:1",
        ] {
            assert_eq!(chosen(None, exempt, &environment), None, "{exempt}");
        }
        let socks = Some("socks5://u:p@s:1080/".to_owned());
        assert_eq!(
            chosen(
                Some("socks5h://u:p@s:1080"),
                "https://api.corp",
                &environment
            ),
            socks
        );
        assert_eq!(chosen(None, "http://api.example", &environment), None);
        assert_eq!(
            chosen(None, "https://api.example", &[("HTTPS_PROXY", "")]),
            None
        );
    }

    #[test]
    fn an_invalid_proxy_is_refused_without_showing_its_password() {
        for url in ["ftp://u:hunter2@p", "http://", "http://u:hunter2@ p"] {
            let cluster = Cluster {
                proxy_url: Some(url.to_owned()),
                ..Cluster::default()
            };
            let server = "https://api".parse().unwrap();
            let failure = choose(&cluster, &server, &Environment::new()).unwrap_err();
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }
}
