//! ITCH 5.0, ns a message: `feed::Itch50` against `itchy`.

use crate::corpus::{self, ItchCorpus};
use crate::harness::{Better, Contender, Effort, Metric, Row, measure};
use anyhow::{Result, ensure};
use itchy::MessageStream;
use std::hint::black_box;
use std::time::Instant;

/// Measures the metric.
pub(super) fn metric(effort: Effort) -> Result<Metric> {
    let ItchCorpus { corpus, file } = corpus::itch(effort.scaled(400_000))?;
    let itchy = || -> Result<f64> {
        let began = Instant::now();
        let mut messages = 0;
        for message in MessageStream::from_reader(file.as_slice()) {
            black_box(message?);
            messages += 1;
        }
        ensure!(messages == corpus.items, "itchy gave {messages} of {} messages", corpus.items);
        Ok(began.elapsed().as_nanos() as f64 / corpus.items as f64)
    };
    let name = format!("ITCH 5.0 messages, {}", corpus.origin);
    let contenders = vec![Contender::new(
        Row::new(
            "itchy 0.3.4",
            "reads a byte stream through its own 8 KiB buffer into an enum; no framing by packet, no ticks",
        ),
        itchy,
    )];
    Ok(measure(&name, "ns/message", Better::Lower, "itchy 0.3.4", effort, contenders))
}
