//! `feedplane model push`, `list`, `show`: the registry of trained models in Redis.
//!
//! A folder is checked as the strategy process checks it before it trades on it, and written in one step: a version is either
//! there, whole, or not. What is there is never changed: a version with another sum is refused. The contract is
//! `docs/models.md`.

use crate::trading::{Redis, connect};
use anyhow::{Context, Result, bail, ensure};
use bus::names::{FEATURE_SCHEMAS, model_key, model_versions_key};
use bus::{
    FeatureSchema, MODEL_NAME_BYTES_MAX, MODEL_ONNX_BYTES_MAX, MissingFeature, ModelCard, ModelFiles,
    Sha256Sum,
};
use clap::{Subcommand, ValueEnum};
use redis::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use strategy::models::Model;

/// Longest wait for Redis: it takes and gives a model of 64 MiB in a fraction of it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Keys that Redis looks at in one step of a search.
const KEYS_A_STEP: usize = 1_000;

/// Writes a version unless it is there: KEYS versions, model; ARGV version, sum, card, onnx. Gives the sum that is there,
/// and whether it was written.
const PUSH: &str = "local there = redis.call('HGET', KEYS[1], ARGV[1])
if there and (there ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], 'onnx') == 1) then return {there, 0} end
redis.call('HSET', KEYS[2], 'card', ARGV[3], 'onnx', ARGV[4])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {ARGV[2], 1}";

/// What is to be done with models.
#[derive(Subcommand)]
pub(crate) enum ModelCommand {
    Push(PushArgs),
    List(ListArgs),
    Show(ShowArgs),
}

/// Checks a model's folder and writes it to the registry, once for ever.
///
/// Strategies that ask for `latest` serve it within seconds, if it is the highest version. A version that is there with
/// another file is refused; one that is there with the same file is left as it is.
#[derive(clap::Args)]
pub(crate) struct PushArgs {
    /// The folder, with card.json and model.onnx.
    folder: PathBuf,
    #[command(flatten)]
    shared: Shared,
}

/// Lists the models of the registry with their versions.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    shared: Shared,
}

/// Shows a version's card, and checks the version as a strategy does.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The model.
    name: String,
    /// Its version; the highest when left out.
    version: Option<u64>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(clap::Args)]
struct Shared {
    #[command(flatten)]
    redis: Redis,
    /// How the answer is written.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

pub(crate) fn run(command: &ModelCommand) -> Result<()> {
    match command {
        ModelCommand::Push(args) => push(args),
        ModelCommand::List(args) => list(args),
        ModelCommand::Show(args) => show(args),
    }
}

fn put(shared: &Shared, value: &Value, text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match shared.output {
        Format::Json => writeln!(out, "{value}")?,
        Format::Text => write!(out, "{text}")?,
    }
    Ok(())
}

fn push(args: &PushArgs) -> Result<()> {
    let refused = || format!("{} is refused", args.folder.display());
    let files = ModelFiles::load(&args.folder).with_context(refused)?;
    let model = Model::new(&files).with_context(refused)?;
    let mut connection = connect(&args.shared.redis, ANSWER_WITHIN, "")?;
    let (card, sum) = (files.card(), files.card().onnx_sha256.to_string());
    let mut script = redis::cmd("EVAL");
    script.arg(PUSH).arg(2).arg(model_versions_key(&card.name)).arg(model_key(&card.name, card.version));
    script.arg(card.version).arg(&sum).arg(files.card_json()).arg(files.onnx());
    let (there, written): (String, bool) = script.query(&mut connection).context("writing the registry")?;
    ensure!(
        there == sum,
        "{} version {} is there with another file (SHA-256 {there}, this one {sum}); a version is never used \
         twice: give this model the next one",
        card.name,
        card.version
    );
    if let Err(why) = model.check_schemas(&published(&mut connection)?) {
        eprintln!("feedplane: no strategy will serve it as things are: {why}");
    }
    let what = if written { "written" } else { "was there" };
    let text = format!("{} version {}: {what} ({}, SHA-256 {sum})\n", card.name, card.version, model.kind());
    let value = json!({"name": card.name, "version": card.version, "onnx_sha256": sum, "written": written});
    put(&args.shared, &value, &text)
}

/// What feature services have published.
fn published(connection: &mut Connection) -> Result<Vec<FeatureSchema>> {
    let schemas: BTreeMap<String, String> = redis::cmd("HGETALL")
        .arg(FEATURE_SCHEMAS)
        .query(connection)
        .context("reading the feature schemas")?;
    Ok(schemas.values().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

/// A model's versions, lowest first.
fn versions(connection: &mut Connection, name: &str) -> Result<BTreeMap<u64, String>> {
    let versions: BTreeMap<String, String> = redis::cmd("HGETALL")
        .arg(model_versions_key(name))
        .query(connection)
        .with_context(|| format!("reading the versions of {name}"))?;
    Ok(versions.into_iter().filter_map(|(version, sum)| Some((version.parse().ok()?, sum))).collect())
}

fn list(args: &ListArgs) -> Result<()> {
    let mut connection = connect(&args.shared.redis, ANSWER_WITHIN, "")?;
    let prefix = model_versions_key("");
    let mut names = BTreeSet::new();
    let mut cursor = 0u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(KEYS_A_STEP);
        let (next, keys): (u64, Vec<String>) = scan.query(&mut connection).context("looking for models")?;
        names.extend(keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned));
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let (mut text, mut models) = (String::new(), Vec::new());
    for name in names {
        let versions = versions(&mut connection, &name)?;
        let numbers: Vec<_> = versions.keys().map(u64::to_string).collect();
        text += &format!("{name:<32} {}\n", numbers.join(" "));
        let versions = versions.iter().map(|(version, sum)| json!({"version": version, "onnx_sha256": sum}));
        models.push(json!({"name": name, "versions": versions.collect::<Vec<_>>()}));
    }
    if text.is_empty() {
        "no model is in the registry; `feedplane model push DIR` writes one\n".clone_into(&mut text);
    }
    put(&args.shared, &Value::Array(models), &text)
}

fn show(args: &ShowArgs) -> Result<()> {
    let name = &args.name;
    ensure!(
        !name.is_empty() && name.len() <= MODEL_NAME_BYTES_MAX,
        "{name:?} is no model's name: at most {MODEL_NAME_BYTES_MAX} letters, digits, `-`, `_`"
    );
    let mut connection = connect(&args.shared.redis, ANSWER_WITHIN, "")?;
    let versions = versions(&mut connection, name)?;
    let version = args.version.or_else(|| versions.keys().next_back().copied());
    let known = version.and_then(|version| Some((version, versions.get(&version)?)));
    let Some((version, sum)) = known else {
        let numbers: Vec<_> = versions.keys().map(u64::to_string).collect();
        match numbers.is_empty() {
            true => {
                bail!("no model {name:?} is in the registry; `feedplane model list` shows those that are")
            }
            false => {
                bail!("model {name:?} has no version {}; it has {}", version.unwrap_or(0), numbers.join(", "))
            }
        }
    };
    let key = model_key(name, version);
    let bytes: u64 = redis::cmd("HSTRLEN").arg(&key).arg("onnx").query(&mut connection)?;
    ensure!(
        bytes <= MODEL_ONNX_BYTES_MAX as u64,
        "{key} holds {bytes} bytes; a model has {MODEL_ONNX_BYTES_MAX}"
    );
    let (card, onnx): (Option<Vec<u8>>, Option<Vec<u8>>) =
        redis::cmd("HMGET").arg(&key).arg("card").arg("onnx").query(&mut connection)?;
    let (Some(card), Some(onnx)) = (card, onnx) else { bail!("{key} lacks `card` or `onnx`; push it again") };
    let card_json: Value = serde_json::from_slice(&card).unwrap_or_default();
    let files = ModelFiles::new(card, onnx);
    let problem = match &files {
        Err(error) => Some(error.to_string()),
        Ok(files) => problem(files, sum, &published(&mut connection)?),
    };
    let mut text = format!("{name} version {version}, {bytes} bytes, SHA-256 {sum}\n");
    if let Ok(files) = &files {
        text += &about(files.card());
    }
    text += &match &problem {
        None => "  can be served\n".to_owned(),
        Some(problem) => format!("  CANNOT be served: {problem}\n"),
    };
    let value = json!({
        "name": name, "version": version, "onnx_sha256": sum, "bytes": bytes, "card": card_json, "problem": problem
    });
    put(&args.shared, &value, &text)
}

/// Why a version would not be served.
fn problem(files: &ModelFiles, sum: &str, schemas: &[FeatureSchema]) -> Option<String> {
    let said: Option<Sha256Sum> = sum.parse().ok();
    if said != Some(files.card().onnx_sha256) {
        return Some(format!("the registry says SHA-256 {sum}, the card {}", files.card().onnx_sha256));
    }
    let checked = Model::new(files).and_then(|model| model.check_schemas(schemas));
    checked.err().map(|error| error.to_string())
}

/// A card for people.
fn about(card: &ModelCard) -> String {
    let (input, output) = (&card.input, &card.output);
    let missing = match input.missing {
        MissingFeature::Skip => "a missing one means no score",
        MissingFeature::Nan => "missing ones are scored",
    };
    let mut text = format!(
        "  from    {} features of set {} (schema {:016x}), {missing}:\n            {}\n  gives   the expected change of the \
         middle over {} ms, in basis points\n",
        input.features.len(),
        input.set,
        input.schema_id,
        input.features.join(", "),
        output.horizon_ms
    );
    for (what, values) in [
        ("data", &card.trained.data),
        ("metrics", &card.trained.metrics),
        ("versions", &card.trained.versions),
    ] {
        text += &format!("  {what:<7} {}\n", Value::Object(values.clone()));
    }
    text + &format!("  seed    {}\n", card.trained.seed)
}
