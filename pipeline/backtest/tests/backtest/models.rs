//! A strategy that acts on a model's scores, in a backtest: the model of the trainer's fixtures.

use crate::session::session;
use crate::support::{backtest, run_kept, try_backtest};
use backtest::source::InMemory;
use bus::config::FeaturesDocument;
use std::path::{Path, PathBuf};

const FEATURES: &str = "sets: [{name: quotes, publish: {every_ms: 50}, features: [spread, {imbalance: {levels: 1}}, {imbalance: {levels: 5}}]}]";
const STRATEGY: &str = "  - {name: learned, venue: sim, instruments: [TEST], model: {acting: {name: fixture, version: latest}, enter_bps: 0.05, clip: 1, position: 5, hold_ms: 2000}}";

/// A copy of the fixture, whose card names the schema of [`FEATURES`].
fn model(folder: &Path) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/fixtures/model");
    let copy = folder.join("model");
    std::fs::create_dir_all(&copy).unwrap();
    for name in ["card.json", "model.onnx"] {
        std::fs::copy(fixture.join(name), copy.join(name)).unwrap();
    }
    let features = format!("redis: unix:///nowhere\nhealth: {{listen: '127.0.0.1:0'}}\n{FEATURES}");
    let schema = FeaturesDocument::parse(features.as_bytes()).unwrap().sets[0].schema();
    let card = std::fs::read_to_string(copy.join("card.json")).unwrap();
    let mut card: serde_json::Value = serde_json::from_str(&card).unwrap();
    card["input"]["schema_id"] = format!("{:016x}", schema.id()).into();
    std::fs::write(copy.join("card.json"), card.to_string()).unwrap();
    copy
}

fn document(model: &Path) -> String {
    format!(
        "source: {{ticks: {{path: none}}}}
models: ['{}']
instruments: {{TEST: {{key: {{publisher_id: 1, instrument_id: 42}}, tick_size: '0.01', multiplier: '1'}}}}
execution: {{order_latency_us: 100, report_latency_us: 100, feature_latency_us: 50, queue: by_order}}",
        model.display()
    )
}

#[test]
fn a_models_scores_are_told_and_traded_on() {
    let folder = tempfile::tempdir().unwrap();
    let backtest = backtest(STRATEGY, Some(FEATURES), &document(&model(folder.path())));
    let mut source = InMemory::new(session(31, 10_000).into(), Vec::new());
    let (outcome, kept) = run_kept(&backtest, &mut source).unwrap();
    assert!(outcome.input.scores > 100, "{:?}", outcome.input);
    assert_eq!(kept.scores.lines().count() as u64, outcome.input.scores);
    assert!(kept.scores.contains("\"model\":\"fixture\"") && kept.scores.contains("\"role\":\"acting\""));
    assert!(outcome.trades.taker_fills > 0, "{:?} {:?}", outcome.trades, outcome.denials);
}

#[test]
fn a_model_that_is_damaged_missing_or_of_another_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path());
    let refused = |features: &str| {
        let backtest = backtest(STRATEGY, Some(features), &document(&path));
        let mut source = InMemory::new(session(32, 100).into(), Vec::new());
        run_kept(&backtest, &mut source).unwrap_err().to_string()
    };
    let other = FEATURES.replace("{levels: 5}", "{levels: 4}");
    let text = refused(&other);
    assert!(text.contains("model fixture version 1") && text.contains("schema"), "{text}");
    let text = refused(&FEATURES.replace("name: quotes", "name: others"));
    assert!(text.contains("quotes"), "{text}");
    let none = document(&path).replace(&format!("models: ['{}']\n", path.display()), "");
    let mut source = InMemory::new(session(33, 100).into(), Vec::new());
    let error = run_kept(&backtest(STRATEGY, Some(FEATURES), &none), &mut source).unwrap_err().to_string();
    assert!(error.contains("fixture") && error.contains("not among the models"), "{error}");

    let onnx = path.join("model.onnx");
    let mut bytes = std::fs::read(&onnx).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&onnx, bytes).unwrap();
    let error = try_backtest(STRATEGY, Some(FEATURES), &document(&path)).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    std::fs::remove_file(&onnx).unwrap();
    assert!(try_backtest(STRATEGY, Some(FEATURES), &document(&path)).is_err());
}
