//! The exchange's captures and template files, read the simplest way that is right for them.

use pcap_parser::{PcapBlockOwned, PcapError, create_reader};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A UDP packet of a capture.
pub(crate) struct Packet {
    pub(crate) group: Ipv4Addr,
    pub(crate) payload: Vec<u8>,
}

/// The folder with CME's files, or a loud skip.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FEEDPLANE_CAPTURES").map(|folder| PathBuf::from(folder).join("cme_mdp3"));
    if folder.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
    }
    folder
}

/// CME's template file of a schema version.
pub(crate) fn template_file(version: u16) -> Option<String> {
    let file = folder()?.join(format!("Cme.Futures.Mdp3.Sbe.v1.{version}.xml"));
    Some(std::fs::read_to_string(file).expect("template file"))
}

/// The UDP packets of a capture, in its order.
pub(crate) fn packets(name: &str) -> Option<Vec<Packet>> {
    let file = std::fs::File::open(folder()?.join(name)).expect("capture");
    let mut reader = create_reader(1 << 16, file).expect("capture");
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::Legacy(packet) => packets.extend(udp(packet.data)),
                    PcapBlockOwned::NG(pcap_parser::Block::EnhancedPacket(packet)) => {
                        packets.extend(udp(packet.data));
                    }
                    _ => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return Some(packets),
            Err(PcapError::Incomplete(_)) => reader.refill().expect("capture"),
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
}

/// The packets of the v6 capture's both lines and of the v9 capture.
pub(crate) fn v6() -> Option<Vec<Packet>> {
    packets("Cme.Mdp3.Sbe.v6.1.pcap")
}

pub(crate) fn v9() -> Option<Vec<Packet>> {
    packets("Cme.Mdp3.Sbe.v9.1.Example.pcap")
}

/// The datagram in an Ethernet frame with any number of VLAN tags; nothing when it is not IPv4 and UDP.
fn udp(frame: &[u8]) -> Option<Packet> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    while matches!(word(at)?, 0x8100 | 0x88A8) {
        at += 4;
    }
    let ip = frame.get(at + 2..)?;
    if word(at)? != 0x0800 || *ip.get(9)? != 17 {
        return None;
    }
    let udp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    let group = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    Some(Packet { group, payload: udp.get(8..length)?.to_vec() })
}
