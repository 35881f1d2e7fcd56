//! OUCH 5.0 on one side, the exchange on the other: what each message of a user comes to. Section numbers (§) are
//! those of the OUCH specification.
//!
//! Owns what the protocol needs beyond the exchange's rules: the users' numbers, their live orders by number, and
//! the ledgers. What is said to the users is in `desk_reports`.
//!
//! Invariants: a number at or below the last one used does nothing; an order is in `orders` while it has open shares
//! and no longer; what was executed in a chain of replacements is counted on the order that lives.

use super::User;
use super::ledger::Ledger;
use super::server::{Application, UserId};
use super::stream::Streams;
use crate::exchange::{
    CancelReason, Exchange, NewOrder, OrderKind, Owner, Price, RejectReason, Replacement, SHARES_MAX,
    SessionId, Side, SymbolId,
};
use std::collections::{BTreeMap, HashMap};
use wire::ouch50::{
    Appendage, CancelOrder, EnterOrder, Inbound, MassCancel, ModifyOrder, Price as OuchPrice, ReplaceOrder,
    Tag,
};

/// Bytes of a user's sequenced messages after which no more orders are taken from it: about 4 million messages.
/// Executions and cancels of what is open are still told.
const STREAM_BYTES_MAX: u64 = 512 << 20;

/// OUCH's reasons for a refusal (appendix D), of those that are given here.
pub(super) mod refusal {
    pub(in super::super) const DESTINATION_CLOSED: u16 = 0x0002;
    pub(in super::super) const DISPLAY: u16 = 0x0003;
    pub(in super::super) const MAX_FLOOR: u16 = 0x0004;
    pub(in super::super) const HALTED: u16 = 0x0007;
    pub(in super::super) const SIDE: u16 = 0x0009;
    pub(in super::super) const PROCESSING: u16 = 0x000A;
    pub(in super::super) const FIRM: u16 = 0x000C;
    pub(in super::super) const MIN_QUANTITY: u16 = 0x000D;
    pub(in super::super) const OTHER: u16 = 0x000F;
    pub(in super::super) const PEGGING: u16 = 0x0011;
    pub(in super::super) const QUANTITY: u16 = 0x0013;
    pub(in super::super) const CROSS: u16 = 0x0014;
    pub(in super::super) const ROUTING: u16 = 0x0016;
    pub(in super::super) const SYMBOL: u16 = 0x0017;
    pub(in super::super) const PRICE: u16 = 0x001D;
}

/// An order that lives, as its user named and entered it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) symbol: SymbolId,
    pub(super) stock: [u8; 8],
    /// OUCH's letter: a short sale is a sale.
    pub(super) side: u8,
    pub(super) price: OuchPrice,
    pub(super) time_in_force: u8,
    pub(super) display: u8,
    pub(super) capacity: u8,
    pub(super) sweep: u8,
    pub(super) cl_ord_id: [u8; 14],
    pub(super) group: u16,
    /// The exchange's name for it; 0 before it said.
    pub(super) reference: u64,
    /// Executed by it and by the orders that it replaced.
    pub(super) executed: u32,
    pub(super) open: u32,
}

/// What a user is and has.
pub(super) struct Member {
    pub(super) firm: [u8; 4],
    cancel_on_disconnect: bool,
    /// The highest number used.
    last_number: u32,
    disabled: bool,
    pub(super) orders: HashMap<u32, Held>,
    pub(super) ledger: Ledger,
}

/// The users' orders.
pub struct Desk {
    pub(super) members: Vec<Member>,
    pub(super) begin_of_day_ns: u64,
    pub(super) last_report_ns: u64,
    /// The order that a Modify message is about, while it is dealt with.
    pub(super) modifying: Option<(UserId, u32)>,
    /// The order that came last, while its reports are told.
    pub(super) coming: Option<(UserId, u32)>,
}

/// A message that was read and is not to be dealt with: why.
type Ignored = &'static str;

impl Desk {
    /// A desk for these users, in the order in which the [`super::Server`] has them. Times in messages count from
    /// midnight, which is `begin_of_day_ns` before the session's begin.
    pub fn new(users: &[User], begin_of_day_ns: u64) -> Desk {
        let member = |user: &User| Member {
            firm: user.firm,
            cancel_on_disconnect: user.cancel_on_disconnect,
            last_number: 0,
            disabled: false,
            orders: HashMap::new(),
            ledger: Ledger::default(),
        };
        let members = users.iter().map(member).collect();
        Desk { members, begin_of_day_ns, last_report_ns: 0, modifying: None, coming: None }
    }

    /// What a user did. It must be one of those that the desk was made with.
    pub fn ledger(&self, user: UserId) -> &Ledger {
        &self.members[usize::from(user.0)].ledger
    }

    /// The lowest number that a user has not used, as its account query is answered.
    pub fn next_number(&self, user: UserId) -> u32 {
        self.members[usize::from(user.0)].last_number.saturating_add(1)
    }

    /// How many orders of a user live.
    pub fn open_orders(&self, user: UserId) -> usize {
        self.members[usize::from(user.0)].orders.len()
    }

    pub(super) fn member(&mut self, user: UserId) -> &mut Member {
        &mut self.members[usize::from(user.0)]
    }
}

/// The desk with all that it needs to deal with a message at one moment.
pub struct Floor<'a> {
    /// The users' orders.
    pub desk: &'a mut Desk,
    /// Where they trade.
    pub exchange: &'a mut Exchange,
    /// The time, ns since the session's begin.
    pub now_ns: u64,
}

impl Application for Floor<'_> {
    fn message(&mut self, user: UserId, message: &[u8], told: &mut Streams) {
        // What happened before this message is told before its answer, and is in what it is checked against.
        self.exchange.advance(self.now_ns);
        self.desk.tell(self.exchange, told);
        let full = told.of(user).is_none_or(|stream| stream.bytes() >= STREAM_BYTES_MAX);
        let outcome = match Inbound::parse(message) {
            Ok((Inbound::EnterOrder(_) | Inbound::ReplaceOrder(_), _)) if full => Err("too many messages"),
            Ok((Inbound::EnterOrder(order), more)) => self.enter(user, order, &more, told),
            Ok((Inbound::ReplaceOrder(order), more)) => self.replace(user, order, &more, told),
            Ok((Inbound::CancelOrder(order), _)) => self.cancel(user, order),
            Ok((Inbound::ModifyOrder(order), _)) => self.modify(user, order, told),
            Ok((Inbound::MassCancel(request), more)) => self.mass_cancel(user, request, &more, told),
            Ok((Inbound::DisableOrderEntry(request), _)) => {
                self.set_disabled(user, request.user_ref_num.get(), request.firm, true, told)
            }
            Ok((Inbound::EnableOrderEntry(request), _)) => {
                self.set_disabled(user, request.user_ref_num.get(), request.firm, false, told)
            }
            Ok((Inbound::AccountQuery(_), _)) => {
                let next = self.desk.next_number(user);
                self.desk.say_next_number(user, self.now_ns, next, told);
                Ok(())
            }
            Err(_) => Err("malformed"),
        };
        if let Err(reason) = outcome {
            self.desk.member(user).ledger.ignore(reason);
        }
        self.desk.tell(self.exchange, told);
        (self.desk.modifying, self.desk.coming) = (None, None);
    }

    fn disconnected(&mut self, user: UserId, told: &mut Streams) {
        if self.desk.member(user).cancel_on_disconnect {
            self.exchange.cancel_all(self.now_ns, session_of(user), CancelReason::Disconnected);
            self.desk.tell(self.exchange, told);
        }
    }
}

impl Floor<'_> {
    /// Takes a number for good. One that is not above the last is a message that was sent again (§1.2).
    fn use_number(&mut self, user: UserId, number: u32) -> Result<(), Ignored> {
        let member = self.desk.member(user);
        if number <= member.last_number {
            member.ledger.user_ref_nums_repeated += 1;
            return Err("user reference number not above the last");
        }
        member.last_number = number;
        Ok(())
    }

    /// §2.1.
    fn enter(
        &mut self,
        user: UserId,
        order: &EnterOrder,
        more: &Appendage<'_>,
        told: &mut Streams,
    ) -> Result<(), Ignored> {
        let number = order.user_ref_num.get();
        self.desk.member(user).ledger.note_cl_ord_id(order.cl_ord_id);
        if numbered_elsewhere(more) {
            return Err("user reference index");
        }
        self.use_number(user, number)?;
        let symbol = self.exchange.engine().find(order.symbol);
        let member = self.desk.member(user);
        member.ledger.count(symbol.map(|symbol| symbol.0), |orders| orders.entered += 1);
        let checked = symbol.ok_or(refusal::SYMBOL).and_then(|symbol| {
            if member.disabled {
                return Err(refusal::FIRM);
            }
            let kind = check_enter(order, more, member.firm)?;
            Ok((symbol, kind))
        });
        let (symbol, kind) = match checked {
            Ok(checked) => checked,
            Err(reason) => {
                self.refuse(user, number, symbol, order.cl_ord_id, reason, told);
                return Ok(());
            }
        };
        let shares = order.quantity.get();
        member.orders.insert(
            number,
            Held {
                symbol,
                stock: order.symbol,
                side: order.side,
                price: order.price,
                time_in_force: order.time_in_force,
                display: order.display,
                capacity: order.capacity,
                sweep: order.intermarket_sweep,
                cl_ord_id: order.cl_ord_id,
                group: more.group_id().unwrap_or(0),
                reference: 0,
                executed: 0,
                open: shares,
            },
        );
        let owner = owner_of(user);
        let side = side_of(order.side);
        let new = NewOrder { owner, token: number.into(), symbol, side, shares, kind };
        self.desk.coming = Some((user, number));
        if let Err(reason) = self.exchange.enter(self.now_ns, &new) {
            self.desk.member(user).orders.remove(&number);
            self.refuse(user, number, Some(symbol), order.cl_ord_id, refusal_of(reason), told);
        }
        Ok(())
    }

    /// §2.2, with its outcomes: nothing, the order is cancelled, the replacement is refused, it is replaced.
    fn replace(
        &mut self,
        user: UserId,
        wanted: &ReplaceOrder,
        more: &Appendage<'_>,
        told: &mut Streams,
    ) -> Result<(), Ignored> {
        let (old, number) = (wanted.orig_user_ref_num.get(), wanted.user_ref_num.get());
        let member = self.desk.member(user);
        member.ledger.note_cl_ord_id(wanted.cl_ord_id);
        if numbered_elsewhere(more) {
            return Err("user reference index");
        }
        if number <= member.last_number {
            member.ledger.user_ref_nums_repeated += 1;
            return Err("user reference number not above the last");
        }
        let held = *member.orders.get(&old).ok_or("replacement of an order that does not live")?;
        if member.disabled {
            member.last_number = number;
            self.refuse(user, number, Some(held.symbol), wanted.cl_ord_id, refusal::FIRM, told);
            return Ok(());
        }
        let Some((shares, price)) = check_replace(wanted, more, &held) else {
            return self.cancel_for_invalid(user, old, &held);
        };
        member.orders.insert(
            number,
            Held {
                price: wanted.price,
                time_in_force: wanted.time_in_force,
                display: wanted.display,
                sweep: wanted.intermarket_sweep,
                cl_ord_id: wanted.cl_ord_id,
                reference: 0,
                open: shares,
                ..held
            },
        );
        let replacement = Replacement {
            owner: owner_of(user),
            reference: held.reference,
            token: number.into(),
            shares,
            price,
        };
        self.desk.coming = Some((user, number));
        match self.exchange.replace(self.now_ns, &replacement) {
            Ok(_) => self.desk.member(user).last_number = number,
            Err(reason) => {
                self.desk.member(user).orders.remove(&number);
                if !matches!(reason, RejectReason::Halted | RejectReason::Closed) {
                    return self.cancel_for_invalid(user, old, &held);
                }
                self.desk.member(user).last_number = number;
                self.refuse(user, number, Some(held.symbol), wanted.cl_ord_id, refusal_of(reason), told);
            }
        }
        Ok(())
    }

    /// A replacement that cannot be takes the order out of the book; its own number is as if never sent (§2.2).
    fn cancel_for_invalid(&mut self, user: UserId, old: u32, held: &Held) -> Result<(), Ignored> {
        debug_assert!(self.desk.member(user).orders.contains_key(&old));
        let _ = self.exchange.cancel(self.now_ns, owner_of(user), held.reference, 0);
        Err("invalid replacement: its order is cancelled")
    }

    /// §2.3. There is no "too late": who asks for nothing gets no answer.
    fn cancel(&mut self, user: UserId, order: &CancelOrder) -> Result<(), Ignored> {
        let member = self.desk.member(user);
        let number = order.user_ref_num.get();
        let held = *member.orders.get(&number).ok_or("cancel of an order that does not live")?;
        // Shares in all, those executed included: fewer than were executed leaves nothing.
        let leave = order.quantity.get().saturating_sub(held.executed);
        let cancelled = self.exchange.cancel(self.now_ns, owner_of(user), held.reference, leave);
        cancelled.map(drop).map_err(|_| "cancel of nothing")
    }

    /// §2.4: another kind of sale, or fewer shares in place.
    fn modify(&mut self, user: UserId, order: &ModifyOrder, told: &mut Streams) -> Result<(), Ignored> {
        let number = order.user_ref_num.get();
        let held = *self
            .desk
            .member(user)
            .orders
            .get(&number)
            .ok_or("modification of an order that does not live")?;
        if !matches!(order.side, b'B' | b'S' | b'T' | b'E') || side_of(order.side) != side_of(held.side) {
            return Err("modification to the other side");
        }
        let leave = order.quantity.get().saturating_sub(held.executed);
        if leave > held.open {
            return Err("modification to more shares");
        }
        if leave == held.open && order.side == held.side {
            return Err("modification of nothing");
        }
        if leave < held.open {
            self.desk.modifying = Some((user, number)).filter(|_| leave > 0);
            let done = self.exchange.cancel(self.now_ns, owner_of(user), held.reference, leave);
            done.map_err(|_| "modification to a part of a lot")?;
        }
        if let Some(now) = self.desk.member(user).orders.get_mut(&number) {
            now.side = order.side;
        }
        if leave == held.open {
            self.desk.say_modified(user, self.now_ns, number, told);
        }
        Ok(())
    }

    /// §2.5: of this user's own orders.
    fn mass_cancel(
        &mut self,
        user: UserId,
        request: &MassCancel,
        more: &Appendage<'_>,
        told: &mut Streams,
    ) -> Result<(), Ignored> {
        let number = request.user_ref_num.get();
        if numbered_elsewhere(more) {
            return Err("user reference index");
        }
        self.use_number(user, number)?;
        let all = request.symbol.trim_ascii().is_empty();
        let symbol = self.exchange.engine().find(request.symbol);
        let member = self.desk.member(user);
        let reason = if request.firm != member.firm {
            Some(refusal::FIRM)
        } else if !all && symbol.is_none() {
            Some(refusal::SYMBOL)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.refuse(user, number, symbol, [b' '; 14], reason, told);
            return Ok(());
        }
        let wanted = |held: &Held| {
            (all || Some(held.symbol) == symbol)
                && more.side().is_none_or(|side| side == held.side)
                && more.group_id().is_none_or(|group| group == held.group)
        };
        let orders: BTreeMap<u32, u64> = member
            .orders
            .iter()
            .filter(|(_, held)| wanted(held))
            .map(|(&number, held)| (number, held.reference))
            .collect();
        self.desk.say_mass_cancel(user, self.now_ns, request, told);
        for reference in orders.into_values() {
            let _ = self.exchange.cancel(self.now_ns, owner_of(user), reference, 0);
        }
        Ok(())
    }

    /// §2.6, §2.7.
    fn set_disabled(
        &mut self,
        user: UserId,
        number: u32,
        firm: [u8; 4],
        disabled: bool,
        told: &mut Streams,
    ) -> Result<(), Ignored> {
        self.use_number(user, number)?;
        let member = self.desk.member(user);
        if firm != member.firm {
            self.refuse(user, number, None, [b' '; 14], refusal::FIRM, told);
            return Ok(());
        }
        member.disabled = disabled;
        self.desk.say_disabled(user, self.now_ns, number, disabled, told);
        Ok(())
    }

    fn refuse(
        &mut self,
        user: UserId,
        number: u32,
        symbol: Option<SymbolId>,
        cl_ord_id: [u8; 14],
        reason: u16,
        told: &mut Streams,
    ) {
        self.desk.tell(self.exchange, told);
        self.desk.say_rejected(user, self.now_ns, number, symbol, cl_ord_id, reason, told);
    }
}

/// Whether the number is of another count than the only one that is kept here (tag UserRefIdx).
fn numbered_elsewhere(more: &Appendage<'_>) -> bool {
    more.user_ref_idx().is_some_and(|index| index != 0)
}

/// What of a new order the exchange does not have is refused; it would trade otherwise than its user thinks.
fn check_enter(order: &EnterOrder, more: &Appendage<'_>, firm: [u8; 4]) -> Result<OrderKind, u16> {
    if !matches!(order.side, b'B' | b'S' | b'T' | b'E') {
        return Err(refusal::SIDE);
    }
    if !(1..=SHARES_MAX).contains(&order.quantity.get()) {
        return Err(refusal::QUANTITY);
    }
    let price = limit_of(order.price).ok_or(refusal::PRICE)?;
    let kind = match (order.time_in_force, price) {
        (b'0' | b'3', None) => OrderKind::Market,
        (b'0', Some(price)) => OrderKind::Day(price),
        (b'3', Some(price)) => OrderKind::Ioc(price),
        _ => return Err(refusal::OTHER),
    };
    if !matches!(order.display, b'Y' | b'A') {
        return Err(refusal::DISPLAY);
    }
    if !matches!(order.capacity, b'A' | b'P' | b'R' | b'O') || !matches!(order.intermarket_sweep, b'Y' | b'N')
    {
        return Err(refusal::OTHER);
    }
    if order.cross_type != b'N' {
        return Err(refusal::CROSS);
    }
    check_options(more, firm)?;
    Ok(kind)
}

/// Optional fields that would change how an order trades are refused; those that do not are carried without effect.
fn check_options(more: &Appendage<'_>, firm: [u8; 4]) -> Result<(), u16> {
    for tag in more.tags() {
        match tag {
            Tag::Firm(of) if of != firm && !of.trim_ascii().is_empty() => return Err(refusal::FIRM),
            Tag::MinQty(1..) => return Err(refusal::MIN_QUANTITY),
            Tag::MaxFloor(1..) | Tag::RandomReserves(1..) => return Err(refusal::MAX_FLOOR),
            Tag::PriceType(kind) if kind != b'L' => return Err(refusal::PEGGING),
            Tag::PegOffset(_)
            | Tag::DiscretionPrice(_)
            | Tag::DiscretionPriceType(_)
            | Tag::DiscretionPegOffset(_) => return Err(refusal::PEGGING),
            Tag::PostOnly(b'P') | Tag::ExpireTime(_) => return Err(refusal::OTHER),
            Tag::HandleInst(handling) if handling != b' ' => return Err(refusal::OTHER),
            Tag::Route(_) => return Err(refusal::ROUTING),
            _ => {}
        }
    }
    Ok(())
}

/// The open shares and the limit of a replacement; `None` when it is invalid. It is a limit order for the day.
fn check_replace(wanted: &ReplaceOrder, more: &Appendage<'_>, held: &Held) -> Option<(u32, Price)> {
    let quantity = wanted.quantity.get();
    let valid = (1..=SHARES_MAX).contains(&quantity)
        && wanted.time_in_force == b'0'
        && matches!(wanted.display, b'Y' | b'A')
        && matches!(wanted.intermarket_sweep, b'Y' | b'N')
        && check_options(more, *b"    ").is_ok();
    let shares = quantity.checked_sub(held.executed).filter(|&shares| valid && shares > 0)?;
    Some((shares, limit_of(wanted.price)??))
}

/// The limit, or that there is none; `None` for a price that is neither.
fn limit_of(price: OuchPrice) -> Option<Option<Price>> {
    if price == OuchPrice::MARKET {
        return Some(None);
    }
    let units = u32::try_from(price.units()).ok()?;
    (1..=Price::MAX.0).contains(&units).then_some(Some(Price(units)))
}

pub(super) fn side_of(letter: u8) -> Side {
    if letter == b'B' { Side::Buy } else { Side::Sell }
}

fn session_of(user: UserId) -> SessionId {
    SessionId(user.0.into())
}

fn owner_of(user: UserId) -> Owner {
    Owner::Session(session_of(user))
}

fn refusal_of(reason: RejectReason) -> u16 {
    match reason {
        RejectReason::UnknownSymbol => refusal::SYMBOL,
        RejectReason::NotOpen | RejectReason::Closed => refusal::DESTINATION_CLOSED,
        RejectReason::Halted => refusal::HALTED,
        RejectReason::ZeroShares | RejectReason::TooManyShares | RejectReason::NotWholeLots => {
            refusal::QUANTITY
        }
        RejectReason::PriceOutOfRange | RejectReason::NotWholeTicks | RejectReason::OutsideBand => {
            refusal::PRICE
        }
        RejectReason::BookFull => refusal::PROCESSING,
        RejectReason::UnknownOrder | RejectReason::NothingToCancel => refusal::OTHER,
    }
}
