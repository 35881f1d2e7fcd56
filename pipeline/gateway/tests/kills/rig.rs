//! Redis, the counterparty, the way between, and gateways as processes.

use crate::acceptor;
use crate::account::Account;
use crate::flow::Flow;
use crate::live::{Proxy, Venue, VenueSpec};
use bus::Instruction;
use bus::control::{ConfigVersion, ProcessReport};
use bus::names::processes_key;
use lab::redis_server::RedisServer;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use venue::live_report::UserReport;

/// Longest that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn is_soak() -> bool {
    std::env::var("FEEDPLANE_SOAK").is_ok_and(|value| value == "1")
}

/// More than a long run leaves open.
const OPEN_ORDERS_MAX: u32 = 100_000;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Random {
        let seed = std::env::var("FEEDPLANE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
        eprintln!("FEEDPLANE_SEED={seed}");
        Random(seed)
    }

    pub fn of(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub struct Rig {
    pub redis: RedisServer,
    counterparty: Counterparty,
    folder: TempDir,
}

/// Who is traded with.
enum Counterparty {
    /// The simulated venue, OUCH.
    Venue(Venue),
    /// QuickFIX, FIX 4.4.
    Acceptor(acceptor::Venue),
}

fn ouch(address: &str) -> String {
    format!("ouch: {{address: '{address}', user: fplane, password: secret}}")
}

/// Silence is noticed soon.
fn fix(port: u16) -> String {
    format!(
        "fix: {{address: '127.0.0.1:{port}', sender_comp_id: FEEDPLANE, target_comp_id: VENUE, heartbeat_s: 2}}"
    )
}

/// A gateway's process, killed on drop.
pub struct Gateway(Child);

impl Gateway {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Rig {
    pub fn start(wanted: &VenueSpec) -> Rig {
        Rig::with(Counterparty::Venue(Venue::start(wanted)))
    }

    /// With QuickFIX; none where it is missing.
    pub fn start_fix() -> Option<Rig> {
        Some(Rig::with(Counterparty::Acceptor(acceptor::Venue::start(&[])?)))
    }

    fn with(counterparty: Counterparty) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig { redis: RedisServer::start().unwrap(), counterparty, folder };
        rig.trade();
        rig
    }

    fn venue(&self) -> &Venue {
        match &self.counterparty {
            Counterparty::Venue(venue) => venue,
            Counterparty::Acceptor(_) => panic!("this one trades with QuickFIX"),
        }
    }

    pub fn acceptor(&mut self) -> &mut acceptor::Venue {
        match &mut self.counterparty {
            Counterparty::Acceptor(acceptor) => acceptor,
            Counterparty::Venue(_) => panic!("this one trades with the simulated venue"),
        }
    }

    /// Lets everybody trade.
    fn trade(&self) {
        self.trading("active");
    }

    /// Nothing but cancels, and a cancel of all that is open.
    pub fn halt(&self) {
        self.trading("halted");
    }

    fn trading(&self, mode: &str) {
        let mut add = redis::cmd("XADD");
        add.arg("trading_state").arg("*");
        add.arg("mode").arg(mode).arg("by").arg("test").arg("time_ns").arg("1");
        let _: String = add.query(&mut self.connect()).unwrap();
    }

    pub fn connect(&self) -> redis::Connection {
        redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap()
    }

    /// A way of its own to the venue.
    pub fn way(&self) -> Proxy {
        Proxy::to(self.venue().address)
    }

    pub fn gateway(&self, member: &str) -> Gateway {
        let line = match &self.counterparty {
            Counterparty::Venue(venue) => ouch(&venue.address.to_string()),
            Counterparty::Acceptor(acceptor) => fix(acceptor.port),
        };
        self.gateway_with(member, &line, &[])
    }

    pub fn gateway_by(&self, member: &str, way: &Proxy) -> Gateway {
        self.gateway_with(member, &ouch(&way.address.to_string()), &[])
    }

    /// One that takes its versions from Redis.
    pub fn managed(&self, member: &str, way: &Proxy) -> Gateway {
        self.gateway_with(member, &ouch(&way.address.to_string()), &["--managed"])
    }

    fn gateway_with(&self, member: &str, line: &str, arguments: &[&str]) -> Gateway {
        let (redis, folder) = (self.redis.url(), self.folder.path());
        let document = format!(
            "redis: '{redis}'
member: {member}
lease_ms: 600
health: {{listen: '127.0.0.1:0'}}
journal: '{}'
instruction_age_max_ms: 5000
sessions:
  - venue: sim
    limits: {{order_quantity_max: 10000, order_notional_max: 100000000, open_orders_max: {OPEN_ORDERS_MAX}, messages_per_second: 10000, message_burst: 10000}}
    reconnect: {{first_ms: 20, most_ms: 200, logon_ms: 2000}}
    {line}
",
            folder.join("journal").display()
        );
        let path = folder.join(format!("{member}.yaml"));
        std::fs::write(&path, document).unwrap();
        let log = OpenOptions::new().create(true).append(true).open(folder.join(format!("{member}.log")));
        let log = log.unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane-gateway"));
        command.args(["--log-format", "json"]).args(arguments).env("FEEDPLANE_LOG", "info,gateway=debug");
        command.arg("--config").arg(&path).stdout(log.try_clone().unwrap()).stderr(Stdio::from(log));
        Gateway(command.spawn().unwrap())
    }

    /// A gateway that is killed within so long, sometimes while it writes.
    pub fn live_and_die(&self, most_ms: u64, random: &mut Random) {
        let mut gateway = self.gateway("one");
        std::thread::sleep(Duration::from_millis(random.below(most_ms)));
        gateway.kill();
        if random.below(3) == 0 {
            self.tear_journal(random);
        }
    }

    /// Bytes of a write that did not come to its end, behind the newest file of the journal.
    fn tear_journal(&self, random: &mut Random) {
        let day = std::fs::read_dir(self.folder.path().join("journal/sim"));
        let Some(day) = day.ok().and_then(|mut days| days.next()) else { return };
        let files = std::fs::read_dir(day.unwrap().path()).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "journal"));
        let newest: Option<PathBuf> =
            files.max_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
        let Some(newest) = newest else { return };
        let length = 1 + random.below(200) as usize;
        let torn: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        OpenOptions::new().append(true).open(newest).unwrap().write_all(&torn).unwrap();
    }

    /// Waits until one of the ways is logged in, other than `but`; which.
    pub fn wait_for_holder<P: std::borrow::Borrow<Proxy>>(&self, ways: &[P], but: Option<usize>) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = (0..ways.len()).find(|&at| Some(at) != but && ways[at].borrow().logged_in() > 0);
            if let Some(at) = found {
                return at;
            }
            assert!(Instant::now() < until, "nobody logs in: {}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Redis answers nobody for so long; and has forgotten everything then, or nothing.
    pub fn redis_goes(&mut self, gone: Duration, forgets: bool) {
        if forgets {
            self.redis.stop().unwrap();
            std::thread::sleep(gone);
            self.redis.restart_empty().unwrap();
            self.trade();
        } else {
            self.redis.pause();
            std::thread::sleep(gone);
            self.redis.go_on();
        }
    }

    /// Ends the flow, waits until each instruction is reported and nothing is on its way, cancels what is open, and gives the
    /// account.
    pub fn settle(&mut self, flow: Flow) -> Account {
        let mut instructions = flow.end();
        let until = Instant::now() + PATIENCE;
        loop {
            let account = self.quiet(&instructions);
            if account.open().is_empty() {
                return account;
            }
            assert!(Instant::now() < until, "still open: {:?}\n{}", account.open(), self.logs());
            instructions.extend(cancels(&account, &instructions));
        }
    }

    /// Waits until each has a report, of whatever kind.
    pub fn until_reported(&self, instructions: &[Instruction]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let unreported = Account::read(&mut self.connect(), instructions).unreported();
            if unreported.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "not reported: {unreported:?}\n{}", self.logs());
            crate::flow::publish_again(&mut self.connect(), instructions, &unreported);
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    /// Waits until the reports leave nothing open.
    pub fn until_none_is_open(&self, instructions: &[Instruction]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let open = Account::read(&mut self.connect(), instructions).open();
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "still open: {open:?}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    /// Publishes what has no answer until all has, and waits until nothing more is said.
    pub fn quiet(&self, instructions: &[Instruction]) -> Account {
        let until = Instant::now() + PATIENCE;
        let mut quiet = 0;
        let mut before = 0;
        loop {
            let account = Account::read(&mut self.connect(), instructions);
            let unanswered = account.unanswered();
            let reports = account.reports();
            quiet = if unanswered.is_empty() && reports == before { quiet + 1 } else { 0 };
            before = reports;
            if quiet > 8 {
                return account;
            }
            assert!(
                Instant::now() < until,
                "not settled: unanswered {unanswered:?}, open {:?}\n{}",
                account.open(),
                self.logs()
            );
            crate::flow::publish_again(&mut self.connect(), instructions, &unanswered);
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    pub fn venue_report(&self) -> UserReport {
        self.venue().report()
    }

    /// Which way each message went, and its bytes.
    pub fn drop_copy(&self) -> Vec<(String, Vec<u8>)> {
        let reply: redis::Value =
            redis::cmd("XRANGE").arg("drop_copy").arg("-").arg("+").query(&mut self.connect()).unwrap();
        let mut messages = Vec::new();
        for record in bus::records_of_range(&reply).unwrap() {
            let (mut way, mut bytes) = (String::new(), Vec::new());
            for (name, value) in record.fields.unwrap() {
                match name {
                    b"way" => way = String::from_utf8_lossy(value).into_owned(),
                    b"bytes" => bytes = value.to_vec(),
                    _ => {}
                }
            }
            messages.push((way, bytes));
        }
        messages
    }

    /// Gives a version to the gateways, as the control plane does.
    pub fn distribute(&self, version: u64, document: &serde_json::Value) {
        let version = ConfigVersion::new(version, document.to_string(), "anna", "drill", 1).unwrap();
        let mut transaction = redis::pipe();
        version.distribute("gateway", transaction.atomic());
        transaction.exec(&mut self.connect()).unwrap();
    }

    /// Waits for a report of this member that is so.
    pub fn report(&self, member: &str, is_it: impl Fn(&ProcessReport) -> bool) -> ProcessReport {
        let until = Instant::now() + PATIENCE;
        let mut redis = self.connect();
        loop {
            let mut read = redis::cmd("HGET");
            let json: Option<Vec<u8>> =
                read.arg(processes_key("gateway")).arg(member).query(&mut redis).unwrap();
            let report = json.map(|json| ProcessReport::parse(&json).unwrap());
            match report {
                Some(report) if is_it(&report) => return report,
                other => assert!(Instant::now() < until, "the report stays {other:?}\n{}", self.logs()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The fields of all lines that a gateway has logged.
    pub fn lines(&self, member: &str) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.folder.path().join(format!("{member}.log"))).unwrap();
        let fields =
            |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["fields"].take());
        log.lines().filter_map(fields).collect()
    }

    /// The ends of the gateways' logs.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "log") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(15).collect();
                all += &format!("--- {}\n", path.display());
                all.extend(lines.iter().rev().map(|line| format!("{line}\n")));
            }
        }
        all
    }
}

/// A cancel of each open order.
fn cancels(account: &Account, known: &[Instruction]) -> Vec<Instruction> {
    let open = account.open();
    let of = known.iter().filter(|instruction| open.contains(&instruction.id));
    let numbered = of.enumerate().map(|(at, of)| {
        let id = format!("END{}x{at}", known.len());
        crate::flow::instruction(&id, &of.symbol, bus::OrderAction::Cancel { of: of.id })
    });
    numbered.collect()
}
