//! Versions of documents: which one runs, which one waits for a start, and taking another one.
//!
//! A version is checked whole before anything changes; then it is written beside the one that is kept, the change is made,
//! and the file takes its place. So what was answered with `ok` is there after a crash, and what was refused is nowhere.

use super::{Kept, State};
use crate::change::{Changes, Unplanned, assign};
use crate::process::Dataplane;
use bus::Sha256Sum;
use bus::config::{DOCUMENT_BYTES_MAX, DataplaneDocument, DocumentError, FeedsDocument};
use bus::control::{ManagedDocument, parse_document, strip_local_fields};
use bus::link::{
    Documents, Fault, FaultCode, HeldDocument, LINK_PROBLEMS_MAX, LinkChanges, LinkService, SetDocument,
    Taken, TakenState, WaitingDocument,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tracing::{info, warn};

/// One document as it stands in this process.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// The version that runs; its own file when there is none.
    running: Option<Kept>,
    /// It runs and could not be kept: it is written again when it comes again.
    is_unkept: bool,
    waiting: Option<WaitingDocument>,
}

impl Holding {
    pub(super) fn new(running: Option<Kept>, waiting: Option<WaitingDocument>) -> Holding {
        Holding { running, is_unkept: false, waiting }
    }

    fn version(&self) -> u64 {
        self.running.as_ref().map_or(0, |kept| kept.version)
    }

    fn runs(&self, set: &SetDocument) -> bool {
        let running = self.running.as_ref();
        !self.is_unkept
            && running.is_some_and(|kept| (kept.version, kept.sha256) == (set.version, set.sha256))
    }

    /// What is told of it; `own` is the document when its own file runs.
    fn told(&self, own: impl FnOnce() -> Result<Box<RawValue>, Fault>) -> Result<HeldDocument, Fault> {
        Ok(HeldDocument {
            version: self.version(),
            sha256: self.running.as_ref().map(|kept| kept.sha256),
            waiting: self.waiting.clone(),
            document: self.running.as_ref().map_or_else(own, |kept| Ok(kept.document.clone()))?,
        })
    }

    fn status(&self) -> Value {
        json!({
            "version": self.version(),
            "waiting_version": self.waiting.as_ref().map_or(0, |waiting| waiting.version),
            "waiting_fields": self.waiting.as_ref().map(|waiting| &waiting.fields),
            "refused": self.waiting.as_ref().and_then(|waiting| waiting.refused.as_ref()),
        })
    }
}

/// Both documents, and where they are kept.
#[derive(Debug)]
pub(super) struct Held {
    own: DataplaneDocument,
    directory: PathBuf,
    state: State,
    feeds: Holding,
    dataplane: Holding,
    /// What the next start runs, when that is another one than runs.
    next: Option<DataplaneDocument>,
}

impl Held {
    pub(super) fn new(
        own: DataplaneDocument,
        directory: &Path,
        state: State,
        feeds: Holding,
        dataplane: Holding,
    ) -> Held {
        Held { own, directory: directory.to_owned(), state, feeds, dataplane, next: None }
    }

    pub(super) fn feeds_version(&self) -> Option<u64> {
        self.feeds.running.as_ref().map(|kept| kept.version)
    }

    pub(super) fn status(&self) -> Value {
        json!({"feeds": self.feeds.status(), "dataplane": self.dataplane.status()})
    }

    pub(super) fn documents(&self, dataplane: &Dataplane) -> Result<Documents, Fault> {
        let raw = |value: &Value| RawValue::from_string(value.to_string()).map_err(unsaid);
        Ok(Documents {
            feeds: self.feeds.told(|| raw(&serde_json::to_value(dataplane.feeds()).map_err(unsaid)?))?,
            dataplane: self.dataplane.told(|| {
                // The process's own fields are nobody else's: an address may hold a password.
                let mut own = serde_json::to_value(dataplane.document()).map_err(unsaid)?;
                strip_local_fields(LinkService::Dataplane.word(), &mut own);
                raw(&own)
            })?,
        })
    }

    pub(super) fn set(&mut self, set: &SetDocument, dataplane: &mut Dataplane) -> Result<Taken, Fault> {
        let began = Instant::now();
        if Sha256Sum::of(set.document.get().as_bytes()) != set.sha256 {
            let message = format!("version {} of {} does not have its checksum", set.version, set.service);
            return Err(Fault::new(FaultCode::Checksum, message));
        }
        let mut taken = match set.service {
            LinkService::Feeds => self.set_feeds(set, dataplane),
            LinkService::Dataplane => self.set_dataplane(set, dataplane),
        }?;
        taken.took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if taken.state != TakenState::Checked {
            info!(
                service = %set.service,
                version = set.version,
                state = ?taken.state,
                changed = ?taken.changed,
                took_us = taken.took_us,
                "a version was taken"
            );
        }
        taken.notes.iter().for_each(|note| warn!(service = %set.service, version = set.version, "{note}"));
        Ok(taken)
    }

    fn set_feeds(&mut self, set: &SetDocument, dataplane: &mut Dataplane) -> Result<Taken, Fault> {
        if self.feeds.runs(set) {
            return Ok(taken(set, TakenState::Running));
        }
        let feeds = read_feeds(&set.document, &self.own.feeds, &self.directory)?;
        if let Some(next) = &self.next {
            assign(&next.workers, &feeds).map_err(|problems| {
                let message =
                    "does not fit the dataplane document that waits for the next start; change that first";
                Fault::invalid(message, problems)
            })?;
        }
        let workers = dataplane.document().workers.clone();
        let planned = dataplane.plan(&workers, feeds).map_err(invalid)?;
        let mut taken = taken(set, TakenState::Running);
        taken.changed = link_changes(planned.changes.clone());
        taken.notes.clone_from(&planned.notes);
        if set.dry_run {
            taken.state = TakenState::Checked;
            return Ok(taken);
        }
        let kept = keep(set);
        let staged = self.state.stage(set.service, &kept).map_err(unkept)?;
        dataplane.carry_out(planned).map_err(failed)?;
        let committed = staged.commit();
        self.feeds = Holding { running: Some(kept), is_unkept: committed.is_err(), waiting: None };
        committed.map_err(|error| runs_unkept(set, &error))?;
        Ok(taken)
    }

    fn set_dataplane(&mut self, set: &SetDocument, dataplane: &mut Dataplane) -> Result<Taken, Fault> {
        if self.dataplane.runs(set) && self.dataplane.waiting.is_none() {
            return Ok(taken(set, TakenState::Running));
        }
        let document = self.own.with_version(set.document.get()).map_err(unreadable)?;
        assign(&document.workers, dataplane.feeds())
            .map_err(|problems| Fault::invalid("does not fit the feeds that run", problems))?;
        let mut restart_needed = differences(dataplane.document(), &document);
        let mut planned = None;
        if only_feeds_of_workers_differ(dataplane.document(), &document) {
            match dataplane.plan(&document.workers, dataplane.feeds().clone()) {
                Ok(plan) => {
                    planned = Some(plan);
                    restart_needed.clear();
                }
                Err(refused) if refused.only_a_start_can => {}
                Err(refused) => return Err(invalid(refused)),
            }
        }
        let waits = !restart_needed.is_empty();
        let mut taken = taken(set, if waits { TakenState::RestartNeeded } else { TakenState::Running });
        if let Some(planned) = &planned {
            taken.changed = link_changes(planned.changes.clone());
            taken.notes.clone_from(&planned.notes);
        }
        taken.restart_needed = restart_needed;
        if set.dry_run {
            taken.state = TakenState::Checked;
            return Ok(taken);
        }
        let kept = keep(set);
        let staged = self.state.stage(set.service, &kept).map_err(unkept)?;
        if let Some(planned) = planned {
            dataplane.carry_out(planned).map_err(failed)?;
        }
        let committed = staged.commit();
        if waits {
            committed.map_err(unkept)?;
            self.dataplane.waiting = Some(WaitingDocument {
                version: set.version,
                sha256: set.sha256,
                fields: taken.restart_needed.clone(),
                refused: None,
            });
            self.next = Some(document);
        } else {
            self.dataplane = Holding { running: Some(kept), is_unkept: committed.is_err(), waiting: None };
            self.next = None;
            committed.map_err(|error| runs_unkept(set, &error))?;
        }
        Ok(taken)
    }
}

/// A feeds document as it came, checked, with its paths beginning where those of the feeds file do.
pub(super) fn read_feeds(
    document: &RawValue,
    own_file: &Path,
    directory: &Path,
) -> Result<FeedsDocument, Fault> {
    if document.get().len() > DOCUMENT_BYTES_MAX {
        return Err(unreadable(DocumentError::TooLarge));
    }
    let value: Value = serde_json::from_str(document.get())
        .map_err(|error| Fault::invalid(format!("no JSON: {error}"), Vec::new()))?;
    let mut feeds: FeedsDocument = parse_document(value).map_err(unreadable)?;
    feeds.resolve_paths(directory.join(own_file).parent().unwrap_or(directory));
    Ok(feeds)
}

fn taken(set: &SetDocument, state: TakenState) -> Taken {
    Taken {
        service: set.service,
        version: set.version,
        state,
        restart_needed: Vec::new(),
        changed: LinkChanges::default(),
        notes: Vec::new(),
        took_us: 0,
    }
}

fn keep(set: &SetDocument) -> Kept {
    Kept { version: set.version, sha256: set.sha256, document: set.document.clone() }
}

fn link_changes(changes: Changes) -> LinkChanges {
    LinkChanges {
        feeds_added: changes.feeds.added,
        feeds_changed: changes.feeds.changed,
        feeds_removed: changes.feeds.removed,
        filters_added: changes.filters_added,
        filters_removed: changes.filters_removed,
    }
}

fn unreadable(error: DocumentError) -> Fault {
    match error {
        DocumentError::Invalid(problems) => Fault::invalid("the document cannot be used", problems),
        other => Fault::invalid(other.to_string(), Vec::new()),
    }
}

fn invalid(refused: Unplanned) -> Fault {
    Fault::invalid("the document cannot be run", refused.problems)
}

fn failed(error: anyhow::Error) -> Fault {
    Fault::new(FaultCode::Failed, format!("{error:#}"))
}

fn unkept(error: super::StateError) -> Fault {
    Fault::new(FaultCode::Failed, format!("it cannot be kept, so it was not taken: {error}"))
}

fn runs_unkept(set: &SetDocument, error: &super::StateError) -> Fault {
    let message = format!(
        "version {} of {} runs, but could not be kept ({error}): a start would begin with the one before; send it again",
        set.version, set.service
    );
    Fault::new(FaultCode::Failed, message)
}

fn unsaid(error: serde_json::Error) -> Fault {
    Fault::new(FaultCode::Failed, error.to_string())
}

/// Whether nothing but who takes which feed is another.
fn only_feeds_of_workers_differ(running: &DataplaneDocument, other: &DataplaneDocument) -> bool {
    let mut same = other.clone();
    for (worker, running) in same.workers.iter_mut().zip(&running.workers) {
        worker.feeds.clone_from(&running.feeds);
    }
    same == *running
}

/// Where two documents differ, as paths, at most [`LINK_PROBLEMS_MAX`] of them.
fn differences(running: &DataplaneDocument, other: &DataplaneDocument) -> Vec<String> {
    let value = |document: &DataplaneDocument| serde_json::to_value(document).unwrap_or_default();
    let mut paths = Vec::new();
    compare(String::new(), &value(running), &value(other), &mut paths);
    paths.truncate(LINK_PROBLEMS_MAX);
    paths
}

fn compare(at: String, one: &Value, other: &Value, paths: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                let field = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                compare(at, &field(left), &field(right), paths);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.iter().chain(right).all(Value::is_object) => {
            for index in 0..left.len().max(right.len()) {
                let item = |of: &[Value]| of.get(index).cloned().unwrap_or_default();
                compare(format!("{at}[{index}]"), &item(left), &item(right), paths);
            }
        }
        _ if one != other => paths.push(at),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::config::Problem;

    const OWN: &str = "
feeds: feeds.yaml
workers:
  - {name: w0, interface_a: eth1, interface_b: eth2, feeds: [one]}
  - {name: w1, interface_a: eth3, interface_b: eth3, feeds: [two]}
publisher: {redis: 'unix:///run/redis.sock'}
";

    fn with(from: &str, to: &str) -> DataplaneDocument {
        let text = OWN.replace(from, to);
        assert_ne!(text, OWN);
        DataplaneDocument::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_start_is_needed_for_is_named_by_its_path() {
        let own = DataplaneDocument::parse(OWN.as_bytes()).unwrap();
        assert_eq!(differences(&own, &own), [""; 0]);
        let cases = [
            (with("interface_a: eth1", "core: 2, interface_a: eth1"), "workers[0].core"),
            (with("interface_a: eth1", "interface_a: eth4"), "workers[0].interface_a"),
            (with("sock'}", "sock', shards: 2}"), "publisher.shards"),
            (with("publisher:", "receive: {frames: 1024}\npublisher:"), "receive.frames"),
            (with("feeds: [two]", "feeds: [two, three]"), "workers[1].feeds"),
        ];
        for (other, path) in cases {
            assert_eq!(differences(&own, &other), [path]);
            assert_eq!(only_feeds_of_workers_differ(&own, &other), path == "workers[1].feeds");
        }
        let fewer = with("  - {name: w1, interface_a: eth3, interface_b: eth3, feeds: [two]}\n", "");
        assert_eq!(differences(&own, &fewer), ["workers[1]"]);
        assert!(!only_feeds_of_workers_differ(&own, &fewer));
    }

    #[test]
    fn a_feeds_document_that_cannot_be_used_is_refused_with_its_places() {
        let folder = Path::new("/etc/feedplane");
        let read = |text: &str| {
            let document = RawValue::from_string(text.to_owned()).unwrap();
            read_feeds(&document, Path::new("sub/feeds.yaml"), folder)
        };
        let good = "{\"feeds\": [{\"name\": \"es\", \"channel_id\": 1, \"publisher_id\": 1, \"protocol\": \"mdp3\", \
            \"schema\": \"s.xml\", \"lines\": {\"a\": {\"group\": \"239.1.1.1\", \"port\": 7}}}]}";
        let feeds = read(good).unwrap();
        assert_eq!(feeds.feeds[0].schema.as_deref(), Some(Path::new("/etc/feedplane/sub/s.xml")));
        let cases = [
            ("[]", "document"),
            ("{\"feeds\": []}", "feeds"),
            (&good.replace("\"port\": 7", "\"port\": 0"), "feeds[0].lines.a.port"),
            (&good.replace("\"port\": 7", "\"port\": \"x\""), "feeds[0].lines.a.port"),
            (&good.replace("\"name\": \"es\"", "\"name\": \"\""), "feeds[0].name"),
            (
                &good.replace(
                    "}}}]}",
                    "}}}], \"filters\": [{\"name\": \"n\", \"group\": \"10.0.0.1\", \"action\": \"drop\"}]}",
                ),
                "filters[0].group",
            ),
        ];
        for (text, path) in cases {
            let fault = read(text).unwrap_err();
            assert_eq!(fault.code, FaultCode::Invalid, "{text}");
            let paths: Vec<&str> = fault.errors.iter().map(|Problem { path, .. }| path.as_str()).collect();
            assert_eq!(paths, [path], "{text}: {fault}");
        }
        let large = good.replacen('{', &format!("{{{}", " ".repeat(DOCUMENT_BYTES_MAX)), 1);
        assert_eq!(read(&large).unwrap_err().code, FaultCode::Invalid);
    }
}
