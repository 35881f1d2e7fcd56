//! The trading state that is wanted: one row, with a revision that counts every change.

use super::{Store, StoreError};
use bus::{TradingMode, TradingState};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What trading state is wanted, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTrading {
    /// Counts changes, from 1: the `ETag` of `/v1/trading`.
    pub revision: u64,
    /// What is wanted.
    pub state: TradingState,
}

pub(super) const TRADING: &str = "SELECT revision, mode, who, reason, time_ns FROM trading WHERE id = 1";

impl WantedTrading {
    pub(super) fn read(row: &AnyRow) -> Result<WantedTrading, StoreError> {
        let mode: String = row.try_get("mode")?;
        let mode: TradingMode =
            mode.parse().map_err(|_| StoreError::Unknown(format!("the trading mode {mode:?}")))?;
        Ok(WantedTrading {
            revision: row.try_get::<i64, _>("revision")?.unsigned_abs(),
            state: TradingState {
                mode,
                by: row.try_get("who")?,
                reason: row.try_get("reason")?,
                time_ns: row.try_get::<i64, _>("time_ns")?.unsigned_abs(),
            },
        })
    }
}

impl Store {
    /// The trading state that is wanted; none when nobody has said anything yet.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn trading(&self) -> Result<Option<WantedTrading>, StoreError> {
        let row = sqlx::query(TRADING).fetch_optional(&self.pool).await?;
        row.as_ref().map(WantedTrading::read).transpose()
    }
}
