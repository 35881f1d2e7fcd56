//! Ticks as text: one CSV line or one JSON object each, with the names and units of the [`Tick`]'s fields.
//!
//! Numbers are the tick's own integers (price in 1e-9 units, times in ns), so that nothing is rounded. An
//! undefined price is an empty column or `null`. The ASCII codes are printed as their letters.

use serde::Serialize;
use std::io::{self, Write};
use tick::{Price, Tick};

/// How ticks are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum RowFormat {
    /// Comma-separated, with a header line.
    Csv,
    /// One JSON object a line.
    Json,
}

const CSV_HEADER: &str = "channel,ts_event,ts_recv,sequence,order_id,price,size,instrument_id,ts_in_delta,\
                          publisher_id,channel_id,action,side,flags,depth,source,clock";

#[derive(Serialize)]
struct Row<'a> {
    channel: &'a str,
    ts_event: u64,
    ts_recv: u64,
    sequence: u64,
    order_id: u64,
    price: Option<i64>,
    size: u32,
    instrument_id: u32,
    ts_in_delta: i32,
    publisher_id: u16,
    channel_id: u16,
    action: char,
    side: char,
    flags: u8,
    depth: u8,
    source: char,
    clock: u8,
}

impl<'a> Row<'a> {
    fn new(channel: &'a str, tick: &Tick) -> Row<'a> {
        Row {
            channel,
            ts_event: tick.ts_event,
            ts_recv: tick.ts_recv,
            sequence: tick.sequence,
            order_id: tick.order_id,
            price: (tick.price() != Price::UNDEFINED).then_some(tick.price),
            size: tick.size,
            instrument_id: tick.instrument_id,
            ts_in_delta: tick.ts_in_delta,
            publisher_id: tick.publisher_id,
            channel_id: tick.channel_id,
            action: char::from(tick.action.0),
            side: char::from(tick.side.0),
            flags: tick.flags.0,
            depth: tick.depth,
            source: char::from(tick.source.0),
            clock: tick.clock.0,
        }
    }
}

/// Writes ticks as rows.
pub(super) struct Rows<W> {
    out: W,
    format: RowFormat,
}

impl<W: Write> Rows<W> {
    /// Begins the output; CSV's header line is written at once.
    pub(super) fn new(mut out: W, format: RowFormat) -> io::Result<Rows<W>> {
        if format == RowFormat::Csv {
            writeln!(out, "{CSV_HEADER}")?;
        }
        Ok(Rows { out, format })
    }

    /// Writes one row. `channel` is a feed's name, which holds no character that CSV would quote.
    pub(super) fn write(&mut self, channel: &str, tick: &Tick) -> io::Result<()> {
        let row = Row::new(channel, tick);
        match self.format {
            RowFormat::Csv => self.write_csv(&row),
            RowFormat::Json => {
                serde_json::to_writer(&mut self.out, &row)?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn write_csv(&mut self, row: &Row<'_>) -> io::Result<()> {
        let out = &mut self.out;
        write!(out, "{},{},{},{},{},", row.channel, row.ts_event, row.ts_recv, row.sequence, row.order_id)?;
        if let Some(price) = row.price {
            write!(out, "{price}")?;
        }
        write!(out, ",{},{},{},", row.size, row.instrument_id, row.ts_in_delta)?;
        write!(out, "{},{},{},{},", row.publisher_id, row.channel_id, row.action, row.side)?;
        writeln!(out, "{},{},{},{}", row.flags, row.depth, row.source, row.clock)
    }

    /// Passes on what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tick::{Action, Clock, ClockSource, Flags, GapReason, Side, Source};

    fn text(format: RowFormat, ticks: &[Tick]) -> String {
        let mut bytes = Vec::new();
        let mut rows = Rows::new(&mut bytes, format).unwrap();
        for tick in ticks {
            rows.write("es", tick).unwrap();
        }
        String::from_utf8(bytes).unwrap()
    }

    fn trade() -> Tick {
        Tick {
            ts_event: 1,
            ts_recv: 2,
            sequence: 3,
            order_id: 4,
            price: -5,
            size: 6,
            instrument_id: 7,
            ts_in_delta: -8,
            publisher_id: 9,
            channel_id: 10,
            action: Action::Trade,
            side: Side::Bid,
            flags: Flags::LAST,
            depth: 11,
            source: Source::B,
            clock: Clock::new(ClockSource::Capture, false),
            reserved: 0,
        }
    }

    #[test]
    fn csv_has_a_column_for_each_name_in_its_header() {
        let text = text(RowFormat::Csv, &[trade(), Tick::gap(1, 2, 5, 9, 77, GapReason::Lost)]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert!(lines.iter().all(|columns| columns.len() == 17), "{text}");
        assert_eq!(text.lines().nth(1).unwrap(), "es,1,2,3,4,-5,6,7,-8,9,10,T,B,128,11,B,5");
    }

    #[test]
    fn an_undefined_price_is_empty_in_csv_and_null_in_json() {
        let gap = Tick::gap(1, 2, 5, 9, 77, GapReason::Lost);
        assert!(text(RowFormat::Csv, &[gap]).lines().nth(1).unwrap().starts_with("es,0,77,5,9,,0,"));
        let json: serde_json::Value = serde_json::from_str(&text(RowFormat::Json, &[gap])).unwrap();
        assert!(json["price"].is_null());
    }

    #[test]
    fn json_and_csv_name_the_same_fields_in_the_same_order() {
        let json = text(RowFormat::Json, &[trade()]);
        let names: Vec<&str> = CSV_HEADER.split(',').collect();
        let mut at = 0;
        for name in names {
            let found =
                json[at..].find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {json}"));
            at += found;
        }
    }
}
