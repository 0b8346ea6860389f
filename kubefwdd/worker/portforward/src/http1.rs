//! The little HTTP/1.1 that opens a tunnel: one request with an upgrade, the head of one response, and the reason in its
//! body if the server refused.

use http::{HeaderMap, HeaderName, StatusCode};
use kubefwd_model::text::clean;
use serde::Deserialize;
use thiserror::Error;

/// The largest response head that is read, and the largest body that is searched for a reason.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 100;
const MAX_MESSAGE: usize = 512;

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where the body starts in the bytes that were parsed.
    pub(crate) length: usize,
}

/// Bytes that are not an HTTP/1 response.
#[derive(Debug, Error)]
pub(crate) enum HeadError {
    #[error("the response is not HTTP/1.1: {0}")]
    Syntax(#[from] httparse::Error),
    #[error("the response's status or a header is not valid HTTP")]
    Field,
    #[error("the response's head is larger than 64 KiB")]
    TooLarge,
}

/// Parses the head of a response; `None` while it is incomplete.
///
/// # Errors
/// [`HeadError`]: the bytes can never become a response that we read.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(bytes)? else {
        if bytes.len() >= MAX_HEAD {
            return Err(HeadError::TooLarge);
        }
        return Ok(None);
    };
    let code = response.code.ok_or(HeadError::Field)?;
    let mut head = http::Response::builder().status(code);
    for field in response.headers.iter() {
        head = head.header(field.name, field.value);
    }
    let (head, ()) = head.body(()).map_err(|_| HeadError::Field)?.into_parts();
    Ok(Some(Head {
        status: head.status,
        headers: head.headers,
        length,
    }))
}

/// Why a server refused, according to its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The message of a Kubernetes `Status`, or the start of a plain-text body.
    pub(crate) message: String,
    /// The body was a Kubernetes `Status`: the API server itself spoke, not a proxy or the kubelet.
    pub(crate) is_status: bool,
}

/// Reads the reason from the body of a refusal.
pub(crate) fn reason(body: &[u8]) -> Reason {
    #[derive(Deserialize)]
    struct Status {
        kind: String,
        #[serde(default)]
        message: String,
    }
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if status.kind == "Status" => Reason {
            message: printable(&status.message),
            is_status: true,
        },
        _ => Reason {
            message: printable(&String::from_utf8_lossy(body)),
            is_status: false,
        },
    }
}

/// The text on one line, without control characters and of bounded length: it goes to logs and terminals.
pub(crate) fn printable(text: &str) -> String {
    let text = clean(text, MAX_MESSAGE);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a list-valued header names `token`.
pub(crate) fn names(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut items = values.flat_map(|value| value.split(','));
    items.any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// A request head: the line, then the headers in the order given.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use http::header::UPGRADE;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::corpus::damaged;

    const SEEDS: &[&[u8]] = &[
        SWITCHING,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\npod does not exist",
        b"{\"kind\":\"Status\",\"message\":\"pods \\\"nope\\\" not found\",\"code\":404}",
    ];
    const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n\x80\x03";

    #[test]
    fn the_head_ends_where_the_frames_begin() {
        let head = parse_head(SWITCHING).unwrap().unwrap();
        assert_eq!(head.status, StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(&SWITCHING[head.length..], b"\x80\x03");
        assert!(names(&head.headers, UPGRADE, "spdy/3.1"));
        assert!(!names(&head.headers, UPGRADE, "websocket"));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let head = parse_head(SWITCHING).unwrap().unwrap();
        for end in 0..head.length {
            assert!(
                parse_head(&SWITCHING[..end]).unwrap().is_none(),
                "prefix of {end} bytes"
            );
        }
    }

    #[test]
    fn a_status_gives_its_message() {
        let body = br#"{"kind":"Status","status":"Failure","message":"pods \"nope\" not found","code":404}"#;
        assert_eq!(
            reason(body),
            Reason {
                message: "pods \"nope\" not found".to_owned(),
                is_status: true
            }
        );
    }

    #[test]
    fn plain_text_is_cleaned() {
        assert_eq!(
            reason(b"pod does\r\n not \x1b[31mexist\n"),
            Reason {
                message: "pod does not [31mexist".to_owned(),
                is_status: false
            }
        );
    }

    #[test]
    fn an_endless_head_is_refused() {
        let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        head.resize(MAX_HEAD, b'a');
        assert!(matches!(parse_head(&head), Err(HeadError::TooLarge)));
    }

    proptest! {
        #[test]
        fn damaged_heads_never_panic_nor_change_with_what_follows(bytes in damaged(SEEDS)) {
            let _ = reason(&bytes);
            if let Ok(Some(head)) = parse_head(&bytes) {
                let longer = [&bytes[..], b"more"].concat();
                let again = parse_head(&longer).unwrap().unwrap();
                prop_assert_eq!((again.status, again.length), (head.status, head.length));
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_head(&bytes);
            let _ = reason(&bytes);
        }
    }
}
