//! Heads in any pieces.

use super::*;

#[test]
fn a_head_is_found_however_it_is_cut() {
    let bytes = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody";
    let whole = &bytes[..bytes.len() - 4];
    for cut in 0..whole.len() {
        let mut collector = Collector::default();
        let (mut first, mut second) = bytes.split_at(cut);
        assert_eq!(collector.take(&mut first), Ok(None));
        let head = collector.take(&mut second).unwrap().unwrap();
        assert_eq!((&*head, second), (whole, &b"body"[..]), "{cut}");
        assert!(collector.is_empty());
    }
}

#[test]
fn heads_are_bounded() {
    let long = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; MAX_HEAD]].concat();
    let mut collector = Collector::default();
    assert_eq!(collector.take(&mut &long[..]), Err(Unclear));
    let mut collector = Collector::default();
    let mut pieces = long.chunks(1000);
    assert!(pieces.any(|mut piece| collector.take(&mut piece) == Err(Unclear)));
    assert!(collector.held() <= 2 * MAX_HEAD);
    let many = "a: b\r\n".repeat(MAX_HEADERS + 1);
    let head = format!("GET / HTTP/1.1\r\n{many}\r\n");
    assert_eq!(
        RequestHead::parse(head.as_bytes(), true, Instant::now()).err(),
        Some(Unclear)
    );
}

#[test]
fn what_smugglers_write_is_unclear() {
    for headers in [
        "content-length: 5\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length : 5\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: gzip\r\n",
        " folded: 1\r\n",
        "x: 1\r\n folded\r\n",
        "x: a\0b\r\n",
        "x: a\rb\r\n",
        "transfer-encoding\r\n",
    ] {
        let head = format!("POST / HTTP/1.1\r\n{headers}\r\n");
        assert_eq!(
            RequestHead::parse(head.as_bytes(), true, Instant::now()).err(),
            Some(Unclear),
            "{headers:?}"
        );
        let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        assert_eq!(
            ResponseHead::parse(head.as_bytes()).err(),
            Some(Unclear),
            "{headers:?}"
        );
    }
    let old = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(
        RequestHead::parse(old, true, Instant::now()).err(),
        Some(Unclear)
    );
    let mut lone = &b"GET / HTTP/1.1\r\nhost: a\n\r\n"[..];
    assert_eq!(Collector::default().take(&mut lone), Err(Unclear));
}
