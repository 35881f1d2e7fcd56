//! The session's metrics, each made in one place.

use crate::orders::Oddities;
use bus::{ReportKind, TradingMode};
use metrics::{counter, gauge, histogram};

pub(super) fn instructions(venue: &str, count: u64) {
    counter!("feedplane_gateway_instructions_total", "venue" => venue.to_owned()).increment(count);
}

pub(super) fn denied(venue: &str, reason: &str) {
    let (venue, reason) = (venue.to_owned(), reason.to_owned());
    counter!("feedplane_gateway_denied_total", "venue" => venue, "reason" => reason).increment(1);
}

/// A message that left: `order` or `cancel`.
pub(super) fn sent(venue: &str, what: &'static str) {
    counter!("feedplane_gateway_sends_total", "venue" => venue.to_owned(), "what" => what).increment(1);
}

pub(super) fn report(venue: &str, kind: ReportKind) {
    let venue = venue.to_owned();
    counter!("feedplane_gateway_reports_total", "venue" => venue, "kind" => kind.word()).increment(1);
}

/// Between the making of an instruction and its leaving: two clocks when they are on two machines.
pub(super) fn latency(venue: &str, ns: u64) {
    histogram!("feedplane_gateway_instruction_to_send_us", "venue" => venue.to_owned())
        .record(ns as f64 / 1e3);
}

/// Writing and syncing a batch.
pub(super) fn commit(venue: &str, us: f64) {
    histogram!("feedplane_gateway_journal_sync_us", "venue" => venue.to_owned()).record(us);
}

pub(super) fn journal_failed(venue: &str) {
    counter!("feedplane_gateway_journal_failures_total", "venue" => venue.to_owned()).increment(1);
}

/// What the venue sent that breaks the protocol.
pub(super) fn refused(venue: &str) {
    counter!("feedplane_gateway_refused_messages_total", "venue" => venue.to_owned()).increment(1);
}

pub(super) fn drop_copy_lost(venue: &str, count: u64) {
    counter!("feedplane_gateway_drop_copy_lost_total", "venue" => venue.to_owned()).increment(count);
}

/// How things are now.
pub(super) struct Now {
    pub(super) open_orders: usize,
    pub(super) lost: usize,
    pub(super) journal_bytes: u64,
    pub(super) up: bool,
    pub(super) lease: bool,
    pub(super) mode: Option<TradingMode>,
    pub(super) oddities: Oddities,
}

pub(super) fn now(venue: &str, now: &Now) {
    let set = |name: &'static str, value: f64| gauge!(name, "venue" => venue.to_owned()).set(value);
    set("feedplane_gateway_open_orders", now.open_orders as f64);
    set("feedplane_gateway_orders_in_doubt", now.lost as f64);
    set("feedplane_gateway_journal_bytes", now.journal_bytes as f64);
    set("feedplane_gateway_line_up", f64::from(u8::from(now.up)));
    set("feedplane_gateway_lease_held", f64::from(u8::from(now.lease)));
    for mode in TradingMode::ALL {
        let value = f64::from(u8::from(now.mode == Some(mode)));
        gauge!("feedplane_gateway_trading_mode", "venue" => venue.to_owned(), "mode" => mode.word())
            .set(value);
    }
    let odd = [
        ("stranger", now.oddities.strangers),
        ("overfill", now.oddities.overfills),
        ("repeated", now.oddities.repeated),
        ("contradiction", now.oddities.contradictions),
    ];
    for (what, count) in odd {
        counter!("feedplane_gateway_odd_messages_total", "venue" => venue.to_owned(), "what" => what)
            .absolute(count);
    }
}
