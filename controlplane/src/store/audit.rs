//! The audit: who did what, from where, what was there before and after, and what was refused.
//!
//! Entries are numbered without gaps and chained: each one's SHA-256 is over the one before and its own fields. The
//! database refuses to change or delete them; whoever gets around the database breaks the chain, which is verified at
//! start. What the chain cannot show is that the last entries are missing: keep the newest checksum elsewhere for that
//! (it is in the log with every entry).

use super::{Store, StoreError, hex, now_ns, signed};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::sync::PoisonError;
use utoipa::ToSchema;

/// Largest `before` or `after` kept whole, bytes. Documents are in the versions; here is what changed in them.
const DETAIL_BYTES_MAX: usize = 16 << 10;
/// Entries read at a time when the chain is verified.
const VERIFY_ENTRIES: i64 = 2_000;
/// What the first entry has instead of one before.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When, ns since the epoch.
    pub time_ns: u64,
    /// The token's name; `-` without a valid one.
    pub who: String,
    /// The token's role; `process` for the control plane itself, `-` without a valid token.
    pub role: String,
    /// From where.
    pub address: String,
    /// The operation's id, as in the API's description.
    pub action: String,
    /// What was changed, or was to be.
    pub target: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Why, as the caller said; for a refusal why it was refused.
    pub reason: String,
    /// What was there before; cut when large.
    pub before: Value,
    /// What is there now; cut when large.
    pub after: Value,
    /// SHA-256 of the entry before.
    pub previous: String,
    /// SHA-256 over `previous` and this entry's fields.
    pub sha256: String,
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only of this token name.
    pub who: Option<String>,
    /// Only of this operation.
    pub action: Option<String>,
    /// Only from this time on, ns since the epoch.
    pub since_ns: Option<u64>,
    /// Only entries with lower numbers.
    pub before_seq: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// How far the chain was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chain {
    /// Every entry up to this one is as it was written.
    pub verified_to: u64,
    /// The first entry that is not, or that is missing.
    #[schema(required)]
    pub broken_at: Option<u64>,
    /// Whether the verification at start has come to the end.
    pub complete: bool,
}

/// A change that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The token's name and role; none without a valid one.
    pub who: Option<(String, String)>,
    /// From where.
    pub address: String,
    /// The operation, or the method of a request that is none.
    pub action: String,
    /// The path.
    pub target: String,
    /// The status that was answered.
    pub status: u16,
    /// Why.
    pub why: String,
    /// Refusals before this one that were only counted.
    pub uncounted: u64,
}

/// An entry before it has its place in the chain.
pub(super) struct Draft {
    pub(super) time_ns: u64,
    pub(super) who: String,
    pub(super) role: String,
    pub(super) address: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) outcome: String,
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) details: String,
}

/// The value, or its checksum and size when it is larger than [`DETAIL_BYTES_MAX`].
pub(super) fn bounded(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= DETAIL_BYTES_MAX {
        return value;
    }
    json!({"cut": true, "bytes": text.len(), "sha256": hex(&Sha256::digest(&text))})
}

impl Draft {
    /// Enters it behind the last one.
    pub(super) async fn append(
        self,
        transaction: &mut Transaction<'static, Any>,
    ) -> Result<AuditEntry, StoreError> {
        let last = sqlx::query("SELECT seq, sha256 FROM audit ORDER BY seq DESC LIMIT 1")
            .fetch_optional(&mut **transaction)
            .await?;
        let (last, previous) = match last {
            Some(row) => (row.try_get::<i64, _>("seq")?, row.try_get("sha256")?),
            None => (0, BEGINNING.to_owned()),
        };
        let seq = last + 1;
        let sha256 = self.checksum(seq, &previous);
        let query = "INSERT INTO audit (seq, time_ns, who, role, address, action, target, outcome, status, reason, \
                     details, previous, sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        sqlx::query(query)
            .bind(seq)
            .bind(signed(self.time_ns))
            .bind(&self.who)
            .bind(&self.role)
            .bind(&self.address)
            .bind(&self.action)
            .bind(&self.target)
            .bind(&self.outcome)
            .bind(i64::from(self.status))
            .bind(&self.reason)
            .bind(&self.details)
            .bind(&previous)
            .bind(&sha256)
            .execute(&mut **transaction)
            .await?;
        let seq = seq.unsigned_abs();
        tracing::info!(
            seq, who = %self.who, address = %self.address, action = %self.action, target = %self.target,
            outcome = %self.outcome, status = self.status, reason = %self.reason, %sha256, "audit"
        );
        Ok(self.entry(seq, previous, sha256))
    }

    /// Over a JSON list, whose text is unambiguous.
    fn checksum(&self, seq: i64, previous: &str) -> String {
        let fields = json!([
            previous,
            seq,
            self.time_ns,
            self.who,
            self.role,
            self.address,
            self.action,
            self.target,
            self.outcome,
            self.status,
            self.reason,
            self.details,
        ]);
        hex(&Sha256::digest(fields.to_string()))
    }

    fn entry(self, seq: u64, previous: String, sha256: String) -> AuditEntry {
        let mut details: Value = serde_json::from_str(&self.details).unwrap_or_default();
        AuditEntry {
            seq,
            time_ns: self.time_ns,
            who: self.who,
            role: self.role,
            address: self.address,
            action: self.action,
            target: self.target,
            outcome: self.outcome,
            status: self.status,
            reason: self.reason,
            before: details["before"].take(),
            after: details["after"].take(),
            previous,
            sha256,
        }
    }

    fn read(row: &AnyRow) -> Result<Draft, StoreError> {
        Ok(Draft {
            time_ns: row.try_get::<i64, _>("time_ns")?.unsigned_abs(),
            who: row.try_get("who")?,
            role: row.try_get("role")?,
            address: row.try_get("address")?,
            action: row.try_get("action")?,
            target: row.try_get("target")?,
            outcome: row.try_get("outcome")?,
            status: u16::try_from(row.try_get::<i64, _>("status")?).unwrap_or(0),
            reason: row.try_get("reason")?,
            details: row.try_get("details")?,
        })
    }
}

const FIELDS: &str =
    "seq, time_ns, who, role, address, action, target, outcome, status, reason, details, previous, sha256";

impl Store {
    /// Enters a change that was refused. A full store does not take it: it is in the log.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refused(&self, refusal: Refusal) -> Result<(), StoreError> {
        if self.is_full().await? {
            tracing::warn!(?refusal, "a refused change is not in the audit: the store is full");
            return Ok(());
        }
        let (who, role) = refusal.who.unwrap_or_else(|| ("-".to_owned(), "-".to_owned()));
        let after = match refusal.uncounted {
            0 => Value::Null,
            uncounted => json!({"refused_before_and_only_counted": uncounted}),
        };
        let draft = Draft {
            time_ns: now_ns(),
            who,
            role,
            address: refusal.address,
            action: refusal.action,
            target: refusal.target,
            outcome: "refused".to_owned(),
            status: refusal.status,
            reason: refusal.why,
            details: json!({"before": null, "after": after}).to_string(),
        };
        let _alone = self.shared.writer.lock().await;
        let mut transaction = self.transaction().await?;
        let entry = draft.append(&mut transaction).await?;
        transaction.commit().await?;
        // Nobody may be listening.
        let _ = self.shared.entries.send(entry);
        Ok(())
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        let text = format!(
            "SELECT {FIELDS} FROM audit WHERE seq < $1 AND time_ns >= $2 AND ($3 = '' OR who = $3) \
             AND ($4 = '' OR action = $4) ORDER BY seq DESC LIMIT $5"
        );
        let rows = sqlx::query(&text)
            .bind(signed(query.before_seq.unwrap_or(u64::MAX)))
            .bind(signed(query.since_ns.unwrap_or(0)))
            .bind(query.who.as_deref().unwrap_or_default())
            .bind(query.action.as_deref().unwrap_or_default())
            .bind(signed(query.limit as u64))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(entry).collect()
    }

    /// Goes through the whole chain. Not holding up anything: changes go on meanwhile.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn verify(&self) -> Result<Chain, StoreError> {
        let mut chain = Chain::default();
        let mut previous = BEGINNING.to_owned();
        let query = format!("SELECT {FIELDS} FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2");
        loop {
            let rows = sqlx::query(&query)
                .bind(signed(chain.verified_to))
                .bind(VERIFY_ENTRIES)
                .fetch_all(&self.pool)
                .await?;
            if rows.is_empty() {
                chain.complete = true;
            }
            for row in &rows {
                let draft = Draft::read(row)?;
                let (seq, next) = (row.try_get::<i64, _>("seq")?, signed(chain.verified_to + 1));
                let (said_previous, said): (String, String) =
                    (row.try_get("previous")?, row.try_get("sha256")?);
                if seq != next || said_previous != previous || draft.checksum(seq, &previous) != said {
                    chain.broken_at = Some(next.unsigned_abs());
                    chain.complete = true;
                    break;
                }
                chain.verified_to = seq.unsigned_abs();
                previous = said;
            }
            *self.shared.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain.clone();
            if chain.complete {
                return Ok(chain);
            }
        }
    }

    /// How far [`Store::verify`] has come.
    pub fn chain(&self) -> Chain {
        self.shared.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn entry(row: &AnyRow) -> Result<AuditEntry, StoreError> {
    let draft = Draft::read(row)?;
    let seq: i64 = row.try_get("seq")?;
    Ok(draft.entry(seq.unsigned_abs(), row.try_get("previous")?, row.try_get("sha256")?))
}
