//! The network, Redis, configuration and process of one test.

use bus::Entry;
use bus::config::FeedsDocument;
use lab::network::Network;
use lab::redis_server::RedisServer;
use redis::Value as Reply;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use venue::account::Report;
use venue::impair::Impairment;
use venue::play::{RealClock, play};
use venue::script::{Pace, Script};
use venue::send::{RawOutlet, RawTarget};
use venue::session::Source;

/// Long enough for anything that is going to happen on a busy machine of two cores.
const PATIENCE: Duration = Duration::from_secs(30);

/// One test's world. Two veth pairs: the venue's ends `venue-a` and `venue-b`, the data plane's `nic-a` and
/// `nic-b`.
pub(crate) struct Rig {
    pub(crate) network: Network,
    pub(crate) redis: RedisServer,
    folder: TempDir,
    process: Option<Child>,
    /// Lines put under `receive:`.
    pub(crate) receive: String,
    /// Lines put under `publisher:`.
    pub(crate) publisher: String,
    /// Lines put beside the sections.
    pub(crate) more: String,
}

impl Rig {
    /// `None` without the rights, after saying so.
    pub(crate) fn new(test_name: &str) -> Option<Rig> {
        Rig::with_redis(test_name, RedisServer::start().unwrap())
    }

    pub(crate) fn with_redis(test_name: &str, redis: RedisServer) -> Option<Rig> {
        if !lab::network::require_root(test_name) {
            return None;
        }
        let network = Network::new().unwrap();
        network.veth_pair("venue-a", "nic-a", 1).unwrap();
        network.veth_pair("venue-b", "nic-b", 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let receive = "  backend: xdp\n".to_owned();
        // Everything stays: the account is made from the stream.
        let publisher = "  entries_max: 100000000\n".to_owned();
        Some(Rig { network, redis, folder, process: None, receive, publisher, more: String::new() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_feeds(&self, feeds: &FeedsDocument) {
        let text = serde_json::to_string(feeds).unwrap();
        // JSON is YAML.
        std::fs::write(self.path("feeds.yaml"), text).unwrap();
    }

    /// Starts the process and waits until it polls its feeds.
    pub(crate) fn start(&mut self) {
        let document = format!(
            "feeds: feeds.yaml\n\
             workers:\n  - {{name: w0, interface_a: nic-a, interface_b: nic-b}}\n\
             receive:\n{}\
             publisher:\n  redis: '{}'\n{}\
             status: {{file: status.json, interval_ms: 50}}\n{}",
            self.receive,
            self.redis.url(),
            self.publisher,
            self.more,
        );
        std::fs::write(self.path("dataplane.yaml"), document).unwrap();
        let _ = std::fs::remove_file(self.path("status.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane-dataplane"));
        command.arg("--config").arg(self.path("dataplane.yaml")).stdin(Stdio::null());
        self.process = Some(self.network.command(&mut command).spawn().unwrap());
        self.wait("the process to run its feeds", |status| {
            status["workers"][0]["channels"].as_array().is_some_and(|channels| !channels.is_empty())
        });
    }

    /// The last status written.
    pub(crate) fn status(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.path("status.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until a status satisfies `done`, and returns it.
    pub(crate) fn wait(&mut self, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            if let Some(status) = self.status()
                && done(&status)
            {
                return status;
            }
            if let Some(process) = &mut self.process
                && let Some(ended) = process.try_wait().unwrap()
            {
                panic!("the data plane ended ({ended}) while the test waited for {what}");
            }
            let status = self.status().map_or("none".into(), |status| format!("{status:#}"));
            assert!(started.elapsed() < PATIENCE, "waited for {what}; the last status was {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = self.process.as_ref().unwrap().id();
        // SAFETY: a plain system call on a child of ours that was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
    }

    /// Ends the process as an operator does, and returns its last status.
    pub(crate) fn stop(&mut self) -> Value {
        self.signal(libc::SIGTERM);
        let mut process = self.process.take().unwrap();
        let ended = process.wait().unwrap();
        assert!(ended.success(), "the data plane ended with {ended}");
        self.status().unwrap()
    }

    /// Ends the process as a power cut does.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Plays a session on the venue's ends, to its end.
    pub(crate) fn play(
        &self,
        source: impl Source + Send,
        pace: Pace,
        impairments: [Impairment; 2],
        seed: u64,
    ) -> Report {
        play_in(&self.network, source, pace, impairments, seed)
    }

    /// Everything in the stream, in order.
    pub(crate) fn stream(&self) -> Vec<Record> {
        let client = redis::Client::open(self.redis.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut records = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let reply: Reply = redis::cmd("XRANGE")
                .arg("raw_market_data")
                .arg(&from)
                .arg("+")
                .arg("COUNT")
                .arg(500)
                .query(&mut connection)
                .unwrap();
            let page = bus::entries_of_range(&reply).unwrap();
            let Some(last) = page.last() else { return records };
            from = format!("({}", last.id);
            records.extend(page.iter().map(|at| Record::of(at.entry.as_ref().unwrap())));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Plays a session inside a namespace.
pub(crate) fn play_in(
    network: &Network,
    source: impl Source + Send,
    pace: Pace,
    impairments: [Impairment; 2],
    seed: u64,
) -> Report {
    network.run(move || {
        let interfaces = [Some("venue-a".to_owned()), Some("venue-b".to_owned())];
        let mut outlet = RawOutlet::new(&RawTarget { interfaces, vlan: None, ttl: 1 }).unwrap();
        let mut script = Script::new(source, pace, impairments, seed);
        play(&mut script, &mut outlet, &mut RealClock::start(), &AtomicBool::new(false)).unwrap()
    })
}

/// An entry of the stream, kept.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) channel_id: u16,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) content: Kept,
}

#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Ticks(Vec<tick::Tick>),
    Gap(tick::GapReason),
}

impl Record {
    fn of(entry: &Entry<'_>) -> Record {
        let content = match entry.content {
            bus::Content::Gap(why) => Kept::Gap(why),
            bus::Content::Ticks(_) => Kept::Ticks(entry.ticks().collect()),
        };
        Record { channel_id: entry.channel_id, first: entry.first, last: entry.last, content }
    }

    pub(crate) fn ticks(&self) -> &[tick::Tick] {
        match &self.content {
            Kept::Ticks(ticks) => ticks,
            Kept::Gap(_) => &[],
        }
    }
}

/// The folder of the exchanges' captures; `None` after saying that the test is skipped.
pub(crate) fn captures(test_name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FEEDPLANE_CAPTURES").map(PathBuf::from).filter(|path| Path::is_dir(path));
    if folder.is_none() {
        use std::io::Write;
        let line = format!("\nSKIPPED: {test_name}: FEEDPLANE_CAPTURES is not set\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    folder
}
