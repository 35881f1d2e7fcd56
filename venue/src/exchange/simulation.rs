//! The whole exchange: engine, feed, background flow and trading day, on one line of time.
//!
//! Invariant: things happen in the order of time. What is due by itself (background orders, packets, the
//! phases of the day) happens before an order that comes at the same time or later.

use super::engine::{Engine, EngineConfig, Placed};
use super::flow::{Flow, FlowSpec};
use super::listing::{Band, EngineError, SymbolSpec};
use super::order::{
    CancelReason, Listener, MarketEvent, NewOrder, Owner, Price, RejectReason, Replacement, Report,
    SHARES_MAX, SessionId, SymbolId, TradingState,
};
use super::publish::{DayEvent, Publisher};
use crate::session::{Channel, LineAddress, Packet, Protocol, Source, SourceError};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use wire::itch50::alpha;

/// Between the packets that close the channel, ns: beyond the usual gap timeout, so that each is a second
/// chance to notice what is missing.
const CLOSING_SPACING_NS: u64 = 10_000_000;
/// How many packets close the channel.
const CLOSING_PACKETS: u32 = 3;
/// 09:30 in New York, ns since midnight.
const OPEN_NS: u64 = 34_200_000_000_000;

/// A symbol of the exchange.
#[derive(Clone, PartialEq, Debug)]
pub struct Listing {
    /// How it is traded.
    pub spec: SymbolSpec,
    /// Around which price the background begins.
    pub reference: Price,
    /// How busy the background is in it, 1 = as the [`FlowSpec`] says.
    pub activity: f64,
}

/// What an exchange is to be.
#[derive(Clone, PartialEq, Debug)]
pub struct ExchangeSpec {
    /// What is traded. ITCH's stock locate code of the first is 1.
    pub listings: Vec<Listing>,
    /// The matching engine.
    pub engine: EngineConfig,
    /// The background's orders; `None`: only sessions trade.
    pub flow: Option<FlowSpec>,
    /// From the begin of the session to the open, ns: orders are taken, nothing is matched.
    pub pre_open_ns: u64,
    /// From the begin of the session to the close, ns; `None`: until it is told to close.
    pub duration_ns: Option<u64>,
    /// The begin of the session, ns since midnight in New York: what the feed's times count from.
    pub begin_of_day_ns: u64,
    /// How long messages gather in a packet that is not full, ns; 0: a packet for each thing that happens.
    pub gather_ns: u64,
    /// What decides all that the background does.
    pub seed: u64,
    /// MoldUDP64's name for the feed's session. An exchange that starts again begins at message 1: it needs
    /// another name, so that its receivers notice.
    pub feed_session: [u8; 10],
    /// The feed's number in reports and feeds files.
    pub channel_id: u16,
    /// Where line A and line B of the feed are sent.
    pub destinations: [Option<SocketAddrV4>; 2],
    /// The sender's address in raw frames.
    pub source: Ipv4Addr,
}

impl ExchangeSpec {
    /// An exchange with so many symbols S1, S2, …, from 20 to 500 dollars, of which the second is half as busy
    /// as the first, the third a third, and so on; it opens after 10 ms at 09:30.
    pub fn new(symbols: u16, seed: u64) -> ExchangeSpec {
        let listing = |at: u16| Listing {
            spec: SymbolSpec::new(&format!("S{}", at + 1)),
            reference: Price(10_000 * (20 + u32::from(at) * 37 % 480)),
            activity: 1.0 / f64::from(at + 1),
        };
        let destination = |third, port| Some(SocketAddrV4::new(Ipv4Addr::new(239, 77, third, 1), port));
        let pre_open_ns = 10_000_000;
        ExchangeSpec {
            listings: (0..symbols).map(listing).collect(),
            engine: EngineConfig::default(),
            flow: Some(FlowSpec::default()),
            pre_open_ns,
            duration_ns: None,
            begin_of_day_ns: OPEN_NS - pre_open_ns,
            gather_ns: 0,
            seed,
            feed_session: alpha(&format!("FP{:08X}", seed as u32)),
            channel_id: 1,
            destinations: [destination(1, 31_001), destination(2, 32_001)],
            source: Ipv4Addr::new(198, 18, 0, 1),
        }
    }

    /// The sum of the symbols' activities, for [`FlowSpec::with_events_per_s`].
    pub fn activity(&self) -> f64 {
        self.listings.iter().map(|listing| listing.activity).sum()
    }

    fn check(&self) -> Result<(), ExchangeError> {
        if self.destinations == [None, None] {
            return Err(ExchangeError::NoLine);
        }
        let Some(flow) = &self.flow else { return Ok(()) };
        flow.check().map_err(ExchangeError::Flow)?;
        for Listing { spec, reference, activity } in &self.listings {
            let wrong = if !(*activity > 0.0 && *activity <= 1e6) {
                "its activity must be above 0, and at most 1e6"
            } else if spec.lot == 0 || flow.size_unit % spec.lot != 0 || flow.size_unit > SHARES_MAX {
                "the flow's size unit must be whole lots, and at most 999999"
            } else if spec.tick.0 == 0 || reference.0 / spec.tick.0 < 4 || *reference > Price::MAX {
                "its reference price must be at least 4 ticks, and at most 199999.99"
            } else {
                continue;
            };
            return Err(EngineError::Symbol { name: spec.name.clone(), wrong }.into());
        }
        Ok(())
    }

    fn channel(&self) -> Channel {
        let address = |to: SocketAddrV4| LineAddress {
            destination: to,
            source: SocketAddrV4::new(self.source, to.port()),
        };
        Channel {
            name: "exchange".to_owned(),
            channel_id: self.channel_id,
            protocol: Protocol::Itch50,
            lines: self.destinations.map(|to| to.map(address)),
        }
    }
}

/// What is wrong with an [`ExchangeSpec`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Symbols or engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The background's orders.
    #[error("background flow: {0}")]
    Flow(&'static str),
    /// The feed would be sent nowhere.
    #[error("no line has a destination")]
    NoLine,
}

/// A report, to whom, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addressed {
    /// When it happened, ns since the session's begin.
    pub at_ns: u64,
    /// Who is told.
    pub session: SessionId,
    /// What.
    pub report: Report,
}

/// Where the day is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Begin,
    PreOpen,
    Open,
    /// So many closing packets are left.
    Closed(u32),
}

/// Everybody who listens to the engine.
struct Outputs {
    publisher: Publisher,
    reports: VecDeque<Addressed>,
    now_ns: u64,
}

impl Listener for Outputs {
    fn market(&mut self, event: MarketEvent) {
        self.publisher.market(event);
    }

    fn report(&mut self, session: SessionId, report: Report) {
        self.reports.push_back(Addressed { at_ns: self.now_ns, session, report });
    }
}

/// The exchange.
pub struct Exchange {
    channels: Vec<Channel>,
    engine: Engine,
    flow: Option<Flow>,
    out: Outputs,
    phase: Phase,
    /// When the phase ends, ns; `None`: when it is told.
    phase_ends_ns: Option<u64>,
    pre_open_ns: u64,
    duration_ns: Option<u64>,
}

impl Exchange {
    /// Makes an exchange before its session's begin.
    ///
    /// # Errors
    /// The spec asks for what cannot be.
    pub fn new(spec: &ExchangeSpec) -> Result<Exchange, ExchangeError> {
        spec.check()?;
        let specs = spec.listings.iter().map(|listing| listing.spec.clone()).collect();
        let engine = Engine::new(spec.engine, specs)?;
        let symbols = spec.listings.iter().map(|listing| (listing.reference, listing.activity));
        let flow = spec.flow.clone().map(|flow| Flow::new(flow, &engine, symbols, spec.seed));
        let stocks = spec.listings.iter().map(|listing| listing.spec.stock()).collect();
        Ok(Exchange {
            channels: vec![spec.channel()],
            engine,
            flow,
            out: Outputs {
                publisher: Publisher::new(spec.feed_session, stocks, spec.begin_of_day_ns, spec.gather_ns),
                reports: VecDeque::new(),
                now_ns: 0,
            },
            phase: Phase::Begin,
            phase_ends_ns: Some(0),
            pre_open_ns: spec.pre_open_ns,
            duration_ns: spec.duration_ns,
        })
    }

    /// The books, as they are now.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What time it is, ns since the session's begin.
    pub fn now_ns(&self) -> u64 {
        self.out.now_ns
    }

    /// The number of the feed's next message: what was published before has all that the books have.
    pub fn next_sequence(&self) -> u64 {
        self.out.publisher.next_sequence()
    }

    /// When something happens by itself; `None`: never again, the session is over.
    pub fn next_ns(&self) -> Option<u64> {
        if self.phase == Phase::Closed(0) {
            return None;
        }
        let flow_ns = self.flow.as_ref().and_then(Flow::next_ns).filter(|_| self.trades());
        let feed_ns = Some(self.out.publisher.due_ns()).filter(|_| self.trades());
        [flow_ns, feed_ns, self.phase_ends_ns].into_iter().flatten().min()
    }

    /// Lets time pass: all that happens by itself until then, that moment included, happens. Time never steps
    /// back; an earlier time is as the present. It is the venue's own clock, never a client's word. Take packets
    /// and reports after each call: they are kept until they are taken.
    pub fn advance(&mut self, to_ns: u64) {
        while let Some(at_ns) = self.next_ns()
            && at_ns <= to_ns
        {
            self.step(at_ns);
        }
        self.set_now(to_ns);
    }

    /// Enters an order at this time.
    ///
    /// # Errors
    /// The reason why it was refused, of which its session is told, too.
    pub fn enter(&mut self, at_ns: u64, order: &NewOrder) -> Result<Placed, RejectReason> {
        self.at(at_ns, |engine, out| engine.enter(order, out))
    }

    /// Cancels an order down to `leave` shares, 0 for all of it; gives back how many were cancelled.
    ///
    /// # Errors
    /// The reason why it was refused, of which the owner is told, too.
    pub fn cancel(
        &mut self,
        at_ns: u64,
        owner: Owner,
        reference: u64,
        leave: u32,
    ) -> Result<u32, RejectReason> {
        self.at(at_ns, |engine, out| engine.cancel(owner, reference, leave, out))
    }

    /// Puts another order in an order's place.
    ///
    /// # Errors
    /// The reason why it was refused, of which the owner is told, too.
    pub fn replace(&mut self, at_ns: u64, wanted: &Replacement) -> Result<Placed, RejectReason> {
        self.at(at_ns, |engine, out| engine.replace(wanted, out))
    }

    /// Cancels all orders of a session; gives back how many there were.
    pub fn cancel_all(&mut self, at_ns: u64, session: SessionId, reason: CancelReason) -> usize {
        self.at(at_ns, |engine, out| engine.cancel_all(Owner::Session(session), reason, out))
    }

    /// Halts a symbol, lets it trade again, or closes it. The day itself opens and closes all of them.
    ///
    /// # Errors
    /// The symbol is unknown, or closed.
    pub fn set_state(
        &mut self,
        at_ns: u64,
        symbol: SymbolId,
        state: TradingState,
    ) -> Result<(), EngineError> {
        self.at(at_ns, |engine, out| engine.set_state(symbol, state, out))
    }

    /// Moves a symbol's price band.
    ///
    /// # Errors
    /// The symbol is unknown, or the band is none.
    pub fn set_band(&mut self, at_ns: u64, symbol: SymbolId, band: Band) -> Result<(), EngineError> {
        self.at(at_ns, |engine, out| engine.set_band(symbol, band, out))
    }

    /// Closes the market at this time; the feed's last packets follow in the next 30 ms.
    pub fn close(&mut self, at_ns: u64) {
        self.advance(at_ns);
        if self.trades() {
            self.close_now();
        }
    }

    /// The oldest report that was not taken yet. They are kept until they are.
    pub fn take_report(&mut self) -> Option<Addressed> {
        self.out.reports.pop_front()
    }

    /// The oldest packet of the feed that was not taken yet takes the place of `packet`; false: there is none.
    pub fn take_packet(&mut self, packet: &mut Packet) -> bool {
        self.out.publisher.take(packet)
    }

    fn trades(&self) -> bool {
        !matches!(self.phase, Phase::Closed(_))
    }

    fn set_now(&mut self, now_ns: u64) {
        let now_ns = now_ns.max(self.out.now_ns);
        self.out.now_ns = now_ns;
        self.out.publisher.set_now(now_ns);
    }

    /// Does something at this time, after all that is due by then.
    fn at<T>(&mut self, at_ns: u64, act: impl FnOnce(&mut Engine, &mut Outputs) -> T) -> T {
        self.advance(at_ns);
        let result = act(&mut self.engine, &mut self.out);
        if self.trades() {
            self.out.publisher.send_due();
        }
        result
    }

    /// Does the one thing that happens at this time.
    fn step(&mut self, at_ns: u64) {
        self.set_now(at_ns);
        if self.phase_ends_ns.is_some_and(|end_ns| end_ns <= at_ns) {
            return self.next_phase();
        }
        if let Some(flow) = &mut self.flow
            && flow.next_ns().is_some_and(|next_ns| next_ns <= at_ns)
        {
            flow.step(&mut self.engine, &mut self.out);
        }
        self.out.publisher.send_due();
    }

    fn next_phase(&mut self) {
        match self.phase {
            Phase::Begin => self.begin_now(),
            Phase::PreOpen => self.open_now(),
            Phase::Open => self.close_now(),
            Phase::Closed(left) => {
                self.out.publisher.send_end_of_session();
                self.phase = Phase::Closed(left - 1);
                self.phase_ends_ns = Some(self.out.now_ns + CLOSING_SPACING_NS);
            }
        }
    }

    /// What is listed; then the background's books.
    fn begin_now(&mut self) {
        let Exchange { engine, out, .. } = self;
        out.publisher.day_event(DayEvent::MessagesBegin);
        for symbol in engine.symbols() {
            out.publisher.directory(symbol, engine.spec(symbol).map_or(1, |spec| spec.lot));
        }
        for symbol in engine.symbols() {
            out.market(MarketEvent::State { symbol, state: TradingState::PreOpen });
        }
        out.publisher.day_event(DayEvent::SystemHoursBegin);
        if let Some(flow) = &mut self.flow {
            flow.fill(engine, out);
        }
        out.publisher.send();
        self.phase = Phase::PreOpen;
        self.phase_ends_ns = Some(self.pre_open_ns);
    }

    fn open_now(&mut self) {
        self.out.publisher.day_event(DayEvent::MarketHoursBegin);
        for symbol in self.engine.symbols() {
            // Who was halted or closed before the open stays so.
            if self.engine.state(symbol) == Some(TradingState::PreOpen) {
                let _ = self.engine.set_state(symbol, TradingState::Open, &mut self.out);
            }
        }
        self.out.publisher.send();
        self.phase = Phase::Open;
        self.phase_ends_ns = self.duration_ns.map(|end_ns| end_ns.max(self.out.now_ns));
    }

    fn close_now(&mut self) {
        self.out.publisher.day_event(DayEvent::MarketHoursEnd);
        for symbol in self.engine.symbols() {
            // Refused for those that closed before.
            let _ = self.engine.set_state(symbol, TradingState::Closed, &mut self.out);
        }
        self.out.publisher.day_event(DayEvent::SystemHoursEnd);
        self.out.publisher.day_event(DayEvent::MessagesEnd);
        self.out.publisher.send();
        self.phase = Phase::Closed(CLOSING_PACKETS);
        self.phase_ends_ns = Some(self.out.now_ns + CLOSING_SPACING_NS);
    }
}

impl Source for Exchange {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn next(&mut self, packet: &mut Packet) -> Result<bool, SourceError> {
        while !self.take_packet(packet) {
            let Some(at_ns) = self.next_ns() else { return Ok(false) };
            self.step(at_ns);
        }
        Ok(true)
    }

    fn end_early(&mut self) {
        self.close(self.out.now_ns);
    }
}
