//! An instruction as an OUCH message in its SoupBinTCP packet.

use super::settings::Settings;
use crate::line::{LineError, Outgoing, Target, WireRef};
use bus::{OrderAction, OrderId, OrderSide, Quantity, TimeInForce};
use tick::Price;
use wire::ouch50::{
    Appendage, AppendageWriter, CancelOrder, EnterOrder, Inbound, Price as OuchPrice, ReplaceOrder, Tag,
};
use wire::soupbintcp::{Packet, right_padded};

/// The most shares of an order (§2.1): below 1,000,000.
const SHARES_MAX: Quantity = 999_999;
/// Room for the longest packet that is written here: a new order with a firm has 56 bytes.
pub(super) const PACKET_BYTES_MAX: usize = 96;

fn unspeakable(what: &'static str, why: impl Into<String>) -> LineError {
    LineError::Unspeakable { what, why: why.into() }
}

/// Writes the packet that says `outgoing` to the front of `buffer` and gives its length.
///
/// # Errors
/// [`LineError::Unspeakable`], with the field that OUCH cannot say.
pub(super) fn outgoing(
    settings: &Settings,
    outgoing: &Outgoing,
    buffer: &mut [u8; PACKET_BYTES_MAX],
) -> Result<usize, LineError> {
    match &outgoing.action {
        OrderAction::New { side, quantity, price, time_in_force } => {
            let order = EnterOrder {
                user_ref_num: reference(outgoing.wire_ref)?.into(),
                side: match side {
                    OrderSide::Buy => b'B',
                    OrderSide::Sell => b'S',
                    OrderSide::SellShort => b'T',
                },
                quantity: shares(*quantity)?.into(),
                symbol: symbol(&outgoing.symbol)?,
                price: price.map_or(Ok(OuchPrice::MARKET), limit)?,
                time_in_force: time_in_force_of(*time_in_force),
                display: b'Y',
                capacity: b'P',
                intermarket_sweep: b'N',
                cross_type: b'N',
                cl_ord_id: cl_ord_id(outgoing.id),
            };
            let mut memory = [0; 8];
            let mut options = AppendageWriter::new(&mut memory);
            if let Some(firm) = settings.firm {
                options.push(Tag::Firm(firm)).map_err(|error| unspeakable("firm", error.to_string()))?;
            }
            packet(&Inbound::EnterOrder(&order), options.finish(), buffer)
        }
        OrderAction::Replace { quantity, price, .. } => {
            let target = target(outgoing)?;
            let order = ReplaceOrder {
                orig_user_ref_num: reference(target.wire_ref)?.into(),
                user_ref_num: reference(outgoing.wire_ref)?.into(),
                quantity: shares(*quantity)?.into(),
                price: limit(*price)?,
                time_in_force: time_in_force_of(target.time_in_force),
                display: b'Y',
                intermarket_sweep: b'N',
                cl_ord_id: cl_ord_id(outgoing.id),
            };
            packet(&Inbound::ReplaceOrder(&order), Appendage::EMPTY, buffer)
        }
        OrderAction::Cancel { .. } => cancel(target(outgoing)?.wire_ref, buffer),
    }
}

/// Writes the packet that cancels all that is left of an order. Benign when nothing is (§2.3).
///
/// # Errors
/// [`LineError::Unspeakable`] without a reference.
pub(super) fn cancel(order: WireRef, buffer: &mut [u8; PACKET_BYTES_MAX]) -> Result<usize, LineError> {
    let order = CancelOrder { user_ref_num: reference(order)?.into(), quantity: 0.into() };
    packet(&Inbound::CancelOrder(&order), Appendage::ABSENT, buffer)
}

/// Frames a message.
pub(super) fn packet(
    message: &Inbound<'_>,
    appendage: Appendage<'_>,
    buffer: &mut [u8; PACKET_BYTES_MAX],
) -> Result<usize, LineError> {
    let mut body = [0; PACKET_BYTES_MAX];
    let length =
        message.write(appendage, &mut body).map_err(|error| unspeakable("message", error.to_string()))?;
    Packet::UnsequencedData(&body[..length])
        .write(buffer)
        .map_err(|error| unspeakable("message", error.to_string()))
}

fn reference(wire_ref: WireRef) -> Result<WireRef, LineError> {
    match wire_ref {
        0 => Err(unspeakable("reference", "the order has no UserRefNum")),
        // The last is given out again and again, see `Session::assign`.
        WireRef::MAX => Err(unspeakable("reference", "the UserRefNums of the day are used up")),
        wire_ref => Ok(wire_ref),
    }
}

fn target(outgoing: &Outgoing) -> Result<&Target, LineError> {
    outgoing.target.as_ref().ok_or_else(|| unspeakable("of", "the order that it names is not known"))
}

fn shares(quantity: Quantity) -> Result<u32, LineError> {
    if !(1..=SHARES_MAX).contains(&quantity) {
        return Err(unspeakable("quantity", format!("is {quantity}; an order has 1 to {SHARES_MAX} shares")));
    }
    Ok(quantity as u32)
}

fn symbol(symbol: &str) -> Result<[u8; 8], LineError> {
    right_padded(symbol)
        .filter(|_| !symbol.is_empty() && symbol.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| unspeakable("symbol", format!("is {symbol:?}; a symbol has 1 to 8 characters")))
}

/// The limit in units of 0.0001; one between two units is never rounded.
fn limit(price: Price) -> Result<OuchPrice, LineError> {
    OuchPrice::from_nanos(price.0)
        .filter(|limit| (1..=OuchPrice::MAX_LIMIT.units()).contains(&limit.units()))
        .ok_or_else(|| {
            let why = format!("is {price}; a limit is a multiple of 0.0001, above 0 and at most 199999.99");
            unspeakable("price", why)
        })
}

const fn time_in_force_of(time_in_force: TimeInForce) -> u8 {
    match time_in_force {
        TimeInForce::Day => b'0',
        TimeInForce::ImmediateOrCancel => b'3',
    }
}

/// An id has at most 14 bytes, and so has the field.
fn cl_ord_id(id: OrderId) -> [u8; 14] {
    right_padded(id.as_str()).unwrap_or([b' '; 14])
}
