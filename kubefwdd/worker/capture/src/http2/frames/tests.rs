//! Frames in any pieces.

use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What a frame says, its block included, with consecutive data as one.
fn said(pieces: &[&[u8]]) -> Result<Vec<(Item, Vec<u8>)>, Unclear> {
    let now = Instant::now();
    let (mut frames, mut said) = (Frames::default(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(mut item) = frames.next(&mut input, now)? {
            let mut block = Vec::new();
            match &mut item {
                Item::Headers { began, .. } => {
                    assert_eq!(*began, now);
                    block = frames.block().to_vec();
                }
                Item::Promise => block = frames.block().to_vec(),
                _ => {}
            }
            match (said.last_mut(), &item) {
                (
                    Some((
                        Item::Data {
                            stream: before,
                            bytes: sum,
                            end: ended @ false,
                        },
                        _,
                    )),
                    Item::Data { stream, bytes, end },
                ) if before == stream => {
                    *sum += bytes;
                    *ended = *end;
                }
                _ => said.push((item, block)),
            }
        }
    }
    // The time is the same for all and says nothing here.
    Ok(said)
}

fn sample() -> Vec<u8> {
    let padded_headers = [&[3, 0, 0, 0, 0, 16][..], b"block", &[0; 3]].concat();
    [
        frame(SETTINGS, 0, 0, &[0; 6]),
        frame(HEADERS, PADDED | PRIORITY, 1, &padded_headers),
        frame(CONTINUATION, END_HEADERS, 1, b" goes on"),
        frame(DATA, PADDED, 1, &[2, b'a', b'b', b'c', 0, 0]),
        frame(DATA, END_STREAM, 1, b"12345"),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02promised"),
        frame(200, 0, 0, b"unknown kinds are skipped"),
        frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]),
        frame(DATA, END_STREAM, 5, b""),
        frame(GOAWAY, 0, 0, &[0, 0, 0, 7, 0, 0, 0, 0, b'x']),
        frame(SETTINGS, 1, 0, b""),
    ]
    .concat()
}

#[test]
fn frames_are_understood() {
    let said = said(&[&sample()]).unwrap();
    let blocks: Vec<&[u8]> = said.iter().map(|(_, block)| &block[..]).collect();
    assert_eq!(
        blocks,
        [&b"block goes on"[..], b"", b"promised", b"", b"", b""]
    );
    let data = |stream, bytes, end| Item::Data { stream, bytes, end };
    assert!(matches!(
        said[0].0,
        Item::Headers {
            stream: 1,
            end: false,
            ..
        }
    ));
    assert_eq!(said[1].0, data(1, 8, true));
    assert_eq!(said[2].0, Item::Promise);
    assert_eq!(said[3].0, Item::Reset { stream: 3 });
    assert_eq!(said[4].0, data(5, 0, true));
    assert_eq!(said[5].0, Item::GoAway { last: 7 });
}

#[test]
fn what_breaks_the_rules_is_unclear() {
    let settings = frame(SETTINGS, 0, 0, b"");
    for bad in [
        frame(DATA, 0, 1, b"first"),
        [settings.clone(), frame(CONTINUATION, 4, 1, b"")].concat(),
        [
            settings.clone(),
            frame(HEADERS, 0, 1, b""),
            frame(DATA, 0, 1, b"between"),
        ]
        .concat(),
        [
            settings.clone(),
            frame(HEADERS, 0, 1, b""),
            frame(CONTINUATION, 4, 3, b""),
        ]
        .concat(),
        [settings.clone(), frame(DATA, PADDED, 1, &[5, 0])].concat(),
        [settings.clone(), frame(DATA, PADDED, 1, &[])].concat(),
        [settings.clone(), frame(HEADERS, PADDED | 4, 1, &[5, 0])].concat(),
        [settings.clone(), frame(HEADERS, PRIORITY | 4, 1, &[0; 4])].concat(),
        [settings.clone(), frame(HEADERS, 4, 1, &[0; MAX_BLOCK + 1])].concat(),
        [settings, frame(GOAWAY, 0, 0, &[0; 3])].concat(),
    ] {
        assert_eq!(
            said(&[&bad]),
            Err(Unclear),
            "{:x?}",
            &bad[..bad.len().min(64)]
        );
    }
}

fn without_times(said: Vec<(Item, Vec<u8>)>) -> String {
    let text = |(item, block): (Item, Vec<u8>)| match item {
        Item::Headers { stream, end, .. } => format!("headers {stream} {end} {block:?}\n"),
        other => format!("{other:?} {block:?}\n"),
    };
    said.into_iter().map(text).collect()
}

proptest! {
    #[test]
    fn any_cut_says_the_same(cuts in prop::collection::vec(0..400_usize, 0..8)) {
        let bytes = sample();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut at = 0;
        let pieces: Vec<&[u8]> = cuts
            .into_iter()
            .map(|cut| &bytes[std::mem::replace(&mut at, cut)..cut])
            .collect();
        let (cut, whole) = (said(&pieces).unwrap(), said(&[&bytes]).unwrap());
        prop_assert_eq!(without_times(cut), without_times(whole));
    }
}
