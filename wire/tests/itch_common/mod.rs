//! What the ITCH tests share: where the captures and the python oracles are, and how a message is printed
//! field by field.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::itch50::{Message, Price4, Price8, Timestamp};
use wire::moldudp64::Packet;
use zerocopy::byteorder::big_endian::{U16, U32, U64};

/// The folder of captures, or a loud skip.
pub fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("FEEDPLANE_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
    }
    folder
}

/// A file in Nasdaq's framing.
pub fn nasdaq_file(name: &str) -> Option<Vec<u8>> {
    captures().map(|folder| std::fs::read(folder.join("nasdaq_itch50").join(name)).expect("capture"))
}

/// One UDP packet of a capture.
pub struct CapturedPacket {
    pub recv_ns: u64,
    pub vlan: Option<u16>,
    pub destination: ([u8; 4], u16),
    pub payload: Vec<u8>,
}

/// The UDP packets of all tiny captures whose path contains `path`, by path.
pub fn capture_packets(path: &str) -> Option<Vec<CapturedPacket>> {
    let folder = captures()?.join("omi_packets");
    let mut files = Vec::new();
    for archive in std::fs::read_dir(folder).expect("folder of captures") {
        let archive = std::fs::File::open(archive.expect("entry").path()).expect("archive");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        for entry in archive.entries().expect("archive") {
            let mut entry = entry.expect("entry");
            let name = entry.path().expect("path").to_string_lossy().into_owned();
            if name.contains(path) && name.ends_with(".pcap") {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).expect("file");
                files.push((name, bytes));
            }
        }
    }
    files.sort();
    Some(files.iter().flat_map(|(_, bytes)| pcap_packets(bytes)).collect())
}

/// The packets of a little-endian nanosecond pcap: Ethernet, VLAN tags, IPv4, UDP.
fn pcap_packets(pcap: &[u8]) -> Vec<CapturedPacket> {
    assert_eq!(pcap[..4], 0xA1B2_3C4D_u32.to_le_bytes());
    let word = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().expect("4 bytes"));
    let mut packets = Vec::new();
    let mut at = 24;
    while at < pcap.len() {
        let recv_ns = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4));
        let end = at + 16 + word(at + 8) as usize;
        packets.push(udp_packet(recv_ns, &pcap[at + 16..end]));
        at = end;
    }
    packets
}

fn udp_packet(recv_ns: u64, frame: &[u8]) -> CapturedPacket {
    let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let mut at = 12;
    let mut vlan = None;
    while half(at) == 0x8100 {
        vlan = Some(half(at + 2) & 0xFFF);
        at += 4;
    }
    let ip = at + 2;
    assert_eq!((half(at), frame[ip + 9]), (0x0800, 17));
    let udp = ip + usize::from(frame[ip] & 15) * 4;
    let destination = (frame[ip + 16..ip + 20].try_into().expect("address"), half(udp + 2));
    let payload = frame[udp + 8..udp + usize::from(half(udp + 4))].to_vec();
    CapturedPacket { recv_ns, vlan, destination, payload }
}

/// All messages of packets that must be whole.
pub fn captured_messages(packets: &[CapturedPacket]) -> Vec<Vec<u8>> {
    let whole = packets.iter().map(|packet| Packet::parse(&packet.payload).expect("whole packet"));
    whole.flat_map(|packet| packet.messages()).map(<[u8]>::to_vec).collect()
}

/// Whether there is no interpreter for the oracles; says so.
pub fn skip_without_oracle() -> bool {
    let missing = std::env::var_os("FEEDPLANE_PYTHON").is_none();
    if missing {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set, no independent reader to compare with");
    }
    missing
}

/// Runs an oracle on messages, one hex line each, and returns what it prints.
pub fn oracle(script: &str, messages: &[Vec<u8>]) -> String {
    let python = std::env::var_os("FEEDPLANE_PYTHON").expect("FEEDPLANE_PYTHON");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles").join(script);
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("interpreter");
    let mut input = child.stdin.take().expect("stdin");
    let lines: String = messages.iter().map(|message| hex(message) + "\n").collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("oracle");
    writer.join().expect("writer").expect("oracle reads its input");
    assert!(output.status.success(), "the oracle failed");
    String::from_utf8(output.stdout).expect("text")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A field as the oracle prints it.
trait Text {
    fn text(&self) -> String;
}

macro_rules! number_text {
    ($($type:ty => $read:ident),*) => {
        $(impl Text for $type {
            fn text(&self) -> String {
                self.$read().to_string()
            }
        })*
    };
}
number_text!(U16 => get, U32 => get, U64 => get, Price4 => units, Price8 => units, Timestamp => ns);

impl Text for u8 {
    fn text(&self) -> String {
        hex(&[*self])
    }
}

impl<const N: usize> Text for [u8; N] {
    fn text(&self) -> String {
        hex(self)
    }
}

/// A message as the oracle prints it, less the reader's name.
pub trait Lines {
    fn fields_line(&self) -> String;
}

macro_rules! lines {
    ($($name:ident { $($field:ident)* })*) => {
        impl Lines for Message<'_> {
            fn fields_line(&self) -> String {
                let head = self.head();
                let mut line = format!(
                    "{} stock_locate={} tracking_number={} timestamp={}",
                    char::from(head.message_type),
                    head.stock_locate.text(),
                    head.tracking_number.text(),
                    head.timestamp.text(),
                );
                match self {
                    $(Message::$name(message) => {
                        $(line += &format!(concat!(" ", stringify!($field), "={}"), message.$field.text());)*
                    })*
                }
                line
            }
        }
    };
}

lines! {
    SystemEvent { event_code }
    StockDirectory {
        stock market_category financial_status round_lot_size round_lots_only issue_classification
        issue_sub_type authenticity short_sale_threshold ipo_flag luld_tier etp_flag etp_leverage_factor
        inverse_indicator
    }
    StockTradingAction { stock trading_state reserved reason }
    RegSho { stock action }
    MarketParticipantPosition { mpid stock primary_market_maker market_maker_mode state }
    MwcbDeclineLevel { level_1 level_2 level_3 }
    MwcbStatus { breached_level }
    QuotingPeriodUpdate { stock release_time_s release_qualifier ipo_price }
    LuldAuctionCollar { stock reference_price upper_price lower_price extension }
    OperationalHalt { stock market_code action }
    AddOrder { order_reference side shares stock price }
    AddOrderMpid { order_reference side shares stock price attribution }
    OrderExecuted { order_reference executed_shares match_number }
    OrderExecutedWithPrice { order_reference executed_shares match_number printable execution_price }
    OrderCancel { order_reference cancelled_shares }
    OrderDelete { order_reference }
    OrderReplace { original_reference new_reference shares price }
    Trade { order_reference side shares stock price match_number }
    CrossTrade { shares stock cross_price match_number cross_type }
    BrokenTrade { match_number }
    NetOrderImbalance {
        paired_shares imbalance_shares imbalance_direction stock far_price near_price reference_price
        cross_type price_variation
    }
    RetailInterest { stock interest_flag }
    DirectListing {
        stock open_eligibility minimum_price maximum_price near_price near_time lower_collar upper_collar
    }
}
