//! The registry of models in Redis, to be read: see `docs/models.md`. On a connection of its own, for the thread of its own.

use bus::consumer::{ConsumerError, Link};
use bus::names::{FEATURE_SCHEMAS, model_key, model_versions_key};
use bus::{
    FeatureSchema, MODEL_CARD_BYTES_MAX, MODEL_CARD_FILE, MODEL_ONNX_BYTES_MAX, MODEL_ONNX_FILE, ModelError,
    ModelFiles, Sha256Sum,
};
use std::collections::BTreeMap;

pub(super) struct Registry {
    link: Link,
}

impl Registry {
    pub(super) fn new(url: &str) -> Result<Registry, ConsumerError> {
        Ok(Registry { link: Link::new(url)? })
    }

    /// A model's versions with their sums; what is no version is passed over.
    pub(super) fn versions(&mut self, name: &str) -> Result<Vec<(u64, Sha256Sum)>, ConsumerError> {
        let versions: BTreeMap<String, String> =
            self.link.ask(redis::cmd("HGETALL").arg(model_versions_key(name)))?;
        let read = |(version, sum): (String, String)| Some((version.parse().ok()?, sum.parse().ok()?));
        Ok(versions.into_iter().filter_map(read).filter(|(version, _)| *version > 0).collect())
    }

    /// Every schema that the feature services have published.
    pub(super) fn schemas(&mut self) -> Result<Vec<FeatureSchema>, ConsumerError> {
        let schemas: BTreeMap<String, String> = self.link.ask(redis::cmd("HGETALL").arg(FEATURE_SCHEMAS))?;
        Ok(schemas.values().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// One version's card and file. No more is asked for than a model may have.
    pub(super) fn files(
        &mut self,
        name: &str,
        version: u64,
    ) -> Result<Result<ModelFiles, ModelError>, ConsumerError> {
        let key = model_key(name, version);
        let parts = [
            ("card", MODEL_CARD_FILE, MODEL_CARD_BYTES_MAX),
            ("onnx", MODEL_ONNX_FILE, MODEL_ONNX_BYTES_MAX),
        ];
        let mut read = Vec::with_capacity(2);
        for (part, what, bytes_max) in parts {
            let bytes: u64 = self.link.ask(redis::cmd("HSTRLEN").arg(&key).arg(part))?;
            if bytes > bytes_max as u64 {
                return Ok(Err(ModelError::TooLarge { what, bytes_max }));
            }
            read.push(self.link.ask::<Option<Vec<u8>>>(redis::cmd("HGET").arg(&key).arg(part))?);
        }
        let (onnx, card) = (read.pop().flatten(), read.pop().flatten());
        let (Some(card), Some(onnx)) = (card, onnx) else {
            let message = format!("{key} lacks `card` or `onnx`; push the version again");
            return Ok(Err(ModelError::Field { field: "registry".into(), message }));
        };
        Ok(ModelFiles::new(card, onnx))
    }
}
