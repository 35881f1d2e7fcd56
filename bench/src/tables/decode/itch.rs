//! ITCH 5.0, ns a message: `feed::Itch50` against `itchy`.

use super::decode_all;
use crate::corpus::{self, ItchCorpus};
use crate::harness::{Contender, Effort, Kind, Metric, Row, Target, measure};
use anyhow::{Result, ensure};
use feed::Itch50;
use itchy::MessageStream;
use std::hint::black_box;
use std::time::Instant;

const REFERENCE: &str = "itchy 0.3.4";
/// Nasdaq TotalView-ITCH.
const PUBLISHER: u16 = 2;

/// Measures the metric.
pub(super) fn metric(effort: Effort) -> Result<Vec<Metric>> {
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
    let mut ours = Itch50::new(PUBLISHER, 1);
    let ours = || -> Result<f64> {
        let began = Instant::now();
        decode_all(&mut ours, &corpus.packets)?;
        Ok(began.elapsed().as_nanos() as f64 / corpus.items as f64)
    };
    let name = format!("ITCH 5.0 messages, {}", corpus.origin);
    let contenders = vec![
        Contender::new(
            Row::new(
                "feed::Itch50",
                "MoldUDP64 packets, framing checked; to ticks, prices in 1e-9, times in UTC",
            )
            .aiming(&[Target::Figure(20.0)]),
            ours,
        ),
        Contender::new(
            Row::new(
                REFERENCE,
                "the same messages as a byte stream, through its own 8 KiB buffer; to an enum of fields",
            ),
            itchy,
        ),
    ];
    Ok(measure(&[Kind::lower(&name, "ns/message")], REFERENCE, effort, contenders))
}
