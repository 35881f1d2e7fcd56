//! The worker's thread neither allocates nor frees after start-up: not for packets in and out of order, not
//! for gaps, not while feeds change and reports are read. Alone in its binary, because it counts by a global
//! allocator.

#![allow(clippy::unwrap_used)]

use bus::config::{DataplaneDocument, Feed, FeedLine, FeedLines, FeedProtocol, FeedsDocument};
use dataplane::process::Dataplane;
use lab::network::Network;
use lab::redis_server::RedisServer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;
use venue::impair::{Impairment, Reorder};
use venue::play::{RealClock, play};
use venue::script::{Pace, Script};
use venue::send::{RawOutlet, RawTarget};
use venue::session::{Channel, Source};
use venue::synthetic::{SessionEnd, Synthetic, SyntheticSpec};

/// Counts what the watched thread asks of the allocator.
struct Counting;

/// The watched thread; 0 = none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    // SAFETY: a plain system call without arguments.
    if watched != 0 && unsafe { libc::gettid() } == watched {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn feed(channel: &Channel) -> Feed {
    let line = |index: usize| {
        channel.lines[index].map(|at| FeedLine {
            group: *at.destination.ip(),
            port: at.destination.port(),
            source: None,
        })
    };
    Feed {
        name: channel.name.clone(),
        channel_id: channel.channel_id,
        publisher_id: 2,
        protocol: FeedProtocol::Itch50,
        schema: None,
        lines: FeedLines { a: line(0), b: line(1) },
        first_sequence: Some(1),
        window_packets: 512,
        gap_timeout_us: 20_000,
    }
}

fn write_feeds(folder: &Path, channels: &[Channel], but_last: bool) {
    let mut feeds: Vec<Feed> = channels.iter().map(feed).collect();
    if but_last {
        feeds.pop();
    }
    let document = FeedsDocument { feeds, filters: Vec::new() };
    std::fs::write(folder.join("feeds.yaml"), serde_json::to_string(&document).unwrap()).unwrap();
}

fn worker_thread() -> i32 {
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "worker-w0")
    };
    let task = tasks.find(named).expect("the worker's thread");
    task.file_name().to_string_lossy().parse().unwrap()
}

fn run(backend: &str) {
    let network = Network::new().unwrap();
    network.veth_pair("venue-a", "nic-a", 2).unwrap();
    network.veth_pair("venue-b", "nic-b", 2).unwrap();
    let redis = RedisServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spec = SyntheticSpec {
        channels: 3,
        messages_per_s: 40_000.0,
        ..SyntheticSpec::new(SessionEnd::Messages(40_000), 5)
    };
    let session = Synthetic::new(&spec).unwrap();
    let channels = session.channels().to_vec();
    write_feeds(folder.path(), &channels, false);
    let document = format!(
        "feeds: feeds.yaml\nworkers: [{{name: w0, interface_a: nic-a, interface_b: nic-b}}]\n\
         receive: {{backend: {backend}}}\npublisher: {{redis: '{}', ring_ticks: 1024}}\n",
        redis.url()
    );
    let document = DataplaneDocument::parse(document.as_bytes()).unwrap();
    let folder = folder.path();
    let mut dataplane = network.run(|| Dataplane::start(document, folder)).unwrap();
    CALLS.store(0, Ordering::Relaxed);
    WATCHED.store(worker_thread(), Ordering::Relaxed);
    let reorder = Some(Reorder { probability: 0.05, packets: 4, hold_ns: 1_000_000 });
    let line = Impairment { loss: 0.05, reorder, corrupt: 0.01, ..Impairment::default() };
    let player = std::thread::spawn({
        let network = network.clone();
        move || {
            network.run(|| {
                let interfaces = ["venue-a", "venue-b"].map(|name| Some(name.to_owned()));
                let mut outlet = RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 1 }).unwrap();
                let mut script = Script::new(session, Pace::Recorded { speed: 1.0 }, [line.clone(), line], 9);
                play(&mut script, &mut outlet, &mut RealClock::start(), &AtomicBool::new(false)).unwrap()
            })
        }
    });
    let mut turn = 0;
    while !player.is_finished() {
        turn += 1;
        write_feeds(folder, &channels, turn % 2 == 1);
        network.run(|| dataplane.reload()).unwrap();
        dataplane.status().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    player.join().unwrap();
    let status = dataplane.status().unwrap();
    WATCHED.store(0, Ordering::Relaxed);
    let delivered = &status["workers"][0]["channels"][0]["delivered_sequences"];
    assert!(
        delivered.as_u64() > Some(5_000),
        "{backend}: {delivered} delivered, too little to show anything"
    );
    assert_eq!(CALLS.load(Ordering::Relaxed), 0, "{backend}: calls of the allocator on the worker's thread");
    dataplane.stop().unwrap();
}

#[test]
fn a_worker_neither_allocates_nor_frees_after_start_up() {
    if !lab::network::require_root("a_worker_neither_allocates_nor_frees_after_start_up") {
        return;
    }
    for backend in ["xdp", "socket"] {
        run(backend);
    }
}
