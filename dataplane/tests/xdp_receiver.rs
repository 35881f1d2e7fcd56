//! The XDP receiver over veth pairs: what is sent arrives, what is no feed's goes to the kernel, and feeds,
//! programs and sockets change without harm to the rest.

#![cfg(feature = "xdp")]

mod xdp_net;

use dataplane::arrival::Receiver;
use dataplane::xdp::{
    Interface, MemoryRequest, Mode, ModeRequest, OpenError, ReceiverConfig, Socket, SocketRequest, Transfer,
    XdpReceiver,
};
use ebpf::{AttachRequest, FeedKey, FeedValue, LoadRequest, Reason, Steering};
use feed::Line;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xdp_net::{Datagram, GROUP_A, GROUP_B, PORT, RawSocket, SENDER, ifindex, network};

const PATIENCE: Duration = Duration::from_secs(10);

fn small() -> ReceiverConfig {
    ReceiverConfig { frames: 1024, ring_entries: 1024, huge_pages: false, ..ReceiverConfig::default() }
}

fn steer(interface: &str, request: LoadRequest) -> Steering {
    Steering::load(ifindex(interface), &request).expect("load and attach")
}

fn key(destination: Ipv4Addr) -> FeedKey {
    FeedKey { destination, port: PORT, source: None }
}

/// What a packet was received as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    slot: u16,
    line_b: bool,
    payload: Vec<u8>,
}

/// Polls until `count` packets came or patience ends.
fn receive(receiver: &mut XdpReceiver, count: usize) -> Vec<Got> {
    let deadline = Instant::now() + PATIENCE;
    let mut got = Vec::new();
    while got.len() < count && Instant::now() < deadline {
        let taken = receiver.poll(64, &mut |arrival| {
            assert_ne!(arrival.times.xdp_tai_ns, 0);
            assert_eq!(arrival.times.kernel_utc_ns, 0);
            got.push(Got {
                slot: arrival.slot,
                line_b: arrival.line == Line::B,
                payload: arrival.payload.to_vec(),
            });
        });
        if taken == 0 {
            receiver.wait(Duration::from_millis(10));
        }
    }
    got
}

/// Polls for a moment, in which nothing is expected.
fn receive_nothing(receiver: &mut XdpReceiver) {
    for _ in 0..20 {
        receiver.poll(64, &mut |arrival| panic!("unexpected packet for slot {}", arrival.slot));
        receiver.wait(Duration::from_millis(1));
    }
}

/// Polls until nothing waits.
fn drain(receiver: &mut XdpReceiver) -> usize {
    let mut taken = 0;
    loop {
        match receiver.poll(64, &mut |_| ()) {
            0 => return taken,
            more => taken += more,
        }
    }
}

#[test]
fn what_is_sent_on_two_interfaces_of_four_queues_is_received_whole_on_one_memory() {
    let test = "what_is_sent_on_two_interfaces_of_four_queues_is_received_whole_on_one_memory";
    let Some(_network) = network(test, &[4, 4]) else { return };
    let (a, b) = (steer("b0", LoadRequest::default()), steer("b1", LoadRequest::default()));
    a.set_feed(key(GROUP_A), FeedValue { slot: 3, line: 0 }).unwrap();
    b.set_feed(key(GROUP_B), FeedValue { slot: 3, line: 1 }).unwrap();
    let interfaces = [Interface { steering: &a, queues: 4 }, Interface { steering: &b, queues: 4 }];
    let mut receiver = XdpReceiver::open(&interfaces, &small()).unwrap();
    assert_eq!(receiver.reports().len(), 8);
    assert_eq!(receiver.outstanding_frames(), 1024);

    let (sender_a, sender_b) = (RawSocket::open("a0"), RawSocket::open("a1"));
    let mut sent = Vec::new();
    for number in 0..200u32 {
        let vlans = vec![7; (number % 3) as usize];
        let length = (number as usize * 7) % 1400;
        let base = Datagram { vlans, source_port: 4000 + number as u16, ..Datagram::numbered(number) };
        let mut payload = base.payload.clone();
        payload.resize(4 + length, number as u8);
        for (sender, group, line_b) in [(&sender_a, GROUP_A, false), (&sender_b, GROUP_B, true)] {
            sender.send(&Datagram { group, payload: payload.clone(), ..base.clone() }.frame());
            sent.push(Got { slot: 3, line_b, payload: payload.clone() });
        }
        if number % 32 == 31 {
            // Lets a ring of 128 frames keep up.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let mut got = receive(&mut receiver, sent.len());
    sent.sort();
    got.sort();
    assert!(got == sent, "sent {} received {}", sent.len(), got.len());

    let stats = receiver.stats();
    assert_eq!(stats.packets, 400);
    assert_eq!(stats.bytes, sent.iter().map(|got| got.payload.len() as u64).sum::<u64>());
    assert_eq!((stats.bad_checksum, stats.foreign, stats.bad_descriptors, stats.unfilled), (0, 0, 0, 0));
    assert_eq!(a.counters().unwrap().get(Reason::Steered), 200);
    let queues_used = BTreeMap::from_iter(receiver.read_statistics().iter().map(|report| {
        assert_eq!(report.lent, report.frames, "all frames are with the kernel between polls");
        assert_eq!(report.statistics, Default::default());
        (report.queue, report.ifindex)
    }));
    assert_eq!(queues_used.len(), 4);
    drop((a, b));
    assert_eq!(receiver.close(), 0, "no frame is held after the close");
}

#[test]
fn the_mode_in_force_is_copy_on_veth_and_generic_when_asked() {
    let Some(_network) = network("the_mode_in_force_is_copy_on_veth_and_generic_when_asked", &[1]) else {
        return;
    };
    for (asked, expected) in [
        (ModeRequest::Automatic, Mode::Copy),
        (ModeRequest::Copy, Mode::Copy),
        (ModeRequest::Generic, Mode::Generic),
    ] {
        let steering = steer("b0", LoadRequest { attach: asked.attach(), ..LoadRequest::default() });
        steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
        let config = ReceiverConfig { mode: asked, ..small() };
        let mut receiver =
            XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config).unwrap();
        assert_eq!(receiver.reports()[0].mode, expected, "{asked:?}");
        assert!(receiver.reports()[0].busy_poll);
        let announced = receiver.fallbacks().iter().any(|fallback| fallback.wanted == "zero-copy");
        assert_eq!(announced, asked == ModeRequest::Automatic, "{:?}", receiver.fallbacks());
        RawSocket::open("a0").send(&Datagram::numbered(5).frame());
        assert_eq!(receive(&mut receiver, 1)[0].payload, Datagram::numbered(5).payload, "{asked:?}");
    }
}

#[test]
fn zero_copy_that_must_be_and_cannot_says_why() {
    let Some(_network) = network("zero_copy_that_must_be_and_cannot_says_why", &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    let config = ReceiverConfig { mode: ModeRequest::ZeroCopy, ..small() };
    let refused = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config).unwrap_err();
    assert!(refused.to_string().contains("no zero-copy"), "{refused}");
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_name() {
    let Some(_network) = network("a_configuration_that_cannot_be_is_refused_by_name", &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    let open = |queues, config| XdpReceiver::open(&[Interface { steering: &steering, queues }], &config);
    for (queues, config) in [
        (0, small()),
        (1, ReceiverConfig { frames: 1000, ..small() }),
        (1, ReceiverConfig { ring_entries: 3, ..small() }),
        (1, ReceiverConfig { frames: 32, ..small() }),
    ] {
        assert!(matches!(open(queues, config), Err(OpenError::BadConfiguration(_))), "{config:?}");
    }
    let absent = open(2, small()).unwrap_err();
    assert!(absent.to_string().contains("no such queue"), "{absent}");
}

#[test]
fn what_is_no_feeds_reaches_the_kernel() {
    let Some(network) = network("what_is_no_feeds_reaches_the_kernel", &[1]) else { return };
    let host = Ipv4Addr::new(10, 77, 0, 1);
    network.add_address("b0", host, 24).unwrap();
    let mac = std::fs::read_to_string("/sys/class/net/b0/address").unwrap_or_default();
    let steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let wire = RawSocket::open("a0");

    // ARP: the kernel answers, and so tells the interface's hardware address.
    let mut request = vec![0xff; 6];
    request.extend([2, 0, 0, 0, 0, 9, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9]);
    request.extend([10, 77, 0, 9]);
    request.extend([0; 6]);
    request.extend(host.octets());
    wire.send(&request);
    let reply = std::iter::from_fn(|| wire.receive())
        .find(|frame| frame[12..14] == [0x08, 0x06] && frame[20..22] == [0, 2])
        .unwrap_or_else(|| panic!("an ARP reply ({mac})"));
    let destination_mac: [u8; 6] = reply[6..12].try_into().unwrap();

    // UDP to the host's own address, on the feed's port.
    let socket = UdpSocket::bind((host, PORT)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let source = Ipv4Addr::new(10, 77, 0, 9);
    wire.send(&Datagram { group: host, source, destination_mac, ..Datagram::numbered(8) }.frame());
    let mut buffer = [0; 2048];
    let bytes = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..bytes], Datagram::numbered(8).payload);

    // Multicast of a group that is joined and no feed.
    let group = Ipv4Addr::new(239, 1, 1, 1);
    let socket = UdpSocket::bind((group, PORT)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.join_multicast_v4(&group, &host).unwrap();
    wire.send(&Datagram { group, source, ..Datagram::numbered(9) }.frame());
    let bytes = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..bytes], Datagram::numbered(9).payload);

    receive_nothing(&mut receiver);
    let counters = steering.counters().unwrap();
    assert!(counters.get(Reason::NotIpv4) >= 1 && counters.get(Reason::NoFeed) >= 2, "{counters:?}");
}

#[test]
fn a_feed_is_added_changed_and_removed_while_another_runs_without_loss() {
    let test = "a_feed_is_added_changed_and_removed_while_another_runs_without_loss";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let wire = RawSocket::open("a0");
    let changing = |value: Option<u16>| match value {
        Some(slot) => steering.set_feed(key(GROUP_B), FeedValue { slot, line: 1 }).unwrap(),
        None => steering.remove_feed(key(GROUP_B)).unwrap(),
    };
    let mut number = 0;
    let mut steady = 0;
    for step in [None, Some(5), Some(6), None, Some(7), None] {
        if number > 0 || step.is_some() {
            changing(step);
        }
        for _ in 0..50 {
            for group in [GROUP_A, GROUP_B] {
                wire.send(&Datagram { group, ..Datagram::numbered(number) }.frame());
            }
            number += 1;
        }
        let expected = 50 + if step.is_some() { 50 } else { 0 };
        let got = receive(&mut receiver, expected);
        assert_eq!(got.len(), expected, "{step:?}");
        steady += got.iter().filter(|got| got.slot == 1).count();
        let others: Vec<u16> = got.iter().map(|got| got.slot).filter(|slot| *slot != 1).collect();
        assert_eq!(others, vec![step.unwrap_or(0); if step.is_some() { 50 } else { 0 }]);
    }
    assert_eq!(steady, number as usize);
    receive_nothing(&mut receiver);
}

#[test]
fn a_program_replaced_live_loses_no_packet() {
    let Some(_network) = network("a_program_replaced_live_loses_no_packet", &[1]) else { return };
    let mut steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let config = ReceiverConfig { frames: 8192, ring_entries: 8192, ..small() };
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config).unwrap();
    let wire = RawSocket::open("a0");
    let stop = AtomicBool::new(false);
    let mut next = 0u32;
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                wire.send(&Datagram::numbered(number).frame());
                number += 1;
            }
            number
        });
        let replacer = scope.spawn(|| {
            for _ in 0..20 {
                steering.replace_program().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut check = |receiver: &mut XdpReceiver| {
            receiver.poll(256, &mut |arrival| {
                let number = u32::from_be_bytes(arrival.payload[..4].try_into().unwrap());
                assert_eq!(number, next, "in order and complete");
                next += 1;
            })
        };
        while !replacer.is_finished() {
            if check(&mut receiver) == 0 {
                receiver.wait(Duration::from_millis(1));
            }
        }
        let sent = sender.join().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while check(&mut receiver) > 0 || receiver.stats().packets < u64::from(sent) {
            assert!(Instant::now() < deadline, "sent {sent}, received {}", receiver.stats().packets);
        }
        sent
    });
    assert!(sent > 0);
    assert_eq!(receiver.read_statistics()[0].statistics, Default::default());
    assert_eq!(steering.counters().unwrap().get(Reason::Steered), u64::from(sent), "maps outlive programs");
}

#[test]
fn a_queue_is_bound_again_right_after_it_was_given_up_also_amid_traffic() {
    let test = "a_queue_is_bound_again_right_after_it_was_given_up_also_amid_traffic";
    let Some(_network) = network(test, &[2]) else { return };
    let wire = RawSocket::open("a0");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u32;
            while !stop.load(Ordering::Relaxed) {
                let source_port = 4000 + (number % 64) as u16;
                wire.send(&Datagram { source_port, ..Datagram::numbered(number) }.frame());
                number = number.wrapping_add(1);
            }
        });
        for round in 0..6 {
            let steering = steer("b0", LoadRequest::default());
            steering.set_feed(key(GROUP_A), FeedValue { slot: round, line: 0 }).unwrap();
            let mut receiver =
                XdpReceiver::open(&[Interface { steering: &steering, queues: 2 }], &small()).unwrap();
            let got = receive(&mut receiver, 100);
            assert!(got.len() >= 100 && got.iter().all(|got| got.slot == round));
            if round % 2 == 0 {
                drop(steering);
                assert_eq!(receiver.close(), 0);
            } else {
                // The other order costs packets, not sanity.
                drop(receiver);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_queue_that_belongs_to_another_socket_is_refused_after_a_while() {
    let test = "a_queue_that_belongs_to_another_socket_is_refused_after_a_while";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    let interfaces = [Interface { steering: &steering, queues: 1 }];
    let _first = XdpReceiver::open(&interfaces, &small()).unwrap();
    let refused = XdpReceiver::open(&interfaces, &small()).unwrap_err();
    assert!(refused.to_string().contains("belongs to another AF_XDP socket"), "{refused}");
}

#[test]
fn only_the_chosen_senders_packets_are_a_feeds() {
    let Some(_network) = network("only_the_chosen_senders_packets_are_a_feeds", &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    let chosen = FeedKey { source: Some(SENDER), ..key(GROUP_A) };
    steering.set_feed(chosen, FeedValue { slot: 2, line: 0 }).unwrap();
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let wire = RawSocket::open("a0");
    wire.send(&Datagram { source: Ipv4Addr::new(10, 9, 9, 9), ..Datagram::numbered(1) }.frame());
    wire.send(&Datagram::numbered(2).frame());
    assert_eq!(receive(&mut receiver, 1)[0].payload, Datagram::numbered(2).payload);
    receive_nothing(&mut receiver);
}

#[test]
fn a_wrong_checksum_is_counted_and_not_handed_out_unless_nobody_asks() {
    let test = "a_wrong_checksum_is_counted_and_not_handed_out_unless_nobody_asks";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let wire = RawSocket::open("a0");
    let good = Datagram::numbered(1).frame();
    let mut bad = good.clone();
    bad[60] ^= 1;
    let mut without = bad.clone();
    without[40..42].fill(0);
    for verify_checksum in [true, false] {
        let config = ReceiverConfig { verify_checksum, ..small() };
        let mut receiver =
            XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config).unwrap();
        for frame in [&bad, &without, &good] {
            wire.send(frame);
        }
        let expected = if verify_checksum { 2 } else { 3 };
        assert_eq!(receive(&mut receiver, expected).len(), expected);
        assert_eq!(receiver.stats().bad_checksum, 3 - expected as u64);
        assert_eq!(receiver.stats().packets, expected as u64);
        let report = receiver.read_statistics()[0];
        assert_eq!(report.lent, report.frames, "the frame of a refused packet goes back too");
    }
}

#[test]
fn damaged_packets_are_refused_one_by_one_and_every_frame_goes_back() {
    let test = "damaged_packets_are_refused_one_by_one_and_every_frame_goes_back";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let wire = RawSocket::open("a0");
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let (mut good, mut handed_out) = (0, 0);
    for number in 0..2000 {
        let whole = Datagram::numbered(number).frame();
        let mut frame = whole.clone();
        match draw(4) {
            0 => good += 1,
            1 => frame.truncate(14 + draw(frame.len() - 14)),
            2 => {
                let at = draw(frame.len());
                frame[at] ^= 1 + draw(255) as u8;
            }
            _ => frame[12..].fill_with(|| draw(256) as u8),
        }
        // What is changed back to a good packet by chance, or changed where nobody looks, may pass.
        wire.send(&frame);
        if number % 64 == 63 {
            while receiver.poll(64, &mut |_| handed_out += 1) > 0 {}
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while steering.counters().unwrap().total() < 2000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    while receiver.poll(64, &mut |_| handed_out += 1) > 0 {}
    let stats = receiver.stats();
    assert!(handed_out >= good, "every good packet is handed out: {handed_out} of {good}");
    assert!(stats.bad_checksum > 0);
    assert_eq!(stats.packets + stats.bad_checksum, steering.counters().unwrap().get(Reason::Steered));
    assert_eq!((stats.foreign, stats.bad_descriptors, stats.unfilled), (0, 0, 0));
    assert_eq!(receiver.read_statistics()[0].lent, 1024);
    assert_eq!(receiver.close(), 0);
}

#[test]
fn a_burst_that_nobody_takes_is_counted_by_the_kernel_and_does_not_stop_the_socket() {
    let test = "a_burst_that_nobody_takes_is_counted_by_the_kernel_and_does_not_stop_the_socket";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let config = ReceiverConfig { frames: 256, ring_entries: 64, ..small() };
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config).unwrap();
    let wire = RawSocket::open("a0");
    for number in 0..200 {
        wire.send(&Datagram::numbered(number).frame());
    }
    let deadline = Instant::now() + PATIENCE;
    while steering.counters().unwrap().get(Reason::Steered) < 200 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let taken = drain(&mut receiver);
    assert_eq!(taken, 64, "what fits in the ring");
    let statistics = receiver.read_statistics()[0].statistics;
    assert_eq!(statistics.rx_ring_full, 136, "{statistics:?}");
    wire.send(&Datagram::numbered(777).frame());
    assert_eq!(receive(&mut receiver, 1)[0].payload, Datagram::numbered(777).payload);
    assert_eq!(receiver.reports()[0].lent, 256);
}

#[test]
fn a_budget_is_kept_and_every_queue_has_its_turn() {
    let Some(_network) = network("a_budget_is_kept_and_every_queue_has_its_turn", &[1, 1]) else { return };
    let (a, b) = (steer("b0", LoadRequest::default()), steer("b1", LoadRequest::default()));
    a.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    b.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 1 }).unwrap();
    let interfaces = [Interface { steering: &a, queues: 1 }, Interface { steering: &b, queues: 1 }];
    let mut receiver = XdpReceiver::open(&interfaces, &small()).unwrap();
    let (wire_a, wire_b) = (RawSocket::open("a0"), RawSocket::open("a1"));
    for number in 0..100 {
        wire_a.send(&Datagram::numbered(number).frame());
        wire_b.send(&Datagram::numbered(number).frame());
    }
    let deadline = Instant::now() + PATIENCE;
    while a.counters().unwrap().get(Reason::Steered) + b.counters().unwrap().get(Reason::Steered) < 200 {
        assert!(Instant::now() < deadline);
    }
    let mut lines = [0, 0];
    let mut count = |arrival: dataplane::arrival::Arrival<'_>| lines[arrival.line.index()] += 1;
    assert_eq!(receiver.poll(0, &mut count), 0);
    assert_eq!(receiver.poll(70, &mut count), 70);
    assert_eq!(receiver.poll(1, &mut count), 1);
    assert!(lines[0] >= 32 && lines[1] >= 32, "{lines:?}");
    assert_eq!(drain(&mut receiver), 129);
}

#[test]
fn a_frame_sent_through_the_transmit_ring_arrives_and_comes_back() {
    let test = "a_frame_sent_through_the_transmit_ring_arrives_and_comes_back";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0", LoadRequest::default());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let request = MemoryRequest { huge_pages: false, core: None };
    let mut fallbacks = Vec::new();
    let lease = dataplane::xdp::allocate(1, 64, request, &mut fallbacks).unwrap().remove(0);
    let request = SocketRequest {
        ifindex: ifindex("a0"),
        queue: 0,
        transfer: Some(Transfer::Copy),
        receive_entries: 64,
        transmit_entries: 32,
        busy_poll: false,
    };
    let mut socket = Socket::open(&request, lease, None, &mut fallbacks).unwrap();
    assert_eq!((socket.lent(), socket.outstanding()), (32, 32), "half is kept for sending");
    for number in 0..100 {
        let bytes = Datagram::numbered(number).frame();
        let mut frame = socket.lease().take().expect("completed frames come back");
        socket.lease().chunk_mut(&mut frame)[..bytes.len()].copy_from_slice(&bytes);
        socket.transmit(frame, bytes.len() as u32).expect("room in the ring");
        let deadline = Instant::now() + PATIENCE;
        while socket.complete() == 0 {
            assert!(Instant::now() < deadline, "frame {number} is never completed");
        }
        assert_eq!(receive(&mut receiver, 1)[0].payload, Datagram::numbered(number).payload);
    }
    let frame = socket.lease().take().unwrap();
    let frame = socket.transmit(frame, 4097).expect_err("longer than a chunk");
    assert_eq!(socket.lease().held(), 1);
    socket.lease().give(frame).unwrap();
    assert_eq!(socket.close(), 0);
}

#[test]
fn the_packets_time_lies_between_the_clock_before_and_after() {
    let Some(_network) = network("the_packets_time_lies_between_the_clock_before_and_after", &[1]) else {
        return;
    };
    let request = LoadRequest { attach: AttachRequest::Native, ..LoadRequest::default() };
    let steering = steer("b0", request);
    assert!(steering.has_hardware_time(), "veth takes a device-bound program: {:?}", steering.fallbacks());
    steering.set_feed(key(GROUP_A), FeedValue { slot: 1, line: 0 }).unwrap();
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let before = tai_ns();
    RawSocket::open("a0").send(&Datagram::numbered(1).frame());
    let deadline = Instant::now() + PATIENCE;
    let mut times = None;
    while times.is_none() && Instant::now() < deadline {
        receiver.poll(1, &mut |arrival| times = Some(arrival.times));
    }
    let times = times.expect("a packet");
    assert!(before <= times.xdp_tai_ns && times.xdp_tai_ns <= tai_ns());
    // A veth has no clock; its function answers with nothing or zero.
    assert_eq!(times.hardware_ns, 0);
}

fn tai_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec into the one it is given.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_TAI, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
