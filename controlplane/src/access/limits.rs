//! Buckets that fill at a steady rate: one for each key, in bounded memory (the generic cell rate algorithm).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Keys remembered. Beyond, those that are not remembered share one bucket.
const KEYS_MAX: usize = 10_000;

/// A bucket holds so many times what flows in each second.
const BURST: u64 = 10;

/// Buckets by key. Of each it is kept when it will be full again.
pub(crate) struct Buckets<K> {
    state: Mutex<State<K>>,
    /// How many fit into a bucket.
    burst: u64,
    /// Time in which one flows in, ns.
    every_ns: u64,
}

struct State<K> {
    full_again_ns: HashMap<K, u64>,
    others_full_again_ns: u64,
}

impl<K: Hash + Eq> Buckets<K> {
    /// Buckets that hold `burst`, into which one flows every `every_ns`.
    pub(crate) fn new(burst: u64, every_ns: u64) -> Buckets<K> {
        let state = State { full_again_ns: HashMap::new(), others_full_again_ns: 0 };
        Buckets { state: Mutex::new(state), burst: burst.max(1), every_ns: every_ns.max(1) }
    }

    /// Buckets into which so many flow each second, and that hold ten times as many.
    pub(crate) fn a_second(rate: u32) -> Buckets<K> {
        Buckets::new(u64::from(rate) * BURST, 1_000_000_000 / u64::from(rate.max(1)))
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one, ns.
    pub(crate) fn take(&self, key: K, now_ns: u64) -> Result<(), u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.full_again_ns.len() >= KEYS_MAX && !state.full_again_ns.contains_key(&key) {
            state.full_again_ns.retain(|_, full_again_ns| *full_again_ns > now_ns);
        }
        let room = state.full_again_ns.len() < KEYS_MAX || state.full_again_ns.contains_key(&key);
        let full_again_ns = match room {
            true => state.full_again_ns.entry(key).or_insert(0),
            false => &mut state.others_full_again_ns,
        };
        let next = (*full_again_ns).max(now_ns) + self.every_ns;
        let at_most = now_ns.saturating_add(self.burst.saturating_mul(self.every_ns));
        if next > at_most {
            return Err(next - at_most);
        }
        *full_again_ns = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_flows_in() {
        let buckets = Buckets::new(3, 100);
        for _ in 0..3 {
            assert_eq!(buckets.take("a", 1_000), Ok(()));
        }
        assert_eq!(buckets.take("a", 1_000), Err(100));
        assert_eq!(buckets.take("a", 1_060), Err(40));
        assert_eq!(buckets.take("a", 1_100), Ok(()));
        assert_eq!(buckets.take("a", 1_100), Err(100));
        assert_eq!(buckets.take("b", 1_100), Ok(()), "each key has its own");
        for _ in 0..3 {
            assert_eq!(buckets.take("a", 9_000), Ok(()), "it does not hold more than its burst");
        }
        assert_eq!(buckets.take("a", 9_000), Err(100));
    }

    #[test]
    fn as_many_keys_as_an_attacker_likes_take_bounded_memory() {
        let buckets = Buckets::new(1, 1_000);
        for key in 0..KEYS_MAX {
            assert_eq!(buckets.take(key, 5), Ok(()));
        }
        assert_eq!(buckets.take(KEYS_MAX, 5), Ok(()), "the others share one");
        assert_eq!(buckets.take(KEYS_MAX + 1, 5), Err(1_000));
        assert_eq!(buckets.state.lock().unwrap().full_again_ns.len(), KEYS_MAX);
        assert_eq!(buckets.take(KEYS_MAX + 1, 2_000), Ok(()), "those that are full again make room");
    }
}
