//! A trained model as it is handed from one process to another: a folder with `model.onnx` and `card.json`, or the same two in
//! Redis. The card says what the file is, what goes in, what comes out and what it was trained on.
//!
//! A model's identity is the SHA-256 of its ONNX file. [`ModelFiles`] can only be made with a card that is good and a file
//! whose sum is the card's, so whoever holds one need not ask again. What the graph in the file really is, its reader
//! checks. The contract in words is `docs/learning.md`.

use crate::FeatureSchema;
use crate::config::{FEATURE_SET_NAME_BYTES_MAX, FEATURE_VALUES_MAX};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The card's file in a model's folder.
pub const MODEL_CARD_FILE: &str = "card.json";
/// The model's file in a model's folder.
pub const MODEL_ONNX_FILE: &str = "model.onnx";
/// Largest card, bytes.
pub const MODEL_CARD_BYTES_MAX: usize = 1 << 20;
/// Largest ONNX file, bytes: thousands of trees, and still one value that Redis gives at once.
pub const MODEL_ONNX_BYTES_MAX: usize = 64 << 20;
/// Longest name of a model, bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 32;
/// Most features that go into a model: as many as a feature set has values.
pub const MODEL_FEATURES_MAX: usize = FEATURE_VALUES_MAX;
/// Largest version: what every reader of JSON takes for an exact integer.
pub const MODEL_VERSION_MAX: u64 = (1 << 53) - 1;
/// Longest name of a feature, of an input or an output of a graph, bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest horizon: a week, ms.
const HORIZON_MS_MAX: u64 = 7 * 86_400_000;

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum([u8; 32]);

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a SHA-256 has 64 hexadecimal digits")]
pub struct Sha256SumError;

impl Sha256Sum {
    /// The sum of these bytes.
    pub fn of(bytes: &[u8]) -> Sha256Sum {
        Sha256Sum(Sha256::digest(bytes).into())
    }
}

impl FromStr for Sha256Sum {
    type Err = Sha256SumError;

    fn from_str(text: &str) -> Result<Sha256Sum, Sha256SumError> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Sha256SumError);
        }
        let mut sum = [0; 32];
        for (at, byte) in sum.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| Sha256SumError)?;
        }
        Ok(Sha256Sum(sum))
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Sum({self})")
    }
}

impl Serialize for Sha256Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sha256Sum, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What `card.json` says. Fields that this version does not know are passed over, and lost when it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelCard {
    /// The model's name: letters, digits, `-`, `_`; at most [`MODEL_NAME_BYTES_MAX`].
    pub name: String,
    /// From 1 to [`MODEL_VERSION_MAX`]. Never used for another file.
    pub version: u64,
    /// Of `model.onnx`.
    pub onnx_sha256: Sha256Sum,
    /// What goes in.
    pub input: ModelInput,
    /// What comes out.
    pub output: ModelOutput,
    /// What it was trained on, and how well it did.
    pub trained: ModelTraining,
}

/// What goes into a model: one row of features, `f32`, shape [rows, features].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModelInput {
    /// Name of the graph's one input.
    pub name: String,
    /// The feature set.
    pub set: String,
    /// The set's schema, as [`FeatureSchema::id`]; in JSON 16 hexadecimal digits.
    #[serde(with = "schema_id")]
    pub schema_id: u64,
    /// Names of values of the schema, in the graph's order.
    pub features: Vec<String>,
    /// What is done when a value is missing.
    #[serde(default)]
    pub missing: MissingFeature,
}

/// What is done when a feature's value is missing (NaN).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingFeature {
    /// There is no score.
    #[default]
    Skip,
    /// NaN goes into the model: it was trained with missing values.
    Nan,
}

/// What comes out of a model: `f32`, shape `[rows, 1]` or `[rows]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModelOutput {
    /// Name of the graph's output.
    pub name: String,
    /// What it is in.
    pub unit: ModelUnit,
    /// How far ahead it looks, ms.
    pub horizon_ms: u64,
}

/// The unit of a score.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelUnit {
    /// Expected change of the middle over the horizon, in 1/10,000 of it.
    Bps,
}

/// What a model was trained on, for people and reports: nothing here decides what it does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelTraining {
    /// Source, first and last time (ns), rows, instruments.
    pub data: Map<String, Value>,
    /// Of the time after the training's, beside the naive baseline's.
    pub metrics: Map<String, Value>,
    /// The seed.
    pub seed: i64,
    /// Of Python and the libraries.
    pub versions: Map<String, Value>,
}

mod schema_id {
    use super::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{id:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = Some(&text).filter(|text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()));
        let id = id.and_then(|text| u64::from_str_radix(text, 16).ok());
        id.ok_or_else(|| serde::de::Error::custom("a schema id has 16 hexadecimal digits"))
    }
}

/// A model that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than it may be.
    #[error("{what} is larger than {bytes_max} bytes")]
    TooLarge {
        /// `card.json` or `model.onnx`.
        what: &'static str,
        /// How large it may be.
        bytes_max: usize,
    },
    /// The card is not JSON, or not of a card's shape.
    #[error("card.json, line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A field of the card cannot be meant.
    #[error("card.json, {field}: {message}")]
    Field {
        /// The field, as `input.features[3]`.
        field: String,
        /// What is wrong, and what it should be.
        message: String,
    },
    /// The ONNX file is another than the card's.
    #[error(
        "model.onnx has the SHA-256 {found}, the card says {card}: the file is corrupt or belongs to another card"
    )]
    Checksum {
        /// By the card.
        card: Sha256Sum,
        /// Of the bytes.
        found: Sha256Sum,
    },
    /// The features are not those that the model was trained on.
    #[error("input.schema_id: the model wants the features of schema {wanted:016x} (set {set:?}), {found}")]
    Schema {
        /// The set's name by the card.
        set: String,
        /// By the card.
        wanted: u64,
        /// What there is instead.
        found: String,
    },
}

fn field(field: impl Into<String>, message: impl Into<String>) -> ModelError {
    ModelError::Field { field: field.into(), message: message.into() }
}

fn is_name(text: &str, bytes_max: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= bytes_max && text.bytes().all(known)
}

/// Whether a model may be called this.
///
/// # Errors
/// What a name is.
pub(crate) fn check_model_name(name: &str) -> Result<(), String> {
    if is_name(name, MODEL_NAME_BYTES_MAX) {
        return Ok(());
    }
    Err(format!("use 1 to {MODEL_NAME_BYTES_MAX} letters, digits, `-` or `_`"))
}

impl ModelCard {
    /// Reads and checks a card.
    ///
    /// # Errors
    /// The first thing that is wrong, with its field or its line.
    pub fn parse(bytes: &[u8]) -> Result<ModelCard, ModelError> {
        if bytes.len() > MODEL_CARD_BYTES_MAX {
            return Err(ModelError::TooLarge { what: MODEL_CARD_FILE, bytes_max: MODEL_CARD_BYTES_MAX });
        }
        let card: ModelCard = serde_json::from_slice(bytes).map_err(|error| ModelError::Syntax {
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        })?;
        card.check()?;
        Ok(card)
    }

    /// The card as JSON for people, as `card.json` holds it.
    pub fn to_json(&self) -> String {
        // Strings, numbers and maps with text keys: nothing in it can fail to serialise.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ModelError> {
        check_model_name(&self.name).map_err(|message| field("name", message))?;
        if !(1..=MODEL_VERSION_MAX).contains(&self.version) {
            return Err(field("version", format!("is {}; versions count from 1", self.version)));
        }
        for (what, name) in [("input.name", &self.input.name), ("output.name", &self.output.name)] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(field(what, format!("use 1 to {NAME_BYTES_MAX} bytes, as the graph calls it")));
            }
        }
        if !is_name(&self.input.set, FEATURE_SET_NAME_BYTES_MAX) {
            let message = format!("use 1 to {FEATURE_SET_NAME_BYTES_MAX} letters, digits, `-` or `_`");
            return Err(field("input.set", message));
        }
        let features = &self.input.features;
        if features.is_empty() || features.len() > MODEL_FEATURES_MAX {
            let message = format!("has {} names; a model takes 1 to {MODEL_FEATURES_MAX}", features.len());
            return Err(field("input.features", message));
        }
        let mut seen = BTreeSet::new();
        for (at, name) in features.iter().enumerate() {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(field(
                    format!("input.features[{at}]"),
                    format!("use 1 to {NAME_BYTES_MAX} bytes"),
                ));
            }
            if !seen.insert(name) {
                return Err(field(format!("input.features[{at}]"), format!("{name:?} is there twice")));
            }
        }
        if !(1..=HORIZON_MS_MAX).contains(&self.output.horizon_ms) {
            let message = format!("is {}; choose 1 to {HORIZON_MS_MAX}", self.output.horizon_ms);
            return Err(field("output.horizon_ms", message));
        }
        Ok(())
    }

    /// Where each feature of the model is among the values of a schema, in the model's order.
    ///
    /// # Errors
    /// When the schema is not the one that the model was trained on, or lacks a feature.
    pub fn places(&self, schema: &FeatureSchema) -> Result<Vec<usize>, ModelError> {
        let ModelInput { set, schema_id, features, .. } = &self.input;
        let found = schema.id();
        if found != *schema_id || schema.set != *set {
            let found = format!("these are of schema {found:016x} (set {:?})", schema.set);
            return Err(ModelError::Schema { set: set.clone(), wanted: *schema_id, found });
        }
        let place = |(at, name): (usize, &String)| {
            let place = schema.features.iter().position(|feature| feature.name == *name);
            place.ok_or_else(|| {
                let message = format!("{name:?} is no feature of schema {found:016x} (set {set:?})");
                field(format!("input.features[{at}]"), message)
            })
        };
        features.iter().enumerate().map(place).collect()
    }
}

/// A card and its ONNX file, which belong together.
#[derive(Clone, PartialEq)]
pub struct ModelFiles {
    card: ModelCard,
    card_json: Vec<u8>,
    onnx: Vec<u8>,
}

impl fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelFiles({} version {}, {} bytes)", self.card.name, self.card.version, self.onnx.len())
    }
}

impl ModelFiles {
    /// Takes both in, when the card is good and the file is the card's.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(card_json: Vec<u8>, onnx: Vec<u8>) -> Result<ModelFiles, ModelError> {
        let card = ModelCard::parse(&card_json)?;
        if onnx.len() > MODEL_ONNX_BYTES_MAX {
            return Err(ModelError::TooLarge { what: MODEL_ONNX_FILE, bytes_max: MODEL_ONNX_BYTES_MAX });
        }
        let found = Sha256Sum::of(&onnx);
        if found != card.onnx_sha256 {
            return Err(ModelError::Checksum { card: card.onnx_sha256, found });
        }
        Ok(ModelFiles { card, card_json, onnx })
    }

    /// Reads a model's folder. No more is read than a model may have.
    ///
    /// # Errors
    /// As [`ModelFiles::new`], or when a file cannot be read.
    pub fn load(folder: &Path) -> Result<ModelFiles, ModelError> {
        let card = read(&folder.join(MODEL_CARD_FILE), MODEL_CARD_FILE, MODEL_CARD_BYTES_MAX)?;
        let onnx = read(&folder.join(MODEL_ONNX_FILE), MODEL_ONNX_FILE, MODEL_ONNX_BYTES_MAX)?;
        ModelFiles::new(card, onnx)
    }

    /// The card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The card's bytes as they were, with fields that this version does not know.
    pub fn card_json(&self) -> &[u8] {
        &self.card_json
    }

    /// The ONNX file.
    pub fn onnx(&self) -> &[u8] {
        &self.onnx
    }
}

fn read(path: &Path, what: &'static str, bytes_max: usize) -> Result<Vec<u8>, ModelError> {
    let unreadable = |source| ModelError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > bytes_max {
        return Err(ModelError::TooLarge { what, bytes_max });
    }
    Ok(bytes)
}
