//! What an OUCH message says about an order.

use crate::line::{OrderName, Told, What};
use tick::Price;
use wire::ouch50::{Outbound, Price as OuchPrice, cancel_reason, reject_reason};

/// Where a message stands, and when the day began that its time counts from.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its number in the venue's session.
    pub(super) number: u64,
    /// Midnight in New York, ns since the epoch.
    pub(super) midnight_ns: u64,
}

/// A price that no order has here.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("price {0:?} is above any that can be")]
pub(super) struct PriceTooHigh(OuchPrice);

/// What is told of a message: `None` where it changes neither what is open nor what was traded: system events, cancels
/// that wait for a cross, a new place in the queue, a new displayed size, answers to requests about the account.
///
/// # Errors
/// A price that does not fit.
pub(super) fn told(message: &Outbound<'_>, place: Place) -> Result<Option<Told>, PriceTooHigh> {
    let (wire_ref, timestamp_ns, what) = match message {
        Outbound::OrderAccepted(accepted) => {
            let what = What::Accepted {
                venue_order: accepted.order_reference.get().to_string(),
                leaves: leaves(accepted.quantity.get(), accepted.order_state),
            };
            (accepted.user_ref_num, accepted.timestamp_ns, what)
        }
        Outbound::OrderReplaced(replaced) => {
            let what = What::Replaced {
                venue_order: replaced.order_reference.get().to_string(),
                quantity: None,
                leaves: leaves(replaced.quantity.get(), replaced.order_state),
                price: Some(replaced.price)
                    .filter(|price| *price != OuchPrice::MARKET)
                    .map(price)
                    .transpose()?,
            };
            (replaced.user_ref_num, replaced.timestamp_ns, what)
        }
        Outbound::OrderCanceled(cancelled) => {
            let reason = word(cancel_reason(cancelled.reason), "cancel", u16::from(cancelled.reason));
            let what = What::Cancelled { quantity: Some(cancelled.quantity.get().into()), reason, by: None };
            (cancelled.user_ref_num, cancelled.timestamp_ns, what)
        }
        Outbound::AiqCanceled(cancelled) => {
            let reason = word(cancel_reason(b'Q'), "cancel", u16::from(b'Q'));
            let quantity = Some(cancelled.decrement_shares.get().into());
            let what = What::Cancelled { quantity, reason, by: None };
            (cancelled.user_ref_num, cancelled.timestamp_ns, what)
        }
        Outbound::OrderExecuted(executed) => {
            let what = What::Filled {
                quantity: executed.quantity.get().into(),
                price: price(executed.price)?,
                execution: executed.match_number.get().to_string(),
            };
            (executed.user_ref_num, executed.timestamp_ns, what)
        }
        Outbound::BrokenTrade(broken) => {
            let execution = broken.match_number.get().to_string();
            let what = What::Broken { execution, quantity: None, price: None };
            (broken.user_ref_num, broken.timestamp_ns, what)
        }
        // §2.2: a replacement that is rejected leaves the original as it was. One that is invalid is not rejected: the
        // original is cancelled, and of the replacement nothing is said.
        Outbound::Rejected(rejected) => {
            let (code, text) = (rejected.reason.get(), reject_reason(rejected.reason.get()));
            let what = What::Rejected {
                reason: word(text, "reject", code),
                text: text.map_or_else(|| format!("reason {code:#06x}"), str::to_owned),
                original_lives: true,
            };
            (rejected.user_ref_num, rejected.timestamp_ns, what)
        }
        Outbound::CancelReject(rejected) => {
            let what = What::CancelRejected { by: None, reason: "cross".to_owned() };
            (rejected.user_ref_num, rejected.timestamp_ns, what)
        }
        Outbound::OrderModified(_)
        | Outbound::OrderPriorityUpdate(_)
        | Outbound::OrderRestated(_)
        | Outbound::CancelPending(_)
        | Outbound::SystemEvent(_)
        | Outbound::MassCancelResponse(_)
        | Outbound::DisableOrderEntryResponse(_)
        | Outbound::EnableOrderEntryResponse(_)
        | Outbound::AccountQueryResponse(_) => return Ok(None),
    };
    Ok(Some(Told {
        number: place.number,
        order: OrderName::Wire(wire_ref.get()),
        what,
        venue_time_ns: place.midnight_ns.saturating_add(timestamp_ns.get()),
    }))
}

/// Open shares of an order that was taken: none when it is dead already.
fn leaves(shares: u32, order_state: u8) -> u64 {
    if order_state == b'D' { 0 } else { shares.into() }
}

fn price(price: OuchPrice) -> Result<Price, PriceTooHigh> {
    price.nanos().map(Price).ok_or(PriceTooHigh(price))
}

/// A reason as one word; a code that the revision does not list is shown as it is.
fn word(known: Option<&str>, kind: &str, code: u16) -> String {
    let Some(text) = known else { return format!("{kind}_{code:#06x}") };
    let mut word = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            word.push(character);
        } else if !word.ends_with('_') {
            word.push('_');
        }
    }
    word
}
