//! The contenders of table (j): our processes, and the Python reference's.

use super::Stages;
use super::followed::{JOURNAL, TO_REDIS};
use crate::processes::{Dataplane, Python, Service, quantile};
use crate::python;
use crate::session::{CHANNEL, PUBLISHER};
use crate::world::{self, World};
use anyhow::{Context, Result};
use bus::{Entry, TradingMode, TradingState};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Takes a stream's entry apart: calls with each tick's time of arrival and sequence number.
pub(super) type Ticks = fn(&[(&[u8], &[u8])], &mut dyn FnMut(u64, u64)) -> Result<()>;

/// Between two orders of an instrument at least.
const PAUSE_MS: u64 = 10;
/// From this expected move on there is an order, ticks.
const ENTER_TICKS: f64 = 0.25;
/// What no order and no rate of this session reaches.
const PLENTY: u64 = 1_000_000;
/// Bytes of the reference's tick, and where its time of arrival and its sequence number are.
const THEIR_TICK: usize = 48;
const THEIR_SEQUENCE_AT: usize = 16;

/// Who can be started on the lines of a world, with its order line to a venue.
pub(super) trait Contending {
    /// How its ticks are read.
    const TICKS: Ticks;
    /// Starts all of it and waits until it would trade.
    fn start<'a>(&self, world: &'a World, venue: SocketAddr) -> Result<Box<dyn Running + 'a>>;
}

/// A started contender.
pub(super) trait Running {
    /// Ends it, notes what it tells of its stages, and says what there is to say of its run.
    fn finish(self: Box<Self>, stages: &Stages) -> Result<String>;
}

/// Our processes, with the documents that an operator would write.
pub(super) struct Feedplane;

struct RunningFeedplane<'a> {
    dataplane: Dataplane,
    /// In the order in which they are ended: who sends first.
    services: Vec<Service<'a>>,
}

impl Contending for Feedplane {
    const TICKS: Ticks = |fields, visit| {
        for tick in Entry::parse(fields.iter().copied())?.ticks() {
            visit(tick.ts_recv, tick.sequence);
        }
        Ok(())
    };

    fn start<'a>(&self, world: &'a World, venue: SocketAddr) -> Result<Box<dyn Running + 'a>> {
        resume(world)?;
        let feed = json!({
            "name": "bench", "channel_id": CHANNEL, "publisher_id": PUBLISHER, "protocol": "itch50",
            "lines": world::lines(), "first_sequence": 1,
        });
        let dataplane = Dataplane::start(world, "xdp", &feed)?;
        let health = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let journal = world.path("journal");
        let _ = std::fs::remove_dir_all(&journal);
        std::fs::create_dir(&journal)?;
        let redis = world.redis().url();
        let documents = [
            ("features", health(9201), features(&redis)),
            ("gateway", health(9202), gateway(&redis, &journal.to_string_lossy(), venue)),
            ("strategy", health(9203), strategy(&redis)),
        ];
        let mut services = Vec::new();
        for (name, health, mut document) in documents {
            document["health"] = json!({"listen": health.to_string()});
            services.push(Service::start(world, name, health, &document)?);
        }
        services.reverse();
        Ok(Box::new(RunningFeedplane { dataplane, services }))
    }
}

/// The operator's word that there is trading.
fn resume(world: &World) -> Result<()> {
    let time_ns = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let state =
        TradingState { mode: TradingMode::Active, by: "bench".into(), reason: String::new(), time_ns };
    let mut add = redis::cmd("XADD");
    add.arg(bus::names::TRADING_STATE).arg("*");
    state.for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    let mut connection = redis::Client::open(world.redis().url())?.get_connection()?;
    Ok(add.exec(&mut connection)?)
}

/// The reference's features, every 100 ms of each instrument.
fn features(redis: &str) -> Value {
    json!({
        "redis": redis,
        "sets": [{
            "name": "flow", "bars": {"trades": 1}, "publish": {"every_ms": 100},
            "features": ["mid", {"imbalance": {"levels": 1}}, {"vwap_session": {"start_s": 0}}, {"ofi": {"bars": 10}}],
        }],
    })
}

fn strategy(redis: &str) -> Value {
    let limits = json!({
        "collar_basis_points": 1_000, "collar_price": "100", "order_quantity_max": PLENTY,
        "order_notional_max": PLENTY * 1_000, "position_max": PLENTY, "exposure_max": PLENTY * 1_000,
        "open_orders_max": 100, "messages_per_second": 10_000, "message_burst": 1_000, "duplicate_window_ms": 0,
        "quote_age_max_ms": 60_000, "drawdown_max": PLENTY, "multiplier": "1",
        // ITCH does not say.
        "tick_size": "0.01",
    });
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    json!({
        "redis": redis,
        // A disk that is slow for a moment is no reason to stop here.
        "answer_within_ms": 10_000,
        "risk": {
            "total": {
                "position_max": PLENTY, "exposure_max": PLENTY * 1_000, "open_orders_max": 10_000,
                "messages_per_second": PLENTY, "message_burst": PLENTY, "drawdown_max": PLENTY,
            },
            "default": limits,
            "sessions": [{"days": days, "open": "00:00", "close": "24:00"}],
        },
        "strategies": [{
            "name": "momentum", "venue": "sim", "instruments": "all",
            "ofi_momentum": {
                // Not from the feature: in a namespace no clock is disciplined, records say so, and the strategy does not trade
                // on them. The records are published and read all the same.
                "source": "book", "window_ms": 160,
                "enter_ticks": ENTER_TICKS, "clip": 100, "position": 100, "hold_ms": 1_000, "pause_ms": PAUSE_MS,
            },
        }],
    })
}

fn gateway(redis: &str, journal: &str, venue: SocketAddr) -> Value {
    json!({
        "redis": redis, "journal": journal, "instruction_age_max_ms": 60_000,
        "sessions": [{
            "venue": "sim",
            "limits": {
                "order_quantity_max": PLENTY, "order_notional_max": PLENTY * 1_000, "open_orders_max": 10_000,
                "messages_per_second": PLENTY, "message_burst": PLENTY,
            },
            "ouch": {"address": venue.to_string(), "user": "bench", "password": "bench"},
        }],
    })
}

impl Running for RunningFeedplane<'_> {
    fn finish(self: Box<Self>, stages: &Stages) -> Result<String> {
        let mut metrics = String::new();
        for service in self.services {
            metrics.push_str(&service.finish()?);
        }
        let ended = self.dataplane.finish()?;
        let mut stages = stages.borrow_mut();
        let mut told = |name, us: Option<f64>| {
            if let Some(us) = us {
                stages.entry(name).or_default().push(us);
            }
        };
        told(TO_REDIS, ended.status["publisher"]["latency"]["p50_ns"].as_f64().map(|ns| ns / 1e3));
        let sync_us = quantile(&metrics, "feedplane_gateway_journal_sync_us", 0.5);
        told(JOURNAL, sync_us);
        let sync = sync_us
            .map_or_else(String::new, |us| format!("; a journal's sync took {us:.0} µs at the median"));
        Ok(format!("{}{sync}{}", ended.says, denials(&metrics)))
    }
}

/// What the strategies' risk engine denied, by reason.
fn denials(metrics: &str) -> String {
    let denied = metrics.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix("feedplane_strategy_denials{")?.split_once("} ")?;
        let (_, reason) = labels.split_once("reason=\"")?;
        (count != "0").then(|| format!("; {count} denied: {}", reason.trim_end_matches('"')))
    });
    denied.collect()
}

/// The Python reference's processes.
pub(super) struct Reference;

struct RunningReference {
    ingest: Python,
    features: Python,
    strategy: Python,
    sender: Python,
}

impl Contending for Reference {
    const TICKS: Ticks = |fields, visit| {
        let (_, ticks) = fields.iter().find(|(name, _)| *name == b"d").context("an entry without ticks")?;
        let word = |tick: &[u8], at: usize| {
            tick.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        for tick in ticks.chunks_exact(THEIR_TICK) {
            visit(word(tick, 0), word(tick, THEIR_SEQUENCE_AT));
        }
        Ok(())
    };

    fn start<'a>(&self, world: &'a World, venue: SocketAddr) -> Result<Box<dyn Running + 'a>> {
        let start = |module: &str, arguments: &[String]| {
            let mut command = python::reference_asyncio(module)?;
            command.arg("--redis").arg(world.redis().socket()).args(arguments);
            Python::start(world.network(), &mut command).with_context(|| module.to_owned())
        };
        let pause = [
            "--enter-ticks".to_owned(),
            ENTER_TICKS.to_string(),
            "--pause-ms".to_owned(),
            PAUSE_MS.to_string(),
        ];
        Ok(Box::new(RunningReference {
            ingest: start("ingest", &world::line_arguments())?,
            features: start("features", &[])?,
            strategy: start("strategy", &pause)?,
            sender: start("sender", &["--venue".to_owned(), venue.to_string()])?,
        }))
    }
}

impl Running for RunningReference {
    fn finish(self: Box<Self>, _: &Stages) -> Result<String> {
        let ingest: Value = self.ingest.finish()?;
        let [strategy, _, _]: [Value; 3] =
            [self.strategy.finish()?, self.features.finish()?, self.sender.finish()?];
        let waiting = ingest["waiting"].as_u64().unwrap_or(0);
        let behind =
            ingest["written"].as_u64().unwrap_or(0).saturating_sub(strategy["ticks"].as_u64().unwrap_or(0));
        let (lost, packets) = (&ingest["lost"], &ingest["packets"]);
        let lost = if lost.as_u64() == Some(0) { String::new() } else { format!("; {lost} messages lost") };
        let late = match waiting + behind {
            0 => String::new(),
            late => format!("; {late} ticks had not come to the strategy when time was over"),
        };
        Ok(format!("{packets} packets taken from the sockets{lost}{late}"))
    }
}
