//! The parameters of the strategy that acts on a trained model, and how a model's version is chosen.

use super::{Check, STRATEGY_TICKS_MAX, TIMES_MS};
use crate::config::Problem;
use crate::{MODEL_NAME_BYTES_MAX, MODEL_VERSION_MAX};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A trained model: a position is taken when its score says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// The model that orders are made by.
    pub acting: ModelChoice,
    /// A model that is scored and published beside it, and never traded on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ModelChoice>,
    /// From this score on, in the model's unit (bps), a position is taken: above it a long one, below its negative a short
    /// one. Above 0.
    pub enter_bps: f64,
    /// Below this score in the position's direction, bps, it is given up. Less than `enter_bps`; may be negative.
    #[serde(default)]
    pub exit_bps: f64,
    /// Shares or contracts in one order.
    pub clip: u64,
    /// Position that is aimed at, shares or contracts. At least `clip`.
    pub position: u64,
    /// How far beyond the other side's best price an order may trade, ticks. 0 to 10000.
    #[serde(default)]
    pub cross_ticks: u32,
    /// How long a position is held at most, ms. 1 to 86400000.
    pub hold_ms: u64,
    /// Least time between two orders, ms. 1 to 86400000.
    #[serde(default = "super::default_pause_ms")]
    pub pause_ms: u64,
    /// The oldest record of features whose score counts, ms. Longer than the set's `every_ms`. 1 to 86400000.
    #[serde(default = "super::default_feature_age_ms")]
    pub feature_age_max_ms: u64,
}

/// A model of the registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// Its name.
    pub name: String,
    /// Its version: a number, or `latest`.
    pub version: VersionChoice,
}

impl fmt::Display for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            VersionChoice::Latest => write!(f, "{} latest", self.name),
            VersionChoice::Number(version) => write!(f, "{} version {version}", self.name),
        }
    }
}

/// A version of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionChoice {
    /// `latest`: the highest of the registry, and each higher one from when it is there.
    Latest,
    /// This one.
    Number(u64),
}

impl Serialize for VersionChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            VersionChoice::Latest => serializer.serialize_str("latest"),
            VersionChoice::Number(version) => serializer.serialize_u64(*version),
        }
    }
}

impl<'de> Deserialize<'de> for VersionChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VersionChoice, D::Error> {
        struct Version;

        impl Visitor<'_> for Version {
            type Value = VersionChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`latest` or a version's number")
            }

            fn visit_u64<E: serde::de::Error>(self, version: u64) -> Result<VersionChoice, E> {
                Ok(VersionChoice::Number(version))
            }

            fn visit_i64<E: serde::de::Error>(self, version: i64) -> Result<VersionChoice, E> {
                let version = u64::try_from(version);
                version.map(VersionChoice::Number).map_err(|_| E::custom("a version counts from 1"))
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<VersionChoice, E> {
                if word == "latest" {
                    Ok(VersionChoice::Latest)
                } else {
                    Err(E::custom("say `latest` or a number"))
                }
            }
        }
        deserializer.deserialize_any(Version)
    }
}

impl JsonSchema for VersionChoice {
    fn schema_name() -> Cow<'static, str> {
        "VersionChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A version's number, from 1, or `latest`.",
            "oneOf": [{"const": "latest"}, {"type": "integer", "minimum": 1}]
        })
    }
}

impl ModelSection {
    /// Everything that is wrong with the section; `at` is its path in the document.
    pub fn validate(&self, at: &str) -> Vec<Problem> {
        let mut check = Check::below(at);
        let shadow = self.shadow.as_ref().map(|shadow| ("shadow", shadow));
        for (field, choice) in [("acting", &self.acting)].into_iter().chain(shadow) {
            check.word(&format!("{field}.name"), &choice.name, MODEL_NAME_BYTES_MAX, b"-_");
            if let VersionChoice::Number(version) = choice.version {
                check.range(&format!("{field}.version"), version, &(1..=MODEL_VERSION_MAX));
            }
        }
        if self.shadow.as_ref() == Some(&self.acting) {
            check.problem("shadow", "is the acting model; name another version, or leave it out".to_owned());
        }
        check.thresholds("enter_bps", self.enter_bps, "exit_bps", self.exit_bps);
        check.quantities(self.clip, self.position);
        check.range("cross_ticks", self.cross_ticks, &(0..=STRATEGY_TICKS_MAX));
        check.range("hold_ms", self.hold_ms, &TIMES_MS);
        check.range("pause_ms", self.pause_ms, &TIMES_MS);
        check.range("feature_age_max_ms", self.feature_age_max_ms, &TIMES_MS);
        check.problems
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{paths, read};
    use super::*;

    const MODEL: &str =
        "{acting: {name: es-mid, version: latest}, shadow: {name: es-mid, version: 4}, enter_bps: 0.4,
        clip: 1, position: 5, hold_ms: 60000}";

    #[test]
    fn a_model_is_followed_by_its_latest_version_or_held_to_a_number() {
        let section: ModelSection = read(MODEL);
        assert_eq!(section.validate(""), []);
        assert_eq!(section.acting.version, VersionChoice::Latest);
        assert_eq!(section.shadow.as_ref().unwrap().to_string(), "es-mid version 4");
        let text = serde_json::to_string(&section).unwrap();
        assert_eq!(serde_json::from_str::<ModelSection>(&text).unwrap(), section);
        for wrong in ["newest", "-1", "1.5", "null"] {
            let text = MODEL.replacen("latest", wrong, 1);
            assert!(serde_saphyr::from_str::<ModelSection>(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_model_section_must_not_be_is_named_with_its_path() {
        let mut section: ModelSection = read(MODEL);
        section.acting.name = "es mid".into();
        section.shadow = Some(ModelChoice { name: "x".into(), version: VersionChoice::Number(0) });
        (section.enter_bps, section.exit_bps, section.clip, section.hold_ms) = (f64::NAN, 0.0, 6, 0);
        let wrong =
            ["m.acting.name", "m.shadow.version", "m.enter_bps", "m.exit_bps", "m.position", "m.hold_ms"];
        assert_eq!(paths(&section.validate("m")), wrong);
        let mut section: ModelSection = read(MODEL);
        section.shadow = Some(section.acting.clone());
        assert_eq!(paths(&section.validate("m")), ["m.shadow"]);
    }
}
