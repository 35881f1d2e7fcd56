//! First versions of documents that have none, from files.

use super::propose::Expected;
use super::read::yaml_without_doubles;
use super::{Cards, Edit, Kind, NewDocument, Proposal, Proposed, propose};
use crate::access::Intent;
use crate::api::{Problem, Stopped};
use crate::store::Store;
use anyhow::{Context, bail};
use bus::config::DOCUMENT_BYTES_MAX;
use bus::control::strip_local_fields;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Makes version 1 of each document that has none and whose file is named, all or none. Fields of one process are left out,
/// passwords are refused.
///
/// # Errors
/// When a file cannot be read or is not accepted.
pub async fn seed(store: &Store, files: &BTreeMap<String, PathBuf>) -> anyhow::Result<Vec<Kind>> {
    let mut edits = Vec::new();
    for (service, path) in files {
        let Some(kind) = Kind::of(service) else { bail!("seed.{service} is no document") };
        if store.newest_head(service).await?.is_some() {
            continue;
        }
        let document = read(kind, path).with_context(|| format!("seed.{service}: {}", path.display()))?;
        edits.push(Edit { kind, expected: Expected::Version(0), new: NewDocument::Whole(document) });
    }
    if edits.is_empty() {
        return Ok(Vec::new());
    }
    let mut intent = Intent::internal("seed", "seed");
    intent.reason = Some("from the files of the control plane's document".to_owned());
    // Models are not looked at: at a first start the registry may be empty, or not be there.
    match propose(store, &intent, Proposal { edits, several: true }, &Cards::new()).await {
        Ok(Proposed::Made { changed, .. }) => Ok(changed),
        Ok(Proposed::Checked { .. }) => Ok(Vec::new()),
        Err(Stopped::Refused(problem)) => bail!("the seed is not accepted: {}", told(&problem)),
        Err(Stopped::Answered(_)) => Ok(Vec::new()),
    }
}

fn read(kind: Kind, path: &Path) -> anyhow::Result<Value> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        bail!("is larger than {DOCUMENT_BYTES_MAX} bytes");
    }
    let mut document = yaml_without_doubles(&bytes).map_err(|problem| anyhow::anyhow!(problem.detail))?;
    strip_local_fields(kind.service(), &mut document);
    if kind == Kind::Feeds {
        // A version has no folder that a path could be relative to.
        let folder = path.canonicalize()?.parent().map(Path::to_path_buf).unwrap_or_default();
        for feed in document["feeds"].as_array_mut().into_iter().flatten() {
            if let Some(schema) = feed["schema"].as_str() {
                let whole = folder.join(schema);
                feed["schema"] = Value::from(whole.to_string_lossy().into_owned());
            }
        }
    }
    Ok(document)
}

fn told(problem: &Problem) -> String {
    let errors = problem.errors.iter().map(|error| {
        let service = error.service.as_deref().unwrap_or_default();
        format!("{service}: {}: {}", error.path, error.message)
    });
    std::iter::once(problem.detail.clone()).chain(errors).collect::<Vec<_>>().join("\n")
}
