//! MDP 3.0, ns a book entry: `feed::Mdp3` against a decoder that `sbe_gen` generated.

use super::decode_all;
use crate::book;
use crate::corpus;
use crate::harness::{Contender, Effort, Kind, Metric, Row, Target, measure};
use anyhow::{Context, Result};
use feed::Mdp3;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use wire::mdp3::Schema;

const REFERENCE: &str = "sbe_gen 0.7.3";
/// CME Globex MDP 3.0.
const PUBLISHER: u16 = 1;
const CME_SCHEMA: &str = "cme_mdp3/Cme.Futures.Mdp3.Sbe.v1.6.xml";

/// Measures the metric.
pub(super) fn metric(effort: Effort) -> Result<Vec<Metric>> {
    let corpus = corpus::mdp3(effort.scaled(400_000))?;
    let generated = || -> Result<f64> {
        let began = Instant::now();
        for packet in &corpus.packets {
            book::walk(black_box(packet), &mut |entry| {
                black_box(entry);
            })
            .context("the generated decoder refused a packet")?;
        }
        Ok(began.elapsed().as_nanos() as f64 / corpus.items as f64)
    };
    let schema = match corpus::capture(CME_SCHEMA) {
        Some(path) => std::fs::read_to_string(path)?,
        None => book::SCHEMA.to_owned(),
    };
    let mut ours = Mdp3::new(PUBLISHER, 1, Arc::new(Schema::parse(&schema)?));
    let ours = || -> Result<f64> {
        let began = Instant::now();
        decode_all(&mut ours, &corpus.packets)?;
        Ok(began.elapsed().as_nanos() as f64 / corpus.items as f64)
    };
    let name = format!("MDP 3.0 book entries, {}", corpus.origin);
    let contenders = vec![
        Contender::new(
            Row::new(
                "feed::Mdp3",
                "any template, by a plan made from the XML at start; to ticks, prices in 1e-9, events marked",
            )
            .aiming(&[Target::Figure(30.0)]),
            ours,
        ),
        Contender::new(
            Row::new(REFERENCE, "one template, compiled in; every field of every entry as it is on the wire"),
            generated,
        ),
    ];
    Ok(measure(&[Kind::lower(&name, "ns/entry")], REFERENCE, effort, contenders))
}
