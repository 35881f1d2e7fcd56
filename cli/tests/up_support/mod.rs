//! A `feedplane up` under test, with a session played to it over loopback, and its Redis.
#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod venue;

use bus::{Content, Entry};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for anything that is going to happen on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Why everything cannot be run here; says it loudly.
pub(crate) fn is_skipped(test: &str, services: &[&str]) -> bool {
    let program = |name: &str| {
        let name = format!("feedplane-{name}");
        (!Path::new(env!("CARGO_BIN_EXE_feedplane")).with_file_name(&name).exists())
            .then(|| format!("{name} is not built (cargo build -p {name})"))
    };
    let redis = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err();
    let redis = redis.then(|| "redis-server is not installed".to_owned());
    let why = services.iter().find_map(|name| program(name)).or(redis);
    if let Some(why) = &why {
        let _ = std::io::stderr().write_all(format!("\nSKIPPED: {test}: {why}\n").as_bytes());
    }
    why.is_some()
}

/// The folder of one test: documents, and the run folder in it.
pub(crate) struct Folder {
    folder: TempDir,
    /// Of line A and line B.
    pub(crate) ports: [u16; 2],
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let folder = tempfile::Builder::new().prefix("feedplane-up-").tempdir().unwrap();
        // A PostgreSQL that is not root must be able to go through.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let folder = Folder { folder, ports: sockets.each_ref().map(|s| s.local_addr().unwrap().port()) };
        let feeds = folder.path("feeds.yaml");
        let nowhere = folder.path("nowhere.pcap");
        let mut play = folder.player(&["--messages", "1"]);
        let played = play.arg("--write").arg(nowhere).arg("--feeds-out").arg(feeds).output().unwrap();
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `up.yaml`: the data plane on loopback, free ports, and these lines.
    pub(crate) fn up(&self, more: &str) {
        let dataplane = "dataplane: {feeds: feeds.yaml, interface_a: lo, interface_b: lo, backend: socket, \
                         entries_max: 100000000}";
        std::fs::write(self.path("up.yaml"), format!("health_port: 0\n{dataplane}\n{more}\n")).unwrap();
    }

    fn player(&self, more: &[&str]) -> Command {
        let [a, b] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
        command.args(["play", "--synthetic", "itch50", "--symbols", "20", "--group-a", &a, "--group-b", &b]);
        command.args(more).stdout(Stdio::null());
        command
    }

    /// Begins to play a session over loopback; its account goes to `sent.json`.
    pub(crate) fn play(&self, rate: &str, duration: &str) -> Child {
        let mut command = self.player(&["--udp", "--rate", rate, "--duration", duration]);
        command.arg("--report").arg(self.path("sent.json")).spawn().unwrap()
    }

    pub(crate) fn sent(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("sent.json")).unwrap()).unwrap()
    }

    /// The data plane's last status.
    pub(crate) fn status(&self) -> Value {
        let text = std::fs::read(self.path("run/status.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(crate) fn redis(&self) -> redis::RedisResult<redis::Connection> {
        let socket = self.path("run/redis/redis.sock");
        redis::Client::open(format!("unix://{}", socket.display()))?.get_connection()
    }

    /// Everything in the stream of ticks, in order: `(channel, first, last, ticks or none for a gap)`.
    pub(crate) fn stream(&self) -> Vec<(u16, u64, u64, Option<Vec<tick::Tick>>)> {
        let mut connection = self.redis().unwrap();
        let mut records = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(bus::names::RAW_MARKET_DATA).arg(&from).arg("+").arg("COUNT").arg(1_000);
            let reply: redis::Value = range.query(&mut connection).unwrap();
            let page = bus::entries_of_range(&reply).unwrap();
            let Some(last) = page.last() else { return records };
            from = format!("({}", last.id);
            records.extend(page.iter().map(|at| record(at.entry.as_ref().unwrap())));
        }
    }

    /// Entries in the stream of ticks.
    pub(crate) fn published(&self) -> u64 {
        redis::cmd("XLEN").arg(bus::names::RAW_MARKET_DATA).query(&mut self.redis().unwrap()).unwrap()
    }

    /// Whether the stream reaches to the end of what was sent.
    pub(crate) fn has_all(&self) -> bool {
        let last = &self.sent()["channels"][0]["last_sequence"];
        self.stream().last().is_some_and(|(_, _, covered, _)| last == covered)
    }
}

fn record(entry: &Entry<'_>) -> (u16, u64, u64, Option<Vec<tick::Tick>>) {
    let ticks = matches!(entry.content, Content::Ticks(_)).then(|| entry.ticks().collect());
    (entry.channel_id, entry.first, entry.last, ticks)
}

/// The last that was said of each service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) pid: Option<u32>,
    pub(crate) state: String,
    pub(crate) line: String,
}

/// A running `feedplane up`.
pub(crate) struct Up {
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
    killed: Vec<u32>,
}

impl Up {
    pub(crate) fn start(folder: &Folder) -> Up {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
        command.args(["up", "--config"]).arg(folder.path("up.yaml"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let out = BufReader::new(process.stdout.take().unwrap());
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Up { process, said, killed: Vec::new() }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// What was last said of a service.
    pub(crate) fn row(&self, name: &str) -> Option<Row> {
        let said = self.said.lock().unwrap();
        let line = said.iter().rev().find(|line| line.split_whitespace().next() == Some(name))?;
        let mut words = line.split_whitespace().skip(1);
        let pid = words.next()?.parse().ok();
        Some(Row { pid, state: words.next()?.to_owned(), line: line.clone() })
    }

    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&Up) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            if let Some(ended) = self.process.try_wait().unwrap() {
                panic!("`feedplane up` ended ({ended}) while the test waited for {what}:\n{}", self.said());
            }
            assert!(Instant::now() < end, "waited for {what}; it said\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until these are ready, those that were killed in a new process.
    pub(crate) fn wait_ready(&mut self, names: &[&str]) {
        for name in names {
            self.wait(&format!("{name} to be ready"), |up| {
                let row = up.row(name);
                row.is_some_and(|row| {
                    row.line.ends_with(" ready") && row.pid.is_some_and(|pid| !up.killed.contains(&pid))
                })
            });
        }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let names =
            ["redis", "postgres", "dataplane", "features", "strategy", "gateway", "archiver", "controlplane"];
        names.iter().filter_map(|name| self.row(name)?.pid).collect()
    }

    /// Kills a service as a power cut does.
    pub(crate) fn kill(&mut self, name: &str) {
        let pid = self.row(name).unwrap().pid.unwrap();
        signal(pid, rustix::process::Signal::KILL);
        self.killed.push(pid);
    }

    /// Ends it as an operator does; everything that it has said.
    pub(crate) fn stop(mut self) -> String {
        signal(self.process.id(), rustix::process::Signal::TERM);
        let ended = self.ended();
        // The last lines are under way.
        std::thread::sleep(Duration::from_millis(100));
        assert!(ended.success(), "ended with {ended}:\n{}", self.said());
        self.said()
    }

    /// Kills it as a power cut does.
    pub(crate) fn kill_all(&mut self) {
        signal(self.process.id(), rustix::process::Signal::KILL);
        assert_eq!(self.ended().signal(), Some(9));
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = self.process.try_wait().unwrap() {
                return ended;
            }
            assert!(Instant::now() < end, "does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Rows of the archive's ticks and features, and its gaps.
pub(crate) struct Archive {
    /// Of each stream in order: sequence, ts_recv, order id, price, size.
    pub(crate) ticks: Vec<(i64, i64, i64, i64, i64)>,
    /// Row numbers, beside `ticks`.
    pub(crate) rows: Vec<i64>,
    /// First, last, reason.
    pub(crate) gaps: Vec<(Option<i64>, Option<i64>, String)>,
    /// Numbers of the records, in order.
    pub(crate) features: Vec<i64>,
}

impl Folder {
    fn in_archive<T>(
        &self,
        work: impl AsyncFnOnce(&mut sqlx::PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        use sqlx::Connection;
        let host = self.path("run/postgres");
        let url = format!("postgres:///postgres?host={}&user=feedplane", host.display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { work(&mut sqlx::PgConnection::connect(&url).await?).await })
    }

    /// How many ticks and feature records are archived; none when it cannot be asked.
    pub(crate) fn archived(&self) -> Option<(i64, i64)> {
        let counts =
            "SELECT (SELECT count(*) FROM feedplane.ticks), (SELECT count(*) FROM feedplane.features)";
        self.in_archive(async |connection| sqlx::query_as(counts).fetch_one(connection).await).ok()
    }

    pub(crate) fn archive(&self) -> Archive {
        let read = async |connection: &mut sqlx::PgConnection| {
            let ticks =
                "SELECT sequence, ts_recv, order_id, price, size FROM feedplane.ticks ORDER BY stream, row";
            let gaps = "SELECT first, last, reason FROM feedplane.gaps ORDER BY stream, before_row, first";
            Ok(Archive {
                ticks: sqlx::query_as(ticks).fetch_all(&mut *connection).await?,
                rows: sqlx::query_scalar("SELECT row FROM feedplane.ticks ORDER BY stream, row")
                    .fetch_all(&mut *connection)
                    .await?,
                gaps: sqlx::query_as(gaps).fetch_all(&mut *connection).await?,
                features: sqlx::query_scalar("SELECT number FROM feedplane.features ORDER BY stream, row")
                    .fetch_all(&mut *connection)
                    .await?,
            })
        };
        self.in_archive(read).unwrap()
    }

    /// The stream of features, in order: number and time of each record.
    pub(crate) fn features(&self) -> Vec<(u64, u64)> {
        let mut connection = self.redis().unwrap();
        let reply: Vec<(String, BTreeMap<String, Vec<u8>>)> = redis::cmd("XRANGE")
            .arg(bus::names::CALCULATED_FEATURES)
            .arg("-")
            .arg("+")
            .query(&mut connection)
            .unwrap();
        let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse().unwrap();
        reply.iter().map(|(_, fields)| (number(&fields["n"]), number(&fields["t"]))).collect()
    }
}
