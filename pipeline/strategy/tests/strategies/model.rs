//! The strategy `model`: scores of acting and shadow models, positions by thresholds, and versions that give way to
//! higher ones between two records.

use crate::host::{A, NOW};
use crate::models::{bytes, card, files, linear, schema as set, trees};
use crate::support::{Rig, rig, schema, short};
use bus::{FeatureSchema, Quality, Score, ScoreRole, TradingMode};
use strategy::models::Model;

const SECTION: &str = "{acting: {name: es, version: latest}, shadow: {name: es, version: 2}, enter_bps: 0.5, exit_bps: 0.1, clip: 20, position: 50, cross_ticks: 1, hold_ms: 1000, pause_ms: 10, feature_age_max_ms: 200}";

/// A model of the rig's features: so much times the first value.
fn model(version: u64, schema: &FeatureSchema, weight: f32) -> Model {
    let onnx = bytes(&linear(&[weight, 0.0]));
    Model::new(&files(&card("es", version, schema, &onnx), onnx)).unwrap()
}

/// A quiet book.
fn quiet(section: &str) -> Rig {
    let mut rig = rig("model", section);
    assert!(rig.quote((9_999, 100), (10_001, 100)).is_empty());
    rig
}

/// What was published of each score: version, role, score.
fn said(scores: &[Score]) -> Vec<(u64, &'static str, f64)> {
    scores.iter().map(|score| (score.version, score.role.word(), score.score)).collect()
}

#[test]
fn without_its_model_it_sends_and_says_nothing() {
    let mut rig = quiet(SECTION);
    assert!(rig.features([9.0, 0.0], Quality::GOOD).is_empty());
    // Another model's, and a version that only the shadow asks for.
    let onnx = bytes(&linear(&[1.0, 0.0]));
    let other = Model::new(&files(&card("nq", 1, &schema(), &onnx), onnx)).unwrap();
    rig.host.model(NOW, &other);
    assert!(rig.features([9.0, 0.0], Quality::GOOD).is_empty());
    assert!(rig.pass(100).is_empty());
    assert!(rig.scores.is_empty());
    assert_eq!(rig.host.counts().scores, 0);
}

#[test]
fn it_takes_a_position_in_clips_when_the_score_says_so_and_gives_it_up_when_it_has_gone() {
    let mut rig = quiet(SECTION);
    rig.host.model(NOW, &model(1, &schema(), 1.0));
    assert!(rig.features([0.4, 0.0], Quality::GOOD).is_empty(), "below the threshold");
    let sent = rig.features([0.5, 0.0], Quality::GOOD);
    assert_eq!(short(&sent), ["buy 20 @ 100.02 ioc"]);
    assert!(rig.features([0.6, 0.0], Quality::GOOD).is_empty(), "one order at a time");
    rig.immediate(&sent[0], 20);
    let sent = rig.pass(10);
    assert_eq!(short(&sent), ["buy 20 @ 100.02 ioc"]);
    rig.immediate(&sent[0], 15);
    assert!(rig.pass(200).is_empty() || rig.position() == 35, "the record is too old to enter on");
    let sent = rig.features([0.05, 0.0], Quality::GOOD);
    assert_eq!(short(&sent), ["sell 20 @ 99.98 ioc"], "below the exit threshold");
    rig.immediate(&sent[0], 20);
    let sent = rig.pass(10);
    assert_eq!(short(&sent), ["sell 15 @ 99.98 ioc"]);
    rig.immediate(&sent[0], 15);
    assert_eq!(rig.position(), 0);
    let sent = rig.features([-0.5, 0.0], Quality::GOOD);
    assert_eq!(short(&sent), [] as [&str; 0], "pauses between two orders");
    assert_eq!(short(&rig.pass(10)), ["sell_short 20 @ 99.98 ioc"]);
}

#[test]
fn a_position_is_given_up_when_its_time_is_over_though_there_is_no_score_any_more() {
    let mut rig = quiet(SECTION);
    rig.host.model(NOW, &model(1, &schema(), 1.0));
    let sent = rig.features([1.0, 0.0], Quality::GOOD);
    rig.immediate(&sent[0], 20);
    assert!(rig.features([f64::NAN, 0.0], Quality::GOOD).is_empty(), "no score is no reason");
    assert!(rig.pass(500).is_empty());
    assert_eq!(short(&rig.pass(500)), ["sell 20 @ 99.98 ioc"]);
    assert_eq!(rig.host.counts().unscored_missing, 1);
}

#[test]
fn scores_are_published_whatever_trading_is_and_a_shadow_is_never_traded_on() {
    let mut rig = quiet(SECTION);
    rig.trading(TradingMode::Halted);
    rig.host.model(NOW, &model(1, &schema(), 0.25));
    rig.host.model(NOW, &model(2, &schema(), -8.0));
    assert!(rig.features([1.0, 0.0], Quality::GOOD).is_empty());
    // `latest` is 2 by now, and so is the shadow.
    assert_eq!(said(&rig.scores), [(2, "acting", -8.0), (2, "shadow", -8.0)]);
    rig.scores.clear();
    rig.trading(TradingMode::Active);
    rig.host.model(NOW, &model(3, &schema(), 0.25));
    assert!(rig.features([1.0, 0.0], Quality::GOOD).is_empty(), "the shadow's -8 is nobody's word");
    assert_eq!(said(&rig.scores), [(3, "acting", 0.25), (2, "shadow", -8.0)]);
    let score = &rig.scores[0];
    assert_eq!((score.strategy.as_str(), score.model.as_str(), score.role), ("s", "es", ScoreRole::Acting));
    assert_eq!((score.publisher_id, score.instrument_id), (A.publisher_id, A.instrument_id));
    assert_eq!((score.time_ns, score.number), (rig.now_ns, 2));
    assert_eq!(rig.denied, 0, "nobody is asked whether a score may be published");
}

#[test]
fn versions_only_go_up() {
    let mut rig = quiet(SECTION);
    let mut versions = Vec::new();
    for version in [2, 1, 5, 5, 3, 4, 6] {
        rig.host.model(NOW, &model(version, &schema(), version as f32));
        rig.features([0.0, 0.0], Quality::GOOD);
        versions
            .extend(rig.scores.drain(..).filter(|score| score.role == ScoreRole::Acting).map(|s| s.version));
    }
    assert_eq!(versions, [2, 2, 5, 5, 5, 5, 6]);
}

#[test]
fn features_of_another_schema_have_no_score() {
    let mut rig = quiet(SECTION);
    rig.host.model(NOW, &model(1, &set("flow", &["ofi", "other"]), 1.0));
    assert!(rig.features([9.0, 0.0], Quality::GOOD).is_empty());
    assert!(rig.scores.is_empty());
    assert_eq!(rig.host.counts().unscored_schema, 1);
    // A set of another name is no concern of the model's.
    rig.host.model(NOW, &model(2, &set("slow", &["ofi", "a.b"]), 1.0));
    assert!(rig.features([9.0, 0.0], Quality::GOOD).is_empty());
    assert_eq!((rig.host.counts().unscored_schema, rig.scores.len()), (1, 0));
}

#[test]
fn the_same_records_and_models_give_the_same_bytes() {
    let session = || {
        let mut rig = quiet(SECTION);
        let (mut bytes_out, mut dice) = (Vec::new(), 7u64);
        for step in 0..2_000u64 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if step % 400 == 0 {
                let onnx = bytes(&trees(2, 7, -0.1 * step as f32, 0.7));
                let card = card("es", 1 + step / 400, &schema(), &onnx);
                rig.host.model(rig.now_ns, &Model::new(&files(&card, onnx)).unwrap());
            }
            let value = (dice >> 40) as f64 / f64::from(1 << 23) - 1.0;
            for sent in rig.features([value, 0.0], Quality::GOOD) {
                sent.for_each_field(|_, value| bytes_out.extend_from_slice(value));
                rig.immediate(&sent, 20);
            }
            rig.pass(1 + (dice >> 60));
        }
        for score in &rig.scores {
            score.for_each_field(|_, value| bytes_out.extend_from_slice(value));
        }
        (bytes_out, rig.host.counts())
    };
    let (once, twice) = (session(), session());
    assert!(once.1.scores > 3_000 && once.0.len() > 100_000, "{:?}", once.1);
    assert!(once == twice, "the bytes differ");
}
