//! `archiver.yaml`: from which streams the archiver takes, and into which database it writes.
//!
//! The tables are described in `docs/archive.md`.

use super::{HealthSection, Problem};
use crate::names::SHARDS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The configuration of one archiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchiverDocument {
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`.
    pub redis: String,
    /// PostgreSQL, with TimescaleDB or without: `postgres://user@host:port/database`, or
    /// `postgres:///database?host=/folder/of/the/socket&user=name`. A password is better left to `PGPASSWORD`
    /// or `~/.pgpass`.
    pub database: String,
    /// Streams that the ticks are spread over, as in the data plane's document; features, instructions and reports
    /// alike.
    #[serde(default = "one")]
    pub shards: u16,
    /// This process's name among those that share the streams, unique. Host and process id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// How long a silent member keeps its streams before another takes them, ms. 100 to 600000.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// Whether the bytes between gateways and venues are archived, too. They hold what is in the reports, several times
    /// over, as the wire had it: for who must show the wire.
    #[serde(default)]
    pub drop_copy: bool,
    /// How much goes into one transaction.
    #[serde(default)]
    pub batch: BatchSection,
    /// How long rows are kept.
    #[serde(default)]
    pub retention: RetentionSection,
    /// Where metrics and health are.
    pub health: HealthSection,
}

/// How much goes into one transaction: whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSection {
    /// Rows of ticks, or as many bytes of others. Small batches pay more for each commit; large ones take memory: 180
    /// bytes a row, and as many as six batches are under way. 1 to 1000000.
    pub rows_max: u32,
    /// Longest time that a row waits for others, ms: what a query lags behind in a quiet market. 1 to 60000.
    pub wait_ms: u64,
}

impl Default for BatchSection {
    fn default() -> Self {
        BatchSection { rows_max: 50_000, wait_ms: 200 }
    }
}

/// How long rows are kept, and when they are packed. What is left out is never done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    /// Days after which ticks (and gaps) are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticks_days: Option<u32>,
    /// Days after which features are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features_days: Option<u32>,
    /// Days after which instructions, reports, trading states and drop copies are deleted. What the law wants kept, and
    /// for how long, is more than any default could know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_days: Option<u32>,
    /// Days after which chunks go to the columnstore, where the server's licence has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columnstore_days: Option<u32>,
}

fn one() -> u16 {
    1
}
fn default_lease_ms() -> u64 {
    3_000
}

const LEASE_MS: RangeInclusive<u64> = 100..=600_000;
const BATCH_ROWS: RangeInclusive<u32> = 1..=1_000_000;
const BATCH_WAIT_MS: RangeInclusive<u64> = 1..=60_000;
/// A century.
const RETENTION_DAYS: RangeInclusive<u32> = 1..=36_500;

impl ArchiverDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: &str, message: String| problems.push(Problem { path: path.into(), message });
        if !["redis://", "unix://", "redis+unix://"].iter().any(|scheme| self.redis.starts_with(scheme)) {
            problem("redis", format!("is {:?}; use redis://host:port/db or unix:///path", self.redis));
        }
        if !["postgres://", "postgresql://"].iter().any(|scheme| self.database.starts_with(scheme)) {
            // The value is not shown: it may hold a password.
            problem(
                "database",
                "is no address of a PostgreSQL; use postgres://user@host:port/database".into(),
            );
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            problem("shards", format!("is {}; choose 1 to {SHARDS_MAX}", self.shards));
        }
        if self.member.as_ref().is_some_and(String::is_empty) {
            problem("member", "is empty; name the member or leave it out".into());
        }
        if !LEASE_MS.contains(&self.lease_ms) {
            let (least, most) = LEASE_MS.into_inner();
            problem("lease_ms", format!("is {}; choose {least} to {most}", self.lease_ms));
        }
        if !BATCH_ROWS.contains(&self.batch.rows_max) {
            let (least, most) = BATCH_ROWS.into_inner();
            problem("batch.rows_max", format!("is {}; choose {least} to {most}", self.batch.rows_max));
        }
        if !BATCH_WAIT_MS.contains(&self.batch.wait_ms) {
            let (least, most) = BATCH_WAIT_MS.into_inner();
            problem("batch.wait_ms", format!("is {}; choose {least} to {most}", self.batch.wait_ms));
        }
        let days = [
            ("retention.ticks_days", self.retention.ticks_days),
            ("retention.features_days", self.retention.features_days),
            ("retention.orders_days", self.retention.orders_days),
            ("retention.columnstore_days", self.retention.columnstore_days),
        ];
        for (path, days) in days {
            if let Some(days) = days.filter(|days| !RETENTION_DAYS.contains(days)) {
                let (least, most) = RETENTION_DAYS.into_inner();
                problem(path, format!("is {days}; choose {least} to {most}, or leave it out"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
redis: unix:///run/redis.sock
database: postgres:///feedplane?host=/run/postgresql&user=feedplane
shards: 4
retention: {ticks_days: 30}
health: {listen: '127.0.0.1:9103'}
";

    #[test]
    fn a_short_document_has_sane_defaults() {
        let document = ArchiverDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!((document.shards, document.lease_ms), (4, 3_000));
        assert_eq!(document.batch, BatchSection { rows_max: 50_000, wait_ms: 200 });
        assert_eq!(document.retention.ticks_days, Some(30));
        assert_eq!((document.retention.features_days, document.retention.orders_days), (None, None));
        assert!(!document.drop_copy);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            ("redis: unix:///run/redis.sock", "redis: /run/redis.sock", "redis: is \"/run/redis.sock\""),
            ("database: postgres:", "database: mysql:", "database: is no address"),
            ("shards: 4", "shards: 0", "shards: is 0; choose 1 to 256"),
            ("shards: 4", "shards: 4\nlease_ms: 99", "lease_ms: is 99"),
            ("shards: 4", "shards: 4\nmember: ''", "member: is empty"),
            ("shards: 4", "shards: 4\nbatch: {rows_max: 0}", "batch.rows_max: is 0"),
            ("shards: 4", "shards: 4\nbatch: {wait_ms: 60001}", "batch.wait_ms: is 60001"),
            ("ticks_days: 30", "features_days: 0", "retention.features_days: is 0"),
            ("ticks_days: 30", "orders_days: 36501", "retention.orders_days: is 36501"),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replace(from, to);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = ArchiverDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
    }

    #[test]
    fn an_unknown_or_missing_field_is_refused_with_its_line() {
        let error = ArchiverDocument::parse(WHOLE.replace("shards", "shard").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 4"), "{error}");
        let error = ArchiverDocument::parse(b"redis: unix:///a\ndatabase: postgres:///b").unwrap_err();
        assert!(error.to_string().contains("health"), "{error}");
    }
}
