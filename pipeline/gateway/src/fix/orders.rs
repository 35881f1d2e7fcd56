//! Our commands as FIX 4.4 messages: NewOrderSingle (D), OrderCancelReplaceRequest (G), OrderCancelRequest (F) and
//! OrderStatusRequest (H). Decides what can be said, and sends nothing.

use super::message::Body;
use super::values;
use crate::line::{LineError, Outgoing, Target};
use bus::{ORDER_NAME_BYTES_MAX, OrderAction, OrderId, OrderSide, TimeInForce};

/// A message of ours that names an order: what the venue's refusal of it by its number is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// A new order.
    New(OrderId),
    /// A replacement, and what it replaces.
    Replace { id: OrderId, of: OrderId },
    /// A cancel, and what it cancels.
    Cancel { id: OrderId, of: OrderId },
    /// The question how an order stands.
    Status(OrderId),
}

/// MsgType (35) of what names an order so.
impl Named {
    pub(super) fn message_type(self) -> &'static str {
        match self {
            Named::New(_) => "D",
            Named::Replace { .. } => "G",
            Named::Cancel { .. } => "F",
            Named::Status(_) => "H",
        }
    }
}

/// Whether it can be said.
pub(super) fn check(outgoing: &Outgoing) -> Result<(), LineError> {
    let printable = outgoing.symbol.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if outgoing.symbol.is_empty() || !printable {
        return Err(unspeakable("symbol", "FIX needs printable ASCII characters"));
    }
    let price = match &outgoing.action {
        OrderAction::New { price, .. } => *price,
        OrderAction::Replace { price, .. } => Some(*price),
        OrderAction::Cancel { .. } => None,
    };
    if price.is_some_and(|price| !price.is_defined()) {
        return Err(unspeakable("price", "is undefined"));
    }
    match (&outgoing.action, &outgoing.target) {
        (OrderAction::New { .. }, _) | (_, Some(_)) => Ok(()),
        _ => Err(unspeakable("target", "FIX names the order's side, which is not known")),
    }
}

fn unspeakable(what: &'static str, why: &str) -> LineError {
    LineError::Unspeakable { what, why: why.to_owned() }
}

/// The message for an instruction: what it names, and its body.
pub(super) fn order(
    outgoing: &Outgoing,
    account: Option<&str>,
    now_utc_ns: u64,
) -> Result<(Named, Body), LineError> {
    check(outgoing)?;
    let time = values::timestamp(now_utc_ns);
    let id = outgoing.id;
    let head = |of: Option<&Target>| {
        let body = Body::default().with(11, id);
        let body = body.with_some(41, of.map(|of| of.id)).with_some(37, of.and_then(known_order));
        body.with_some(1, account).with(55, &outgoing.symbol)
    };
    match (&outgoing.action, &outgoing.target) {
        (OrderAction::New { side, quantity, price, time_in_force }, _) => {
            let body = head(None).with(54, side_code(*side)).with(60, time).with(38, quantity);
            let body = body.with(40, if price.is_some() { '2' } else { '1' }).with_some(44, *price);
            let body = body.with(59, time_code(*time_in_force)).with(21, '1');
            // LocateReqd (114): the specification wants it said for short sales. What is sold was located before.
            let locate = (*side == OrderSide::SellShort).then_some('N');
            Ok((Named::New(id), body.with_some(114, locate)))
        }
        (OrderAction::Replace { of, quantity, price }, Some(target)) => {
            let body = head(Some(target)).with(54, side_code(target.side)).with(60, time);
            let body = body.with(38, quantity).with(40, '2').with(44, price);
            let body = body.with(59, time_code(target.time_in_force)).with(21, '1');
            let locate = (target.side == OrderSide::SellShort).then_some('N');
            Ok((Named::Replace { id, of: *of }, body.with_some(114, locate)))
        }
        (OrderAction::Cancel { of }, Some(target)) => {
            let body = head(Some(target)).with(54, side_code(target.side)).with(60, time);
            Ok((Named::Cancel { id, of: *of }, body.with(38, target.quantity)))
        }
        (_, None) => Err(unspeakable("target", "FIX names the order's side, which is not known")),
    }
}

/// The question how the order stands that decides the fate of `in_doubt`: the order itself, or the one that a cancel
/// names.
pub(super) fn status(in_doubt: &Outgoing, account: Option<&str>) -> Option<(OrderId, Body)> {
    let (asked, side, venue_order) = match (&in_doubt.action, &in_doubt.target) {
        (OrderAction::New { side, .. }, _) => (in_doubt.id, *side, None),
        // The venue's number is that of the order replaced: the answer to it would be about that.
        (OrderAction::Replace { .. }, Some(target)) => (in_doubt.id, target.side, None),
        (OrderAction::Cancel { of }, Some(target)) => (*of, target.side, known_order(target)),
        (_, None) => return None,
    };
    let body = Body::default().with_some(37, venue_order).with(11, asked).with_some(1, account);
    Some((asked, body.with(55, &in_doubt.symbol).with(54, side_code(side))))
}

/// Stands before the digest in a venue's name that reports could not carry as it is.
pub(super) const DIGEST_MARK: char = '~';

/// OrderID (37), where what we have is the venue's own.
fn known_order(target: &Target) -> Option<&str> {
    let name = &*target.venue_order;
    let shortened = name.len() == ORDER_NAME_BYTES_MAX && name.contains(DIGEST_MARK);
    (!name.is_empty() && !shortened).then_some(name)
}

/// Side (54).
fn side_code(side: OrderSide) -> char {
    match side {
        OrderSide::Buy => '1',
        OrderSide::Sell => '2',
        OrderSide::SellShort => '5',
    }
}

/// TimeInForce (59).
fn time_code(time_in_force: TimeInForce) -> char {
    match time_in_force {
        TimeInForce::Day => '0',
        TimeInForce::ImmediateOrCancel => '3',
    }
}
