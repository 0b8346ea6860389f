//! What is kept out before anything is routed.

use super::*;

fn local() -> Option<SocketAddr> {
    Some("127.2.27.1:80".parse().unwrap())
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn only_our_own_hosts_are_served() {
    let uri = Uri::from_static("/api/health");
    let check = |host: &str| is_for_us(&uri, &headers(&[("host", host)]), local()).is_ok();
    for host in [
        "kubefwd.internal",
        "KUBEFWD.internal:80",
        "127.2.27.1",
        "localhost",
        "127.0.0.1:80",
        "[::1]:80",
        "[::1]",
    ] {
        assert!(check(host), "{host}");
    }
    for host in [
        "evil.example",
        "kubefwd.internal.evil.example",
        "kubefwd.internal:8080",
        "127.2.27.1:080",
        "",
        "127.0.0.2",
        "localhost.",
    ] {
        assert!(!check(host), "{host}");
    }
    assert!(is_for_us(&uri, &headers(&[]), local()).is_err());
    let two = headers(&[("host", "localhost"), ("host", "localhost")]);
    assert!(is_for_us(&uri, &two, local()).is_err());
    let absolute = Uri::from_static("http://evil.example/api/health");
    assert!(is_for_us(&absolute, &headers(&[("host", "localhost")]), local()).is_err());
    assert!(is_for_us(&uri, &headers(&[("host", "anything")]), None).is_ok());
}

#[test]
fn other_pages_are_kept_out() {
    let for_host = |host, name, value| {
        is_not_foreign(&headers(&[("host", host), (name, value)]), local()).is_ok()
    };
    let check = |name, value| for_host("kubefwd.internal", name, value);
    assert!(check("origin", "http://kubefwd.internal"));
    assert!(check("referer", "http://KUBEFWD.internal:80/docs"));
    assert!(for_host("127.2.27.1", "referer", "http://127.2.27.1/docs"));
    assert!(check("sec-fetch-site", "same-origin") && check("sec-fetch-site", "none"));
    for (name, value) in [
        ("origin", "null"),
        ("origin", "https://kubefwd.internal"),
        ("origin", "http://kubefwd.internal:8080"),
        ("origin", "http://kubefwd.internal@evil.example"),
        ("referer", "http://evil.example/http://kubefwd.internal/"),
        ("referer", "http://localhost:3000/"),
        ("origin", "http://localhost"),
        ("origin", "http://127.0.0.1"),
        ("origin", "http://[::1]"),
        ("origin", "http://127.2.27.1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", ""),
    ] {
        assert!(!check(name, value), "{name}: {value}");
    }
    assert!(is_not_foreign(&headers(&[("origin", "http://localhost")]), None).is_err());
}

#[test]
fn what_a_form_can_send_is_refused() {
    let check = |method: Method, pairs: &[(&'static str, &str)]| {
        is_json(&method, &headers(pairs)).map_err(|error| error.status.as_u16())
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(check(Method::POST, &[form]), Err(415));
    assert_eq!(
        check(
            Method::POST,
            &[("content-type", "text/plain"), ("content-length", "2")]
        ),
        Err(415)
    );
    assert_eq!(
        check(Method::DELETE, &[("transfer-encoding", "chunked")]),
        Err(415)
    );
    assert_eq!(check(Method::POST, &[("content-length", "9")]), Err(415));
    assert_eq!(check(Method::POST, &[]), Ok(()));
    assert_eq!(check(Method::POST, &[("content-length", "0")]), Ok(()));
    let json = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(
        check(Method::POST, &[json, ("content-length", "9")]),
        Ok(())
    );
    assert_eq!(
        check(Method::POST, &[json, ("content-length", "65537")]),
        Err(413)
    );
    assert_eq!(check(Method::GET, &[form]), Ok(()));
}
