//! How documents are changed: what is wanted is checked against what is there, and becomes the next versions, or nothing.

use super::{Cards, Difference, Kind, Part, cross, differences};
use crate::access::Intent;
use crate::api::{Answer, FieldProblem, Problem, Stopped};
use crate::store::{Change, Done, Store, Version, VersionHead};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// One document that is to be changed.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Which.
    pub kind: Kind,
    /// What must be there.
    pub expected: Expected,
    /// What it is to become.
    pub new: NewDocument,
}

/// What must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This version; 0 for none.
    Version(u64),
    /// Any version, without the part.
    PartAbsent,
}

/// What a document is to become.
#[derive(Clone, Debug)]
pub enum NewDocument {
    /// This.
    Whole(Value),
    /// What it was in this version.
    Version(u64),
    /// What it is, with this part in it, or without it.
    Part {
        /// Which kind of part.
        part: &'static Part,
        /// Its name; empty where there is only one.
        name: String,
        /// What it is to be; none when it is to go.
        value: Option<Value>,
    },
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The documents, each once.
    pub edits: Vec<Edit>,
    /// Whether the answer lists documents, or is about the one.
    pub several: bool,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Accepted {
    /// Its version: the one that it is, or (dry run) would be.
    #[serde(flatten)]
    pub head: VersionHead,
    /// Whether nothing was made, because it was asked only whether it could be.
    pub dry_run: bool,
    /// Whether it was so already.
    pub unchanged: bool,
    /// What is different.
    pub changes: Vec<Difference>,
    /// After a dry run of `feeds` or `dataplane`: what the data plane says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
}

/// What the data plane says of a document that it was only asked to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rehearsal {
    /// Why it could not be asked. What it would say is then not known.
    #[schema(required)]
    pub problem: Option<String>,
    /// Fields that only a start can change, as paths: until then they wait.
    pub restart_needed: Vec<String>,
    /// What it could not do, in words; it would take the document all the same.
    pub notes: Vec<String>,
}

/// A document between what is there and what is to be.
struct Draft {
    kind: Kind,
    before: Option<Version>,
    document: Value,
    changes: Vec<Difference>,
}

impl Draft {
    fn version_before(&self) -> u64 {
        self.before.as_ref().map_or(0, |before| before.head.version)
    }

    fn is_unchanged(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.document == self.document)
    }
}

/// What became of a proposal.
#[derive(Debug)]
pub enum Proposed {
    /// There are new versions.
    Made {
        /// The answer, as it is kept.
        answer: Answer,
        /// The documents that have one.
        changed: Vec<Kind>,
    },
    /// There are none: it was a dry run, or everything is so already.
    Checked {
        /// What became of each document.
        accepted: Vec<Accepted>,
        /// Those that would be different, as they would be.
        different: Vec<(Kind, Value)>,
    },
}

/// Changes documents, all or none. `cards` are those of the models that are named ([`models_named`](super::models_named)), as
/// far as they are known.
///
/// # Errors
/// 412 with the version that is there; 422 with everything that is wrong; what [`Store::begin`] and the store say.
pub async fn propose(
    store: &Store,
    intent: &Intent,
    proposal: Proposal,
    cards: &Cards,
) -> Result<Proposed, Stopped> {
    let mut change = store.begin(intent).await?;
    let mut current = BTreeMap::new();
    for kind in Kind::ALL {
        if let Some(version) = change.newest(kind.service()).await? {
            current.insert(kind, version);
        }
    }
    let several = proposal.several;
    let mut drafts = Vec::with_capacity(proposal.edits.len());
    for edit in proposal.edits {
        drafts.push(draft(&mut change, &current, edit).await?);
    }
    check(&current, &drafts, several, cards)?;
    let reason = intent.reason.clone().unwrap_or_default();
    if intent.dry_run || drafts.iter().all(Draft::is_unchanged) {
        let different = drafts.iter().filter(|draft| !draft.is_unchanged());
        let different = different.map(|draft| (draft.kind, draft.document.clone())).collect();
        let time_ns = change.time_ns;
        let accepted = drafts.into_iter().map(|draft| would_be(draft, intent, &reason, time_ns)).collect();
        return Ok(Proposed::Checked { accepted, different });
    }
    let (mut accepted, mut before, mut after, mut changed) = (Vec::new(), Map::new(), Map::new(), Vec::new());
    for draft in drafts {
        if draft.is_unchanged() {
            accepted.push(would_be(draft, intent, &reason, change.time_ns));
            continue;
        }
        let (kind, version) = (draft.kind, draft.version_before());
        let made = change.add_version(kind.service(), version, &draft.document, &reason).await?;
        let of_version = |head: &VersionHead| json!({"version": head.version, "sha256": head.sha256});
        let was = draft.before.as_ref().map_or(Value::Null, |before| of_version(&before.head));
        before.insert(kind.service().to_owned(), was);
        let mut is = of_version(&made.head);
        is["changes"] = json!(draft.changes);
        after.insert(kind.service().to_owned(), is);
        changed.push(kind);
        let changes = draft.changes;
        accepted.push(Accepted {
            head: made.head,
            dry_run: false,
            unchanged: false,
            changes,
            rehearsal: None,
        });
    }
    let target = changed.iter().map(|kind| kind.service()).collect::<Vec<_>>().join(", ");
    let answer = answer(accepted, several)?;
    let done = Done { target, before: before.into(), after: after.into(), answer, kept: None };
    Ok(Proposed::Made { answer: change.commit(done).await?, changed })
}

async fn draft(change: &mut Change, current: &BTreeMap<Kind, Version>, edit: Edit) -> Result<Draft, Problem> {
    let kind = edit.kind;
    let before = current.get(&kind).cloned();
    let version = before.as_ref().map_or(0, |before| before.head.version);
    let there = before.as_ref().map_or(Value::Null, |before| before.document.clone());
    match edit.expected {
        Expected::Version(expected) if expected != version => {
            let message = match version {
                0 => format!("{kind} has no version yet; send If-None-Match: *"),
                _ => format!("{kind} has version {version} now; look at it, and change that"),
            };
            return Err(Problem::stale(message, version));
        }
        Expected::PartAbsent => {
            if let NewDocument::Part { part, name, .. } = &edit.new
                && part.one(&there, name).is_some()
            {
                let message =
                    format!("{} {name:?} is there already; send If-Match: \"{version}\"", part.path);
                return Err(Problem::stale(message, version));
            }
        }
        Expected::Version(_) => {}
    }
    let document = match edit.new {
        NewDocument::Whole(document) => document,
        NewDocument::Version(wanted) => {
            let version = change.version(kind.service(), wanted).await?;
            version.ok_or_else(|| Problem::not_found(format!("{kind} has no version {wanted}")))?.document
        }
        NewDocument::Part { part, name, value } => {
            let value = value.map(|value| part.with_name(&name, value)).transpose()?;
            part.put(&there, &name, value)?
        }
    };
    let changes = differences(&there, &document);
    Ok(Draft { kind, before, document, changes })
}

/// All that is wrong with what would be, beyond what is wrong already: a document that an earlier software accepted must
/// not stand in the way of a change that has nothing to do with it.
fn check(
    current: &BTreeMap<Kind, Version>,
    drafts: &[Draft],
    several: bool,
    cards: &Cards,
) -> Result<(), Problem> {
    let mut problems = Vec::new();
    let mut now = cross::Documents::new();
    for (kind, version) in current {
        if let Ok(typed) = kind.check(&version.document) {
            now.insert(*kind, typed);
        }
    }
    let mut then = now.clone();
    for draft in drafts {
        match draft.kind.check(&draft.document) {
            Ok(typed) => {
                then.insert(draft.kind, typed);
            }
            Err(found) => {
                let service = several.then(|| draft.kind.service().to_owned());
                problems.extend(
                    found.into_iter().map(|problem| FieldProblem { service: service.clone(), ..problem }),
                );
            }
        }
    }
    if problems.is_empty() {
        let before: BTreeSet<_> = cross::problems(&now, cards).iter().map(key).collect();
        let then = cross::problems(&then, cards);
        problems.extend(then.into_iter().filter(|problem| !before.contains(&key(problem))));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let first = problems[0].message.clone();
    let more = problems.len() - 1;
    let detail = match (&problems[0].path, more) {
        (path, 0) => format!("{path}: {first}"),
        (path, more) => format!("{path}: {first} (and {more} more)"),
    };
    Err(Problem::invalid(detail).with_errors(problems))
}

fn key(problem: &FieldProblem) -> (Option<String>, String, String) {
    (problem.service.clone(), problem.path.clone(), problem.message.clone())
}

/// What a draft would be, or is already.
fn would_be(draft: Draft, intent: &Intent, reason: &str, time_ns: u64) -> Accepted {
    let unchanged = draft.is_unchanged();
    let version = draft.version_before();
    let head = match draft.before {
        Some(before) if unchanged => before.head,
        _ => VersionHead::of(
            draft.kind.service(),
            version + 1,
            &draft.document,
            &intent.caller.name,
            reason,
            time_ns,
        ),
    };
    Accepted { head, dry_run: intent.dry_run, unchanged, changes: draft.changes, rehearsal: None }
}

/// The answer that says what became of the documents.
///
/// # Errors
/// 500 when there are none.
pub fn answer(accepted: Vec<Accepted>, several: bool) -> Result<Answer, Problem> {
    let written = |accepted: &Accepted| serde_json::to_value(accepted).map_err(Problem::internal);
    if several {
        let mut documents = Map::new();
        for accepted in &accepted {
            documents.insert(accepted.head.service.clone(), written(accepted)?);
        }
        return Ok(Answer::ok(json!({"documents": documents})));
    }
    let Some(accepted) = accepted.first() else { return Err(Problem::internal("nothing was proposed")) };
    // The ETag is of what is there: a dry run has changed nothing.
    let there = match accepted.dry_run && !accepted.unchanged {
        true => accepted.head.version - 1,
        false => accepted.head.version,
    };
    let made = accepted.head.version == 1 && !accepted.dry_run && !accepted.unchanged;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Answer { status, body: written(accepted)?, version: Some(there), location: None })
}
