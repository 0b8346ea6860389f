//! Frames and descriptors over a real socketpair, and what a hostile peer sends.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use super::*;
use crate::common::v1::Failure as Frame;

fn frame(text: &str) -> Frame {
    Frame {
        reason: 1,
        message: text.to_owned(),
        hint: String::new(),
    }
}

fn pair(accepts: Accepts) -> (Sender<Frame>, Receiver<Frame>) {
    let (left, right) = StdUnixStream::pair().unwrap();
    let (sender, _) = channel::<Frame, Frame>(left, Accepts::Frames).unwrap();
    let (_, receiver) = channel::<Frame, Frame>(right, accepts).unwrap();
    (sender, receiver)
}

#[tokio::test]
async fn a_descriptor_arrives_with_its_own_frame() {
    let (mut sender, mut receiver) = pair(Accepts::Descriptors);
    let (mut ours, theirs) = StdUnixStream::pair().unwrap();
    sender.send(&frame("before"), None).await.unwrap();
    sender
        .send(&frame("with"), Some(theirs.as_fd()))
        .await
        .unwrap();
    sender.send(&frame("after"), None).await.unwrap();
    drop(theirs);

    assert!(matches!(receiver.receive().await, Ok(Some((f, None))) if f.message == "before"));
    let (with, descriptor) = receiver.receive().await.unwrap().unwrap();
    assert_eq!(with.message, "with");
    StdUnixStream::from(descriptor.unwrap())
        .write_all(b"alive")
        .unwrap();
    let mut answer = [0; 5];
    ours.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"alive");
    assert!(matches!(receiver.receive().await, Ok(Some((f, None))) if f.message == "after"));
}

#[tokio::test]
async fn large_frames_pass_and_larger_ones_are_refused() {
    let (mut sender, mut receiver) = pair(Accepts::Frames);
    let text = "x".repeat(MAX_FRAME - 64);
    let sending = tokio::spawn({
        let text = text.clone();
        async move {
            sender.send(&frame(&text), None).await.unwrap();
            sender.send(&frame(&"x".repeat(MAX_FRAME)), None).await
        }
    });
    assert_eq!(receiver.receive().await.unwrap().unwrap().0.message, text);
    assert!(matches!(
        sending.await.unwrap(),
        Err(ChannelError::TooLarge(_))
    ));
}

#[tokio::test]
async fn a_descriptor_that_nobody_asked_for_is_an_error() {
    let (mut sender, mut receiver) = pair(Accepts::Frames);
    let (theirs, _) = StdUnixStream::pair().unwrap();
    sender
        .send(&frame("hostile"), Some(theirs.as_fd()))
        .await
        .unwrap();
    assert!(matches!(
        receiver.receive().await,
        Err(ChannelError::Descriptors)
    ));
}

#[tokio::test]
async fn a_lie_about_the_length_ends_in_an_error() {
    for (bytes, wanted) in [
        (&[0xff, 0xff, 0xff, 0xff, 0][..], "larger"),
        (&[3, 0, 0, 0, 0, 1][..], "middle"),
        (&[1, 0, 0, 0, 9, 0][..], "descriptors"),
        (&[1, 0, 0, 0, 0, 0xff][..], "decoded"),
    ] {
        let (mut raw, theirs) = StdUnixStream::pair().unwrap();
        let (_, mut receiver) = channel::<Frame, Frame>(theirs, Accepts::Descriptors).unwrap();
        raw.write_all(bytes).unwrap();
        drop(raw);
        let error = receiver.receive().await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn who_closes_without_having_read_everything_has_closed() {
    for (last_words, ends_well) in [(&[][..], true), (&[3, 0, 0, 0, 0, 1][..], false)] {
        let (mut raw, ours) = StdUnixStream::pair().unwrap();
        let (mut sender, mut receiver) = channel::<Frame, Frame>(ours, Accepts::Frames).unwrap();
        sender.send(&frame("unread"), None).await.unwrap();
        raw.write_all(last_words).unwrap();
        drop(raw);
        match receiver.receive().await {
            Ok(None) => assert!(ends_well),
            Err(ChannelError::Truncated) => assert!(!ends_well),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_end_is_none() {
    let (sender, mut receiver) = pair(Accepts::Frames);
    drop(sender);
    assert!(receiver.receive().await.unwrap().is_none());
}
