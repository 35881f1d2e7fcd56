//! The shipped strategies. They show what the machinery can do, and are no advice.
//!
//! Who owns what: `rules` expressions and what they lead to, `ofi_momentum` order flow, `quoter` two-sided quotes,
//! `model` trained models, `trade` the way from a signal to a position, `market` what all of them look at alike. What each does, with formulas and parameters, is in `docs/strategies.md`.
//!
//! Invariant: a strategy's state is its desk and its own fields; it acts on good books only, and what is refused is not
//! sent again at once.

mod market;
mod model;
mod ofi_momentum;
mod quoter;
mod rules;
mod trade;

use crate::host::HostedStrategy;
use crate::strategy::Strategy;
use bus::FeatureSchema;
use bus::config::{Problem, StrategyDocument, StrategyEntry, StrategyKind};

/// All strategies of a document, ready for a host; one after the other as [`build_entry`] does.
///
/// # Errors
/// Everything that is wrong with any of them, with its place in the document.
pub fn hosted(
    document: &StrategyDocument,
    schemas: Option<&[FeatureSchema]>,
) -> Result<Vec<HostedStrategy>, Vec<Problem>> {
    let (mut hosted, mut problems) = (Vec::with_capacity(document.strategies.len()), Vec::new());
    for (index, entry) in document.strategies.iter().enumerate() {
        match build_entry(index, entry, schemas) {
            Ok(strategy) => hosted.push(HostedStrategy {
                name: entry.name.clone(),
                venue: entry.venue.clone(),
                instruments: entry.instruments.clone(),
                strategy,
            }),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() { Ok(hosted) } else { Err(problems) }
}

/// The strategy of the document's `index`th entry; see [`build`].
///
/// # Errors
/// Everything that is wrong with it, with its place in the document.
pub fn build_entry(
    index: usize,
    entry: &StrategyEntry,
    schemas: Option<&[FeatureSchema]>,
) -> Result<Box<dyn Strategy>, Vec<Problem>> {
    let at = format!("strategies[{index}]");
    let Some(kind) = entry.kind() else {
        return Err(vec![Problem { path: at, message: "has no section".into() }]);
    };
    let section = match kind {
        StrategyKind::Rules(_) => "rules",
        StrategyKind::OfiMomentum(_) => "ofi_momentum",
        StrategyKind::Quoter(_) => "quoter",
        StrategyKind::Model(_) => "model",
    };
    build(kind, &format!("{at}.{section}"), schemas)
}

/// The strategy of a section; `at` is the section's path in the document, for what is wrong in it. Names of features
/// are checked when the published schemas are given. A strategy `model` has no model until the host is given one.
///
/// # Errors
/// Everything that is wrong. A strategy that runs meanwhile is not touched.
pub fn build(
    kind: StrategyKind<'_>,
    at: &str,
    schemas: Option<&[FeatureSchema]>,
) -> Result<Box<dyn Strategy>, Vec<Problem>> {
    let valid = |problems: Vec<Problem>| if problems.is_empty() { Ok(()) } else { Err(problems) };
    Ok(match kind {
        StrategyKind::Rules(section) => Box::new(rules::Rules::build(section, at, schemas)?),
        StrategyKind::OfiMomentum(section) => {
            valid(section.validate(at))?;
            Box::new(ofi_momentum::OfiMomentum::new(section))
        }
        StrategyKind::Quoter(section) => {
            valid(section.validate(at))?;
            Box::new(quoter::Quoter::new(section))
        }
        StrategyKind::Model(section) => {
            valid(section.validate(at))?;
            Box::new(model::ModelStrategy::new(section))
        }
    })
}
