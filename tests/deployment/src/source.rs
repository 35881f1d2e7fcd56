//! The metrics that the code makes, by looking at it: every literal that is a metric's name, and what the macros that make metrics say.
//!
//! Tests are left out: they look at metrics. So a name must be whole in the code, which also lets a person find it.

use crate::table::Kind;
use crate::tools::repository;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where metrics may be made.
const MAKERS: [&str; 9] = [
    "bus/src",
    "vitals/src",
    "dataplane/src",
    "controlplane/src",
    "pipeline/archiver/src",
    "pipeline/book/src",
    "pipeline/features/src",
    "pipeline/gateway/src",
    "pipeline/strategy/src",
];
/// What a metric of a process begins with.
const SERVICES: [&str; 7] =
    ["archiver", "controlplane", "dataplane", "features", "gateway", "process", "strategy"];

/// A metric as a macro makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The macro: `counter!`, `gauge!`, `histogram!`.
    pub kind: Kind,
    /// Its labels, sorted.
    pub labels: BTreeSet<String>,
    /// Where.
    pub file: PathBuf,
}

/// What is found in the code.
#[derive(Debug, Default)]
pub struct Found {
    /// Names, and the files that they stand in.
    pub names: BTreeMap<String, BTreeSet<PathBuf>>,
    /// Those whose macro has the name as a literal.
    pub made: Vec<(String, Made)>,
}

/// Looks through the code.
///
/// # Errors
/// A folder or file cannot be read.
pub fn look() -> Result<Found> {
    let mut found = Found::default();
    for folder in MAKERS {
        for file in files(&repository().join(folder))? {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let relative = file.strip_prefix(repository()).unwrap_or(&file).to_owned();
            look_at(without_tests(&text), &relative, &mut found);
        }
    }
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
    Ok(found)
}

/// The tests of a module stand at its end.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

fn look_at(text: &str, file: &Path, found: &mut Found) {
    for (at, _) in text.match_indices("\"feedplane_") {
        let name = literal(&text[at..]);
        let service = name.trim_start_matches("feedplane_").split('_').next().unwrap_or_default();
        if SERVICES.contains(&service) && !name.ends_with('_') {
            found.names.entry(name.to_owned()).or_default().insert(file.to_owned());
        }
    }
    for (word, kind) in
        [("counter!(", Kind::Counter), ("gauge!(", Kind::Gauge), ("histogram!(", Kind::Summary)]
    {
        for (at, _) in text.match_indices(word) {
            let arguments = in_parentheses(&text[at + word.len()..]);
            let Some(name) =
                arguments.trim_start().strip_prefix('"').map(|_| literal(arguments.trim_start()))
            else {
                continue;
            };
            let labels = arguments.match_indices("=>").filter_map(|(arrow, _)| {
                let before = arguments[..arrow].trim_end().strip_suffix('"')?;
                before.rfind('"').map(|quote| before[quote + 1..].to_owned())
            });
            found
                .made
                .push((name.to_owned(), Made { kind, labels: labels.collect(), file: file.to_owned() }));
        }
    }
}

/// The text of the string literal that `text` begins with.
fn literal(text: &str) -> &str {
    let text = &text[1..];
    &text[..text.find('"').unwrap_or(text.len())]
}

/// Up to the parenthesis that closes what was opened before `text`.
fn in_parentheses(text: &str) -> &str {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_macros_and_labels_are_found_and_tests_are_not() {
        let code = "counter!(\"feedplane_gateway_a_total\", \"venue\" => name(x), \"why\" => \"y\").increment(1);\n\
            const B: &str = \"feedplane_dataplane_b\"; let prefix = \"feedplane_gateway_\"; \"feedplane_elsewhere\";\n\
            #[cfg(test)]\nmod tests { \"feedplane_gateway_c\" }";
        let mut found = Found::default();
        look_at(without_tests(code), Path::new("x.rs"), &mut found);
        let names: Vec<&str> = found.names.keys().map(String::as_str).collect();
        assert_eq!(names, ["feedplane_dataplane_b", "feedplane_gateway_a_total"]);
        let [(name, made)] = &found.made[..] else { panic!("{found:?}") };
        assert_eq!((name.as_str(), made.kind), ("feedplane_gateway_a_total", Kind::Counter));
        assert!(made.labels.iter().eq(["venue", "why"]));
    }
}
