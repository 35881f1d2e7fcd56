//! The feeds document: what is accepted, and what the operator is told when it is not.

#![allow(clippy::unwrap_used)]

use bus::config::{DOCUMENT_BYTES_MAX, DocumentError, FeedsDocument};
use std::fmt::Write;

const GOOD: &str = "
feeds:
  - name: cme-310
    channel_id: 310
    publisher_id: 1
    protocol: mdp3
    schema: templates.xml
    lines:
      a: { group: 224.0.31.64, port: 14340 }
      b: { group: 224.0.32.64, port: 15340, source: 10.1.2.3 }
  - name: itch
    channel_id: 1
    publisher_id: 2
    protocol: itch50
    lines:
      a: { group: 233.54.12.111, port: 26477 }
    window_packets: 65536
    gap_timeout_us: 0
";

fn problems(text: &str) -> Vec<String> {
    match FeedsDocument::parse(text.as_bytes()) {
        Err(DocumentError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

fn problem_of(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let found = problems(&GOOD.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_good_document_is_read_and_defaults_are_filled_in() {
    let document = FeedsDocument::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(document.feeds.len(), 2);
    assert_eq!(document.feeds[0].window_packets, 1024);
    assert_eq!(document.feeds[0].gap_timeout_us, 5_000);
    assert_eq!(document.feeds[1].window_packets, 65_536);
}

#[test]
fn schema_paths_are_relative_to_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feeds.yaml");
    std::fs::write(&path, GOOD).unwrap();
    let document = FeedsDocument::load(&path).unwrap();
    assert_eq!(document.feeds[0].schema.as_deref(), Some(folder.path().join("templates.xml").as_path()));
    std::fs::write(&path, GOOD.replace("templates.xml", "/etc/templates.xml")).unwrap();
    let document = FeedsDocument::load(&path).unwrap();
    assert_eq!(document.feeds[0].schema.as_deref(), Some(std::path::Path::new("/etc/templates.xml")));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = FeedsDocument::load("/nonexistent/feeds.yaml".as_ref()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/feeds.yaml"), "{error}");
}

#[test]
fn each_rule_names_the_field_and_what_to_do() {
    for (from, to, path, word) in [
        ("name: itch", "name: cme-310", "feeds[1].name", "unique"),
        ("name: itch", "name: 'a b'", "feeds[1].name", "letters"),
        ("name: itch", "name: ''", "feeds[1].name", "letters"),
        ("name: itch", "name: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "feeds[1].name", "32"),
        ("channel_id: 1\n", "channel_id: 310\n", "feeds[1].channel_id", "its own"),
        ("    schema: templates.xml\n", "", "feeds[0].schema", "missing"),
        ("protocol: itch50", "protocol: itch50\n    schema: x.xml", "feeds[1].schema", "remove"),
        ("window_packets: 65536", "window_packets: 0", "feeds[1].window_packets", "65536"),
        ("window_packets: 65536", "window_packets: 65537", "feeds[1].window_packets", "65536"),
        ("gap_timeout_us: 0", "gap_timeout_us: 60000001", "feeds[1].gap_timeout_us", "at most"),
        ("port: 26477", "port: 0", "feeds[1].lines.a.port", "UDP port"),
        ("group: 233.54.12.111", "group: 0.0.0.0", "feeds[1].lines.a.group", "destination"),
        ("source: 10.1.2.3", "source: 224.0.0.1", "feeds[0].lines.b.source", "sender"),
        (
            "group: 233.54.12.111, port: 26477",
            "group: 224.0.31.64, port: 14340",
            "feeds[1].lines.a:",
            "feeds[0].lines.a",
        ),
        ("lines:\n      a: { group: 233.54.12.111, port: 26477 }", "lines: {}", "feeds[1].lines", "no line"),
    ] {
        let problem = problem_of(from, to);
        assert!(problem.starts_with(path) && problem.contains(word), "{problem}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems(
        &GOOD.replace("port: 26477", "port: 0").replace("window_packets: 65536", "window_packets: 0"),
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn the_same_group_and_port_from_two_senders_are_two_lines() {
    let text = GOOD.replace(
        "a: { group: 233.54.12.111, port: 26477 }",
        "a: { group: 224.0.32.64, port: 15340, source: 10.1.2.4 }",
    );
    assert!(FeedsDocument::parse(text.as_bytes()).is_ok());
}

#[test]
fn an_error_in_the_text_has_its_line_and_column() {
    for (text, line, word) in [
        ("feeds:\n  - name: [\n", 2, ""),
        ("feeds:\n  - nmae: x\n", 2, "nmae"),
        (&*GOOD.replace("port: 14340", "port: 99999"), 9, ""),
        (&*GOOD.replace("protocol: itch50", "protocol: fast"), 14, "fast"),
        (&*GOOD.replace("group: 224.0.31.64", "group: 224.0.31.640"), 9, ""),
    ] {
        let error = FeedsDocument::parse(text.as_bytes()).unwrap_err();
        let DocumentError::Syntax { line: at, message, .. } = &error else { panic!("{error}") };
        assert_eq!(*at, line, "{error}");
        assert!(message.contains(word) && !message.is_empty(), "{error}");
        assert!(error.to_string().starts_with(&format!("line {line}, column ")), "{error}");
    }
}

#[test]
fn an_oversized_an_empty_and_a_binary_document_are_refused() {
    let large = vec![b'#'; DOCUMENT_BYTES_MAX + 1];
    assert!(matches!(FeedsDocument::parse(&large), Err(DocumentError::TooLarge)));
    assert!(matches!(FeedsDocument::parse(b""), Err(DocumentError::Syntax { .. })));
    assert!(matches!(FeedsDocument::parse(b"feeds: []"), Err(DocumentError::Invalid(_))));
    assert!(matches!(FeedsDocument::parse(b"feeds\xff"), Err(DocumentError::NotText { offset: 5 })));
}

#[test]
fn more_feeds_than_a_data_plane_holds_are_refused() {
    let mut text = String::from("feeds:\n");
    for index in 0..1025 {
        writeln!(
            text,
            "- {{name: f{index}, channel_id: {index}, publisher_id: 2, protocol: itch50, \
             lines: {{a: {{group: 239.0.{}.{}, port: 1}}}}}}",
            index / 256,
            index % 256
        )
        .unwrap();
    }
    assert!(problems(&text)[0].contains("1024"));
}

#[test]
fn a_document_that_expands_itself_is_refused_and_not_expanded() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let of = level - 1;
        writeln!(
            text,
            "a{level}: &a{level} [*a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}]"
        )
        .unwrap();
    }
    text.push_str("feeds: *a11\n");
    assert!(matches!(FeedsDocument::parse(text.as_bytes()), Err(DocumentError::Syntax { .. })));
}

#[test]
fn random_bytes_never_break_the_reader() {
    bolero::check!().with_iterations(3_000).with_type::<Vec<u8>>().for_each(|bytes| {
        let _ = FeedsDocument::parse(bytes);
    });
}

#[test]
fn a_good_document_with_random_changes_never_breaks_the_reader() {
    bolero::check!().with_iterations(3_000).with_type::<Vec<(u16, u8)>>().for_each(|changes| {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte) in changes.iter().take(8) {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *byte;
        }
        if let Ok(document) = FeedsDocument::parse(&bytes) {
            assert!(document.validate().is_empty());
        }
    });
}
