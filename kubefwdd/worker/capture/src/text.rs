//! The texts of a record: methods without an allocation, and targets without credentials and queries.

use std::borrow::Cow;

/// The longest text that is kept of a target, bytes; as much as the daemon keeps.
const TARGET: usize = 1024;
const METHOD: usize = 32;

/// The methods that nearly all requests have.
const COMMON: [&str; 9] = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
];

/// The method that these bytes name.
pub(super) fn method(text: &[u8]) -> Cow<'static, str> {
    match COMMON.iter().find(|known| known.as_bytes() == text) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(cut(text, METHOD).into()),
    }
}

/// The target of a request: its path, without host and user where the whole address is given, and without the query
/// unless that is to be kept.
pub(super) fn target(raw: &[u8], keep_query: bool) -> Box<str> {
    let mut target = raw;
    if raw.first() != Some(&b'/')
        && let Some(at) = raw.windows(3).position(|window| window == b"://")
        && !raw[..at].contains(&b'/')
        && !raw[..at].contains(&b'?')
    {
        let behind = &raw[at + 3..];
        let path = behind.iter().position(|byte| matches!(byte, b'/' | b'?'));
        target = path.map_or(b"/", |path| &behind[path..]);
    }
    if !keep_query && let Some(query) = target.iter().position(|byte| matches!(byte, b'?' | b'#')) {
        target = &target[..query];
    }
    cut(target, TARGET)
}

/// The host and port that a tunnel is asked for, without a user.
pub(super) fn authority(raw: &[u8]) -> Box<str> {
    let user = raw.iter().rposition(|byte| *byte == b'@');
    cut(user.map_or(raw, |at| &raw[at + 1..]), TARGET)
}

fn cut(raw: &[u8], limit: usize) -> Box<str> {
    String::from_utf8_lossy(&raw[..raw.len().min(limit)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_users_are_left_out() {
        for (raw, kept, redacted) in [
            ("/a/b", "/a/b", "/a/b"),
            ("/a?token=secret", "/a?token=secret", "/a"),
            ("/a#part?x", "/a#part?x", "/a"),
            (
                "/login?next=http://user:pw@host/x",
                "/login?next=http://user:pw@host/x",
                "/login",
            ),
            ("http://user:pw@host:80/a?b", "/a?b", "/a"),
            ("http://user:pw@host", "/", "/"),
            ("http://user:pw@host?b", "?b", ""),
            (
                "/see/http://user@host/",
                "/see/http://user@host/",
                "/see/http://user@host/",
            ),
            ("*", "*", "*"),
        ] {
            assert_eq!(&*target(raw.as_bytes(), true), kept);
            assert_eq!(&*target(raw.as_bytes(), false), redacted);
        }
        assert_eq!(&*authority(b"user:pw@host:443"), "host:443");
    }

    #[test]
    fn texts_are_bounded_and_always_text() {
        assert_eq!(target(&[b'x'; 5000], true).len(), TARGET);
        assert_eq!(&*target(b"/\xff", true), "/\u{fffd}");
        assert_eq!(method(b"PROPFIND"), "PROPFIND");
        assert_eq!(method(&[b'M'; 100]).len(), METHOD);
        assert!(matches!(method(b"GET"), Cow::Borrowed("GET")));
    }
}
