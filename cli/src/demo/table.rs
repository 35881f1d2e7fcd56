//! The live table: one row for each channel, rates since the row before.

use anyhow::Result;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

/// Without a terminal a table is printed every fourth time, and below the last one.
const EVERY_WITHOUT_TERMINAL: u32 = 4;

pub(super) struct Table {
    terminal: bool,
    turn: u32,
    lines: usize,
    before: Option<Counts>,
}

struct Counts {
    time_ns: u64,
    packets: u64,
    published: u64,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { terminal: std::io::stdout().is_terminal(), turn: 0, lines: 0, before: None }
    }

    pub(super) fn show(&mut self, status: &Value, services: &str) -> Result<()> {
        self.turn += 1;
        if !self.terminal && self.turn % EVERY_WITHOUT_TERMINAL != 1 {
            return Ok(());
        }
        let text = format!("{}{:>12}{services}\n", self.text(status), "");
        let mut out = std::io::stdout().lock();
        if self.terminal && self.lines > 0 {
            // Up over the table before, and clear to the end of the screen.
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        self.lines = text.lines().count();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    fn text(&mut self, status: &Value) -> String {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let mut text = String::new();
        let _ = writeln!(
            text,
            "  {:<16}{:>11}{:>11}{:>8}{:>8}{:>11}{:>7}{:>8}{:>11}",
            "channel", "packets A", "packets B", "won A", "won B", "duplicates", "gaps", "lost", "lead p50"
        );
        let mut packets = 0;
        let channels = status["workers"][0]["channels"].as_array().map_or(&[][..], Vec::as_slice);
        for channel in channels {
            let (a, b) = (&channel["a"], &channel["b"]);
            packets += number(&a["packets"]) + number(&b["packets"]);
            let won = number(&a["won"]) + number(&b["won"]);
            let share = |line: &Value| format!("{} %", number(&line["won"]) * 100 / won.max(1));
            let lead_ns = number(&a["lead_ns"]["p50"]).max(number(&b["lead_ns"]["p50"]));
            let _ = writeln!(
                text,
                "  {:<16}{:>11}{:>11}{:>8}{:>8}{:>11}{:>7}{:>8}{:>11}",
                channel["name"].as_str().unwrap_or("?"),
                number(&a["packets"]),
                number(&b["packets"]),
                share(a),
                share(b),
                number(&a["duplicates"]) + number(&b["duplicates"]),
                number(&channel["gaps"]),
                number(&channel["lost"]),
                format!("{:.1} µs", lead_ns as f64 / 1e3),
            );
        }
        self.totals(&mut text, status, packets);
        text
    }

    fn totals(&mut self, text: &mut String, status: &Value, packets: u64) {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let publisher = &status["publisher"];
        let now = Counts {
            time_ns: number(&status["time_ns"]),
            packets,
            published: number(&publisher["published"]),
        };
        let rate = |of: fn(&Counts) -> u64| {
            self.before.as_ref().map_or(0.0, |before| {
                let seconds = now.time_ns.saturating_sub(before.time_ns) as f64 / 1e9;
                (of(&now).saturating_sub(of(before))) as f64 / seconds.max(1e-3)
            })
        };
        let (packet_rate, tick_rate) = (rate(|counts| counts.packets), rate(|counts| counts.published));
        let _ = writeln!(
            text,
            "  {packet_rate:>10.0} packets/s in, {tick_rate:.0} ticks/s to Redis; waiting {}, drops {}; \
             wire to Redis p50 {:.0} µs, p99 {:.0} µs",
            number(&publisher["waiting"]),
            drops(&status["workers"][0]),
            number(&publisher["latency"]["p50_ns"]) as f64 / 1e3,
            number(&publisher["latency"]["p99_ns"]) as f64 / 1e3,
        );
        self.before = Some(now);
    }
}

/// Packets and ticks that were lost on this machine, for whatever reason; bad checksums among them.
fn drops(worker: &Value) -> u64 {
    let receiver = &worker["receiver"];
    let own = ["bad_checksum", "foreign", "socket_overflow", "oversized"];
    let kernel = ["rx_dropped", "rx_ring_full"];
    let sum = |of: &Value, names: &[&str]| names.iter().filter_map(|name| of[*name].as_u64()).sum::<u64>();
    let sockets = receiver["sockets"].as_array().map_or(&[][..], Vec::as_slice);
    sum(receiver, &own)
        + sockets.iter().map(|socket| sum(socket, &kernel)).sum::<u64>()
        + worker["handover"]["ring_full"].as_u64().unwrap_or(0)
}
