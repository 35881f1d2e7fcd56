//! One change: a transaction that holds what is changed, its audit entry and the answer for the idempotency key.
//!
//! ```ignore
//! let mut change = app.store.begin(&intent).await?;
//! let before = change.trading().await?;
//! let after = change.set_trading(state).await?;
//! change.commit(Done { target, before, after, answer, kept: None }).await?
//! ```
//! Dropped without [`Change::commit`], nothing has happened.

use super::audit::{Draft, bounded};
use super::trading::TRADING;
use super::versions::{NEWEST, ONE};
use super::{Store, StoreError, Version, VersionHead, WantedTrading, hex, now_ns, signed};
use crate::access::Intent;
use crate::api::{Answer, Problem, Stopped};
use axum::http::StatusCode;
use bus::TradingState;
use serde_json::{Value, json};
use sqlx::{Any, Row, Transaction};
use tokio::sync::OwnedMutexGuard;

/// How long an answer is kept for its key, ns: a day.
const ANSWER_KEPT_NS: u64 = 86_400_000_000_000;

/// A change that has begun. It is the only one until it ends.
pub struct Change {
    store: Store,
    pub(super) transaction: Transaction<'static, Any>,
    intent: Intent,
    /// When it began, ns since the epoch: the time of all that it makes.
    pub time_ns: u64,
    _alone: OwnedMutexGuard<()>,
}

/// What was done, for the audit, and what is answered.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was changed: `feeds`, `trading`, `token 3fa2…`.
    pub target: String,
    /// What was there before. Cut in the audit when it is large.
    pub before: Value,
    /// What is there now.
    pub after: Value,
    /// The answer.
    pub answer: Answer,
    /// What is kept for the idempotency key instead of the answer, where that holds a secret.
    pub kept: Option<Answer>,
}

impl Store {
    /// Begins a change. Waits for the one that is under way.
    ///
    /// # Errors
    /// When the idempotency key has an answer already ([`Stopped::Answered`]) or belongs to another request, or when the
    /// store does not answer.
    pub async fn begin(&self, intent: &Intent) -> Result<Change, Stopped> {
        let alone = std::sync::Arc::clone(&self.shared.writer).lock_owned().await;
        let transaction = self.transaction().await.map_err(Problem::from)?;
        let mut change = Change {
            store: self.clone(),
            transaction,
            intent: intent.clone(),
            time_ns: now_ns(),
            _alone: alone,
        };
        if let Some(key) = &intent.key
            && let Some(answer) = change.earlier(key).await?
        {
            return Err(Stopped::Answered(Box::new(answer)));
        }
        Ok(change)
    }
}

impl Change {
    async fn earlier(&mut self, key: &str) -> Result<Option<Answer>, Problem> {
        let query = "SELECT fingerprint, status, body, version, location FROM answers \
                     WHERE token_id = $1 AND key = $2 AND time_ns > $3";
        let row = sqlx::query(query)
            .bind(&self.intent.caller.token_id)
            .bind(key)
            .bind(signed(self.time_ns.saturating_sub(ANSWER_KEPT_NS)))
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(StoreError::from)?;
        let Some(row) = row else { return Ok(None) };
        let read = || -> Result<(String, Answer), StoreError> {
            let status: i64 = row.try_get("status")?;
            let body: String = row.try_get("body")?;
            let location: String = row.try_get("location")?;
            let answer = Answer {
                status: u16::try_from(status)
                    .ok()
                    .and_then(|status| StatusCode::from_u16(status).ok())
                    .ok_or_else(|| StoreError::Unknown(format!("the status {status}")))?,
                body: serde_json::from_str(&body).map_err(|_| StoreError::Unknown("a torn answer".into()))?,
                version: row.try_get::<Option<i64>, _>("version")?.map(i64::unsigned_abs),
                location: (!location.is_empty()).then_some(location),
            };
            Ok((row.try_get("fingerprint")?, answer))
        };
        let (fingerprint, answer) = read()?;
        if fingerprint != hex(&self.intent.fingerprint) {
            let message = "this Idempotency-Key was used for another request; take a new one";
            return Err(Problem::invalid(message));
        }
        Ok(Some(answer))
    }

    /// The newest version of a document, as this change finds it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn newest(&mut self, service: &str) -> Result<Option<Version>, Problem> {
        let row = sqlx::query(NEWEST).bind(service).fetch_optional(&mut *self.transaction).await;
        Ok(row.map_err(StoreError::from)?.as_ref().map(Version::read).transpose()?)
    }

    /// One version of a document.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn version(&mut self, service: &str, version: u64) -> Result<Option<Version>, Problem> {
        let query = sqlx::query(ONE).bind(service).bind(signed(version));
        let row = query.fetch_optional(&mut *self.transaction).await.map_err(StoreError::from)?;
        Ok(row.as_ref().map(Version::read).transpose()?)
    }

    /// Adds the next version of a document.
    ///
    /// # Errors
    /// 507 when the store has reached its size; when it does not answer.
    pub async fn add_version(
        &mut self,
        service: &str,
        after: u64,
        document: &Value,
        reason: &str,
    ) -> Result<Version, Problem> {
        if self.store.is_full().await? {
            let message = "the store has reached limits.store_mib; raise it, nothing is deleted by itself";
            return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, message));
        }
        let text = document.to_string();
        let by = &self.intent.caller.name;
        let head = VersionHead::of(service, after + 1, document, by, reason, self.time_ns);
        let query = "INSERT INTO versions (service, version, sha256, document, who, reason, time_ns) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(query)
            .bind(&head.service)
            .bind(signed(head.version))
            .bind(&head.sha256)
            .bind(&text)
            .bind(&head.by)
            .bind(&head.reason)
            .bind(signed(head.time_ns))
            .execute(&mut *self.transaction)
            .await
            .map_err(StoreError::from)?;
        Ok(Version { head, document: document.clone(), text })
    }

    /// The trading state that is wanted, as this change finds it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn trading(&mut self) -> Result<Option<WantedTrading>, Problem> {
        let row = sqlx::query(TRADING).fetch_optional(&mut *self.transaction).await;
        Ok(row.map_err(StoreError::from)?.as_ref().map(WantedTrading::read).transpose()?)
    }

    /// Wants another trading state; its revision is one more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_trading(&mut self, state: TradingState) -> Result<WantedTrading, Problem> {
        let revision = self.trading().await?.map_or(0, |before| before.revision) + 1;
        let query = "INSERT INTO trading (id, revision, mode, who, reason, time_ns) VALUES (1, $1, $2, $3, $4, $5) \
                     ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, mode = excluded.mode, \
                     who = excluded.who, reason = excluded.reason, time_ns = excluded.time_ns";
        sqlx::query(query)
            .bind(signed(revision))
            .bind(state.mode.word())
            .bind(&state.by)
            .bind(&state.reason)
            .bind(signed(state.time_ns))
            .execute(&mut *self.transaction)
            .await
            .map_err(StoreError::from)?;
        Ok(WantedTrading { revision, state })
    }

    /// Enters the change in the audit, keeps the answer for its key, and makes all of it true.
    ///
    /// # Errors
    /// When the store does not answer; then nothing has happened.
    pub async fn commit(mut self, done: Done) -> Result<Answer, Stopped> {
        if let Some(key) = self.intent.key.clone() {
            let answer = done.kept.as_ref().unwrap_or(&done.answer);
            self.keep(&key, answer).await.map_err(Problem::from)?;
        }
        let details = json!({"before": bounded(done.before), "after": bounded(done.after)});
        let internal = self.intent.caller.token_id.is_empty();
        let draft = Draft {
            time_ns: self.time_ns,
            who: self.intent.caller.name.clone(),
            role: if internal { "process".to_owned() } else { self.intent.caller.role.word().to_owned() },
            address: if internal { String::new() } else { self.intent.caller.address.to_string() },
            action: self.intent.action.clone(),
            target: done.target,
            outcome: "done".to_owned(),
            status: done.answer.status.as_u16(),
            reason: self.intent.reason.clone().unwrap_or_default(),
            details: details.to_string(),
        };
        let entry = draft.append(&mut self.transaction).await.map_err(Problem::from)?;
        self.transaction.commit().await.map_err(|error| Problem::from(StoreError::from(error)))?;
        // Nobody may be listening.
        let _ = self.store.shared.entries.send(entry);
        Ok(done.answer)
    }

    async fn keep(&mut self, key: &str, answer: &Answer) -> Result<(), StoreError> {
        let kept_since = signed(self.time_ns.saturating_sub(ANSWER_KEPT_NS));
        sqlx::query("DELETE FROM answers WHERE time_ns <= $1")
            .bind(kept_since)
            .execute(&mut *self.transaction)
            .await?;
        let query = "INSERT INTO answers (token_id, key, fingerprint, status, body, version, location, time_ns) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        sqlx::query(query)
            .bind(&self.intent.caller.token_id)
            .bind(key)
            .bind(hex(&self.intent.fingerprint))
            .bind(i64::from(answer.status.as_u16()))
            .bind(answer.body.to_string())
            .bind(answer.version.map(signed))
            .bind(answer.location.clone().unwrap_or_default())
            .bind(signed(self.time_ns))
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }
}
