//! `feedplane chain`: from a recording by order to a model that was traded with, on servers of its own.
//!
//! ```text
//! DBN file ─► Redis stream ─► features ─► Redis stream ─► archiver ─► PostgreSQL ─► trainer ─► model folder ─┐
//!      └──────────────────────────────────────────────────────────────────────────► backtest ◄──────────────┘
//! ```
//!
//! Who owns what: [`publish`] the way into the stream, [`world`] the servers and services, [`archive`] what must be in the archive,
//! [`documents`] the documents, [`summary`] the figures at the end. Training is the trainer's own program, the backtest that of
//! `feedplane backtest`.
//!
//! Invariant: every step knows by number when the one before is done. The features in the archive are as many as this process
//! calculated itself, and as many as the backtest calculates again; else the chain fails.

#![allow(clippy::print_stdout, reason = "progress lines are what is asked for")]

mod archive;
mod documents;
mod publish;
mod summary;
mod training;
mod world;

use crate::backtest::run_document;
use crate::play::stop_on_signals;
use anyhow::{Context, Result, bail, ensure};
use bus::config::PriceText;
use documents::Documents;
use publish::Recording;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use world::World;

const NOTES: &str = "\
Files in DIR:
  model/         what the trainer wrote: model.onnx, card.json, report.html, metrics.json
  backtest/      what `feedplane backtest` wrote: report.html, report.json, reports.jsonl, scores.jsonl
  *.yaml         the documents, to be changed and run again: feedplane backtest --config DIR/backtest.yaml --out …
  chain.json     the figures that are shown at the end

Exit codes:
  0  Done, whether or not the model is better than the baseline.
  1  An error, or stopped by a signal.
  2  The command line was not understood.";

/// Takes a DBN file of one instrument through stream, features, archive, training and backtest.
///
/// Redis, and PostgreSQL unless one is given, are private and gone at the end. The model is trained on the first three quarters of
/// the rows and traded in the last one.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// A DBN file of the schema `mbo` with one instrument.
    #[arg(long, value_name = "FILE")]
    dbn: PathBuf,
    /// Folder for what came of it: a new or an empty one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Smallest step of the instrument's price, which is not in such a file.
    #[arg(long, value_name = "PRICE", value_parser = above_zero)]
    tick_size: PriceText,
    /// What a point is worth.
    #[arg(long, value_name = "MULTIPLIER", value_parser = above_zero)]
    multiplier: PriceText,
    /// The trainer's program. In a clone: pipeline/trainer/feedplane-trainer.
    #[arg(long, value_name = "PROGRAM", default_value = "feedplane-trainer")]
    trainer: PathBuf,
    /// Keep the archive here instead: a PostgreSQL without an archive.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    training::must_be_there(&args.trainer)?;
    prepare(&args.out)?;
    let stop = stop_on_signals()?;
    let recording = Recording::read(&args.dbn, args.tick_size, args.multiplier)?;
    println!("recording   {}", recording.describe());
    let documents = Documents::new(args, &recording)?;
    let archived = archive_all(args, &recording, &documents, &stop)?;
    let model = args.out.join("model");
    documents.write_for_backtest(&args.out, training::trade_from_ns(&model)?)?;
    let backtest = args.out.join("backtest");
    println!("backtest    the model trades in the part that it was not trained on");
    run_document(&args.out.join("backtest.yaml"), &backtest, &stop)?;
    summary::write(&args.out, &recording, &archived)
}

/// Everything that needs servers: they are gone when this returns, however it does.
fn archive_all(
    args: &Args,
    recording: &Recording,
    documents: &Documents,
    stop: &Arc<AtomicBool>,
) -> Result<archive::Archived> {
    let world = World::start(documents, args.database.as_deref(), stop)?;
    println!("servers     {}", world.describe());
    let mut archive = archive::Archive::connect(world.database())?;
    if args.database.is_some() {
        archive.must_be_empty()?;
    }
    let features = publish::publish(recording, &documents.sets, world.redis(), stop)?;
    println!("stream      {} ticks published", recording.ticks.len());
    let archived = archive.wait(recording.ticks.len() as u64, features, || {
        ensure_going(stop)?;
        world.must_be_well()
    })?;
    println!("archive     {} ticks, {} records of features", archived.ticks, archived.features);
    let config = world.path("train.yaml");
    documents.write_for_training(world.database(), &config)?;
    training::train(&args.trainer, &config, &args.out.join("model"), stop)?;
    Ok(archived)
}

fn ensure_going(stop: &AtomicBool) -> Result<()> {
    ensure!(!stop.load(Ordering::Relaxed), "stopped, as asked");
    Ok(())
}

/// Nothing is written over.
fn prepare(out: &Path) -> Result<()> {
    let named = || out.display().to_string();
    std::fs::create_dir_all(out).with_context(named)?;
    if std::fs::read_dir(out).with_context(named)?.next().is_some() {
        bail!("{} is not empty: choose another folder, or remove it", named());
    }
    Ok(())
}

fn above_zero(text: &str) -> Result<PriceText, String> {
    let price = PriceText::try_from(text.to_owned())?;
    if price.0.is_defined() && price.0.0 > 0 { Ok(price) } else { Err("is not above 0".into()) }
}
