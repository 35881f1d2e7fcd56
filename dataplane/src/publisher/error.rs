//! What can be wrong with the publisher's set-up, said so that the operator knows what to change.

use std::path::PathBuf;

/// An error of the publisher.
#[derive(Debug, thiserror::Error)]
pub enum PublisherError {
    /// The URL cannot be understood.
    #[error(
        "{reason}; a Redis URL is redis://[user:password@]host[:port][/db] or unix:///path/to/socket[?db=0&user=…&pass=…]"
    )]
    Url {
        /// What is wrong with it. The URL itself may hold a password and is not repeated.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}; {rule}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        rule: &'static str,
    },
    /// Redis cannot be reached.
    #[error("cannot reach Redis at {address}: {source}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Redis refused a command.
    #[error("Redis at {address} refused {command}: {message}{}", advice(.message))]
    Refused {
        /// Where.
        address: String,
        /// The command.
        command: &'static str,
        /// Redis's words.
        message: String,
    },
    /// What answers is not a Redis, or a key holds something of another kind.
    #[error("at {address}: {reason}")]
    Unexpected {
        /// Where.
        address: String,
        /// What was found.
        reason: String,
    },
    /// The spool file cannot be used.
    #[error("spool file {}: {source}", path.display())]
    Spool {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the publisher's thread: {0}")]
    Thread(std::io::Error),
    /// The thread ended by itself; a bug.
    #[error("the publisher's thread is gone")]
    Gone,
    /// Not everything could be published before the end.
    #[error("{ticks} ticks were not published in time{}", .last_error.as_deref().map(|e| format!("; {e}")).unwrap_or_default())]
    Undelivered {
        /// How many were left in rings, spool and writes.
        ticks: u64,
        /// The last thing that went wrong with Redis.
        last_error: Option<String>,
    },
}

impl PublisherError {
    /// Whether it may pass by itself: Redis is not up yet, is loading, is out of memory. What is not
    /// transient is for the operator to change.
    pub fn is_transient(&self) -> bool {
        match self {
            PublisherError::Unreachable { .. } => true,
            PublisherError::Refused { message, .. } => {
                let message = cause(message);
                let passing = ["LOADING", "BUSY", "OOM", "MISCONF", "READONLY", "MASTERDOWN", "NOREPLICAS"];
                let exhausted = "ERR max number of clients reached";
                passing.iter().any(|word| message.starts_with(word)) || message.starts_with(exhausted)
            }
            _ => false,
        }
    }
}

/// What made Redis refuse: it may say so of a transaction as a whole, when that comes to be executed.
fn cause(message: &str) -> &str {
    message.strip_prefix("EXECABORT Transaction discarded because of: ").unwrap_or(message)
}

/// What to do about a refusal, by its first word.
fn advice(message: &str) -> &'static str {
    match cause(message).split_whitespace().next().unwrap_or_default() {
        "NOAUTH" => " (give the password in the URL)",
        "WRONGPASS" => " (user or password in the URL is wrong)",
        "NOPERM" => {
            " (the user needs +xadd +hset +hgetall +type +multi +exec +select +info +client|id \
             +client|setname +client|kill on raw_market_data* and instruments:*)"
        }
        "OOM" => " (Redis is at maxmemory; lower entries_max or give it more)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_means_the_same_of_a_command_and_of_the_transaction_around_it() {
        let oom = "OOM command not allowed when used memory > 'maxmemory'.";
        let of_all = format!("EXECABORT Transaction discarded because of: {oom}");
        for message in [oom.to_owned(), of_all] {
            let error = PublisherError::Refused { address: "x".into(), command: "a write", message };
            assert!(error.is_transient() && error.to_string().contains("lower entries_max"), "{error}");
        }
        let message = "NOPERM this user has no permissions".to_owned();
        assert!(!PublisherError::Refused { address: "x".into(), command: "a write", message }.is_transient());
    }
}
