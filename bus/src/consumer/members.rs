//! Which member of a group reads which stream: leases in Redis.
//!
//! | key | what |
//! |---|---|
//! | `members:<group>` | sorted set: member → when it was last heard, ms by Redis's clock |
//! | `lease:<group>:<stream>` | `token:member`, expires when the member is silent |
//! | `lease:<group>:<stream>:token` | the highest token given out |
//!
//! A token is Redis's clock in µs when the lease was taken, or one more than the one before it when that
//! clock was set back. So a later owner has a higher token, also after Redis has lost its memory (then as
//! long as its clock goes forward). Each member takes its share: the streams divided by the members; what
//! is left over goes to the first members by name.
//!
//! Invariant: what changed is told once. A tend that is cut off by an error leaves what it changed to be
//! told by the next that succeeds.

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

/// What a look after the leases changed. A stream can be in both lists: it was lost and is taken anew, with
/// another token. So `lost` comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Streams that are not this member's any more: what was not committed is another's to do.
    pub lost: Vec<String>,
    /// Streams that are this member's from now on.
    pub taken: Vec<Lease>,
}

/// What a script or transaction in the same Redis asks for before it writes: `GET key` must give `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease's key.
    pub key: String,
    /// What it holds as long as the lease is ours.
    pub value: String,
}

/// This process's membership in a group.
pub struct Members {
    config: MembersConfig,
    link: Link,
    held: Vec<Held>,
    untold: Tended,
    due: Instant,
    gives_back: bool,
}

struct Held {
    lease: Lease,
    /// From when on the lease cannot be relied on, by our own clock.
    until: Instant,
}

/// Takes the lease when it is free: KEYS lease, token; ARGV member, ms. Gives the token, or nothing.
const TAKE: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local t = redis.call('TIME')
local token = math.max(t[1] * 1000000 + t[2], tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
token = string.format('%.0f', token)
redis.call('SET', KEYS[1], token .. ':' .. ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], token)
return token";
/// Prolongs the lease if it is ours: KEYS lease; ARGV value, ms.
const KEEP: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0";
/// Gives the lease back if it is ours: KEYS lease; ARGV value.
const GIVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";
/// Says that this member lives: KEYS members; ARGV member, ms of silence allowed. Gives how many members
/// live, and how many of them come before this one by name.
const HEARD: &str = "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
local before = 0
local all = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, member in ipairs(all) do if member < ARGV[1] then before = before + 1 end end
return {#all, before}";

/// `host-process`: a name for a member that was given none, unique among the processes of a cluster.
pub fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

impl Members {
    /// A membership; nothing is connected or taken yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(config: MembersConfig) -> Result<Members, ConsumerError> {
        let link = Link::new(&config.redis)?;
        let untold = Tended::default();
        Ok(Members { link, config, held: Vec::new(), untold, due: Instant::now(), gives_back: true })
    }

    /// A membership that keeps what it has when others join, until it loses or leaves it. For work that a change of
    /// owner disturbs, and that must not be anyone else's before this member has ended it.
    #[must_use]
    pub fn keeping(mut self) -> Members {
        self.gives_back = false;
        self
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
        let (members, before) = self.heard()?;
        self.keep()?;
        let share = share(self.config.streams.len(), members, before);
        while self.gives_back
            && self.held.len() > share
            && let Some(held) = self.held.pop()
        {
            self.untold.lost.push(held.lease.stream.clone());
            self.give(&held.lease)?;
        }
        self.take_up_to(share)?;
        self.due = now + self.config.lease / 3;
        Ok(std::mem::take(&mut self.untold))
    }

    /// Other streams are to be divided from the next look on, which is due at once. What is held of the others stays held
    /// until it is given back.
    pub fn change_streams(&mut self, streams: Vec<String>) {
        self.config.streams = streams;
        self.due = Instant::now();
    }

    /// Gives one stream back that this member has ended with; it is not held any more, whatever Redis says. Whether it is
    /// taken again, the streams that are to be divided say.
    ///
    /// # Errors
    /// When Redis cannot be asked; the lease runs out then.
    pub fn give_back(&mut self, stream: &str) -> Result<(), ConsumerError> {
        self.due = Instant::now();
        match self.held.iter().position(|held| held.lease.stream == stream) {
            Some(at) => {
                let held = self.held.remove(at);
                self.give(&held.lease)
            }
            None => Ok(()),
        }
    }

    /// Whether a stream is still this member's, by our own clock: to be asked before results are stored.
    /// `false` may be said of a lease that is prolonged after all, by the next [`Members::tend`]: then it
    /// was no one else's meanwhile.
    pub fn holds(&self, stream: &str) -> bool {
        self.held.iter().any(|held| held.lease.stream == stream && Instant::now() < held.until)
    }

    /// Until when a stream is this member's, by our own clock; nothing when it is not.
    pub fn held_until(&self, stream: &str) -> Option<Instant> {
        self.held.iter().find(|held| held.lease.stream == stream).map(|held| held.until)
    }

    /// What proves to Redis that a stream is this member's; nothing when it is not.
    pub fn fence(&self, stream: &str) -> Option<Fence> {
        let held = self.held.iter().find(|held| held.lease.stream == stream)?;
        Some(Fence { key: self.lease_key(stream), value: self.value(&held.lease) })
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

    fn heard(&mut self) -> Result<(usize, usize), ConsumerError> {
        let mut heard = redis::cmd("EVAL");
        heard.arg(HEARD).arg(1).arg(self.members_key()).arg(&self.config.member).arg(self.lease_ms());
        self.link.ask(&heard)
    }

    fn keep(&mut self) -> Result<(), ConsumerError> {
        let mut at = 0;
        while let Some(held) = self.held.get(at) {
            // The lease runs from before it was asked for, so ours ends no later than Redis's.
            let until = Instant::now() + self.config.lease;
            let mut keep = redis::cmd("EVAL");
            keep.arg(KEEP).arg(1).arg(self.lease_key(&held.lease.stream));
            keep.arg(self.value(&held.lease)).arg(self.lease_ms());
            if self.link.ask::<u64>(&keep)? == 0 {
                self.untold.lost.push(self.held.remove(at).lease.stream);
            } else {
                self.held[at].until = until;
                at += 1;
            }
        }
        Ok(())
    }

    fn take_up_to(&mut self, share: usize) -> Result<(), ConsumerError> {
        for stream in self.config.streams.clone() {
            if self.held.len() >= share {
                break;
            }
            if self.held.iter().any(|held| held.lease.stream == stream) {
                continue;
            }
            let until = Instant::now() + self.config.lease;
            let lease_key = self.lease_key(&stream);
            let mut take = redis::cmd("EVAL");
            take.arg(TAKE).arg(2).arg(&lease_key).arg(format!("{lease_key}:token"));
            take.arg(&self.config.member).arg(self.lease_ms());
            if let Some(token) = self.link.ask::<Option<u64>>(&take)? {
                let lease = Lease { stream, token };
                self.untold.taken.push(lease.clone());
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

/// How many of the streams are for the member that has `before` members before it.
fn share(streams: usize, members: usize, before: usize) -> usize {
    let members = members.max(1);
    streams / members + usize::from(before < streams % members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_members_are_all_streams_and_differ_by_one_at_most() {
        for streams in 0..20 {
            for members in 1..8 {
                let shares: Vec<_> = (0..members).map(|before| share(streams, members, before)).collect();
                assert_eq!(shares.iter().sum::<usize>(), streams);
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
            }
        }
    }
}
