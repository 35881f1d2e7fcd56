//! A book that is told what happened, in short words.

use bus::{
    Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind, StreamId, TimeInForce, TradingMode,
    TradingState,
};
use gateway::line::{OrderName, Told, What};
use gateway::orders::{Book, Input, Own, Went};
use tick::Price;

pub(crate) fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

pub(crate) fn price(units: i64) -> Price {
    Price(units * 1_000_000_000)
}

pub(crate) fn new(quantity: u64) -> OrderAction {
    OrderAction::New {
        side: OrderSide::Buy,
        quantity,
        price: Some(price(100)),
        time_in_force: TimeInForce::Day,
    }
}

pub(crate) fn replace(of: &str, quantity: u64) -> OrderAction {
    OrderAction::Replace { of: id(of), quantity, price: price(101) }
}

pub(crate) fn cancel(of: &str) -> OrderAction {
    OrderAction::Cancel { of: id(of) }
}

pub(crate) fn instruction(name: &str, action: OrderAction) -> Instruction {
    Instruction {
        id: id(name),
        action,
        venue: "sim".into(),
        publisher_id: 2,
        instrument_id: 7,
        symbol: "AAPL".into(),
        strategy: "quoter".into(),
        cause_ns: 5,
        created_ns: 1_000_000_000_000,
    }
}

pub(crate) fn trading(mode: TradingMode) -> TradingState {
    TradingState { mode, by: "test".into(), reason: "drill".into(), time_ns: 1 }
}

pub(crate) fn filled(quantity: u64, execution: &str) -> What {
    What::Filled { quantity, price: price(100), execution: execution.into() }
}

pub(crate) fn accepted(leaves: u64) -> What {
    What::Accepted { venue_order: "V1".into(), leaves }
}

pub(crate) fn replaced(quantity: Option<u64>, leaves: u64) -> What {
    What::Replaced { venue_order: "V2".into(), quantity, leaves, price: None }
}

pub(crate) fn cancelled() -> What {
    What::Cancelled { quantity: None, reason: "U".into(), by: None }
}

pub(crate) fn rejected() -> What {
    What::Rejected { reason: "R".into(), text: "no".into(), original_lives: true }
}

pub(crate) fn cancel_rejected(by: Option<&str>) -> What {
    What::CancelRejected { by: by.map(id), reason: "late".into() }
}

/// A report in short: kind, id, of, filled, leaves.
pub(crate) type Short = (ReportKind, String, String, u64, u64);

pub(crate) struct Rig {
    pub(crate) book: Book,
    pub(crate) inputs: Vec<Input>,
    pub(crate) reports: Vec<Report>,
    wire_ref: u32,
}

impl Rig {
    /// Connected and active.
    pub(crate) fn new() -> Rig {
        let mut rig = Rig { book: Book::new("sim", 1), inputs: vec![], reports: vec![], wire_ref: 0 };
        rig.apply(Input::Trading(trading(TradingMode::Active)));
        rig.apply(Input::Up { session: "S1".into() });
        rig.apply(Input::CaughtUp);
        rig
    }

    pub(crate) fn apply(&mut self, input: Input) -> Vec<Report> {
        let mut out = Vec::new();
        self.book.apply(self.inputs.len() as u64, &input, &mut out);
        self.inputs.push(input);
        let made: Vec<Report> = out.into_iter().map(|(_, report)| report).collect();
        self.reports.extend(made.iter().cloned());
        made
    }

    pub(crate) fn take(&mut self, name: &str, action: OrderAction) -> Vec<Report> {
        self.take_own(name, action, None)
    }

    pub(crate) fn take_own(&mut self, name: &str, action: OrderAction, own: Option<Own>) -> Vec<Report> {
        self.wire_ref += 1;
        let entry = StreamId { ms: u64::from(self.wire_ref), seq: 0 };
        let instruction = instruction(name, action);
        self.apply(Input::Taken { shard: 0, entry, wire_ref: self.wire_ref, instruction, own })
    }

    /// Taken and sent.
    pub(crate) fn send(&mut self, name: &str, action: OrderAction) -> Vec<Report> {
        let mut made = self.take(name, action);
        made.extend(self.apply(Input::Went { id: id(name), how: Went::Sent }));
        made
    }

    /// Sent and accepted.
    pub(crate) fn open(&mut self, name: &str, quantity: u64) {
        self.send(name, new(quantity));
        self.tell(name, accepted(quantity));
    }

    pub(crate) fn tell(&mut self, name: &str, what: What) -> Vec<Report> {
        self.told(0, OrderName::Id(id(name)), what)
    }

    pub(crate) fn told(&mut self, number: u64, order: OrderName, what: What) -> Vec<Report> {
        self.apply(Input::Told(Told { number, order, what, venue_time_ns: 0 }))
    }

    pub(crate) fn short(reports: &[Report]) -> Vec<Short> {
        let text = |id: &Option<OrderId>| id.map_or_else(String::new, |id| id.to_string());
        reports.iter().map(|r| (r.kind, text(&r.id), text(&r.of), r.filled, r.leaves)).collect()
    }
}

pub(crate) fn short(kind: ReportKind, name: &str, of: &str, filled: u64, leaves: u64) -> Short {
    (kind, name.into(), of.into(), filled, leaves)
}
