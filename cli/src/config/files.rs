//! The files of `apply` and `diff`: one document each, or several divided by `---`, in the form in which
//! `feedplane get config NAME -o yaml` writes them.

use anyhow::{Context, Result, bail, ensure};
use bus::config::DOCUMENT_BYTES_MAX;
use bus::control::SERVICES;
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Largest file, bytes: one of every document, each as large as it may be.
const FILE_BYTES_MAX: u64 = (SERVICES.len() * DOCUMENT_BYTES_MAX) as u64;

/// How a file is written, for `--help`.
pub(super) const FORM: &str = "\
A file holds one document, or several divided by lines of `---` (YAML or JSON):

  service: feeds          # feeds, dataplane, features, strategy, gateway, archiver
  version: 3              # the version that it was made from; left out: the one that is there now
  document: {…}           # the whole document, as bus/src/config describes it

That is what `feedplane get config feeds -o yaml` writes: change it and apply it. Its `by`, `reason` and `time_ns` may stay,
and say nothing.";

/// A document to be applied.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) service: String,
    /// The version that it was made from.
    #[serde(default)]
    pub(super) version: Option<u64>,
    pub(super) document: Value,
    // What the answer to a GET has besides.
    #[serde(default, rename = "by")]
    _by: Option<String>,
    #[serde(default, rename = "reason")]
    _reason: Option<String>,
    #[serde(default, rename = "time_ns")]
    _time_ns: Option<u64>,
    #[serde(default, rename = "sha256")]
    _sha256: Option<String>,
}

/// Reads every document of these files; `-` is standard input.
///
/// # Errors
/// What is wrong, and in which file.
pub(super) fn read(files: &[std::path::PathBuf]) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for file in files {
        let name = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
        let text = text_of(file).with_context(|| name.clone())?;
        for wanted in parse(&text).with_context(|| name.clone())? {
            ensure!(
                !all.iter().any(|other| other.service == wanted.service),
                "{name}: {} is there twice; one document of each service is applied at once",
                wanted.service
            );
            all.push(wanted);
        }
    }
    ensure!(!all.is_empty(), "there is no document in it; `feedplane apply --help` shows the form");
    Ok(all)
}

fn text_of(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    };
    read?;
    ensure!(text.len() as u64 <= FILE_BYTES_MAX, "larger than {FILE_BYTES_MAX} bytes");
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Wanted>> {
    let documents: Vec<Option<Wanted>> = serde_saphyr::from_multiple(text).map_err(|error| {
        anyhow::anyhow!("{}; `feedplane apply --help` shows the form", error.without_snippet())
    })?;
    let documents: Vec<Wanted> = documents.into_iter().flatten().collect();
    for wanted in &documents {
        if !SERVICES.contains(&wanted.service.as_str()) {
            bail!("service: is {:?}; there are {}", wanted.service, SERVICES.join(", "));
        }
        ensure!(wanted.document.is_object(), "document: of {} is no object", wanted.service);
        ensure!(
            wanted.version != Some(0),
            "version: is 0; versions count from 1, leave it out for the first"
        );
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_documents_are_read_and_what_a_get_says_besides_is_passed_over() {
        let text = "service: feeds\nversion: 3\nby: a\nreason: b\ntime_ns: 5\nsha256: aa\ndocument: {feeds: []}\n---\n\
                    service: features\ndocument: {sets: []}\n---\n";
        let all = parse(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].service.as_str(), all[0].version), ("feeds", Some(3)));
        assert_eq!((all[1].service.as_str(), all[1].version), ("features", None));
        let json = parse(r#"{"service": "feeds", "document": {"feeds": [1.5, true, null]}}"#).unwrap();
        assert_eq!(json[0].document["feeds"][0], 1.5);
    }

    #[test]
    fn what_is_no_document_is_named() {
        for (text, expected) in [
            ("service: venue\ndocument: {}", "service: is \"venue\""),
            ("service: feeds\ndocument: 5", "document: of feeds is no object"),
            ("service: feeds", "missing field"),
            ("service: feeds\ndocument: {}\nkind: x", "unknown field"),
            ("service: feeds\nversion: 0\ndocument: {}", "version: is 0"),
            ("feeds: [}", "line 1"),
            ("service: feeds\nversion: -1\ndocument: {}", "line 2, column 10"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn a_service_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "service: feeds\ndocument: {}\n").unwrap();
        let error = read(&[file.clone(), file]).unwrap_err().to_string();
        assert!(error.contains("feeds is there twice"), "{error}");
    }
}
