//! The steering program by table: every branch, through the kernel's test run, without a device.

#![allow(clippy::unwrap_used, reason = "helpers of tests may, as tests may")]

mod frames;

use ebpf::{
    ChangeError, FeedKey, FeedValue, FilterAction, FilterKey, MapSizes, Metadata, Outcome, Program, Reason,
    Variant, Verdict,
};
use frames::Frame;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

const GROUP: Ipv4Addr = Ipv4Addr::new(233, 54, 12, 111);
const PORT: u16 = 26400;
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const ANY_SENDER: FeedKey = FeedKey { destination: GROUP, port: PORT, source: None };
const FROM_SENDER: FeedKey = FeedKey { destination: GROUP, port: PORT, source: Some(SENDER) };

/// A program with one feed and a socket on queue 0 (an unbound one will do for the test run).
struct Bench {
    program: Program,
    _socket: OwnedFd,
}

impl Bench {
    fn new() -> Self {
        let bench = Self::without_socket();
        bench.program.register_socket(0, bench._socket.as_fd()).unwrap();
        bench
    }

    fn without_socket() -> Self {
        let program = Program::load(Variant::Plain, MapSizes { feeds_max: 4, queues_max: 2, filters_max: 4 })
            .expect("load");
        program.set_feed(ANY_SENDER, FeedValue { slot: 7, line: 1 }).unwrap();
        let entries = 64_u32;
        // SAFETY: plain system calls; the descriptor is owned here alone, and the option's value lives through
        // the call. From 7.x the kernel takes only a socket with a receive ring into the map.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0);
            assert!(fd >= 0);
            let value = (&raw const entries).cast();
            assert_eq!(libc::setsockopt(fd, libc::SOL_XDP, libc::XDP_RX_RING, value, 4), 0);
            OwnedFd::from_raw_fd(fd)
        };
        Self { program, _socket: socket }
    }

    /// Runs a frame; checks that exactly one counter went up by one and the frame came out as it went in.
    fn run(&self, frame: &[u8]) -> (Outcome, Reason) {
        let before = self.program.counters().unwrap();
        let outcome = self.program.run_once(frame).expect("test run");
        let after = self.program.counters().unwrap();
        let mut changed = after.iter().filter(|(reason, packets)| *packets != before.get(*reason));
        let (reason, packets) = changed.next().expect("one counter goes up");
        assert_eq!(packets, before.get(reason) + 1);
        assert_eq!(changed.next(), None);
        assert_eq!(outcome.frame, frame, "the frame itself is never changed");
        let steered = reason == Reason::Steered;
        let expected = match reason {
            Reason::Steered => Verdict::Redirect,
            Reason::Filtered => Verdict::Drop,
            _ => Verdict::Pass,
        };
        assert_eq!(outcome.verdict, expected);
        assert_eq!(outcome.metadata.is_some(), steered, "only steered packets carry metadata");
        (outcome, reason)
    }
}

fn needs_root(test: &str) -> bool {
    lab::network::require_root(test)
}

#[test]
fn every_frame_has_exactly_one_fate() {
    if !needs_root("every_frame_has_exactly_one_fate") {
        return;
    }
    let bench = Bench::new();
    let base = Frame::default;
    let vlan = (0x8100, 0x0064);
    let qinq = (0x88a8, 0x0065);
    let table: Vec<(&str, Frame, Reason)> = vec![
        ("a feed's packet", base(), Reason::Steered),
        ("an empty payload", Frame { payload: vec![], ..base() }, Reason::Steered),
        ("Ethernet padding", Frame { payload: vec![1], padding_bytes: 17, ..base() }, Reason::Steered),
        ("one VLAN tag", Frame { vlans: vec![vlan], ..base() }, Reason::Steered),
        ("two VLAN tags", Frame { vlans: vec![qinq, vlan], ..base() }, Reason::Steered),
        ("two 802.1Q tags", Frame { vlans: vec![vlan, vlan], ..base() }, Reason::Steered),
        ("three VLAN tags", Frame { vlans: vec![qinq, vlan, vlan], ..base() }, Reason::NotIpv4),
        ("4 bytes of options", Frame { options: vec![1; 4], ..base() }, Reason::Steered),
        ("40 bytes of options", Frame { options: vec![1; 40], ..base() }, Reason::Steered),
        ("ARP", Frame { ethertype: 0x0806, ..base() }, Reason::NotIpv4),
        ("IPv6", Frame { ethertype: 0x86dd, ..base() }, Reason::NotIpv4),
        ("PTP over Ethernet", Frame { ethertype: 0x88f7, ..base() }, Reason::NotIpv4),
        ("an 802.3 length", Frame { ethertype: 64, ..base() }, Reason::NotIpv4),
        ("version 6 inside", Frame { version: 6, ..base() }, Reason::BadIpv4Header),
        ("version 0 inside", Frame { version: 0, ..base() }, Reason::BadIpv4Header),
        ("ihl 0", Frame { ihl_words: Some(0), ..base() }, Reason::BadIpv4Header),
        ("ihl 4", Frame { ihl_words: Some(4), ..base() }, Reason::BadIpv4Header),
        ("ihl past the frame", Frame { ihl_words: Some(15), payload: vec![], ..base() }, Reason::Truncated),
        ("a first fragment", Frame { fragment: 0x2000, ..base() }, Reason::Fragment),
        ("a later fragment", Frame { fragment: 0x0001, ..base() }, Reason::Fragment),
        ("the last fragment", Frame { fragment: 0x1fff, ..base() }, Reason::Fragment),
        ("fragmentation allowed", Frame { fragment: 0, ..base() }, Reason::Steered),
        ("the evil bit", Frame { fragment: 0x8000, ..base() }, Reason::Steered),
        ("IGMP", Frame { protocol: 2, ..base() }, Reason::NotUdp),
        ("TCP", Frame { protocol: 6, ..base() }, Reason::NotUdp),
        ("a UDP length of 0", Frame { udp_bytes: Some(0), ..base() }, Reason::BadLength),
        ("a UDP length of 7", Frame { udp_bytes: Some(7), ..base() }, Reason::BadLength),
        ("a UDP length of 8", Frame { udp_bytes: Some(8), ..base() }, Reason::Steered),
        ("a UDP length one too long", Frame { udp_bytes: Some(8 + 59), ..base() }, Reason::BadLength),
        ("a UDP length of 65535", Frame { udp_bytes: Some(65535), ..base() }, Reason::BadLength),
        (
            "a UDP length into the padding",
            Frame { udp_bytes: Some(8 + 60), padding_bytes: 10, ..base() },
            Reason::BadLength,
        ),
        ("an IPv4 length of 0", Frame { total_bytes: Some(0), ..base() }, Reason::BadLength),
        ("an IPv4 length of its header", Frame { total_bytes: Some(20), ..base() }, Reason::BadLength),
        ("an IPv4 length past the frame", Frame { total_bytes: Some(87), ..base() }, Reason::BadLength),
        ("another port", Frame { port: PORT + 1, ..base() }, Reason::NoFeed),
        ("another group", Frame { destination: Ipv4Addr::new(233, 54, 12, 112), ..base() }, Reason::NoFeed),
        ("PTP over UDP", Frame { destination: [224, 0, 1, 129].into(), port: 319, ..base() }, Reason::NoFeed),
        ("all ones", Frame { destination: Ipv4Addr::BROADCAST, port: 65535, ..base() }, Reason::NoFeed),
    ];
    for (what, frame, expected) in table {
        let (outcome, reason) = bench.run(&frame.bytes());
        assert_eq!(reason, expected, "{what}");
        let Some(metadata) = outcome.metadata else { continue };
        assert_eq!(metadata.magic, Metadata::MAGIC, "{what}");
        assert_eq!((metadata.slot, metadata.line), (7, 1), "{what}");
        assert_eq!(usize::from(metadata.ipv4_offset), frame.ipv4_offset(), "{what}");
        assert_eq!(usize::from(metadata.payload_offset), frame.payload_offset(), "{what}");
        let udp_bytes = frame.udp_bytes.unwrap_or(8 + frame.payload.len() as u16);
        assert_eq!(metadata.payload_bytes, udp_bytes - 8, "{what}");
        assert_eq!(usize::from(metadata.vlan_tags()), frame.vlans.len(), "{what}");
        assert_eq!(metadata.flags & Metadata::HARDWARE_TIME, 0, "{what}");
        assert_eq!((metadata.hardware_ns, metadata.reserved), (0, 0), "{what}");
    }
}

#[test]
fn the_tai_time_lies_between_the_clock_before_and_after() {
    if !needs_root("the_tai_time_lies_between_the_clock_before_and_after") {
        return;
    }
    let bench = Bench::new();
    let before = tai_ns();
    let (outcome, _) = bench.run(&Frame::default().bytes());
    let stamped = outcome.metadata.unwrap().tai_ns;
    assert!(before <= stamped && stamped <= tai_ns(), "{before} {stamped}");
}

fn tai_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec into the one it is given.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_TAI, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn a_frame_cut_at_any_length_is_passed_on_and_counted() {
    if !needs_root("a_frame_cut_at_any_length_is_passed_on_and_counted") {
        return;
    }
    let bench = Bench::new();
    for frame in [
        Frame::default(),
        Frame { vlans: vec![(0x88a8, 1), (0x8100, 2)], options: vec![1; 40], ..Frame::default() },
    ] {
        let whole = frame.bytes();
        // The kernel takes no frame shorter than an Ethernet header.
        for bytes in 14..whole.len() {
            let (_, reason) = bench.run(&whole[..bytes]);
            let expected = if bytes < frame.payload_offset() { Reason::Truncated } else { Reason::BadLength };
            assert_eq!(reason, expected, "cut to {bytes} bytes");
        }
        assert_eq!(bench.run(&whole).1, Reason::Steered);
    }
}

#[test]
fn any_byte_may_be_changed_and_no_frame_is_steered_with_wrong_offsets() {
    if !needs_root("any_byte_may_be_changed_and_no_frame_is_steered_with_wrong_offsets") {
        return;
    }
    let bench = Bench::new();
    let frame = Frame { vlans: vec![(0x8100, 2)], options: vec![1; 4], ..Frame::default() };
    let good = frame.bytes();
    for at in 0..frame.payload_offset() {
        for value in [0x00, 0x01, 0x0f, 0x45, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let (outcome, _) = bench.run(&bad);
            if let Some(metadata) = outcome.metadata {
                let end = usize::from(metadata.payload_offset) + usize::from(metadata.payload_bytes);
                assert!(end <= bad.len(), "byte {at} = {value:#x}");
                let ip = &bad[usize::from(metadata.ipv4_offset)..];
                assert_eq!(ip[0] >> 4, 4, "byte {at} = {value:#x}");
                assert_eq!(&ip[16..20], &GROUP.octets(), "byte {at} = {value:#x}");
            }
        }
    }
}

#[test]
fn a_feed_of_one_sender_wins_over_the_feed_of_any() {
    if !needs_root("a_feed_of_one_sender_wins_over_the_feed_of_any") {
        return;
    }
    let bench = Bench::new();
    bench.program.set_feed(FROM_SENDER, FeedValue { slot: 9, line: 0 }).unwrap();
    let slot_of = |source| {
        bench.run(&Frame { source, ..Frame::default() }.bytes()).0.metadata.map(|metadata| metadata.slot)
    };
    assert_eq!((slot_of(SENDER), slot_of(STRANGER)), (Some(9), Some(7)));
    bench.program.remove_feed(ANY_SENDER).unwrap();
    assert_eq!((slot_of(SENDER), slot_of(STRANGER)), (Some(9), None));
    bench.program.remove_feed(FROM_SENDER).unwrap();
    assert_eq!((slot_of(SENDER), slot_of(STRANGER)), (None, None));
}

#[test]
fn a_feed_can_be_changed_and_a_full_map_says_so() {
    if !needs_root("a_feed_can_be_changed_and_a_full_map_says_so") {
        return;
    }
    let bench = Bench::new();
    bench.program.set_feed(ANY_SENDER, FeedValue { slot: 65535, line: 0 }).unwrap();
    let metadata = bench.run(&Frame::default().bytes()).0.metadata.unwrap();
    assert_eq!((metadata.slot, metadata.line), (65535, 0));
    for port in 1..=3 {
        bench.program.set_feed(FeedKey { port, ..ANY_SENDER }, FeedValue { slot: 0, line: 0 }).unwrap();
    }
    let full = bench.program.set_feed(FeedKey { port: 9, ..ANY_SENDER }, FeedValue { slot: 0, line: 0 });
    assert!(matches!(full, Err(ChangeError::FeedMapFull(4))), "{full:?}");
    let absent = bench.program.remove_feed(FeedKey { port: 9, ..ANY_SENDER });
    assert!(matches!(absent, Err(ChangeError::NoSuchFeed)), "{absent:?}");
}

#[test]
fn a_feeds_packet_on_a_queue_without_socket_goes_to_the_kernel_without_metadata() {
    if !needs_root("a_feeds_packet_on_a_queue_without_socket_goes_to_the_kernel_without_metadata") {
        return;
    }
    let bench = Bench::without_socket();
    assert_eq!(bench.run(&Frame::default().bytes()).1, Reason::NoSocket);
}

#[test]
fn a_queue_outside_of_the_map_and_a_descriptor_that_is_no_socket_are_refused() {
    if !needs_root("a_queue_outside_of_the_map_and_a_descriptor_that_is_no_socket_are_refused") {
        return;
    }
    let bench = Bench::new();
    let outside = bench.program.register_socket(2, bench._socket.as_fd());
    assert!(matches!(outside, Err(ChangeError::NoSuchQueue { queue: 2, queues: 2 })), "{outside:?}");
    let file = std::fs::File::open("/dev/null").unwrap();
    let wrong = bench.program.register_socket(1, file.as_fd());
    assert!(matches!(wrong, Err(ChangeError::Map(_))), "{wrong:?}");
}

const NOISE: Ipv4Addr = Ipv4Addr::new(233, 54, 12, 200);
const WHOLE_GROUP: FilterKey = FilterKey { group: NOISE, port: None, source: None };

#[test]
fn a_packet_that_no_feed_takes_is_dropped_or_passed_by_the_most_exact_filter() {
    if !needs_root("a_packet_that_no_feed_takes_is_dropped_or_passed_by_the_most_exact_filter") {
        return;
    }
    let bench = Bench::new();
    let of_port = FilterKey { port: Some(7), ..WHOLE_GROUP };
    let of_source = FilterKey { source: Some(SENDER), ..WHOLE_GROUP };
    let of_both = FilterKey { port: Some(7), ..of_source };
    let fate =
        |port, source| bench.run(&Frame { destination: NOISE, port, source, ..Frame::default() }.bytes()).1;
    let fates = || [fate(7, SENDER), fate(7, STRANGER), fate(8, SENDER), fate(8, STRANGER)];
    use Reason::{Filtered, NoFeed};
    assert_eq!(fates(), [NoFeed, NoFeed, NoFeed, NoFeed]);
    bench.program.set_filter(WHOLE_GROUP, FilterAction::Drop).unwrap();
    assert_eq!(fates(), [Filtered, Filtered, Filtered, Filtered]);
    bench.program.set_filter(of_source, FilterAction::Pass).unwrap();
    assert_eq!(fates(), [NoFeed, Filtered, NoFeed, Filtered]);
    bench.program.set_filter(of_port, FilterAction::Drop).unwrap();
    assert_eq!(fates(), [Filtered, Filtered, NoFeed, Filtered]);
    bench.program.set_filter(of_both, FilterAction::Pass).unwrap();
    assert_eq!(fates(), [NoFeed, Filtered, NoFeed, Filtered]);
    let counts =
        [WHOLE_GROUP, of_source, of_port, of_both].map(|key| bench.program.filter_packets(key).unwrap());
    assert_eq!(counts, [4 + 2 + 1 + 1, 2 + 1 + 1, 2 + 1, 1]);
    bench.program.remove_filter(WHOLE_GROUP).unwrap();
    assert_eq!(fates(), [NoFeed, Filtered, NoFeed, NoFeed]);
}

#[test]
fn a_filter_takes_no_feeds_packet_and_nothing_that_is_no_multicast() {
    if !needs_root("a_filter_takes_no_feeds_packet_and_nothing_that_is_no_multicast") {
        return;
    }
    let bench = Bench::new();
    let own = Ipv4Addr::new(10, 0, 0, 7);
    for group in [GROUP, own] {
        for key in [
            FilterKey { group, port: None, source: None },
            FilterKey { group, port: Some(PORT), source: Some(SENDER) },
        ] {
            bench.program.set_filter(key, FilterAction::Drop).unwrap();
        }
    }
    assert_eq!(bench.run(&Frame::default().bytes()).1, Reason::Steered);
    assert_eq!(bench.run(&Frame { destination: own, ..Frame::default() }.bytes()).1, Reason::NoFeed);
    assert_eq!(bench.run(&Frame { protocol: 2, ..Frame::default() }.bytes()).1, Reason::NotUdp);
    assert_eq!(bench.run(&Frame { fragment: 0x2000, ..Frame::default() }.bytes()).1, Reason::Fragment);
    assert_eq!(bench.run(&Frame { port: PORT + 1, ..Frame::default() }.bytes()).1, Reason::Filtered);
}

#[test]
fn a_filter_that_changes_counts_anew_and_a_full_map_says_so() {
    if !needs_root("a_filter_that_changes_counts_anew_and_a_full_map_says_so") {
        return;
    }
    let bench = Bench::new();
    bench.program.set_filter(WHOLE_GROUP, FilterAction::Drop).unwrap();
    bench.run(&Frame { destination: NOISE, ..Frame::default() }.bytes());
    assert_eq!(bench.program.filter_packets(WHOLE_GROUP).unwrap(), 1);
    bench.program.set_filter(WHOLE_GROUP, FilterAction::Pass).unwrap();
    assert_eq!(bench.program.filter_packets(WHOLE_GROUP).unwrap(), 0);
    for port in 1..=3 {
        bench.program.set_filter(FilterKey { port: Some(port), ..WHOLE_GROUP }, FilterAction::Drop).unwrap();
    }
    let absent = FilterKey { port: Some(9), ..WHOLE_GROUP };
    let full = bench.program.set_filter(absent, FilterAction::Drop);
    assert!(matches!(full, Err(ChangeError::FilterMapFull(4))), "{full:?}");
    assert!(matches!(bench.program.remove_filter(absent), Err(ChangeError::NoSuchFilter)));
    assert!(matches!(bench.program.filter_packets(absent), Err(ChangeError::NoSuchFilter)));
}
