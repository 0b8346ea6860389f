//! Logs of a container, sent in parts as they come.

use std::pin::pin;

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use kubefwd_model::discovery::LogPart;
use kubefwd_model::{Failure, Reason, failure};
use kubefwd_proto::worker::v1::PodLogsQuery;

use super::sender::{AnswerSender, Stop};
use super::{ask, log_in, valid_name};
use crate::cluster::Cluster;

/// A part is full with this much text, bytes. The longest line still fits on top, however it is escaped.
const PART: usize = 256 * 1024;
/// Longer lines are cut, bytes.
const MAX_LINE: usize = 64 * 1024;
/// What is read at most when the log is not followed, bytes.
const MAX_LOG: usize = 16 * 1024 * 1024;
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

pub(super) async fn logs(
    cluster: &Cluster,
    question: PodLogsQuery,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    valid_name("namespace", &question.namespace)?;
    valid_name("pod", &question.pod)?;
    log_in(cluster).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &question.namespace);
    let container = match question.container.as_str() {
        "" => default_container(&api, &question.pod).await?,
        named => {
            valid_name("container", named)?;
            named.to_owned()
        }
    };
    let params = LogParams {
        container: Some(container.clone()).filter(|name| !name.is_empty()),
        follow: question.follow,
        previous: question.previous,
        timestamps: question.timestamps,
        tail_lines: Some(i64::from(question.tail_lines)).filter(|lines| *lines > 0),
        since_time: question.since_time.map(|time| since(&time)).transpose()?,
        limit_bytes: (!question.follow).then_some(MAX_LOG as i64),
        ..LogParams::default()
    };
    let stream = ask(api.log_stream(&question.pod, &params)).await;
    let stream = stream.map_err(|failure| match failure.reason {
        // The API server says "bad request" of a container that has not run before: that is missing, not wrong.
        Reason::InvalidArgument if failure.message.contains("previous terminated container") => {
            failure!(
                NotFound,
                "container {container} of pod {} has not run before",
                question.pod
            )
            .hint("omit previous")
        }
        _ => failure,
    });
    let stream = pin!(stream?);
    let cutter = Cutter::new(container);
    send(stream, cutter, question.follow, answers).await
}

async fn send(
    mut stream: impl AsyncBufRead + Unpin,
    mut cutter: Cutter,
    follow: bool,
    answers: &AnswerSender,
) -> Result<(), Stop> {
    let mut read = 0;
    loop {
        let chunk = stream.fill_buf().await.map_err(broken)?;
        let length = chunk.len();
        if length == 0 {
            break;
        }
        read += length;
        // A long line is many chunks: cutting it bounds what is kept.
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if let Some(part) = cutter.take(piece) {
                answers.send_part(&part, false).await?;
            }
        }
        stream.consume_unpin(length);
        if follow && let Some(part) = cutter.flush() {
            answers.send_part(&part, false).await?;
        }
    }
    let truncated = !follow && read >= MAX_LOG;
    answers.send_part(&cutter.finish(truncated), true).await
}

/// Makes lines of bytes and parts of lines.
#[derive(Default)]
struct Cutter {
    /// The lines since the last part.
    part: LogPart,
    /// What they take as JSON, bytes.
    size: usize,
    line: Vec<u8>,
    was_cut: bool,
}

impl Cutter {
    fn new(container: String) -> Self {
        let mut cutter = Self::default();
        cutter.part.container_name = container.into();
        cutter
    }

    /// Takes a piece of one line, with its end if it has come; gives a part that is full.
    fn take(&mut self, part: &[u8]) -> Option<LogPart> {
        let ended = part.ends_with(b"\n");
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        let space = MAX_LINE - self.line.len();
        self.was_cut |= part.len() > space;
        self.line.extend_from_slice(&part[..part.len().min(space)]);
        if !ended {
            return None;
        }
        let is_full = self.size + self.line.len() > PART;
        let full = if is_full { self.flush() } else { None };
        self.end_line();
        full
    }

    /// What has come so far, if anything.
    fn flush(&mut self) -> Option<LogPart> {
        if self.part.logs.is_empty() {
            return None;
        }
        self.size = 0;
        Some(LogPart {
            logs: std::mem::take(&mut self.part.logs),
            ..self.part.clone()
        })
    }

    fn finish(mut self, truncated: bool) -> LogPart {
        if !self.line.is_empty() {
            self.end_line();
        }
        LogPart {
            truncated,
            ..self.part
        }
    }

    fn end_line(&mut self) {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let mut text = String::from_utf8_lossy(&self.line).into_owned();
        if std::mem::take(&mut self.was_cut) {
            text.push('…');
        }
        self.line.clear();
        self.size += json_length(&text);
        self.part.logs.push(text);
    }
}

/// What a line takes in a list of them.
fn json_length(line: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    line.bytes().map(length).sum::<usize>() + 4
}

/// The container that kubectl would choose. Users who may not see the pod leave the choice to the API server.
async fn default_container(api: &Api<Pod>, name: &str) -> Result<String, Failure> {
    let pod = match ask(api.get(name)).await {
        Ok(pod) => pod,
        Err(failure) if failure.reason == Reason::ForbiddenByCluster => return Ok(String::new()),
        Err(failure) => return Err(failure),
    };
    let mut annotations = pod.metadata.annotations.unwrap_or_default();
    let annotated = annotations.remove(DEFAULT_CONTAINER);
    let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
    let known = |wanted: &String| containers.iter().any(|container| container.name == *wanted);
    let first = containers.first().map(|container| container.name.clone());
    Ok(annotated.filter(known).or(first).unwrap_or_default())
}

fn since(time: &prost_types::Timestamp) -> Result<Timestamp, Failure> {
    Timestamp::new(time.seconds, time.nanos).map_err(|error| {
        failure!(InvalidArgument, "the start time is invalid: {error}")
            .hint("use a form such as 2026-01-31T12:00:00Z")
    })
}

fn broken(error: std::io::Error) -> Failure {
    failure!(ClusterUnreachable, "the log ended unexpectedly: {error}").hint("try again")
}

#[cfg(test)]
mod tests {
    use kubefwd_proto::channel::MAX_FRAME;
    use kubefwd_proto::worker::v1::Answer;
    use kubefwd_proto::worker::v1::answer::Answer as Content;
    use proptest::prelude::*;
    use prost::Message;
    use tokio::sync::mpsc;

    use super::*;
    use crate::discovery::tests::collected;

    async fn sent(log: &[u8], follow: bool) -> Vec<Answer> {
        let (sender, receiver) = mpsc::channel(4);
        let sender = AnswerSender::new(1, sender);
        let cutter = Cutter::new("c".to_owned());
        let sending = async move {
            assert!(send(log, cutter, follow, &sender).await.is_ok());
        };
        let (answers, ()) = tokio::join!(collected(receiver), sending);
        answers
    }

    fn lines(answers: &[Answer]) -> Vec<String> {
        let of = |answer: &Answer| match &answer.answer {
            Some(Content::Json(json)) => serde_json::from_slice::<LogPart>(json).unwrap().logs,
            _ => panic!("another answer"),
        };
        answers.iter().flat_map(of).collect()
    }

    #[tokio::test]
    async fn lines_are_split_and_long_ones_cut() {
        let mut log = b"one\r\n\ntwo\n".to_vec();
        log.extend_from_slice(&vec![b'x'; 3 * MAX_LINE]);
        log.extend_from_slice(b"\nlast");
        let answers = sent(&log, false).await;
        let lines = lines(&answers);
        assert_eq!(lines[..3], ["one", "", "two"]);
        assert_eq!(lines[3].chars().count(), MAX_LINE + 1);
        assert_eq!(lines[4], "last");
        assert_eq!(lines.len(), 5);
    }

    #[tokio::test]
    async fn a_long_log_comes_in_bounded_frames() {
        let log = "a line of some length\n".repeat(100_000);
        for follow in [false, true] {
            let answers = sent(log.as_bytes(), follow).await;
            assert_eq!(lines(&answers).len(), 100_000);
            assert!(answers.len() > 5);
            let (last, others) = answers.split_last().unwrap();
            assert!(last.last && others.iter().all(|answer| !answer.last));
            assert!(
                answers
                    .iter()
                    .all(|answer| answer.encoded_len() <= PART + MAX_LINE)
            );
        }
    }

    #[tokio::test]
    async fn lines_that_need_many_escapes_fit_a_frame() {
        let line = "\u{1b}".repeat(MAX_LINE) + "\n";
        let answers = sent(line.repeat(20).as_bytes(), false).await;
        assert_eq!(lines(&answers).len(), 20);
        let mut sizes = answers.iter().map(Message::encoded_len);
        assert!(sizes.all(|size| size < MAX_FRAME));
    }

    proptest! {
        #[test]
        fn no_bytes_are_lost_or_made_up(parts in prop::collection::vec("[a-zä]{0,20}", 0..50), size in 1_usize..40) {
            let log = parts.join("\n");
            let mut cutter = Cutter::new(String::new());
            let mut found = Vec::new();
            for chunk in log.as_bytes().chunks(size) {
                for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                    found.extend(cutter.take(part).map(|part| part.logs).unwrap_or_default());
                }
                found.extend(cutter.flush().map(|part| part.logs).unwrap_or_default());
            }
            found.extend(cutter.finish(false).logs);
            let mut wanted = parts;
            if wanted.last().is_some_and(String::is_empty) {
                wanted.pop();
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
