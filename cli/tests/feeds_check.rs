//! `feedplane feeds check`: what it says about right and wrong feeds files.
#![allow(clippy::unwrap_used)]

mod support;

use support::{feedplane, stderr, stdout};

#[test]
fn a_right_file_is_listed_channel_by_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feeds.yaml");
    let text = "feeds:
  - name: totalview
    channel_id: 5
    publisher_id: 2
    protocol: itch50
    lines:
      a: { group: 233.54.12.111, port: 26477 }
";
    std::fs::write(&path, text).unwrap();
    let output = feedplane(["feeds", "check", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains(": 1 feed\n"), "{}", stdout(&output));
    assert!(stdout(&output).contains("totalview"), "{}", stdout(&output));
    assert!(stdout(&output).contains("A 233.54.12.111:26477    B -"), "{}", stdout(&output));
}

#[test]
fn every_error_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feeds.yaml");
    let cases: [(&str, &[&str]); 4] = [
        ("feeds: []\n", &["feeds: is empty"]),
        ("feeds: [{nonsense: 1}]\n", &["line 1, column"]),
        (
            "feeds:
  - {name: x y, channel_id: 1, publisher_id: 1, protocol: mdp3, lines: {}}
",
            &["feeds[0].name:", "feeds[0].schema:", "feeds[0].lines:"],
        ),
        (
            "feeds:
  - {name: x, channel_id: 1, publisher_id: 1, protocol: mdp3, schema: absent.xml, lines: {a: {group: 224.0.0.9, port: 1}}}
",
            &["absent.xml"],
        ),
    ];
    for (text, places) in cases {
        std::fs::write(&path, text).unwrap();
        let output = feedplane(["feeds", "check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for place in places {
            assert!(stderr(&output).contains(place), "{place} is not in {}", stderr(&output));
        }
        assert!(stderr(&output).contains("feeds.yaml"), "{}", stderr(&output));
    }
}
