//! One message to ticks.
//!
//! [`Decoder::message`] chooses by the template's kind once per message; the loops over entries below it read
//! by the template's plan. Entries that cannot be carried are reported at their offset and passed over.

use super::convert::{
    LEVELS_MAX, Scale, Statistic, action, aggressor, book_side, depth, instrument_id, opposite,
};
use super::convert::{size, status};
use super::event::{Event, OpenTrade, Trades};
use crate::{Malformed, MalformedReason, Sink};
use tick::{Action, DEPTH_NO_LEVEL, Flags, InstrumentKind, Price, Side, Tick};
use wire::mdp3::{Block, EntryPlan, Group, Groups, Kind, Message, OrderPlan, Template};

/// MatchEventIndicator (5799), the bits that are used.
const LAST_TRADE: i64 = 1 << 0;
const RECOVERY: i64 = 1 << 5;
const END_OF_EVENT: i64 = 1 << 7;

/// LotType (1093) of a round lot.
const ROUND_LOT: i64 = 2;

/// What decoding one packet works with.
pub(super) struct Decoder<'d, S, M> {
    /// What all ticks of the message have in common.
    pub(super) tick: Tick,
    /// The flags that all ticks of the packet have in common.
    pub(super) packet_flags: Flags,
    pub(super) event: &'d mut Event,
    pub(super) trades: &'d mut Trades,
    pub(super) sink: &'d mut S,
    pub(super) malformed: &'d mut M,
}

impl<S: Sink, M: FnMut(Malformed)> Decoder<'_, S, M> {
    #[cold]
    pub(super) fn refuse(&mut self, reason: MalformedReason, offset: usize) {
        (self.malformed)(Malformed { reason, offset: offset as u32 });
    }

    #[inline(always)]
    fn push(&mut self, tick: Tick) {
        self.event.push(tick, self.sink);
    }

    /// Decodes a message that its template describes.
    #[inline]
    pub(super) fn message(&mut self, message: &Message<'_>, template: &Template) {
        let root = message.root();
        let indicator = template.root.match_event_indicator.get(&root);
        let bits = indicator.unwrap_or(0);
        let recovery = if bits & RECOVERY != 0 { Flags::SNAPSHOT } else { Flags::NONE };
        self.tick.ts_event = template.root.transact_time.get(&root).unwrap_or(0) as u64;
        self.tick.flags = self.packet_flags | recovery;
        self.tick.instrument_id = 0;
        let mut ends = bits & END_OF_EVENT != 0;
        match template.kind {
            Kind::Book => self.book(message, template),
            Kind::OrderBook => self.order_book(message, template),
            Kind::Trade => {
                self.trade(message, template);
                if bits & (LAST_TRADE | END_OF_EVENT) != 0 {
                    self.trades.clear();
                }
            }
            Kind::Volume | Kind::DailyStatistics | Kind::SessionStatistics => {
                self.statistics(message, template);
            }
            Kind::Limits => self.limits(message, template),
            Kind::Snapshot => {
                self.snapshot(message, template, &root);
                ends |= indicator.is_none();
            }
            Kind::OrderSnapshot => {
                ends |= self.order_snapshot(message, template, &root) && indicator.is_none();
            }
            Kind::SecurityStatus => self.security_status(message, template, &root),
            Kind::ChannelReset => self.channel_reset(),
            Kind::DefinitionFuture => self.definition(message, template, &root, InstrumentKind::Future),
            Kind::DefinitionOption => self.definition(message, template, &root, InstrumentKind::Option),
            Kind::DefinitionSpread => self.definition(message, template, &root, InstrumentKind::Spread),
            Kind::DefinitionOther => self.definition(message, template, &root, InstrumentKind::Unknown),
            Kind::Heartbeat | Kind::Other => {}
        }
        if ends {
            self.event.close(&self.tick, self.sink);
        }
    }

    /// Opens NoMDEntries and calls `each` for its entries with their offsets.
    #[inline(always)]
    fn entries<'a>(
        &mut self,
        message: &Message<'a>,
        template: &Template,
        mut each: impl FnMut(&mut Self, &EntryPlan, &Block<'a>) -> Option<()>,
    ) -> Option<(Group<'a>, Groups<'a>)> {
        let (place, plan) = template.entries.as_ref()?;
        let mut groups = message.groups();
        let group = self.open(&mut groups, template, *place)?;
        let mut blocks = group.blocks();
        let mut offset = blocks.offset();
        while let Some(block) = blocks.next() {
            if each(self, plan, &block).is_none() {
                self.refuse(MalformedReason::BadValue, offset);
            }
            offset = blocks.offset();
        }
        Some((group, groups))
    }

    #[inline(always)]
    fn open<'a>(&mut self, groups: &mut Groups<'a>, template: &Template, place: usize) -> Option<Group<'a>> {
        match groups.open(&template.groups, place) {
            Ok(group) => Some(group),
            Err(error) => {
                self.refuse(MalformedReason::BadLength, error.offset);
                None
            }
        }
    }

    fn book(&mut self, message: &Message<'_>, template: &Template) {
        let Some((_, plan)) = &template.entries else { return };
        let scale = Scale::new(plan.price.exponent);
        let entries = self.entries(message, template, |decoder, plan, block| {
            let level = decoder.level(plan, block, scale)?;
            match action(plan.update_action.get(block)) {
                Some(action) if level.action != Action::Clear => decoder.push(Tick { action, ..level }),
                _ => decoder.many_levels(level, plan.update_action.get(block))?,
            }
            Some(())
        });
        let (Some((entries, mut groups)), Some((place, orders))) = (entries, &template.orders) else {
            return;
        };
        if let Some(group) = self.open(&mut groups, template, *place)
            && !group.is_empty()
        {
            self.orders((plan, &entries), (orders, &group), scale);
        }
    }

    /// A price level, all but its action; `Clear` already when the entry says that the book is empty.
    #[inline(always)]
    fn level(&self, plan: &EntryPlan, block: &Block<'_>, scale: Scale) -> Option<Tick> {
        let (side, book) = book_side(plan.entry_type.get(block))?;
        Some(Tick {
            price: scale.price(plan.price.get(block))?,
            size: size(plan.size.get(block))?,
            instrument_id: instrument_id(plan.security_id.get(block))?,
            action: if side == Side::None { Action::Clear } else { Action::None },
            side,
            flags: self.tick.flags | Flags::MBP | book,
            depth: depth(plan.level.get(block))?,
            ..self.tick
        })
    }

    /// An entry about more than one level: an emptied book, delete thru, delete from.
    #[cold]
    fn many_levels(&mut self, level: Tick, update_action: Option<i64>) -> Option<()> {
        let gone =
            Tick { price: Price::UNDEFINED.0, size: Tick::SIZE_UNDEFINED, action: Action::Cancel, ..level };
        let levels = 1..=LEVELS_MAX;
        match update_action {
            _ if level.action == Action::Clear => {
                self.push(Tick { price: gone.price, size: 0, depth: DEPTH_NO_LEVEL, ..level });
            }
            Some(3) if levels.contains(&level.depth) => {
                (0..level.depth).for_each(|_| self.push(Tick { depth: 1, ..gone }));
            }
            Some(4) if levels.contains(&level.depth) => {
                (level.depth..=LEVELS_MAX).rev().for_each(|depth| self.push(Tick { depth, ..gone }));
            }
            _ => return None,
        }
        Some(())
    }

    /// The orders behind a book's levels: each names the entry that it belongs to, from 1.
    fn orders(
        &mut self,
        (plan, entries): (&EntryPlan, &Group<'_>),
        (orders, group): (&OrderPlan, &Group<'_>),
        scale: Scale,
    ) {
        for (index, block) in group.blocks().enumerate() {
            let order = |decoder: &Self| {
                let reference = usize::try_from(orders.reference_id.get(&block)?).ok()?.checked_sub(1)?;
                let level = decoder.level(plan, &entries.get(reference)?, scale)?;
                Some(Tick {
                    order_id: orders.order_id.get(&block)? as u64,
                    size: size(orders.quantity.get(&block))?,
                    action: action(orders.update_action.get(&block))?,
                    flags: Flags(level.flags.0 & !Flags::MBP.0),
                    depth: tick::DEPTH_BY_ORDER,
                    ..level
                })
            };
            match order(self) {
                Some(tick) => self.push(tick),
                None => self.refuse(MalformedReason::BadValue, group.offset(index)),
            }
        }
    }

    fn order_book(&mut self, message: &Message<'_>, template: &Template) {
        let Some((_, plan)) = &template.entries else { return };
        let scale = Scale::new(plan.price.exponent);
        self.entries(message, template, |decoder, plan, block| {
            let order = decoder.order(plan, block, scale)?;
            let instrument_id = instrument_id(plan.security_id.get(block))?;
            let action = match order.action {
                Action::Clear => Action::Clear,
                _ => action(plan.update_action.get(block))?,
            };
            decoder.push(Tick { instrument_id, action, ..order });
            Some(())
        });
    }

    /// An order, all but its action and instrument; `Clear` already when the entry says that the book is empty.
    #[inline(always)]
    fn order(&self, plan: &EntryPlan, block: &Block<'_>, scale: Scale) -> Option<Tick> {
        let (side, book) = book_side(plan.entry_type.get(block))?;
        if side == Side::None {
            return Some(Tick { action: Action::Clear, flags: self.tick.flags | book, ..self.tick });
        }
        Some(Tick {
            order_id: plan.order_id.get(block)? as u64,
            price: scale.price(plan.price.get(block))?,
            size: size(plan.size.get(block))?,
            side,
            flags: self.tick.flags | book,
            ..self.tick
        })
    }

    /// Trades, each followed by the orders that took part, which the message lists behind its trades in the
    /// same order. Details at the front may belong to trades of an earlier message of the same event.
    fn trade(&mut self, message: &Message<'_>, template: &Template) {
        let Some((_, plan)) = &template.entries else { return };
        let scale = Scale::new(plan.price.exponent);
        self.trades.begin(self.tick.ts_event);
        let mut details = match &template.orders {
            None => None,
            Some((place, orders)) => match self.open(&mut message.groups(), template, *place) {
                Some(group) => Some((group, orders, 0)),
                None => return,
            },
        };
        self.fills(&mut details);
        self.entries(message, template, |decoder, plan, block| {
            let count = u32::try_from(plan.number_of_orders.get(block).unwrap_or(0)).ok()?;
            let Some(mut trade) = decoder.one_trade(plan, block, scale) else {
                (0..count).map_while(|_| next_detail(&mut details)).for_each(drop);
                return None;
            };
            let mut open = OpenTrade {
                instrument_id: trade.instrument_id,
                price: trade.price,
                resting: opposite(trade.side),
                details: count,
                aggressor_next: trade.side != Side::None,
            };
            if open.aggressor_next
                && open.details > 0
                && let Some((order_id, _)) = next_detail(&mut details)
            {
                trade.order_id = order_id.unwrap_or(0);
                open.details -= 1;
                open.aggressor_next = false;
            }
            decoder.push(trade);
            if details.is_some() {
                decoder.trades.push(open);
                decoder.fills(&mut details);
            }
            Some(())
        });
        if let Some((group, _, next)) = details
            && next < group.len()
        {
            self.refuse(MalformedReason::BadValue, group.offset(next));
        }
    }

    /// A trade, without the aggressor's order id. One that is corrected or busted is no trade.
    fn one_trade(&self, plan: &EntryPlan, block: &Block<'_>, scale: Scale) -> Option<Tick> {
        let new = plan.update_action.get(block) == Some(0);
        Some(Tick {
            price: scale.price(plan.price.get(block))?,
            size: size(plan.size.get(block))?,
            instrument_id: instrument_id(plan.security_id.get(block))?,
            action: if new { Action::Trade } else { Action::None },
            side: aggressor(plan.aggressor_side.get(block)),
            depth: DEPTH_NO_LEVEL,
            ..self.tick
        })
    }

    /// Gives order details to the waiting trades as long as there are both.
    fn fills(&mut self, details: &mut Option<Details<'_, '_>>) {
        while let Some(open) = self.trades.next_mut() {
            let Some((order_id, quantity)) = next_detail(details) else { return };
            open.details -= 1;
            if core::mem::take(&mut open.aggressor_next) {
                continue;
            }
            let fill = Tick {
                price: open.price,
                instrument_id: open.instrument_id,
                action: Action::Fill,
                side: open.resting,
                ..self.tick
            };
            match (order_id, size(quantity)) {
                (Some(order_id), Some(size)) => self.push(Tick { order_id, size, ..fill }),
                _ => {
                    let at =
                        details.as_ref().map_or(0, |(group, _, next)| group.offset(next.saturating_sub(1)));
                    self.refuse(MalformedReason::BadValue, at);
                }
            }
        }
    }

    fn statistics(&mut self, message: &Message<'_>, template: &Template) {
        let Some((_, plan)) = &template.entries else { return };
        let scale = Scale::new(plan.price.exponent);
        self.entries(message, template, |decoder, plan, block| {
            let instrument_id = instrument_id(plan.security_id.get(block))?;
            let statistic = decoder.statistic(plan, block, scale)?;
            decoder.push(Tick { instrument_id, ..statistic });
            Some(())
        });
    }

    /// A statistic, all but its instrument.
    fn statistic(&self, plan: &EntryPlan, block: &Block<'_>, scale: Scale) -> Option<Tick> {
        let entry_type = plan.entry_type.get(block)? as u8;
        let statistic = Statistic::of(entry_type, plan.open_close_flag.get(block))?;
        Some(Tick {
            order_id: statistic as u64,
            price: scale.price(plan.price.get(block))?,
            size: size(plan.size.get(block))?,
            depth: DEPTH_NO_LEVEL,
            ..self.tick
        })
    }

    fn limits(&mut self, message: &Message<'_>, template: &Template) {
        self.entries(message, template, |decoder, plan, block| {
            let instrument_id = instrument_id(plan.security_id.get(block))?;
            let limits = [
                (Statistic::UpperPriceLimit, plan.high_limit),
                (Statistic::LowerPriceLimit, plan.low_limit),
                (Statistic::MaxPriceVariation, plan.max_variation),
            ];
            for (statistic, decimal) in limits {
                let price = Scale::new(decimal.exponent).price(decimal.get(block))?;
                decoder.push_statistic(statistic, instrument_id, price);
            }
            Some(())
        });
    }

    fn push_statistic(&mut self, statistic: Statistic, instrument_id: u32, price: i64) {
        let (order_id, size) = (statistic as u64, Tick::SIZE_UNDEFINED);
        self.push(Tick { order_id, price, size, instrument_id, depth: DEPTH_NO_LEVEL, ..self.tick });
    }

    /// A snapshot of one instrument's levels, statistics, limits and status.
    fn snapshot(&mut self, message: &Message<'_>, template: &Template, root: &Block<'_>) {
        let Some(instrument_id) = self.begin_snapshot(message, template, root) else { return };
        let flags = self.tick.flags | Flags::MBP;
        self.push(Tick { action: Action::Clear, flags, depth: DEPTH_NO_LEVEL, ..self.tick });
        let Some((_, plan)) = &template.entries else { return };
        let scale = Scale::new(plan.price.exponent);
        self.entries(message, template, |decoder, plan, block| {
            let entry_type = plan.entry_type.get(block);
            let tick = match book_side(entry_type) {
                // An instrument without a book has one entry that says so; the clear above says it already.
                Some((Side::None, _)) => return Some(()),
                Some((side, book)) => Tick {
                    price: scale.price(plan.price.get(block))?,
                    size: size(plan.size.get(block))?,
                    action: Action::Add,
                    side,
                    flags: decoder.tick.flags | Flags::MBP | book,
                    depth: depth(plan.level.get(block))?,
                    ..decoder.tick
                },
                // The last trade, which is not a new one.
                None if entry_type == Some(i64::from(b'2')) => return Some(()),
                None => decoder.statistic(plan, block, scale)?,
            };
            decoder.push(tick);
            Some(())
        });
        let limits = [
            (Statistic::UpperPriceLimit, template.root.high_limit),
            (Statistic::LowerPriceLimit, template.root.low_limit),
        ];
        for (statistic, decimal) in limits {
            match Scale::new(decimal.exponent).price(decimal.get(root)) {
                Some(price) if price != Price::UNDEFINED.0 => {
                    self.push_statistic(statistic, instrument_id, price);
                }
                Some(_) => {}
                None => self.refuse(MalformedReason::BadValue, message.offset()),
            }
        }
        if let Some(code) = template.root.trading_status.get(root) {
            let size = u32::from(status(Some(code)).0);
            self.push(Tick { size, action: Action::Status, ..self.tick });
        }
    }

    /// One part of a snapshot of an instrument's orders. Says whether it was the last part.
    fn order_snapshot(&mut self, message: &Message<'_>, template: &Template, root: &Block<'_>) -> bool {
        if self.begin_snapshot(message, template, root).is_none() {
            return false;
        }
        let chunks = template.root.chunks.get(root).unwrap_or(1);
        let chunk = template.root.current_chunk.get(root).unwrap_or(chunks);
        if chunk <= 1 || chunks <= 1 {
            self.push(Tick { action: Action::Clear, ..self.tick });
        }
        let Some((_, plan)) = &template.entries else { return false };
        let scale = Scale::new(plan.price.exponent);
        self.entries(message, template, |decoder, plan, block| {
            let order = decoder.order(plan, block, scale)?;
            if order.action != Action::Clear {
                decoder.push(Tick { action: Action::Add, ..order });
            }
            Some(())
        });
        chunk >= chunks
    }

    /// Sets what a snapshot's ticks have in common; gives its instrument.
    fn begin_snapshot(
        &mut self,
        message: &Message<'_>,
        template: &Template,
        root: &Block<'_>,
    ) -> Option<u32> {
        self.tick.flags |= Flags::SNAPSHOT;
        match instrument_id(template.root.security_id.get(root)) {
            Some(instrument_id) => {
                self.tick.instrument_id = instrument_id;
                Some(instrument_id)
            }
            None => {
                self.refuse(MalformedReason::BadValue, message.offset());
                None
            }
        }
    }

    fn security_status(&mut self, message: &Message<'_>, template: &Template, root: &Block<'_>) {
        let plan = &template.root;
        let tick = || {
            let mut codes = [0; 8];
            let group = plan.security_group.get(root).filter(|group| group.iter().any(|&byte| byte > b' '));
            for (code, &byte) in
                codes.iter_mut().zip(group.or(plan.asset.get(root)).unwrap_or_default()).take(6)
            {
                *code = byte;
            }
            codes[6] = plan.halt_reason.get(root).unwrap_or(0) as u8;
            codes[7] = plan.trading_event.get(root).unwrap_or(0) as u8;
            Some(Tick {
                order_id: u64::from_le_bytes(codes),
                price: Scale::new(plan.price.exponent).price(plan.price.get(root))?,
                size: u32::from(status(plan.trading_status.get(root)).0),
                instrument_id: match plan.security_id.get(root) {
                    None => 0,
                    some => instrument_id(some)?,
                },
                action: Action::Status,
                ..self.tick
            })
        };
        match tick() {
            Some(tick) => self.push(tick),
            None => self.refuse(MalformedReason::BadValue, message.offset()),
        }
    }

    /// [`Tick::channel_clear`], with the times and flags of the message.
    fn channel_reset(&mut self) {
        self.trades.clear();
        self.push(Tick { action: Action::Clear, ..self.tick });
    }

    fn definition(
        &mut self,
        message: &Message<'_>,
        template: &Template,
        root: &Block<'_>,
        kind: InstrumentKind,
    ) {
        let plan = &template.instrument;
        if plan.update_action.get(root) == Some(i64::from(b'D')) {
            return;
        }
        let price = |decimal: wire::mdp3::Decimal| Scale::new(decimal.exponent).price(decimal.get(root));
        let (Some(instrument_id), Some(tick_size), Some(multiplier)) = (
            instrument_id(plan.security_id.get(root)),
            price(plan.min_price_increment),
            price(plan.unit_of_measure_qty),
        ) else {
            return self.refuse(MalformedReason::BadValue, message.offset());
        };
        let mut instrument = super::instrument(&self.tick, instrument_id);
        instrument.kind = kind;
        (instrument.tick_size, instrument.multiplier) = (Price(tick_size), Price(multiplier));
        let texts = [plan.symbol, plan.security_group, plan.asset, plan.currency];
        let [symbol, group, asset, currency] = texts.map(|text| text.get(root).unwrap_or_default());
        instrument.set_symbol(symbol);
        instrument.set_group(group);
        if instrument.group().is_empty() {
            instrument.set_group(asset);
        }
        instrument.set_currency(currency);
        instrument.lot_size = self.round_lot(message, template).unwrap_or(0);
        self.sink.instrument(&instrument);
    }

    /// The round lot, in whole contracts.
    fn round_lot(&mut self, message: &Message<'_>, template: &Template) -> Option<u32> {
        let (place, plan) = template.lots.as_ref()?;
        let group = self.open(&mut message.groups(), template, *place)?;
        let lot = group.blocks().find(|block| plan.lot_type.get(block) == Some(ROUND_LOT))?;
        let units = Price::from_mantissa(plan.min_lot_size.get(&lot)?, plan.min_lot_size.exponent)?;
        u32::try_from(units.0 / tick::PRICE_SCALE).ok()
    }
}

/// The order details of a trade summary, and the place of the next one.
type Details<'a, 'p> = (Group<'a>, &'p OrderPlan, usize);

/// The next order detail: order id and quantity.
#[inline]
fn next_detail(details: &mut Option<Details<'_, '_>>) -> Option<(Option<u64>, Option<i64>)> {
    let (group, plan, next) = details.as_mut()?;
    let block = group.get(*next)?;
    *next += 1;
    Some((plan.order_id.get(&block).map(|order_id| order_id as u64), plan.quantity.get(&block)))
}
