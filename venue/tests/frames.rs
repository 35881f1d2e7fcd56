//! Frames: what is built is read back, and nothing that arrives can do harm.

use std::net::{Ipv4Addr, SocketAddrV4};
use venue::capture::LinkType;
use venue::frame::{FrameError, FrameHeader, build, multicast_mac, parse, parse_ethernet};

const GROUP: Ipv4Addr = Ipv4Addr::new(233, 182, 12, 111);

fn header() -> FrameHeader {
    FrameHeader {
        source_mac: [2, 0, 0, 0, 0, 1],
        vlan: None,
        source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 4000),
        destination: SocketAddrV4::new(GROUP, 26477),
        ttl: 1,
    }
}

fn built(header: &FrameHeader, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; 9];
    build(&mut frame, header, payload);
    frame
}

#[test]
fn a_group_has_the_ethernet_address_of_its_low_23_bits() {
    assert_eq!(multicast_mac(GROUP), Some([0x01, 0x00, 0x5e, 0x36, 12, 111]));
    assert_eq!(multicast_mac(Ipv4Addr::new(10, 0, 0, 1)), None);
}

#[test]
fn a_built_frame_is_read_back_with_right_checksums() {
    bolero::check!()
        .with_type::<(u32, u16, u32, u16, Option<u16>, Vec<u8>)>()
        .with_iterations(5_000)
        .for_each(|(source, source_port, destination, port, vlan, payload)| {
            let vlan = vlan.map(|id| id & 0x0fff);
            let header = FrameHeader {
                source: SocketAddrV4::new(Ipv4Addr::from(*source), *source_port),
                destination: SocketAddrV4::new(Ipv4Addr::from(*destination), *port),
                vlan,
                ..header()
            };
            let frame = built(&header, payload);
            let datagram = parse_ethernet(&frame).unwrap();
            assert_eq!(datagram.source, header.source);
            assert_eq!(datagram.destination, header.destination);
            assert_eq!((datagram.vlan, datagram.payload), (vlan, &payload[..]));
            assert!(datagram.checksum != 0 && datagram.checksum_is_right());
            assert!(frame.len() >= 60);
            let ip_at = if vlan.is_some() { 18 } else { 14 };
            assert_eq!(internet_checksum(&frame[ip_at..ip_at + 20]), 0, "the IP header's checksum");
        });
}

/// Word by word, as RFC 1071 §1 says it, to check the faster one.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn any_flipped_payload_bit_makes_the_checksum_wrong() {
    let frame = built(&header(), &[0x5a; 33]);
    for bit in 0..33 * 8 {
        let mut damaged = frame.clone();
        damaged[42 + bit / 8] ^= 1 << (bit % 8);
        assert!(!parse_ethernet(&damaged).unwrap().checksum_is_right(), "bit {bit}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused_and_never_read_past() {
    let header = FrameHeader { vlan: Some(141), ..header() };
    let frame = built(&header, &[7; 100]);
    for cut in 0..frame.len() {
        assert_eq!(parse_ethernet(&frame[..cut]), Err(FrameError::Cut), "cut at {cut}");
    }
}

#[test]
fn other_protocols_fragments_and_wrong_lengths_are_told_apart() {
    let frame = built(&header(), &[7; 100]);
    let edited = |at: usize, bytes: &[u8]| {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        parse_ethernet(&frame).map(|datagram| datagram.payload.len())
    };
    assert_eq!(edited(12, &[0x86, 0xdd]), Err(FrameError::OtherProtocol), "IPv6");
    assert_eq!(edited(12, &[0x08, 0x06]), Err(FrameError::OtherProtocol), "ARP");
    assert_eq!(edited(23, &[2]), Err(FrameError::OtherProtocol), "IGMP");
    assert_eq!(edited(20, &[0x20, 0x00]), Err(FrameError::Fragment), "more fragments");
    assert_eq!(edited(20, &[0x00, 0x09]), Err(FrameError::Fragment), "a later fragment");
    assert_eq!(edited(14, &[0x44]), Err(FrameError::BadLength), "a header of four words");
    assert_eq!(edited(16, &[0, 10]), Err(FrameError::BadLength), "an IP length inside the header");
    assert_eq!(edited(16, &[0, 24]), Err(FrameError::BadLength), "no room for UDP");
    assert_eq!(edited(16, &[0xff, 0xff]), Err(FrameError::Cut), "an IP length past the frame");
    assert_eq!(edited(38, &[0, 7]), Err(FrameError::BadLength), "a UDP length inside the header");
    assert_eq!(edited(38, &[0, 200]), Err(FrameError::BadLength), "a UDP length past IP's");
    assert_eq!(edited(38, &[0, 58]), Ok(50), "a UDP length that leaves padding");
}

#[test]
fn ip_options_and_every_link_type_are_passed_over() {
    let frame = built(&header(), b"tick");
    let ip = &frame[14..];
    let cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00][..], ip].concat();
    let cooked2 = [&[0x08, 0x00, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], ip].concat();
    for (link, bytes) in
        [(LinkType::RawIp, ip), (LinkType::LinuxCooked, &cooked), (LinkType::LinuxCooked2, &cooked2)]
    {
        assert_eq!(parse(link, bytes).unwrap().payload, b"tick", "{link:?}");
    }
    assert_eq!(parse(LinkType::Other(9), ip), Err(FrameError::UnknownLink));

    let mut options = [&ip[..20], &[1, 1, 1, 0], &ip[20..]].concat();
    options[0] = 0x46;
    options[3] += 4;
    assert_eq!(parse(LinkType::RawIp, &options).unwrap().payload, b"tick");
}

#[test]
fn two_vlan_tags_are_read_and_a_third_is_another_protocol() {
    let frame = built(&FrameHeader { vlan: Some(5), ..header() }, b"tick");
    let outer = [&frame[..12], &[0x88, 0xa8, 0x00, 0x09], &frame[12..]].concat();
    let datagram = parse_ethernet(&outer).unwrap();
    assert_eq!((datagram.vlan, datagram.payload), (Some(5), &b"tick"[..]));
    let third = [&outer[..12], &[0x81, 0x00, 0x00, 0x01], &outer[12..]].concat();
    assert_eq!(parse_ethernet(&third), Err(FrameError::OtherProtocol));
}

#[test]
fn random_bytes_never_panic() {
    bolero::check!().with_type::<Vec<u8>>().with_iterations(20_000).for_each(|bytes| {
        for link in [LinkType::Ethernet, LinkType::LinuxCooked, LinkType::LinuxCooked2, LinkType::RawIp] {
            if let Ok(datagram) = parse(link, bytes) {
                assert!(datagram.payload.len() <= bytes.len());
                let _ = datagram.checksum_is_right();
            }
        }
    });
}
