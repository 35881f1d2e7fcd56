//! Looks at everything, once for all who want to see it.
//!
//! ```text
//! every 500 ms: reports of the processes, store, orders ─┐
//! every second: /metrics and /readyz of each process ────┼─► one Status ─► serialised once ─► event, GET /v1/status
//! every second: the data plane's own status ─────────────┘
//! ```
//! Three tasks, so that a process that does not answer makes no event late. Invariant: what is shown says its age.

mod derive;
mod reports;
mod statistics;

use super::distribute::Distribution;
use super::events::{Hub, Topic};
use super::link::{BusError, BusLink};
use super::market::Market;
use super::orders::Desk;
use super::scrape::{self, Figures, ScrapeError};
use super::status::{
    Convergence, ConvergenceProcess, DataplaneStatus, OrdersStatus, PartStatistics, RedisStatus,
    ServiceStatus, Status, StoreStatus,
};
use super::{TradingDesk, TradingView, now_ns};
use crate::config::{Kind, Part};
use crate::link::Client;
use crate::store::Store;
use axum::body::Bytes;
use bus::Sha256Sum;
use bus::control::{ProcessReport, SERVICES};
use derive::{Buckets, Samples};
use metrics::{counter, gauge, histogram};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a picture is made.
const PICTURE_EVERY: Duration = Duration::from_millis(500);
/// How often processes are asked.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the data plane's status: it may be at work on a change.
const DATAPLANE_WITHIN: Duration = Duration::from_millis(900);
/// How often the store's size is asked for.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// Processes that are asked at a time.
const AT_A_TIME: usize = 16;
/// Largest picture in an event, bytes: five hundred clients get it twice a second.
const EVENT_BYTES_MAX: usize = 256 << 10;
/// The histogram that latencies to Redis are taken from.
const PUBLISH_BUCKETS: &str = "feedplane_dataplane_publish_latency_seconds_bucket";
/// What a part says that does its work.
const PARTS_MAX: usize = 64;

/// A process's metrics as they were read.
#[derive(Clone, Debug)]
struct Scraped {
    at: Instant,
    figures: Figures,
    publish: Buckets,
}

/// A process's health as it was read.
#[derive(Clone, Debug, Default)]
struct Health {
    ready: Option<bool>,
    parts: BTreeMap<String, String>,
    problem: Option<String>,
}

type Process = (String, String);

#[derive(Default)]
struct State {
    reports: Vec<ProcessReport>,
    redis: RedisStatus,
    redis_at: Option<Instant>,
    store: StoreStatus,
    /// The sample before the last, and the last.
    samples: (Samples, Samples),
    health: BTreeMap<Process, Health>,
    dataplane: DataplaneStatus,
    dataplane_at: Option<Instant>,
    /// The last picture.
    picture: Bytes,
    convergence: BTreeMap<&'static str, Convergence>,
}

/// The one who looks.
pub struct Sampler {
    link: BusLink,
    store: Store,
    dataplane: Option<Client>,
    trading: Arc<TradingDesk>,
    distribution: Arc<Distribution>,
    orders: Desk,
    market: Market,
    hub: Arc<Hub>,
    state: Mutex<State>,
}

/// What a sampler looks at.
pub struct Looked {
    /// Redis's address.
    pub url: String,
    /// Versions, audit, tokens.
    pub store: Store,
    /// The data plane's socket: a connection of its own, so that a change under way delays no picture.
    pub dataplane: Option<Client>,
    /// The trading state.
    pub trading: Arc<TradingDesk>,
    /// The newest versions.
    pub distribution: Arc<Distribution>,
    /// The orders.
    pub orders: Desk,
    /// The market.
    pub market: Market,
    /// Where pictures go.
    pub hub: Arc<Hub>,
}

impl Sampler {
    /// One that has looked at nothing yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(looked: Looked) -> Result<Sampler, BusError> {
        let Looked { url, store, dataplane, trading, distribution, orders, market, hub } = looked;
        let link = BusLink::new(&url)?;
        let state = Mutex::default();
        Ok(Sampler { link, store, dataplane, trading, distribution, orders, market, hub, state })
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks, until the task is ended.
    pub async fn run(self: Arc<Self>) {
        let processes = Arc::clone(&self).each(SCRAPE_EVERY, Sampler::scrape_turn);
        let dataplane = Arc::clone(&self).each(SCRAPE_EVERY, Sampler::dataplane_turn);
        let store = Arc::clone(&self).each(STORE_EVERY, Sampler::store_turn);
        let pictures = Arc::clone(&self).each(PICTURE_EVERY, Sampler::picture_turn);
        tokio::join!(processes, dataplane, store, pictures);
    }

    async fn each<F: Future<Output = ()>>(
        self: Arc<Self>,
        every: Duration,
        turn: impl Fn(Arc<Sampler>) -> F,
    ) {
        let mut every = tokio::time::interval(every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            turn(Arc::clone(&self)).await;
        }
    }

    /// The last picture, as JSON; empty before the first.
    pub fn picture(&self) -> Bytes {
        self.state(|state| state.picture.clone())
    }

    /// How far the newest version of a document has come.
    pub fn convergence(&self, service: &str) -> Convergence {
        let head = self.distribution.head(service);
        let problem = self.distribution.problems().remove(service);
        let now_ns = now_ns();
        let wanted = head.as_ref().and_then(|head| {
            let sha256: Sha256Sum = head.sha256.parse().ok()?;
            Some((head.version, sha256))
        });
        let mut convergence = Convergence {
            version: head.as_ref().map_or(0, |head| head.version),
            converged: true,
            problem,
            processes: Vec::new(),
        };
        self.state(|state| {
            for report in state.reports.iter().filter(|r| r.service == service && r.is_fresh(now_ns)) {
                convergence.converged &= wanted.is_none_or(|(version, sha256)| report.runs(version, sha256));
                convergence.processes.push(ConvergenceProcess {
                    member: report.member.clone(),
                    host: report.host.clone(),
                    pid: report.pid,
                    state: report.state.word(),
                    version: report.version,
                    wanted: report.wanted,
                    reason: report.reason.clone(),
                    age_ms: report.age(now_ns).as_millis() as u64,
                });
            }
        });
        convergence
    }

    /// What was last said of a part of a document.
    pub fn statistics(&self, part: &Part, name: &str) -> Vec<PartStatistics> {
        let age_ms = |at: Instant| at.elapsed().as_millis() as u64;
        self.state(|state| match part.kind {
            Kind::Feeds | Kind::Dataplane => {
                let (Some(status), Some(at)) = (&state.dataplane.status, state.dataplane_at) else {
                    return Vec::new();
                };
                let found = statistics::of_dataplane(status, part.shows, name).into_iter();
                found.map(|(by, values)| PartStatistics { by, age_ms: age_ms(at), values }).collect()
            }
            Kind::Features | Kind::Strategy | Kind::Gateway | Kind::Archiver => {
                let service = part.kind.service();
                let of_service = state.samples.1.iter().filter(|((of, _), _)| of == service);
                let found = of_service.filter_map(|((_, member), scraped)| {
                    let of_part = statistics::of_process(&scraped.figures, part.shows, name);
                    let figures = derive::shown(service, &of_part);
                    let values = (!figures.is_empty()).then(|| json!(figures))?;
                    Some(PartStatistics { by: member.clone(), age_ms: age_ms(scraped.at), values })
                });
                found.collect()
            }
        })
    }

    /// The mode that each process that follows the trading state says it is in: service, member, mode.
    pub fn followers(&self) -> Vec<(String, String, String)> {
        let of = ["feedplane_strategy_trading", "feedplane_gateway_trading_mode"];
        self.state(|state| {
            let mut followers = Vec::new();
            for ((service, member), scraped) in &state.samples.1 {
                if scraped.at.elapsed() > SCRAPE_EVERY * 5 {
                    continue;
                }
                let on = scraped
                    .figures
                    .iter()
                    .filter(|(name, value)| **value == 1.0 && of.contains(&scrape::base(name)));
                for (name, _) in on {
                    if let Some(mode) = scrape::label(name, "mode") {
                        followers.push((service.clone(), member.clone(), mode.to_owned()));
                    }
                }
            }
            followers.dedup();
            followers
        })
    }

    async fn store_turn(self: Arc<Self>) {
        let store = match self.store.size().await {
            Ok((kind, bytes)) => StoreStatus { connected: true, problem: None, kind, bytes },
            Err(error) => {
                let before = self.state(|state| state.store.clone());
                StoreStatus { connected: false, problem: Some(error.to_string()), ..before }
            }
        };
        gauge!("feedplane_controlplane_store_bytes").set(store.bytes as f64);
        self.state(|state| state.store = store);
    }

    async fn dataplane_turn(self: Arc<Self>) {
        let Some(client) = &self.dataplane else { return };
        let asked = tokio::time::timeout(DATAPLANE_WITHIN, client.status()).await;
        let asked = match asked {
            Ok(asked) => asked.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no status within {} ms", DATAPLANE_WITHIN.as_millis())),
        };
        gauge!("feedplane_controlplane_dataplane_connected").set(f64::from(u8::from(asked.is_ok())));
        self.state(|state| match asked {
            Ok(status) => {
                (state.dataplane.connected, state.dataplane.problem) = (true, None);
                state.dataplane.status = Some(status);
                state.dataplane_at = Some(Instant::now());
            }
            Err(problem) => (state.dataplane.connected, state.dataplane.problem) = (false, Some(problem)),
        });
    }

    /// Asks every process that has a fresh report, [`AT_A_TIME`].
    async fn scrape_turn(self: Arc<Self>) {
        let began = Instant::now();
        let now_ns = now_ns();
        let mut wanted: Vec<(Process, String)> = self.state(|state| {
            let fresh = state.reports.iter().filter(|report| report.is_fresh(now_ns));
            // The data plane reports twice, for its two documents.
            let once = fresh.filter(|report| report.service != "feeds");
            let asked = once.filter_map(|report| {
                let health = report.health.clone()?;
                Some(((report.service.clone(), report.member.clone()), health))
            });
            asked.collect()
        });
        let mut asked = JoinSet::new();
        let (mut samples, mut health) = (Samples::new(), BTreeMap::new());
        loop {
            while asked.len() < AT_A_TIME
                && let Some((process, address)) = wanted.pop()
            {
                asked.spawn(async move { (process, ask(&address).await) });
            }
            let Some(answer) = asked.join_next().await else { break };
            let Ok((process, (scraped, well))) = answer else { continue };
            if let Some(scraped) = scraped {
                samples.insert(process.clone(), scraped);
            }
            health.insert(process, well);
        }
        histogram!("feedplane_controlplane_scrape_ms").record(began.elapsed().as_secs_f64() * 1e3);
        self.state(|state| {
            // A process that did not answer keeps what it last said, with its age.
            let fresh = |process: &Process| health.contains_key(process);
            for (process, scraped) in &state.samples.1 {
                if fresh(process) && !samples.contains_key(process) {
                    samples.insert(process.clone(), scraped.clone());
                }
            }
            let last = std::mem::replace(&mut state.samples.1, samples);
            state.samples.0 = last;
            state.health = health;
        });
    }

    async fn picture_turn(self: Arc<Self>) {
        let now = now_ns();
        match reports::look(&self.link, now).await {
            Ok(found) => self.state(|state| {
                state.reports = found.reports;
                state.redis = RedisStatus {
                    connected: true,
                    problem: None,
                    age_ms: Some(0),
                    used_memory_bytes: found.used_memory_bytes,
                    refused_reports: found.refused,
                };
                state.redis_at = Some(Instant::now());
            }),
            Err(error) => self.state(|state| {
                state.redis.connected = !error.is_gone();
                state.redis.problem = Some(error.to_string());
            }),
        }
        self.tell_convergence();
        let status = self.status(self.trading.view());
        gauge!("feedplane_controlplane_redis_connected").set(f64::from(u8::from(status.redis.connected)));
        let json = serde_json::to_vec(&status).unwrap_or_default();
        gauge!("feedplane_controlplane_status_bytes").set(json.len() as f64);
        let picture = Bytes::from(json);
        self.state(|state| state.picture = picture.clone());
        if picture.len() <= EVENT_BYTES_MAX {
            self.hub.show(Topic::Status, &picture);
        } else {
            self.hub.show(Topic::Status, &serde_json::to_vec(&shortened(status)).unwrap_or_default());
        }
    }

    fn tell_convergence(&self) {
        for service in SERVICES {
            let now = self.convergence(service);
            gauge!("feedplane_controlplane_converged", "service" => service)
                .set(f64::from(u8::from(now.converged)));
            let key = |convergence: &Convergence| {
                let processes = convergence.processes.iter();
                let states: Vec<_> =
                    processes.map(|p| (p.member.clone(), p.state, p.version, p.wanted)).collect();
                (convergence.version, convergence.converged, convergence.problem.clone(), states)
            };
            let before = self.state(|state| state.convergence.insert(service, now.clone()));
            if before.as_ref().map(key) != Some(key(&now)) {
                let event = json!({
                    "time_ns": now_ns(), "what": "convergence", "service": service, "version": now.version,
                    "converged": now.converged, "problem": now.problem, "processes": now.processes,
                });
                self.hub.tell(Topic::Config, &event);
            }
        }
    }

    fn status(&self, trading: TradingView) -> Status {
        let orders = self.orders.now();
        let open = self.orders.look(|ledger| ledger.open().count());
        let now = now_ns();
        self.state(|state| {
            let (before, last) = (&state.samples.0, &state.samples.1);
            let mut redis = state.redis.clone();
            redis.age_ms = state.redis_at.map(|at| at.elapsed().as_millis() as u64);
            let dataplane = self.dataplane.as_ref().map(|_| DataplaneStatus {
                age_ms: state.dataplane_at.map(|at| at.elapsed().as_millis() as u64),
                ..state.dataplane.clone()
            });
            Status {
                time_ns: now,
                trading,
                redis,
                store: state.store.clone(),
                services: state.reports.iter().map(|report| state.service(report, now)).collect(),
                dataplane,
                rates: derive::rates(before, last),
                lags_ms: derive::lags(last),
                latency_ns: derive::latencies(before, last),
                orders: OrdersStatus {
                    open,
                    is_current: orders.is_current,
                    problem: orders.trouble,
                    missing_reports: orders.missing_reports,
                    trades_left_out: orders.trades_left_out,
                    refused_entries: orders.refused,
                },
                distribution_problems: self.distribution.problems(),
                event_clients: self.hub.clients(),
                watched_instruments: self.market.watched(),
                shortened: false,
            }
        })
    }
}

impl State {
    fn service(&self, report: &ProcessReport, now_ns: u64) -> ServiceStatus {
        let process = (report.service.clone(), report.member.clone());
        let health = self.health.get(&process).cloned().unwrap_or_default();
        let scraped = self.samples.1.get(&process);
        ServiceStatus {
            service: report.service.clone(),
            member: report.member.clone(),
            host: report.host.clone(),
            pid: report.pid,
            software: report.software.clone(),
            state: if report.is_fresh(now_ns) { report.state.word() } else { "gone" },
            version: report.version,
            wanted: report.wanted,
            reason: report.reason.clone(),
            ready: health.ready,
            parts: health.parts,
            health: report.health.clone(),
            problem: health.problem,
            started_ns: report.started_ns,
            age_ms: report.age(now_ns).as_millis() as u64,
            figures_age_ms: scraped.map(|scraped| scraped.at.elapsed().as_millis() as u64),
            figures: scraped
                .map(|scraped| derive::shown(&report.service, &scraped.figures))
                .unwrap_or_default(),
        }
    }
}

/// What is left of a picture that is too large for five hundred clients.
fn shortened(mut status: Status) -> Status {
    status.services.iter_mut().for_each(|service| service.figures.clear());
    if let Some(dataplane) = &mut status.dataplane {
        dataplane.status = None;
    }
    status.shortened = true;
    status
}

async fn ask(reported: &str) -> (Option<Scraped>, Health) {
    match ask_both(reported).await {
        Ok((scraped, health)) => {
            counter!("feedplane_controlplane_scrapes_total", "outcome" => "good").increment(1);
            (Some(scraped), health)
        }
        Err(error) => {
            counter!("feedplane_controlplane_scrapes_total", "outcome" => error.word()).increment(1);
            (None, Health { problem: Some(error.to_string()), ..Health::default() })
        }
    }
}

async fn ask_both(reported: &str) -> Result<(Scraped, Health), ScrapeError> {
    let address = scrape::address(reported)?;
    let (metrics, ready) = tokio::join!(scrape::get(address, "/metrics"), scrape::get(address, "/readyz"));
    let (_, page) = metrics?;
    let (status, body) = ready?;
    let publish = derive::buckets(&page, PUBLISH_BUCKETS);
    let scraped = Scraped { at: Instant::now(), figures: scrape::figures(&page), publish };
    Ok((scraped, Health { ready: Some(status == 200), parts: parts(&body), problem: None }))
}

/// The parts that `/readyz` tells; what it tells else is passed over.
fn parts(body: &[u8]) -> BTreeMap<String, String> {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let parts = told.get("parts").and_then(Value::as_object).into_iter().flatten();
    let text = |text: &str| text.chars().take(256).collect::<String>();
    parts.take(PARTS_MAX).filter_map(|(name, state)| Some((text(name), text(state.as_str()?)))).collect()
}
