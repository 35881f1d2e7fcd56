//! From a tick to the book it concerns, and what it makes of the book's state.

use crate::books::{BookId, Books, Channel};
use crate::by_order::{Change, book_side};
use crate::ladders::{ladder, side_of};
use crate::state::{Applied, Kind, Refusal, Trade, Why};
use tick::{Action, DEPTH_BY_ORDER, Flags, Side, Source, Tick};

impl Books {
    /// Applies the next tick of the stream: an instrument's, a channel clear, or a declared gap.
    #[inline]
    pub fn apply(&mut self, tick: &Tick) -> Applied {
        let channel = &self.channels[usize::from(tick.channel_id)];
        if !channel.started || channel.flagged != tick.flags.contains(Flags::MAYBE_BAD_BOOK) {
            return self.apply_turning(tick);
        }
        self.apply_known(tick)
    }

    /// A tick of a channel that is as the tick before left it.
    #[inline(always)]
    fn apply_known(&mut self, tick: &Tick) -> Applied {
        match tick.action {
            Action::Add | Action::Modify | Action::Cancel | Action::Fill | Action::Trade => {
                self.apply_to_book(tick)
            }
            _ => self.apply_rare(tick),
        }
    }

    #[inline(always)]
    fn apply_to_book(&mut self, tick: &Tick) -> Applied {
        let (book, shown) = match self.book_of(tick) {
            Ok(found) => found,
            Err(refusal) => return Applied { refused: Some(refusal), ..Applied::default() },
        };
        let applied = match tick.action {
            Action::Trade => self.trade(book, tick),
            Action::Fill => self.fill(book, tick),
            _ => self.change(book, tick),
        };
        self.end_event(book, tick);
        self.seen_by_caller(book, shown, tick, applied)
    }

    /// The book that a tick is about, made if there is none, and which of the two is shown before it.
    #[inline(always)]
    fn book_of(&mut self, tick: &Tick) -> Result<(u32, Kind), Refusal> {
        if tick.instrument_id == 0 {
            return Err(Refusal::NoInstrument);
        }
        let book = self
            .find_or_add(tick.publisher_id, tick.instrument_id, tick.channel_id)
            .ok_or(Refusal::InstrumentsFull)?;
        let entry = &self.entries[book as usize];
        let shown = entry.shown;
        if entry.channel_id != tick.channel_id {
            self.move_to_channel(book, tick.channel_id);
        }
        Ok((book, shown))
    }

    /// An `Add`, `Modify` or `Cancel`.
    #[inline(always)]
    fn change(&mut self, book: u32, tick: &Tick) -> Applied {
        let kind = kind_of(tick);
        if kind == Kind::ByPrice && is_other_book(tick) {
            return Applied::default();
        }
        let half = &self.entries[book as usize].halves[kind as usize];
        let snapshot = tick.flags.contains(Flags::SNAPSHOT);
        if !half.seen || (half.why == Some(Why::Snapshot)) != snapshot {
            self.half_turns(book, kind, tick);
        }
        let change = match (kind, tick.action) {
            (Kind::ByPrice, _) => self.change_level(book, tick),
            (_, Action::Add) => self.add_order(book, tick),
            (_, Action::Modify) => self.modify_order(book, tick),
            _ => self.cancel_order(book, tick),
        };
        if let Some(refusal) = change.refused {
            self.doubt(book, kind, refusal);
        }
        change.into()
    }

    /// What a tick did, as far as it is the shown book that it did it to.
    #[inline(always)]
    fn seen_by_caller(&self, book: u32, shown_before: Kind, tick: &Tick, applied: Applied) -> Applied {
        let shown = self.entries[book as usize].shown;
        let (own, turned) = (shown == kind_of(tick), shown != shown_before);
        Applied {
            book: Some(BookId(book)),
            top_changed: (applied.top_changed & own) | turned,
            depth_changed: (applied.depth_changed & own) | turned,
            ..applied
        }
    }

    /// Marks a good book bad that met a contradiction.
    #[cold]
    fn doubt(&mut self, book: u32, kind: Kind, refusal: Refusal) {
        let half = &mut self.entries[book as usize].halves[kind as usize];
        if refusal.is_contradiction() && matches!(half.why, None | Some(Why::Snapshot)) {
            half.why = Some(refusal.why());
        }
        self.choose_shown(book);
    }

    /// A book's first tick, or the first of a snapshot or behind one.
    #[cold]
    fn half_turns(&mut self, book: u32, kind: Kind, tick: &Tick) {
        let channel = self.channels[usize::from(tick.channel_id)];
        let snapshot = tick.flags.contains(Flags::SNAPSHOT);
        let half = &mut self.entries[book as usize].halves[kind as usize];
        match half.why {
            None if snapshot => half.why = Some(Why::Snapshot),
            Some(Why::Snapshot) if !snapshot => half.why = None,
            Some(Why::NotFromStart) if !half.seen && !channel.flagged && begins_with_snapshot(tick) => {
                half.why = Some(Why::Snapshot);
            }
            _ => {}
        }
        half.seen = true;
        self.choose_shown(book);
    }

    /// Decides which of the two books is the instrument's: the one by order, unless only the one by price is
    /// good or was ever seen.
    #[cold]
    pub(crate) fn choose_shown(&mut self, book: u32) {
        let entry = &mut self.entries[book as usize];
        let [by_order, by_price] = entry.halves;
        let by_price =
            by_price.seen && (!by_order.seen || (by_price.why.is_none() && by_order.why.is_some()));
        entry.shown = if by_price { Kind::ByPrice } else { Kind::ByOrder };
    }

    /// Looks at both books when an event has ended for the instrument.
    #[inline(always)]
    fn end_event(&mut self, book: u32, tick: &Tick) {
        if tick.flags.contains(Flags::LAST) {
            let entry = &mut self.entries[book as usize];
            for kind in [Kind::ByOrder, Kind::ByPrice] {
                let half = &mut entry.halves[kind as usize];
                if half.seen {
                    let bid = self.ladders.best(ladder(book, kind as usize, Side::Bid));
                    let ask = self.ladders.best(ladder(book, kind as usize, Side::Ask));
                    half.crossed = matches!((bid, ask), (Some(bid), Some(ask)) if bid.key >= !ask.key);
                }
            }
            if tick.flags.contains(Flags::SNAPSHOT) {
                self.end_snapshot(book);
            }
        }
    }

    #[cold]
    fn end_snapshot(&mut self, book: u32) {
        for half in &mut self.entries[book as usize].halves {
            if half.why == Some(Why::Snapshot) {
                half.why = None;
            }
        }
        self.choose_shown(book);
    }

    #[inline]
    fn trade(&mut self, book: u32, tick: &Tick) -> Applied {
        let mut applied = Applied::default();
        if tick.size == Tick::SIZE_UNDEFINED || tick.size == 0 {
            applied.refused = Some(Refusal::BadSize);
        } else if tick.price().is_defined() {
            let aggressor = book_side(tick.side).unwrap_or(Side::None);
            applied.trade = Some(Trade { price: tick.price, size: tick.size, aggressor });
        } else {
            self.entries[book as usize].unpriced = (tick.sequence, tick.size);
        }
        applied
    }

    /// A fill changes no book. It completes a trade of the same message that has no price of its own.
    #[inline]
    fn fill(&mut self, book: u32, tick: &Tick) -> Applied {
        let mut applied = Applied::default();
        let unpriced = &mut self.entries[book as usize].unpriced;
        let trade = *unpriced == (tick.sequence, tick.size) && tick.size != 0;
        if trade {
            *unpriced = (0, 0);
        }
        match self.order_of(book, tick.order_id) {
            Some((side, price)) if trade => {
                let aggressor = if side == Side::Bid { Side::Ask } else { Side::Bid };
                applied.trade = Some(Trade { price, size: tick.size, aggressor });
            }
            Some(_) => {}
            None if trade => applied.refused = Some(Refusal::TradeWithoutPrice),
            None => applied.refused = Some(Refusal::UnknownOrder),
        }
        applied
    }

    /// Everything that is not an order, a level, a trade or a fill.
    #[cold]
    fn apply_rare(&mut self, tick: &Tick) -> Applied {
        match tick.action {
            Action::Gap => {
                self.mark_channel(tick.channel_id, Why::Gap);
                Applied { channel_changed: true, ..Applied::default() }
            }
            Action::Clear if tick.instrument_id == 0 => {
                self.clear_channel(tick);
                Applied { channel_changed: true, ..Applied::default() }
            }
            Action::Clear => self.clear_book(tick),
            _ => match self.find(tick.publisher_id, tick.instrument_id) {
                Some(BookId(book)) => {
                    let shown = self.entries[book as usize].shown;
                    self.end_event(book, tick);
                    self.seen_by_caller(book, shown, tick, Applied::default())
                }
                None => Applied::default(),
            },
        }
    }

    /// An instrument's book is empty now: known, and good unless a snapshot follows.
    fn clear_book(&mut self, tick: &Tick) -> Applied {
        let (book, shown) = match self.book_of(tick) {
            Ok(found) => found,
            Err(refusal) => return Applied { refused: Some(refusal), ..Applied::default() },
        };
        let kind = kind_of(tick);
        let mut change = Change::default();
        if kind == Kind::ByOrder || !is_other_book(tick) {
            change = match kind {
                Kind::ByOrder => self.clear_orders(book),
                Kind::ByPrice => self.clear_levels(book),
            };
            let entry = &mut self.entries[book as usize];
            entry.forget_message();
            let half = &mut entry.halves[kind as usize];
            half.why = tick.flags.contains(Flags::SNAPSHOT).then_some(Why::Snapshot);
            half.crossed = false;
            self.choose_shown(book);
        }
        self.end_event(book, tick);
        self.seen_by_caller(book, shown, tick, change.into())
    }

    /// Every book of the channel is empty now, and good.
    fn clear_channel(&mut self, tick: &Tick) {
        let channel = &mut self.channels[usize::from(tick.channel_id)];
        *channel = Channel { why: None, flagged: tick.flags.contains(Flags::MAYBE_BAD_BOOK), started: true };
        for book in 0..self.entries.len() as u32 {
            if self.entries[book as usize].channel_id == tick.channel_id {
                self.clear_orders(book);
                self.clear_levels(book);
                self.entries[book as usize].forget_message();
                for half in &mut self.entries[book as usize].halves {
                    (half.why, half.crossed) = (None, false);
                }
                self.choose_shown(book);
            }
        }
    }

    /// The first tick of a channel, or one whose `MAYBE_BAD_BOOK` is not as it was.
    #[cold]
    #[inline(never)]
    fn apply_turning(&mut self, tick: &Tick) -> Applied {
        let flagged = tick.flags.contains(Flags::MAYBE_BAD_BOOK);
        let channel = &mut self.channels[usize::from(tick.channel_id)];
        if !channel.started {
            channel.started = true;
            let first = tick.sequence == 1 && !tick.flags.contains(Flags::SNAPSHOT);
            if first && tick.action != Action::Gap {
                channel.why = None;
            }
        }
        let rises = flagged && !channel.flagged;
        channel.flagged = flagged;
        if rises && tick.action != Action::Gap {
            self.mark_channel(tick.channel_id, Why::Flagged);
        }
        let applied = self.apply_known(tick);
        Applied { channel_changed: applied.channel_changed | rises, ..applied }
    }

    /// Marks every good book of a channel.
    fn mark_channel(&mut self, channel_id: u16, why: Why) {
        let channel = &mut self.channels[usize::from(channel_id)];
        channel.flagged = true;
        if channel.why.is_none() {
            channel.why = Some(why);
        }
        for book in 0..self.entries.len() as u32 {
            if self.entries[book as usize].channel_id == channel_id {
                for half in &mut self.entries[book as usize].halves {
                    if matches!(half.why, None | Some(Why::Snapshot)) {
                        half.why = Some(why);
                    }
                }
                self.choose_shown(book);
            }
        }
    }

    /// An instrument that comes on another channel: what was missed on that one is not known.
    #[cold]
    fn move_to_channel(&mut self, book: u32, channel_id: u16) {
        let entry = &mut self.entries[book as usize];
        entry.channel_id = channel_id;
        for half in &mut entry.halves {
            half.why = Some(Why::NotFromStart);
        }
        self.choose_shown(book);
    }

    /// Side and price of an order.
    #[inline(always)]
    fn order_of(&self, book: u32, order_id: u64) -> Option<(Side, i64)> {
        let (_, at) = self.orders.find(book, order_id).ok()?;
        let level = self.ladders.level(self.orders.node(at).level);
        Some((side_of(level.ladder), level.price))
    }
}

impl From<Change> for Applied {
    #[inline(always)]
    fn from(change: Change) -> Applied {
        let Change { top, depth, refused } = change;
        Applied { top_changed: top, depth_changed: depth, refused, ..Applied::default() }
    }
}

#[inline(always)]
fn kind_of(tick: &Tick) -> Kind {
    if tick.depth == DEPTH_BY_ORDER && !tick.flags.contains(Flags::MBP) {
        Kind::ByOrder
    } else {
        Kind::ByPrice
    }
}

/// CME's implied and market-best levels are other books; so is a top of book without the rest.
#[inline(always)]
fn is_other_book(tick: &Tick) -> bool {
    tick.flags.0 & (Flags::PUBLISHER_SPECIFIC.0 | Flags::TOB.0) != 0
}

/// DBN files made before February 2024 open with a snapshot that no clear precedes; its records are marked
/// `SNAPSHOT` and `BAD_TS_RECV`. A live stream's snapshot begins with a clear, so that its middle, joined late,
/// is not taken for a whole one.
fn begins_with_snapshot(tick: &Tick) -> bool {
    tick.source == Source::Snapshot && tick.flags.contains(Flags::SNAPSHOT | Flags::BAD_TS_RECV)
}
