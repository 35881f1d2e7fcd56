//! What the venue says about orders, from FIX 4.4: ExecutionReport (8), OrderCancelReject (9), BusinessMessageReject (j)
//! and Reject (3), as [`Told`]. Knows which of our messages had which number, and whose fate was asked for; knows
//! nothing of sessions.
//!
//! A field that is needed and cannot be read makes the message a fault, which the session answers with a Reject; what
//! only would be nice to know is left out.

use super::message::{Fault, Message, RejectReason};
use super::orders::{self, Named};
use super::values;
use crate::line::{OrderName, Outgoing, Told, What};
use bus::{ORDER_NAME_BYTES_MAX, OrderAction, OrderId};
use std::collections::{HashMap, VecDeque};

/// Messages of ours whose numbers are remembered: those that a venue may still refuse by number alone.
const SENT_MAX: usize = 16_384;

/// What a message came to.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Read {
    /// What it tells; nothing when it only says that something is on its way.
    Told(Vec<Told>),
    /// It is about nothing of ours, and why.
    Foreign(String),
}

/// Whose fate hangs on how an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doubt {
    /// The order's own.
    Order,
    /// A cancel's of it.
    Cancel(OrderId),
}

/// Reads reports of one session.
#[derive(Default)]
pub(super) struct Reports {
    sent: VecDeque<(u64, Named)>,
    in_doubt: HashMap<OrderId, Vec<Doubt>>,
}

impl Reports {
    /// Remembers what was sent under this number.
    pub(super) fn sent(&mut self, number: u64, named: Named) {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((number, named));
    }

    /// Whether an order, a replacement or a cancel had one of these numbers.
    pub(super) fn has_order(&self, first: u64, last: u64) -> bool {
        let is_order = |named: &Named| !matches!(named, Named::Status(_));
        self.sent.iter().any(|(number, named)| (first..=last).contains(number) && is_order(named))
    }

    /// Remembers that an answer about `asked` decides the fate of `in_doubt`.
    pub(super) fn ask(&mut self, asked: OrderId, in_doubt: &Outgoing) {
        let doubt = match in_doubt.action {
            OrderAction::Cancel { .. } => Doubt::Cancel(in_doubt.id),
            _ => Doubt::Order,
        };
        let doubts = self.in_doubt.entry(asked).or_default();
        if !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    }

    /// Forgets all questions: they are asked again after the next logon.
    pub(super) fn forget_questions(&mut self) {
        self.in_doubt.clear();
    }

    /// Reads an ExecutionReport (8).
    ///
    /// # Errors
    /// A field that is needed is missing or cannot be read.
    pub(super) fn execution(&mut self, message: &Message, number: u64) -> Result<Read, Fault> {
        let kind = message.must(150)?;
        let status = message.must(39)?;
        let Some(id) = order_id(message, 11)? else { return Ok(foreign(message, 11)) };
        let told = |what| vec![Told { number, order: OrderName::Id(id), what, venue_time_ns: time(message) }];
        let said = match kind {
            "0" => {
                told(What::Accepted { venue_order: venue_order(message)?, leaves: quantity(message, 151)? })
            }
            "F" | "1" | "2" => told(filled(message)?),
            "4" => return Ok(Read::Told(cancelled(message, number, id)?)),
            "C" | "3" => {
                let reason = if kind == "C" { "expired" } else { "done_for_day" };
                told(What::Cancelled { quantity: None, reason: reason.to_owned(), by: None })
            }
            "5" => told(What::Replaced {
                venue_order: venue_order(message)?,
                quantity: message.read(38, values::parse_quantity)?,
                leaves: quantity(message, 151)?,
                price: message.read(44, values::parse_price)?,
            }),
            "8" => told(rejected(message)),
            "H" => told(broken(message)?),
            "G" => {
                // Two in one message: only the last has the number, so that neither is taken for known when the other was.
                let mut both = told(broken(message)?);
                both[0].number = 0;
                both.extend(told(filled(message)?));
                both
            }
            "D" => told(stands(message)?),
            "I" => self.answer(message, status, id, told)?,
            // On its way, or about what does not change an order here: pending (A, E, 6), stopped, suspended, calculated,
            // triggered.
            "A" | "E" | "6" | "7" | "9" | "B" | "L" => Vec::new(),
            _ => return Err(Fault { tag: 150, reason: RejectReason::Value }),
        };
        Ok(Read::Told(said))
    }

    /// The answer to a status request (ExecType I).
    fn answer(
        &mut self,
        message: &Message,
        status: &str,
        asked: OrderId,
        told: impl Fn(What) -> Vec<Told>,
    ) -> Result<Vec<Told>, Fault> {
        // OrdRejReason 5: unknown order.
        let unknown = status == "8" && message.word(103) == "5";
        let standing = (!unknown && status != "8").then(|| stands(message)).transpose()?;
        let doubts = self.in_doubt.remove(&asked).unwrap_or_default();
        if unknown {
            return Ok(never_arrived(asked, &doubts, told));
        }
        let Some(standing) = standing else { return Ok(told(rejected(message))) };
        let open = matches!(&standing, What::Stands { leaves, .. } if *leaves > 0);
        let mut said = told(standing);
        // The venue takes messages in their order: what stands open was not cancelled by what was sent before the question.
        for doubt in doubts {
            if let (Doubt::Cancel(cancel), true) = (doubt, open) {
                said[0].number = 0;
                said.extend(told(What::NeverArrived).into_iter().map(|told| named(told, cancel)));
            }
        }
        number_last(&mut said);
        Ok(said)
    }

    /// Reads an OrderCancelReject (9), of a cancel or of a replacement.
    ///
    /// # Errors
    /// A field that is needed is missing or cannot be read.
    pub(super) fn cancel_reject(&mut self, message: &Message, number: u64) -> Result<Read, Fault> {
        let Some(by) = order_id(message, 11)? else { return Ok(foreign(message, 11)) };
        // An order that the venue does not know may be named in any way.
        let order = message.text(41)?.and_then(|text| text.parse().ok()).unwrap_or(by);
        let reason = word(&CANCEL_REASONS, message.word(102));
        let what = What::CancelRejected { by: Some(by), reason };
        Ok(Read::Told(vec![Told { number, order: OrderName::Id(order), what, venue_time_ns: time(message) }]))
    }

    /// Reads a BusinessMessageReject (j) or a Reject (3) of a message of ours.
    ///
    /// # Errors
    /// RefSeqNum (45) cannot be read, or is missing in a Reject.
    pub(super) fn refusal(&mut self, message: &Message, number: u64) -> Result<Read, Fault> {
        let business = message.word(35) == "j";
        let reference = match business {
            true => message.read(45, values::parse_number)?,
            false => Some(message.must_read(45, values::parse_number)?),
        };
        let about = self.sent.iter().rev().find(|(known, _)| Some(*known) == reference);
        let about = about.map(|(_, named)| *named).or_else(|| self.by_id(message));
        let code = message.word(if business { 380 } else { 373 });
        let words = || {
            let fields =
                [("RefMsgType", 372), ("RefSeqNum", 45), ("RefTagID", 371), ("reason", 380), ("reason", 373)];
            let fields = fields.iter().filter(|(_, tag)| !message.word(*tag).is_empty());
            let fields: Vec<_> = fields.map(|(name, tag)| format!("{name} {}", message.word(*tag))).collect();
            format!("the venue refused a message ({}): {}", fields.join(", "), message.word(58))
        };
        let prefix = if business { "business_reject" } else { "session_reject" };
        let reason = if code.is_empty() { prefix.to_owned() } else { format!("{prefix}_{code}") };
        let told =
            |order, what| Told { number, order: OrderName::Id(order), what, venue_time_ns: time(message) };
        let said = match about {
            Some(Named::New(id)) => {
                let text = message.word(58).to_owned();
                vec![told(id, What::Rejected { reason, text, original_lives: true })]
            }
            Some(Named::Replace { id, of } | Named::Cancel { id, of }) => {
                vec![told(of, What::CancelRejected { by: Some(id), reason })]
            }
            // BusinessRejectReason 1: unknown id.
            Some(Named::Status(asked)) if business && code == "1" => {
                let doubts = self.in_doubt.remove(&asked).unwrap_or_default();
                never_arrived(asked, &doubts, |what| vec![told(asked, what)])
            }
            Some(Named::Status(_)) | None => return Ok(Read::Foreign(words())),
        };
        Ok(Read::Told(said))
    }

    /// What a BusinessMessageReject names by its BusinessRejectRefID (379), when it gives no number that is known.
    fn by_id(&self, message: &Message) -> Option<Named> {
        let id = message.word(379).parse().ok()?;
        let message_type = message.word(372);
        let names = |named: &Named| match *named {
            Named::New(own) | Named::Status(own) => own == id,
            Named::Replace { id: own, .. } | Named::Cancel { id: own, .. } => own == id,
        };
        let known = self.sent.iter().rev().map(|(_, named)| *named);
        known.filter(|named| named.message_type() == message_type).find(names)
    }
}

/// The unknown order and the cancels of it: none of them arrived.
fn never_arrived(asked: OrderId, doubts: &[Doubt], told: impl Fn(What) -> Vec<Told>) -> Vec<Told> {
    let whose = |doubt: &Doubt| match doubt {
        Doubt::Order => asked,
        Doubt::Cancel(cancel) => *cancel,
    };
    let one = |id| told(What::NeverArrived).into_iter().map(move |told| named(told, id));
    let mut said: Vec<Told> = doubts.iter().map(whose).flat_map(one).collect();
    number_last(&mut said);
    said
}

fn named(told: Told, id: OrderId) -> Told {
    Told { order: OrderName::Id(id), ..told }
}

/// Of several in one message only the last has its number: when not all of them are in the journal, none counts as known.
fn number_last(said: &mut [Told]) {
    let number = said.iter().map(|told| told.number).max().unwrap_or(0);
    if let Some((last, before)) = said.split_last_mut() {
        last.number = number;
        before.iter_mut().for_each(|told| told.number = 0);
    }
}

fn filled(message: &Message) -> Result<What, Fault> {
    let quantity = quantity(message, 32)?;
    if quantity == 0 {
        return Err(Fault { tag: 32, reason: RejectReason::Value });
    }
    let price = message.must_read(31, values::parse_price)?;
    Ok(What::Filled { quantity, price, execution: name(message.must(17)?) })
}

/// A trade that is void (TradeCancel, TradeCorrect): ExecRefID (19) names it. LastQty and LastPx are of no use: venues
/// differ in whether they are the old ones.
fn broken(message: &Message) -> Result<What, Fault> {
    Ok(What::Broken { execution: name(message.must(19)?), quantity: None, price: None })
}

fn stands(message: &Message) -> Result<What, Fault> {
    let (filled, leaves) = (quantity(message, 14)?, quantity(message, 151)?);
    Ok(What::Stands { filled, leaves, venue_order: venue_order(message)? })
}

fn rejected(message: &Message) -> What {
    let text = message.word(58).to_owned();
    What::Rejected { reason: word(&ORDER_REASONS, message.word(103)), text, original_lives: true }
}

/// ExecType 4: asked for when OrigClOrdID (41) names another order than ClOrdID (11), by itself otherwise.
fn cancelled(message: &Message, number: u64, id: OrderId) -> Result<Vec<Told>, Fault> {
    let original = order_id(message, 41)?.filter(|original| *original != id);
    let (order, by, reason) = match original {
        Some(original) => (original, Some(id), "requested"),
        None => (id, None, "by_venue"),
    };
    let what = What::Cancelled { quantity: None, reason: reason.to_owned(), by };
    Ok(vec![Told { number, order: OrderName::Id(order), what, venue_time_ns: time(message) }])
}

fn quantity(message: &Message, tag: u32) -> Result<u64, Fault> {
    message.must_read(tag, values::parse_quantity)
}

fn venue_order(message: &Message) -> Result<String, Fault> {
    Ok(name(message.must(37)?))
}

/// TransactTime (60), ns since the epoch; 0 when it says none that can be read.
fn time(message: &Message) -> u64 {
    message.read(60, values::parse_timestamp).ok().flatten().unwrap_or(0)
}

/// An id of ours; none when it is not one that we can have made.
fn order_id(message: &Message, tag: u32) -> Result<Option<OrderId>, Fault> {
    Ok(message.text(tag)?.and_then(|text| text.parse().ok()))
}

fn foreign(message: &Message, tag: u32) -> Read {
    Read::Foreign(format!("field {tag} {:?} names no order of ours", message.word(tag)))
}

/// A venue's name as reports can carry it: itself, or where it is too long or has other characters its begin and a digest of
/// all of it, the same for the same name.
pub(super) fn name(text: &str) -> String {
    if text.len() <= ORDER_NAME_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    let kept = text.chars().take(ORDER_NAME_BYTES_MAX - 17);
    let kept: String = kept.map(|char| if char.is_ascii_graphic() { char } else { '_' }).collect();
    // FNV-1a, 64 bits.
    let digest = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{kept}{}{digest:016x}", orders::DIGEST_MARK)
}

/// OrdRejReason (103).
const ORDER_REASONS: [(&str, &str); 17] = [
    ("0", "broker"),
    ("1", "unknown_symbol"),
    ("2", "exchange_closed"),
    ("3", "exceeds_limit"),
    ("4", "too_late"),
    ("5", "unknown_order"),
    ("6", "duplicate_order"),
    ("7", "duplicate_of_verbal"),
    ("8", "stale_order"),
    ("9", "trade_along_required"),
    ("10", "investor_id"),
    ("11", "unsupported_characteristic"),
    ("12", "surveillance"),
    ("13", "quantity"),
    ("14", "allocated_quantity"),
    ("15", "unknown_account"),
    ("99", "other"),
];

/// CxlRejReason (102).
const CANCEL_REASONS: [(&str, &str); 8] = [
    ("0", "too_late"),
    ("1", "unknown_order"),
    ("2", "broker"),
    ("3", "already_pending"),
    ("4", "mass_cancel_failed"),
    ("5", "modified_meanwhile"),
    ("6", "duplicate_id"),
    ("99", "other"),
];

/// A code as a word; a code without one as itself.
fn word(words: &[(&str, &str)], code: &str) -> String {
    match words.iter().find(|(known, _)| *known == code) {
        Some((_, word)) => (*word).to_owned(),
        None if code.is_empty() => "other".to_owned(),
        None => name(&format!("code_{code}")),
    }
}
