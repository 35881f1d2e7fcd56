//! Differences as the control plane gives them, by path, for people: `+` new, `-` gone, `~` other.

use crate::output::{cell, one_line};
use serde_json::Value;
use std::fmt::Write as _;

/// Changes shown of one document.
const SHOWN: usize = 200;

/// The list of changes in an answer: of one document, or of this one among several.
pub(super) fn of<'v>(answer: &'v Value, service: &str) -> Option<&'v Vec<Value>> {
    let places = [
        &answer["changes"],
        &answer["diff"]["changes"],
        &answer["documents"][service]["changes"],
        &answer["documents"][service]["diff"]["changes"],
    ];
    places.into_iter().find_map(Value::as_array)
}

/// The changes on a line each.
pub(super) fn text(changes: &[Value]) -> String {
    let mut text = String::new();
    for change in changes.iter().take(SHOWN) {
        let path = one_line(change["path"].as_str().unwrap_or("?"));
        let (before, after) = (&change["before"], &change["after"]);
        // Writing into memory cannot fail.
        let _ = match (before.is_null(), after.is_null()) {
            (true, false) => writeln!(text, "  + {path}: {}", cell(after)),
            (false, true) => writeln!(text, "  - {path}: {}", cell(before)),
            _ => writeln!(text, "  ~ {path}: {} → {}", cell(before), cell(after)),
        };
    }
    if let Some(more) = changes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// What the data plane says of a document that it was asked to check: a line each; none when it was not asked.
pub(super) fn rehearsal(answer: &Value, service: &str) -> Vec<String> {
    let of_several = &answer["documents"][service]["rehearsal"];
    let said = if of_several.is_null() { &answer["rehearsal"] } else { of_several };
    let texts = |field: &str| {
        let items = said[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.take(SHOWN).map(one_line).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    if let Some(problem) = said["problem"].as_str() {
        lines.push(format!("could not be asked what it says of it: {}", one_line(problem)));
    }
    let waiting = texts("restart_needed");
    if !waiting.is_empty() {
        lines.push(format!("waits for its next start: {}", waiting.join(", ")));
    }
    lines.extend(texts("notes"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_told_with_what_was_and_what_is() {
        let changes = json!([
            {"path": "feeds[0].name", "before": "a", "after": "b"},
            {"path": "feeds[1]", "before": null, "after": {"name": "c"}},
            {"path": "feeds[2]", "before": 5},
        ]);
        let told = text(changes.as_array().unwrap());
        assert_eq!(told, "  ~ feeds[0].name: a → b\n  + feeds[1]: {\"name\":\"c\"}\n  - feeds[2]: 5\n");
        assert_eq!(text(&vec![Value::Null; SHOWN + 3]).lines().last(), Some("  and 3 more"));
    }

    #[test]
    fn what_the_data_plane_says_is_told_of_one_document_and_of_several() {
        let said = json!({"problem": null, "restart_needed": ["workers[0].core", "publisher.shards"],
            "notes": ["no XDP here"]});
        let expected = ["waits for its next start: workers[0].core, publisher.shards", "no XDP here"];
        assert_eq!(rehearsal(&json!({"rehearsal": said}), "dataplane"), expected);
        let several = json!({"documents": {"dataplane": {"rehearsal": said}, "strategy": {}}});
        assert_eq!(rehearsal(&several, "dataplane"), expected);
        assert!(rehearsal(&several, "strategy").is_empty());
        let away = json!({"rehearsal": {"problem": "nobody listens", "restart_needed": [], "notes": []}});
        assert_eq!(rehearsal(&away, "feeds"), ["could not be asked what it says of it: nobody listens"]);
    }
}
