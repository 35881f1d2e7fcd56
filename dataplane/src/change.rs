//! Changing feeds and filters while packets flow.
//!
//! A change is planned whole before any of it is made: [`Dataplane::plan`] assigns feeds to workers and builds every new
//! channel, so that whatever is wrong with a document is found with nothing changed. [`Dataplane::carry_out`] then goes
//! from worker to worker. What only the kernel can refuse (a membership, a full map) comes out there; then every worker is
//! brought back to what it ran.

use crate::plan::Schemas;
use crate::process::Dataplane;
use crate::running::{Changed, Prepared, Unprepared};
use anyhow::Context;
use bus::config::{Feed, FeedsDocument, Filter, Problem, WorkerSection};
use std::collections::HashMap;
use std::fmt;

/// A change that is built and not begun.
pub struct Planned {
    feeds: FeedsDocument,
    workers: Vec<WorkerSection>,
    prepared: Vec<Prepared>,
    /// What it will do.
    pub changes: Changes,
    /// What is asked for and cannot be done here, in words.
    pub notes: Vec<String>,
}

/// What a change does, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// To feeds.
    pub feeds: Changed,
    /// Filters that begin, or have another place or action.
    pub filters_added: Vec<String>,
    /// Filters that end.
    pub filters_removed: Vec<String>,
}

/// Why feeds cannot be run.
#[derive(Debug)]
pub struct Unplanned {
    /// All that is wrong, with the places.
    pub problems: Vec<Problem>,
    /// It could be run after a start.
    pub only_a_start_can: bool,
}

impl fmt::Display for Unplanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&problems.join("; "))
    }
}

impl std::error::Error for Unplanned {}

impl Dataplane {
    /// Reads the feeds document again and brings the workers to it. Feeds that did not change are not
    /// touched; nothing changes when the document is refused.
    ///
    /// # Errors
    /// What is wrong with the document, or what could not be built or opened.
    pub fn reload(&mut self) -> anyhow::Result<Changes> {
        let feeds = FeedsDocument::load(&self.directory.join(&self.document.feeds))?;
        let workers = self.document.workers.clone();
        let planned = self.plan(&workers, feeds)?;
        self.carry_out(planned)
    }

    /// Builds what brings the running workers to these feeds, taken as these sections say. `workers` are the running ones
    /// but for the lists of feeds; paths in `feeds` are resolved. Nothing changes.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn plan(&mut self, workers: &[WorkerSection], feeds: FeedsDocument) -> Result<Planned, Unplanned> {
        let wrong = |problems| Unplanned { problems, only_a_start_can: false };
        let shares = assign(workers, &feeds).map_err(wrong)?;
        let moving = self.moving(&shares);
        if !moving.is_empty() {
            return Err(Unplanned { problems: moving, only_a_start_can: true });
        }
        // A template file may have changed under the same name.
        self.schemas = Schemas::default();
        let mut prepared = Vec::new();
        let mut changes = filter_changes(&self.feeds.filters, &feeds.filters);
        for (worker, share) in self.workers.iter().zip(&shares) {
            let of_worker = worker
                .prepare(share, &mut self.schemas, &self.published)
                .map_err(|error| wrong(vec![problem_of(&error, &feeds)]))?;
            changes.feeds.extend(of_worker.changed.clone());
            prepared.push(of_worker);
        }
        let notes = self.notes(&shares, &feeds);
        Ok(Planned { feeds, workers: workers.to_vec(), prepared, changes, notes })
    }

    /// Makes a change that was planned for what runs now.
    ///
    /// # Errors
    /// What the kernel or a worker refused. What ran before runs again then; the error says so if that failed, too.
    pub fn carry_out(&mut self, planned: Planned) -> anyhow::Result<Changes> {
        let Planned { feeds, workers, prepared, changes, .. } = planned;
        if let Err(error) = self.apply(prepared, &feeds.filters) {
            let before = self.feeds.clone();
            let sections = self.document.workers.clone();
            let back = self.plan(&sections, before.clone()).map_err(anyhow::Error::from);
            return match back.and_then(|back| self.apply(back.prepared, &before.filters)) {
                Ok(()) => Err(error.context("refused, and what ran before runs again")),
                Err(other) => Err(error.context(format!(
                    "refused, and what ran before could not be brought back ({other:#}); start the data plane again"
                ))),
            };
        }
        self.feeds = feeds;
        self.document.workers = workers;
        Ok(changes)
    }

    fn apply(&mut self, prepared: Vec<Prepared>, filters: &[Filter]) -> anyhow::Result<()> {
        for (worker, prepared) in self.workers.iter_mut().zip(prepared) {
            worker.apply(prepared, &mut self.published).with_context(|| format!("worker {}", worker.name))?;
            worker.link.set_filters(filters).with_context(|| format!("worker {}", worker.name))?;
        }
        Ok(())
    }

    /// Channels that would go from one worker to another: their packets arrive on other interfaces there, and what waits
    /// in their windows cannot go along.
    fn moving(&self, shares: &[Vec<Feed>]) -> Vec<Problem> {
        let mut now = HashMap::new();
        for (index, worker) in self.workers.iter().enumerate() {
            now.extend(worker.feeds().map(|(_, feed)| (feed.channel_id, index)));
        }
        let mut moving = Vec::new();
        for (index, share) in shares.iter().enumerate() {
            for feed in share {
                if let Some(from) = now.get(&feed.channel_id).filter(|from| **from != index) {
                    let (from, to) = (&self.workers[*from].name, &self.workers[index].name);
                    let message = format!(
                        "channel {} ({}) would move from worker {from} to {to}, which only a start can do; take the feed \
                         out first",
                        feed.channel_id, feed.name
                    );
                    moving.push(Problem { path: format!("workers[{index}].feeds"), message });
                }
            }
        }
        moving
    }

    fn notes(&self, shares: &[Vec<Feed>], feeds: &FeedsDocument) -> Vec<String> {
        let mut notes = Vec::new();
        for feed in &feeds.feeds {
            if !shares.iter().flatten().any(|taken| taken.name == feed.name) {
                notes.push(format!("no worker takes feed {}", feed.name));
            }
        }
        if !feeds.filters.is_empty() {
            let without = self.workers.iter().filter(|worker| !worker.link.can_filter());
            notes.extend(without.map(|worker| {
                format!("worker {} receives through sockets and has no filters; they need XDP", worker.name)
            }));
        }
        notes
    }
}

/// Which feeds go to which worker.
///
/// # Errors
/// All that is wrong, with the workers' fields.
pub fn assign(workers: &[WorkerSection], feeds: &FeedsDocument) -> Result<Vec<Vec<Feed>>, Vec<Problem>> {
    let mut owner: HashMap<&str, &str> = HashMap::new();
    let (mut shares, mut problems) = (Vec::new(), Vec::new());
    let mut problem = |path: String, message: String| problems.push(Problem { path, message });
    if workers.is_empty() {
        problem("workers".into(), "is empty; name at least one worker".into());
    }
    for (index, worker) in workers.iter().enumerate() {
        let at = format!("workers[{index}].feeds");
        let Some(names) = &worker.feeds else {
            if workers.len() > 1 {
                problem(at, "is missing; with more than one worker, each names the feeds it takes".into());
            }
            shares.push(feeds.feeds.clone());
            continue;
        };
        let mut share = Vec::new();
        for name in names {
            match feeds.feeds.iter().find(|feed| feed.name == *name) {
                Some(feed) => share.push(feed.clone()),
                None => problem(
                    at.clone(),
                    format!("worker {} takes {name:?}, which is not in the feeds document", worker.name),
                ),
            }
            if let Some(other) = owner.insert(name, &worker.name) {
                problem(at.clone(), format!("{name:?} is taken by worker {other}, too"));
            }
        }
        shares.push(share);
    }
    if problems.is_empty() { Ok(shares) } else { Err(problems) }
}

fn problem_of(error: &Unprepared, feeds: &FeedsDocument) -> Problem {
    let path = match error {
        Unprepared::Feed(error) => {
            let index = feeds.feeds.iter().position(|feed| feed.name == error.feed());
            format!("feeds[{}].{}", index.unwrap_or(0), error.field())
        }
        Unprepared::Slots { .. } => "feeds".to_owned(),
    };
    Problem { path, message: error.to_string() }
}

fn filter_changes(before: &[Filter], after: &[Filter]) -> Changes {
    let names = |of: &[Filter], but: &[Filter]| {
        of.iter().filter(|filter| !but.contains(filter)).map(|filter| filter.name.clone()).collect::<Vec<_>>()
    };
    let filters_added = names(after, before);
    let mut filters_removed = names(before, after);
    filters_removed.retain(|name| !filters_added.contains(name));
    Changes { feeds: Changed::default(), filters_added, filters_removed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::config::DataplaneDocument;

    fn workers(text: &str) -> Vec<WorkerSection> {
        let text = format!("feeds: f\npublisher: {{redis: 'unix:///r'}}\nworkers: [{text}]\n");
        DataplaneDocument::parse(text.as_bytes()).unwrap().workers
    }

    fn feeds(names: &[&str]) -> FeedsDocument {
        let feed = |(index, name): (usize, &&str)| {
            format!(
                "{{name: {name}, channel_id: {index}, publisher_id: 2, protocol: itch50, \
                 lines: {{a: {{group: 239.1.1.{index}, port: 7}}}}}}"
            )
        };
        let list: Vec<String> = names.iter().enumerate().map(feed).collect();
        FeedsDocument::parse(format!("feeds: [{}]", list.join(", ")).as_bytes()).unwrap()
    }

    #[test]
    fn one_worker_takes_all_feeds_and_several_take_those_that_they_name() {
        let names = |shares: &[Vec<Feed>]| -> Vec<Vec<String>> {
            shares.iter().map(|share| share.iter().map(|feed| feed.name.clone()).collect()).collect()
        };
        let one = workers("{name: w0, interface_a: a, interface_b: b}");
        assert_eq!(names(&assign(&one, &feeds(&["x", "y"])).unwrap()), [["x", "y"]]);
        let two = workers(
            "{name: w0, interface_a: a, interface_b: b, feeds: [y]}, {name: w1, interface_a: c, interface_b: c, feeds: [x]}",
        );
        assert_eq!(names(&assign(&two, &feeds(&["x", "y", "z"])).unwrap()), [["y"], ["x"]]);
        let problems = assign(&two, &feeds(&["x", "z"])).unwrap_err();
        assert_eq!((problems.len(), problems[0].path.as_str()), (1, "workers[0].feeds"));
        assert!(problems[0].message.contains("\"y\""), "{}", problems[0]);
    }

    #[test]
    fn a_filter_that_has_another_action_begins_and_does_not_end() {
        let filter = |name: &str, action: &str| -> Filter {
            serde_json::from_value(serde_json::json!({"name": name, "group": "239.1.1.1", "action": action}))
                .unwrap()
        };
        let changes = filter_changes(
            &[filter("a", "drop"), filter("b", "drop"), filter("c", "pass")],
            &[filter("a", "drop"), filter("b", "pass"), filter("d", "drop")],
        );
        assert_eq!(changes.filters_added, ["b", "d"]);
        assert_eq!(changes.filters_removed, ["c"]);
    }
}
