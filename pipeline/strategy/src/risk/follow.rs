//! What became of orders: reports change positions and give back what will not trade.
//!
//! A trade told twice is known by the order's `filled`, which each trade raises and each broken one lowers. A
//! report that does not fit makes the engine doubt itself; what can be kept of it is booked all the same.

use super::Engine;
use super::orders::{Known, NO_SLOT, Order};
use bus::{OrderId, OrderSide, Report, ReportKind};

/// What a report did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Followed {
    /// Booked.
    Booked,
    /// Nothing to book: known already, or about no order's state.
    Nothing,
    /// It contradicts what is known here: nothing new passes until all is read back.
    Doubt,
}

impl Engine {
    /// Follows a report.
    pub fn report(&mut self, report: &Report) -> Followed {
        let followed = match report.kind {
            ReportKind::Sent | ReportKind::Accepted => self.stands(report),
            ReportKind::Filled => self.filled(report),
            ReportKind::Broken => self.broken(report),
            ReportKind::Cancelled => self.cancelled(report),
            ReportKind::Replaced => self.replaced(report),
            ReportKind::Denied | ReportKind::Rejected => self.refused(report.id),
            ReportKind::CancelRejected => self.replacement_refused(report.id),
            ReportKind::Unknown => self.set_unknown(report.id, true),
        };
        if followed == Followed::Doubt {
            self.doubts += 1;
        }
        followed
    }

    /// Where the order is that the report names by its id; [`NO_SLOT`] when it is not open.
    fn slot(&self, id: Option<OrderId>) -> Option<u32> {
        let known = self.orders.known(&id?)?;
        (known.slot != NO_SLOT).then_some(known.slot)
    }

    fn is_known(&self, id: Option<OrderId>) -> bool {
        id.is_some_and(|id| self.orders.known(&id).is_some())
    }

    pub(super) fn open(&mut self, order: Order) {
        let (place, worst, buys, price) = (order.instrument, order.worst(), order.buys, order.aggressive());
        let slot = self.orders.insert(order);
        let account = &mut self.accounts[place as usize];
        account.slots.push(slot);
        account.comes_nearer(buys, price);
        self.add(place, buys, i128::from(worst));
    }

    /// Adds to what is open. At most 2^32 orders of 2^64 each: fits.
    fn add(&mut self, place: u32, buys: bool, more: i128) {
        debug_assert_eq!(self.accounts[place as usize].nearest(buys), self.find_nearest(place, buys));
        let account = &mut self.accounts[place as usize];
        *(if buys { &mut account.buys } else { &mut account.sells }) += more;
        self.revalue(place);
    }

    /// The price at which an open order of this side would trade first, by going through them.
    fn find_nearest(&self, place: u32, buys: bool) -> Option<i64> {
        let own = self.accounts[place as usize].slots.iter().filter_map(|slot| self.orders.get(*slot));
        let prices = own.filter(|order| order.buys == buys).map(Order::aggressive);
        if buys { prices.max() } else { prices.min() }
    }

    /// Changes an open order, and what is open with it. One of which nothing is left ends.
    pub(super) fn change(&mut self, slot: u32, change: impl FnOnce(&mut Order)) {
        let Some(order) = self.orders.get_mut(slot) else { return };
        let (before, price_before) = (order.worst(), order.aggressive());
        change(order);
        let (after, place, buys) = (order.worst(), order.instrument, order.buys);
        let price = order.aggressive();
        let ends = order.leaves == 0 && order.pending.is_none();
        if ends {
            self.unknown -= usize::from(order.unknown);
            self.orders.remove(slot);
            self.accounts[place as usize].slots.retain(|kept| *kept != slot);
        }
        let account = &mut self.accounts[place as usize];
        let gone = ends || if buys { price < price_before } else { price > price_before };
        if !gone {
            account.comes_nearer(buys, price);
        } else if account.nearest(buys) == Some(price_before) {
            let nearest = self.find_nearest(place, buys);
            let account = &mut self.accounts[place as usize];
            account.set_nearest(buys, nearest);
        }
        self.add(place, buys, i128::from(after) - i128::from(before));
    }

    fn set_unknown(&mut self, id: Option<OrderId>, unknown: bool) -> Followed {
        let Some(slot) = self.slot(id) else {
            return if unknown && !self.is_known(id) { Followed::Doubt } else { Followed::Nothing };
        };
        let Some(order) = self.orders.get_mut(slot) else { return Followed::Nothing };
        if order.unknown == unknown {
            return Followed::Nothing;
        }
        order.unknown = unknown;
        if unknown {
            self.unknown += 1;
        } else {
            self.unknown -= 1;
        }
        Followed::Booked
    }

    /// The order stands. One that nobody here knows is taken over, with the worst price that it can have.
    fn stands(&mut self, report: &Report) -> Followed {
        if self.is_known(report.id) {
            // `Sent` again may be a copy from before its fate was lost.
            let certain = report.kind == ReportKind::Accepted;
            return if certain { self.set_unknown(report.id, false) } else { Followed::Nothing };
        }
        // What was not written down here: sent by an instruction that a restart did not read back. Its
        // limit is not in a report.
        let (Some(id), Some(side)) = (report.id, report.side) else { return Followed::Doubt };
        if report.of.is_some() || report.leaves == 0 || report.symbol.is_empty() {
            return if report.leaves == 0 { Followed::Nothing } else { Followed::Doubt };
        }
        let place = self.place(report.publisher_id, report.instrument_id);
        let buys = side == OrderSide::Buy;
        self.open(Order {
            id,
            instrument: place,
            buys,
            price: if buys { i64::MAX } else { i64::MIN },
            leaves: report.leaves,
            filled: report.filled,
            pending: None,
            unknown: false,
        });
        Followed::Booked
    }

    /// Books a trade into the position. Whether it fits.
    pub(super) fn trade(&mut self, place: u32, bought: bool, quantity: u64, price: i64, void: bool) -> bool {
        let account = &mut self.accounts[place as usize];
        let signed = if bought == void { -i128::from(quantity) } else { i128::from(quantity) };
        let cash = signed.checked_mul(i128::from(price)).and_then(|value| account.cash.checked_sub(value));
        let (Some(cash), Some(position)) = (cash, account.position.checked_add(signed)) else { return false };
        (account.cash, account.position) = (cash, position);
        true
    }

    /// Instrument, side, quantity and price of the trade in a report; the order's own where it is known.
    fn trade_of(&mut self, report: &Report, slot: Option<u32>) -> Option<(u32, bool, u64, i64)> {
        let price = report.last_price.filter(|price| price.is_defined())?.0;
        let quantity = Some(report.last_quantity).filter(|quantity| *quantity > 0)?;
        let (place, bought) = match slot.and_then(|slot| self.orders.get(slot)) {
            Some(order) => (order.instrument, order.buys),
            None => {
                let side = report.side.filter(|_| !report.symbol.is_empty())?;
                (self.place(report.publisher_id, report.instrument_id), side == OrderSide::Buy)
            }
        };
        Some((place, bought, quantity, price))
    }

    /// What had traded of the order before this report.
    fn filled_before(&self, id: OrderId, slot: Option<u32>) -> u64 {
        let open = slot.and_then(|slot| self.orders.get(slot)).map(|order| order.filled);
        open.or_else(|| self.orders.known(&id).map(|known| known.filled)).unwrap_or(0)
    }

    fn filled(&mut self, report: &Report) -> Followed {
        let Some(id) = report.id else { return Followed::Doubt };
        let (slot, known) = (self.slot(report.id), self.is_known(report.id));
        let before = self.filled_before(id, slot);
        if known && report.filled <= before {
            return Followed::Nothing;
        }
        let Some((place, bought, quantity, price)) = self.trade_of(report, slot) else {
            return Followed::Doubt;
        };
        // A trade before this one was never told, when the order was known.
        let told = !known || before.checked_add(quantity) == Some(report.filled);
        let fits = self.trade(place, bought, quantity, price, false);
        let mut overfilled = false;
        match slot {
            Some(slot) => {
                self.set_unknown(report.id, false);
                self.change(slot, |order| {
                    overfilled = quantity > order.worst();
                    order.filled = report.filled;
                    order.leaves = order.leaves.saturating_sub(quantity).max(match order.pending {
                        // What the report leaves is the replacement's, when that is what traded.
                        Some(pending) if pending.id == id => 0,
                        _ => report.leaves,
                    });
                    if let Some(pending) = &mut order.pending {
                        pending.leaves = pending.leaves.saturating_sub(quantity);
                    }
                });
            }
            None => {
                self.orders.note(id, Known { slot: NO_SLOT, filled: report.filled });
                if !known && report.leaves > 0 {
                    self.open(Order {
                        id,
                        instrument: place,
                        buys: bought,
                        price: if bought { i64::MAX } else { i64::MIN },
                        leaves: report.leaves,
                        filled: report.filled,
                        pending: None,
                        unknown: false,
                    });
                }
            }
        }
        self.revalue(place);
        if told && fits && !overfilled { Followed::Booked } else { Followed::Doubt }
    }

    /// A trade is void: the position is what it was without it. The order gets nothing back, unless the report says so.
    fn broken(&mut self, report: &Report) -> Followed {
        let Some(id) = report.id else { return Followed::Doubt };
        let (slot, known) = (self.slot(report.id), self.is_known(report.id));
        let before = self.filled_before(id, slot);
        if known && report.filled >= before {
            return Followed::Nothing;
        }
        let Some((place, bought, quantity, price)) = self.trade_of(report, slot) else {
            return Followed::Doubt;
        };
        let told = known && before.checked_sub(quantity) == Some(report.filled);
        let fits = self.trade(place, bought, quantity, price, true);
        match slot {
            Some(slot) => self.change(slot, |order| {
                order.filled = report.filled;
                order.leaves = order.leaves.max(report.leaves);
            }),
            None => self.orders.note(id, Known { slot: NO_SLOT, filled: report.filled }),
        }
        self.revalue(place);
        // An ended order that is said to be open again is not something a venue does.
        if told && fits && (slot.is_some() || report.leaves == 0) {
            Followed::Booked
        } else {
            Followed::Doubt
        }
    }

    /// The order ended. A replacement that is on its way still waits for its own answer.
    fn cancelled(&mut self, report: &Report) -> Followed {
        let named = if self.is_known(report.of) { report.of } else { report.id };
        let Some(slot) = self.slot(named) else {
            // Over already, or never known here: either way nothing of it is open.
            return Followed::Nothing;
        };
        self.set_unknown(named, false);
        let replacement = |order: &Order| {
            order.pending.is_some_and(|pending| Some(pending.id) == named && Some(order.id) != named)
        };
        if self.orders.get(slot).is_some_and(replacement) {
            // The replacement was in force, though its report has not come: the order has ended with it.
            self.change(slot, |order| {
                order.leaves = 0;
                order.pending = None;
            });
            self.forget(named);
        } else {
            self.change(slot, |order| order.leaves = 0);
        }
        Followed::Booked
    }

    fn replaced(&mut self, report: &Report) -> Followed {
        let Some(slot) = self.slot(report.id) else {
            return if self.is_known(report.id) { Followed::Nothing } else { Followed::Doubt };
        };
        let Some(order) = self.orders.get(slot) else { return Followed::Nothing };
        let Some(pending) = order.pending.filter(|pending| Some(pending.id) == report.id) else {
            return Followed::Nothing;
        };
        let (old, filled) = (order.id, order.filled);
        self.orders.note(old, Known { slot: NO_SLOT, filled });
        self.set_unknown(report.id, false);
        self.change(slot, |order| {
            (order.id, order.price, order.pending) = (pending.id, pending.price, None);
            order.leaves = pending.leaves.max(report.leaves);
        });
        Followed::Booked
    }

    /// A new order or a replacement was not taken.
    fn refused(&mut self, id: Option<OrderId>) -> Followed {
        let Some(slot) = self.slot(id) else { return Followed::Nothing };
        if self.orders.get(slot).is_some_and(|order| Some(order.id) == id) {
            self.set_unknown(id, false);
            self.change(slot, |order| order.leaves = 0);
            return Followed::Booked;
        }
        self.replacement_refused(id)
    }

    /// The order goes on as it was.
    fn replacement_refused(&mut self, id: Option<OrderId>) -> Followed {
        let Some(slot) = self.slot(id) else { return Followed::Nothing };
        let named = |order: &Order| order.pending.is_some_and(|pending| Some(pending.id) == id);
        if !self.orders.get(slot).is_some_and(named) {
            return Followed::Nothing;
        }
        self.forget(id);
        self.set_unknown_of(slot);
        self.change(slot, |order| order.pending = None);
        Followed::Booked
    }

    /// An answer came: the fate of what is in the slot is known again.
    fn set_unknown_of(&mut self, slot: u32) {
        let id = self.orders.get(slot).map(|order| order.id);
        self.set_unknown(id, false);
    }

    /// The id leads to no open order any more.
    fn forget(&mut self, id: Option<OrderId>) {
        if let Some(id) = id {
            let filled = self.orders.known(&id).map_or(0, |known| known.filled);
            self.orders.note(id, Known { slot: NO_SLOT, filled });
        }
    }
}
