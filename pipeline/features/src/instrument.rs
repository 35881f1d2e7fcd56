//! What is kept of one instrument: its time, its quote, and for each set that covers it a [`Seat`].

use crate::bars::{Forming, Full};
use crate::engine::Channel;
use crate::flow::{Quote, Session, Vpin};
use crate::plan::Plan;
use crate::window::{self, Ema, Rsi};
use book::{Book, Trade};
use bus::Quality;
use tick::{Price, Tick};

/// A tick that is older by more than this sets the time back, ns.
const OVERTAKEN: u64 = 1_000_000_000;

/// One instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instrument {
    pub(crate) now: u64,
    /// The channel of its latest tick, and what of it was taken notice of.
    pub(crate) channel_id: u16,
    pub(crate) channel: Channel,
    /// The quote of the last event's end; none when a side was empty.
    pub(crate) quote: Option<Quote>,
    /// Whether the next quote's order flow is counted from `quote`.
    pub(crate) counts: bool,
    /// Whether the book has changed since the last event's end.
    pub(crate) touched: bool,
    /// One for each set that covers the instrument, in the document's order.
    pub(crate) seats: Vec<Seat>,
}

/// What an event leaves to look at.
pub(crate) struct Event<'a> {
    pub(crate) now: u64,
    pub(crate) quote: Option<Quote>,
    pub(crate) book: Book<'a>,
    /// Of the book and of the tick.
    pub(crate) doubts: Quality,
}

/// What one set keeps of one instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat {
    pub(crate) set: usize,
    pub(crate) forming: Forming,
    pub(crate) full: Full,
    /// A gap is in the window until so many bars are full.
    pub(crate) clean_from: u64,
    pub(crate) emas: Vec<Ema>,
    pub(crate) rsis: Vec<Rsi>,
    pub(crate) vpins: Vec<Vpin>,
    pub(crate) sessions: Vec<Session>,
    /// The values: those of bars as of the last full bar (unless `stale`), the others as last looked at.
    pub(crate) values: Vec<f64>,
    /// A bar was full since the values of windows were made.
    pub(crate) stale: bool,
    /// The book has changed since the values of quotes were made.
    pub(crate) touched: bool,
    /// Whether a record was ever published.
    pub(crate) published: bool,
    /// The interval in which a record was last published because it was time, ns, the end excluded.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) quality: u8,
    /// The values of `on_change` last published.
    pub(crate) base: Vec<f64>,
}

impl Instrument {
    pub(crate) fn new(plans: &[Plan], key: (u16, u32), channel: Channel) -> Instrument {
        let covered = plans.iter().enumerate().filter(|(_, plan)| plan.covers(key));
        Instrument {
            channel,
            seats: covered.map(|(set, plan)| Seat::new(set, plan)).collect(),
            ..Instrument::default()
        }
    }

    pub(crate) fn is_covered(&self) -> bool {
        !self.seats.is_empty()
    }

    /// Goes on under other plans; `before` has for each the place that it had.
    pub(crate) fn change_sets(&mut self, plans: &[Plan], before: &[Option<usize>], key: (u16, u32)) {
        let mut had = std::mem::take(&mut self.seats);
        if had.is_empty() {
            // Nobody has looked at its ticks: the first look is at the book as it is, and the next flow has no quote before.
            *self = Instrument { touched: true, ..Instrument::default() };
        }
        for (set, plan) in plans.iter().enumerate().filter(|(_, plan)| plan.covers(key)) {
            let kept = had.iter().position(|seat| Some(seat.set) == before[set]);
            self.seats.push(match kept {
                Some(at) => Seat { set, ..had.swap_remove(at) },
                None => Seat::new(set, plan),
            });
        }
    }

    /// Takes notice of a tick: its time, and what has happened to its channel meanwhile.
    #[inline(always)]
    pub(crate) fn at(&mut self, tick: &Tick, channel: Channel, plans: &[Plan]) {
        if tick.ts_recv >= self.now || self.now - tick.ts_recv > OVERTAKEN {
            self.now = tick.ts_recv;
        }
        for seat in &mut self.seats {
            seat.at(self.now, &plans[seat.set]);
        }
        if self.channel != channel || self.channel_id != tick.channel_id {
            self.channel_changed(tick.channel_id, channel, plans);
        }
    }

    #[cold]
    fn channel_changed(&mut self, channel_id: u16, channel: Channel, plans: &[Plan]) {
        self.touched = true;
        if self.channel_id == channel_id {
            self.forget_quote();
            if self.channel.gaps != channel.gaps {
                self.gap(plans);
            }
        }
        (self.channel_id, self.channel) = (channel_id, channel);
    }

    /// The next quote has none before it.
    pub(crate) fn forget_quote(&mut self) {
        self.counts = false;
    }

    pub(crate) fn gap(&mut self, plans: &[Plan]) {
        for seat in &mut self.seats {
            seat.gap(&plans[seat.set]);
        }
    }

    pub(crate) fn trade(&mut self, trade: &Trade, plans: &[Plan]) {
        if trade.size == 0 || trade.size == Tick::SIZE_UNDEFINED || trade.price == Price::UNDEFINED.0 {
            return;
        }
        for seat in &mut self.seats {
            seat.trade(trade, self.now, &plans[seat.set]);
        }
    }

    /// Looks at the quote at an event's end.
    #[inline(always)]
    pub(crate) fn look(&mut self, book: &Book<'_>, plans: &[Plan]) {
        let good = book.is_good();
        if self.touched {
            let before = self.quote;
            self.quote = Quote::of(book);
            if let (true, true, Some(before), Some(quote)) = (self.counts, good, before, self.quote)
                && quote != before
            {
                let flow = quote.flow(&before);
                for seat in &mut self.seats {
                    seat.forming.flow = seat.forming.flow.saturating_add(flow);
                }
            }
        }
        self.counts = good && self.quote.is_some();
        if !good {
            for seat in &mut self.seats {
                seat.bad_event(&plans[seat.set]);
            }
        }
    }
}

impl Seat {
    fn new(set: usize, plan: &Plan) -> Seat {
        Seat {
            set,
            emas: vec![Ema::default(); plan.emas.len()],
            rsis: vec![Rsi::default(); plan.rsis.len()],
            vpins: vec![Vpin::default(); plan.vpins.len()],
            sessions: vec![Session::default(); plan.sessions.len()],
            values: vec![f64::NAN; plan.slots],
            touched: true,
            base: vec![f64::NAN; plan.changes.len()],
            ..Seat::default()
        }
    }

    #[inline(always)]
    fn at(&mut self, now: u64, plan: &Plan) {
        if self.forming.is_over(now) {
            self.close(plan);
        }
        for (session, &(_, start)) in self.sessions.iter_mut().zip(&plan.sessions) {
            session.at(now, start);
        }
    }

    fn trade(&mut self, trade: &Trade, now: u64, plan: &Plan) {
        for session in &mut self.sessions {
            session.trade(trade);
        }
        for (vpin, &(_, bucket, buckets)) in self.vpins.iter_mut().zip(&plan.vpins) {
            vpin.trade(trade, bucket, buckets);
        }
        if plan.bars.is_some_and(|bars| self.forming.trade(trade, now, bars)) {
            self.close(plan);
        }
    }

    /// The forming bar is full.
    fn close(&mut self, plan: &Plan) {
        self.full.push(&self.forming, plan.keep);
        self.forming = Forming::default();
        self.stale = true;
        let count = self.full.count;
        let &[.., close] = self.full.close.last(1) else { return };
        for (ema, feature) in self.emas.iter_mut().zip(&plan.emas) {
            self.values[feature.slot] = ema.push(close, count, feature.bars);
        }
        if let &[before, close] = self.full.close.last(2) {
            for (rsi, feature) in self.rsis.iter_mut().zip(&plan.rsis) {
                self.values[feature.slot] = rsi.push(close - before, count, feature.bars);
            }
        }
    }

    fn gap(&mut self, plan: &Plan) {
        if plan.reach > 0 {
            self.clean_from = self.full.count.saturating_add(plan.reach + 1);
        }
        for (vpin, &(_, _, buckets)) in self.vpins.iter_mut().zip(&plan.vpins) {
            vpin.gap(buckets);
        }
        for session in &mut self.sessions {
            session.gap = true;
        }
    }

    /// An event ended on a bad book: its order flow is not known.
    fn bad_event(&mut self, plan: &Plan) {
        if plan.flow {
            self.clean_from = self.full.count.saturating_add(plan.reach + 1);
        }
    }

    /// The quality of a record that is due, whose values are then in `values`.
    #[inline(always)]
    pub(crate) fn due(&mut self, plan: &Plan, event: &Event<'_>) -> Option<Quality> {
        let quality = self.quality(plan, event.doubts);
        let timely = plan.every_ns.is_some() && !(self.begin..self.end).contains(&event.now);
        let mut due = !self.published || timely || quality.0 != self.quality;
        if !due && !plan.changes.is_empty() {
            self.refresh(plan, event);
            due = plan.changes.iter().zip(&self.base).any(|(change, &base)| {
                let value = self.values[change.slot];
                value.is_nan() != base.is_nan() || (value - base).abs() >= change.by
            });
        }
        if !due {
            return None;
        }
        self.refresh(plan, event);
        if let Some(every) = plan.every_ns
            && (timely || !self.published)
        {
            self.begin = event.now - event.now % every;
            self.end = self.begin.saturating_add(every);
        }
        self.published = true;
        self.quality = quality.0;
        for (change, base) in plan.changes.iter().zip(&mut self.base) {
            *base = self.values[change.slot];
        }
        Some(quality)
    }

    #[inline(always)]
    fn quality(&self, plan: &Plan, doubts: Quality) -> Quality {
        let mut quality = doubts;
        let mut warm = self.full.count >= plan.warm;
        let mut gap = self.full.count < self.clean_from;
        for (vpin, &(_, _, buckets)) in self.vpins.iter().zip(&plan.vpins) {
            warm &= vpin.is_warm(buckets);
            gap |= vpin.count < vpin.clean_from;
        }
        for session in &self.sessions {
            warm &= session.volume > 0;
            gap |= session.gap;
        }
        if gap {
            quality = quality.with(Quality::GAP_IN_WINDOW);
        }
        if !warm {
            quality = quality.with(Quality::WARMING_UP);
        }
        quality
    }

    /// Makes all values that may have changed anew.
    fn refresh(&mut self, plan: &Plan, event: &Event<'_>) {
        if std::mem::take(&mut self.touched) {
            for &(slot, value) in &plan.quotes {
                self.values[slot] = value.of(event.quote.as_ref(), &event.book);
            }
        }
        if std::mem::take(&mut self.stale) {
            for feature in &plan.windows {
                window::write(feature, &self.full, &mut self.values[feature.slot..]);
            }
        }
        for (vpin, &(slot, bucket, buckets)) in self.vpins.iter().zip(&plan.vpins) {
            self.values[slot] = vpin.value(bucket, buckets);
        }
        for (session, &(slot, _)) in self.sessions.iter().zip(&plan.sessions) {
            self.values[slot] = session.price();
        }
    }
}
