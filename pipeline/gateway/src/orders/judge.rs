//! Whether an instruction may be sent: age, trading state, what it names, the second line of limits.
//!
//! A cancel is refused only when there is nothing to cancel, or when the order has as many cancels on their way as are
//! kept. Everything else is refused when anything is in doubt.

use super::order::Order;
use super::{Book, CANCELS_PER_ORDER_MAX, Connection, ORDER_IDS_MAX};
use bus::config::GatewayLimits;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Quantity, TradingMode};
use tick::{PRICE_SCALE, Price};

const NS_PER_S: u64 = 1_000_000_000;

/// Why an instruction is refused: a code, and the numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// The code: `reason` of the report.
    pub reason: &'static str,
    /// `text` of the report.
    pub text: String,
}

impl Denial {
    /// A denial.
    pub fn new(reason: &'static str, text: impl Into<String>) -> Denial {
        Denial { reason, text: text.into() }
    }
}

/// What the session says at the moment besides its orders: whether anything new may be sent at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gate {
    /// It may.
    Open,
    /// Why it may not: a code, and words.
    Closed(&'static str, String),
}

/// Messages that may be sent: a bucket that fills evenly. Counted in 1e-9 messages, so nothing is rounded away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    per_second: u64,
    full: u64,
    level: u64,
    at_ns: Option<u64>,
}

impl Bucket {
    /// A full one.
    pub fn new(limits: &GatewayLimits) -> Bucket {
        let full = u64::from(limits.message_burst) * NS_PER_S;
        Bucket { per_second: u64::from(limits.messages_per_second), full, level: full, at_ns: None }
    }

    /// Goes by other limits. What was taken stays taken.
    pub fn change(&mut self, limits: &GatewayLimits) {
        let Bucket { per_second, full, .. } = Bucket::new(limits);
        let missing = self.full - self.level;
        (self.per_second, self.full, self.level) = (per_second, full, full.saturating_sub(missing));
    }

    /// Takes one message, if there is one. A clock that is set back brings none.
    fn take(&mut self, now_ns: u64) -> bool {
        let passed = self.at_ns.map_or(0, |at| now_ns.saturating_sub(at));
        self.at_ns = Some(now_ns);
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_second)).min(self.full);
        if self.level < NS_PER_S {
            return false;
        }
        self.level -= NS_PER_S;
        true
    }
}

/// Judges instructions of a session.
#[derive(Clone, PartialEq, Debug)]
pub struct Judge {
    limits: GatewayLimits,
    bucket: Bucket,
    age_max_ns: u64,
    /// When the day began, ns since the epoch.
    day_ns: u64,
}

impl Judge {
    /// A judge of a day.
    pub fn new(limits: GatewayLimits, age_max_ns: u64, day_ns: u64) -> Judge {
        Judge { limits, bucket: Bucket::new(&limits), age_max_ns, day_ns }
    }

    /// Goes by other limits from the next instruction on.
    pub fn change(&mut self, limits: GatewayLimits, age_max_ns: u64) {
        self.bucket.change(&limits);
        (self.limits, self.age_max_ns) = (limits, age_max_ns);
    }

    /// A new day began.
    pub fn begin_day(&mut self, day_ns: u64) {
        self.day_ns = day_ns;
    }

    /// Judges an instruction whose id is new.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn judge(
        &mut self,
        book: &Book,
        gate: &Gate,
        instruction: &Instruction,
        now_ns: u64,
    ) -> Result<(), Denial> {
        if book.ids() >= ORDER_IDS_MAX && !matches!(instruction.action, OrderAction::Cancel { .. }) {
            return Err(Denial::new("order_ids_full", format!("{ORDER_IDS_MAX} ids a day are kept")));
        }
        match instruction.action {
            OrderAction::Cancel { of } => return cancel(book, &of),
            OrderAction::New { .. } | OrderAction::Replace { .. } => self.age(instruction, now_ns)?,
        }
        if let Gate::Closed(reason, text) = gate {
            return Err(Denial::new(reason, text.clone()));
        }
        connected(book)?;
        let (original, side, quantity, price) = match instruction.action {
            OrderAction::New { side, quantity, price, .. } => (None, side, quantity, price),
            OrderAction::Replace { of, quantity, price } => {
                let original = replaceable(book, instruction, &of, quantity)?;
                (Some(original), original.side, quantity, Some(price))
            }
            OrderAction::Cancel { .. } => return Ok(()),
        };
        trading(book, instruction, original, side, quantity)?;
        self.limits(book, original, quantity, price)?;
        if !self.bucket.take(now_ns) {
            let GatewayLimits { messages_per_second, message_burst, .. } = self.limits;
            let text = format!("{messages_per_second} a second, {message_burst} at once");
            return Err(Denial::new("message_rate", text));
        }
        Ok(())
    }

    fn age(&self, instruction: &Instruction, now_ns: u64) -> Result<(), Denial> {
        let (created, most) = (instruction.created_ns, self.age_max_ns);
        let behind = |later: u64, earlier: u64| later.saturating_sub(earlier) / 1_000_000;
        if created > now_ns.saturating_add(most) {
            let ahead = behind(created, now_ns);
            return Err(Denial::new("clock", format!("made {ahead} ms after now; set the clocks")));
        }
        if created.saturating_add(most) < now_ns {
            let (age, most) = (behind(now_ns, created), most / 1_000_000);
            return Err(Denial::new("too_old", format!("{age} ms old, at most {most}")));
        }
        // One of the day before, whose journal is not looked at any more, cannot be younger than this.
        if created < self.day_ns.saturating_add(most) {
            return Err(Denial::new("too_old", "made before the day began, or too soon after it".to_owned()));
        }
        Ok(())
    }

    fn limits(
        &self,
        book: &Book,
        original: Option<&Order>,
        quantity: Quantity,
        price: Option<Price>,
    ) -> Result<(), Denial> {
        let limits = &self.limits;
        if quantity > limits.order_quantity_max {
            let text = format!("{quantity}, at most {}", limits.order_quantity_max);
            return Err(Denial::new("order_quantity", text));
        }
        let Some(price) = price.filter(|price| price.is_defined()) else {
            return Err(Denial::new("no_price", "a market order has no limit to check its value by"));
        };
        // |price| < 2^63 and quantity < 2^64: fits.
        let notional = u128::from(price.0.unsigned_abs()) * u128::from(quantity);
        if notional > u128::from(limits.order_notional_max) * PRICE_SCALE as u128 {
            let text = format!("{quantity} × {price}, at most {}", limits.order_notional_max);
            return Err(Denial::new("order_notional", text));
        }
        let open = book.open_orders();
        if original.is_none() && open >= limits.open_orders_max as usize {
            let text = format!("{open} are open, at most {}", limits.open_orders_max);
            return Err(Denial::new("open_orders", text));
        }
        Ok(())
    }
}

fn connected(book: &Book) -> Result<(), Denial> {
    match book.connection() {
        Connection::Down => Err(Denial::new("not_connected", "the venue is not connected")),
        Connection::Up => Err(Denial::new("reconciling", "what was missed is being told")),
        Connection::CaughtUp => match book.lost() {
            0 => Ok(()),
            lost => Err(Denial::new("reconciling", format!("the fate of {lost} orders is open"))),
        },
    }
}

/// The order that an instruction names, when there is something to be done to it.
fn living<'a>(book: &'a Book, of: &OrderId) -> Result<&'a Order, Denial> {
    let Some(order) = book.orders.get(of) else {
        return Err(Denial::new("unknown_order", format!("{of} is no order of this day")));
    };
    if order.is_ended() {
        return Err(Denial::new("order_ended", format!("{of} is over")));
    }
    Ok(order)
}

fn cancel(book: &Book, of: &OrderId) -> Result<(), Denial> {
    let order = living(book, of)?;
    if order.cancels.len() >= CANCELS_PER_ORDER_MAX {
        return Err(Denial::new(
            "cancel_pending",
            format!("{CANCELS_PER_ORDER_MAX} cancels are on their way"),
        ));
    }
    Ok(())
}

fn replaceable<'a>(
    book: &'a Book,
    instruction: &Instruction,
    of: &OrderId,
    quantity: Quantity,
) -> Result<&'a Order, Denial> {
    let order = living(book, of)?;
    let same = order.publisher_id == instruction.publisher_id
        && order.instrument_id == instruction.instrument_id
        && order.symbol == instruction.symbol
        && order.strategy == instruction.strategy;
    if !same {
        return Err(Denial::new("foreign_order", format!("{of} is another instrument's or strategy's")));
    }
    if order.pending.is_some() || (order.replaces.is_some() && order.is_unanswered()) {
        return Err(Denial::new("replace_pending", format!("a replacement of {of} is not answered")));
    }
    let chain = &book.chains[order.chain];
    if chain.unwanted || !order.cancels.is_empty() {
        return Err(Denial::new("cancel_pending", format!("{of} is being cancelled")));
    }
    if quantity <= chain.filled {
        return Err(Denial::new(
            "quantity_filled",
            format!("{} are filled; cancel it instead", chain.filled),
        ));
    }
    Ok(order)
}

fn trading(
    book: &Book,
    instruction: &Instruction,
    original: Option<&Order>,
    side: OrderSide,
    quantity: Quantity,
) -> Result<(), Denial> {
    let Some(state) = book.trading() else {
        return Err(Denial::new("halted", "no trading state was ever seen"));
    };
    match state.mode {
        TradingMode::Active => Ok(()),
        TradingMode::Halted => Err(Denial::new("halted", format!("by {}: {}", state.by, state.reason))),
        TradingMode::Reducing if lowers(book, instruction, original, side, quantity) => Ok(()),
        TradingMode::Reducing => {
            Err(Denial::new("reducing", "with all that is open it does not lower the position"))
        }
    }
}

/// Whether the position only gets nearer to 0 even if all of the side trades.
fn lowers(
    book: &Book,
    instruction: &Instruction,
    original: Option<&Order>,
    side: OrderSide,
    quantity: Quantity,
) -> bool {
    let instrument = (instruction.publisher_id, instruction.instrument_id);
    let buys = side == OrderSide::Buy;
    let mut open = i128::from(quantity);
    for order in book.open.iter().map(|id| &book.orders[id]) {
        let same = (order.publisher_id, order.instrument_id) == instrument;
        if same && (order.side == OrderSide::Buy) == buys {
            open += i128::from(book.leaves(order));
        }
    }
    // A replacement counts what was filled before, and may be in force beside nothing of its original.
    let filled = original.map_or(0, |order| i128::from(book.chains[order.chain].filled));
    let replaced = original.map_or(0, |order| i128::from(book.leaves(order)));
    let open = open - filled - replaced.min(i128::from(quantity) - filled);
    let position = book.positions().get(&instrument).copied().unwrap_or(0);
    if buys { position + open <= 0 } else { position - open >= 0 }
}
