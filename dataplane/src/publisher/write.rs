//! One write to Redis: a transaction of entries, positions and instrument rows, as bytes, with what is
//! needed to account for it when it is carried out and to recognise it when that is in doubt.

use super::resp;
use bus::{Entry, InstrumentRow, WriteId};
use tick::{GapReason, Instrument, Tick};

/// What a write says about one entry in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenEntry {
    /// Index of the channel.
    pub(super) channel: usize,
    /// Last sequence number covered.
    pub(super) last: u64,
    /// Ticks in it; 0 for a gap or for a range without ticks.
    pub(super) ticks: u32,
    /// How many sequence numbers it declares missing, and why.
    pub(super) declared: Option<(u64, GapReason)>,
    /// `ts_recv` of its oldest tick, ns; 0 = none.
    pub(super) oldest_ns: u64,
}

/// A transaction. Buffers are kept from one use to the next.
#[derive(Default)]
pub(super) struct Write {
    pub(super) id: WriteId,
    pub(super) bytes: Vec<u8>,
    /// How much of `bytes` the socket has taken.
    pub(super) sent: usize,
    /// Commands between MULTI and EXEC.
    pub(super) commands: usize,
    pub(super) entries: Vec<WrittenEntry>,
    /// Shard and channel id whose stored position tells whether the write was carried out; none when it
    /// holds instrument rows only, which may be written twice.
    pub(super) witness: Option<(u16, u16)>,
    pub(super) instruments: usize,
}

impl Write {
    pub(super) fn clear(&mut self) {
        let Write { bytes, entries, .. } = self;
        bytes.clear();
        entries.clear();
        let (bytes, entries) = (std::mem::take(bytes), std::mem::take(entries));
        *self = Write { bytes, entries, ..Write::default() };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// Replies that Redis gives: to MULTI, to each command, to EXEC.
    pub(super) fn replies(&self) -> usize {
        self.commands + 2
    }

    /// Begins a command of `count` arguments.
    pub(super) fn begin(&mut self, count: usize) {
        if self.commands == 0 {
            resp::command(&mut self.bytes, &[b"MULTI"]);
        }
        self.commands += 1;
        resp::begin(&mut self.bytes, count);
    }

    pub(super) fn argument(&mut self, bytes: &[u8]) {
        resp::argument(&mut self.bytes, bytes);
    }

    pub(super) fn finish(&mut self) {
        resp::command(&mut self.bytes, &[b"EXEC"]);
    }

    /// Adds an entry. `to` is the beginning of the XADD command for its shard.
    pub(super) fn entry(&mut self, to: &XaddTo, channel: usize, entry: &Entry<'_>, ticks: &[Tick]) {
        self.begin(XaddTo::ARGUMENTS + 2 * entry.field_count());
        self.bytes.extend_from_slice(&to.arguments);
        let bytes = &mut self.bytes;
        entry.for_each_field(|name, value| {
            resp::argument(bytes, name.as_bytes());
            resp::argument(bytes, value);
        });
        self.entries.push(WrittenEntry {
            channel,
            last: entry.last,
            ticks: ticks.len() as u32,
            declared: None,
            oldest_ns: ticks.iter().map(|tick| tick.ts_recv).min().unwrap_or(0),
        });
    }

    /// Adds a gap's entry; `count` it in one shard only.
    pub(super) fn gap(&mut self, to: &XaddTo, channel: usize, entry: &Entry<'_>, count: bool) {
        self.entry(to, channel, entry, &[]);
        if let (bus::Content::Gap(why), Some(written)) = (entry.content, self.entries.last_mut())
            && count
        {
            written.declared = Some(((entry.last - entry.first).saturating_add(1), why));
        }
    }

    /// Adds an instrument's row.
    pub(super) fn instrument(&mut self, instrument: &Instrument) {
        self.begin(4);
        self.argument(b"HSET");
        self.argument(bus::names::instruments_key(instrument.publisher_id).as_bytes());
        self.argument(instrument.instrument_id.to_string().as_bytes());
        self.argument(InstrumentRow::from(instrument).to_json().as_bytes());
        self.instruments += 1;
    }
}

/// The beginning of the XADD command for one stream, encoded once.
pub(super) struct XaddTo {
    arguments: Vec<u8>,
}

impl XaddTo {
    /// `XADD key MAXLEN ~ n *`.
    const ARGUMENTS: usize = 6;

    pub(super) fn new(stream: &str, entries_max: u64) -> XaddTo {
        let mut arguments = Vec::new();
        let max = entries_max.to_string();
        for bytes in [b"XADD", stream.as_bytes(), b"MAXLEN", b"~", max.as_bytes(), b"*"] {
            resp::argument(&mut arguments, bytes);
        }
        XaddTo { arguments }
    }
}
