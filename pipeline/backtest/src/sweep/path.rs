//! A copy of a backtest with other values at some paths of its documents.
//!
//! A path is names with dots between them and numbers in brackets, as problems of documents have it. It begins with
//! `strategy.` in the strategy's document, `features.` in the features', anything else is in the backtest's own. All of it but the
//! last name must be there; what the last name may be and take, the document's own types say.

use crate::document::{Backtest, BacktestDocument};
use bus::config::{FeaturesDocument, Problem, StrategyDocument};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a path begins with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Root {
    Backtest,
    Strategy,
    Features,
}

impl Root {
    fn of(path: &str) -> (Root, &str) {
        for (name, root) in [("strategy.", Root::Strategy), ("features.", Root::Features)] {
            if let Some(rest) = path.strip_prefix(name) {
                return (root, rest);
            }
        }
        (Root::Backtest, path)
    }
}

/// A copy of `base` with these values at these paths, checked as documents are when they are read.
///
/// # Errors
/// Paths that are not there, and everything that the documents do not take.
pub(super) fn with<'a>(
    base: &Backtest,
    changes: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<Backtest, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut made = base.clone();
    let mut changed: [Option<(Value, Vec<&str>)>; 3] = [None, None, None];
    for (path, value) in changes {
        let (root, rest) = Root::of(path);
        let (document, paths) = changed[root as usize].get_or_insert_with(|| (whole(base, root), Vec::new()));
        paths.push(path);
        if let Err(message) = set(document, rest, value) {
            problems.push(Problem { path: path.to_owned(), message });
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let [backtest, strategy, features] = changed;
    take(backtest, BacktestDocument::validate, &mut problems, |document| made.document = document);
    take(strategy, StrategyDocument::validate, &mut problems, |document| made.strategy = document);
    take(features, FeaturesDocument::validate, &mut problems, |document| made.sets = document.sets);
    if problems.is_empty() { Ok(made) } else { Err(problems) }
}

/// A document as JSON.
fn whole(base: &Backtest, root: Root) -> Value {
    let value = match root {
        Root::Backtest => serde_json::to_value(&base.document),
        Root::Strategy => serde_json::to_value(&base.strategy),
        // What a backtest does not read of it is made up, so that it can be checked as a whole.
        Root::Features => Ok(json!({
            "redis": "unix:///none",
            "health": {"listen": "127.0.0.1:1"},
            "sets": base.sets,
        })),
    };
    value.unwrap_or(Value::Null)
}

/// Reads a changed document back, checks it and hands it over.
fn take<T: DeserializeOwned>(
    changed: Option<(Value, Vec<&str>)>,
    validate: impl Fn(&T) -> Vec<Problem>,
    problems: &mut Vec<Problem>,
    hand_over: impl FnOnce(T),
) {
    let Some((value, paths)) = changed else { return };
    match serde_json::from_value::<T>(value) {
        Ok(document) => {
            problems.extend(validate(&document));
            hand_over(document);
        }
        Err(error) => problems.push(Problem { path: paths.join(", "), message: error.to_string() }),
    }
}

/// Puts a value at a path.
fn set(document: &mut Value, path: &str, value: &Value) -> Result<(), String> {
    let steps = steps(path)?;
    let Some((last, before)) = steps.split_last() else { return Err("is empty; name a value".into()) };
    let mut at = document;
    let mut way = String::new();
    for step in before {
        step.show(&mut way);
        at = match step {
            Step::Name(name) => at.as_object_mut().and_then(|fields| fields.get_mut(*name)),
            Step::Number(number) => at.as_array_mut().and_then(|items| items.get_mut(*number)),
        }
        .ok_or_else(|| format!("there is no {way} in the document"))?;
    }
    last.show(&mut way);
    match (last, at) {
        (Step::Name(name), Value::Object(fields)) => {
            fields.insert((*name).to_owned(), value.clone());
        }
        (Step::Number(number), Value::Array(items)) if *number < items.len() => {
            items[*number] = value.clone();
        }
        _ => return Err(format!("there is no {way} in the document")),
    }
    Ok(())
}

/// A step of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step<'a> {
    Name(&'a str),
    Number(usize),
}

impl Step<'_> {
    fn show(&self, way: &mut String) {
        match self {
            Step::Name(name) if way.is_empty() => way.push_str(name),
            Step::Name(name) => {
                way.push('.');
                way.push_str(name);
            }
            Step::Number(number) => way.push_str(&format!("[{number}]")),
        }
    }
}

fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let wrong = || "is no path; write it as strategies[0].quoter.size".to_owned();
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, mut rest) = part.find('[').map_or((part, ""), |at| part.split_at(at));
        if name.is_empty() {
            return Err(wrong());
        }
        steps.push(Step::Name(name));
        while !rest.is_empty() {
            let (number, behind) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(wrong)?;
            steps.push(Step::Number(number.parse().map_err(|_| wrong())?));
            rest = behind;
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_place_and_one_that_leads_nowhere_is_named() {
        let mut document = json!({"a": {"b": [{"c": 1}, {"c": 2}]}});
        set(&mut document, "a.b[1].c", &json!(5)).unwrap();
        set(&mut document, "a.d", &json!("new")).unwrap();
        assert_eq!(document, json!({"a": {"b": [{"c": 1}, {"c": 5}], "d": "new"}}));
        let mut said = |path| set(&mut document, path, &json!(0)).unwrap_err();
        assert_eq!(said("a.b[2].c"), "there is no a.b[2] in the document");
        assert_eq!(said("a.b[2]"), "there is no a.b[2] in the document");
        assert_eq!(said("x.y"), "there is no x in the document");
        assert_eq!(said("a.b.c"), "there is no a.b.c in the document");
        for path in ["", ".", "a..b", "a[", "a[x]", "a[1]]", "[0]", "a[0]b"] {
            assert!(said(path).starts_with("is no path"), "{path}");
        }
    }

    #[test]
    fn no_text_of_a_path_does_harm() {
        bolero::check!().with_type::<String>().for_each(|path| {
            let mut document = json!({"a": [1, {"b": 2}]});
            let _ = set(&mut document, path, &Value::Null);
        });
    }
}
