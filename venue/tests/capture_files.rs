//! Captures as files: every format that is read, and every way in which one can be damaged.

#![allow(clippy::unwrap_used)]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use venue::capture::{Capture, CaptureError, CaptureErrorKind, LinkType, Writer};
use venue::frame;

const TIME_NS: u64 = 1_700_000_000_123_456_789;

/// A record of a made capture: time and frame.
type Made = Vec<(u64, Vec<u8>)>;

fn made() -> Made {
    (0..5u64).map(|at| (TIME_NS + at * 1_000, vec![at as u8; 20 + at as usize])).collect()
}

fn in_order(big: bool, value: u32) -> [u8; 4] {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }
}

fn pcap(big: bool, nanos: bool, link: u32, records: &Made) -> Vec<u8> {
    let unit = if nanos { 1 } else { 1_000 };
    let mut out = Vec::new();
    let mut put = |value| out.extend_from_slice(&in_order(big, value));
    put(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
    put(if big { 0x0002_0004 } else { 0x0004_0002 });
    [0, 0, 65_535, link].into_iter().for_each(&mut put);
    for (ts_ns, frame) in records {
        let mut put = |value| out.extend_from_slice(&in_order(big, value));
        put((ts_ns / 1_000_000_000) as u32);
        put((ts_ns % 1_000_000_000 / unit) as u32);
        put(frame.len() as u32);
        put(frame.len() as u32 + 7);
        out.extend_from_slice(frame);
    }
    out
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = in_order(big, padded as u32 + 12);
    let mut out = [in_order(big, kind), length].concat();
    out.extend_from_slice(body);
    out.resize(8 + padded, 0);
    out.extend_from_slice(&length);
    out
}

fn section(big: bool) -> Vec<u8> {
    let mut body = in_order(big, 0x1a2b_3c4d).to_vec();
    body.extend_from_slice(if big { &[0, 1, 0, 0] } else { &[1, 0, 0, 0] });
    body.extend_from_slice(&[0xff; 8]);
    block(big, 0x0a0d_0d0a, &body)
}

/// Options of a pcapng block: code and value.
type Options<'a> = &'a [(u16, &'a [u8])];

fn interface(big: bool, link: u16, options: Options<'_>) -> Vec<u8> {
    let short = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut body = [short(link), [0; 2], [0; 2], [0; 2]].concat();
    for (code, value) in options {
        body.extend_from_slice(&short(*code));
        body.extend_from_slice(&short(value.len() as u16));
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let fields = [interface, (ticks >> 32) as u32, ticks as u32, length, length];
    let mut body = fields.map(|value| in_order(big, value)).concat();
    body.extend_from_slice(frame);
    block(big, 6, &body)
}

fn pcapng(big: bool, records: &Made) -> Vec<u8> {
    let mut out = section(big);
    out.extend(interface(big, 1, &[(9, &[9])]));
    for (ts_ns, frame) in records {
        out.extend(enhanced(big, 0, *ts_ns, frame));
    }
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All records, and the error at the end if there is one.
fn read_all(bytes: Vec<u8>) -> (Made, Option<CaptureError>) {
    match Capture::new(Cursor::new(bytes)) {
        Ok(capture) => drain(capture),
        Err(error) => (Vec::new(), Some(error)),
    }
}

fn drain(mut capture: Capture) -> (Made, Option<CaptureError>) {
    let mut records = Vec::new();
    loop {
        match capture.next_record() {
            Ok(Some(record)) => records.push((record.ts_ns, record.frame.to_vec())),
            Ok(None) => return (records, None),
            Err(error) => {
                assert!(capture.next_record().unwrap().is_none(), "an error is given once");
                return (records, Some(error));
            }
        }
    }
}

fn without_nanos(records: Made) -> Made {
    records.into_iter().map(|(ts_ns, frame)| (ts_ns / 1_000 * 1_000, frame)).collect()
}

#[test]
fn every_format_and_byte_order_gives_the_same_records() {
    for big in [false, true] {
        let files = [
            (pcap(big, true, 1, &made()), made()),
            (pcap(big, false, 1, &made()), without_nanos(made())),
            (pcapng(big, &made()), made()),
        ];
        for (file, expected) in files {
            for bytes in [gzip(&file), file] {
                let (records, error) = read_all(bytes);
                assert!(error.is_none(), "{error:?}");
                assert_eq!(records, expected);
            }
        }
    }
}

#[test]
fn what_the_writer_writes_is_read_back() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for (ts_ns, frame) in made() {
        writer.write(ts_ns, &frame).unwrap();
    }
    let (records, error) = read_all(writer.finish().unwrap());
    assert!(error.is_none());
    assert_eq!(records, made());
}

#[test]
fn a_record_says_its_length_on_the_wire_and_its_link_type() {
    for (code, link) in [
        (1, LinkType::Ethernet),
        (101, LinkType::RawIp),
        (113, LinkType::LinuxCooked),
        (276, LinkType::LinuxCooked2),
        (0xf000_0001, LinkType::Ethernet),
        (147, LinkType::Other(147)),
    ] {
        let mut capture = Capture::new(Cursor::new(pcap(false, true, code, &made()))).unwrap();
        let record = capture.next_record().unwrap().unwrap();
        assert_eq!((record.link, record.wire_bytes), (link, 27));
    }
}

#[test]
fn a_pcapng_interface_has_its_own_clock() {
    let offset = 1_000_000_000i64.to_le_bytes();
    let cases: [(Options<'_>, u64, u64); 5] = [
        (&[], 5, 5_000),
        (&[(9, &[3])], 5, 5_000_000),
        (&[(9, &[12])], 5_000, 5),
        (&[(9, &[0x80 | 10])], 1 << 10, 1_000_000_000),
        (&[(2, b"eth0"), (14, &offset), (9, &[9]), (0, &[])], 7, 1_000_000_000_000_000_007),
    ];
    for (options, ticks, ts_ns) in cases {
        let mut file = section(false);
        file.extend(interface(false, 101, &[]));
        file.extend(interface(false, 1, options));
        file.extend(enhanced(false, 1, ticks, b"abc"));
        assert_eq!(read_all(file).0, [(ts_ns, b"abc".to_vec())], "{options:?}");
    }
}

#[test]
fn sections_of_either_byte_order_and_blocks_of_no_interest_may_follow_each_other() {
    let mut file = pcapng(false, &made());
    file.extend(block(false, 5, &vec![0; 400_000]));
    file.extend(pcapng(true, &made()));
    file.extend(block(true, 3, &[&4u32.to_be_bytes()[..], b"okay"].concat()));
    let mut obsolete = vec![0, 0, 0, 9];
    obsolete.extend([0u32, 77, 3, 3].map(u32::to_be_bytes).concat());
    obsolete.extend_from_slice(b"old");
    file.extend(block(true, 2, &obsolete));
    let (records, error) = read_all(file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(records.len(), 12);
    assert_eq!(records[10], (0, b"okay".to_vec()));
    assert_eq!(records[11], (77, b"old".to_vec()));
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_records_and_says_where_it_was_cut() {
    for file in [pcap(false, true, 1, &made()), pcapng(true, &made())] {
        let mut before = 0;
        for cut in 0..file.len() {
            let (records, error) = read_all(file[..cut].to_vec());
            assert!(records.len() >= before && records[..] == made()[..records.len()]);
            before = records.len();
            match error {
                None => assert!(cut > 0, "an empty file is no capture"),
                Some(error) => {
                    assert_eq!(error.records, records.len() as u64);
                    assert!(error.offset <= cut as u64);
                }
            }
            let compressed = gzip(&file[..cut]);
            assert_eq!(read_all(compressed).0.len(), records.len());
        }
    }
}

#[test]
fn a_cut_gzip_gives_what_can_be_unpacked() {
    let noisy: Made = (0..500u64)
        .map(|at| (at, (0..99u64).map(|i| ((at * 7919 + i * i * 31) >> 3) as u8).collect()))
        .collect();
    let whole = gzip(&pcap(false, true, 1, &noisy));
    let (records, error) = read_all(whole[..whole.len() / 2].to_vec());
    assert!(!records.is_empty() && records[..] == noisy[..records.len()]);
    let error = error.unwrap();
    assert!(error.decompressed && matches!(error.kind, CaptureErrorKind::Cut { .. }), "{error}");
}

#[test]
fn damage_is_named_with_its_offset() {
    let mut records = pcap(false, true, 1, &made());
    records[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = read_all(records).1.unwrap();
    assert!(matches!(error.kind, CaptureErrorKind::BadLength { .. }) && error.offset == 24, "{error}");

    let first_block = section(false).len() + interface(false, 1, &[(9, &[9])]).len();
    let mut lengths = pcapng(false, &made());
    let end = first_block + enhanced(false, 0, 0, &made()[0].1).len();
    lengths[end - 4] ^= 1;
    let error = read_all(lengths).1.unwrap();
    assert!(matches!(error.kind, CaptureErrorKind::LengthsDiffer { .. }), "{error}");
    assert_eq!(error.offset, first_block as u64);

    let mut stranger = section(false);
    stranger.extend(enhanced(false, 0, 0, b"x"));
    let error = read_all(stranger).1.unwrap();
    assert!(matches!(error.kind, CaptureErrorKind::UnknownInterface(0)), "{error}");

    let mut skipped = pcapng(false, &made());
    let offset = skipped.len() as u64;
    skipped.extend_from_slice(&block(false, 5, &vec![0; 400_000])[..300_000]);
    let error = read_all(skipped).1.unwrap();
    assert!(matches!(error.kind, CaptureErrorKind::Cut { have: 300_000, .. }), "{error}");
    assert_eq!(error.offset, offset);

    let error = read_all(b"#!/bin/sh\n".to_vec()).1.unwrap();
    assert!(matches!(error.kind, CaptureErrorKind::UnknownFormat), "{error}");
}

#[test]
fn random_and_mutated_bytes_never_panic() {
    let seeds = [pcap(false, true, 1, &made()), pcapng(false, &made()), gzip(&pcapng(true, &made()))];
    bolero::check!().with_type::<(u8, Vec<(u16, u8)>, Vec<u8>)>().with_iterations(3_000).for_each(
        |(seed, edits, tail)| {
            let mut bytes = seeds.get(usize::from(*seed % 4)).cloned().unwrap_or_default();
            for (at, value) in edits {
                if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                    *byte = *value;
                }
            }
            bytes.extend_from_slice(tail);
            let (records, _) = read_all(bytes);
            for (_, packet) in &records {
                for link in
                    [LinkType::Ethernet, LinkType::LinuxCooked, LinkType::LinuxCooked2, LinkType::RawIp]
                {
                    let _ = frame::parse(link, packet);
                }
            }
        },
    );
}

fn real(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FEEDPLANE_CAPTURES") else {
        let _ = std::io::stderr().write_all(b"\nSKIPPED: FEEDPLANE_CAPTURES is not set\n");
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

fn packets_by_destination(capture: &mut Capture) -> (BTreeMap<SocketAddrV4, u64>, Option<CaptureError>) {
    let mut counts = BTreeMap::new();
    loop {
        match capture.next_record() {
            Ok(Some(record)) => {
                if let Ok(datagram) = frame::parse(record.link, record.frame) {
                    *counts.entry(datagram.destination).or_default() += 1;
                }
            }
            Ok(None) => return (counts, None),
            Err(error) => return (counts, Some(error)),
        }
    }
}

#[test]
fn the_real_cme_v6_capture_has_5000_packets_on_each_line() {
    let Some(path) = real("cme_mdp3/Cme.Mdp3.Sbe.v6.1.pcap") else { return };
    let mut capture = Capture::open(&path).unwrap();
    let (counts, error) = packets_by_destination(&mut capture);
    assert!(error.is_none());
    let line = |third, port| SocketAddrV4::new(Ipv4Addr::new(224, 0, third, 64), port);
    assert_eq!(counts, BTreeMap::from([(line(31, 14340), 5_000), (line(32, 15340), 5_000)]));
    let progress = capture.progress();
    assert_eq!(Some(progress.read_bytes), progress.total_bytes);
}

#[test]
fn the_real_cme_v9_capture_has_100_packets_one_of_them_a_routers() {
    let Some(path) = real("cme_mdp3/Cme.Mdp3.Sbe.v9.1.Example.pcap") else { return };
    let mut capture = Capture::open(&path).unwrap();
    let (counts, error) = packets_by_destination(&mut capture);
    assert!(error.is_none());
    assert_eq!((counts.len(), counts.values().sum::<u64>(), capture.records()), (18, 99, 100));
}

#[test]
fn the_real_iex_capture_gives_its_whole_packets_and_then_says_that_it_is_cut() {
    let Some(path) = real("iex/DEEP10.pcap.gz") else { return };
    let (counts, error) = packets_by_destination(&mut Capture::open(&path).unwrap());
    assert_eq!(counts.values().sum::<u64>(), 121_314);
    let error = error.unwrap();
    assert!(matches!(error.kind, CaptureErrorKind::Cut { .. }), "{error}");
    assert_eq!(error.records, 121_314);
}
