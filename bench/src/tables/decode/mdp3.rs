//! MDP 3.0, ns a book entry: `feed::Mdp3` against a decoder that `sbe_gen` generated.

use crate::book;
use crate::corpus;
use crate::harness::{Better, Contender, Effort, Metric, Row, measure};
use anyhow::{Context, Result};
use std::hint::black_box;
use std::time::Instant;

/// Measures the metric.
pub(super) fn metric(effort: Effort) -> Result<Metric> {
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
    let name = format!("MDP 3.0 book entries, {}", corpus.origin);
    let contenders = vec![Contender::new(
        Row::new(
            "sbe_gen 0.7.3",
            "one template compiled in; reads every field of every entry, no normalisation",
        ),
        generated,
    )];
    Ok(measure(&name, "ns/entry", Better::Lower, "sbe_gen 0.7.3", effort, contenders))
}
