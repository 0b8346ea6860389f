//! Bounded response bodies: a cluster is not trusted to end them.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::Body;
use thiserror::Error;
use tower::BoxError;

/// A body that ends in an error at its bound.
pub(super) type BoundedBody = UnsyncBoxBody<Bytes, BoxError>;

/// How much of an answer is read; also the error when the API server sends more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Bound {
    /// Bytes in all.
    #[error("the API server sent a response of more than {0} bytes")]
    All(usize),
    /// Bytes between two newlines: watches and logs are endless, their lines are not.
    #[error("the API server sent a line of more than {0} bytes")]
    Line(usize),
}

impl Bound {
    pub(super) fn limit<B>(self, body: B) -> BoundedBody
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let mut taken = 0;
        let frames = BodyStream::new(body).map(move |frame| {
            let frame = frame.map_err(Into::into)?;
            if let Some(data) = frame.data_ref() {
                taken = self.take(taken, data)?;
            }
            Ok(frame)
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The bytes so far, or since the last newline, with more data.
    fn take(self, taken: usize, data: &[u8]) -> Result<usize, Self> {
        let (limit, newline) = match self {
            Self::All(limit) => (limit, None),
            Self::Line(limit) => (limit, data.iter().rposition(|byte| *byte == b'\n')),
        };
        let taken = match newline {
            Some(at) => data.len() - at - 1,
            None => taken.saturating_add(data.len()),
        };
        (taken <= limit).then_some(taken).ok_or(self)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn read(text: &'static str, bound: Bound) -> Result<Bytes, String> {
        let body = bound.limit(Full::new(Bytes::from_static(text.as_bytes())));
        let read = body.collect().await;
        read.map(|read| read.to_bytes())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_is_not_too_large_passes() {
        assert_eq!(read("12345", Bound::All(5)).await.unwrap(), "12345");
        assert_eq!(read("123\n45", Bound::Line(3)).await.unwrap(), "123\n45");
        assert!(
            read("12345", Bound::All(4))
                .await
                .unwrap_err()
                .contains("more than 4")
        );
        assert!(
            read("1\n2345", Bound::Line(3))
                .await
                .unwrap_err()
                .contains("a line")
        );
    }

    #[test]
    fn a_line_is_counted_over_parts() {
        let bound = Bound::Line(10);
        let mut taken = 0;
        for _ in 0..100 {
            taken = bound.take(taken, b"12345\n1234").unwrap();
        }
        taken = bound.take(taken, b"123456").unwrap();
        assert_eq!(bound.take(taken, b"1"), Err(bound));
    }
}
