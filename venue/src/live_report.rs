//! What a live venue reports: the feed's account, what each user did, and the books.

use crate::account::Report;
use crate::background::BackgroundCounts;
use crate::books::Books;
use crate::live::Live;
use crate::order_entry::{Counts, SymbolLedger, UserCounts, UserId};
use crate::play;
use crate::send::Outlet;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The venue's account of itself.
#[derive(Clone, Debug, Serialize)]
pub struct LiveReport {
    /// Name of the session, of feed and order entry.
    pub session: String,
    /// How long it has lasted, ns.
    pub at_ns: u64,
    /// Whether the day is over, and this the last report.
    pub over: bool,
    /// What was sent of the feed, as `feedplane play` accounts for it. Exact when `over`.
    pub feed: Report,
    /// Connections.
    pub order_entry: Counts,
    /// One for each user, in the order in which they were given.
    pub users: Vec<UserReport>,
    /// What was made of a background's file, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<BackgroundCounts>,
    /// The books: as they are, and from the close on as they were just before it (it cancels every order).
    pub books: Books,
}

/// What one user did.
#[derive(Clone, Debug, Serialize)]
pub struct UserReport {
    /// The user.
    pub user: String,
    /// Logins and messages.
    #[serde(flatten)]
    pub session: UserCounts,
    /// The lowest user reference number that is free.
    pub next_user_ref_num: u32,
    /// Messages with a user reference number that was used before, or is below one that was. They had no effect.
    pub user_ref_nums_repeated: u64,
    /// Enter and Replace messages with a ClOrdID that came before.
    pub cl_ord_ids_repeated: u64,
    /// Messages that had no effect, by reason; those with a repeated number are among them.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Orders that live.
    pub open_orders: u64,
    /// Over all symbols, unknown ones included. The position is a sum of shares.
    pub total: SymbolLedger,
    /// By symbol.
    pub symbols: BTreeMap<String, SymbolLedger>,
}

impl<O: Outlet> Live<O> {
    /// The report as of now.
    pub fn report(&self) -> LiveReport {
        let exchange = self.exchange();
        let at_ns = exchange.now_ns();
        LiveReport {
            session: self.session.trim_ascii().escape_ascii().to_string(),
            at_ns,
            over: exchange.next_ns().is_none(),
            feed: play::report(&self.script, Duration::from_nanos(at_ns), self.interrupted),
            order_entry: self.server.counts(),
            users: (0..self.users.len()).map(|at| self.user_report(UserId(at as u16))).collect(),
            background: self.background.as_ref().map(|background| background.counts().clone()),
            books: self.books_at_close.clone().unwrap_or_else(|| Books::of(exchange)),
        }
    }

    fn user_report(&self, user: UserId) -> UserReport {
        let ledger = self.desk.ledger(user);
        let name = |symbol: u16| {
            let spec = self.exchange().engine().spec(crate::exchange::SymbolId(symbol));
            spec.map_or_else(|| symbol.to_string(), |spec| spec.name.clone())
        };
        let named = |(&symbol, of): (&u16, &SymbolLedger)| (name(symbol), of.clone());
        UserReport {
            user: self.users[usize::from(user.0)].name.clone(),
            session: self.server.user_counts(user),
            next_user_ref_num: self.desk.next_number(user),
            user_ref_nums_repeated: ledger.user_ref_nums_repeated,
            cl_ord_ids_repeated: ledger.cl_ord_ids_repeated,
            ignored: ledger.ignored.clone(),
            open_orders: self.desk.open_orders(user) as u64,
            total: ledger.total.clone(),
            symbols: ledger.symbols.iter().map(named).collect(),
        }
    }
}
