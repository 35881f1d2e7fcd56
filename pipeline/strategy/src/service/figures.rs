//! The service's metrics, each made in one place. `stream` is the shard's stream of ticks.

use super::shard::Phase;
use bus::config::ModelChoice;
use metrics::{counter, gauge};
use strategy::host::{Counts, Host};

fn total(name: &'static str, stream: &str, value: u64, shown: u64) {
    // A host that was made anew counts from 0.
    counter!(name, "stream" => stream.to_owned()).increment(value.saturating_sub(shown));
}

fn now(name: &'static str, stream: &str, value: f64) {
    gauge!(name, "stream" => stream.to_owned()).set(value);
}

/// What a shard has done since it was last shown, and how it stands.
pub(super) fn shard(stream: &str, host: &Host, shown: &mut Counts) {
    let counts = host.counts();
    let before = std::mem::replace(shown, counts);
    total("feedplane_strategy_ticks_total", stream, counts.ticks, before.ticks);
    total("feedplane_strategy_refused_ticks_total", stream, counts.refused_ticks, before.refused_ticks);
    total("feedplane_strategy_feature_records_total", stream, counts.features, before.features);
    total("feedplane_strategy_reports_total", stream, counts.reports, before.reports);
    let (repeated, foreign) = (counts.repeated_reports, counts.foreign_reports);
    total("feedplane_strategy_repeated_reports_total", stream, repeated, before.repeated_reports);
    total("feedplane_strategy_foreign_reports_total", stream, foreign, before.foreign_reports);
    total("feedplane_strategy_scores_total", stream, counts.scores, before.scores);
    for (reason, count, shown) in [
        ("missing", counts.unscored_missing, before.unscored_missing),
        ("schema", counts.unscored_schema, before.unscored_schema),
        ("failed", counts.unscored_failed, before.unscored_failed),
    ] {
        let name = "feedplane_strategy_unscored_total";
        counter!(name, "stream" => stream.to_owned(), "reason" => reason)
            .increment(count.saturating_sub(shown));
    }
    now("feedplane_strategy_open_orders", stream, host.open_orders() as f64);
    now("feedplane_strategy_unanswered_instructions", stream, host.unanswered() as f64);
    for (reason, count) in host.denials() {
        let name = "feedplane_strategy_denials";
        gauge!(name, "stream" => stream.to_owned(), "reason" => reason.word()).set(count as f64);
    }
}

/// The shard is another's.
pub(super) fn gone(stream: &str) {
    now("feedplane_strategy_open_orders", stream, 0.0);
    now("feedplane_strategy_unanswered_instructions", stream, 0.0);
}

/// A strategy's position in an instrument; 0 again when it is closed.
pub(super) fn position(strategy: &str, publisher_id: u16, instrument_id: u32, position: i64) {
    let (publisher, instrument) = (publisher_id.to_string(), instrument_id.to_string());
    let name = "feedplane_strategy_position";
    gauge!(name, "strategy" => strategy.to_owned(), "publisher" => publisher, "instrument" => instrument)
        .set(position as f64);
}

/// What a shard is doing: one of the states is 1.
pub(super) fn state(stream: &str, phase: Option<Phase>, is_rebuilt: bool) {
    let state = match phase {
        None => "not_ours",
        Some(Phase::CatchingUp { .. }) => "catching_up",
        Some(Phase::Live) if !is_rebuilt => "not_rebuilt",
        Some(Phase::Live) => "live",
    };
    for known in ["not_ours", "catching_up", "not_rebuilt", "live"] {
        gauge!("feedplane_strategy_state", "stream" => stream.to_owned(), "state" => known)
            .set(f64::from(u8::from(known == state)));
    }
}

pub(super) fn trading(mode: bus::TradingMode) {
    for known in bus::TradingMode::ALL {
        gauge!("feedplane_strategy_trading", "mode" => known.word()).set(f64::from(u8::from(known == mode)));
    }
}

/// The version of a model that is in force for one choice of the document.
pub(super) fn model_version(choice: &ModelChoice, version: u64) {
    gauge!("feedplane_strategy_model_version", "model" => choice.to_string()).set(version as f64);
}

/// A version of a model that cannot be served.
pub(super) fn model_refused(model: &str, reason: &'static str) {
    counter!("feedplane_strategy_refused_models_total", "model" => model.to_owned(), "reason" => reason)
        .increment(1);
}

/// What was published: `new`, `again`, `denied` or `score`.
pub(super) fn published(stream: &str, what: &'static str, count: u64) {
    counter!("feedplane_strategy_published_total", "stream" => stream.to_owned(), "what" => what)
        .increment(count);
}

/// Writes that were refused because the lease is another's.
pub(super) fn fenced(stream: &str) {
    counter!("feedplane_strategy_fenced_writes_total", "stream" => stream.to_owned()).increment(1);
}

/// Sequence numbers that no entry covered: `trimmed` before they were read, or `redis_lost`.
pub(super) fn hole(stream: &str, why: &'static str) {
    counter!("feedplane_strategy_holes_total", "stream" => stream.to_owned(), "why" => why).increment(1);
}

pub(super) fn repeated_entry(stream: &str) {
    counter!("feedplane_strategy_repeated_entries_total", "stream" => stream.to_owned()).increment(1);
}

/// An entry of any stream that could not be read, and the field or shape that was wrong.
pub(super) fn refused(stream: &str) {
    counter!("feedplane_strategy_refused_entries_total", "stream" => stream.to_owned()).increment(1);
}

pub(super) fn redis_loss(stream: &str) {
    counter!("feedplane_strategy_redis_losses_total", "stream" => stream.to_owned()).increment(1);
}

pub(super) fn state_refused(stream: &str) {
    counter!("feedplane_strategy_refused_states_total", "stream" => stream.to_owned()).increment(1);
}

pub(super) fn state_kept(stream: &str, bytes: usize, took_ms: f64) {
    now("feedplane_strategy_state_bytes", stream, bytes as f64);
    now("feedplane_strategy_state_took_ms", stream, took_ms);
}

/// Between the newest tick's arrival at the data plane and now.
pub(super) fn lag(stream: &str, ms: f64) {
    now("feedplane_strategy_lag_ms", stream, ms);
}

/// Configuration documents that were read again: `taken` or `refused`.
pub(super) fn configuration(what: &'static str) {
    counter!("feedplane_strategy_configurations_total", "what" => what).increment(1);
}
