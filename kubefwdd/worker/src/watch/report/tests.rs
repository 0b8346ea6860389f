//! Frames of bounded size.

use kubefwd_proto::worker::v1::ObservedService;
use proptest::prelude::*;

use super::*;

fn changes(complete: bool, sizes: &[usize], removed: usize) -> Changes {
    Changes {
        complete,
        services: sizes
            .iter()
            .enumerate()
            .map(|(number, size)| ObservedService {
                name: format!("s{number}"),
                unsupported: "x".repeat(*size),
                ..ObservedService::default()
            })
            .collect(),
        removed: (0..removed).map(|number| format!("r{number}")).collect(),
        ..Changes::default()
    }
}

#[test]
fn an_empty_listing_is_one_frame_and_no_change_is_none() {
    let frames = services("c", "n", changes(true, &[], 0));
    assert!(frames.len() == 1 && frames[0].first && frames[0].complete);
    assert!(services("c", "n", changes(false, &[], 0)).is_empty());
}

proptest! {
    #[test]
    fn frames_are_small_and_lose_nothing(
        complete: bool,
        sizes in proptest::collection::vec(0..REPORT, 0..12),
        removed in 0..40usize,
    ) {
        let changes = changes(complete, &sizes, removed);
        let frames = services("c", "n", changes.clone());
        for frame in &frames {
            prop_assert!(frame.encoded_len() < MAX_FRAME / 2);
        }
        let firsts: Vec<_> = frames.iter().map(|frame| frame.first).collect();
        let lasts: Vec<_> = frames.iter().map(|frame| frame.complete).collect();
        prop_assert_eq!(firsts.iter().filter(|first| **first).count(), usize::from(complete));
        prop_assert_eq!(lasts.iter().filter(|last| **last).count(), usize::from(complete));
        if complete {
            prop_assert!(firsts[0] && lasts[lasts.len() - 1]);
        }
        let services: Vec<_> = frames.iter().flat_map(|f| f.services.clone()).collect();
        let gone: Vec<_> = frames.iter().flat_map(|f| f.removed.clone()).collect();
        prop_assert_eq!(services, changes.services);
        prop_assert_eq!(gone, changes.removed);
    }
}
