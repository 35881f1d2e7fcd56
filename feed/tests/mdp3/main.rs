//! MDP 3.0 to ticks: what each entry becomes, where events end, what is refused, and CME's own packets.

#[path = "../../../wire/tests/mdp3/capture.rs"]
mod capture;
mod damage;
mod entries;
mod events;
mod headers;
mod real;
mod trades;

use feed::{Delivery, Malformed, MalformedReason, Mdp3, Protocol, Sink, Stamp};
use std::sync::{Arc, LazyLock};
use tick::{Clock, ClockSource, Flags, Instrument, Source, Tick};
use wire::mdp3::encode::{BookEntry, END_OF_EVENT, EncodeError, MessageWriter, PacketWriter};
use wire::mdp3::{FIXTURE, Schema, Value};

const PUBLISHER: u16 = 1;
const CHANNEL: u16 = 310;
const SEND_NS: u64 = 1_700_000_000_000_000_000;
const EVENT_NS: u64 = SEND_NS - 5_000;
const RECV_NS: u64 = SEND_NS + 1_234;

/// What came out of a decoder.
#[derive(Default, Debug, PartialEq)]
struct Output {
    ticks: Vec<Tick>,
    instruments: Vec<Instrument>,
    malformed: Vec<Malformed>,
}

impl Sink for Output {
    fn tick(&mut self, tick: &Tick) {
        self.ticks.push(*tick);
    }
    fn instrument(&mut self, instrument: &Instrument) {
        self.instruments.push(*instrument);
    }
}

fn fixture() -> Arc<Schema> {
    static SCHEMA: LazyLock<Arc<Schema>> =
        LazyLock::new(|| Arc::new(Schema::parse(FIXTURE).expect("the project's own template file")));
    SCHEMA.clone()
}

fn decoder() -> Mdp3 {
    Mdp3::new(PUBLISHER, CHANNEL, fixture())
}

/// Delivers a packet, its header checked, with the given flags.
fn deliver_flagged(decoder: &mut Mdp3, payload: &[u8], flags: Flags, output: &mut Output) {
    let header = decoder.header(payload).expect("whole framing");
    let delivery = Delivery {
        payload,
        header,
        sequence: header.first + (7 << 32),
        skip: 0,
        take: 1,
        source: Source::B,
        stamp: Stamp { recv_ns: RECV_NS, clock: Clock::new(ClockSource::Hardware, true) },
        flags,
    };
    let mut malformed = Vec::new();
    decoder.decode(&delivery, output, &mut |fault| malformed.push(fault));
    output.malformed.extend(malformed);
}

fn deliver(decoder: &mut Mdp3, payload: &[u8], output: &mut Output) {
    deliver_flagged(decoder, payload, Flags::NONE, output);
}

/// A packet of our own file, numbered 100.
fn packet(write: impl FnOnce(&mut PacketWriter<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let schema = fixture();
    let mut packet = PacketWriter::new(&schema);
    packet.begin(100, SEND_NS);
    write(&mut packet).expect("can be written");
    packet.bytes().to_vec()
}

/// Adds a message of template `id` to a packet: its root block by name, then one group's entries.
fn raw(
    packet: &mut PacketWriter<'_>,
    id: u16,
    root: &[(&str, Value<'_>)],
    entries: &[&[(&str, Value<'_>)]],
) -> Result<(), EncodeError> {
    let template = packet.schema().template(id).expect("in the file");
    let mut message = packet.message(template);
    let set = |message: &mut MessageWriter<'_>, fields: &[(&str, Value<'_>)]| {
        fields.iter().try_for_each(|&(name, value)| message.set(name, value).map(drop))
    };
    set(&mut message, root)?;
    if !template.groups.is_empty() {
        message.group("NoMDEntries", entries.len())?;
        for (index, entry) in entries.iter().enumerate() {
            set(message.entry(index), entry)?;
        }
    }
    message.finish()
}

/// TransactTime and MatchEventIndicator of a message that ends its event.
const ROOT: [(&str, Value<'static>); 2] =
    [("TransactTime", Value::UInt(EVENT_NS)), ("MatchEventIndicator", Value::UInt(END_OF_EVENT as u64))];

/// What a packet becomes in a decoder that has seen nothing before.
fn decoded(payload: &[u8]) -> Output {
    let mut output = Output::default();
    deliver(&mut decoder(), payload, &mut output);
    output
}

/// The ticks of a packet in which nothing is refused.
fn ticks(payload: &[u8]) -> Vec<Tick> {
    let output = decoded(payload);
    assert_eq!(output.malformed, []);
    output.ticks
}

/// What every tick of `packet` has.
const BASE: Tick = Tick {
    ts_event: EVENT_NS,
    ts_recv: RECV_NS,
    sequence: 100 + (7 << 32),
    ts_in_delta: 1_234,
    publisher_id: PUBLISHER,
    channel_id: CHANNEL,
    source: Source::B,
    clock: Clock::new(ClockSource::Hardware, true),
    ..Tick::EMPTY
};

const LEVEL: BookEntry = BookEntry {
    price: Some(12_500_000_000),
    size: 17,
    security_id: 42,
    rpt_seq: 9,
    number_of_orders: 3,
    level: 2,
    update_action: 0,
    entry_type: b'0',
};

const LAST_LEVEL: Flags = Flags(Flags::LAST.0 | Flags::MBP.0);

fn bad_value(offset: usize) -> Malformed {
    Malformed { reason: MalformedReason::BadValue, offset: offset as u32 }
}
