//! The recorded answers of a real cluster in `fixtures/captures`.

use std::path::PathBuf;

use super::client::Head;

/// Where the recordings are.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures")
}

pub(crate) fn read(name: &str) -> String {
    let path = directory().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A recorded HTTP/1.1 answer: head and body.
pub(crate) fn answer(name: &str) -> (Head, String) {
    let text = read(name).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    (Head::parse(head), body.to_owned())
}

/// A recorded head of HTTP/2, as `curl` prints it.
pub(crate) fn http2_head(name: &str) -> Head {
    let text = read(name).replace("HTTP/2 ", "HTTP/1.1 ");
    Head::parse(text.trim())
}

/// A step of a recorded port-forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The client sends these bytes.
    Send(Vec<u8>),
    /// The server sent a SPDY frame with these bytes (cut off where long) and this description.
    Spdy { text: String, bytes: Vec<u8> },
    /// The server sent a WebSocket frame.
    Message {
        opcode: u8,
        fin: bool,
        length: usize,
        bytes: Vec<u8>,
    },
    /// The server closed the connection.
    Closed,
    /// Something was done to the cluster.
    Event(String),
}

/// A recorded port-forward: the request, the answer, and what followed an upgrade.
#[derive(Debug, Clone)]
pub(crate) struct Transcript {
    pub(crate) title: String,
    pub(crate) request: String,
    pub(crate) head: Head,
    pub(crate) body: String,
    pub(crate) steps: Vec<Step>,
}

impl Transcript {
    pub(crate) fn load(name: &str) -> Self {
        let text = read(name);
        let title = text.lines().next().unwrap().to_owned();
        let http = |prefix: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
            lines.map(str::trim_start).collect::<Vec<_>>()
        };
        let request = http("C>").join("\r\n") + "\r\n";
        let answer = http("S<");
        let head_end = answer.iter().position(|line| line.is_empty()).unwrap();
        let head = Head::parse(&answer[..head_end].join("\n"));
        let body = answer[head_end + 1..].join("\n");
        let body = body
            .strip_prefix("body:")
            .unwrap_or(&body)
            .trim()
            .to_owned();
        Self {
            title,
            request,
            head,
            body,
            steps: steps(&text),
        }
    }
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = text.lines().peekable();
    let mut raw = true;
    while let Some(line) = lines.next() {
        let Some(what) = line.strip_prefix('[').and_then(|l| l.split_once("] ")) else {
            continue;
        };
        let mut bytes = Vec::new();
        while let Some(hex) = lines.next_if(|line| line.starts_with("            ")) {
            let digits = hex.split_whitespace().take_while(|word| word.len() == 2);
            bytes.extend(digits.filter_map(|word| u8::from_str_radix(word, 16).ok()));
        }
        let what = what.1;
        if let Some(event) = what.strip_prefix("-- ") {
            steps.push(Step::Event(event.to_owned()));
        } else if let Some(sent) = what.strip_prefix("C> ") {
            // In a tunnel each SPDY frame is shown alone and then inside its masked message, which is what was sent.
            raw = !sent.ends_with("(raw SPDY bytes)");
            if raw {
                steps.push(Step::Send(bytes));
            }
        } else if what.starts_with("S< connection closed") {
            steps.push(Step::Closed);
        } else if let Some(frame) = what.strip_prefix("S< SPDY ") {
            steps.push(Step::Spdy {
                text: frame.to_owned(),
                bytes,
            });
        } else if let Some(message) = what.strip_prefix("S< WS ") {
            let number = |key: &str| -> usize {
                let rest = message.split_once(key).unwrap().1;
                rest.split(' ').next().unwrap().parse().unwrap()
            };
            steps.push(Step::Message {
                opcode: number("op=") as u8,
                fin: number("fin=") == 1,
                length: number("len="),
                bytes,
            });
        } else {
            panic!("an unknown line of a recording: {line}");
        }
    }
    assert!(raw, "the last frame of a recording is its message");
    steps
}
