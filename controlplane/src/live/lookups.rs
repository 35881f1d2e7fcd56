//! What is asked of Redis for one request: instruments, models, features over time. Nothing here is followed.

use super::link::{BusError, BusLink};
use super::market::{InstrumentKey, doubts_of};
use crate::config::Cards;
use bus::config::{ModelChoice, VersionChoice};
use bus::names::{
    CALCULATED_FEATURES, FEATURE_SCHEMAS, instruments_key, model_key, model_versions_key, shard_of,
    shard_stream,
};
use bus::{FeatureRecord, FeatureSchema, InstrumentRow, ModelCard, records_of_range};
use metrics::counter;
use serde::Serialize;
use serde_json::Value;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tick::Price;
use tokio::sync::Mutex;
use utoipa::ToSchema;

/// How old the table of instruments may be: it changes when a venue defines something new.
const INSTRUMENTS_AGE: Duration = Duration::from_secs(5);
/// Instruments that are read; all of Nasdaq is some 12,000.
const INSTRUMENTS_MAX: usize = 1 << 18;
/// Publishers that are read.
const PUBLISHERS_MAX: usize = 256;
/// Models and versions of one that are read.
const MODELS_MAX: usize = 1_000;
/// Versions of a model that are looked at for `latest`: the strategy process takes the highest that it can serve.
const LATEST_MAX: usize = 8;
/// Records of a page of the features' stream, and pages that are looked through for one instrument.
const PAGE_RECORDS: usize = 1_000;
const PAGES_MAX: usize = 20;
/// Largest card, as the bus has it, bytes.
const CARD_BYTES_MAX: usize = bus::MODEL_CARD_BYTES_MAX;

/// An instrument's definition. Decimals are text, so that nobody rounds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstrumentView {
    /// Its publisher.
    pub publisher_id: u16,
    /// Its number there.
    pub instrument_id: u32,
    /// The symbol; empty when not known.
    pub symbol: String,
    /// Smallest price step; null when the venue does not say.
    #[schema(required)]
    pub tick_size: Option<String>,
    /// Units of the underlying in one contract; null when the venue does not say.
    #[schema(required)]
    pub multiplier: Option<String>,
    /// Shares or contracts in a round lot; 0 when the venue does not say.
    pub lot_size: u32,
    /// `equity`, `future`, `option`, `spread`, `unknown`.
    pub kind: String,
    /// Product group or asset; empty when not known.
    pub group: String,
    /// ISO 4217; empty when not known.
    pub currency: String,
    /// The channel that its definition came on.
    pub channel_id: u16,
}

impl InstrumentView {
    fn of(key: InstrumentKey, row: InstrumentRow) -> InstrumentView {
        InstrumentView {
            publisher_id: key.publisher_id,
            instrument_id: key.instrument_id,
            symbol: row.symbol,
            tick_size: row.tick_size.map(|units| Price(units).to_string()),
            multiplier: row.multiplier.map(|units| Price(units).to_string()),
            lot_size: row.lot_size,
            kind: row.kind,
            group: row.group,
            currency: row.currency,
            channel_id: row.channel_id,
        }
    }
}

/// A model in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelView {
    /// Its name.
    pub name: String,
    /// Its versions, newest first.
    pub versions: Vec<ModelVersionView>,
}

/// A version of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelVersionView {
    /// From 1.
    pub version: u64,
    /// SHA-256 of its ONNX file, hexadecimal.
    pub onnx_sha256: String,
}

/// A version of a model with its card.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ModelCardView {
    /// The model.
    pub name: String,
    /// The version.
    pub version: u64,
    /// Size of its ONNX file.
    pub onnx_bytes: u64,
    /// The card, as it was registered.
    pub card: Value,
}

/// A feature set of an instrument over time.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FeatureSeries {
    /// The set.
    pub set: String,
    /// Schema id, 16 hexadecimal digits.
    pub schema_id: String,
    /// Names of the values, in order; empty when the schema is not known.
    pub names: Vec<String>,
    /// Their units.
    pub units: Vec<String>,
    /// Newest first.
    pub points: Vec<FeaturePoint>,
}

/// The values at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FeaturePoint {
    /// Arrival of the tick that brought them about, ns since the epoch.
    pub time_ns: u64,
    /// Number in its stream.
    pub number: u64,
    /// `bad_book`, `gap_in_window`, `warming_up`, `bad_time`.
    pub doubts: Vec<&'static str>,
    /// In the order of the names; null where there is none.
    pub values: Vec<Option<f64>>,
}

/// Features of an instrument over time.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FeatureHistory {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// Each set that has values.
    pub sets: Vec<FeatureSeries>,
    /// Records that were looked through, of all instruments of the shard: 20,000 at most.
    pub looked_through: usize,
    /// The stream's beginning was reached.
    pub is_whole: bool,
}

/// A cursor, and fields with their values.
type Scanned = (u64, Vec<(Vec<u8>, Vec<u8>)>);
type Table = Arc<BTreeMap<InstrumentKey, InstrumentView>>;

/// Asks Redis for one request.
pub struct Lookups {
    link: BusLink,
    shards: u16,
    instruments: Mutex<Option<(Instant, Table)>>,
}

impl Lookups {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(url: &str, shards: u16) -> Result<Lookups, BusError> {
        Ok(Lookups { link: BusLink::new(url)?, shards, instruments: Mutex::default() })
    }

    /// Every instrument, five seconds old at most.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn instruments(&self) -> Result<Table, BusError> {
        // One reads, the others wait for it.
        let mut kept = self.instruments.lock().await;
        if let Some((at, table)) = &*kept
            && at.elapsed() < INSTRUMENTS_AGE
        {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(self.read_instruments().await?);
        *kept = Some((Instant::now(), Arc::clone(&table)));
        Ok(table)
    }

    async fn read_instruments(&self) -> Result<BTreeMap<InstrumentKey, InstrumentView>, BusError> {
        let mut table = BTreeMap::new();
        for key in self.link.keys("instruments:*", "hash", PUBLISHERS_MAX).await? {
            let Some(publisher_id) = key.strip_prefix("instruments:").and_then(|id| id.parse::<u16>().ok())
            else {
                continue;
            };
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("HSCAN");
                scan.arg(instruments_key(publisher_id)).arg(cursor).arg("COUNT").arg(1_000);
                let (next, fields): Scanned = self.link.ask(&scan).await?;
                for (id, json) in fields {
                    if table.len() >= INSTRUMENTS_MAX {
                        break;
                    }
                    match instrument(publisher_id, &id, &json) {
                        Some((key, view)) => drop(table.insert(key, view)),
                        None => refused("instruments"),
                    }
                }
                cursor = next;
                if cursor == 0 || table.len() >= INSTRUMENTS_MAX {
                    break;
                }
            }
        }
        Ok(table)
    }

    /// One instrument's definition.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn instrument(&self, key: InstrumentKey) -> Result<Option<InstrumentView>, BusError> {
        let mut get = redis::cmd("HGET");
        get.arg(instruments_key(key.publisher_id)).arg(key.instrument_id);
        let json: Option<Vec<u8>> = self.link.ask(&get).await?;
        let id = key.instrument_id.to_string();
        Ok(json.and_then(|json| instrument(key.publisher_id, id.as_bytes(), &json)).map(|(_, view)| view))
    }

    /// The models of the registry, by name.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn models(&self) -> Result<Vec<ModelView>, BusError> {
        let keys = self.link.keys("models:*", "hash", MODELS_MAX).await?;
        let names: Vec<String> =
            keys.iter().filter_map(|key| key.strip_prefix("models:")).map(str::to_owned).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut ask = redis::pipe();
        for name in &names {
            ask.cmd("HSCAN").arg(model_versions_key(name)).arg(0).arg("COUNT").arg(MODELS_MAX);
        }
        let answers: Vec<Scanned> = self.link.ask_all(&ask).await?;
        let models = names.into_iter().zip(answers);
        Ok(models
            .map(|(name, (_, versions))| ModelView { name, versions: model_versions(versions) })
            .collect())
    }

    /// One model; none when it has no version.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn model(&self, name: &str) -> Result<Option<ModelView>, BusError> {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(model_versions_key(name)).arg(0).arg("COUNT").arg(MODELS_MAX);
        let (_, versions): Scanned = self.link.ask(&scan).await?;
        let versions = model_versions(versions);
        Ok((!versions.is_empty()).then(|| ModelView { name: name.to_owned(), versions }))
    }

    /// A version's card; none when it is not there or no card.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn model_card(&self, name: &str, version: u64) -> Result<Option<ModelCardView>, BusError> {
        let key = model_key(name, version);
        let mut sizes = redis::pipe();
        sizes.cmd("HSTRLEN").arg(&key).arg("card").cmd("HSTRLEN").arg(&key).arg("onnx");
        let (card_bytes, onnx_bytes): (usize, u64) = self.link.ask_all(&sizes).await?;
        if card_bytes == 0 || card_bytes > CARD_BYTES_MAX {
            return Ok(None);
        }
        let card: Option<Vec<u8>> = self.link.ask(redis::cmd("HGET").arg(&key).arg("card")).await?;
        let card = card.and_then(|card| serde_json::from_slice::<Value>(&card).ok()).filter(Value::is_object);
        if card.is_none() {
            refused("models");
        }
        Ok(card.map(|card| ModelCardView { name: name.to_owned(), version, onnx_bytes, card }))
    }

    /// The cards that choices of models may mean, newest first; of `latest` those of the newest versions, 8 at most. What
    /// is not there, cannot be read or cannot be asked for now is left out.
    pub async fn model_cards(&self, choices: BTreeSet<ModelChoice>) -> Cards {
        let mut cards = Cards::new();
        for choice in choices {
            match self.cards_of(&choice).await {
                Ok(of_choice) => drop(cards.insert(choice, of_choice)),
                Err(error) => {
                    tracing::warn!(%error, "a model is not held against the feature sets");
                    // Nor could the others be asked for.
                    if error.is_gone() {
                        break;
                    }
                }
            }
        }
        cards
    }

    async fn cards_of(&self, choice: &ModelChoice) -> Result<Vec<ModelCard>, BusError> {
        let versions = match choice.version {
            VersionChoice::Number(version) => vec![version],
            VersionChoice::Latest => {
                let versions = self.model(&choice.name).await?.map_or_else(Vec::new, |model| model.versions);
                versions.into_iter().take(LATEST_MAX).map(|version| version.version).collect()
            }
        };
        let mut cards = Vec::with_capacity(versions.len());
        for version in versions {
            let card = self.model_card(&choice.name, version).await?;
            cards.extend(card.and_then(|found| serde_json::from_value(found.card).ok()));
        }
        Ok(cards)
    }

    /// The last `points_max` values of an instrument, of one set or of each.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn features(
        &self,
        key: InstrumentKey,
        set: Option<&str>,
        points_max: usize,
    ) -> Result<FeatureHistory, BusError> {
        let stream = shard_stream(CALCULATED_FEATURES, shard_of(key.instrument_id, self.shards), self.shards);
        let mut found: BTreeMap<u64, FeatureSeries> = BTreeMap::new();
        let mut schemas: HashMap<u64, Option<FeatureSchema>> = HashMap::new();
        let (mut before, mut looked_through, mut is_whole) = ("+".to_owned(), 0, false);
        for _ in 0..PAGES_MAX {
            let mut range = redis::cmd("XREVRANGE");
            range.arg(&stream).arg(&before).arg("-").arg("COUNT").arg(PAGE_RECORDS);
            let reply: redis::Value = self.link.ask(&range).await?;
            let records = records_of_range(&reply).map_err(|error| BusError::Answer(error.to_string()))?;
            looked_through += records.len();
            for record in &records {
                before = format!("({}", record.id);
                let fields = record.fields.as_ref().ok().map(|fields| fields.iter().copied());
                let Some(record) = fields.and_then(|fields| FeatureRecord::parse(fields).ok()) else {
                    refused(CALCULATED_FEATURES);
                    continue;
                };
                if (record.publisher_id, record.instrument_id) != (key.publisher_id, key.instrument_id) {
                    continue;
                }
                let schema = match schemas.entry(record.schema_id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(self.schema(record.schema_id).await?),
                };
                let schema = schema.as_ref();
                if set.is_some_and(|set| schema.is_none_or(|schema| schema.set != set)) {
                    continue;
                }
                let series =
                    found.entry(record.schema_id).or_insert_with(|| series(record.schema_id, schema));
                if series.points.len() < points_max {
                    series.points.push(point(&record));
                }
            }
            is_whole = records.len() < PAGE_RECORDS;
            let is_full = !found.is_empty() && found.values().all(|series| series.points.len() >= points_max);
            if is_whole || is_full {
                break;
            }
        }
        Ok(FeatureHistory {
            time_ns: super::now_ns(),
            publisher_id: key.publisher_id,
            instrument_id: key.instrument_id,
            sets: found.into_values().collect(),
            looked_through,
            is_whole,
        })
    }

    async fn schema(&self, id: u64) -> Result<Option<FeatureSchema>, BusError> {
        let mut get = redis::cmd("HGET");
        get.arg(FEATURE_SCHEMAS).arg(format!("{id:016x}"));
        let json: Option<Vec<u8>> = self.link.ask(&get).await?;
        let schema = json.and_then(|json| serde_json::from_slice::<FeatureSchema>(&json).ok());
        // Its name is the sum of what it says.
        Ok(schema.filter(|schema| schema.id() == id))
    }
}

fn refused(stream: &'static str) {
    counter!("feedplane_controlplane_refused_entries_total", "stream" => stream).increment(1);
}

fn instrument(publisher_id: u16, id: &[u8], json: &[u8]) -> Option<(InstrumentKey, InstrumentView)> {
    let instrument_id = std::str::from_utf8(id).ok()?.parse().ok()?;
    let key = InstrumentKey { publisher_id, instrument_id };
    let row: InstrumentRow = serde_json::from_slice(json).ok()?;
    Some((key, InstrumentView::of(key, row)))
}

fn model_versions(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<ModelVersionView> {
    let read = |(version, sha256): (Vec<u8>, Vec<u8>)| {
        let version = std::str::from_utf8(&version).ok()?.parse().ok()?;
        let sha256: bus::Sha256Sum = std::str::from_utf8(&sha256).ok()?.parse().ok()?;
        Some(ModelVersionView { version, onnx_sha256: sha256.to_string() })
    };
    let mut versions: Vec<ModelVersionView> = fields.into_iter().filter_map(read).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.version));
    versions.truncate(MODELS_MAX);
    versions
}

fn series(schema_id: u64, schema: Option<&FeatureSchema>) -> FeatureSeries {
    let features = schema.map_or(&[][..], |schema| &schema.features);
    FeatureSeries {
        set: schema.map_or_else(String::new, |schema| schema.set.clone()),
        schema_id: format!("{schema_id:016x}"),
        names: features.iter().map(|spec| spec.name.clone()).collect(),
        units: features.iter().map(|spec| spec.unit.clone()).collect(),
        points: Vec::new(),
    }
}

fn point(record: &FeatureRecord<'_>) -> FeaturePoint {
    FeaturePoint {
        time_ns: record.time_ns,
        number: record.number,
        doubts: doubts_of(record.quality),
        values: record.values().map(|value| value.is_finite().then_some(value)).collect(),
    }
}
