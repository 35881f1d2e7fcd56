//! The service's metrics, each made in one place.

use bus::EntryError;
use metrics::{counter, gauge};
use std::time::Duration;

pub(super) fn ticks(stream: &str, count: u64) {
    counter!("feedplane_features_ticks_total", "stream" => stream.to_owned()).increment(count);
}

/// Records of a set that were published.
pub(super) fn records(stream: &str, set: &str, count: u64) {
    counter!("feedplane_features_records_total", "stream" => stream.to_owned(), "set" => set.to_owned())
        .increment(count);
}

/// Sequence numbers that no entry covered: `trimmed` before they were read, or `redis_lost`.
pub(super) fn hole(stream: &str, why: &'static str) {
    counter!("feedplane_features_holes_total", "stream" => stream.to_owned(), "why" => why).increment(1);
}

pub(super) fn repeated(stream: &str) {
    counter!("feedplane_features_repeated_entries_total", "stream" => stream.to_owned()).increment(1);
}

pub(super) fn refused(stream: &str, error: &EntryError) {
    let reason = match error {
        EntryError::Shape(_) => "shape",
        EntryError::Missing(_) => "missing",
        EntryError::Twice(_) => "twice",
        EntryError::Number(_) => "number",
        EntryError::Range { .. } => "range",
        EntryError::Length { .. } => "length",
        EntryError::Gap => "gap",
        EntryError::Tick { .. } => "tick",
    };
    counter!("feedplane_features_refused_entries_total", "stream" => stream.to_owned(), "reason" => reason)
        .increment(1);
}

/// A kept state that could not be used.
pub(super) fn state_refused(stream: &str) {
    counter!("feedplane_features_refused_states_total", "stream" => stream.to_owned()).increment(1);
}

/// Redis lost entries of the stream, or all of it.
pub(super) fn redis_loss(stream: &str) {
    counter!("feedplane_features_redis_losses_total", "stream" => stream.to_owned()).increment(1);
}

pub(super) fn state_kept(stream: &str, bytes: usize) {
    gauge!("feedplane_features_state_bytes", "stream" => stream.to_owned()).set(bytes as f64);
}

pub(super) fn state_age(stream: &str, age: Option<Duration>) {
    if let Some(age) = age {
        gauge!("feedplane_features_state_age_ms", "stream" => stream.to_owned()).set(age.as_secs_f64() * 1e3);
    }
}

/// Between the newest tick's arrival at the data plane and now.
pub(super) fn lag(stream: &str, ms: f64) {
    gauge!("feedplane_features_lag_ms", "stream" => stream.to_owned()).set(ms);
}

/// Whether this member has the stream.
pub(super) fn lease(stream: &str, held: bool) {
    gauge!("feedplane_features_lease_held", "stream" => stream.to_owned()).set(f64::from(u8::from(held)));
}

/// Records that wait for Redis.
pub(super) fn pending(stream: &str, count: usize) {
    gauge!("feedplane_features_pending_records", "stream" => stream.to_owned()).set(count as f64);
}

/// A shard calculates other feature sets from here on.
pub(super) fn sets_changed(stream: &str) {
    counter!("feedplane_features_set_changes_total", "stream" => stream.to_owned()).increment(1);
}
