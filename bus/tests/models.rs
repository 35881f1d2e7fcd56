//! Cards, folders and scores of models: read back as written, and refused in words when they break the contract.

#![allow(clippy::unwrap_used)] // A test may.

use bus::{
    FeatureSchema, FeatureSpec, MODEL_CARD_BYTES_MAX, MODEL_ONNX_BYTES_MAX, MissingFeature, ModelCard,
    ModelFiles, Score, ScoreRole, Sha256Sum,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const ONNX: &[u8] = b"not a graph, but the card's own bytes";

fn schema() -> FeatureSchema {
    let spec = |name: &str| FeatureSpec { name: name.into(), unit: "1".into() };
    FeatureSchema { set: "fast".into(), features: vec![spec("mid"), spec("imbalance_5"), spec("ofi")] }
}

fn card() -> Value {
    json!({
        "name": "es-mid",
        "version": 3,
        "onnx_sha256": Sha256Sum::of(ONNX).to_string(),
        "input": {
            "name": "features", "set": "fast", "schema_id": format!("{:016x}", schema().id()),
            "features": ["ofi", "mid"]
        },
        "output": {"name": "score", "unit": "bps", "horizon_ms": 1000},
        "trained": {
            "data": {"source": "archive", "rows": 10}, "metrics": {"mse": 0.5}, "seed": 7,
            "versions": {"python": "3.11.7"}
        },
        "notes": "passed over"
    })
}

fn parse(card: &Value) -> Result<ModelCard, String> {
    ModelCard::parse(card.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// The card with one field, by its JSON pointer, set to something else; gone when that is null.
fn with(pointer: &str, value: Value) -> Value {
    let mut card = card();
    if value.is_null() {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        card.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    } else if let Some(place) = card.pointer_mut(pointer) {
        *place = value;
    } else {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        card.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.into(), value);
    }
    card
}

#[test]
fn a_card_is_read_back_as_written() {
    let read = parse(&card()).unwrap();
    assert_eq!((read.name.as_str(), read.version, read.input.missing), ("es-mid", 3, MissingFeature::Skip));
    assert_eq!(ModelCard::parse(read.to_json().as_bytes()).unwrap(), read);
    let with_missing = parse(&with("/input/missing", json!("nan"))).unwrap();
    assert_eq!(with_missing.input.missing, MissingFeature::Nan);
}

#[test]
fn every_field_of_the_contract_must_be_there() {
    for pointer in [
        "/name",
        "/version",
        "/onnx_sha256",
        "/input",
        "/input/name",
        "/input/set",
        "/input/schema_id",
        "/input/features",
        "/output/name",
        "/output/unit",
        "/output/horizon_ms",
        "/trained/data",
        "/trained/metrics",
        "/trained/seed",
        "/trained/versions",
    ] {
        let error = parse(&with(pointer, Value::Null)).unwrap_err();
        let name = pointer.rsplit('/').next().unwrap();
        assert!(error.contains(&format!("missing field `{name}`")), "{pointer}: {error}");
    }
}

#[test]
fn what_a_card_must_not_say_is_named_with_its_field() {
    let many: Vec<String> = (0..257).map(|at| format!("f{at}")).collect();
    for (pointer, value, expected) in [
        ("/name", json!(""), "name: use 1 to 32"),
        ("/name", json!("a/b"), "name: use 1 to 32"),
        ("/name", json!("x".repeat(33)), "name: use 1 to 32"),
        ("/version", json!(0), "version: is 0"),
        ("/version", json!(1u64 << 53), "version: is 9007199254740992"),
        ("/version", json!(-1), "invalid value"),
        ("/onnx_sha256", json!("abc"), "64 hexadecimal digits"),
        ("/onnx_sha256", json!("é".repeat(32)), "64 hexadecimal digits"),
        ("/input/schema_id", json!("abc"), "16 hexadecimal digits"),
        ("/input/schema_id", json!("+23456789abcdef0"), "16 hexadecimal digits"),
        ("/input/set", json!("a b"), "input.set: use 1 to 32"),
        ("/input/name", json!(""), "input.name: use 1 to 128"),
        ("/input/features", json!([]), "input.features: has 0"),
        ("/input/features", json!(many), "input.features: has 257"),
        ("/input/features", json!(["mid", "ofi", "mid"]), "input.features[2]: \"mid\" is there twice"),
        ("/input/features", json!([""]), "input.features[0]: use 1 to 128"),
        ("/input/missing", json!("zero"), "unknown variant `zero`"),
        ("/output/unit", json!("ticks"), "unknown variant `ticks`"),
        ("/output/horizon_ms", json!(0), "output.horizon_ms: is 0"),
        ("/trained/data", json!([]), "invalid type"),
        ("/trained/seed", json!(1.5), "invalid type"),
    ] {
        let error = parse(&with(pointer, value)).unwrap_err();
        assert!(error.contains(expected), "{pointer}: {error:?} should name {expected:?}");
    }
}

#[test]
fn a_card_that_is_no_json_or_too_large_is_refused_with_its_line() {
    let error = ModelCard::parse(b"{\n\"name\": \"x\",\n}").unwrap_err().to_string();
    assert!(error.starts_with("card.json, line 3"), "{error}");
    let error = ModelCard::parse(&vec![b' '; MODEL_CARD_BYTES_MAX + 1]).unwrap_err().to_string();
    assert_eq!(error, "card.json is larger than 1048576 bytes");
    // Nested deeper than any reader's stack.
    assert!(ModelCard::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn a_models_features_are_found_in_the_schema_that_it_was_trained_on_and_in_no_other() {
    let read = parse(&card()).unwrap();
    assert_eq!(read.places(&schema()).unwrap(), [2, 0]);
    let mut other = schema();
    other.features[1].unit = "price".into();
    let error = read.places(&other).unwrap_err().to_string();
    assert!(error.contains("the model wants the features of schema") && error.contains("fast"), "{error}");
    let missing = parse(&with("/input/features", json!(["mid", "volume"]))).unwrap();
    let error = missing.places(&schema()).unwrap_err().to_string();
    assert!(error.starts_with("card.json, input.features[1]: \"volume\" is no feature"), "{error}");
}

#[test]
fn a_folder_is_read_when_the_file_is_the_cards() {
    let folder = tempfile::tempdir().unwrap();
    let error = ModelFiles::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("card.json"), "{error}");
    std::fs::write(folder.path().join("card.json"), card().to_string()).unwrap();
    let error = ModelFiles::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.onnx"), "{error}");
    std::fs::write(folder.path().join("model.onnx"), ONNX).unwrap();
    let files = ModelFiles::load(folder.path()).unwrap();
    assert_eq!((files.card().version, files.onnx()), (3, ONNX));
    assert!(String::from_utf8_lossy(files.card_json()).contains("passed over"));

    std::fs::write(folder.path().join("model.onnx"), &ONNX[1..]).unwrap();
    let error = ModelFiles::load(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("model.onnx has the SHA-256") && error.contains("corrupt"), "{error}");
    let huge = std::fs::File::create(folder.path().join("model.onnx")).unwrap();
    huge.set_len(MODEL_ONNX_BYTES_MAX as u64 + 1).unwrap();
    let error = ModelFiles::load(folder.path()).unwrap_err().to_string();
    assert_eq!(error, "model.onnx is larger than 67108864 bytes");
}

#[test]
fn a_cards_reader_survives_any_bytes() {
    let whole = card().to_string();
    bolero::check!().with_type::<(u16, Vec<u8>)>().for_each(|(at, bytes)| {
        let _ = ModelCard::parse(bytes);
        let mut changed = whole.clone().into_bytes();
        let at = usize::from(*at) % changed.len();
        let end = (at + bytes.len().min(16)).min(changed.len());
        changed[at..end].copy_from_slice(&bytes[..end - at]);
        if let Ok(card) = ModelCard::parse(&changed) {
            assert_eq!(ModelCard::parse(card.to_json().as_bytes()).unwrap(), card);
        }
    });
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn score_fields(score: &Score) -> Fields {
    let mut fields = Fields::new();
    score.for_each_field(|name, value| fields.push((name.into(), value.into())));
    fields
}

fn parse_score(fields: &Fields) -> Result<Score, bus::ScoreError> {
    Score::parse(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

fn score() -> Score {
    Score {
        strategy: "es.model".into(),
        model: "es-mid".into(),
        version: 3,
        role: ScoreRole::Shadow,
        publisher_id: 1,
        instrument_id: 42,
        time_ns: 1_795_566_131_806_000_001,
        number: 9,
        score: -0.1,
    }
}

proptest! {
    #[test]
    fn a_score_is_read_back_to_the_bit(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let score = Score { score: value, ..score() };
        let read = parse_score(&score_fields(&score)).unwrap();
        prop_assert_eq!(read.score.to_bits(), value.to_bits());
        prop_assert_eq!(read, score);
    }
}

#[test]
fn a_score_that_breaks_the_contract_is_refused_with_the_field() {
    let whole = score_fields(&score());
    let mut future = whole.clone();
    future.push((b"later".to_vec(), b"x".to_vec()));
    assert_eq!(parse_score(&future).unwrap(), score());
    for at in 0..whole.len() {
        let name = String::from_utf8(whole[at].0.clone()).unwrap();
        let mut without = whole.clone();
        without.remove(at);
        assert_eq!(parse_score(&without).unwrap_err().to_string(), format!("field `{name}` is missing"));
        let mut twice = whole.clone();
        twice.push(whole[at].clone());
        assert_eq!(parse_score(&twice).unwrap_err().to_string(), format!("field `{name}` is there twice"));
        let mut wrong = whole.clone();
        wrong[at].1 = "NaN ß".into();
        let error = parse_score(&wrong).unwrap_err().to_string();
        assert!(error.starts_with(&format!("field `{name}`: ")), "{error}");
    }
    for (name, value) in
        [("version", "0"), ("score", "inf"), ("score", "NaN"), ("role", "both"), ("p", "65536")]
    {
        let mut wrong = whole.clone();
        wrong.iter_mut().find(|(known, _)| known == name.as_bytes()).unwrap().1 = value.into();
        assert!(parse_score(&wrong).is_err(), "{name} {value}");
    }
}
