//! The bytes that decoders are measured on: drawn from real captures where `FEEDPLANE_CAPTURES` has them,
//! made here otherwise.
//!
//! Messages are drawn at random, with a fixed seed, into a run long enough that a branch predictor cannot
//! learn it by heart: a loop over a few real messages would flatter every decoder.

use crate::book;
use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use venue::capture::Capture;
use wire::itch50::{self, Frames, Price4, alpha};
use wire::moldudp64::PacketWriter;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::{U32, U64};

/// Largest UDP payload made, bytes: an Ethernet frame's worth.
const PAYLOAD_BYTES: usize = 1_400;
const SEED: u64 = 20_191_230;

/// Packets and what is in them.
pub struct Corpus {
    /// UDP payloads, in sequence.
    pub packets: Vec<Vec<u8>>,
    /// Messages or entries in all of them.
    pub items: usize,
    /// Where they are from, in a few words.
    pub origin: &'static str,
}

/// ITCH 5.0: MoldUDP64 packets, and the same messages in file framing (length, message).
pub struct ItchCorpus {
    /// The packets.
    pub corpus: Corpus,
    /// The messages one behind the other, each with its length in front.
    pub file: Vec<u8>,
}

/// `count` messages, drawn from the real minute of trading or from a made one with the same mix.
///
/// # Errors
/// A capture cannot be read.
pub fn itch(count: usize) -> Result<ItchCorpus> {
    let real = capture("nasdaq_itch50/12302019_SNIPPET.NASDAQ_ITCH50");
    let (pool, origin) = match &real {
        Some(path) => {
            let file = std::fs::read(path).with_context(|| path.display().to_string())?;
            let messages =
                Frames::new(&file).filter_map(|message| message.ok().map(<[u8]>::to_vec)).collect();
            (messages, "drawn from 1,000 real messages")
        }
        None => (itch_pool(), "generated in the mix of a real minute"),
    };
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let drawn: Vec<&[u8]> = (0..count).map(|_| pool[random.random_range(0..pool.len())].as_slice()).collect();
    let mut file = Vec::new();
    for message in &drawn {
        file.extend_from_slice(&u16::try_from(message.len())?.to_be_bytes());
        file.extend_from_slice(message);
    }
    Ok(ItchCorpus { corpus: Corpus { packets: mold_packets(&drawn)?, items: count, origin }, file })
}

fn mold_packets(messages: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    let mut at = 0;
    while at < messages.len() {
        let mut buffer = [0; PAYLOAD_BYTES];
        let mut writer = PacketWriter::new(&mut buffer, *b"0000000001", at as u64 + 1)?;
        while at < messages.len() && writer.push(messages[at]).is_ok() {
            at += 1;
        }
        packets.push(writer.finish().to_vec());
    }
    Ok(packets)
}

/// A thousand messages in the mix of the real ones: A 37 %, U 23 %, F 19 %, D 17 %, E 3 %, X 1 %.
fn itch_pool() -> Vec<Vec<u8>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    (0..1000).map(|_| itch_message(&mut random)).collect()
}

fn itch_message(random: &mut ChaCha8Rng) -> Vec<u8> {
    let (locate, ns) =
        (random.random_range(1..9000), random.random_range(34_200_000_000_000..57_600_000_000_000));
    let order_reference = U64::new(random.random());
    let shares = U32::new(random.random_range(1..5000));
    let price = Price4::new(random.random_range(10_000..5_000_000));
    let (side, stock) = (if random.random() { b'B' } else { b'S' }, alpha("FEEDPLN"));
    match random.random_range(0..100) {
        0..37 => {
            let head = itch50::AddOrder::head(locate, 0, ns);
            itch50::AddOrder { head, order_reference, side, shares, stock, price }.as_bytes().to_vec()
        }
        37..56 => {
            let (head, attribution) = (itch50::AddOrderMpid::head(locate, 0, ns), alpha("FEED"));
            itch50::AddOrderMpid { head, order_reference, side, shares, stock, price, attribution }
                .as_bytes()
                .to_vec()
        }
        56..79 => {
            let (head, new_reference) =
                (itch50::OrderReplace::head(locate, 0, ns), U64::new(random.random()));
            itch50::OrderReplace { head, original_reference: order_reference, new_reference, shares, price }
                .as_bytes()
                .to_vec()
        }
        79..96 => {
            let head = itch50::OrderDelete::head(locate, 0, ns);
            itch50::OrderDelete { head, order_reference }.as_bytes().to_vec()
        }
        96..99 => {
            let (head, match_number) =
                (itch50::OrderExecuted::head(locate, 0, ns), U64::new(random.random()));
            itch50::OrderExecuted { head, order_reference, executed_shares: shares, match_number }
                .as_bytes()
                .to_vec()
        }
        _ => {
            let head = itch50::OrderCancel::head(locate, 0, ns);
            itch50::OrderCancel { head, order_reference, cancelled_shares: shares }.as_bytes().to_vec()
        }
    }
}

/// The file of that name among the captures, if there are any.
pub fn capture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FEEDPLANE_CAPTURES").filter(|folder| !folder.is_empty())?;
    Some(Path::new(&folder).join(name)).filter(|path| path.exists())
}

/// MDP 3.0 packets in which every message is a book refresh (template 32): from line A of the real capture,
/// or made with one to ten entries each, until there are `entries`.
///
/// # Errors
/// A capture cannot be read.
pub fn mdp3(entries: usize) -> Result<Corpus> {
    let real = capture("cme_mdp3/Cme.Mdp3.Sbe.v6.1.pcap");
    let (pool, origin) = match &real {
        Some(path) => (book_packets_of(path)?, "drawn from real packets"),
        None => (book_pool(), "generated, 1 to 10 entries each"),
    };
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut packets = Vec::new();
    let mut items = 0;
    while items < entries {
        let mut packet = pool[random.random_range(0..pool.len())].clone();
        let sequence = u32::try_from(packets.len() + 1)?;
        packet[..4].copy_from_slice(&sequence.to_le_bytes());
        items += book::walk(&packet, &mut |_| {}).context("a packet of the corpus does not decode")?;
        packets.push(packet);
    }
    Ok(Corpus { packets, items, origin })
}

fn book_packets_of(path: &Path) -> Result<Vec<Vec<u8>>> {
    const LINE_A_PORT: [u8; 2] = 14_340_u16.to_be_bytes();
    let mut capture = Capture::open(path)?;
    let mut packets = Vec::new();
    while let Some(record) = capture.next_record()? {
        // Ethernet, IPv4 without options, UDP: this capture has nothing else.
        let (ports, payload) = (record.frame.get(36..38), record.frame.get(42..));
        if let (Some(port), Some(payload)) = (ports, payload)
            && port == LINE_A_PORT
            && book::walk(payload, &mut |_| {}).is_some()
        {
            packets.push(payload.to_vec());
        }
    }
    Ok(packets)
}

fn book_pool() -> Vec<Vec<u8>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    (0..1000).map(|_| book_packet(&mut random)).collect()
}

fn book_packet(random: &mut ChaCha8Rng) -> Vec<u8> {
    let entries: Vec<book::Entry> = (0..random.random_range(1..=10))
        .map(|_| book::Entry {
            price: random.random_range(1_000_000_000..50_000_000_000) / 2_500_000 * 2_500_000,
            size: random.random_range(1..2000),
            security_id: random.random_range(1..5000),
            rpt_seq: random.random(),
            orders: random.random_range(1..200),
            level: random.random_range(1..=10),
            action: random.random_range(0..3),
            kind: if random.random() { b'0' } else { b'1' },
        })
        .collect();
    book::encode(1, 1_500_000_000_000_000_000, &entries)
}
