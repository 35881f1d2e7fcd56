//! Order entry: OUCH 5.0 over SoupBinTCP, in front of the exchange.
//!
//! ```text
//!            ┌─ Sockets ──────┐      ┌─ Server ──────────┐ messages  ┌─ Desk ─────┐ orders   ┌──────────┐
//!  clients ══╡ non-blocking,  ╞══════╡ SoupBinTCP: login, ├──────────►│ OUCH 5.0,  ├─────────►│ Exchange │
//!            │ one thread     │ bytes│ heartbeats, replay │◄──────────┤ ledgers    │◄─────────┤          │
//!            └────────────────┘      └─ Stream per user ──┘ sequenced └────────────┘ reports  └──────────┘
//! ```
//!
//! [`Server`] and [`Desk`] are pure: bytes and a time in, bytes out, the same for the same calls. [`Sockets`]
//! owns the listener and the connections, and decides nothing. A user's sequenced messages belong to the user,
//! not to a connection: they are kept for the whole session, so that any login can ask for any of them again.
//!
//! Invariants: a message has its number for good; numbers count up in the exchange's order of time; a user has at
//! most one connection; a user reference number enters at most one order.

mod desk;
mod desk_reports;
mod ledger;
mod server;
mod sockets;
mod stream;

pub use desk::{Desk, Floor};
pub use ledger::{Ledger, Orders, SymbolLedger};
pub use server::{
    Application, Closed, ConnectionId, Counts, MAX_CONNECTIONS, MAX_PACKET_BYTES, Server, UserCounts, UserId,
};
pub use sockets::Sockets;
pub use stream::{Stream, Streams};

use std::str::FromStr;

/// Somebody who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// 1 to 6 visible ASCII characters; case does not matter.
    pub name: String,
    /// 1 to 10 visible ASCII characters; case does not matter.
    pub password: String,
    /// The firm of its orders, as OUCH has it: the name's first four letters, as capitals.
    pub firm: [u8; 4],
    /// Whether its orders are cancelled when its connection is lost or logged out.
    pub cancel_on_disconnect: bool,
}

impl User {
    /// A user whose orders outlive its connection.
    ///
    /// # Errors
    /// Name or password do not fit their fields.
    pub fn new(name: &str, password: &str) -> Result<User, UserError> {
        let fits = |text: &str, max| {
            (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !fits(name, 6) {
            return Err(UserError::Name(name.to_owned()));
        }
        if !fits(password, 10) {
            return Err(UserError::Password(name.to_owned()));
        }
        let mut firm = [b' '; 4];
        for (to, from) in firm.iter_mut().zip(name.bytes()) {
            *to = from.to_ascii_uppercase();
        }
        Ok(User { name: name.to_owned(), password: password.to_owned(), firm, cancel_on_disconnect: false })
    }
}

impl std::fmt::Debug for User {
    /// All but the password, which no log may hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("cancel_on_disconnect", &self.cancel_on_disconnect)
            .finish_non_exhaustive()
    }
}

impl FromStr for User {
    type Err = UserError;

    /// Reads `name:password`.
    fn from_str(text: &str) -> Result<User, UserError> {
        let (name, password) = text.split_once(':').ok_or(UserError::NoColon)?;
        User::new(name, password)
    }
}

/// Why somebody cannot be a user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UserError {
    /// Not `name:password`.
    #[error("a user is written NAME:PASSWORD")]
    NoColon,
    /// The name does not fit.
    #[error("user {0:?}: the name must have 1 to 6 visible ASCII characters")]
    Name(String),
    /// The password does not fit; it is not repeated here.
    #[error("user {0}: the password must have 1 to 10 visible ASCII characters")]
    Password(String),
    /// Two users of one name.
    #[error("user {0} is given twice")]
    Twice(String),
    /// More than can be numbered.
    #[error("{0} users, at most {max} are possible", max = u16::MAX)]
    TooMany(usize),
}
