//! Conversations in HTTP/1.

use super::{Record, Side, Talk, client, server, watch};

/// One of each kind of message.
pub(super) fn conversation() -> Talk {
    vec![
        client("GET /first?token=secret HTTP/1.1\r\nhost: a\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        // Pipelined, with bodies both ways.
        client(
            "\r\nPOST /second HTTP/1.1\r\ncontent-length: 4\r\n\r\nGET HEAD /third HTTP/1.1\r\n\r\nPUT /fourth HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\nx: y\r\n\r\nGET /fifth HTTP/1.1\r\n\r\n",
        ),
        server(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\ntrailer: 1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n",
        ),
        client("DELETE /sixth HTTP/1.0\r\n\r\n"),
        server("HTTP/1.0 500 Oops\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end"),
    ]
}

fn lines(record: Record) -> Vec<String> {
    assert_eq!(record.unrecorded, 0);
    record.lines
}

#[test]
fn each_answer_goes_with_its_request() {
    let record = watch(&conversation());
    assert!(record.to_the_end);
    assert_eq!(
        lines(record),
        [
            "GET /first 200 5 HTTP/1.1",
            "POST /second 201 19 HTTP/1.1",
            "HEAD /third 200 0 HTTP/1.1",
            "PUT /fourth 204 0 HTTP/1.1",
            "GET /fifth 304 0 HTTP/1.1",
            "DELETE /sixth 500 32 HTTP/1.0",
        ]
    );
}

#[test]
fn what_is_cut_off_is_recorded_as_far_as_it_came() {
    let talk = [
        client("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HT"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1234"),
    ];
    assert_eq!(
        lines(watch(&talk)),
        ["GET /a 200 4 HTTP/1.1", "GET /b 0 0 HTTP/1.1"]
    );
}

#[test]
fn after_a_switch_nothing_is_looked_at() {
    let upgrade = [
        client("GET /ws HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        server("HTTP/1.1 101 Switching Protocols\r\n\r\n\x01\x02"),
        client("GET /not-a-request HTTP/1.1\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ];
    let connect = [
        client("CONNECT user:pw@db:5432 HTTP/1.1\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\n\r\n"),
        client("GET /not-a-request HTTP/1.1\r\n\r\n"),
    ];
    let refused = [
        client("CONNECT db:5432 HTTP/1.1\r\n\r\n"),
        server("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"),
        client("GET / HTTP/1.1\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ];
    assert_eq!(lines(watch(&upgrade)), ["GET /ws 101 0 HTTP/1.1"]);
    assert_eq!(lines(watch(&connect)), ["CONNECT db:5432 200 0 HTTP/1.1"]);
    assert_eq!(
        lines(watch(&refused)),
        ["CONNECT db:5432 403 2 HTTP/1.1", "GET / 200 0 HTTP/1.1"]
    );
}

#[test]
fn a_body_that_may_never_come_ends_the_record() {
    let expects = "PUT /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 20\r\n\r\n";
    let told = [
        client(expects),
        server("HTTP/1.1 100 Continue\r\n\r\n"),
        client("GET /x HTTP/1.1\r\n\r\n\n"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        client("GET /b HTTP/1.1\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"),
    ];
    assert_eq!(
        lines(watch(&told)),
        ["PUT /a 200 0 HTTP/1.1", "GET /b 200 1 HTTP/1.1"]
    );
    let refused = [
        client(expects),
        server("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
        client("GET /b HTTP/1.1\r\n\r\n"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ];
    assert_eq!(lines(watch(&refused)), ["PUT /a 401 0 HTTP/1.1"]);
}

#[test]
fn doubt_ends_the_record_and_counts_what_was_asked() {
    let ok = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let get = client("GET /a HTTP/1.1\r\n\r\n");
    let cases: Vec<(Talk, u64)> = vec![
        // Two lengths.
        (
            vec![
                get.clone(),
                client(
                    "POST /b HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                ),
                ok.clone(),
            ],
            1,
        ),
        // An answer that nobody asked for makes the next pair doubtful.
        (
            vec![get.clone(), ok.clone(), ok.clone(), get.clone(), ok.clone()],
            0,
        ),
        (vec![get.clone(), server("HTTQ/1.1 200 OK\r\n\r\n")], 1),
        (
            vec![client("GET /a HTTP/1.1\r\n\r\n".repeat(33)), ok.clone()],
            32,
        ),
        // The server speaks HTTP/1.1 and says two things about one body.
        (
            vec![
                get,
                server("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12"),
            ],
            1,
        ),
    ];
    for (talk, unrecorded) in cases {
        let record = watch(&talk);
        assert!(!record.to_the_end, "{talk:?}");
        assert_eq!(record.unrecorded, unrecorded, "{talk:?}");
        let answered = talk
            .iter()
            .filter(|(side, _)| *side == Side::Server)
            .count();
        assert!(record.lines.len() < answered, "{record:?}");
    }
}
