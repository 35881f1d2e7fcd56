//! Tokens: of a secret its SHA-256 is kept. The secret has 32 random bytes, so there is nothing to guess that a slow hash
//! would slow down.

use super::{Change, Store, StoreError, hex, now_ns, signed};
use crate::access::Role;
use crate::api::Problem;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

/// Most tokens that are neither expired nor revoked: all of them are held in memory.
pub const TOKENS_MAX: usize = 1_000;
/// How long an expired or revoked token is still listed, ns: 30 days.
const LISTED_NS: u64 = 30 * 86_400_000_000_000;

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose token made it.
    pub made_by: String,
    /// When, ns since the epoch.
    pub made_ns: u64,
    /// When it expires, ns since the epoch; never when null.
    #[schema(required)]
    pub expires_ns: Option<u64>,
    /// When it was revoked, ns since the epoch.
    #[schema(required)]
    pub revoked_ns: Option<u64>,
    /// SHA-256 of its secret.
    #[serde(skip)]
    #[schema(ignore)]
    pub secret_sha256: String,
}

/// A token and its secret, which is nowhere else.
pub struct NewToken {
    /// The token.
    pub token: Token,
    /// `fp_<id>_<secret>`.
    pub text: String,
}

impl Token {
    /// Whether it lets in at this time.
    pub fn is_good(&self, now_ns: u64) -> bool {
        self.revoked_ns.is_none() && self.expires_ns.is_none_or(|expires_ns| now_ns < expires_ns)
    }

    fn read(row: &AnyRow) -> Result<Token, StoreError> {
        let role: String = row.try_get("role")?;
        let time = |name: &str| -> Result<Option<u64>, StoreError> {
            Ok(row.try_get::<Option<i64>, _>(name)?.map(i64::unsigned_abs))
        };
        Ok(Token {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            role: role.parse().map_err(StoreError::Unknown)?,
            made_by: row.try_get("made_by")?,
            made_ns: time("made_ns")?.unwrap_or(0),
            expires_ns: time("expires_ns")?,
            revoked_ns: time("revoked_ns")?,
            secret_sha256: row.try_get("sha256")?,
        })
    }
}

/// Checksum of a secret, as it is kept.
fn secret_sha256(secret: &str) -> String {
    hex(&Sha256::digest(secret))
}

/// Whether this is the token's secret. Compared without telling by its time how much of it is right.
pub(crate) fn secret_matches(token: &Token, secret: &str) -> bool {
    let (have, want) = (secret_sha256(secret), token.secret_sha256.as_bytes());
    have.len() == want.len() && have.bytes().zip(want).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// So many random bytes of the system, hexadecimal.
fn random_hex<const BYTES: usize>() -> Result<String, Problem> {
    let mut bytes = [0_u8; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        let got = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += got.map_err(|error| Problem::internal(format!("the system has no randomness: {error}")))?;
    }
    Ok(hex(&bytes))
}

impl Store {
    /// The token with this id, whether it lets in or not.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn token(&self, id: &str) -> Result<Option<Token>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM tokens WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(Token::read).transpose()
    }

    /// Tokens that let in, and those that did until 30 days ago, by id, those after `after`; at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn tokens(&self, after: &str, limit: usize) -> Result<Vec<Token>, StoreError> {
        let since = signed(now_ns().saturating_sub(LISTED_NS));
        let rows = sqlx::query(
            "SELECT * FROM tokens WHERE id > $1 AND COALESCE(revoked_ns, expires_ns, $2) >= $2 ORDER BY id LIMIT $3",
        )
        .bind(after)
        .bind(since)
        .bind(signed(limit as u64))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Token::read).collect()
    }

    /// Whether there is any token, good or not.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn has_tokens(&self) -> Result<bool, StoreError> {
        let count: i64 =
            sqlx::query("SELECT COUNT(*) FROM tokens").fetch_one(&self.pool).await?.try_get(0)?;
        Ok(count > 0)
    }
}

impl Change {
    /// Makes a token.
    ///
    /// # Errors
    /// 409 when there are [`TOKENS_MAX`]; when the store does not answer.
    pub async fn add_token(
        &mut self,
        name: &str,
        role: Role,
        made_by: &str,
        expires_ns: Option<u64>,
    ) -> Result<NewToken, Problem> {
        let count: i64 = sqlx::query(
            "SELECT COUNT(*) FROM tokens WHERE revoked_ns IS NULL AND COALESCE(expires_ns, $1) >= $1",
        )
        .bind(signed(self.time_ns))
        .fetch_one(&mut *self.transaction)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(StoreError::from)?;
        if count >= TOKENS_MAX as i64 {
            return Err(Problem::conflict(format!("there are {TOKENS_MAX} tokens; revoke some")));
        }
        let (id, secret) = (random_hex::<6>()?, random_hex::<32>()?);
        let token = Token {
            id,
            name: name.to_owned(),
            role,
            made_by: made_by.to_owned(),
            made_ns: self.time_ns,
            expires_ns,
            revoked_ns: None,
            secret_sha256: secret_sha256(&secret),
        };
        let query = "INSERT INTO tokens (id, name, role, sha256, made_by, made_ns, expires_ns) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(query)
            .bind(&token.id)
            .bind(&token.name)
            .bind(role.word())
            .bind(&token.secret_sha256)
            .bind(&token.made_by)
            .bind(signed(token.made_ns))
            .bind(token.expires_ns.map(signed))
            .execute(&mut *self.transaction)
            .await
            .map_err(StoreError::from)?;
        let text = format!("fp_{}_{secret}", token.id);
        Ok(NewToken { token, text })
    }

    /// Revokes a token; what it was before. `None` when there is none that lets in.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn revoke_token(&mut self, id: &str) -> Result<Option<Token>, Problem> {
        let query = sqlx::query("SELECT * FROM tokens WHERE id = $1").bind(id);
        let row = query.fetch_optional(&mut *self.transaction).await.map_err(StoreError::from)?;
        let Some(token) = row.as_ref().map(Token::read).transpose()? else { return Ok(None) };
        if !token.is_good(self.time_ns) {
            return Ok(None);
        }
        sqlx::query("UPDATE tokens SET revoked_ns = $1 WHERE id = $2")
            .bind(signed(self.time_ns))
            .bind(id)
            .execute(&mut *self.transaction)
            .await
            .map_err(StoreError::from)?;
        Ok(Some(token))
    }

    /// Whether any token of the role risk lets in.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn has_risk_token(&mut self) -> Result<bool, Problem> {
        let query = "SELECT COUNT(*) FROM tokens WHERE role = 'risk' AND revoked_ns IS NULL AND COALESCE(expires_ns, $1) >= $1";
        let count: i64 = sqlx::query(query)
            .bind(signed(self.time_ns))
            .fetch_one(&mut *self.transaction)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(StoreError::from)?;
        Ok(count > 0)
    }
}
