//! Models from the registry, in a running service: waited for, followed live, refused; ticks go on meanwhile.

use crate::model_support::{bytes, card, files, linear, schema, trees};
use crate::rig::{Moving, PUBLISHER, RISK, Rig, Service};
use bus::names::{FEATURE_SCHEMAS, MODEL_SCORES, model_key, model_versions_key};
use bus::{FeatureRecord, FeatureSchema, ModelFiles, Quality, Score, ScoreRole, records_of_range};
use redis::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tract_onnx::pb::ModelProto;

const STRATEGIES: &str = "
strategies:
  - name: es-model
    venue: SIM
    instruments: all
    model:
      acting: {name: es, version: latest}
      shadow: {name: es, version: 1}
      enter_bps: 1000
      clip: 1
      position: 5
      hold_ms: 60000
";

fn features() -> FeatureSchema {
    schema("fast", &["ofi", "mid"])
}

/// Writes what is said to be a version into the registry.
fn push_as(rig: &mut Rig, version: u64, sum: &str, card: &[u8], onnx: &[u8]) {
    let mut push = redis::pipe();
    push.atomic()
        .cmd("HSET")
        .arg(model_key("es", version))
        .arg("card")
        .arg(card)
        .arg("onnx")
        .arg(onnx)
        .ignore();
    push.cmd("HSET").arg(model_versions_key("es")).arg(version).arg(sum).ignore();
    push.exec(rig.connection()).unwrap();
}

fn push(rig: &mut Rig, files: &ModelFiles) {
    let (card, sum) = (files.card(), files.card().onnx_sha256.to_string());
    push_as(rig, card.version, &sum, files.card_json(), files.onnx());
}

/// A version that says its number.
fn version(version: u64) -> ModelFiles {
    let onnx = bytes(&trees(2, 10, version as f32, version as f32));
    files(&card("es", version, &features(), &onnx), onnx)
}

/// Redis, a moving market, and records of features: 1, 2, 3 …
struct Scene {
    rig: Rig,
    _moving: Moving,
    over: Arc<AtomicBool>,
    records: Option<std::thread::JoinHandle<u64>>,
}

impl Scene {
    fn new() -> Scene {
        let mut rig = Rig::new(1);
        rig.more = format!("{RISK}{STRATEGIES}");
        let (id, json) = (format!("{:016x}", features().id()), serde_json::to_string(&features()).unwrap());
        rig.ask::<i64>(&["HSET", FEATURE_SCHEMAS, &id, &json]);
        let market = rig.open_market(3);
        let moving = Moving::start(&rig.server.url(), 1, market);
        Scene { rig, _moving: moving, over: Arc::new(AtomicBool::new(false)), records: None }
    }

    /// Begins to write records, one a millisecond.
    fn start_records(&mut self) {
        let (over, client) = (Arc::clone(&self.over), redis::Client::open(self.rig.server.url()).unwrap());
        self.records = Some(std::thread::spawn(move || {
            let (mut connection, mut number) = (client.get_connection().unwrap(), 0);
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let values: Vec<u8> =
                    [0.5f64, number as f64].iter().flat_map(|value| value.to_le_bytes()).collect();
                let record = FeatureRecord {
                    number,
                    publisher_id: PUBLISHER,
                    instrument_id: 7,
                    time_ns: crate::gateway::now_ns(),
                    channel_id: 1,
                    sequence: number,
                    schema_id: features().id(),
                    quality: Quality::GOOD,
                    values: &values,
                };
                let mut add = redis::cmd("XADD");
                add.arg("calculated_features").arg("*");
                record.for_each_field(|name, value| {
                    add.arg(name).arg(value);
                });
                add.exec(&mut connection).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            number
        }));
    }

    /// Ends the records; the number of the last one.
    fn stop_records(&mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.records.take().unwrap().join().unwrap()
    }

    fn scores(&mut self) -> Vec<Score> {
        let reply: Value = self.rig.ask(&["XRANGE", MODEL_SCORES, "-", "+"]);
        let records = records_of_range(&reply).unwrap().into_iter();
        records.map(|record| Score::parse(record.fields.unwrap()).unwrap()).collect()
    }

    fn wait_for_version(&mut self, wanted: u64) {
        self.rig.wait(&format!("scores of version {wanted}"), |rig| {
            let last: Value = rig.ask(&["XREVRANGE", MODEL_SCORES, "+", "-", "COUNT", "4"]);
            let records = records_of_range(&last).unwrap().into_iter();
            records
                .map(|record| Score::parse(record.fields.unwrap()).unwrap())
                .any(|score| score.role == ScoreRole::Acting && score.version == wanted)
        });
    }
}

#[test]
fn a_strategy_waits_for_its_model_and_says_so_and_follows_new_versions_live() {
    let mut scene = Scene::new();
    let service = scene.rig.service("a");
    service.wait_for_log("is not in the registry");
    service.wait_for_log("\"live\"");
    scene.rig.wait("it is said where readiness is", |_| {
        let ready = service.get("/readyz");
        ready.contains("503") && ready.contains("es latest: is not in the registry")
    });
    assert!(scene.scores().is_empty());

    push(&mut scene.rig, &version(1));
    service.wait_for_log("in force");
    scene.rig.wait("it is ready", |_| service.get("/readyz").contains("200 OK"));
    scene.start_records();
    scene.wait_for_version(1);
    let ticks_before = service.metric("feedplane_strategy_ticks_total").unwrap();

    // A large one: reading, checking and making it ready takes much longer than a turn.
    let large = ModelProto { doc_string: "x".repeat(40 << 20), ..trees(2, 20_000, 2.0, 2.0) };
    let onnx = bytes(&large);
    push(&mut scene.rig, &files(&card("es", 2, &features(), &onnx), onnx));
    scene.wait_for_version(2);
    push(&mut scene.rig, &version(3));
    scene.wait_for_version(3);
    let last = scene.stop_records();
    let of_last = |scores: &[Score]| scores.iter().filter(|score| score.number == last).count();
    scene.rig.wait("the last record is scored", |rig| {
        let reply: Value = rig.ask(&["XREVRANGE", MODEL_SCORES, "+", "-", "COUNT", "4"]);
        let records = records_of_range(&reply).unwrap().into_iter();
        let scores: Vec<_> = records.map(|record| Score::parse(record.fields.unwrap()).unwrap()).collect();
        of_last(&scores) == 2
    });
    let ticks = service.metric("feedplane_strategy_ticks_total").unwrap() - ticks_before;
    assert!(ticks > 100.0, "ticks went on: {ticks}");
    assert_eq!(scene.rig.length("order_instructions"), 0);
    assert_every_record_once(&scene.scores(), last);
    service.stop();
}

/// Each record has one acting and one shadow score, and acting versions go up.
fn assert_every_record_once(scores: &[Score], last: u64) {
    let (mut acting, mut shadow) = (BTreeMap::new(), BTreeMap::new());
    let mut before = 0;
    for score in scores {
        let role = if score.role == ScoreRole::Acting { &mut acting } else { &mut shadow };
        assert!(role.insert(score.number, score.version).is_none(), "{score:?} is a second one");
        assert!((score.score - score.version as f64).abs() < 1e-6, "{score:?} is of another version");
        if score.role == ScoreRole::Acting {
            assert!(score.version >= before, "{score:?} goes back");
            before = score.version;
        } else {
            assert_eq!(score.version, 1);
        }
    }
    let all: Vec<u64> = (1..=last).collect();
    assert_eq!(acting.keys().copied().collect::<Vec<_>>(), all);
    assert_eq!(shadow.keys().copied().collect::<Vec<_>>(), all);
    assert_eq!(before, 3);
}

fn refused(service: &Service, reason: &str) -> f64 {
    let name = format!("feedplane_strategy_refused_models_total{{model=\"es\",reason=\"{reason}\"}}");
    service.metric(&name).unwrap_or_default()
}

#[test]
fn a_version_that_cannot_be_served_is_refused_with_its_reason_and_the_one_in_force_goes_on() {
    let mut scene = Scene::new();
    push(&mut scene.rig, &version(1));
    let service = scene.rig.service("a");
    service.wait_for_log("in force");
    scene.start_records();
    scene.wait_for_version(1);

    let good = version(2);
    let sum = good.card().onnx_sha256.to_string();
    push_as(&mut scene.rig, 2, &sum, good.card_json(), &good.onnx()[1..]);
    service.wait_for_log("version 2 is refused: model.onnx has the SHA-256");
    push_as(&mut scene.rig, 3, &sum, good.card_json(), good.onnx());
    service
        .wait_for_log("version 3 is refused: card.json, name: es version 2, in the registry as es version 3");
    let onnx = bytes(&linear(&[1.0, 1.0]));
    let other = files(&card("es", 4, &schema("fast", &["ofi", "other"]), &onnx), onnx.clone());
    push(&mut scene.rig, &other);
    service.wait_for_log("version 4 is refused: input.schema_id: the model wants the features of schema");
    push_as(&mut scene.rig, 5, &sum, b"{", good.onnx());
    service.wait_for_log("version 5 is refused: card.json, line 1");
    let cut = onnx[..onnx.len() / 2].to_vec();
    push(&mut scene.rig, &files(&card("es", 6, &features(), &cut), cut));
    service.wait_for_log("version 6 is refused: model.onnx is no ONNX file");
    scene.rig.ask::<i64>(&["HSET", &model_versions_key("es"), "7", &sum]);
    service.wait_for_log("version 7 is refused: card.json, registry: model:es:7 lacks");
    scene.rig.wait("all of it is counted", |_| {
        refused(&service, "checksum") == 1.0
            && refused(&service, "schema") == 1.0
            && refused(&service, "card") == 3.0
            && refused(&service, "graph") == 1.0
    });
    scene.rig.wait("readiness says so", |_| service.get("/readyz").contains("version 1 goes on"));
    // What was refused is not read again and again.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(refused(&service, "graph"), 1.0);

    push(&mut scene.rig, &version(8));
    scene.wait_for_version(8);
    scene.rig.wait("it is ready", |_| service.get("/readyz").contains("200 OK"));
    scene.stop_records();
    let versions: std::collections::BTreeSet<_> = scene.scores().iter().map(|score| score.version).collect();
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), [1, 8]);
    service.stop();
}

#[test]
fn a_changed_document_asks_for_other_models_and_the_strategy_has_them_at_once() {
    let mut scene = Scene::new();
    push(&mut scene.rig, &version(1));
    push(&mut scene.rig, &version(2));
    let service = scene.rig.service("a");
    scene.start_records();
    scene.wait_for_version(2);
    // Back to a version by its number: the strategy is made anew, and only that may go back.
    scene.rig.more =
        scene.rig.more.replace("acting: {name: es, version: latest}", "acting: {name: es, version: 1}");
    scene.rig.more =
        scene.rig.more.replace("shadow: {name: es, version: 1}", "shadow: {name: es, version: latest}");
    scene.rig.document("a");
    service.signal(rustix::process::Signal::HUP);
    service.wait_for_log("the configuration is changed");
    scene.wait_for_version(1);
    scene.stop_records();
    let last = scene.scores();
    let roles: Vec<_> = last[last.len() - 2..].iter().map(|score| (score.role, score.version)).collect();
    assert_eq!(roles, [(ScoreRole::Acting, 1), (ScoreRole::Shadow, 2)]);
    service.stop();
}
