//! Trained models, ready to score rows of features.
//!
//! A [`Model`] is made of a card and its ONNX file, which were checked against each other before ([`bus::ModelFiles`]); here
//! the graph is checked against the card, and turned into something fast. Making one takes up to seconds and is done away
//! from where ticks are worked on; a score takes microseconds, and allocates nothing when the model is trees.
//!
//! Redis has no part in this: the service reads models from its registry, a backtest from folders, and both give them
//! to the host ([`Host::model`](crate::host::Host::model)), which gives them to the strategies that asked for them.

mod graph;
mod trees;

use bus::config::{ModelChoice, StrategyDocument, StrategyKind, VersionChoice};
use bus::{FeatureSchema, MissingFeature, ModelCard, ModelError, ModelFiles};
use graph::Evaluator;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Why a model is not taken. The one in force goes on.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its card, its folder, its sum or its features.
    #[error(transparent)]
    Files(#[from] ModelError),
    /// Its ONNX file.
    #[error("model.onnx {0}")]
    Graph(String),
}

impl Refusal {
    /// One word, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::Files(ModelError::Checksum { .. }) => "checksum",
            Refusal::Files(ModelError::Schema { .. }) => "schema",
            Refusal::Files(ModelError::TooLarge { .. }) => "too_large",
            Refusal::Files(ModelError::Read { .. }) => "unreadable",
            Refusal::Files(ModelError::Syntax { .. } | ModelError::Field { .. }) => "card",
            Refusal::Graph(_) => "graph",
        }
    }
}

/// Why a row has no score.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoScore {
    /// A feature is missing, and the card says `skip`.
    #[error("feature {0} is missing")]
    Missing(usize),
    /// The model gave no finite number.
    #[error("the score is not finite")]
    NotFinite,
    /// The row is not one of this model, or the graph could not be run.
    #[error("{0}")]
    Failed(String),
}

/// A model, ready to score. Copies share what is large.
#[derive(Clone)]
pub struct Model {
    card: Arc<ModelCard>,
    evaluator: Evaluator,
    row: Vec<f32>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} version {})", self.card.name, self.card.version)
    }
}

impl Model {
    /// Checks the graph against the card, and makes it ready.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub fn new(files: &ModelFiles) -> Result<Model, Refusal> {
        let evaluator = graph::read(files.card(), files.onnx()).map_err(Refusal::Graph)?;
        let row = Vec::with_capacity(files.card().input.features.len());
        Ok(Model { card: Arc::new(files.card().clone()), evaluator, row })
    }

    /// A model from its folder.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub fn load(folder: &Path) -> Result<Model, Refusal> {
        Model::new(&ModelFiles::load(folder)?)
    }

    /// The card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Whether the model's features are in these schemas.
    ///
    /// # Errors
    /// When its schema is not among them, or lacks a feature.
    pub fn check_schemas(&self, schemas: &[FeatureSchema]) -> Result<(), Refusal> {
        let input = &self.card.input;
        let of_set = schemas.iter().find(|schema| schema.id() == input.schema_id);
        match of_set.or_else(|| schemas.iter().find(|schema| schema.set == input.set)) {
            Some(schema) => self.card.places(schema).map(|_| ()).map_err(Refusal::from),
            None => {
                let found = format!("no feature set is called {:?}", input.set);
                Err(ModelError::Schema { set: input.set.clone(), wanted: input.schema_id, found }.into())
            }
        }
    }

    /// The score of one row, in the unit of the card: features in the card's order, missing ones NaN.
    ///
    /// # Errors
    /// Why there is none.
    pub fn score(&mut self, values: impl ExactSizeIterator<Item = f64>) -> Result<f64, NoScore> {
        let wanted = self.card.input.features.len();
        if values.len() != wanted {
            return Err(NoScore::Failed(format!(
                "a row has {} values, the model takes {wanted}",
                values.len()
            )));
        }
        self.row.clear();
        for (at, value) in values.enumerate() {
            if value.is_nan() && self.card.input.missing == MissingFeature::Skip {
                return Err(NoScore::Missing(at));
            }
            self.row.push(value as f32);
        }
        let score = match &self.evaluator {
            Evaluator::Trees(trees) => trees.score(&self.row),
            Evaluator::Plan(plan) => graph::run(plan, &self.row).map_err(NoScore::Failed)?,
        };
        if score.is_finite() { Ok(f64::from(score)) } else { Err(NoScore::NotFinite) }
    }

    /// What the model is, for a log.
    pub fn kind(&self) -> String {
        match &self.evaluator {
            Evaluator::Trees(trees) => format!("{} trees", trees.len()),
            Evaluator::Plan(_) => "a graph run by tract".into(),
        }
    }
}

/// Every model that the strategies of a document ask for, each once.
pub fn wanted(document: &StrategyDocument) -> BTreeSet<ModelChoice> {
    let sections = document.strategies.iter().filter_map(|entry| match entry.kind() {
        Some(StrategyKind::Model(section)) => Some(section),
        _ => None,
    });
    sections.flat_map(|section| [Some(&section.acting), section.shadow.as_ref()]).flatten().cloned().collect()
}

/// Whether a choice means this model.
pub fn means(choice: &ModelChoice, card: &ModelCard) -> bool {
    choice.name == card.name
        && match choice.version {
            VersionChoice::Latest => true,
            VersionChoice::Number(version) => version == card.version,
        }
}

/// From models at hand, those that the strategies of a document run: of `latest` the highest version. What a backtest
/// gives to [`Host::model`](crate::host::Host::model) before the first input; the service asks its registry the same.
///
/// # Errors
/// The first choice that none of the models is.
pub fn choose(document: &StrategyDocument, models: &[Arc<Model>]) -> Result<Vec<Arc<Model>>, String> {
    let mut chosen: Vec<Arc<Model>> = Vec::new();
    for choice in wanted(document) {
        let fitting = models.iter().filter(|model| means(&choice, model.card()));
        let Some(model) = fitting.max_by_key(|model| model.card().version) else {
            return Err(format!("model {choice} is not among the models that were given"));
        };
        if !chosen.iter().any(|known| known.card() == model.card()) {
            chosen.push(Arc::clone(model));
        }
    }
    Ok(chosen)
}
