//! Records, and how many of them.

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn taken(recorder: &Recorder) -> (Vec<HttpExchange>, u64) {
    let reports = recorder.take();
    assert!(reports.iter().all(|r| r.exchanges.len() <= MAX_PER_FRAME));
    let unrecorded = reports.iter().flat_map(|r| r.dropped.values()).sum();
    let exchanges = reports.into_iter().flat_map(|report| report.exchanges);
    (exchanges.collect(), unrecorded)
}

#[tokio::test]
async fn what_was_seen_is_told() {
    let recorder = Recorder::new(false);
    let mut tap = recorder.listener(7).tap();
    assert!(
        tap.client(b"GET /a?b HTTP/1.1\r\n\r\n", Instant::now())
            && tap.server(ANSWER, Instant::now())
    );
    recorder.seen().await;
    let (exchanges, _) = taken(&recorder);
    let [exchange] = &exchanges[..] else {
        panic!("{exchanges:?}");
    };
    let HttpExchange {
        listener,
        method,
        path,
        status,
        protocol,
        ..
    } = exchange;
    assert_eq!((*listener, *status), (7, 200));
    assert_eq!([method, path, protocol], ["GET", "/a", "HTTP/1.1"]);
    // A connection that ends with an open request, and one that becomes unclear.
    assert!(tap.client(b"GET /b HTTP/1.1\r\n\r\n", Instant::now()));
    drop(tap);
    let mut unclear = recorder.listener(8).tap();
    assert!(
        unclear.client(b"GET /c HTTP/1.1\r\n\r\n", Instant::now())
            && !unclear.server(b"nonsense\r\n\r\n", Instant::now())
    );
    let (mut lost, mut paths) = (0, Vec::new());
    while lost == 0 || paths.is_empty() {
        recorder.seen().await;
        for report in recorder.take() {
            lost += report.dropped.get(&8).copied().unwrap_or_default();
            paths.extend(report.exchanges.into_iter().map(|e| (e.path, e.status)));
        }
    }
    assert_eq!((lost, paths), (1, vec![("/b".to_owned(), 0)]));
}

#[test]
fn many_requests_are_thinned_out_and_all_counted() {
    let recorder = Recorder::new(false);
    let mut tap = recorder.listener(1).tap();
    for _ in 0..20_000 {
        assert!(
            tap.client(b"GET / HTTP/1.1\r\n\r\n", Instant::now())
                && tap.server(ANSWER, Instant::now())
        );
    }
    let (exchanges, unrecorded) = taken(&recorder);
    assert!(exchanges.len() <= MAX_WAITING);
    assert_eq!(exchanges.len() as u64 + unrecorded, 20_000);
}

#[test]
fn one_in_so_many_is_recorded_evenly() {
    let start = Instant::now();
    let mut rate = Rate::new(start);
    let mut second = |number: u64, requests: u64| {
        let begin = start + Duration::from_secs(number);
        let at = |n| begin + Duration::from_micros(n * 900_000 / requests);
        let admitted: Vec<u64> = (0..requests).filter(|n| rate.admits(at(*n))).collect();
        admitted
    };
    assert_eq!(second(0, 1_000).len(), 1_000);
    assert_eq!(second(1, 4_500).len(), 1_000);
    let spread = second(2, 4_500);
    assert_eq!((spread.len(), spread[1], spread[899]), (900, 5, 4495));
    // After a pause nothing suggests that there will be many.
    assert_eq!(second(9, 10), (0..10).collect::<Vec<_>>());
}

#[test]
fn all_sniffers_together_hold_so_much_and_no_more() {
    let recorder = Recorder::new(false);
    let listener = recorder.listener(1);
    let mut taps = Vec::new();
    let mut refused = 0;
    // Heads that never end.
    let part = [&b"GET / HTTP/1.1\r\nx: "[..], &[b'x'; 15_000]].concat();
    for _ in 0..2_000 {
        let mut tap = listener.tap();
        if tap.client(&part, Instant::now()) {
            taps.push(tap);
        } else {
            refused += 1;
        }
        assert!(recorder.held.held() <= MAX_HELD);
    }
    assert!(refused > 0 && taps.len() > 500);
    drop(taps);
    assert_eq!(recorder.held.held(), 0);
    assert!(listener.tap().client(&part, Instant::now()));
}
