//! What a turn ends with: on disk, then on the wire, then published.

use super::{Session, figures, now_ns, trace};
use crate::line::LineError;
use crate::orders::{Connection, Gate, Input, State, Went};
use bus::{OrderAction, OrderId, TradingMode};
use std::time::Instant;
use tracing::{error, info};

impl Session<'_> {
    /// Writes what was taken in, sends what is to be sent, writes how that went, gives the reports out.
    pub(super) fn flush(&mut self) {
        let is_durable = self.commit();
        let to_send = std::mem::take(&mut self.to_send);
        if !to_send.is_empty() {
            match self.journal.is_superseded() {
                Ok(superseded) => self.superseded |= superseded,
                Err(error) => error!("the journal's folder: {error}"),
            }
        }
        for (id, created_ns) in to_send {
            let how = self.send(id, created_ns, is_durable);
            trace::went(self.venue(), &id, &how);
            self.apply(&Input::Went { id, how });
        }
        self.commit();
    }

    /// Writes and syncs. Whether all is on disk. The reports are given out either way: a disk that fails does not
    /// hide from the strategies what the venue did.
    pub(super) fn commit(&mut self) -> bool {
        let dirty = self.journal.is_dirty();
        let began = Instant::now();
        let committed = self.journal.commit();
        match &committed {
            Ok(()) if dirty => {
                figures::commit(self.venue(), began.elapsed().as_secs_f64() * 1e6);
                if std::mem::take(&mut self.journal_said) {
                    info!(venue = self.venue(), "the journal is written again");
                }
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.journal_said, true) {
                    figures::journal_failed(self.venue());
                    error!(venue = self.venue(), "{error}; no new orders; cancels are sent all the same");
                }
            }
        }
        self.outbox.give(self.made.drain(..));
        committed.is_ok()
    }

    fn send(&mut self, id: OrderId, created_ns: u64, is_durable: bool) -> Went {
        let refused =
            |reason: &str, text: &str| Went::Not { reason: reason.to_owned(), text: text.to_owned() };
        let Some(outgoing) = self.book.outgoing(&id) else {
            return refused("order_ended", "the order that it names is over");
        };
        let cancels = matches!(outgoing.action, OrderAction::Cancel { .. });
        let lease = &self.start.lease;
        if cancels {
            if !lease.holds() && !lease.ran_out_without_redis() {
                return refused("no_lease", "this gateway does not have the session now");
            }
        } else if let Some((reason, text)) = self.refusal(&outgoing.action, is_durable) {
            return refused(reason, &text);
        }
        let Some(line) = &mut self.line else { return refused("not_connected", "the session has no line") };
        match line.send(&outgoing) {
            Ok(()) => {
                figures::sent(self.venue(), if cancels { "cancel" } else { "order" });
                figures::latency(self.venue(), now_ns().saturating_sub(created_ns));
                Went::Sent
            }
            Err(error @ LineError::Down { .. }) => refused("not_connected", &error.to_string()),
            Err(error @ LineError::Unspeakable { .. }) => refused("unspeakable", &error.to_string()),
            Err(LineError::Broken(text)) => Went::Broken { text },
        }
    }

    /// Why an order that passed is not sent after all: what changed since.
    fn refusal(&self, action: &OrderAction, is_durable: bool) -> Option<(&'static str, String)> {
        if !is_durable {
            return Some(("journal_failed", "it is not on disk".into()));
        }
        if let Gate::Closed(reason, text) = self.gate() {
            return Some((reason, text));
        }
        // The line may have connected anew since: what it missed is not taken in.
        if self.inbox.turns() != self.turns || self.book.connection() != Connection::CaughtUp {
            return Some(("not_connected", "the connection was lost meanwhile".into()));
        }
        if let OrderAction::Replace { of, .. } = action
            && self.book.state(of).is_none_or(|state| matches!(state, State::Ended { .. }))
        {
            return Some(("order_ended", format!("{of} is over")));
        }
        if self.book.lost() > 0 {
            return Some(("reconciling", "the fate of an order is open".into()));
        }
        if self.book.trading().is_none_or(|state| state.mode == TradingMode::Halted) {
            return Some(("halted", "halted meanwhile".into()));
        }
        None
    }
}
