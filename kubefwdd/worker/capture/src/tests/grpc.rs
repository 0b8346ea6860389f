//! Conversations in HTTP/2 and gRPC, frame by frame.

use super::{PREFACE, Record, Talk, client, server, watch, watch_in};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END: u8 = 1;
const WHOLE: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Fields as literals that are added to the table.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x40);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn asks(path: &str) -> Vec<u8> {
    fields(&[(":method", "POST"), (":path", path)])
}

/// Two gRPC calls and three requests whose frames lie between each other's.
pub(super) fn conversation() -> Talk {
    let call = |path| {
        fields(&[
            (":method", "POST"),
            (":path", path),
            ("content-type", "application/grpc+proto"),
        ])
    };
    let list = call("/shop.Orders/List");
    let (first, second) = list.split_at(20);
    vec![
        client([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        client(frame(HEADERS, 0, 1, first)),
        client(frame(CONTINUATION, WHOLE, 1, second)),
        client(frame(DATA, END, 1, b"message")),
        server(frame(SETTINGS, 0, 0, &[])),
        client(frame(HEADERS, WHOLE | END, 3, &call("/shop.Orders/Get"))),
        client(frame(HEADERS, WHOLE | END, 5, &asks("/plain?q=secret"))),
        server(frame(HEADERS, WHOLE, 3, &[0x88])),
        server(frame(HEADERS, WHOLE, 1, &[0x88])),
        server(frame(DATA, 0, 1, &[0; 100])),
        server(frame(DATA, 0, 3, &[0; 7])),
        server(frame(DATA, 8, 1, &[3, 1, 2, 3, 4, 0, 0, 0])),
        // An interim answer, then the answer.
        server(frame(HEADERS, WHOLE, 5, &fields(&[(":status", "103")]))),
        server(frame(
            HEADERS,
            WHOLE | END,
            5,
            &fields(&[(":status", "404")]),
        )),
        server(frame(
            HEADERS,
            WHOLE | END,
            3,
            &fields(&[("grpc-status", "5")]),
        )),
        server(frame(
            HEADERS,
            WHOLE | END,
            1,
            &fields(&[("grpc-status", "0")]),
        )),
        client(frame(HEADERS, WHOLE | END, 7, &asks("/cancelled"))),
        client(frame(RST_STREAM, 0, 7, &[0, 0, 0, 8])),
        client(frame(HEADERS, WHOLE | END, 9, &asks("/refused"))),
        client(frame(HEADERS, WHOLE | END, 11, &asks("/unfinished"))),
        server(frame(GOAWAY, 0, 0, &[0; 8])),
    ]
}

#[test]
fn answers_go_with_their_streams() {
    let record = watch(&conversation());
    assert_eq!(
        record.lines,
        [
            "POST /plain 404 0 HTTP/2",
            "POST /shop.Orders/Get 200 7 gRPC 5",
            "POST /shop.Orders/List 200 104 gRPC 0",
            "POST /cancelled 0 0 HTTP/2",
            "POST /refused 0 0 HTTP/2",
            "POST /unfinished 0 0 HTTP/2",
        ]
    );
    assert!(record.to_the_end && record.unrecorded == 0);
}

/// As Go's servers do (RFC 9113, section 3.4: each side's preface may come without the other's).
#[test]
fn a_server_may_send_its_settings_before_the_client_has_spoken() {
    let settings = server(frame(SETTINGS, 0, 0, &[0; 6]));
    let mut first = conversation();
    first.insert(0, settings.clone());
    let mut between = conversation();
    let rest = between[0].1.split_off(5);
    between.splice(1..1, [settings, client(rest)]);
    for talk in [first, between] {
        for size in [1, 7, usize::MAX] {
            assert_eq!(watch_in(&talk, &[size]), watch(&conversation()));
        }
    }
    let to_http1 = [
        server(frame(SETTINGS, 0, 0, &[])),
        client("GET / HTTP/1.1\r\n\r\n"),
    ];
    assert_eq!(watch(&to_http1), Record::default());
}

#[test]
fn the_end_of_the_connection_ends_what_is_open() {
    let talk = [
        client([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        server(frame(SETTINGS, 0, 0, &[])),
        client(frame(HEADERS, WHOLE | END, 1, &asks("/a"))),
        client(frame(HEADERS, WHOLE | END, 3, &asks("/b"))),
        server(frame(HEADERS, WHOLE, 3, &[0x88])),
        server(frame(DATA, 0, 3, b"some")),
    ];
    assert_eq!(
        watch(&talk).lines,
        ["POST /a 0 0 HTTP/2", "POST /b 200 4 HTTP/2"]
    );
}

#[test]
fn streams_beyond_the_limit_are_counted() {
    let mut talk = vec![
        client([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        server(frame(SETTINGS, 0, 0, &[])),
    ];
    for number in 0..300 {
        let asks = asks(&format!("/{number}"));
        talk.push(client(frame(HEADERS, WHOLE | END, number * 2 + 1, &asks)));
    }
    talk.push(server(frame(HEADERS, WHOLE | END, 1, &[0x88])));
    talk.push(server(frame(HEADERS, WHOLE | END, 599, &[0x88])));
    let record = watch(&talk);
    assert_eq!((record.lines.len(), record.unrecorded), (256, 44));
    assert_eq!(record.lines[0], "POST /0 200 0 HTTP/2");
}

#[test]
fn a_server_that_speaks_something_else_is_given_up() {
    let talk = [
        client([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        client(frame(HEADERS, WHOLE | END, 1, &asks("/a"))),
        server("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
    ];
    let record = watch(&talk);
    assert_eq!((record.unrecorded, record.to_the_end), (1, false));
}
