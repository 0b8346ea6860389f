//! Streams: replay, keepalive, gaps, end.

use futures_util::StreamExt;
use kubefwd_core::policy::Via;
use kubefwd_telemetry::logs::LogLine;
use tracing::Level;

use super::*;

fn log(telemetry: &Telemetry, message: &str) {
    telemetry.logs.lines().push(LogLine {
        time: std::time::SystemTime::UNIX_EPOCH,
        level: Level::INFO,
        message: message.to_owned(),
        uid: None,
        service: None,
        fields: Vec::new(),
    });
}

fn start(
    telemetry: &Arc<Telemetry>,
    from: Option<u64>,
    stop: &CancellationToken,
) -> impl Stream<Item = String> + Unpin {
    let encode = |logged: &Logged<LogLine>| {
        (logged.event.message != "hidden")
            .then(|| numbered(logged.id, "log", &logged.event.message))
    };
    let response = follow(
        telemetry.clone(),
        |t| t.logs.lines(),
        from,
        Actor {
            user: None,
            via: Via::UnixSocket,
        },
        encode,
        stop.clone(),
    );
    let body = response.into_body().into_data_stream();
    Box::pin(body.map(|bytes| String::from_utf8(bytes.unwrap().to_vec()).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_stream_replays_goes_on_and_ends() {
    let (telemetry, stop) = (Arc::new(Telemetry::default()), CancellationToken::new());
    for message in ["a", "b", "hidden", "c"] {
        log(&telemetry, message);
    }
    let mut stream = start(&telemetry, Some(1), &stop);
    assert_eq!(stream.next().await.unwrap(), ": connected\n\n");
    assert_eq!(
        stream.next().await.unwrap(),
        "id: 2\nevent: log\ndata: \"b\"\n\n"
    );
    assert_eq!(
        stream.next().await.unwrap(),
        "id: 4\nevent: log\ndata: \"c\"\n\n"
    );
    // Only timers move the clock: the keepalive is next.
    assert_eq!(stream.next().await.unwrap(), ": keepalive\n\n");
    log(&telemetry, "d");
    assert!(stream.next().await.unwrap().starts_with("id: 5\n"));
    stop.cancel();
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_is_told_once() {
    let (telemetry, stop) = (Arc::new(Telemetry::default()), CancellationToken::new());
    let capacity = telemetry.logs.lines().totals().1;
    log(&telemetry, "first");
    let mut stream = start(&telemetry, Some(1), &stop);
    for _ in 0..capacity + 2 {
        log(&telemetry, "x");
    }
    stream.next().await;
    assert_eq!(stream.next().await.unwrap(), "event: resync\ndata: {}\n\n");
    assert!(stream.next().await.unwrap().starts_with("id: 4\n"));
    // A position of another daemon's life.
    let mut stream = start(&telemetry, Some(u64::MAX), &stop);
    stream.next().await;
    assert!(stream.next().await.unwrap().starts_with("event: resync"));
}

#[test]
fn a_position_is_a_number() {
    let mut headers = HeaderMap::new();
    assert_eq!(last_event_id(&headers).unwrap(), None);
    headers.insert("last-event-id", "12".parse().unwrap());
    assert_eq!(last_event_id(&headers).unwrap(), Some(12));
    headers.insert("last-event-id", "x".parse().unwrap());
    assert_eq!(last_event_id(&headers).unwrap_err().status, 400);
}
