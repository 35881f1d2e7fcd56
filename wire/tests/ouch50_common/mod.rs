//! What the OUCH tests share: the captured TCP payloads, and reading hex as people write it.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Read;

/// Bytes from hex digits; spaces and line breaks are for the reader.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// The TCP payloads of the OUCH 5.0 captures by file name, or a loud skip.
pub fn captured() -> Option<BTreeMap<String, Vec<u8>>> {
    let Some(folder) = std::env::var_os("FEEDPLANE_CAPTURES") else {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
        return None;
    };
    let folder = std::path::PathBuf::from(folder).join("omi_packets");
    let mut payloads = BTreeMap::new();
    for archive in std::fs::read_dir(folder).expect("folder of captures") {
        let archive = std::fs::File::open(archive.expect("entry").path()).expect("archive");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        for entry in archive.entries().expect("archive") {
            let mut entry = entry.expect("entry");
            let path = entry.path().expect("path").to_string_lossy().into_owned();
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if folder.ends_with("/Nasdaq.Nsm.Ouch.v5.0") && name.ends_with(".pcap") {
                let mut pcap = Vec::new();
                entry.read_to_end(&mut pcap).expect("file");
                payloads.insert(name.to_owned(), tcp_payload(&pcap));
            }
        }
    }
    Some(payloads)
}

/// The payload of a pcap of one frame: Ethernet, VLAN tags, IPv4, TCP. What the tap put behind the IP packet
/// is left out.
fn tcp_payload(pcap: &[u8]) -> Vec<u8> {
    let magic = u32::from_le_bytes(pcap[..4].try_into().expect("4 bytes"));
    assert!([0xA1B2_3C4D, 0xA1B2_C3D4].contains(&magic), "little-endian pcap");
    let length = u32::from_le_bytes(pcap[32..36].try_into().expect("4 bytes")) as usize;
    let frame = &pcap[40..40 + length];
    assert_eq!(pcap.len(), 40 + length, "one frame");
    let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let mut ip = 14;
    while half(ip - 2) == 0x8100 {
        ip += 4;
    }
    assert_eq!((half(ip - 2), frame[ip + 9]), (0x0800, 6));
    let tcp = ip + usize::from(frame[ip] & 15) * 4;
    let payload = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
    frame[payload..ip + usize::from(half(ip + 2))].to_vec()
}
