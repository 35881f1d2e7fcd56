//! What each user did, counted: the other side of every claim that nothing was sent, executed or lost twice.

use crate::exchange::{Price, Side};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};

/// Client order ids that are remembered for each user, so that repeated ones are counted: 4 million take about 120 MB.
/// Later ones are not compared.
const CL_ORD_IDS_MAX: usize = 4_000_000;

/// What became of orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Orders {
    /// Enter Order messages that were dealt with; those of a used number were not.
    pub entered: u64,
    /// New orders that were accepted.
    pub accepted: u64,
    /// New orders and replacements that were refused, by OUCH's reason in words.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Replacements that took an order's place.
    pub replaced: u64,
    /// Modify Order messages that had an effect.
    pub modified: u64,
    /// Executions.
    pub executions: u64,
    /// Shares bought.
    pub shares_bought: u64,
    /// Shares sold.
    pub shares_sold: u64,
    /// Shares that were cancelled, asked for or not, what modifications took off included.
    pub shares_cancelled: u64,
}

/// One user in one symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SymbolLedger {
    /// The counts.
    #[serde(flatten)]
    pub orders: Orders,
    /// Shares bought less shares sold.
    pub position: i64,
    /// Received less paid, as decimal text in dollars.
    #[serde(serialize_with = "decimal")]
    pub cash: i128,
}

/// One user.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Over all symbols, unknown ones included.
    pub total: SymbolLedger,
    /// By symbol id.
    pub symbols: BTreeMap<u16, SymbolLedger>,
    /// Messages that were passed over, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Enter, Replace and other messages whose user reference number was used before, or is below one that was.
    pub user_ref_nums_repeated: u64,
    /// Enter and Replace messages whose ClOrdID came before, be their number new or not. Blank ones are not compared.
    pub cl_ord_ids_repeated: u64,
    seen: HashSet<[u8; 14]>,
}

impl Ledger {
    /// Notes the ClOrdID of an Enter or Replace message.
    pub(super) fn note_cl_ord_id(&mut self, id: [u8; 14]) {
        if id.trim_ascii().is_empty() {
            return;
        }
        if self.seen.contains(&id) {
            self.cl_ord_ids_repeated += 1;
        } else if self.seen.len() < CL_ORD_IDS_MAX {
            self.seen.insert(id);
        }
    }

    /// Counts a message that was passed over.
    pub(super) fn ignore(&mut self, reason: &'static str) {
        *self.ignored.entry(reason).or_default() += 1;
    }

    /// Counts in the total and, where it is known, in the symbol.
    pub(super) fn count(&mut self, symbol: Option<u16>, count: impl Fn(&mut Orders)) {
        count(&mut self.total.orders);
        if let Some(symbol) = symbol {
            count(&mut self.symbols.entry(symbol).or_default().orders);
        }
    }

    pub(super) fn executed(&mut self, symbol: u16, side: Side, shares: u32, price: Price) {
        let of_symbol = self.symbols.entry(symbol).or_default();
        for ledger in [&mut self.total, of_symbol] {
            let (signed, orders) = (i64::from(shares), &mut ledger.orders);
            let paid = i128::from(shares) * i128::from(price.0);
            orders.executions += 1;
            match side {
                Side::Buy => {
                    orders.shares_bought += u64::from(shares);
                    ledger.position += signed;
                    ledger.cash -= paid;
                }
                Side::Sell => {
                    orders.shares_sold += u64::from(shares);
                    ledger.position -= signed;
                    ledger.cash += paid;
                }
            }
        }
    }
}

/// Units of 0.0001 as decimal text.
fn decimal<S: Serializer>(units: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    let sign = if *units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    serializer.collect_str(&format_args!("{sign}{}.{:04}", units / 10_000, units % 10_000))
}
