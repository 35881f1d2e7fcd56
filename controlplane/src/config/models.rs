//! The models that strategies name, against the feature sets: a model is fed by the form of a set that it was trained on,
//! and by no other. The cards are in the registry; what the registry does not have or does not say now is not checked here:
//! the strategy process looks for a model for as long as it is wanted.

use super::{Edit, Kind, NewDocument, Proposal};
use crate::api::{FieldProblem, Problem};
use crate::store::Store;
use bus::ModelCard;
use bus::config::{FeaturesDocument, ModelChoice, StrategyDocument};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most models that are looked up for one request.
const CHOICES_MAX: usize = 64;

/// The cards that a choice may mean, newest first: of a number one, of `latest` some.
pub type Cards = BTreeMap<ModelChoice, Vec<ModelCard>>;

/// Whose cards are needed to judge a proposal: what is named now, and what would be.
///
/// # Errors
/// When the store does not answer.
pub async fn models_named(store: &Store, proposal: &Proposal) -> Result<BTreeSet<ModelChoice>, Problem> {
    let mut named = BTreeSet::new();
    if !proposal.edits.iter().any(|edit| matches!(edit.kind, Kind::Features | Kind::Strategy)) {
        return Ok(named);
    }
    let service = Kind::Strategy.service();
    if let Some(newest) = store.newest(service).await? {
        of_document(&newest.document, &mut named);
    }
    for Edit { new, .. } in proposal.edits.iter().filter(|edit| edit.kind == Kind::Strategy) {
        match new {
            NewDocument::Whole(document) => of_document(document, &mut named),
            NewDocument::Version(version) => {
                if let Some(version) = store.version(service, *version).await? {
                    of_document(&version.document, &mut named);
                }
            }
            NewDocument::Part { value, .. } => {
                value.iter().for_each(|value| of_strategy(value, &mut named));
            }
        }
    }
    Ok(named)
}

fn of_document(document: &Value, named: &mut BTreeSet<ModelChoice>) {
    for strategy in document["strategies"].as_array().into_iter().flatten() {
        of_strategy(strategy, named);
    }
}

/// What cannot be read is told by the document's own check.
fn of_strategy(strategy: &Value, named: &mut BTreeSet<ModelChoice>) {
    for which in ["acting", "shadow"] {
        if let Ok(choice) = serde_json::from_value(strategy["model"][which].clone())
            && named.len() < CHOICES_MAX
        {
            named.insert(choice);
        }
    }
}

/// Every model that no set would feed.
pub(super) fn problems(
    strategy: &StrategyDocument,
    features: &FeaturesDocument,
    cards: &Cards,
) -> Vec<FieldProblem> {
    let schemas: Vec<_> = features.sets.iter().map(|set| set.schema()).collect();
    let mut found = Vec::new();
    for (index, entry) in strategy.strategies.iter().enumerate() {
        let Some(model) = &entry.model else { continue };
        for (which, choice) in [("acting", Some(&model.acting)), ("shadow", model.shadow.as_ref())] {
            let known = choice.and_then(|choice| Some((choice, cards.get(choice)?)));
            let Some((choice, [newest, older @ ..])) =
                known.map(|(choice, cards)| (choice, cards.as_slice()))
            else {
                continue;
            };
            let is_fed = |card: &ModelCard| schemas.iter().any(|schema| card.places(schema).is_ok());
            if is_fed(newest) || older.iter().any(is_fed) {
                continue;
            }
            let input = &newest.input;
            let why = match schemas.iter().find(|schema| schema.set == input.set) {
                None => "features has no such set".to_owned(),
                Some(schema) => match newest.places(schema) {
                    Err(error) => error.to_string(),
                    Ok(_) => continue,
                },
            };
            let message = format!(
                "{choice} was trained on the set {:?}, schema {:016x}: {why}; compute that, or train and name another",
                input.set, input.schema_id
            );
            found.push(FieldProblem {
                service: Some(Kind::Strategy.service().to_owned()),
                path: format!("strategies[{index}].model.{which}"),
                message,
            });
        }
    }
    found
}
