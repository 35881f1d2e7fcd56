//! How two documents differ, by path.
//!
//! Lists of named things (feeds, strategies, sessions …) are compared by name, so that one put in front does not change
//! all that follow: their place is written `feeds[es]`. Other lists are compared by position: `lines[2]`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// Where: `strategies[flow].rules.rules[buy].when`. Empty for the whole document.
    pub path: String,
    /// What was there; null when nothing was.
    pub before: Value,
    /// What is there; null when nothing is.
    pub after: Value,
}

/// Fields by which things in a list are called.
const NAMES: [&str; 2] = ["name", "venue"];

/// All differences, in the order of the document's fields.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, of(before, name), of(after, name), found);
            }
        }
        (Value::Array(old), Value::Array(new)) => match (named(old), named(new)) {
            (Some(old), Some(new)) => compare_named(path, &old, &new, found),
            _ => {
                for index in 0..old.len().max(new.len()) {
                    let item = |list: &[Value]| list.get(index).cloned().unwrap_or(Value::Null);
                    compare(&format!("{path}[{index}]"), &item(old), &item(new), found);
                }
            }
        },
        _ => found.push(Difference { path: path.to_owned(), before: before.clone(), after: after.clone() }),
    }
}

fn of<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a Value {
    fields.get(name).unwrap_or(&Value::Null)
}

/// The things of a list by name, in their order; none when one has no name, or two have the same.
fn named(list: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let field = NAMES.into_iter().find(|field| list.iter().all(|item| item.get(field).is_some()))?;
    let named: Vec<(&str, &Value)> =
        list.iter().map(|item| Some((item.get(field)?.as_str()?, item))).collect::<Option<_>>()?;
    let unique: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
    (unique.len() == named.len()).then_some(named)
}

fn compare_named(path: &str, old: &[(&str, &Value)], new: &[(&str, &Value)], found: &mut Vec<Difference>) {
    let (olds, news): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (old.iter().copied().collect(), new.iter().copied().collect());
    let gone = old.iter().filter(|(name, _)| !news.contains_key(name));
    for name in new.iter().chain(gone).map(|(name, _)| *name) {
        let item =
            |things: &BTreeMap<&str, &Value>| things.get(name).copied().cloned().unwrap_or(Value::Null);
        compare(&format!("{path}[{name}]"), &item(&olds), &item(&news), found);
    }
    // Order can matter: rules are looked at in theirs.
    let kept = |list: &[(&str, &Value)], other: &BTreeMap<&str, &Value>| -> Vec<Value> {
        list.iter().filter(|(name, _)| other.contains_key(name)).map(|(name, _)| Value::from(*name)).collect()
    };
    let (before, after) = (kept(old, &news), kept(new, &olds));
    if before != after {
        found.push(Difference {
            path: format!("{path} (order)"),
            before: Value::Array(before),
            after: Value::Array(after),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(before: &Value, after: &Value) -> Vec<String> {
        differences(before, after).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn the_same_has_no_difference_and_a_value_has_one() {
        let document = json!({"a": {"b": [1, {"c": 2}]}, "d": null});
        assert_eq!(differences(&document, &document), []);
        let other = json!({"a": {"b": [1, {"c": 3}]}, "e": 1});
        assert_eq!(paths(&document, &other), ["a.b[1].c", "e"]);
        assert_eq!(paths(&Value::Null, &document), [""]);
    }

    #[test]
    fn named_things_are_compared_by_name() {
        let before = json!({"feeds": [{"name": "es", "port": 1}, {"name": "nq", "port": 2}]});
        let after = json!({"feeds": [{"name": "new", "port": 9}, {"name": "es", "port": 1}, {"name": "nq", "port": 3}]});
        assert_eq!(paths(&before, &after), ["feeds[new]", "feeds[nq].port"]);
        assert_eq!(paths(&after, &before), ["feeds[nq].port", "feeds[new]"]);
        let swapped = json!({"feeds": [{"name": "nq", "port": 2}, {"name": "es", "port": 1}]});
        assert_eq!(paths(&before, &swapped), ["feeds (order)"]);
    }

    #[test]
    fn names_that_are_there_twice_are_compared_by_position() {
        let before = json!([{"name": "a", "x": 1}, {"name": "a", "x": 2}]);
        let after = json!([{"name": "a", "x": 1}, {"name": "a", "x": 3}]);
        assert_eq!(paths(&before, &after), ["[1].x"]);
    }
}
