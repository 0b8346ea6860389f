//! Foreign bytes survive anything, and `remove` undoes `render`.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn entries(list: &[(u8, &[&str])]) -> HostsEntries {
    let of = |(last, names): &(u8, &[&str])| {
        let names = names.iter().map(|text| name(text)).collect();
        (Ipv4Addr::new(127, 1, 27, *last), names)
    };
    list.iter().map(of).collect()
}

fn is_present(file: &[u8]) -> bool {
    matches!(remove(file), Cow::Owned(_))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn writes_a_block_that_says_whose_it_is() {
    let file = render(
        b"127.0.0.1 localhost\n",
        &entries(&[(1, &["api", "api.default"]), (2, &["db"])]),
    );
    assert_eq!(
        text(&file),
        "127.0.0.1 localhost\n\
         # kubefwd begin (managed by kubefwdd: lines with \"# kubefwd\" come and go)\n\
         127.1.27.1\tapi api.default\t# kubefwd\n\
         127.1.27.2\tdb\t# kubefwd\n\
         # kubefwd end\n"
    );
    assert_eq!(text(&remove(&file)), "127.0.0.1 localhost\n");
}

#[test]
fn an_unchanged_file_is_not_written() {
    let wanted = entries(&[(1, &["api"])]);
    let file = render(b"", &wanted).into_owned();
    assert!(matches!(render(&file, &wanted), Cow::Borrowed(_)));
    assert!(matches!(remove(b"10.0.0.1 a"), Cow::Borrowed(_)));
    assert!(matches!(
        render(b"x", &entries(&[(1, &[])])),
        Cow::Borrowed(_)
    ));
}

#[test]
fn a_missing_final_newline_is_missing_again_afterwards() {
    let wanted = entries(&[(1, &["api"])]);
    let once = render(b"10.0.0.1 a", &wanted).into_owned();
    let twice = render(&once, &entries(&[(2, &["db"])])).into_owned();
    assert_eq!(&*remove(&twice), b"10.0.0.1 a");
    // With a foreign line behind the block the newline has to stay.
    let appended = [twice.as_slice(), b"10.0.0.2 b"].concat();
    assert_eq!(text(&remove(&appended)), "10.0.0.1 a\n10.0.0.2 b");
    assert_eq!(
        text(&remove(&render(&appended, &wanted))),
        "10.0.0.1 a\n10.0.0.2 b"
    );
}

#[test]
fn an_editor_that_changed_line_ends_does_no_harm() {
    let once = render(b"10.0.0.1 a", &entries(&[(1, &["api"])])).into_owned();
    let crlf = text(&once).replace('\n', "\r\n");
    assert_eq!(text(&remove(crlf.as_bytes())), "10.0.0.1 a");
}

#[test]
fn foreign_lines_inside_the_block_are_kept() {
    let file = format!("a\n{BEGIN}\n127.1.27.1\tapi{TAG}\n10.0.0.9 mine\n{END}\nb\n");
    assert_eq!(text(&remove(file.as_bytes())), "a\n10.0.0.9 mine\nb\n");
    let rendered = render(file.as_bytes(), &entries(&[(2, &["db"])])).into_owned();
    assert!(text(&rendered).contains("# kubefwd end\n10.0.0.9 mine\nb\n"));
}

#[test]
fn damaged_markers_take_no_foreign_line_along() {
    let no_end = format!("a\n{BEGIN}\n127.1.27.1\tapi{TAG}\nb\n10.0.0.1 c{TAG}\n");
    assert_eq!(
        text(&remove(no_end.as_bytes())),
        format!("a\nb\n10.0.0.1 c{TAG}\n")
    );
    let no_begin = format!("a\n127.1.27.1\tapi{TAG}\n{END}\n");
    assert_eq!(text(&remove(no_begin.as_bytes())), "a\n");
    let away_from_the_end = format!("127.1.27.1\tapi{TAG}\nb\n{END}\n");
    assert_eq!(
        text(&remove(away_from_the_end.as_bytes())),
        format!("127.1.27.1\tapi{TAG}\nb\n")
    );
    let nested = format!("a\n{BEGIN}\n1\tx{TAG}\nb\n{BEGIN}\n1\ty{TAG}\nc\n{END}\nd\n");
    assert_eq!(text(&remove(nested.as_bytes())), "a\nb\nc\nd\n");
    let twice = format!("{BEGIN}\n1\tx{TAG}\n{END}\nfoo\n{BEGIN}\n1\ty{TAG}\n{END}\n");
    let rendered = render(twice.as_bytes(), &entries(&[(1, &["api"])])).into_owned();
    assert_eq!(text(&rendered).matches(BEGIN).count(), 1);
    assert_eq!(text(&remove(&rendered)), "foo\n");
}

#[test]
fn long_lists_are_split_for_every_resolver() {
    let many: Vec<String> = (0..200)
        .map(|n| format!("service-{n}.namespace.svc.cluster.local"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("{}.x", vec!["l".repeat(62); 3].join("."));
    let short: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    let short: Vec<&str> = short.iter().map(String::as_str).collect();
    let wanted = entries(&[(1, &many), (2, &[&long, &long, &long]), (3, &short)]);
    let file = render(b"", &wanted).into_owned();
    let mut read: HostsEntries = HostsEntries::new();
    for line in text(&file).lines().filter(|line| !line.starts_with('#')) {
        assert!(line.len() < LINE_MAX, "{} bytes", line.len());
        let names = names_of_line(line.as_bytes());
        assert!((1..=NAMES_MAX).contains(&names.len()));
        let address = line.split('\t').next().unwrap().parse().unwrap();
        read.entry(address).or_default().extend(names);
    }
    assert_eq!(read, wanted);
}

#[test]
fn foreign_names_are_those_that_resolvers_would_find() {
    let ours = render(b"", &entries(&[(1, &["api"])])).into_owned();
    let file = [
        b"127.0.0.1 localhost Build7.Corp # comment names\n\
          \t ::1\tip6-localhost\r\n\
          fe80::1%eth0 zoned\n\
          # 10.0.0.1 commented\n\
          nonsense not-a-host\n\
          10.0.0.5 under_score \xff\xfe ok\n"
            .as_slice(),
        &ours,
        b"10.0.0.6 behind",
    ]
    .concat();
    let found: Vec<String> = foreign_names(&file)
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "behind",
        "build7.corp",
        "ip6-localhost",
        "localhost",
        "ok",
        "zoned",
    ];
    assert_eq!(found, expected);
}

/// Any bytes, and files pieced together from what is most likely to go wrong.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(format!("{BEGIN}\n")),
        Just(format!("{BEGIN_AFTER_NEWLINE}\n")),
        Just(format!("{BEGIN}\r\n")),
        Just(format!("{END}\n")),
        Just(END.to_owned()),
        Just(BEGIN_AFTER_NEWLINE.to_owned()),
        Just(format!("127.1.27.1\tapi{TAG}\n")),
        Just(format!("127.1.27.1\tapi{TAG}\r\n")),
        Just("10.0.0.1 mine\n".to_owned()),
        Just("10.0.0.1 mine".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just(TAG.to_owned()),
    ];
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        4 => prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat().into_bytes()),
    ]
}

fn wanted() -> impl Strategy<Value = HostsEntries> {
    let names = prop::collection::vec("[a-z]{1,9}(\\.[a-z]{1,9}){0,2}", 0..40);
    prop::collection::btree_map(any::<u32>(), names, 0..6).prop_map(|map| {
        let of = |(address, names): (u32, Vec<String>)| {
            (
                Ipv4Addr::from_bits(address),
                names.iter().map(|text| name(text)).collect(),
            )
        };
        map.into_iter().map(of).collect()
    })
}

/// The lines that the module's rule calls foreign, whatever the markers look like.
fn foreign_lines(file: &[u8]) -> Vec<&[u8]> {
    let lines = file
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let is_foreign = |line: &&[u8]| {
        !line.is_empty()
            && *line != BEGIN.as_bytes()
            && *line != BEGIN_AFTER_NEWLINE.as_bytes()
            && *line != END.as_bytes()
            && !line.ends_with(TAG.as_bytes())
            && !TAG.as_bytes().trim_ascii().eq(*line)
    };
    lines.filter(is_foreign).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn remove_undoes_any_sequence_of_renders(file in file(), list in prop::collection::vec(wanted(), 1..5)) {
        let clean = remove(&file).into_owned();
        let mut now = file.clone();
        for entries in list {
            now = render(&now, &entries).into_owned();
            prop_assert!(matches!(render(&now, &entries), Cow::Borrowed(_)), "not stable");
            prop_assert_eq!(&*remove(&now), clean.as_slice());
        }
        if !is_present(&file) {
            prop_assert_eq!(clean, file);
        }
    }

    #[test]
    fn foreign_lines_are_kept_in_order(file in file(), entries in wanted()) {
        let rendered = render(&file, &entries).into_owned();
        let removed = remove(&rendered).into_owned();
        prop_assert_eq!(foreign_lines(&removed), foreign_lines(&file));
        prop_assert_eq!(foreign_names(&rendered), foreign_names(&file));
    }

    #[test]
    fn every_entry_is_in_the_block(file in file(), entries in wanted()) {
        let rendered = render(&file, &entries).into_owned();
        let expected = entries.values().any(|names| !names.is_empty());
        prop_assert_eq!(is_present(&rendered), expected);
        if expected {
            let block = String::from_utf8(render(b"", &entries).into_owned()).unwrap();
            let body = block.strip_prefix(BEGIN).unwrap();
            let found = rendered.windows(body.len()).any(|window| window == body.as_bytes());
            prop_assert!(found);
        }
    }
}
