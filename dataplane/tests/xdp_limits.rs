//! The XDP receiver where something is missing or short: rights, locked memory, huge pages, time. What
//! cannot be had is named; what is lost is counted.

#![allow(clippy::unwrap_used, reason = "helpers of tests may, as tests may")]
#![cfg(feature = "xdp")]

mod xdp_net;

use dataplane::arrival::Receiver;
use dataplane::xdp::{Interface, ReceiverConfig, XdpReceiver};
use ebpf::{FeedKey, FeedValue, Generator, LoadRequest, Reason, Stamp, Steering};
use std::time::{Duration, Instant};
use xdp_net::{Datagram, GROUP_A, PORT, RawSocket, ifindex, network};
use zerocopy::FromBytes;

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_IPC_LOCK: u32 = 14;

fn small() -> ReceiverConfig {
    ReceiverConfig { frames: 1024, ring_entries: 1024, huge_pages: false, ..ReceiverConfig::default() }
}

fn steer(interface: &str) -> Steering {
    let steering = Steering::load(ifindex(interface), &LoadRequest::default()).expect("load and attach");
    let key = FeedKey { destination: GROUP_A, port: PORT, source: None };
    steering.set_feed(key, FeedValue { slot: 1, line: 0 }).unwrap();
    steering
}

/// Takes a capability from the calling thread alone.
fn drop_capability(bit: u32) {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: header and sets have the layout of version 3 and live through the calls.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()), 0);
        sets[bit as usize / 32][0] &= !(1 << (bit % 32));
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), 0);
    }
}

#[test]
fn without_the_right_to_busy_polling_packets_come_all_the_same_and_it_is_announced() {
    let test = "without_the_right_to_busy_polling_packets_come_all_the_same_and_it_is_announced";
    let Some(_network) = network(test, &[1]) else { return };
    let steering = steer("b0");
    let wire = RawSocket::open("a0");
    drop_capability(CAP_NET_ADMIN);
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    assert!(!receiver.reports()[0].busy_poll);
    let announced = receiver.fallbacks().iter().find(|fallback| fallback.wanted.contains("busy polling"));
    assert!(announced.expect("announced").reason.contains("CAP_NET_ADMIN missing"));
    wire.send(&Datagram::numbered(1).frame());
    let deadline = Instant::now() + Duration::from_secs(10);
    while receiver.poll(1, &mut |_| ()) == 0 {
        assert!(Instant::now() < deadline, "no packet");
        receiver.wait(Duration::from_millis(10));
    }
}

#[test]
fn without_the_right_to_raw_sockets_it_is_named() {
    let Some(_network) = network("without_the_right_to_raw_sockets_it_is_named", &[1]) else { return };
    let steering = steer("b0");
    drop_capability(CAP_NET_RAW);
    let refused = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap_err();
    assert!(refused.to_string().contains("CAP_NET_RAW missing"), "{refused}");
}

#[test]
fn memory_above_the_limit_names_the_limit_and_the_right() {
    let Some(_network) = network("memory_above_the_limit_names_the_limit_and_the_right", &[1]) else {
        return;
    };
    let steering = steer("b0");
    // The soft limit binds this thread only: the others keep CAP_IPC_LOCK.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get one rlimit that lives through them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit), 0);
        limit.rlim_cur = 1 << 20;
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
    }
    drop_capability(CAP_IPC_LOCK);
    let refused = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("1024 KiB") && text.contains("CAP_IPC_LOCK"), "{text}");
    let few = ReceiverConfig { frames: 64, ring_entries: 64, ..small() };
    XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &few).expect("fits in the limit");
}

#[test]
fn huge_pages_that_are_not_there_are_announced() {
    let Some(_network) = network("huge_pages_that_are_not_there_are_announced", &[1]) else { return };
    let free = std::fs::read_to_string("/proc/meminfo")
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("HugePages_Free:")?.trim().parse::<u32>().ok())
        .unwrap_or(0);
    let steering = steer("b0");
    let config = ReceiverConfig { huge_pages: true, ..small() };
    let receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config).unwrap();
    let announced = receiver.fallbacks().iter().find(|fallback| fallback.wanted.contains("huge pages"));
    match announced {
        Some(fallback) => assert!(fallback.reason.contains("2 of 2 MiB are needed"), "{fallback}"),
        None => assert!(free >= 2, "there were none"),
    }
}

#[test]
fn every_packet_of_a_flood_is_received_whole_or_counted_as_dropped() {
    let test = "every_packet_of_a_flood_is_received_whole_or_counted_as_dropped";
    let Some(network) = network(test, &[1]) else { return };
    let steering = steer("b0");
    let mut receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &small()).unwrap();
    let (mut next, mut packets) = (0, 0u64);
    let mut check = |receiver: &mut XdpReceiver| {
        receiver.poll(256, &mut |arrival| {
            let (stamp, rest) = Stamp::read_from_prefix(arrival.payload).unwrap();
            assert!(stamp.sequence >= next, "in order");
            assert!(stamp.tai_ns > 0 && stamp.tai_ns <= arrival.times.xdp_tai_ns);
            assert!(rest.iter().all(|byte| *byte == 0x55));
            next = stamp.sequence + 1;
            packets += 1;
        })
    };
    std::thread::scope(|scope| {
        let generator = scope.spawn(|| {
            network.run(|| {
                let generator = Generator::load(ifindex("a0")).unwrap();
                let mut payload = vec![0x55; 58];
                payload[..size_of::<Stamp>()].fill(0);
                let template = Datagram { payload, ..Datagram::default() }.frame();
                generator.run(&template, 3 * Generator::REPEAT_MIN).unwrap();
            });
        });
        while !generator.is_finished() {
            check(&mut receiver);
        }
    });
    let mut quiet = 0;
    while quiet < 20 {
        match check(&mut receiver) {
            0 => {
                quiet += 1;
                receiver.wait(Duration::from_millis(1));
            }
            _ => quiet = 0,
        }
    }
    let steered = steering.counters().unwrap().get(Reason::Steered);
    let dropped = receiver.read_statistics()[0].statistics;
    assert!(packets > 0 && steered >= packets);
    assert_eq!(steered, packets + dropped.rx_ring_full + dropped.rx_dropped, "{dropped:?}");
    let stats = receiver.stats();
    assert_eq!((stats.packets, stats.bad_checksum, stats.foreign), (packets, 0, 0));
    // The kernel shows a packet before it shows that its place in the fill ring is free: then the frame stays for the next.
    assert!(u64::from(receiver.outstanding_frames()) + stats.unfilled >= 1024, "{stats:?}");
    drop(steering);
    assert_eq!(receiver.close(), 0);
}
