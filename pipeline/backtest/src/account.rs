//! What trades come to: positions, cash, marks, round trips, drawdown and exposure, in integers.
//!
//! Trades are booked when they happen in the market, not when the host hears of them. A position is worth what the side at which
//! it can be closed says, by the last good quote at the end of an event, as the risk engine values it; before there was one, the
//! price of the last trade.
//!
//! Invariant: gross = Σ cash + Σ value, over all books; `net` = gross − fees, always.

use crate::document::FeesSection;
use crate::market::Liquidity;
use crate::outcome::{
    Amount, CURVE_POINTS_MAX, CurvePoint, ExposureFigures, HoldingFigures, MoneyFigures, TradeFigures,
};
use book::Book;
use bus::Report;
use bus::config::InstrumentKey;
use std::collections::HashMap;
use tick::{Price, Side};

/// 1e-9 units in one.
const UNIT: i128 = 1_000_000_000;
/// The first width of the curve's intervals, ns.
const CURVE_STEP_NS: u64 = 1_000_000;

/// What a strategy did in an instrument.
#[derive(Clone, Debug)]
struct Holding {
    strategy: String,
    symbol: String,
    /// Index of its instrument.
    instrument: usize,
    position: i64,
    bought: u64,
    sold: u64,
    cash: i128,
    fees: i128,
    fills: u64,
    /// Cash less fees when the position was last none.
    trip_from: i128,
    round_trips: u64,
    round_trips_won: u64,
}

/// An instrument with trades.
#[derive(Clone, Debug)]
struct Held {
    key: InstrumentKey,
    /// 1e-9.
    multiplier: i128,
    /// What all strategies with a long position own together; and what all with a short one owe, at most 0.
    long: i128,
    short: i128,
    bid: i128,
    ask: i128,
}

impl Held {
    fn value(&self) -> i128 {
        (self.long * self.bid + self.short * self.ask) * self.multiplier
    }

    fn exposure(&self) -> i128 {
        (self.long * self.bid.abs() - self.short * self.ask.abs()) * self.multiplier
    }

    fn is_flat(&self) -> bool {
        self.long == 0 && self.short == 0
    }
}

/// All trades of a run.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    fees: FeesSection,
    holdings: Vec<Holding>,
    held: Vec<Held>,
    /// By strategy and instrument.
    places: HashMap<(String, InstrumentKey), usize>,
    /// Indices of instruments with a position.
    open: Vec<usize>,
    cash: i128,
    fees_paid: i128,
    value: i128,
    exposure: i128,
    net_max: i128,
    money: MoneyFigures,
    trades: TradeFigures,
    curve: Curve,
    exposure_max: i128,
    /// Σ exposure (1e-9 currency) × time (ns).
    exposure_time: i128,
    market_time: u64,
    first_ns: Option<u64>,
    now_ns: u64,
}

/// A trade.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) key: InstrumentKey,
    /// Bought above 0, sold below.
    pub(crate) signed: i64,
    pub(crate) price: Price,
    pub(crate) liquidity: Liquidity,
}

impl Account {
    pub(crate) fn new(fees: FeesSection) -> Account {
        Account {
            fees,
            holdings: Vec::new(),
            held: Vec::new(),
            places: HashMap::new(),
            open: Vec::new(),
            cash: 0,
            fees_paid: 0,
            value: 0,
            exposure: 0,
            net_max: 0,
            money: MoneyFigures::default(),
            trades: TradeFigures::default(),
            curve: Curve { step_ns: CURVE_STEP_NS, points: Vec::with_capacity(CURVE_POINTS_MAX + 1) },
            exposure_max: 0,
            exposure_time: 0,
            market_time: 0,
            first_ns: None,
            now_ns: 0,
        }
    }

    /// Whether the instrument's multiplier is known here.
    pub(crate) fn knows(&self, key: InstrumentKey) -> bool {
        self.held.iter().any(|held| held.key == key)
    }

    /// An instrument that is traded: what one point is worth, 1e-9.
    pub(crate) fn define(&mut self, key: InstrumentKey, multiplier: Price) {
        let multiplier = i128::from(multiplier.0);
        self.held.push(Held { key, multiplier, long: 0, short: 0, bid: 0, ask: 0 });
    }

    /// A position from before, at a price. It is no trade and costs no fees.
    pub(crate) fn carry_in(&mut self, strategy: &str, key: InstrumentKey, position: i64, price: Price) {
        let Some(place) = self.place(strategy, key, "") else { return };
        self.move_position(place, position, price);
    }

    fn place(&mut self, strategy: &str, key: InstrumentKey, symbol: &str) -> Option<usize> {
        let id = (strategy.to_owned(), key);
        if let Some(place) = self.places.get(&id) {
            return Some(*place);
        }
        let instrument = self.held.iter().position(|held| held.key == key)?;
        self.holdings.push(Holding {
            strategy: strategy.to_owned(),
            symbol: symbol.to_owned(),
            instrument,
            position: 0,
            bought: 0,
            sold: 0,
            cash: 0,
            fees: 0,
            fills: 0,
            trip_from: 0,
            round_trips: 0,
            round_trips_won: 0,
        });
        self.places.insert(id, self.holdings.len() - 1);
        Some(self.holdings.len() - 1)
    }

    /// Changes a position at a price; the cash that it takes, below 0 when paid.
    fn move_position(&mut self, place: usize, signed: i64, price: Price) -> i128 {
        let holding = &mut self.holdings[place];
        let (at, before) = (holding.instrument, i128::from(holding.position));
        let after = before + i128::from(signed);
        holding.position = i64::try_from(after).unwrap_or(if after > 0 { i64::MAX } else { i64::MIN });
        let held = &mut self.held[at];
        let (value, exposure) = (held.value(), held.exposure());
        if held.bid == 0 && held.ask == 0 {
            (held.bid, held.ask) = (i128::from(price.0), i128::from(price.0));
        }
        held.long += after.max(0) - before.max(0);
        held.short += after.min(0) - before.min(0);
        self.value += held.value() - value;
        self.exposure += held.exposure() - exposure;
        let cash = -i128::from(signed) * i128::from(price.0) * held.multiplier;
        let flat = held.is_flat();
        holding.cash += cash;
        self.cash += cash;
        match self.open.iter().position(|open| *open == at) {
            Some(place) if flat => {
                self.open.swap_remove(place);
            }
            None if !flat => self.open.push(at),
            _ => {}
        }
        cash
    }

    /// Books the trade of a report.
    pub(crate) fn fill(&mut self, now_ns: u64, report: &Report, fill: &Fill) {
        let Some(place) = self.place(&report.strategy, fill.key, &report.symbol) else { return };
        self.advance(now_ns);
        let quantity = fill.signed.unsigned_abs();
        let before = self.holdings[place].position;
        let (is_maker, fee) = match fill.liquidity {
            Liquidity::Maker => (true, self.fees.maker_per_unit),
            Liquidity::Taker => (false, self.fees.taker_per_unit),
        };
        let fee = i128::from(fee.0.0) * UNIT;
        // What closes the position, and what opens one the other way.
        let closing =
            if before.signum() == -fill.signed.signum() { before.unsigned_abs().min(quantity) } else { 0 };
        for (part, closes) in [(closing, true), (quantity - closing, false)] {
            if part == 0 {
                continue;
            }
            let signed = fill.signed.signum() * i64::try_from(part).unwrap_or(i64::MAX);
            self.move_position(place, signed, fill.price);
            let paid = fee * i128::from(part);
            let holding = &mut self.holdings[place];
            holding.fees += paid;
            self.fees_paid += paid;
            if closes && holding.position == 0 {
                let cash = holding.cash - holding.fees;
                holding.round_trips += 1;
                holding.round_trips_won += u64::from(cash > holding.trip_from);
                holding.trip_from = cash;
            }
        }
        let holding = &mut self.holdings[place];
        holding.fills += 1;
        *(if fill.signed > 0 { &mut holding.bought } else { &mut holding.sold }) += quantity;
        let multiplier = self.held[holding.instrument].multiplier;
        self.money.turnover.0 += i128::from(quantity) * i128::from(fill.price.0).abs() * multiplier;
        let trades = &mut self.trades;
        trades.fills += 1;
        trades.quantity += quantity;
        trades.maker_fills += u64::from(is_maker);
        trades.taker_fills += u64::from(!is_maker);
        *(if is_maker { &mut trades.maker_quantity } else { &mut trades.taker_quantity }) += quantity;
        self.look();
    }

    /// Whether any position is open, so that ticks matter.
    #[inline]
    pub(crate) fn has_positions(&self) -> bool {
        !self.open.is_empty()
    }

    /// An event ended in this instrument: its positions are worth something else now.
    #[inline]
    pub(crate) fn mark(&mut self, now_ns: u64, key: InstrumentKey, book: Book<'_>) {
        let open = self.open.iter().find(|at| self.held[**at].key == key);
        let Some(at) = open.copied().filter(|_| book.is_good()) else { return };
        let best = |side| book.best(side).map(|level| i128::from(level.price));
        let (Some(bid), Some(ask)) = (best(Side::Bid), best(Side::Ask)) else { return };
        let held = &mut self.held[at];
        if (held.bid, held.ask) == (bid, ask) {
            return;
        }
        let (value, exposure) = (held.value(), held.exposure());
        (held.bid, held.ask) = (bid, ask);
        let (value, exposure) = (held.value() - value, held.exposure() - exposure);
        self.advance(now_ns);
        self.value += value;
        self.exposure += exposure;
        self.look();
    }

    /// Time goes on with what is held.
    fn advance(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.now_ns);
        self.exposure_time += self.exposure / UNIT * i128::from(passed);
        if !self.open.is_empty() {
            self.market_time += passed;
        }
        self.now_ns = now_ns;
    }

    /// Begins the time that averages are over.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        self.first_ns = Some(now_ns);
        self.now_ns = now_ns;
        self.look();
    }

    fn gross(&self) -> i128 {
        self.cash + self.value
    }

    /// Won so far, after fees.
    pub(crate) fn net(&self) -> Amount {
        Amount(self.gross() - self.fees_paid)
    }

    /// Trades so far.
    pub(crate) fn fills(&self) -> u64 {
        self.trades.fills
    }

    /// Takes in a moment at which something is worth something else.
    fn look(&mut self) {
        let net = self.net().0;
        self.net_max = self.net_max.max(net);
        if self.net_max - net > self.money.drawdown_max.0 {
            self.money.drawdown_max = Amount(self.net_max - net);
            self.money.drawdown_ns = self.now_ns;
        }
        self.exposure_max = self.exposure_max.max(self.exposure);
        self.curve.push(CurvePoint {
            time_ns: self.now_ns,
            gross: Amount(self.gross()),
            fees: Amount(self.fees_paid),
            net: Amount(net),
            exposure: Amount(self.exposure),
        });
    }

    /// The end. What is held is worth what was last seen.
    pub(crate) fn close(mut self, now_ns: u64) -> Closed {
        self.advance(now_ns);
        self.look();
        let lasted = self.first_ns.map_or(0, |first_ns| now_ns.saturating_sub(first_ns));
        let mean = self.exposure_time.checked_div(i128::from(lasted)).unwrap_or(0) * UNIT;
        let share = if lasted == 0 { 0.0 } else { self.market_time as f64 / lasted as f64 };
        let money = MoneyFigures {
            gross: Amount(self.gross()),
            fees: Amount(self.fees_paid),
            net: self.net(),
            ..self.money
        };
        let sum = |of: fn(&Holding) -> u64| self.holdings.iter().map(of).sum::<u64>();
        let (round_trips, round_trips_won) =
            (sum(|holding| holding.round_trips), sum(|holding| holding.round_trips_won));
        let hit_rate = (round_trips > 0).then(|| round_trips_won as f64 / round_trips as f64);
        let holdings = self.holdings.iter().map(|holding| self.figures(holding)).collect();
        Closed {
            money,
            trades: TradeFigures { round_trips, round_trips_won, hit_rate, ..self.trades },
            exposure: ExposureFigures {
                gross_max: Amount(self.exposure_max),
                gross_mean: Amount(mean),
                time_in_market: share,
            },
            holdings,
            curve: self.curve.points,
        }
    }

    fn figures(&self, holding: &Holding) -> HoldingFigures {
        let held = &self.held[holding.instrument];
        let position = i128::from(holding.position);
        let mark = if position > 0 { held.bid } else { held.ask };
        let gross = holding.cash + position * mark * held.multiplier;
        HoldingFigures {
            strategy: holding.strategy.clone(),
            publisher_id: held.key.publisher_id,
            instrument_id: held.key.instrument_id,
            symbol: holding.symbol.clone(),
            position: holding.position,
            mark: (position != 0).then(|| Price(mark as i64).to_string()),
            bought: holding.bought,
            sold: holding.sold,
            gross: Amount(gross),
            fees: Amount(holding.fees),
            net: Amount(gross - holding.fees),
            fills: holding.fills,
            round_trips: holding.round_trips,
            round_trips_won: holding.round_trips_won,
        }
    }
}

/// An account at the end.
pub(crate) struct Closed {
    pub(crate) money: MoneyFigures,
    pub(crate) trades: TradeFigures,
    pub(crate) exposure: ExposureFigures,
    pub(crate) holdings: Vec<HoldingFigures>,
    pub(crate) curve: Vec<CurvePoint>,
}

/// Points over time: of each interval the last. When they are too many, intervals become twice as wide.
#[derive(Clone, Debug)]
struct Curve {
    step_ns: u64,
    points: Vec<CurvePoint>,
}

impl Curve {
    fn push(&mut self, point: CurvePoint) {
        let bucket = |point: &CurvePoint, step_ns: u64| point.time_ns / step_ns;
        match self.points.last_mut() {
            Some(last) if bucket(last, self.step_ns) == bucket(&point, self.step_ns) => *last = point,
            _ => self.points.push(point),
        }
        while self.points.len() > CURVE_POINTS_MAX {
            self.step_ns *= 2;
            let step_ns = self.step_ns;
            let mut kept: usize = 0;
            for at in 0..self.points.len() {
                if kept > 0 && bucket(&self.points[kept - 1], step_ns) == bucket(&self.points[at], step_ns) {
                    kept -= 1;
                }
                self.points[kept] = self.points[at];
                kept += 1;
            }
            self.points.truncate(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use book::{Books, Limits};
    use bus::ReportKind;
    use bus::config::PriceText;
    use tick::{Action, Flags, Tick};

    const KEY: InstrumentKey = InstrumentKey { publisher_id: 1, instrument_id: 42 };
    /// 1e-18 currency in one.
    const MONEY: i128 = UNIT * UNIT;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    /// A good book with these best prices.
    fn books(bid: i64, ask: i64) -> Books {
        let mut books = Books::new(Limits::SMALL);
        books.apply(&Tick::channel_clear(1, 7, 1, 0));
        for (order_id, side, price) in [(1, Side::Bid, bid), (2, Side::Ask, ask)] {
            books.apply(&Tick {
                order_id,
                side,
                price: price * 1_000_000_000,
                size: 1,
                sequence: order_id + 1,
                instrument_id: 42,
                publisher_id: 1,
                channel_id: 7,
                action: Action::Add,
                flags: Flags::LAST,
                ..Tick::EMPTY
            });
        }
        books
    }

    /// Contracts of 50 a point. Buys 2 at 100 as taker, sees 98 to 99, sells 3 at 101 as maker.
    #[test]
    fn a_trade_through_zero_closes_one_round_trip_and_opens_the_next() {
        let fees =
            FeesSection { maker_per_unit: PriceText(price("-0.5")), taker_per_unit: PriceText(price("1")) };
        let mut account = Account::new(fees);
        account.define(KEY, price("50"));
        account.begin(0);
        let report = Report { strategy: "s".into(), ..Report::new(ReportKind::Filled, 0) };
        let buy = Fill { key: KEY, signed: 2, price: price("100"), liquidity: Liquidity::Taker };
        account.fill(0, &report, &buy);
        assert_eq!(account.net().0, -2 * MONEY);
        let books = books(98, 99);
        account.mark(10, KEY, books.book(books.find(1, 42).unwrap()));
        assert_eq!(account.net().0, -202 * MONEY, "2 x 50 x -2, and fees");
        let sell = Fill { key: KEY, signed: -3, price: price("101"), liquidity: Liquidity::Maker };
        account.fill(20, &report, &sell);
        let closed = account.close(40);
        // 2 x 50 x 1 won, and 1 sold at 101 that costs 99 to buy back; fees 2 x 1 - 3 x 0.5.
        assert_eq!(closed.money.gross.0, 200 * MONEY);
        assert_eq!(closed.money.fees.0, MONEY / 2);
        assert_eq!(closed.money.net.to_string(), "199.5");
        assert_eq!((closed.money.drawdown_max.0, closed.money.drawdown_ns), (202 * MONEY, 10));
        assert_eq!(closed.money.turnover.0, 25_150 * MONEY);
        assert_eq!((closed.trades.round_trips, closed.trades.round_trips_won), (1, 1));
        assert_eq!((closed.trades.maker_quantity, closed.trades.taker_quantity), (3, 2));
        // 10,000 for 10 ns, 9,800 for 10, 4,950 for 20.
        assert_eq!(closed.exposure.gross_mean.0, 7_425 * MONEY);
        assert_eq!(closed.exposure.gross_max.0, 10_000 * MONEY);
        assert_eq!(closed.holdings[0].position, -1);
        assert_eq!(closed.holdings[0].mark.as_deref(), Some("99.00"));
    }

    #[test]
    fn a_curve_keeps_the_last_point_of_each_interval_and_never_more_than_its_bound() {
        let mut curve = Curve { step_ns: CURVE_STEP_NS, points: Vec::new() };
        let points = 5 * CURVE_POINTS_MAX as u64;
        for at in 0..points {
            let point = CurvePoint {
                time_ns: at * 3 * CURVE_STEP_NS,
                net: Amount(i128::from(at)),
                ..CurvePoint::default()
            };
            curve.push(point);
        }
        assert!(curve.points.len() <= CURVE_POINTS_MAX && curve.points.len() > CURVE_POINTS_MAX / 4);
        assert_eq!(curve.points.last().map(|point| point.net.0), Some(i128::from(points - 1)));
        assert!(
            curve
                .points
                .windows(2)
                .all(|pair| pair[0].time_ns / curve.step_ns < pair[1].time_ns / curve.step_ns)
        );
    }
}
