//! Whether there is trading: what is wanted is in the store, what holds is the last entry of `trading_state`.
//!
//! ```text
//! POST /v1/halt ─► store: wanted, revision n ─► XADD trading_state ─► strategy, gateway
//!                        ▲                            │
//!                        └──── taken over ◄── watch ◄─┘ every 200 ms: somebody else's entry, or Redis lost ours
//! ```
//!
//! Who owns what: the store the wanted state and its revision, Redis the entry that processes follow, this desk the
//! comparison of the two. Invariants:
//! - A halt that was stored is said to Redis until Redis has it, and again when Redis has lost it.
//! - Nothing that lets more pass is said by itself: a resume or reduce is said once, by the request that wants it, behind the
//!   entry that it saw. When Redis then loses it, a person has to say it again.
//! - Somebody else's entry is taken over into the store, so that its revision is another and a resume that did not see it is
//!   refused; unless a halt of ours waits.

use super::events::{Hub, Topic};
use super::link::{BusError, BusLink};
use super::now_ns;
use crate::access::{Intent, Precondition, Role};
use crate::api::{Answer, Problem, Stopped};
use crate::store::{Done, Store, WantedTrading};
use axum::http::StatusCode;
use bus::names::TRADING_STATE;
use bus::{StreamId, TradingMode, TradingState, records_of_range};
use metrics::{counter, gauge, histogram};
use serde::Serialize;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// How often Redis is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the store is looked at: another control plane of the same store may have wanted something.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the store before a halt is said without it: trading is stopped first.
const STORE_WITHIN: Duration = Duration::from_secs(1);
/// Entries that the stream keeps, as the command line has it: years of halts.
const ENTRIES_MAX: u32 = 10_000;
/// Entries in which ours is looked for.
const LOOKED_THROUGH: usize = 1_000;
/// Longest `by`, bytes, as the record has it.
const BY_BYTES_MAX: usize = 256;

/// The trading state, as `GET /v1/trading` and the event `trading` show it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TradingView {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// Counts every change: the `ETag`.
    pub revision: u64,
    /// `active`, `reducing`, `halted`: what is wanted.
    pub mode: &'static str,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was set, ns since the epoch; 0 = never.
    pub since_ns: u64,
    /// Redis does not have it: processes that follow do not know yet.
    pub pending: bool,
    /// Why not, or what else is the matter.
    #[schema(required)]
    pub problem: Option<String>,
    /// The entry of `trading_state` that holds; null when there is none.
    #[schema(required)]
    pub entry: Option<String>,
}

/// What Redis has: the last entry's id, and what it says.
type Last = Option<(StreamId, Result<TradingState, String>)>;

#[derive(Debug, Default)]
struct Known {
    /// As stored; none when nobody has said anything yet.
    wanted: Option<WantedTrading>,
    /// As last seen.
    last: Last,
    problem: Option<String>,
    /// Whether Redis answered when it was last asked.
    connected: bool,
}

/// Says the trading state and watches over it.
pub struct TradingDesk {
    store: Store,
    link: BusLink,
    hub: Arc<Hub>,
    known: Mutex<Known>,
    /// One at a time compares and says.
    turn: tokio::sync::Mutex<()>,
}

/// Adds an entry: KEYS stream; ARGV the id that must still be the last (or empty), entries kept, fields.
const ADD: &str = "if ARGV[1] ~= '' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  if (last[1] and last[1][1] or '0-0') ~= ARGV[1] then return false end
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))";

/// How much a mode stops.
fn strictness(mode: TradingMode) -> u8 {
    match mode {
        TradingMode::Active => 0,
        TradingMode::Reducing => 1,
        TradingMode::Halted => 2,
    }
}

impl TradingDesk {
    /// A desk that has looked at nothing yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(url: &str, store: Store, hub: Arc<Hub>) -> Result<TradingDesk, BusError> {
        let link = BusLink::new(url)?;
        Ok(TradingDesk { store, link, hub, known: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The state as it is known.
    pub fn view(&self) -> TradingView {
        self.known(|known| known.view())
    }

    /// Watches, until the task is ended.
    pub async fn watch(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stored: Option<Instant> = None;
        loop {
            every.tick().await;
            let ask_store = stored.is_none_or(|stored| stored.elapsed() >= STORE_EVERY);
            if ask_store {
                stored = Some(Instant::now());
            }
            self.look(ask_store).await;
        }
    }

    /// Looks at store and Redis once, and settles what differs.
    pub async fn look(&self, ask_store: bool) {
        let _turn = self.turn.lock().await;
        let before = self.view();
        if ask_store {
            match self.store.trading().await {
                Ok(Some(wanted)) => self.known(|known| known.want(wanted)),
                Ok(None) => {}
                Err(error) => self.trouble(format!("the wanted state cannot be read: {error}")),
            }
        }
        match self.last(1).await {
            Ok(mut entries) => {
                let last = entries.pop();
                let is_settled = self.known(|known| {
                    known.last = last;
                    known.connected = true;
                    known.is_settled()
                });
                let settled = if is_settled { Ok(None) } else { self.settle().await };
                match settled {
                    Ok(problem) => self.known(|known| known.problem = problem),
                    Err(error) => self.trouble(error),
                }
            }
            Err(error) => {
                self.known(|known| known.connected = !error.is_gone());
                self.trouble(error.to_string());
            }
        }
        self.tell_if_other(&before);
    }

    fn trouble(&self, problem: String) {
        let is_new = self.known(|known| known.problem.replace(problem.clone()).as_ref() != Some(&problem));
        if is_new {
            tracing::warn!(problem, "the trading state");
        }
    }

    fn tell_if_other(&self, before: &TradingView) {
        let view = self.view();
        for mode in TradingMode::ALL {
            let is = f64::from(u8::from(view.mode == mode.word()));
            gauge!("feedplane_controlplane_trading_mode", "mode" => mode.word()).set(is);
        }
        gauge!("feedplane_controlplane_trading_pending").set(f64::from(u8::from(view.pending)));
        let same = TradingView { time_ns: before.time_ns, ..view.clone() } == *before;
        if !same || before.revision == 0 {
            self.hub.show(Topic::Trading, &serde_json::to_vec(&view).unwrap_or_default());
        }
    }

    /// What is wanted and what Redis has are two: says what must be said, or takes over. What is left to be told to people.
    ///
    /// A halt does not wait for its turn, so that what was compared may be old by now: Redis is asked again here, and the
    /// store takes over only behind the revision that was compared.
    async fn settle(&self) -> Result<Option<String>, String> {
        let wanted = self.known(|known| known.wanted.clone());
        let entries = self.last(LOOKED_THROUGH).await.map_err(|error| error.to_string())?;
        let last = entries.first().cloned();
        self.known(|known| known.last.clone_from(&last));
        let Some(wanted) = wanted else {
            if let Some((id, state)) = last {
                self.take_over(0, id, state).await?;
            }
            return Ok(None);
        };
        let is_halt = wanted.state.mode == TradingMode::Halted;
        let Some((id, state)) = last else {
            if is_halt {
                return self.say_again(&wanted).await;
            }
            let message = "Redis has lost its memory: processes that start now are halted until POST /v1/resume or reduce \
                           says it again";
            return Ok(Some(message.into()));
        };
        if state.as_ref() == Ok(&wanted.state) {
            return Ok(None);
        }
        let there = state.as_ref().map_or(TradingMode::Halted, |state| state.mode);
        let lets_more_pass = strictness(there) < strictness(wanted.state.mode);
        let was_said = || entries.iter().any(|(_, said)| said.as_ref() == Ok(&wanted.state));
        if (is_halt || lets_more_pass) && !was_said() {
            return self.say_again(&wanted).await;
        }
        self.take_over(wanted.revision, id, state).await?;
        Ok(None)
    }

    async fn say_again(&self, wanted: &WantedTrading) -> Result<Option<String>, String> {
        self.say(&wanted.state, None).await.map_err(|error| error.to_string())?;
        counter!("feedplane_controlplane_trading_said_again_total").increment(1);
        tracing::warn!(mode = %wanted.state.mode, by = wanted.state.by, "Redis did not have the trading state; it is said again");
        Ok(None)
    }

    /// Adds an entry, when `behind` is given only behind that one; false when it is not the last any more.
    async fn say(&self, state: &TradingState, behind: Option<StreamId>) -> Result<bool, BusError> {
        let mut add = redis::cmd("EVAL");
        add.arg(ADD).arg(1).arg(TRADING_STATE);
        add.arg(behind.map_or_else(String::new, |id| id.to_string())).arg(ENTRIES_MAX);
        state.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        let added: Option<String> = self.link.ask(&add).await?;
        let Some(added) = added else { return Ok(false) };
        let id = StreamId::parse(added.as_bytes()).ok_or_else(|| BusError::Answer(added.clone()))?;
        self.known(|known| {
            known.last = Some((id, Ok(state.clone())));
            (known.problem, known.connected) = (None, true);
        });
        Ok(true)
    }

    /// The last entries, newest first.
    async fn last(&self, count: usize) -> Result<Vec<(StreamId, Result<TradingState, String>)>, BusError> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(TRADING_STATE).arg("+").arg("-").arg("COUNT").arg(count);
        let reply: redis::Value = self.link.ask(&range).await?;
        let records = records_of_range(&reply).map_err(|error| BusError::Answer(error.to_string()))?;
        let parsed = records.into_iter().map(|record| {
            let fields = record.fields.map_err(|error| error.to_string());
            let state =
                fields.and_then(|fields| TradingState::parse(fields).map_err(|error| error.to_string()));
            (record.id, state)
        });
        Ok(parsed.collect())
    }

    /// Somebody else's entry becomes what is wanted. One that cannot be read counts as halted.
    async fn take_over(
        &self,
        behind: u64,
        id: StreamId,
        state: Result<TradingState, String>,
    ) -> Result<(), String> {
        let state = state.unwrap_or_else(|why| TradingState {
            mode: TradingMode::Halted,
            by: "unknown".into(),
            reason: format!("entry {id} of trading_state cannot be read: {why}"),
            time_ns: now_ns(),
        });
        let mut intent = Intent::internal(&shown(&state.by), "take_over_trading");
        intent.reason = Some(shown(&state.reason));
        let decide = |before: Option<&WantedTrading>| match before.map_or(0, |before| before.revision) {
            revision if revision == behind => Ok(state),
            revision => Err(changed(revision)),
        };
        match self.want(&intent, decide).await {
            Ok(wanted) => {
                tracing::info!(mode = %wanted.state.mode, by = wanted.state.by, %id, "a trading state that somebody else set");
                self.known(|known| known.want(wanted));
                Ok(())
            }
            Err(stopped) => Err(format!("what somebody else set cannot be stored: {}", told(&stopped))),
        }
    }

    /// Stores a state as wanted; what it is made of is decided from what is wanted before. The same one again changes nothing.
    async fn want(
        &self,
        intent: &Intent,
        decide: impl FnOnce(Option<&WantedTrading>) -> Result<TradingState, Problem>,
    ) -> Result<WantedTrading, Stopped> {
        let mut change = self.store.begin(intent).await?;
        let before = change.trading().await?;
        let state = decide(before.as_ref())?;
        if let Some(before) = before.as_ref().filter(|before| before.state == state) {
            return Ok(before.clone());
        }
        let wanted = change.set_trading(state).await?;
        let answer = Answer::ok(answer_body(&wanted, true)).with_version(wanted.revision);
        let before = before.as_ref().map_or(serde_json::Value::Null, |before| answer_body(before, false));
        let after = answer_body(&wanted, false);
        change.commit(Done { target: "trading".into(), before, after, answer, kept: None }).await?;
        Ok(wanted)
    }

    /// Halts, whatever is there: stored first, then said. With a store that does not answer it is said all the same.
    ///
    /// # Errors
    /// What the caller is told.
    pub async fn halt(&self, intent: &Intent, reason: String) -> Result<Answer, Stopped> {
        let began = Instant::now();
        let state = new_state(TradingMode::Halted, intent, reason);
        let wanted = tokio::time::timeout(STORE_WITHIN, self.want(intent, |_| Ok(state.clone()))).await;
        let wanted = match wanted {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(Stopped::Refused(problem))) if problem.status < 500 => {
                return Err(Stopped::Refused(problem));
            }
            Ok(Err(answered @ Stopped::Answered(_))) => return Err(answered),
            Ok(Err(Stopped::Refused(_))) | Err(_) => return self.halt_without_store(&state).await,
        };
        self.known(|known| known.want(wanted.clone()));
        let said = self.say(&wanted.state, None).await;
        histogram!("feedplane_controlplane_halt_ms").record(began.elapsed().as_secs_f64() * 1e3);
        if let Err(error) = said {
            self.known(|known| known.connected = !error.is_gone());
            self.trouble(error.to_string());
        }
        Ok(self.answer(&wanted))
    }

    async fn halt_without_store(&self, state: &TradingState) -> Result<Answer, Stopped> {
        tracing::error!("the store does not answer; the halt is said without it");
        let said = self.say(state, None).await;
        let detail = match said {
            Ok(_) => "trading is halted in Redis, and the store does not answer: it is neither kept nor in the audit. Look at the store".to_owned(),
            Err(error) => format!("NOTHING was done: the store does not answer, and {error}. Stop the gateways (SIGTERM), or cancel at the venue"),
        };
        Err(Problem::unavailable(detail).into())
    }

    /// Reduces or resumes: only what the caller saw, and only with Redis there to hear it.
    ///
    /// # Errors
    /// What the caller is told.
    pub async fn loosen(
        &self,
        intent: &Intent,
        mode: TradingMode,
        reason: String,
    ) -> Result<Answer, Stopped> {
        // What somebody else set just now is taken over first, and its revision is another.
        self.look(true).await;
        let turn = self.turn.lock().await;
        let (connected, last) = self.known(|known| (known.connected, known.last.clone()));
        if !connected {
            let problem = self.view().problem.unwrap_or_default();
            return Err(Problem::unavailable(format!(
                "{mode} cannot be said now, and nothing was done: {problem}"
            ))
            .into());
        }
        let state = new_state(mode, intent, reason);
        let wanted = self
            .want(intent, |before| may_loosen(intent, mode, before, last.as_ref()).map(|()| state))
            .await?;
        self.known(|known| known.want(wanted.clone()));
        let behind = last.map_or_else(StreamId::default, |(id, _)| id);
        let said = self.say(&wanted.state, Some(behind)).await;
        drop(turn);
        match said {
            Ok(true) => Ok(self.answer(&wanted)),
            Ok(false) => {
                self.look(true).await;
                let revision = self.view().revision;
                let message = "somebody else has set the state meanwhile; it stands. Look at GET /v1/trading";
                Err(Problem::stale(message, revision).into())
            }
            Err(error) => {
                let message = format!("not confirmed: {error}. Look at GET /v1/trading, and say it again");
                Err(Problem::unavailable(message).into())
            }
        }
    }

    fn answer(&self, wanted: &WantedTrading) -> Answer {
        let view = self.view();
        // What holds now may be somebody else's already; the answer is about what was asked for.
        let pending = view.revision == wanted.revision && view.pending;
        self.hub.show(Topic::Trading, &serde_json::to_vec(&view).unwrap_or_default());
        let status = if pending { StatusCode::ACCEPTED } else { StatusCode::OK };
        Answer { status, ..Answer::ok(answer_body(wanted, pending)) }.with_version(wanted.revision)
    }
}

/// What a halt, reduce or resume answers.
fn answer_body(wanted: &WantedTrading, pending: bool) -> serde_json::Value {
    let TradingState { mode, by, reason, time_ns } = &wanted.state;
    json!({"revision": wanted.revision, "mode": mode.word(), "by": by, "reason": reason, "since_ns": time_ns, "pending": pending})
}

/// Whether a reduce or resume may be: a halt is lifted only by who may, and only when it was seen.
fn may_loosen(
    intent: &Intent,
    mode: TradingMode,
    before: Option<&WantedTrading>,
    last: Option<&(StreamId, Result<TradingState, String>)>,
) -> Result<(), Problem> {
    let revision = before.map_or(0, |before| before.revision);
    let is_halted = before.is_none_or(|before| before.state.mode == TradingMode::Halted) || last.is_none();
    if mode == TradingMode::Reducing && !is_halted {
        // Demanded of nobody who stops more, and heeded when it is said.
        return match intent.precondition {
            Precondition::Version(seen) if seen != revision => Err(changed(revision)),
            _ => Ok(()),
        };
    }
    if intent.caller.role < Role::Risk {
        return Err(Problem::forbidden("trading is halted; only the role risk lifts a halt"));
    }
    match intent.precondition {
        Precondition::None => Err(Problem::precondition_required(
            "say which halt you lift: If-Match with the ETag of GET /v1/trading",
        )),
        Precondition::Version(seen) if seen == revision => Ok(()),
        Precondition::Absent if revision == 0 => Ok(()),
        _ => Err(changed(revision)),
    }
}

fn changed(revision: u64) -> Problem {
    Problem::stale("somebody has set the trading state since you looked; look at GET /v1/trading", revision)
}

fn new_state(mode: TradingMode, intent: &Intent, reason: String) -> TradingState {
    TradingState { mode, by: shown(&intent.caller.name), reason, time_ns: now_ns() }
}

/// A name or reason as it may stand in the record.
fn shown(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.truncate(text.floor_char_boundary(BY_BYTES_MAX));
    text
}

fn told(stopped: &Stopped) -> String {
    match stopped {
        Stopped::Refused(problem) => problem.detail.clone(),
        Stopped::Answered(_) => "it was answered before".into(),
    }
}

impl Known {
    /// What was read before a halt was stored does not hide it.
    fn want(&mut self, wanted: WantedTrading) {
        if self.wanted.as_ref().is_none_or(|known| known.revision <= wanted.revision) {
            self.wanted = Some(wanted);
        }
    }

    /// Redis has what is wanted.
    fn is_settled(&self) -> bool {
        match (&self.wanted, &self.last) {
            (Some(wanted), Some((_, Ok(state)))) => wanted.state == *state,
            (None, None) => true,
            _ => false,
        }
    }

    fn view(&self) -> TradingView {
        let pending = self.wanted.is_some() && !self.is_settled();
        let none = TradingState {
            mode: TradingMode::Halted,
            by: String::new(),
            reason: "nobody has ever set a state, which counts as halted".into(),
            time_ns: 0,
        };
        let state = self.wanted.as_ref().map_or(&none, |wanted| &wanted.state);
        TradingView {
            time_ns: now_ns(),
            revision: self.wanted.as_ref().map_or(0, |wanted| wanted.revision),
            mode: state.mode.word(),
            by: state.by.clone(),
            reason: state.reason.clone(),
            since_ns: state.time_ns,
            pending,
            problem: self.problem.clone(),
            entry: self.last.as_ref().map(|(id, _)| id.to_string()),
        }
    }
}
