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

use crate::strategy::Strategy;
use bus::FeatureSchema;
use bus::config::{Problem, StrategyKind};

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
