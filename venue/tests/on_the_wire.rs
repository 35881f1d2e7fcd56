//! What arrives is what the account says was sent: in a file, on veth pairs, and by UDP on loopback.

#![allow(clippy::unwrap_used)]

use lab::network::{Network, require_root};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use venue::account::{LineReport, Report};
use venue::capture::Capture;
use venue::frame;
use venue::impair::Impairment;
use venue::play::{RealClock, VirtualClock, play};
use venue::ranges::SequenceRange;
use venue::recorded::Recorded;
use venue::script::{Dispatch, Pace, Script};
use venue::send::{FileOutlet, Outlet, RawOutlet, RawTarget, SendError, UdpOutlet};
use venue::session::Source;
use venue::synthetic::{SESSION_BEGIN_NS, SessionEnd, Synthetic, SyntheticSpec};
use wire::moldudp64::{Kind, Packet as MoldPacket};

static RUNNING: AtomicBool = AtomicBool::new(false);
const EVERYTHING: &str =
    "loss=0.02,burst=0.002/5,duplicate=0.03,reorder=0.05/3,jitter=20us,corrupt=0.02,truncate=0.02";

fn spec(messages: u64) -> SyntheticSpec {
    SyntheticSpec { channels: 2, ..SyntheticSpec::new(SessionEnd::Messages(messages), 42) }
}

fn script(spec: &SyntheticSpec, pace: Pace, impairments: [&str; 2]) -> Script<Synthetic> {
    let impairments = impairments.map(|text| text.parse().unwrap_or_default());
    Script::new(Synthetic::new(spec).unwrap(), pace, impairments, spec.seed)
}

/// What arrived for one destination.
#[derive(Default)]
struct Arrived {
    packets: u64,
    wrong_checksum: u64,
    malformed: u64,
    sequences: BTreeSet<u64>,
}

impl Arrived {
    fn take(&mut self, payload: &[u8], checksum_is_right: bool) {
        self.packets += 1;
        if !checksum_is_right {
            self.wrong_checksum += 1;
            return;
        }
        match MoldPacket::parse(payload) {
            Err(_) => self.malformed += 1,
            Ok(packet) => {
                if let Kind::Data(count) = packet.kind() {
                    self.sequences.extend(packet.sequence()..packet.sequence() + u64::from(count));
                }
            }
        }
    }
}

type ByDestination = BTreeMap<SocketAddrV4, Arrived>;

fn take_frame(arrived: &mut ByDestination, bytes: &[u8]) {
    if let Ok(datagram) = frame::parse_ethernet(bytes) {
        let right = datagram.checksum_is_right();
        arrived.entry(datagram.destination).or_default().take(datagram.payload, right);
    }
}

fn numbers(ranges: &[SequenceRange]) -> BTreeSet<u64> {
    ranges.iter().flat_map(|range| range.from..=range.to).collect()
}

/// `checked_by_kernel`: corrupted packets do not arrive at all.
fn assert_arrived(report: &Report, spec: &SyntheticSpec, arrived: &ByDestination, checked_by_kernel: bool) {
    let source = Synthetic::new(spec).unwrap();
    for (channel, told) in source.channels().iter().zip(&report.channels) {
        let all: BTreeSet<u64> = (told.first_sequence..=told.last_sequence).collect();
        let mut union = BTreeSet::new();
        for (address, line) in channel.lines.iter().zip([&told.lines.a, &told.lines.b]) {
            let (Some(address), Some(line)) = (address, line) else { continue };
            let LineReport { sent, withheld, missing, .. } = line;
            let got = &arrived[&address.destination];
            let corrupt_seen = if checked_by_kernel { 0 } else { withheld.corrupt };
            assert_eq!(got.packets, sent - withheld.corrupt + corrupt_seen, "{}", address.destination);
            assert_eq!(got.wrong_checksum, corrupt_seen);
            assert_eq!(got.malformed, withheld.truncate);
            assert_eq!(got.sequences, &all - &numbers(missing));
            union.extend(got.sequences.iter().copied());
        }
        assert_eq!(&all - &union, numbers(&told.must_be_declared));
        assert_eq!(told.unknowable, []);
    }
}

#[test]
fn a_written_capture_holds_what_the_account_says_at_the_times_of_the_session() {
    let spec = spec(20_000);
    let write = || {
        let mut script = script(&spec, Pace::Recorded { speed: 1.0 }, [EVERYTHING, EVERYTHING]);
        let mut outlet = FileOutlet::new(Vec::new(), SESSION_BEGIN_NS, Some(7)).unwrap();
        let report = play(&mut script, &mut outlet, &mut VirtualClock::default(), &RUNNING).unwrap();
        (report, outlet.finish().unwrap())
    };
    let (report, file) = write();
    assert!(file == write().1, "the same seed writes the same file");
    let mut capture = Capture::new(Cursor::new(file)).unwrap();
    let mut arrived = ByDestination::new();
    let mut last_ns = SESSION_BEGIN_NS;
    while let Some(record) = capture.next_record().unwrap() {
        assert!(record.ts_ns >= last_ns);
        last_ns = record.ts_ns;
        take_frame(&mut arrived, record.frame);
    }
    assert_arrived(&report, &spec, &arrived, false);
    assert!(report.channels.iter().all(|channel| !channel.must_be_declared.is_empty()));
    assert!((1_900_000_000..2_500_000_000).contains(&(last_ns - SESSION_BEGIN_NS)));
}

#[test]
fn a_capture_played_again_loses_nothing_more_and_keeps_its_own_losses() {
    let spec = spec(5_000);
    let mut first = script(&spec, Pace::Recorded { speed: 1.0 }, ["loss=0.05", "loss=0.05"]);
    let mut outlet = FileOutlet::new(Vec::new(), SESSION_BEGIN_NS, None).unwrap();
    let before = play(&mut first, &mut outlet, &mut VirtualClock::default(), &RUNNING).unwrap();
    let file = outlet.finish().unwrap();

    let channels = Synthetic::new(&spec).unwrap().channels().to_vec();
    let any_source = |mut channel: venue::session::Channel| {
        for line in channel.lines.iter_mut().flatten() {
            line.source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        }
        channel
    };
    let channels: Vec<_> = channels.into_iter().map(any_source).collect();
    let recorded = Recorded::new(Capture::new(Cursor::new(file.clone())).unwrap(), channels);
    let none = || [Impairment::default(), Impairment::default()];
    let mut again = Script::new(recorded, Pace::Recorded { speed: 1.0 }, none(), 1);
    let mut outlet = FileOutlet::new(Vec::new(), SESSION_BEGIN_NS, None).unwrap();
    let after = play(&mut again, &mut outlet, &mut VirtualClock::default(), &RUNNING).unwrap();
    assert!(outlet.finish().unwrap() == file, "frame by frame and ns by ns the same");
    for (before, after) in before.channels.iter().zip(&after.channels) {
        // What both lines lost is not in the capture at all.
        assert_eq!(before.delivered, after.delivered);
        assert_eq!(after.delivered, after.sequences);
        let lost_by_one = numbers(&before.lines.a.as_ref().unwrap().missing).len() as u64
            - numbers(&before.must_be_declared).len() as u64;
        assert_eq!(numbers(&after.lines.a.as_ref().unwrap().missing).len() as u64, lost_by_one);
    }
}

#[test]
fn real_captures_are_played_whole_with_their_own_one_line_losses() {
    let Some(folder) = std::env::var_os("FEEDPLANE_CAPTURES") else {
        let _ = std::io::stderr().write_all(b"\nSKIPPED: FEEDPLANE_CAPTURES is not set\n");
        return;
    };
    let path = std::path::Path::new(&folder).join("cme_mdp3/Cme.Mdp3.Sbe.v6.1.pcap");
    let line = |third, port| {
        let destination = SocketAddrV4::new(Ipv4Addr::new(224, 0, third, 64), port);
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Some(venue::session::LineAddress { destination, source })
    };
    let channel = venue::session::Channel {
        name: "cme".into(),
        channel_id: 1,
        protocol: venue::session::Protocol::Mdp3,
        lines: [line(31, 14340), line(32, 15340)],
    };
    let recorded = Recorded::new(Capture::open(&path).unwrap(), vec![channel]);
    let mut script = Script::new(recorded, Pace::FlatOut, [Impairment::default(), Impairment::default()], 1);
    let mut outlet = FileOutlet::new(std::io::sink(), 0, None).unwrap();
    let report = play(&mut script, &mut outlet, &mut VirtualClock::default(), &RUNNING).unwrap();
    let [channel] = &report.channels[..] else { panic!("one channel, one run") };
    assert_eq!((channel.first_sequence, channel.last_sequence, channel.sequences), (5_615, 10_614, 5_000));
    assert_eq!((report.packets_sent, channel.messages), (10_000, 10_273));
    assert_eq!(channel.must_be_declared, []);
}

#[test]
fn a_stop_sends_the_last_words_of_every_channel_and_keeps_the_account_exact() {
    struct StopAfter<'s>(FileOutlet<Vec<u8>>, u64, &'s AtomicBool);
    impl Outlet for StopAfter<'_> {
        fn send(&mut self, dispatch: &Dispatch<'_>) -> Result<(), SendError> {
            self.1 = self.1.saturating_sub(1);
            self.2.store(self.1 == 0, Ordering::Relaxed);
            self.0.send(dispatch)
        }
        fn flush(&mut self) -> Result<(), SendError> {
            self.0.flush()
        }
    }
    let stop = AtomicBool::new(false);
    let spec = spec(u64::MAX);
    let mut script = script(&spec, Pace::Recorded { speed: 1.0 }, [EVERYTHING, "loss=0.1,skew=1ms"]);
    let mut outlet = StopAfter(FileOutlet::new(Vec::new(), 0, None).unwrap(), 2_000, &stop);
    let report = play(&mut script, &mut outlet, &mut VirtualClock::default(), &stop).unwrap();
    assert!(report.interrupted && report.packets_sent < 2_500);
    let mut arrived = ByDestination::new();
    let mut capture = Capture::new(Cursor::new(outlet.0.finish().unwrap())).unwrap();
    while let Some(record) = capture.next_record().unwrap() {
        take_frame(&mut arrived, record.frame);
    }
    assert_arrived(&report, &spec, &arrived, false);
}

/// A socket that sees every frame on an interface of the current namespace.
fn packet_socket(interface: &str) -> Socket {
    let every_protocol = (libc::ETH_P_ALL as u16).to_be();
    let protocol = SocketProtocol::from(i32::from(every_protocol));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
    set_socket_recv_buffer_size_force(&socket, 256 << 20).unwrap();
    let name = std::ffi::CString::new(interface).unwrap();
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = every_protocol;
    // SAFETY: the name ends in a zero and outlives the call.
    address.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) } as i32;
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address is a live sockaddr_ll of that length.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    assert_eq!(result, 0);
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A socket joined to a group on the interface that has this address.
fn joined(to: SocketAddrV4, interface: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind(to).unwrap();
    socket.join_multicast_v4(to.ip(), &interface).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

#[test]
fn what_arrives_over_veth_is_what_the_account_says_at_the_interface_and_in_kernel_sockets() {
    if !require_root("what_arrives_over_veth_is_what_the_account_says_at_the_interface_and_in_kernel_sockets")
    {
        return;
    }
    let network = Network::new().unwrap();
    let receivers = [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 2, 0, 2)];
    for ((near, far), address) in [("va0", "va1"), ("vb0", "vb1")].into_iter().zip(receivers) {
        network.veth_pair(near, far, 1).unwrap();
        network.add_address(far, address, 24).unwrap();
    }
    let spec = spec(20_000);
    network.run(|| {
        let taps = [packet_socket("va1"), packet_socket("vb1")];
        let mut sockets = Vec::new();
        for channel in Synthetic::new(&spec).unwrap().channels() {
            for (line, interface) in channel.lines.iter().flatten().zip(receivers) {
                let socket = joined(line.destination, interface);
                set_socket_recv_buffer_size_force(&socket, 256 << 20).unwrap();
                sockets.push((line.destination, socket));
            }
        }
        let mut script = script(&spec, Pace::FlatOut, [EVERYTHING, EVERYTHING]);
        let interfaces = ["va0", "vb0"].map(|name| Some(name.to_owned()));
        let mut outlet = RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 1 }).unwrap();
        let report = play(&mut script, &mut outlet, &mut RealClock::start(), &RUNNING).unwrap();

        // A veth delivers before the sender's call returns, or soon after in softirq: wait for the count.
        let mut at_interface = ByDestination::new();
        let mut buffer = [0; 2048];
        for (tap, line) in taps.iter().zip(["a", "b"]) {
            let wanted: u64 = report
                .channels
                .iter()
                .map(|channel| {
                    let lines = &channel.lines;
                    let told = if line == "a" { &lines.a } else { &lines.b };
                    told.as_ref().unwrap().sent
                })
                .sum();
            tap.set_nonblocking(false).unwrap();
            tap.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut seen = 0;
            while seen < wanted {
                let mut reader = tap;
                let bytes = reader.read(&mut buffer).expect("every frame that was sent arrives");
                seen += u64::from(frame::parse_ethernet(&buffer[..bytes]).is_ok());
                take_frame(&mut at_interface, &buffer[..bytes]);
            }
        }
        assert_arrived(&report, &spec, &at_interface, false);

        let mut in_sockets = ByDestination::new();
        for (destination, socket) in &sockets {
            let seen = &at_interface[destination];
            let arrived = in_sockets.entry(*destination).or_default();
            while arrived.packets < seen.packets - seen.wrong_checksum {
                let bytes = socket.recv(&mut buffer).expect("every whole packet reaches its socket");
                arrived.take(&buffer[..bytes], true);
            }
            socket.set_nonblocking(true).unwrap();
            assert!(socket.recv(&mut buffer).is_err(), "a packet with a wrong checksum reached a socket");
        }
        assert_arrived(&report, &spec, &in_sockets, true);
    });
}

#[test]
fn what_arrives_by_udp_on_loopback_is_what_the_account_says() {
    // A group is joined, for which an oopsed kernel may hold its lock.
    if !lab::network::require_sound_kernel("what_arrives_by_udp_on_loopback_is_what_the_account_says") {
        return;
    }
    let spec = SyntheticSpec {
        symbols: 5,
        destinations: [31_771, 32_771]
            .map(|port| Some(SocketAddrV4::new(Ipv4Addr::new(239, 77, 9, 1), port))),
        ..spec(300)
    };
    let channels = Synthetic::new(&spec).unwrap().channels().to_vec();
    let lines = channels.iter().flat_map(|channel| channel.lines.iter().flatten());
    let sockets: Vec<_> =
        lines.map(|line| (line.destination, joined(line.destination, Ipv4Addr::LOCALHOST))).collect();
    let impaired = "loss=0.05,duplicate=0.05,reorder=0.1/2,truncate=0.05";
    let mut script = script(&spec, Pace::PacketsPerSecond(2_000.0), [impaired, impaired]);
    let mut outlet = UdpOutlet::new([Ipv4Addr::LOCALHOST; 2], 0).unwrap();
    let report = play(&mut script, &mut outlet, &mut RealClock::start(), &RUNNING).unwrap();
    let mut arrived = ByDestination::new();
    let mut buffer = [0; 2048];
    for (channel, told) in channels.iter().zip(&report.channels) {
        for (line, told) in channel.lines.iter().flatten().zip([&told.lines.a, &told.lines.b]) {
            let (_, socket) = sockets.iter().find(|(to, _)| *to == line.destination).unwrap();
            let got = arrived.entry(line.destination).or_default();
            for _ in 0..told.as_ref().unwrap().sent {
                let bytes = socket.recv(&mut buffer).expect("every packet arrives");
                got.take(&buffer[..bytes], true);
            }
        }
    }
    assert_arrived(&report, &spec, &arrived, true);
}

#[test]
fn what_must_not_be_sent_is_refused() {
    let corrupt = "corrupt=1";
    let mut outlet = UdpOutlet::new([Ipv4Addr::LOCALHOST; 2], 0).unwrap();
    let result = play(
        &mut script(&spec(10), Pace::FlatOut, [corrupt, corrupt]),
        &mut outlet,
        &mut VirtualClock::default(),
        &RUNNING,
    );
    assert!(matches!(result, Err(SendError::CannotCorrupt)));

    let absent = RawTarget { interfaces: [Some("absent0".into()), None], vlan: None, ttl: 1 };
    assert!(RawOutlet::new(&absent).is_err());

    if !require_root("what_must_not_be_sent_is_refused") {
        return;
    }
    let network = Network::new().unwrap();
    network.run(|| {
        let raw = |interfaces| RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 1 }).unwrap();
        let refused = |spec: &SyntheticSpec, mut outlet: RawOutlet| {
            play(
                &mut script(spec, Pace::FlatOut, ["", ""]),
                &mut outlet,
                &mut VirtualClock::default(),
                &RUNNING,
            )
            .unwrap_err()
        };
        let unnamed = refused(&spec(10), raw([Some("lo".into()), None]));
        assert!(matches!(unnamed, SendError::NoLine(venue::session::Line::B)), "{unnamed}");
        let unicast = Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 1));
        let unicast = refused(
            &SyntheticSpec { destinations: [unicast, None], ..spec(10) },
            raw([Some("lo".into()), None]),
        );
        assert!(matches!(unicast, SendError::NotMulticast(_)), "{unicast}");
    });
}
