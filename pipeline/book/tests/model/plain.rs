//! The rules of `docs/book.md` in the plainest form: lists, sorted when asked. Shares no code with the crate.

use book::{Applied, BookState, Kind, Limits, Refusal, Trade, Why};
use std::collections::BTreeMap;
use tick::{Action, Flags, Side, Source, Tick};

#[derive(Clone, Debug, PartialEq)]
pub struct PlainOrder {
    pub id: u64,
    pub bid: bool,
    pub price: i64,
    pub size: u32,
}

/// Price, size, orders.
pub type PlainLevel = (i64, u64, u32);

#[derive(Clone, Debug, Default)]
pub struct PlainHalf {
    pub why: Option<Why>,
    pub crossed: bool,
    pub seen: bool,
}

#[derive(Clone, Debug)]
pub struct PlainBook {
    pub key: (u16, u32),
    pub channel: u16,
    /// Every order, the one longest in its place first.
    pub orders: Vec<PlainOrder>,
    /// Bids and asks by price, best first.
    pub levels: [Vec<(i64, u32)>; 2],
    pub halves: [PlainHalf; 2],
    cancelled: (u64, Option<bool>),
    unpriced: Option<(u64, u32)>,
}

/// Why a channel's new books are bad, and whether its last tick was flagged.
type PlainChannel = (Option<Why>, bool);

#[derive(Clone, Debug)]
pub struct Plain {
    limits: Limits,
    pub books: Vec<PlainBook>,
    channels: BTreeMap<u16, PlainChannel>,
}

type Outcome = Result<(), Refusal>;

fn side(tick: &Tick) -> Option<bool> {
    match tick.side.0 {
        b'B' => Some(true),
        b'A' => Some(false),
        _ => None,
    }
}

fn better(bid: bool, price: i64, than: i64) -> bool {
    if bid { price > than } else { price < than }
}

impl PlainBook {
    pub fn shown(&self) -> Kind {
        let [order, price] = &self.halves;
        let by_price = price.seen && (!order.seen || order.why.is_some() && price.why.is_none());
        if by_price { Kind::ByPrice } else { Kind::ByOrder }
    }

    /// Its levels by number may be out of order.
    pub fn contradicted(&self) -> bool {
        self.halves[1].why.is_some()
    }

    pub fn state(&self, kind: Kind) -> BookState {
        let half = &self.halves[kind as usize];
        match half.why {
            Some(why) => BookState::Bad(why),
            None if half.crossed => BookState::Bad(Why::Crossed),
            None => BookState::Good,
        }
    }

    pub fn levels(&self, kind: Kind, bid: bool) -> Vec<PlainLevel> {
        if kind == Kind::ByPrice {
            let levels = &self.levels[usize::from(!bid)];
            return levels.iter().map(|(price, size)| (*price, u64::from(*size), 0)).collect();
        }
        let mut levels = BTreeMap::<i64, (u64, u32)>::new();
        for order in self.orders.iter().filter(|order| order.bid == bid) {
            let level = levels.entry(order.price).or_default();
            level.0 += u64::from(order.size);
            level.1 += 1;
        }
        let mut levels: Vec<_> =
            levels.into_iter().map(|(price, (size, orders))| (price, size, orders)).collect();
        if bid {
            levels.reverse();
        }
        levels
    }

    fn best_price(&self, kind: Kind, bid: bool) -> Option<i64> {
        if kind == Kind::ByPrice {
            return self.levels[usize::from(!bid)].first().map(|level| level.0);
        }
        let prices = self.orders.iter().filter(|order| order.bid == bid).map(|order| order.price);
        if bid { prices.max() } else { prices.min() }
    }

    /// The orders of a side, first to be filled first.
    pub fn queue(&self, bid: bool) -> Vec<PlainOrder> {
        let mut orders: Vec<_> = self.orders.iter().filter(|order| order.bid == bid).cloned().collect();
        orders.sort_by_key(|order| if bid { -order.price } else { order.price });
        orders
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.orders.iter().position(|order| order.id == id)
    }

    fn has_price(&self, bid: bool, price: i64) -> bool {
        self.orders.iter().any(|order| order.bid == bid && order.price == price)
    }

    fn levels_count(&self) -> usize {
        let by_price = self.levels[0].len() + self.levels[1].len();
        by_price + self.levels(Kind::ByOrder, true).len() + self.levels(Kind::ByOrder, false).len()
    }

    fn tops(&self) -> [Option<PlainLevel>; 2] {
        [true, false].map(|bid| self.levels(self.shown(), bid).first().copied())
    }

    fn all(&self) -> [Vec<PlainLevel>; 2] {
        [true, false].map(|bid| self.levels(self.shown(), bid))
    }
}

impl Plain {
    pub fn new(limits: Limits) -> Plain {
        Plain { limits, books: Vec::new(), channels: BTreeMap::new() }
    }

    pub fn orders_count(&self) -> usize {
        self.books.iter().map(|book| book.orders.len()).sum()
    }

    pub fn levels_count(&self) -> usize {
        self.books.iter().map(PlainBook::levels_count).sum()
    }

    /// Applies a tick, and compares each book's levels before and after.
    pub fn apply(&mut self, tick: &Tick) -> Applied {
        let key = (tick.publisher_id, tick.instrument_id);
        let find = |plain: &Plain| plain.books.iter().find(|book| book.key == key).cloned();
        let before = find(self);
        let mut applied = self.apply_unobserved(tick);
        if let Some(after) = find(self) {
            let (shown, tops, all) = match &before {
                Some(before) => (before.shown(), before.tops(), before.all()),
                None => (Kind::ByOrder, [None, None], Default::default()),
            };
            let turned = after.shown() != shown;
            applied.top_changed = turned || after.tops() != tops;
            applied.depth_changed = turned || after.all() != all;
        }
        applied
    }

    /// Applies a tick, and does not look what changed.
    pub fn apply_unobserved(&mut self, tick: &Tick) -> Applied {
        let rises = self.channel_flag(tick);
        let applied = self.apply_to_book(tick);
        let wide = tick.action == Action::Gap || (tick.action == Action::Clear && tick.instrument_id == 0);
        Applied { channel_changed: rises || wide, ..applied }
    }

    fn apply_to_book(&mut self, tick: &Tick) -> Applied {
        if tick.action == Action::Gap {
            self.mark(tick.channel_id, Why::Gap);
            return Applied::default();
        }
        if tick.action == Action::Clear && tick.instrument_id == 0 {
            self.clear_channel(tick);
            return Applied::default();
        }
        let changes = [Action::Add, Action::Modify, Action::Cancel, Action::Clear];
        let needs_book =
            changes.contains(&tick.action) || [Action::Trade, Action::Fill].contains(&tick.action);
        let at = self.books.iter().position(|book| book.key == (tick.publisher_id, tick.instrument_id));
        let at = match at {
            _ if needs_book && tick.instrument_id == 0 => {
                return Applied { refused: Some(Refusal::NoInstrument), ..Applied::default() };
            }
            Some(at) => at,
            None if !needs_book => return Applied::default(),
            None if self.books.len() == self.limits.instruments => {
                return Applied { refused: Some(Refusal::InstrumentsFull), ..Applied::default() };
            }
            None => self.add_book(tick),
        };
        if needs_book && self.books[at].channel != tick.channel_id {
            self.books[at].channel = tick.channel_id;
            self.books[at].halves.iter_mut().for_each(|half| half.why = Some(Why::NotFromStart));
        }
        let kind =
            if tick.depth != 0 || tick.flags.contains(Flags::MBP) { Kind::ByPrice } else { Kind::ByOrder };
        let foreign = kind == Kind::ByPrice && tick.flags.0 & (2 | 64) != 0;
        let mut applied = Applied::default();
        if changes.contains(&tick.action) && !foreign {
            applied.refused = self.change(at, kind, tick).err();
        }
        match tick.action {
            Action::Trade => self.books[at].trade(tick, &mut applied),
            Action::Fill => self.books[at].fill(tick, &mut applied),
            _ => {}
        }
        if tick.flags.contains(Flags::LAST) {
            self.books[at].end_event(tick.flags.contains(Flags::SNAPSHOT));
        }
        applied
    }

    fn add_book(&mut self, tick: &Tick) -> usize {
        let why = self.channels.get(&tick.channel_id).map_or(Some(Why::NotFromStart), |channel| channel.0);
        let half = PlainHalf { why, ..PlainHalf::default() };
        self.books.push(PlainBook {
            key: (tick.publisher_id, tick.instrument_id),
            channel: tick.channel_id,
            orders: Vec::new(),
            levels: Default::default(),
            halves: [half.clone(), half],
            cancelled: (0, None),
            unpriced: None,
        });
        self.books.len() - 1
    }

    /// A flag that rises is news of a gap; one that stays says nothing new.
    fn channel_flag(&mut self, tick: &Tick) -> bool {
        let flagged = tick.flags.contains(Flags::MAYBE_BAD_BOOK);
        let from_start =
            tick.sequence == 1 && tick.action != Action::Gap && !tick.flags.contains(Flags::SNAPSHOT);
        let first = (if from_start { None } else { Some(Why::NotFromStart) }, false);
        let channel = self.channels.entry(tick.channel_id).or_insert(first);
        let rises = flagged && !channel.1;
        channel.1 = flagged;
        if rises && tick.action != Action::Gap {
            self.mark(tick.channel_id, Why::Flagged);
        }
        rises
    }

    fn mark(&mut self, channel_id: u16, why: Why) {
        if let Some(channel) = self.channels.get_mut(&channel_id) {
            channel.0.get_or_insert(why);
            channel.1 = true;
        }
        for book in self.books.iter_mut().filter(|book| book.channel == channel_id) {
            for half in &mut book.halves {
                if matches!(half.why, None | Some(Why::Snapshot)) {
                    half.why = Some(why);
                }
            }
        }
    }

    fn clear_channel(&mut self, tick: &Tick) {
        self.channels.insert(tick.channel_id, (None, tick.flags.contains(Flags::MAYBE_BAD_BOOK)));
        for book in self.books.iter_mut().filter(|book| book.channel == tick.channel_id) {
            book.orders.clear();
            book.levels = Default::default();
            (book.cancelled, book.unpriced) = ((0, None), None);
            for half in &mut book.halves {
                (half.why, half.crossed) = (None, false);
            }
        }
    }

    fn change(&mut self, at: usize, kind: Kind, tick: &Tick) -> Outcome {
        let snapshot = tick.flags.contains(Flags::SNAPSHOT);
        let book = &mut self.books[at];
        if tick.action == Action::Clear {
            match kind {
                Kind::ByOrder => book.orders.clear(),
                Kind::ByPrice => book.levels = Default::default(),
            }
            (book.cancelled, book.unpriced) = ((0, None), None);
            let half = &mut book.halves[kind as usize];
            (half.why, half.crossed) = (snapshot.then_some(Why::Snapshot), false);
            return Ok(());
        }
        let half = &mut book.halves[kind as usize];
        let opens = tick.source == Source::Snapshot && snapshot && tick.flags.contains(Flags::BAD_TS_RECV);
        let flagged = self.channels[&tick.channel_id].1;
        half.why = match half.why {
            None if snapshot => Some(Why::Snapshot),
            Some(Why::Snapshot) if !snapshot => None,
            Some(Why::NotFromStart) if !half.seen && opens && !flagged => Some(Why::Snapshot),
            why => why,
        };
        half.seen = true;
        let outcome = match (kind, tick.action) {
            (Kind::ByPrice, _) => self.level(at, tick),
            (_, Action::Add) => self.add(at, tick),
            (_, Action::Modify) => self.modify(at, tick),
            _ => self.cancel(at, tick),
        };
        let why = match outcome {
            Err(Refusal::OrdersFull | Refusal::LevelsFull) => Why::Full,
            _ => Why::Contradiction,
        };
        let half = &mut self.books[at].halves[kind as usize];
        if outcome.is_err() && matches!(half.why, None | Some(Why::Snapshot)) {
            half.why = Some(why);
        }
        outcome
    }

    fn add(&mut self, at: usize, tick: &Tick) -> Outcome {
        let book = &mut self.books[at];
        let replaced = (book.cancelled.0 == tick.sequence).then_some(book.cancelled.1).flatten();
        let bid = side(tick).or(replaced).ok_or(Refusal::BadSide)?;
        if tick.price == i64::MAX {
            return Err(Refusal::BadPrice);
        }
        if tick.size == 0 || tick.size == u32::MAX {
            return Err(Refusal::BadSize);
        }
        let twice = book.at(tick.order_id);
        if let Some(old) = twice {
            book.orders.remove(old);
        }
        if self.orders_count() == self.limits.orders {
            return Err(Refusal::OrdersFull);
        }
        let outcome = self.join(at, bid, tick);
        if twice.is_some() { Err(Refusal::OrderExists) } else { outcome }
    }

    fn join(&mut self, at: usize, bid: bool, tick: &Tick) -> Outcome {
        if !self.books[at].has_price(bid, tick.price) && self.levels_count() == self.limits.levels {
            return Err(Refusal::LevelsFull);
        }
        let order = PlainOrder { id: tick.order_id, bid, price: tick.price, size: tick.size };
        self.books[at].orders.push(order);
        Ok(())
    }

    fn modify(&mut self, at: usize, tick: &Tick) -> Outcome {
        let book = &mut self.books[at];
        let Some(place) = book.at(tick.order_id) else {
            return self.add(at, tick).and(Err(Refusal::UnknownOrder));
        };
        if tick.price == i64::MAX {
            return Err(Refusal::BadPrice);
        }
        if tick.size == u32::MAX {
            return Err(Refusal::BadSize);
        }
        let order = book.orders[place].clone();
        let bid = side(tick).unwrap_or(order.bid);
        let stays = tick.price == order.price && bid == order.bid && tick.size <= order.size;
        if stays && tick.size > 0 {
            book.orders[place].size = tick.size;
            return Ok(());
        }
        book.orders.remove(place);
        if tick.size == 0 { Ok(()) } else { self.join(at, bid, tick) }
    }

    fn cancel(&mut self, at: usize, tick: &Tick) -> Outcome {
        let book = &mut self.books[at];
        let Some(place) = book.at(tick.order_id) else {
            book.cancelled = (tick.sequence, None);
            return Err(Refusal::UnknownOrder);
        };
        let order = &mut book.orders[place];
        book.cancelled = (tick.sequence, Some(order.bid));
        let left = order.size;
        match tick.size {
            0 => return Err(Refusal::BadSize),
            size if size < left => order.size -= size,
            _ => drop(book.orders.remove(place)),
        }
        if tick.size > left && tick.size != u32::MAX { Err(Refusal::SizeTooBig) } else { Ok(()) }
    }

    fn level(&mut self, at: usize, tick: &Tick) -> Outcome {
        let bid = side(tick).ok_or(Refusal::BadSide)?;
        let full = self.levels_count() == self.limits.levels;
        let levels = &mut self.books[at].levels[usize::from(!bid)];
        let number = (1..=254).contains(&tick.depth).then(|| usize::from(tick.depth) - 1);
        let cancel = tick.action == Action::Cancel;
        if let (Some(number), true) = (number, cancel) {
            return if number < levels.len() {
                levels.remove(number);
                Ok(())
            } else if tick.size == u32::MAX {
                Ok(())
            } else {
                Err(Refusal::LevelOutOfRange)
            };
        }
        if tick.price == i64::MAX {
            return Err(Refusal::BadPrice);
        }
        let Some(number) = number else { return level_by_price(levels, bid, tick, full) };
        if tick.size == 0 || tick.size == u32::MAX {
            return Err(Refusal::BadSize);
        }
        let level = (tick.price, tick.size);
        if tick.action == Action::Modify {
            if *levels.get(number).ok_or(Refusal::LevelOutOfRange)? == level {
                return Ok(());
            }
            levels[number] = level;
        } else {
            if number > levels.len() || number >= self.limits.numbered_levels {
                return Err(Refusal::LevelOutOfRange);
            }
            if full && levels.len() < self.limits.numbered_levels {
                return Err(Refusal::LevelsFull);
            }
            levels.insert(number, level);
            levels.truncate(self.limits.numbered_levels);
        }
        let fits_above = number == 0 || better(bid, levels[number - 1].0, tick.price);
        let fits_below = levels.get(number + 1).is_none_or(|below| better(bid, tick.price, below.0));
        if fits_above && fits_below { Ok(()) } else { Err(Refusal::LevelOrder) }
    }
}

fn level_by_price(levels: &mut Vec<(i64, u32)>, bid: bool, tick: &Tick, full: bool) -> Outcome {
    let place = levels.iter().position(|level| level.0 == tick.price);
    if tick.action == Action::Cancel || tick.size == 0 {
        levels.remove(place.ok_or(Refusal::LevelOutOfRange)?);
        return Ok(());
    }
    if tick.size == u32::MAX {
        return Err(Refusal::BadSize);
    }
    match place {
        Some(place) => levels[place].1 = tick.size,
        None if full => return Err(Refusal::LevelsFull),
        None => {
            levels.push((tick.price, tick.size));
            levels.sort_by_key(|level| if bid { -level.0 } else { level.0 });
        }
    }
    Ok(())
}

impl PlainBook {
    fn trade(&mut self, tick: &Tick, applied: &mut Applied) {
        if tick.size == 0 || tick.size == u32::MAX {
            applied.refused = Some(Refusal::BadSize);
        } else if tick.price == i64::MAX {
            self.unpriced = Some((tick.sequence, tick.size));
        } else {
            let aggressor = if side(tick).is_some() { tick.side } else { Side::None };
            applied.trade = Some(Trade { price: tick.price, size: tick.size, aggressor });
        }
    }

    fn fill(&mut self, tick: &Tick, applied: &mut Applied) {
        let waited = self.unpriced == Some((tick.sequence, tick.size));
        if waited {
            self.unpriced = None;
        }
        match self.at(tick.order_id).map(|at| &self.orders[at]) {
            None if waited => applied.refused = Some(Refusal::TradeWithoutPrice),
            None => applied.refused = Some(Refusal::UnknownOrder),
            Some(order) if waited => {
                let aggressor = if order.bid { Side::Ask } else { Side::Bid };
                applied.trade = Some(Trade { price: order.price, size: tick.size, aggressor });
            }
            Some(_) => {}
        }
    }

    fn end_event(&mut self, snapshot: bool) {
        for kind in [Kind::ByOrder, Kind::ByPrice] {
            let [bid, ask] = [true, false].map(|bid| self.best_price(kind, bid));
            let half = &mut self.halves[kind as usize];
            half.crossed = half.seen && matches!((bid, ask), (Some(bid), Some(ask)) if bid >= ask);
            if snapshot && half.why == Some(Why::Snapshot) {
                half.why = None;
            }
        }
    }
}
