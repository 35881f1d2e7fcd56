//! A private Redis, a market written as the data plane writes it, and the service as a process.

use crate::gateway::{Gateway, now_ns};
use bus::config::StrategyDocument;
use bus::control::{ConfigVersion, ManagedDocument, ProcessReport, strip_local_fields};
use bus::names::{
    EXECUTION_REPORTS, ORDER_INSTRUCTIONS, RAW_MARKET_DATA, processes_key, shard_of, shard_stream,
};
use bus::{Entry, InstrumentRow};
use lab::redis_server::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tick::{Action, Flags, Side, StatusAction, Tick};

/// Longest wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const CENT: i64 = 10_000_000;
/// Instruments of the market: with two shards, one in each.
pub(crate) const INSTRUMENTS: [u32; 2] = [7, 9];
pub(crate) const PUBLISHER: u16 = 2;

pub(crate) const RISK: &str = "
risk:
  total: {position_max: 100000, exposure_max: 100000000, open_orders_max: 20, messages_per_second: 10000, message_burst: 1000, drawdown_max: 1000000}
  default:
    collar_basis_points: 500
    collar_price: '4.00'
    order_quantity_max: 500
    order_notional_max: 60000
    position_max: 10000
    exposure_max: 10000000
    open_orders_max: 8
    messages_per_second: 10000
    message_burst: 500
    duplicate_window_ms: 0
    quote_age_max_ms: 2000
    drawdown_max: 1000000
    multiplier: '1'
  sessions:
    - {days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}
";

/// Buys and sells around 0, with one order that stands now and then.
pub(crate) const STRATEGIES: &str = "
strategies:
  - name: swing
    venue: SIM
    instruments: all
    rules:
      rules:
        - {name: up, when: 'good && position <= 0', fires: while_true, cooldown_ms: 5, do: {buy: {quantity: 3, price: {cross: 0}, tif: ioc}}}
        - {name: down, when: 'good && position > 0', fires: while_true, cooldown_ms: 7, do: {sell: {quantity: 2, price: {cross: 0}, tif: ioc}}}
  - name: rest
    venue: SIM
    instruments: [AAA]
    rules:
      rules:
        - {name: place, when: 'good && open_orders < 1', fires: while_true, cooldown_ms: 30, do: {buy: {quantity: 5, price: {join: -3}}}}
        - {name: away, when: 'good && open_orders > 0', fires: while_true, cooldown_ms: 40, do: cancel_all}
";

/// A generator of numbers: the same seed gives the same session.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(crate) fn is_soak() -> bool {
    std::env::var_os("FEEDPLANE_SOAK").is_some()
}

pub(crate) fn row(instrument_id: u32) -> InstrumentRow {
    InstrumentRow {
        symbol: if instrument_id == 7 { "AAA" } else { "BBB" }.into(),
        tick_size: Some(CENT),
        multiplier: None,
        lot_size: 1,
        kind: "equity".into(),
        group: String::new(),
        currency: "USD".into(),
        channel_id: 1,
    }
}

/// Two instruments on one channel. Times are now, as risk wants fresh quotes.
pub(crate) struct Market {
    dice: Dice,
    sequence: u64,
    resting: Vec<Tick>,
}

impl Market {
    pub(crate) fn new(seed: u64) -> Market {
        Market { dice: Dice(seed), sequence: 1, resting: Vec::new() }
    }

    fn tick(&self, instrument_id: u32) -> Tick {
        let now_ns = now_ns();
        Tick {
            ts_recv: now_ns,
            ts_event: now_ns,
            sequence: self.sequence,
            publisher_id: PUBLISHER,
            instrument_id,
            channel_id: 1,
            flags: Flags::LAST,
            ..Tick::EMPTY
        }
    }

    /// The clear, which is in every shard.
    pub(crate) fn clear() -> Vec<Tick> {
        vec![Tick::channel_clear(PUBLISHER, 1, 1, now_ns())]
    }

    /// Trading, and a bid and an ask for each instrument.
    pub(crate) fn opening(&mut self) -> Vec<Tick> {
        self.sequence += 1;
        let mut ticks = Vec::new();
        for instrument_id in INSTRUMENTS {
            let base = self.tick(instrument_id);
            ticks.push(Tick { action: Action::Status, size: StatusAction::Trading.0.into(), ..base });
            for (side, cents) in [(Side::Bid, 9_980), (Side::Ask, 10_020)] {
                let order_id = u64::from(instrument_id) * 10 + u64::from(side == Side::Ask);
                let price = cents * CENT;
                ticks.push(Tick { action: Action::Add, side, price, size: 1_000, order_id, ..base });
            }
        }
        ticks
    }

    pub(crate) fn next(&mut self) -> Vec<Tick> {
        self.sequence += 1;
        let instrument_id = INSTRUMENTS[self.dice.below(2) as usize];
        let base = self.tick(instrument_id);
        let own = self.resting.iter().position(|order| order.instrument_id == instrument_id);
        let tick = match own.filter(|_| self.dice.below(2) == 0) {
            Some(at) => {
                let Tick { order_id, side, .. } = self.resting.remove(at);
                Tick { action: Action::Cancel, order_id, side, size: Tick::SIZE_UNDEFINED, ..base }
            }
            None => {
                let away = 1 + self.dice.below(15) as i64;
                let (side, cents) = if self.dice.below(2) == 0 {
                    (Side::Bid, 10_000 - away)
                } else {
                    (Side::Ask, 10_000 + away)
                };
                let (size, order_id) = (1 + self.dice.below(200) as u32, 1_000 + self.sequence);
                let order = Tick { action: Action::Add, side, price: cents * CENT, size, order_id, ..base };
                self.resting.push(order);
                order
            }
        };
        vec![tick]
    }
}

/// Writes ticks to each shard's stream, as the data plane does.
pub(crate) fn write_ticks(
    connection: &mut redis::Connection,
    shards: u16,
    ticks: &[Tick],
) -> redis::RedisResult<()> {
    let sequence = ticks[0].sequence;
    for shard in 0..shards {
        let its: Vec<Tick> = ticks
            .iter()
            .filter(|tick| tick.instrument_id == 0 || shard_of(tick.instrument_id, shards) == shard)
            .copied()
            .collect();
        let mut add = redis::cmd("XADD");
        add.arg(shard_stream(RAW_MARKET_DATA, shard, shards)).arg("*");
        Entry::of_ticks(1, sequence, sequence, &its).for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.exec(connection)?;
    }
    Ok(())
}

/// The market on a thread of its own, until it is dropped.
pub(crate) struct Moving {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Moving {
    pub(crate) fn start(url: &str, shards: u16, mut market: Market) -> Moving {
        let ended = Arc::new(AtomicBool::new(false));
        let (over, client) = (Arc::clone(&ended), redis::Client::open(url).unwrap());
        let thread = std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            while !over.load(Ordering::Relaxed) {
                let ticks = market.next();
                if write_ticks(&mut connection, shards, &ticks).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Moving { ended, thread: Some(thread) }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) struct Rig {
    pub(crate) server: RedisServer,
    folder: tempfile::TempDir,
    connection: Option<redis::Connection>,
    pub(crate) shards: u16,
    /// What documents say besides Redis, member and health.
    pub(crate) more: String,
    /// What processes log.
    pub(crate) log_level: &'static str,
}

impl Rig {
    /// A Redis with instruments, an open market and the operator's word that there is trading.
    pub(crate) fn new(shards: u16) -> Rig {
        let server = RedisServer::start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let more = format!("{RISK}{STRATEGIES}");
        let mut rig = Rig { server, folder, connection: None, shards, more, log_level: "info" };
        rig.define();
        rig.trading("active");
        rig
    }

    pub(crate) fn define(&mut self) {
        for id in INSTRUMENTS {
            let (id, json) = (id.to_string(), row(id).to_json());
            self.ask::<i64>(&["HSET", "instruments:2", &id, &json]);
        }
    }

    pub(crate) fn trading(&mut self, mode: &str) {
        let time = now_ns().to_string();
        let words =
            ["XADD", "trading_state", "*", "mode", mode, "by", "test", "reason", "", "time_ns", &time];
        self.ask::<String>(&words);
    }

    pub(crate) fn write(&mut self, ticks: &[Tick]) {
        let shards = self.shards;
        write_ticks(self.connection(), shards, ticks).unwrap();
    }

    /// Writes the beginning of a market, and gives what follows.
    pub(crate) fn open_market(&mut self, seed: u64) -> Market {
        let mut market = Market::new(seed);
        self.write(&Market::clear());
        self.write(&market.opening());
        market
    }

    pub(crate) fn gateway(&self) -> Gateway {
        let of = |name, shard| shard_stream(name, shard, self.shards);
        let streams = (0..self.shards)
            .map(|shard| (of(ORDER_INSTRUCTIONS, shard), of(EXECUTION_REPORTS, shard)))
            .collect();
        Gateway::start(&self.server.url(), streams)
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

    pub(crate) fn length(&mut self, stream: &str) -> u64 {
        self.ask(&["XLEN", stream])
    }

    pub(crate) fn wait(&mut self, what: &str, mut until: impl FnMut(&mut Rig) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !until(self) {
            assert!(Instant::now() < end, "it does not come about: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes a member's document.
    pub(crate) fn document(&self, member: &str) -> PathBuf {
        let config = self.folder.path().join(format!("{member}.yaml"));
        let (url, shards, more) = (self.server.url(), self.shards, &self.more);
        let text = format!(
            "redis: '{url}'\nmember: {member}\nshards: {shards}\nlease_ms: 300\nanswer_within_ms: 150\n\
             keep_books_ms: 50\nhealth: {{listen: '127.0.0.1:0'}}\n{more}"
        );
        std::fs::write(&config, text).unwrap();
        config
    }

    pub(crate) fn service(&self, member: &str) -> Service {
        self.start(member, &[])
    }

    /// One that takes its versions from Redis.
    pub(crate) fn managed(&self, member: &str) -> Service {
        self.start(member, &["--managed"])
    }

    pub(crate) fn start(&self, member: &str, arguments: &[&str]) -> Service {
        let log = self.folder.path().join(format!("{member}.log"));
        Service::start(&self.document(member), &log, arguments, self.log_level)
    }

    /// What a version says that is like our own document.
    pub(crate) fn version(&self) -> serde_json::Value {
        let own = StrategyDocument::load(&self.document("version")).unwrap();
        let mut version = serde_json::to_value(own).unwrap();
        strip_local_fields(StrategyDocument::SERVICE, &mut version);
        version
    }

    /// Gives a version to the processes, as the control plane does.
    pub(crate) fn distribute(&mut self, version: u64, document: &str) {
        let version = ConfigVersion::new(version, document.into(), "anna", "drill", now_ns()).unwrap();
        let mut transaction = redis::pipe();
        version.distribute(StrategyDocument::SERVICE, transaction.atomic());
        transaction.exec(self.connection()).unwrap();
    }

    /// Waits for a report of this member that is so.
    pub(crate) fn report(&mut self, member: &str, is_it: impl Fn(&ProcessReport) -> bool) -> ProcessReport {
        let end = Instant::now() + PATIENCE;
        loop {
            let key = processes_key(StrategyDocument::SERVICE);
            let json: Option<Vec<u8>> = self.ask(&["HGET", &key, member]);
            let report = json.map(|json| ProcessReport::parse(&json).unwrap());
            match report {
                Some(report) if is_it(&report) => return report,
                other => assert!(Instant::now() < end, "the report stays {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The service as a process; killed when it is dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    fn start(config: &Path, log: &Path, arguments: &[&str], log_level: &str) -> Service {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_feedplane-strategy"))
            .arg("--config")
            .arg(config)
            .args(["--log-format", "json"])
            .args(arguments)
            .env("FEEDPLANE_LOG", log_level)
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

    /// What the metrics say of a strategy's position.
    pub(crate) fn position(&self, strategy: &str, instrument_id: u32) -> i64 {
        let name = format!(
            "feedplane_strategy_position{{strategy=\"{strategy}\",publisher=\"2\",instrument=\"{instrument_id}\"}}"
        );
        self.metric(&name).unwrap_or_default() as i64
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
