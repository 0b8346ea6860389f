//! Bounded response bodies: a cluster is not trusted to end them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use thiserror::Error;
use tower::BoxError;

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

/// A body that ends in an error at its bound.
#[derive(Debug)]
pub(super) struct Bounded<B> {
    body: B,
    bound: Bound,
    /// Bytes so far, or since the last newline.
    taken: usize,
}

impl<B> Bounded<B> {
    pub(super) fn new(body: B, bound: Bound) -> Self {
        Self {
            body,
            bound,
            taken: 0,
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Bound> {
        let (limit, newline) = match self.bound {
            Bound::All(limit) => (limit, None),
            Bound::Line(limit) => (limit, data.iter().rposition(|byte| *byte == b'\n')),
        };
        self.taken = match newline {
            Some(at) => data.len() - at - 1,
            None => self.taken.saturating_add(data.len()),
        };
        (self.taken <= limit).then_some(()).ok_or(self.bound)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Bounded<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            if let Some(data) = frame.data_ref() {
                self.take(data)?;
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    async fn read(text: &'static str, bound: Bound) -> Result<Bytes, String> {
        let body = Bounded::new(Full::new(Bytes::from_static(text.as_bytes())), bound);
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
        let mut bounded = Bounded::new((), Bound::Line(10));
        for _ in 0..100 {
            bounded.take(b"12345\n1234").unwrap();
        }
        bounded.take(b"123456").unwrap();
        assert_eq!(bounded.take(b"1"), Err(Bound::Line(10)));
    }
}
