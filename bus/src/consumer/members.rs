//! Which member of a group reads which stream: leases in Redis.
//!
//! | key | what |
//! |---|---|
//! | `members:<group>` | sorted set: member → when it was last heard, ms by Redis's clock |
//! | `lease:<group>:<stream>` | `token:member`, expires when the member is silent |
//!
//! A token is Redis's clock in µs when the lease was taken, so a later owner has a higher one, also after
//! Redis has lost its memory. Each member takes its share: the streams divided by the members, rounded up.

use super::{ConsumerError, Link};
use std::time::{Duration, Instant};

/// Who joins which group.
#[derive(Clone, Debug)]
pub struct MembersConfig {
    /// Redis.
    pub redis: String,
    /// The group: the service's name.
    pub group: String,
    /// This process's name, unique in the group.
    pub member: String,
    /// The streams to be divided.
    pub streams: Vec<String>,
    /// How long a silent member keeps its streams.
    pub lease: Duration,
}

/// A stream that is this member's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The stream.
    pub stream: String,
    /// Grows with every change of owner: what stores results keeps the highest and refuses a lower one.
    pub token: u64,
}

/// What a look after the leases changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Streams that are this member's from now on.
    pub taken: Vec<Lease>,
    /// Streams that are not this member's any more: what was not committed is another's to do.
    pub lost: Vec<String>,
}

/// This process's membership in a group.
pub struct Members {
    config: MembersConfig,
    link: Link,
    held: Vec<Held>,
    due: Instant,
}

struct Held {
    lease: Lease,
    /// From when on the lease cannot be relied on, by our own clock.
    until: Instant,
}

/// Takes the lease when it is free: KEYS lease; ARGV member, ms. Gives the token, or nothing.
const TAKE: &str = "local t = redis.call('TIME')
local token = t[1] .. string.format('%06d', t[2])
if redis.call('SET', KEYS[1], token .. ':' .. ARGV[1], 'NX', 'PX', ARGV[2]) then return token end
return false";
/// Prolongs the lease if it is ours: KEYS lease; ARGV value, ms.
const KEEP: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0";
/// Gives the lease back if it is ours: KEYS lease; ARGV value.
const GIVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";
/// Says that this member lives and counts those that do: KEYS members; ARGV member, ms of silence allowed.
const HEARD: &str = "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return redis.call('ZCARD', KEYS[1])";

impl Members {
    /// A membership; nothing is connected or taken yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(config: MembersConfig) -> Result<Members, ConsumerError> {
        Ok(Members { link: Link::new(&config.redis)?, config, held: Vec::new(), due: Instant::now() })
    }

    /// Looks after the leases when it is time to: a third of a lease after the last look. To be called in
    /// every turn of the service. With Redis gone, the leases are lost when they have run out by our own
    /// clock.
    ///
    /// # Errors
    /// When Redis cannot be asked. What is lost by then is told by the next look that succeeds, and by
    /// [`Members::holds`] at once.
    pub fn tend(&mut self) -> Result<Tended, ConsumerError> {
        let now = Instant::now();
        if now < self.due {
            return Ok(Tended::default());
        }
        let mut tended = Tended::default();
        let members = self.heard()?;
        self.keep(&mut tended)?;
        let share = self.config.streams.len().div_ceil(members.max(1));
        while self.held.len() > share {
            if let Some(held) = self.held.pop() {
                self.give(&held.lease)?;
                tended.lost.push(held.lease.stream);
            }
        }
        self.take_up_to(share, &mut tended)?;
        self.due = now + self.config.lease / 3;
        Ok(tended)
    }

    /// Whether a stream is still this member's, by our own clock: to be asked before results are stored.
    pub fn holds(&self, stream: &str) -> bool {
        self.held.iter().any(|held| held.lease.stream == stream && Instant::now() < held.until)
    }

    /// Gives everything back, so that others need not wait for the leases to run out.
    ///
    /// # Errors
    /// When Redis cannot be asked; the leases run out then.
    pub fn leave(mut self) -> Result<(), ConsumerError> {
        for held in std::mem::take(&mut self.held) {
            self.give(&held.lease)?;
        }
        let mut leave = redis::cmd("ZREM");
        leave.arg(self.members_key()).arg(&self.config.member);
        self.link.ask(&leave)
    }

    fn members_key(&self) -> String {
        format!("members:{}", self.config.group)
    }

    fn lease_key(&self, stream: &str) -> String {
        format!("lease:{}:{stream}", self.config.group)
    }

    fn value(&self, lease: &Lease) -> String {
        format!("{}:{}", lease.token, self.config.member)
    }

    fn lease_ms(&self) -> u64 {
        self.config.lease.as_millis() as u64
    }

    fn heard(&mut self) -> Result<usize, ConsumerError> {
        let mut heard = redis::cmd("EVAL");
        heard.arg(HEARD).arg(1).arg(self.members_key()).arg(&self.config.member).arg(self.lease_ms());
        self.link.ask(&heard)
    }

    fn keep(&mut self, tended: &mut Tended) -> Result<(), ConsumerError> {
        for held in std::mem::take(&mut self.held) {
            // The lease runs from before it was asked for, so ours ends no later than Redis's.
            let until = Instant::now() + self.config.lease;
            let mut keep = redis::cmd("EVAL");
            keep.arg(KEEP).arg(1).arg(self.lease_key(&held.lease.stream));
            keep.arg(self.value(&held.lease)).arg(self.lease_ms());
            match self.link.ask::<u64>(&keep) {
                Ok(0) => tended.lost.push(held.lease.stream),
                Ok(_) => self.held.push(Held { lease: held.lease, until }),
                Err(error) => {
                    self.held.push(held);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn take_up_to(&mut self, share: usize, tended: &mut Tended) -> Result<(), ConsumerError> {
        for stream in self.config.streams.clone() {
            if self.held.len() >= share {
                break;
            }
            if self.held.iter().any(|held| held.lease.stream == stream) {
                continue;
            }
            let until = Instant::now() + self.config.lease;
            let mut take = redis::cmd("EVAL");
            take.arg(TAKE).arg(1).arg(self.lease_key(&stream)).arg(&self.config.member).arg(self.lease_ms());
            if let Some(token) = self.link.ask::<Option<u64>>(&take)? {
                let lease = Lease { stream, token };
                tended.taken.push(lease.clone());
                self.held.push(Held { lease, until });
            }
        }
        Ok(())
    }

    fn give(&mut self, lease: &Lease) -> Result<(), ConsumerError> {
        let mut give = redis::cmd("EVAL");
        give.arg(GIVE).arg(1).arg(self.lease_key(&lease.stream)).arg(self.value(lease));
        self.link.ask::<u64>(&give).map(|_| ())
    }
}
