//! What the desk says to the users: the exchange's reports and its own answers as OUCH messages.

use super::desk::{Desk, Held, side_of};
use super::server::UserId;
use super::stream::Streams;
use crate::exchange::{Addressed, CancelReason, Exchange, Liquidity, Report, SymbolId};
use wire::ouch50::{
    AccountQueryResponse, AiqCanceled, Appendage, DisableOrderEntryResponse, EnableOrderEntryResponse,
    MassCancel, MassCancelResponse, OrderAccepted, OrderCanceled, OrderExecuted, OrderModified,
    OrderReplaced, Outbound, Price as OuchPrice, Rejected, SystemEvent, reject_reason,
};
use zerocopy::byteorder::big_endian::{U16, U32, U64};

/// Longest message that is said, bytes, without options: Order Replaced has 68.
const MESSAGE_BYTES: usize = 128;

impl Desk {
    /// Tells what the exchange has reported, in its order.
    pub fn tell(&mut self, exchange: &mut Exchange, told: &mut Streams) {
        while let Some(addressed) = exchange.take_report() {
            debug_assert!(addressed.at_ns >= self.last_report_ns);
            self.last_report_ns = addressed.at_ns;
            self.report(&addressed, exchange, told);
        }
    }

    /// The first message of the day to every user (§3.1).
    pub fn say_start_of_day(&self, told: &mut Streams) {
        self.say_to_all(0, b'S', told);
    }

    /// The last message of the day to every user (§3.1).
    pub fn say_end_of_day(&self, now_ns: u64, told: &mut Streams) {
        self.say_to_all(now_ns, b'E', told);
    }

    fn say_to_all(&self, now_ns: u64, event_code: u8, told: &mut Streams) {
        for user in 0..self.members.len() {
            let event = SystemEvent { timestamp_ns: self.time(now_ns), event_code };
            say(told, UserId(user as u16), Outbound::SystemEvent(&event));
        }
    }

    fn time(&self, now_ns: u64) -> U64 {
        U64::new(self.begin_of_day_ns + now_ns)
    }

    fn report(&mut self, addressed: &Addressed, exchange: &Exchange, told: &mut Streams) {
        let Addressed { at_ns, session, report } = *addressed;
        let Ok(at) = u16::try_from(session.0) else { return };
        let user = UserId(at);
        if usize::from(at) >= self.members.len() {
            return;
        }
        match report {
            Report::Accepted { reference, order } => {
                self.accepted(user, at_ns, order.token as u32, reference, told);
            }
            Report::Replaced { old_token, reference, token, shares, .. } => {
                self.replaced(user, at_ns, (old_token as u32, token as u32), (reference, shares), told);
            }
            Report::Executed { token, shares, price, match_number, liquidity, open, .. } => {
                let number = token as u32;
                let Some(held) = self.change(user, number, open, shares) else { return };
                let ledger = &mut self.member(user).ledger;
                ledger.executed(held.symbol.0, side_of(held.side), shares, price);
                let executed = OrderExecuted {
                    timestamp_ns: self.time(at_ns),
                    user_ref_num: U32::new(number),
                    quantity: U32::new(shares),
                    price: OuchPrice::new(price.0.into()),
                    liquidity_flag: if liquidity == Liquidity::Added { b'A' } else { b'R' },
                    match_number: U64::new(match_number),
                };
                say(told, user, Outbound::OrderExecuted(&executed));
            }
            Report::Cancelled { token, shares, reason, open, .. } => {
                self.cancelled(user, at_ns, token as u32, (shares, open), reason, exchange, told);
            }
            // Whoever asked was answered by the one who asked the exchange.
            Report::Rejected { .. } | Report::CancelRejected { .. } | Report::ReplaceRejected { .. } => {}
        }
    }

    /// Notes what is left of an order, which is forgotten without open shares; gives back how it was.
    fn change(&mut self, user: UserId, number: u32, open: u32, executed: u32) -> Option<Held> {
        let orders = &mut self.member(user).orders;
        let held = orders.get_mut(&number)?;
        let before = *held;
        held.open = open;
        held.executed += executed;
        if open == 0 {
            orders.remove(&number);
        }
        Some(before)
    }

    fn accepted(&mut self, user: UserId, at_ns: u64, number: u32, reference: u64, told: &mut Streams) {
        let timestamp_ns = self.time(at_ns);
        let member = self.member(user);
        let Some(held) = member.orders.get_mut(&number) else { return };
        held.reference = reference;
        let accepted = OrderAccepted {
            timestamp_ns,
            user_ref_num: U32::new(number),
            side: held.side,
            quantity: U32::new(held.open),
            symbol: held.stock,
            price: held.price,
            time_in_force: held.time_in_force,
            display: held.display,
            order_reference: U64::new(reference),
            capacity: held.capacity,
            intermarket_sweep: held.sweep,
            cross_type: b'N',
            order_state: b'L',
            cl_ord_id: held.cl_ord_id,
        };
        let symbol = held.symbol.0;
        member.ledger.count(Some(symbol), |orders| orders.accepted += 1);
        say(told, user, Outbound::OrderAccepted(&accepted));
    }

    fn replaced(
        &mut self,
        user: UserId,
        at_ns: u64,
        (old, number): (u32, u32),
        (reference, shares): (u64, u32),
        told: &mut Streams,
    ) {
        let timestamp_ns = self.time(at_ns);
        let member = self.member(user);
        member.orders.remove(&old);
        let Some(held) = member.orders.get_mut(&number) else { return };
        held.reference = reference;
        held.open = shares;
        let replaced = OrderReplaced {
            timestamp_ns,
            orig_user_ref_num: U32::new(old),
            user_ref_num: U32::new(number),
            side: held.side,
            quantity: U32::new(shares),
            symbol: held.stock,
            price: held.price,
            time_in_force: held.time_in_force,
            display: held.display,
            order_reference: U64::new(reference),
            capacity: held.capacity,
            intermarket_sweep: held.sweep,
            cross_type: b'N',
            order_state: b'L',
            cl_ord_id: held.cl_ord_id,
        };
        let symbol = held.symbol.0;
        member.ledger.count(Some(symbol), |orders| orders.replaced += 1);
        say(told, user, Outbound::OrderReplaced(&replaced));
    }

    #[allow(clippy::too_many_arguments)]
    fn cancelled(
        &mut self,
        user: UserId,
        at_ns: u64,
        number: u32,
        (shares, open): (u32, u32),
        reason: CancelReason,
        exchange: &Exchange,
        told: &mut Streams,
    ) {
        let Some(held) = self.change(user, number, open, 0) else { return };
        self.member(user)
            .ledger
            .count(Some(held.symbol.0), |orders| orders.shares_cancelled += u64::from(shares));
        let letter = match reason {
            CancelReason::ByOwner if self.modifying == Some((user, number)) => {
                return self.say_modified(user, at_ns, number, told);
            }
            CancelReason::SelfMatch => {
                return self.say_self_match(user, at_ns, number, (&held, shares), exchange, told);
            }
            CancelReason::ByOwner => b'U',
            CancelReason::Immediate => b'I',
            CancelReason::Closed => b'E',
            CancelReason::PriceBand | CancelReason::Disconnected => b'Z',
        };
        let cancelled = OrderCanceled {
            timestamp_ns: self.time(at_ns),
            user_ref_num: U32::new(number),
            quantity: U32::new(shares),
            reason: letter,
        };
        say(told, user, Outbound::OrderCanceled(&cancelled));
    }

    /// §3.5. The other order is the user's own: the one that came last, or the one that it met, which is still the
    /// best of the other side.
    fn say_self_match(
        &mut self,
        user: UserId,
        at_ns: u64,
        number: u32,
        (held, shares): (&Held, u32),
        exchange: &Exchange,
        told: &mut Streams,
    ) {
        let came = self.coming == Some((user, number));
        let (other_open, price) = if came {
            let side = side_of(held.side).opposite();
            let met = exchange.engine().orders(held.symbol, side).next();
            met.map_or((shares, held.price), |met| (met.open, OuchPrice::new(met.price.0.into())))
        } else {
            let coming = self.coming.filter(|&(of, _)| of == user).map(|(_, number)| number);
            let open = coming.and_then(|number| self.member(user).orders.get(&number)).map(|held| held.open);
            (open.unwrap_or(shares), held.price)
        };
        let cancelled = AiqCanceled {
            timestamp_ns: self.time(at_ns),
            user_ref_num: U32::new(number),
            decrement_shares: U32::new(shares),
            reason: b'Q',
            quantity_prevented: U32::new(shares.min(other_open)),
            execution_price: price,
            liquidity_flag: if came { b'R' } else { b'A' },
            aiq_strategy: if came { b'N' } else { b'O' },
        };
        say(told, user, Outbound::AiqCanceled(&cancelled));
    }

    pub(super) fn say_modified(&mut self, user: UserId, at_ns: u64, number: u32, told: &mut Streams) {
        let timestamp_ns = self.time(at_ns);
        let member = self.member(user);
        let Some(held) = member.orders.get(&number) else { return };
        let modified = OrderModified {
            timestamp_ns,
            user_ref_num: U32::new(number),
            side: held.side,
            quantity: U32::new(held.open),
        };
        let symbol = held.symbol.0;
        member.ledger.count(Some(symbol), |orders| orders.modified += 1);
        say(told, user, Outbound::OrderModified(&modified));
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn say_rejected(
        &mut self,
        user: UserId,
        now_ns: u64,
        number: u32,
        symbol: Option<SymbolId>,
        cl_ord_id: [u8; 14],
        reason: u16,
        told: &mut Streams,
    ) {
        let words = reject_reason(reason).unwrap_or("other");
        self.member(user)
            .ledger
            .count(symbol.map(|symbol| symbol.0), |orders| *orders.rejected.entry(words).or_default() += 1);
        let rejected = Rejected {
            timestamp_ns: self.time(now_ns),
            user_ref_num: U32::new(number),
            reason: U16::new(reason),
            cl_ord_id,
        };
        say(told, user, Outbound::Rejected(&rejected));
    }

    pub(super) fn say_next_number(&self, user: UserId, now_ns: u64, next: u32, told: &mut Streams) {
        let response =
            AccountQueryResponse { timestamp_ns: self.time(now_ns), next_user_ref_num: U32::new(next) };
        say(told, user, Outbound::AccountQueryResponse(&response));
    }

    pub(super) fn say_mass_cancel(
        &self,
        user: UserId,
        now_ns: u64,
        request: &MassCancel,
        told: &mut Streams,
    ) {
        let &MassCancel { user_ref_num, firm, symbol } = request;
        let response = MassCancelResponse { timestamp_ns: self.time(now_ns), user_ref_num, firm, symbol };
        say(told, user, Outbound::MassCancelResponse(&response));
    }

    pub(super) fn say_disabled(
        &self,
        user: UserId,
        now_ns: u64,
        number: u32,
        disabled: bool,
        told: &mut Streams,
    ) {
        let (timestamp_ns, user_ref_num) = (self.time(now_ns), U32::new(number));
        let firm = self.members[usize::from(user.0)].firm;
        if disabled {
            let response = DisableOrderEntryResponse { timestamp_ns, user_ref_num, firm };
            say(told, user, Outbound::DisableOrderEntryResponse(&response));
        } else {
            let response = EnableOrderEntryResponse { timestamp_ns, user_ref_num, firm };
            say(told, user, Outbound::EnableOrderEntryResponse(&response));
        }
    }
}

fn say(told: &mut Streams, user: UserId, message: Outbound<'_>) {
    let mut buffer = [0; MESSAGE_BYTES];
    let bytes = message.write(Appendage::ABSENT, &mut buffer).expect("the buffer has room for every message");
    told.push(user, &buffer[..bytes]);
}
