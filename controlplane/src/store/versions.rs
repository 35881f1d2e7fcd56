//! Versions of documents: counted from 1 for each, only added.

use super::{Store, StoreError, hex, signed};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

/// One version of a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Version {
    /// What it says of itself.
    #[serde(flatten)]
    pub head: VersionHead,
    /// The document, without the fields of one process.
    pub document: Value,
    /// The document's bytes as they are distributed: what `sha256` is over.
    #[serde(skip)]
    pub text: String,
}

/// What a version says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct VersionHead {
    /// Which document.
    pub service: String,
    /// Its number, from 1.
    pub version: u64,
    /// SHA-256 of the document's bytes, hexadecimal.
    pub sha256: String,
    /// Whose token made it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, ns since the epoch.
    pub time_ns: u64,
}

const HEAD: &str = "service, version, sha256, who, reason, time_ns";

impl VersionHead {
    /// The head of a version of this document.
    pub(crate) fn of(
        service: &str,
        version: u64,
        document: &Value,
        by: &str,
        reason: &str,
        time_ns: u64,
    ) -> VersionHead {
        VersionHead {
            service: service.to_owned(),
            version,
            sha256: hex(&Sha256::digest(document.to_string())),
            by: by.to_owned(),
            reason: reason.to_owned(),
            time_ns,
        }
    }

    fn read(row: &AnyRow) -> Result<VersionHead, StoreError> {
        Ok(VersionHead {
            service: row.try_get("service")?,
            version: row.try_get::<i64, _>("version")?.unsigned_abs(),
            sha256: row.try_get("sha256")?,
            by: row.try_get("who")?,
            reason: row.try_get("reason")?,
            time_ns: row.try_get::<i64, _>("time_ns")?.unsigned_abs(),
        })
    }
}

impl Version {
    pub(super) fn read(row: &AnyRow) -> Result<Version, StoreError> {
        let head = VersionHead::read(row)?;
        let text: String = row.try_get("document")?;
        let document = serde_json::from_str(&text).map_err(|error| {
            StoreError::Unknown(format!("{} {} as no JSON ({error})", head.service, head.version))
        })?;
        Ok(Version { head, document, text })
    }
}

pub(super) const NEWEST: &str = "SELECT service, version, sha256, who, reason, time_ns, document FROM versions \
                                 WHERE service = $1 ORDER BY version DESC LIMIT 1";
pub(super) const ONE: &str = "SELECT service, version, sha256, who, reason, time_ns, document FROM versions \
                              WHERE service = $1 AND version = $2";

impl Store {
    /// The newest version of a document; none when it has none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn newest(&self, service: &str) -> Result<Option<Version>, StoreError> {
        let row = sqlx::query(NEWEST).bind(service).fetch_optional(&self.pool).await?;
        row.as_ref().map(Version::read).transpose()
    }

    /// What the newest version of a document says of itself: for whoever only wants to know whether there is another.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn newest_head(&self, service: &str) -> Result<Option<VersionHead>, StoreError> {
        let query = format!("SELECT {HEAD} FROM versions WHERE service = $1 ORDER BY version DESC LIMIT 1");
        let row = sqlx::query(&query).bind(service).fetch_optional(&self.pool).await?;
        row.as_ref().map(VersionHead::read).transpose()
    }

    /// One version of a document.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn version(&self, service: &str, version: u64) -> Result<Option<Version>, StoreError> {
        let query = sqlx::query(ONE).bind(service).bind(signed(version));
        query.fetch_optional(&self.pool).await?.as_ref().map(Version::read).transpose()
    }

    /// Versions of a document, newest first, those below `before`; at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn history(
        &self,
        service: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<VersionHead>, StoreError> {
        let query = format!(
            "SELECT {HEAD} FROM versions WHERE service = $1 AND version < $2 ORDER BY version DESC LIMIT $3"
        );
        let rows = sqlx::query(&query)
            .bind(service)
            .bind(signed(before.unwrap_or(u64::MAX)))
            .bind(signed(limit as u64))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(VersionHead::read).collect()
    }
}
