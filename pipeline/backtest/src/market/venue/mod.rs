//! A session of the simulated venue: a market that our orders move, and the ticks of its own feed.
//!
//! ```text
//! background ─┐                        ┌─ ITCH messages ─► feed::Channel ─► ticks ─► VenueSource
//!             ├─► venue::Exchange ─────┤
//! our orders ─┘  (VenueMarket)         └─ what becomes of ours ─► reports, as a gateway has them
//! ```
//!
//! Source and market share the exchange. The source lets its time pass, and never past the moment that it is asked for; the market
//! enters orders at theirs. The session begins on a made-up day; the seed decides everything that nobody of ours does.
//!
//! Invariant: the exchange's time never passes an order on its way, so it matches each order against the book of that order's
//! moment.

mod desk;

use super::{Market, MarketCounts, Reports};
use crate::source::{Definition, Next, Position, Source, SourceError};
use ::venue::exchange::{Engine, Exchange, ExchangeSpec, FlowSpec};
use ::venue::session::Packet;
use book::Books;
use bus::config::{InstrumentKey, Problem};
use bus::{Instruction, InstrumentRow};
use desk::Desk;
use feed::{Channel, ChannelConfig, Itch50, Line, Sink, Stamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tick::{Clock, ClockSource, Instrument, PRICE_SCALE, Tick};

/// Wednesday, 2024-01-03, midnight in New York, ns since the epoch.
const MIDNIGHT_NS: u64 = 1_704_258_000_000_000_000;
/// Nasdaq TotalView-ITCH, which the feed is like.
pub const VENUE_PUBLISHER: u16 = 2;
/// Units of 1e-9 in the venue's units of a price.
const PRICE_UNIT: i64 = 100_000;
/// Most symbols.
pub const VENUE_SYMBOLS_MAX: u16 = 1_000;
/// Longest session, s: a trading day from 09:30 to 16:00.
pub const VENUE_SECONDS_MAX: u32 = 23_400;
/// Most events of the background in a second.
pub const VENUE_EVENTS_PER_S_MAX: u32 = 1_000_000;

/// A session of the simulated venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VenueSection {
    /// Decides what the rest of the market does.
    pub seed: u64,
    /// Symbols S1, S2, … of publisher 2, instruments 1, 2, …, each less busy than the one before. 1 to 1000.
    pub symbols: u16,
    /// How long it trades, s, from 09:30 in New York on 2024-01-03. At most 23400.
    pub seconds: u32,
    /// Events of the background in a second, of all symbols together. About 75 for the first symbol when left out. At most a million.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
}

impl VenueSection {
    /// Everything that is wrong with it, at this path of a document.
    pub fn validate(&self, at: &str, problems: &mut Vec<Problem>) {
        let bounds = [
            ("symbols", u64::from(self.symbols), u64::from(VENUE_SYMBOLS_MAX)),
            ("seconds", u64::from(self.seconds), u64::from(VENUE_SECONDS_MAX)),
            (
                "events_per_second",
                u64::from(self.events_per_second.unwrap_or(1)),
                VENUE_EVENTS_PER_S_MAX.into(),
            ),
        ];
        for (field, value, most) in bounds {
            if value == 0 || value > most {
                problems.push(Problem {
                    path: format!("{at}.{field}"),
                    message: format!("is {value}; choose 1 to {most}"),
                });
            }
        }
    }

    fn spec(&self) -> ExchangeSpec {
        let mut spec = ExchangeSpec::new(self.symbols, self.seed);
        spec.duration_ns = Some(spec.pre_open_ns + u64::from(self.seconds) * 1_000_000_000);
        if let Some(events) = self.events_per_second {
            spec.flow = Some(FlowSpec::default().with_events_per_s(f64::from(events), spec.activity()));
        }
        spec
    }
}

/// What the feed gave and nobody has taken yet.
#[derive(Default)]
struct Ticks(VecDeque<Tick>);

impl Sink for Ticks {
    fn tick(&mut self, tick: &Tick) {
        self.0.push_back(*tick);
    }

    // The feed does not say the step of prices; the listings do, and are told instead.
    fn instrument(&mut self, _: &Instrument) {}
}

/// The exchange and our desk at it.
struct Session {
    exchange: Exchange,
    desk: Desk,
    /// The session's begin, ns since the epoch.
    begin_ns: u64,
}

impl Session {
    /// A time of the run as the exchange counts.
    fn at(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.begin_ns)
    }

    /// Tells what became of our orders since it was last asked.
    fn hear(&mut self, reports: &mut Reports) {
        while let Some(addressed) = self.exchange.take_report() {
            self.desk.hear(self.begin_ns + addressed.at_ns, &addressed.report, reports);
        }
    }
}

/// The ticks of a session.
pub struct VenueSource {
    session: Rc<RefCell<Session>>,
    channel: Channel<Itch50>,
    definitions: VecDeque<Definition>,
    ticks: Ticks,
    packet: Packet,
    begin_ns: u64,
    length_ns: u64,
    ended: bool,
}

/// The market of a session.
pub struct VenueMarket {
    session: Rc<RefCell<Session>>,
}

/// A session that has not begun: its ticks and its market.
///
/// # Errors
/// The section asks for what cannot be.
pub fn open(section: &VenueSection) -> Result<(VenueSource, VenueMarket), SourceError> {
    let spec = section.spec();
    let wrong = |error: &dyn std::fmt::Display| SourceError::new("source.venue", error.to_string());
    let exchange = Exchange::new(&spec).map_err(|error| wrong(&error))?;
    let begin_ns = MIDNIGHT_NS + spec.begin_of_day_ns;
    let config =
        ChannelConfig { next_sequence: Some(1), ..ChannelConfig::new(VENUE_PUBLISHER, spec.channel_id) };
    let channel =
        Channel::new(config, Itch50::new(VENUE_PUBLISHER, spec.channel_id)).map_err(|error| wrong(&error))?;
    let definition = |(at, listing): (usize, &::venue::exchange::Listing)| Definition {
        key: InstrumentKey { publisher_id: VENUE_PUBLISHER, instrument_id: at as u32 + 1 },
        row: InstrumentRow {
            symbol: listing.spec.name.clone(),
            tick_size: Some(i64::from(listing.spec.tick.0) * PRICE_UNIT),
            multiplier: Some(PRICE_SCALE),
            lot_size: listing.spec.lot,
            kind: "equity".into(),
            group: String::new(),
            currency: "USD".into(),
            channel_id: spec.channel_id,
        },
    };
    let definitions = spec.listings.iter().enumerate().map(definition).collect();
    let session = Rc::new(RefCell::new(Session { exchange, desk: Desk::default(), begin_ns }));
    let source = VenueSource {
        session: Rc::clone(&session),
        channel,
        definitions,
        ticks: Ticks::default(),
        packet: Packet::default(),
        begin_ns,
        length_ns: spec.duration_ns.unwrap_or(0),
        ended: false,
    };
    Ok((source, VenueMarket { session }))
}

impl Source for VenueSource {
    fn next(&mut self, before_ns: u64) -> Result<Next, SourceError> {
        if let Some(definition) = self.definitions.pop_front() {
            return Ok(Next::Defined(Box::new(definition)));
        }
        loop {
            if let Some(tick) = self.ticks.0.front() {
                if tick.ts_recv >= before_ns {
                    return Ok(Next::Later);
                }
                return Ok(self.ticks.0.pop_front().map_or(Next::Later, Next::Tick));
            }
            if self.ended {
                return Ok(Next::End);
            }
            let exchange = &mut self.session.borrow_mut().exchange;
            if exchange.take_packet(&mut self.packet) {
                let recv_ns = self.begin_ns + self.packet.at_ns;
                let stamp = Stamp { recv_ns, clock: Clock::new(ClockSource::Capture, true) };
                self.channel.on_packet(Line::A, stamp, &self.packet.payload, &mut self.ticks);
                continue;
            }
            match exchange.next_ns() {
                Some(at_ns) if self.begin_ns + at_ns >= before_ns => return Ok(Next::Later),
                Some(at_ns) => exchange.advance(at_ns),
                None => {
                    self.channel.finish(&mut self.ticks);
                    self.ended = true;
                }
            }
        }
    }

    /// In ms of the session.
    fn position(&self) -> Position {
        let done = self.session.borrow().exchange.now_ns().min(self.length_ns);
        Position { done: done / 1_000_000, total: Some(self.length_ns / 1_000_000) }
    }
}

impl Market for VenueMarket {
    fn instruct(&mut self, now_ns: u64, instruction: &Instruction, _: &Books, reports: &mut Reports) {
        let session = &mut *self.session.borrow_mut();
        // What is due by then happens before, and is told before.
        let at_ns = session.at(now_ns);
        session.exchange.advance(at_ns);
        session.hear(reports);
        session.desk.instruct(&mut session.exchange, (now_ns, at_ns), instruction, reports);
        session.hear(reports);
        session.desk.done();
    }

    fn tick(&mut self, _: u64, _: &Tick, _: &Books, reports: &mut Reports) {
        self.session.borrow_mut().hear(reports);
    }

    /// The venue knows by itself.
    fn trading(&mut self, _: u64, _: InstrumentKey, _: bool, _: &Books, _: &mut Reports) {}

    fn close(&mut self, now_ns: u64, reports: &mut Reports) {
        let session = &mut *self.session.borrow_mut();
        session.hear(reports);
        session.desk.close(now_ns, reports);
    }

    fn counts(&self) -> MarketCounts {
        self.session.borrow().desk.counts()
    }
}

impl VenueMarket {
    /// Looks at the venue's own books.
    pub fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        look(self.session.borrow().exchange.engine())
    }
}

impl std::fmt::Debug for VenueSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VenueSource").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for VenueMarket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VenueMarket").finish_non_exhaustive()
    }
}
