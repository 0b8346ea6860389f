//! Long lists, written piece by piece: thousands of objects neither hold up the runtime nor are in memory as text.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::header;
use serde::Serialize;

use super::error::ApiError;

/// How much is written before other tasks run.
const PIECE: usize = 64 * 1024;

/// Sends `shell`, an answer whose first list is empty, with `items` in that list.
pub(crate) fn respond<T: Send + 'static>(
    shell: &impl Serialize,
    items: Vec<T>,
    write: impl Fn(&T, &mut Vec<u8>) -> serde_json::Result<()> + Send + 'static,
) -> Response {
    let shell = serde_json::to_string(shell).unwrap_or_default();
    let Some((head, tail)) = shell.split_once("[]") else {
        return ApiError::defect("an answer without a list").into_response();
    };
    let mut list = List {
        head: format!("{head}[").into_bytes(),
        items: items.into_iter(),
        tail: format!("]{tail}").into_bytes(),
        write,
        is_first: true,
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    match list.next() {
        // A short list has a length.
        Some(Ok(only)) if list.is_done() => (kind, only).into_response(),
        Some(Ok(first)) => {
            let rest = unfold(list, |mut list| async {
                tokio::task::yield_now().await;
                Some((list.next()?, list))
            });
            let first = futures_util::stream::iter([Ok(first)]);
            let body = futures_util::StreamExt::chain(first, rest);
            (kind, Body::from_stream(body)).into_response()
        }
        Some(Err(error)) => ApiError::defect(&error.to_string()).into_response(),
        None => ApiError::defect("an empty answer").into_response(),
    }
}

/// What is left to write.
struct List<T, W> {
    head: Vec<u8>,
    items: std::vec::IntoIter<T>,
    tail: Vec<u8>,
    write: W,
    is_first: bool,
}

// === impl List ===

impl<T, W: Fn(&T, &mut Vec<u8>) -> serde_json::Result<()>> List<T, W> {
    fn is_done(&self) -> bool {
        self.tail.is_empty()
    }

    /// The next piece; `None` after the last.
    fn next(&mut self) -> Option<serde_json::Result<Bytes>> {
        if self.is_done() {
            return None;
        }
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.append(&mut self.tail);
                break;
            };
            if !std::mem::replace(&mut self.is_first, false) {
                piece.push(b',');
            }
            if let Err(error) = (self.write)(&item, &mut piece) {
                self.tail.clear();
                return Some(Err(error));
            }
        }
        Some(Ok(piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::envelope::Envelope;

    fn list(items: Vec<String>) -> Response {
        let shell = Envelope::list(json!({"items": [], "none": []}), items.len());
        respond(&shell, items, |item, out| serde_json::to_writer(out, item))
    }

    #[tokio::test]
    async fn a_list_reads_the_same_whether_it_is_long_or_short() {
        for (count, is_short) in [(0, true), (1, true), (10, true), (20_000, false)] {
            let items: Vec<String> = (0..count).map(|n| format!("item [] {n}")).collect();
            let response = list(items.clone());
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            let mut body = response.into_body();
            let length = hyper::body::Body::size_hint(&body).exact();
            assert_eq!(length.is_some(), is_short, "{count}");
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() < 2 * PIECE);
                bytes.extend(piece);
            }
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["data"]["items"], json!(items));
            assert_eq!(
                (&value["meta"]["count"], &value["data"]["none"]),
                (&json!(count), &json!([]))
            );
        }
    }
}
