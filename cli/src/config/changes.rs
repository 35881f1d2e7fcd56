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
}
