//! Models from the registry: looked for about once a second, read, checked and made ready on a thread of their own, and
//! handed over between two turns. The thread that works on ticks never waits for it.
//!
//! ```text
//! thread `models`: what is asked for ─► versions in Redis ─► one that is higher than ours? read, check, make ready ─┐
//! thread `strategy`: each turn ─► look into the channel ─► Host::model of each shard ◄────────────────────────────┘
//! ```
//!
//! What cannot be served is refused once, with its reason in the log, a metric and the readiness, and looked at again when the
//! registry says another sum, or the published schemas change. The model in force goes on. Of `latest` it is the highest version
//! that can be served; it never goes back.

use super::figures;
use super::registry::Registry;
use bus::config::{ModelChoice, VersionChoice};
use bus::consumer::ConsumerError;
use bus::{FeatureSchema, ModelError, ModelFiles, Sha256Sum};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use strategy::models::{Model, Refusal};
use tracing::{error, info, warn};

/// How often the registry is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the thread has found.
enum Found {
    Ready(ModelChoice, Arc<Model>),
    /// Nothing (new) can be served for this choice, and why; none when all is well.
    Trouble(ModelChoice, Option<String>),
}

/// The models that the document asks for, as far as they are there.
pub(super) struct Models {
    wanted: Arc<Mutex<BTreeSet<ModelChoice>>>,
    found: Receiver<Found>,
    in_force: BTreeMap<ModelChoice, Arc<Model>>,
    trouble: BTreeMap<ModelChoice, String>,
}

impl Models {
    /// Starts looking for these.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood, or there can be no thread.
    pub(super) fn start(redis: &str, wanted: BTreeSet<ModelChoice>) -> anyhow::Result<Models> {
        let registry = Registry::new(redis)?;
        let (found_by_thread, found) = channel();
        let trouble =
            wanted.iter().map(|choice| (choice.clone(), "is being looked for".to_owned())).collect();
        let wanted = Arc::new(Mutex::new(wanted));
        let keeper = Keeper {
            wanted: Arc::clone(&wanted),
            registry,
            found: found_by_thread,
            ours: BTreeMap::new(),
            refused: HashMap::new(),
            said: BTreeMap::new(),
            unreachable: None,
        };
        std::thread::Builder::new().name("models".into()).spawn(move || keeper.run())?;
        Ok(Models { wanted, found, in_force: BTreeMap::new(), trouble })
    }

    /// Another document asks for others.
    pub(super) fn want(&mut self, wanted: BTreeSet<ModelChoice>) {
        self.in_force.retain(|choice, _| wanted.contains(choice));
        self.trouble.retain(|choice, _| wanted.contains(choice));
        for choice in wanted.iter().filter(|choice| !self.in_force.contains_key(choice)) {
            self.trouble.entry(choice.clone()).or_insert_with(|| "is being looked for".to_owned());
        }
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    /// Models that are ready since it was last asked. Never waits.
    pub(super) fn take(&mut self) -> Vec<Arc<Model>> {
        let mut ready = Vec::new();
        while let Ok(found) = self.found.try_recv() {
            match found {
                Found::Ready(choice, model) if self.is_wanted(&choice) => {
                    info!(model = %choice, version = model.card().version, kind = model.kind(), "in force");
                    figures::model_version(&choice, model.card().version);
                    self.in_force.insert(choice, Arc::clone(&model));
                    ready.push(model);
                }
                Found::Trouble(choice, Some(why)) if self.is_wanted(&choice) => {
                    self.trouble.insert(choice, why);
                }
                Found::Trouble(choice, None) => {
                    self.trouble.remove(&choice);
                }
                // Asked for before the document changed.
                Found::Ready(..) | Found::Trouble(..) => {}
            }
        }
        ready
    }

    fn is_wanted(&self, choice: &ModelChoice) -> bool {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).contains(choice)
    }

    /// All that are in force, for a host or a strategy that is made anew.
    pub(super) fn in_force(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.in_force.values()
    }

    /// What is missing or refused, for people.
    pub(super) fn trouble(&self) -> Option<String> {
        let lines = self.trouble.iter().map(|(choice, why)| match self.in_force.get(choice) {
            Some(model) => format!("{choice}: {why}; version {} goes on", model.card().version),
            None => format!("{choice}: {why}; its strategies wait"),
        });
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

/// The thread.
struct Keeper {
    wanted: Arc<Mutex<BTreeSet<ModelChoice>>>,
    registry: Registry,
    found: Sender<Found>,
    /// The version that was handed over for each choice.
    ours: BTreeMap<ModelChoice, u64>,
    /// What is not to be read again, and why.
    refused: HashMap<Seen, String>,
    said: BTreeMap<ModelChoice, Option<String>>,
    unreachable: Option<String>,
}

/// A version as the registry has it, and the schemas that it was held against.
type Seen = (String, u64, Sha256Sum, Vec<u64>);

impl Keeper {
    /// Works until nobody takes what it finds.
    fn run(mut self) {
        loop {
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.ours.retain(|choice, _| wanted.contains(choice));
            self.said.retain(|choice, _| wanted.contains(choice));
            self.refused.retain(|(name, ..), _| wanted.iter().any(|choice| choice.name == *name));
            for choice in &wanted {
                match self.look(choice) {
                    Ok(why) => {
                        self.unreachable = None;
                        self.say(choice, why);
                    }
                    Err(error) => self.cannot_look(&error),
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn cannot_look(&mut self, error: &ConsumerError) {
        let text = error.to_string();
        if self.unreachable.as_ref() != Some(&text) {
            warn!("models cannot be looked for: {text}; trying again");
            self.unreachable = Some(text);
        }
    }

    /// Tells what is missing, when it is another than before.
    fn say(&mut self, choice: &ModelChoice, why: Option<String>) {
        if self.said.get(choice) != Some(&why) {
            self.said.insert(choice.clone(), why.clone());
            if let Some(why) = &why {
                error!(model = %choice, why, "cannot be served");
            }
            // Nobody takes it any more when the service ends.
            let _ = self.found.send(Found::Trouble(choice.clone(), why));
        }
    }

    /// Looks for what a choice means now, and hands it over if it is new. Why there is nothing, or not the newest.
    fn look(&mut self, choice: &ModelChoice) -> Result<Option<String>, ConsumerError> {
        let ours = self.ours.get(choice).copied();
        let mut versions = self.registry.versions(&choice.name)?;
        versions.retain(|(version, _)| match choice.version {
            VersionChoice::Latest => ours.is_none_or(|ours| *version > ours),
            VersionChoice::Number(number) => ours.is_none() && *version == number,
        });
        if versions.is_empty() {
            let missing = "is not in the registry; write it there with `feedplane model push`";
            return Ok(ours.is_none().then(|| missing.to_owned()));
        }
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let schemas = self.registry.schemas()?;
        let mut ids: Vec<_> = schemas.iter().map(FeatureSchema::id).collect();
        ids.sort_unstable();
        let mut highest = None;
        for (version, sum) in versions {
            let seen = (choice.name.clone(), version, sum, ids.clone());
            let why = match self.refused.get(&seen) {
                Some(why) => why.clone(),
                None => match self.ready(&choice.name, version, sum, &schemas)? {
                    Ok(model) => {
                        self.ours.insert(choice.clone(), version);
                        let _ = self.found.send(Found::Ready(choice.clone(), Arc::new(model)));
                        break;
                    }
                    Err(refusal) => {
                        let why = format!("version {version} is refused: {refusal}");
                        figures::model_refused(&choice.name, refusal.word());
                        self.refused.insert(seen, why.clone());
                        why
                    }
                },
            };
            highest.get_or_insert(why);
        }
        Ok(highest)
    }

    fn ready(
        &mut self,
        name: &str,
        version: u64,
        sum: Sha256Sum,
        schemas: &[FeatureSchema],
    ) -> Result<Result<Model, Refusal>, ConsumerError> {
        let files = match self.registry.files(name, version)? {
            Ok(files) => files,
            Err(error) => return Ok(Err(error.into())),
        };
        let ready = |files: &ModelFiles| -> Result<Model, Refusal> {
            let card = files.card();
            let field = |field: &str, message: String| ModelError::Field { field: field.into(), message };
            if (card.name.as_str(), card.version) != (name, version) {
                let message = format!(
                    "{} version {}, in the registry as {name} version {version}",
                    card.name, card.version
                );
                return Err(field("name", message).into());
            }
            if card.onnx_sha256 != sum {
                return Err(ModelError::Checksum { card: sum, found: card.onnx_sha256 }.into());
            }
            let model = Model::new(files)?;
            model.check_schemas(schemas)?;
            Ok(model)
        };
        Ok(ready(&files))
    }
}
