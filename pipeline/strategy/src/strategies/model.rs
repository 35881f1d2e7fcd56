//! A trained model as a strategy: each record of the features that it was trained on gets a score, the expected move of
//! the middle in basis points; a score beyond a threshold is a reason for a position, as `trade` works it.
//!
//! A second model can run in shadow: scored on the same records and published, never traded on. A version of a model only
//! ever gives way to a higher one, between two inputs, so a record has one score of one version of each model.
//!
//! Invariant: without an acting model nothing is sent. What has no score (a missing feature, another schema) is no
//! reason for anything but the end of `hold_ms`.

use super::market::{PerInstrument, Quote, key_of_report, step_of};
use super::trade::{Rule, Trade};
use crate::desk::{Desk, Features, Unscored};
use crate::models::{Model, NoScore, means};
use crate::strategy::Strategy;
use bus::config::{InstrumentKey, ModelChoice, ModelSection};
use bus::{Report, ScoreRole};

const NS_PER_MS: u64 = 1_000_000;

/// A model that was asked for, and what is there of it.
#[derive(Debug)]
struct Slot {
    choice: ModelChoice,
    role: ScoreRole,
    model: Option<Model>,
    /// Where the model's features are in a record; none before the first record.
    places: Option<Vec<usize>>,
}

impl Slot {
    fn new(choice: &ModelChoice, role: ScoreRole) -> Slot {
        Slot { choice: choice.clone(), role, model: None, places: None }
    }

    fn take(&mut self, model: &Model) {
        let in_force = self.model.as_ref().map_or(0, |model| model.card().version);
        if means(&self.choice, model.card()) && model.card().version > in_force {
            (self.model, self.places) = (Some(model.clone()), None);
        }
    }

    /// Whether a record is of the features that the model asks for, and its score if it has one.
    fn score(&mut self, desk: &mut Desk<'_>, features: &Features<'_>) -> (bool, Option<f64>) {
        let Some(model) = &mut self.model else { return (false, None) };
        if features.set() != model.card().input.set {
            return (false, None);
        }
        let places = match &self.places {
            Some(places) if features.record().schema_id == model.card().input.schema_id => places,
            _ => match model.card().places(features.schema()) {
                Ok(places) => &*self.places.insert(places),
                Err(_) => {
                    desk.no_score(Unscored::Schema);
                    return (true, None);
                }
            },
        };
        match model.score(places.iter().map(|place| features.value(*place))) {
            Ok(score) => {
                desk.publish_score(model.card(), self.role, features, score);
                (true, Some(score))
            }
            Err(why) => {
                let missing = matches!(why, NoScore::Missing(_));
                desk.no_score(if missing { Unscored::Missing } else { Unscored::Failed });
                (true, None)
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    trade: Trade,
    /// The acting model's last score, and the time of its record.
    score: Option<(f64, u64)>,
}

/// The strategy.
#[derive(Debug)]
pub(crate) struct ModelStrategy {
    rule: Rule,
    age_max_ns: u64,
    acting: Slot,
    shadow: Option<Slot>,
    states: PerInstrument<State>,
}

impl ModelStrategy {
    /// The strategy of a valid section, without its models.
    pub(crate) fn new(section: &ModelSection) -> ModelStrategy {
        ModelStrategy {
            rule: Rule {
                enter: section.enter_bps,
                exit: section.exit_bps,
                clip: section.clip,
                position: i64::try_from(section.position).unwrap_or(i64::MAX),
                cross: section.cross_ticks,
                hold_ns: section.hold_ms * NS_PER_MS,
                pause_ns: section.pause_ms * NS_PER_MS,
            },
            age_max_ns: section.feature_age_max_ms * NS_PER_MS,
            acting: Slot::new(&section.acting, ScoreRole::Acting),
            shadow: section.shadow.as_ref().map(|shadow| Slot::new(shadow, ScoreRole::Shadow)),
            states: PerInstrument::default(),
        }
    }

    fn act(&mut self, desk: &mut Desk<'_>, key: InstrumentKey) {
        if self.acting.model.is_none() || desk.instrument(key).is_none() {
            return;
        }
        let (Some(quote), Some(step)) = (Quote::of(desk, key), step_of(desk, key)) else { return };
        let state = self.states.get(key, State::default);
        let now_ns = desk.now_ns();
        let young = |(_, time_ns): &(f64, u64)| now_ns.saturating_sub(*time_ns) <= self.age_max_ns;
        let signal = state.score.filter(young).map(|(score, _)| score);
        state.trade.work(&self.rule, desk, key, (quote, step), signal);
    }
}

impl Strategy for ModelStrategy {
    fn on_model(&mut self, model: &Model) {
        self.acting.take(model);
        self.shadow.iter_mut().for_each(|shadow| shadow.take(model));
    }

    fn on_features(&mut self, desk: &mut Desk<'_>, features: &Features<'_>) {
        let key = features.key();
        let (is_its, score) = self.acting.score(desk, features);
        if let Some(shadow) = &mut self.shadow {
            shadow.score(desk, features);
        }
        if is_its {
            let state = self.states.get(key, State::default);
            state.score = score.map(|score| (score, features.time_ns()));
            self.act(desk, key);
        }
    }

    fn on_report(&mut self, desk: &mut Desk<'_>, report: &Report) {
        let key = key_of_report(report);
        if let Some(state) = self.states.find(key) {
            state.trade.heed(report);
        }
        self.act(desk, key);
    }

    fn on_time(&mut self, desk: &mut Desk<'_>) {
        let mut at = 0;
        while let Some(key) = self.states.key(at) {
            self.act(desk, key);
            at += 1;
        }
    }
}
