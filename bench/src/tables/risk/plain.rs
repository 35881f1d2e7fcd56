//! The checks as they are commonly written: a struct for each symbol in a map, prices and money in `f64`, open orders in a
//! list. Sums over all symbols are kept, not added up anew, or the comparison would be one of the number of symbols.

use super::Checks;
use anyhow::Result;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Report};
use std::collections::{HashMap, HashSet, VecDeque};
use tick::Price;

struct OpenOrder {
    id: OrderId,
    buy: bool,
    price: f64,
    quantity: f64,
}

#[derive(Default)]
struct Symbol {
    symbol: String,
    trading: bool,
    bid: f64,
    ask: f64,
    quoted_ns: u64,
    position: f64,
    cash: f64,
    peak: f64,
    orders: Vec<OpenOrder>,
    recent: VecDeque<(u64, bool, f64, f64)>,
    credit: f64,
    credit_ns: u64,
}

/// Limits as in the document of the table, and all state.
pub(super) struct Plain {
    halted: bool,
    symbols: HashMap<(u16, u32), Symbol>,
    restricted: HashSet<(u16, u32)>,
    /// Every id ever sent, with its instrument.
    ids: HashMap<OrderId, (u16, u32)>,
    open_orders: usize,
    exposure: f64,
    profit: f64,
    peak: f64,
    credit: f64,
    credit_ns: u64,
}

fn refill(credit: f64, from_ns: u64, now_ns: u64, rate: f64, burst: f64) -> f64 {
    (credit + now_ns.saturating_sub(from_ns) as f64 * 1e-9 * rate).min(burst)
}

impl Symbol {
    /// Worst-case position and what it is worth.
    fn exposure(&self, buys: f64, sells: f64) -> (f64, f64) {
        let position = (self.position + buys).abs().max((self.position - sells).abs());
        (position, position * self.bid.abs().max(self.ask.abs()))
    }

    fn open(&self, buy: bool) -> f64 {
        self.orders.iter().filter(|order| order.buy == buy).map(|order| order.quantity).sum()
    }

    fn profit(&self) -> f64 {
        self.cash + self.position * if self.position >= 0.0 { self.bid } else { self.ask }
    }
}

impl Plain {
    pub(super) fn new() -> Plain {
        Plain {
            halted: false,
            symbols: HashMap::new(),
            restricted: HashSet::new(),
            ids: HashMap::new(),
            open_orders: 0,
            exposure: 0.0,
            profit: 0.0,
            peak: 0.0,
            credit: 1e6,
            credit_ns: 0,
        }
    }

    fn decide(&mut self, instruction: &Instruction, now_ns: u64) -> Result<(), &'static str> {
        let key = (instruction.publisher_id, instruction.instrument_id);
        let OrderAction::New { side, quantity, price: Some(price), .. } = &instruction.action else {
            return Err("not a limit order");
        };
        let (buy, quantity, price) = (*side == OrderSide::Buy, *quantity as f64, price.to_f64());
        let seconds = now_ns / 1_000_000_000 % 86_400;
        if self.halted {
            return Err("halted");
        }
        let symbol = self.symbols.get_mut(&key).ok_or("unknown instrument")?;
        if symbol.symbol != instruction.symbol {
            return Err("symbol");
        }
        if self.restricted.contains(&key) {
            return Err("restricted");
        }
        if self.ids.contains_key(&instruction.id) {
            return Err("id");
        }
        if !symbol.trading || !(48_600..72_000).contains(&seconds) {
            return Err("not trading");
        }
        if now_ns.saturating_sub(symbol.quoted_ns) > 2_000_000_000 {
            return Err("stale");
        }
        let middle = f64::midpoint(symbol.bid, symbol.ask);
        if (price - middle).abs() > 4.0 || (price - middle).abs() / middle > 0.05 {
            return Err("collar");
        }
        if quantity <= 0.0 || quantity > 500.0 || price * quantity > 100_000.0 {
            return Err("order size");
        }
        if symbol
            .orders
            .iter()
            .any(|order| order.buy != buy && if buy { order.price <= price } else { order.price >= price })
        {
            return Err("self match");
        }
        while symbol.recent.front().is_some_and(|seen| now_ns - seen.0 >= 500_000_000) {
            symbol.recent.pop_front();
        }
        if symbol.recent.iter().any(|seen| (seen.1, seen.2, seen.3) == (buy, price, quantity)) {
            return Err("duplicate");
        }
        if symbol.orders.len() >= 1_000 || self.open_orders >= 100_000 {
            return Err("open orders");
        }
        let (buys, sells) = (symbol.open(true), symbol.open(false));
        let before = symbol.exposure(buys, sells).1;
        let (position, exposure) = if buy {
            symbol.exposure(buys + quantity, sells)
        } else {
            symbol.exposure(buys, sells + quantity)
        };
        if position > 1e6 || exposure > 1e9 || self.exposure - before + exposure > 1e15 {
            return Err("exposure");
        }
        if symbol.peak - symbol.profit() > 1e6 || self.peak - self.profit > 1e9 {
            return Err("drawdown");
        }
        let own = refill(symbol.credit, symbol.credit_ns, now_ns, 100.0, 30.0);
        let all = refill(self.credit, self.credit_ns, now_ns, 1e6, 1e6);
        if own < 1.0 || all < 1.0 {
            return Err("rate");
        }
        (symbol.credit, symbol.credit_ns) = (own - 1.0, now_ns);
        (self.credit, self.credit_ns) = (all - 1.0, now_ns);
        symbol.recent.push_back((now_ns, buy, price, quantity));
        symbol.orders.push(OpenOrder { id: instruction.id, buy, price, quantity });
        self.exposure += exposure - before;
        self.open_orders += 1;
        self.ids.insert(instruction.id, key);
        Ok(())
    }
}

impl Checks for Plain {
    fn define(&mut self, instrument_id: u32, symbol: &str) {
        let fresh = Symbol { symbol: symbol.to_owned(), trading: true, credit: 30.0, ..Symbol::default() };
        self.symbols.insert((super::PUBLISHER, instrument_id), fresh);
    }

    fn quote(&mut self, instrument_id: u32, bid: Price, ask: Price, now_ns: u64) {
        if let Some(symbol) = self.symbols.get_mut(&(super::PUBLISHER, instrument_id)) {
            let before = symbol.profit();
            (symbol.bid, symbol.ask, symbol.quoted_ns) = (bid.to_f64(), ask.to_f64(), now_ns);
            let after = symbol.profit();
            symbol.peak = symbol.peak.max(after);
            self.profit += after - before;
            self.peak = self.peak.max(self.profit);
        }
    }

    #[inline]
    fn check(&mut self, instruction: &Instruction, now_ns: u64) -> Result<(), String> {
        self.decide(instruction, now_ns).map_err(str::to_owned)
    }

    fn cancelled(&mut self, report: &Report) {
        let Some(id) = report.id else { return };
        let Some(symbol) = self.ids.get(&id).and_then(|key| self.symbols.get_mut(key)) else { return };
        let before = symbol.exposure(symbol.open(true), symbol.open(false)).1;
        symbol.orders.retain(|order| order.id != id);
        self.exposure += symbol.exposure(symbol.open(true), symbol.open(false)).1 - before;
        self.open_orders -= 1;
    }

    fn open_orders(&self) -> usize {
        self.open_orders
    }
}
