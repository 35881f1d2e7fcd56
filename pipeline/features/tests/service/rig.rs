//! A private Redis, ticks as the data plane writes them, the service as a process, and what an engine gives
//! that was never interrupted.

use bus::config::FeaturesDocument;
use bus::control::{ConfigVersion, ProcessReport};
use bus::names::processes_key;
use bus::{Entry, FeatureRecord, records_of_range};
use features::Engine;
use lab::redis_server::RedisServer;
use redis::Value;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tick::{Action, Flags, Side, Tick};

/// Longest wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const RAW: &str = "raw_market_data";
pub(crate) const FEATURES: &str = "calculated_features";

pub(crate) const SETS: &str = "
sets:
  - name: fast
    publish: {every_ms: 5, on_change: [{value: mid, by: 0.02}]}
    features: [spread, mid, imbalance: {levels: 5}, vpin: {bucket: 50, buckets: 10}]
  - name: slow
    bars: {trades: 5}
    publish: {every_ms: 20}
    features: [ema: {bars: 5}, rsi: {bars: 5}, ofi: {bars: 3}, vwap_session: {}]
";

/// A small generator of numbers: the same seed gives the same session.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One entry, owned.
#[derive(Clone)]
pub(crate) struct OwnedEntry {
    pub(crate) channel_id: u16,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) ticks: Vec<Tick>,
}

impl OwnedEntry {
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry::of_ticks(self.channel_id, self.first, self.last, &self.ticks)
    }
}

/// Orders and trades of four instruments on two channels, without an end.
pub(crate) struct Session {
    dice: Dice,
    time_ns: u64,
    order_id: u64,
    sequence: [u64; 2],
    orders: Vec<Tick>,
}

impl Session {
    pub(crate) fn new(seed: u64) -> Session {
        let time_ns = 1_700_000_000_000_000_000;
        Session { dice: Dice(seed), time_ns, order_id: 0, sequence: [0; 2], orders: Vec::new() }
    }

    pub(crate) fn entry(&mut self) -> OwnedEntry {
        let channel_id = 1 + self.dice.below(2) as u16;
        let at = usize::from(channel_id - 1);
        // Now and then an entry goes on in the sequence number of the one before.
        let first = self.sequence[at] + u64::from(self.sequence[at] == 0 || self.dice.below(5) > 0);
        self.sequence[at] = first;
        let mut ticks = Vec::new();
        for _ in 0..1 + self.dice.below(12) {
            self.sequence[at] += self.dice.below(2);
            let tick = self.tick(channel_id);
            ticks.push(Tick { sequence: self.sequence[at], channel_id, ..tick });
        }
        OwnedEntry { channel_id, first, last: self.sequence[at], ticks }
    }

    pub(crate) fn entries(&mut self, count: usize) -> Vec<OwnedEntry> {
        (0..count).map(|_| self.entry()).collect()
    }

    fn tick(&mut self, channel_id: u16) -> Tick {
        self.time_ns += self.dice.below(400_000);
        let instrument_id = u32::from(channel_id) * 10 + self.dice.below(2) as u32;
        let common = Tick {
            ts_recv: self.time_ns,
            ts_event: self.time_ns - 1_000,
            publisher_id: 1,
            instrument_id,
            flags: Flags::LAST,
            ..Tick::EMPTY
        };
        let mine = self.orders.iter().position(|order| order.instrument_id == instrument_id);
        match (self.dice.below(10), mine) {
            (0..3, Some(at)) => {
                let order = self.orders.remove(at);
                Tick { ts_recv: common.ts_recv, action: Action::Cancel, ..order }
            }
            (3..5, Some(at)) => {
                let Tick { price, side, .. } = self.orders[at];
                let side = if side == Side::Bid { Side::Ask } else { Side::Bid };
                Tick { action: Action::Trade, price, side, size: 1 + self.dice.below(20) as u32, ..common }
            }
            _ => {
                self.order_id += 1;
                let away = 10_000_000 * (1 + self.dice.below(20) as i64);
                let bid = self.dice.below(2) == 0;
                let (side, price) = if bid {
                    (Side::Bid, 100_000_000_000 - away)
                } else {
                    (Side::Ask, 100_000_000_000 + away)
                };
                let size = 1 + self.dice.below(50) as u32;
                let order =
                    Tick { action: Action::Add, side, price, size, order_id: self.order_id, ..common };
                self.orders.push(order);
                order
            }
        }
    }
}

pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What the engine gives for these ticks, as the stream's entries should be.
pub(crate) struct Reference {
    engine: Engine,
    document: FeaturesDocument,
    pub(crate) records: Vec<(usize, Fields)>,
}

impl Reference {
    pub(crate) fn new() -> Reference {
        let text = format!("redis: unix:///x\nhealth: {{listen: '127.0.0.1:0'}}\n{SETS}");
        let document = FeaturesDocument::parse(text.as_bytes()).unwrap();
        let engine = Engine::new(&document.sets, book::Limits::default());
        Reference { engine, document, records: Vec::new() }
    }

    pub(crate) fn of(entries: &[OwnedEntry]) -> Reference {
        let mut reference = Reference::new();
        entries.iter().for_each(|entry| reference.take(entry));
        reference
    }

    pub(crate) fn take(&mut self, entry: &OwnedEntry) {
        entry.ticks.iter().for_each(|tick| self.tick(tick));
    }

    pub(crate) fn tick(&mut self, tick: &Tick) {
        let records = &mut self.records;
        self.engine.tick(tick, &mut |set, record| records.push((set, fields_of(record))));
    }

    pub(crate) fn fields(&self) -> Vec<Fields> {
        self.records.iter().map(|(_, fields)| fields.clone()).collect()
    }

    /// What the hashes of the latest values should hold: key, field, value.
    pub(crate) fn latest(&self) -> std::collections::BTreeMap<(String, Vec<u8>), Vec<u8>> {
        let mut latest = std::collections::BTreeMap::new();
        for (set, fields) in &self.records {
            let text = |at: usize| String::from_utf8(fields[at].1.clone()).unwrap();
            let key = format!("latest_features:{}:{}", text(1), text(2));
            for (name, value) in fields {
                let field = [self.document.sets[*set].name.as_bytes(), b".", name].concat();
                latest.insert((key.clone(), field), value.clone());
            }
        }
        latest
    }
}

fn fields_of(record: &FeatureRecord<'_>) -> Fields {
    let mut fields = Vec::new();
    record.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
    fields
}

pub(crate) struct Rig {
    pub(crate) server: RedisServer,
    pub(crate) folder: tempfile::TempDir,
    /// User and password that services are given: `?user=…&pass=…`.
    pub(crate) user: Option<&'static str>,
    connection: Option<redis::Connection>,
}

impl Rig {
    pub(crate) fn new(server: RedisServer) -> Rig {
        Rig { server, folder: tempfile::tempdir().unwrap(), user: None, connection: None }
    }

    pub(crate) fn connection(&mut self) -> &mut redis::Connection {
        if self.connection.is_none() {
            self.connection = Some(redis::Client::open(self.server.url()).unwrap().get_connection().unwrap());
        }
        self.connection.as_mut().unwrap()
    }

    /// After Redis was restarted.
    pub(crate) fn connect_again(&mut self) {
        self.connection = None;
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(self.connection()).unwrap()
    }

    pub(crate) fn write(&mut self, entries: &[OwnedEntry]) {
        for entry in entries {
            add(self.connection(), entry).unwrap();
        }
    }

    pub(crate) fn features(&mut self) -> Vec<Fields> {
        let reply: Value = self.ask(&["XRANGE", FEATURES, "-", "+"]);
        let records = records_of_range(&reply).unwrap();
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        records.into_iter().map(|record| record.fields.unwrap().into_iter().map(owned).collect()).collect()
    }

    /// Waits until so many records are there, and gives a moment for ones that should not be.
    pub(crate) fn wait_for_features(&mut self, count: usize) -> Vec<Fields> {
        let count = count as u64;
        self.wait(|rig| rig.ask::<u64>(&["XLEN", FEATURES]) >= count);
        std::thread::sleep(Duration::from_millis(200));
        self.features()
    }

    pub(crate) fn wait(&mut self, mut until: impl FnMut(&mut Rig) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !until(self) {
            assert!(Instant::now() < end, "it does not come about");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn service(&self, member: &str) -> Service {
        self.service_with(member, SETS)
    }

    pub(crate) fn service_with(&self, member: &str, more: &str) -> Service {
        self.start(member, more, &[])
    }

    /// One that takes its versions from Redis.
    pub(crate) fn managed(&self, member: &str) -> Service {
        self.start(member, SETS, &["--managed"])
    }

    fn start(&self, member: &str, more: &str, arguments: &[&str]) -> Service {
        let config = self.folder.path().join(format!("{member}.yaml"));
        let mut url = self.server.url();
        if let Some(user) = self.user {
            url = format!("redis+{url}{user}");
        }
        let text = format!(
            "redis: '{url}'\nmember: {member}\nlease_ms: 300\nstate: {{every_ms: 20}}\nhealth: {{listen: '127.0.0.1:0'}}\n{more}"
        );
        std::fs::write(&config, text).unwrap();
        Service::start(&config, &self.folder.path().join(format!("{member}.log")), arguments)
    }

    /// Gives a version to the processes, as the control plane does.
    pub(crate) fn distribute(&mut self, version: u64, document: &str) {
        let version = ConfigVersion::new(version, document.into(), "anna", "drill", 1).unwrap();
        let mut transaction = redis::pipe();
        version.distribute("features", transaction.atomic());
        transaction.exec(self.connection()).unwrap();
    }

    /// Waits for a report of this member that is so.
    pub(crate) fn report(&mut self, member: &str, is_it: impl Fn(&ProcessReport) -> bool) -> ProcessReport {
        let end = Instant::now() + PATIENCE;
        loop {
            let json: Option<Vec<u8>> = self.ask(&["HGET", &processes_key("features"), member]);
            let report = json.map(|json| ProcessReport::parse(&json).unwrap());
            match report {
                Some(report) if is_it(&report) => return report,
                other => assert!(Instant::now() < end, "the report stays {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) fn add(connection: &mut redis::Connection, entry: &OwnedEntry) -> redis::RedisResult<()> {
    let mut add = redis::cmd("XADD");
    add.arg(RAW).arg("*");
    entry.entry().for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    add.exec(connection)
}

/// The service as a process; killed when it is dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    fn start(config: &std::path::Path, log: &std::path::Path, arguments: &[&str]) -> Service {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_feedplane-features"))
            .arg("--config")
            .arg(config)
            .args(["--log-format", "json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Service { child, log: log.to_owned() }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the process must end well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the log says this.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "the log never says {text:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What its endpoint answers.
    pub(crate) fn get(&self, path: &str) -> String {
        self.wait_for_log("\"address\":\"");
        let log = self.log();
        let address = log.rsplit("\"address\":\"").next().unwrap().split('"').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The value of a metric: the first line that begins so.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.get("/metrics");
        let line = answer.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The records have the numbers 1, 2, 3 … and are these.
pub(crate) fn assert_same(found: &[Fields], expected: &[Fields]) {
    for (place, fields) in found.iter().enumerate() {
        let number = String::from_utf8_lossy(&fields[0].1).into_owned();
        assert_eq!(number, (place + 1).to_string(), "the numbers have no hole and no repeat");
    }
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(differs, None, "the first record that differs");
    assert_eq!(found.len(), expected.len());
}

pub(crate) fn is_soak() -> bool {
    std::env::var("FEEDPLANE_SOAK").is_ok_and(|value| value == "1")
}
