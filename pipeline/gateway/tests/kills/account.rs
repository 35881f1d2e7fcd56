//! What the reports say in all, to be held against what the venue says.

use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind};
use std::collections::{BTreeMap, BTreeSet};
use venue::live_report::UserReport;

/// How an id stands by its last report.
#[derive(Clone, Debug)]
pub struct Last {
    pub kind: ReportKind,
    pub filled: u64,
    pub leaves: u64,
    pub reason: String,
}

#[derive(Debug)]
pub struct Account {
    reports: usize,
    /// The last report of each id that is one.
    pub last: BTreeMap<OrderId, Last>,
    /// Orders, not cancels.
    pub orders: BTreeSet<OrderId>,
    instructions: BTreeSet<OrderId>,
    /// Orders that were replaced by another.
    replaced: BTreeSet<OrderId>,
    pub executions: BTreeSet<(OrderId, String)>,
    pub executions_repeated: u64,
    bought: u64,
    sold: u64,
    /// By symbol, of those that were traded.
    pub positions: BTreeMap<String, i64>,
    unknown: BTreeSet<OrderId>,
}

impl Last {
    fn of(report: &Report) -> Last {
        Last {
            kind: report.kind,
            filled: report.filled,
            leaves: report.leaves,
            reason: report.reason.clone(),
        }
    }
}

impl Account {
    /// Reads all reports, which must be numbered without a hole.
    pub fn read(redis: &mut redis::Connection, instructions: &[Instruction]) -> Account {
        let reply: redis::Value =
            redis::cmd("XRANGE").arg("execution_reports").arg("-").arg("+").query(redis).unwrap();
        let is_order = |instruction: &&Instruction| !matches!(instruction.action, OrderAction::Cancel { .. });
        let mut account = Account {
            reports: 0,
            last: BTreeMap::new(),
            orders: instructions.iter().filter(is_order).map(|of| of.id).collect(),
            instructions: instructions.iter().map(|of| of.id).collect(),
            replaced: BTreeSet::new(),
            executions: BTreeSet::new(),
            executions_repeated: 0,
            bought: 0,
            sold: 0,
            positions: BTreeMap::new(),
            unknown: BTreeSet::new(),
        };
        for record in bus::records_of_range(&reply).unwrap() {
            let report = Report::parse(record.fields.unwrap()).unwrap();
            account.reports += 1;
            assert_eq!(report.number, account.reports as u64, "no hole in the reports' numbers: {report:?}");
            account.take(&report);
        }
        account
    }

    fn take(&mut self, report: &Report) {
        let Some(id) = report.id else { panic!("{report:?} has no id") };
        if report.kind == ReportKind::Filled {
            let position = self.positions.entry(report.symbol.clone()).or_default();
            match report.side {
                Some(OrderSide::Buy) => {
                    self.bought += report.last_quantity;
                    *position += report.last_quantity as i64;
                }
                Some(_) => {
                    self.sold += report.last_quantity;
                    *position -= report.last_quantity as i64;
                }
                None => panic!("{report:?} has no side"),
            }
            if !self.executions.insert((id, report.execution.clone())) {
                self.executions_repeated += 1;
            }
        }
        if report.kind == ReportKind::Replaced
            && let Some(of) = report.of
        {
            self.replaced.insert(of);
        }
        let about_order = self.orders.contains(&id);
        let ended = if about_order { None } else { report.of };
        // The answer to a cancel that comes again only says that the order is over: how was said before.
        let is_news = report.kind == ReportKind::Cancelled && report.reason != "repeated";
        if let Some(of) = ended.filter(|_| is_news) {
            // By a cancel: the report has the cancel's id.
            self.last.insert(of, Last::of(report));
        }
        if report.kind == ReportKind::Unknown {
            self.unknown.insert(id);
        } else {
            self.unknown.remove(&id);
        }
        self.last.insert(id, Last::of(report));
    }

    pub fn reports(&self) -> usize {
        self.reports
    }

    /// How many instructions have a report.
    pub fn reported(&self) -> usize {
        self.instructions.len() - self.unreported().len()
    }

    /// Instructions without a report.
    pub fn unreported(&self) -> BTreeSet<OrderId> {
        self.instructions.iter().filter(|id| !self.last.contains_key(*id)).copied().collect()
    }

    /// Instructions without a report, and orders of which only is known that they were sent.
    pub fn unanswered(&self) -> BTreeSet<OrderId> {
        let open_end = |id: &&OrderId| {
            let last = self.last.get(*id).map(|last| last.kind);
            let sent = last == Some(ReportKind::Sent) && self.orders.contains(*id);
            last.is_none() || sent || self.unknown.contains(*id)
        };
        self.instructions.iter().filter(open_end).copied().collect()
    }

    /// Orders that the reports leave open.
    pub fn open(&self) -> Vec<OrderId> {
        let is_open = |id: &&OrderId| {
            let Some(last) = self.last.get(*id) else { return false };
            let alive = match last.kind {
                ReportKind::Accepted | ReportKind::Replaced | ReportKind::Filled => last.leaves > 0,
                ReportKind::Sent | ReportKind::Unknown => true,
                _ => false,
            };
            alive && !self.replaced.contains(*id)
        };
        self.orders.iter().filter(is_open).copied().collect()
    }

    /// Nothing came to the venue twice, and both have the same trades and the same open orders.
    pub fn agrees_with(&self, venue: &UserReport) {
        assert_eq!(
            (venue.user_ref_nums_repeated, venue.cl_ord_ids_repeated),
            (0, 0),
            "nothing is sent twice: {:?}",
            venue.ignored
        );
        let traded = &venue.total.orders;
        eprintln!(
            "{} instructions, {} reports; the venue: {} logins, {} new orders, {} replaced, {} executions",
            self.instructions.len(),
            self.reports,
            venue.session.logins,
            traded.entered,
            traded.replaced,
            traded.executions
        );
        assert_eq!((self.executions.len() as u64, self.executions_repeated), (traded.executions, 0));
        assert!(traded.entered > 20 && traded.executions > 0, "something was traded");
        assert_eq!((self.bought, self.sold), (traded.shares_bought, traded.shares_sold));
        assert_eq!(self.bought as i64 - self.sold as i64, venue.total.position);
        assert_eq!(self.open().len() as u64, venue.open_orders, "{:?}", self.open());
        assert!(self.unanswered().is_empty());
    }

    /// On each connection the answer to the account query came before the first new order.
    pub fn reconciled_before_new_orders(&self, drop_copy: &[(String, Vec<u8>)]) {
        let mut caught_up = true;
        let mut orders = 0;
        for (way, bytes) in drop_copy {
            let sent = way != "received";
            match (sent, bytes.get(2), bytes.get(3)) {
                (true, Some(b'L'), _) => caught_up = false,
                (false, Some(b'S'), Some(b'Q')) => caught_up = true,
                (true, Some(b'U'), Some(b'O' | b'U')) => {
                    assert!(caught_up, "an order before all was taken in");
                    orders += 1;
                }
                _ => {}
            }
        }
        assert!(orders > 0, "{} messages, no order", drop_copy.len());
    }
}
