//! Leases in a real Redis: every stream has one owner, through death, sleep and loss.

#![allow(clippy::unwrap_used)]

use bus::consumer::{ConsumerError, Lease, Members, MembersConfig};
use lab::redis_server::RedisServer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_millis(600);
/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member with what it was told that it holds.
struct Member {
    members: Members,
    held: BTreeMap<String, u64>,
}

impl Member {
    fn new(server: &RedisServer, name: &str, streams: usize) -> Member {
        Member::with_url(&server.url(), name, streams)
    }

    fn with_url(url: &str, name: &str, streams: usize) -> Member {
        let members = Members::new(MembersConfig {
            redis: url.to_owned(),
            group: "features".into(),
            member: name.into(),
            streams: (0..streams).map(|i| format!("raw:{{{i}}}")).collect(),
            lease: LEASE,
        });
        Member { members: members.unwrap(), held: BTreeMap::new() }
    }

    fn tend(&mut self) -> Result<Vec<String>, ConsumerError> {
        let tended = self.members.tend()?;
        for stream in &tended.lost {
            assert!(self.held.remove(stream).is_some(), "{stream} was lost and not held");
        }
        for Lease { stream, token } in tended.taken {
            assert_eq!(self.held.insert(stream, token), None, "taken and held already");
        }
        Ok(tended.lost)
    }
}

/// Tends all in turn until `done`; errors are passed over.
fn tend_until(members: &mut [&mut Member], mut done: impl FnMut(&[&mut Member]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(members) {
        assert!(Instant::now() < end, "it does not come about");
        for member in members.iter_mut() {
            let _ = member.tend();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn counts(members: &[&mut Member]) -> Vec<usize> {
    members.iter().map(|member| member.held.len()).collect()
}

#[test]
fn members_share_the_streams_evenly_and_no_stream_has_two_owners() {
    let server = RedisServer::start().unwrap();
    let (mut a, mut b, mut c) =
        (Member::new(&server, "a", 4), Member::new(&server, "b", 4), Member::new(&server, "c", 4));
    tend_until(&mut [&mut a], |all| counts(all) == [4]);
    tend_until(&mut [&mut a, &mut b], |all| counts(all) == [2, 2]);
    tend_until(&mut [&mut a, &mut b, &mut c], |all| counts(all) == [2, 1, 1]);
    let mut streams: Vec<_> = [&a, &b, &c].iter().flat_map(|member| member.held.keys()).collect();
    streams.sort();
    streams.dedup();
    assert_eq!(streams.len(), 4);
}

#[test]
fn a_dead_members_streams_are_taken_over_with_a_higher_token() {
    let server = RedisServer::start().unwrap();
    let (mut a, mut b) = (Member::new(&server, "a", 4), Member::new(&server, "b", 4));
    tend_until(&mut [&mut a, &mut b], |all| counts(all) == [2, 2]);
    let dead = a.held.clone();
    drop(a);
    tend_until(&mut [&mut b], |all| counts(all) == [4]);
    for (stream, token) in dead {
        assert!(b.held[&stream] > token);
    }
}

#[test]
fn a_member_that_slept_knows_by_its_own_clock_and_hears_it_when_it_wakes() {
    let server = RedisServer::start().unwrap();
    let (mut a, mut b) = (Member::new(&server, "a", 1), Member::new(&server, "b", 1));
    tend_until(&mut [&mut a], |all| counts(all) == [1]);
    assert!(a.members.holds("raw:{0}"));
    assert!(!a.members.holds("raw:{1}"));
    let fence = a.members.fence("raw:{0}").unwrap();
    tend_until(&mut [&mut b], |all| counts(all) == [1]);
    assert!(!a.members.holds("raw:{0}"));
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let now: String = redis::cmd("GET").arg(&fence.key).query(&mut connection).unwrap();
    assert_ne!(now, fence.value);
    assert_eq!(Some(now), b.members.fence("raw:{0}").map(|fence| fence.value));
    assert_eq!(a.tend().unwrap(), ["raw:{0}"]);
    assert_eq!(a.members.fence("raw:{0}"), None);
}

#[test]
fn what_is_given_back_is_another_members_at_once() {
    let server = RedisServer::start().unwrap();
    let mut a = Member::new(&server, "a", 3);
    tend_until(&mut [&mut a], |all| counts(all) == [3]);
    a.members.leave().unwrap();
    let mut b = Member::new(&server, "b", 3);
    b.tend().unwrap();
    assert_eq!(b.held.len(), 3);
}

#[test]
fn leases_outlive_a_redis_that_keeps_its_data() {
    let mut server = RedisServer::start_durable().unwrap();
    let mut a = Member::new(&server, "a", 2);
    tend_until(&mut [&mut a], |all| counts(all) == [2]);
    let before = a.held.clone();
    server.kill().unwrap();
    a.members.tend().ok();
    server.start_again().unwrap();
    tend_until(&mut [&mut a], |all| all[0].members.holds("raw:{0}") && all[0].members.holds("raw:{1}"));
    for (stream, token) in &a.held {
        assert!(*token >= before[stream]);
    }
}

#[test]
fn a_redis_that_lost_its_memory_gives_a_new_lease_with_a_higher_token() {
    let mut server = RedisServer::start().unwrap();
    let mut a = Member::new(&server, "a", 2);
    tend_until(&mut [&mut a], |all| counts(all) == [2]);
    let before = a.held.clone();
    server.restart_empty().unwrap();
    let mut lost = Vec::new();
    let end = Instant::now() + PATIENCE;
    while lost.len() < 2 || a.held.len() < 2 {
        assert!(Instant::now() < end);
        lost.extend(a.tend().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(10));
    }
    for (stream, token) in &before {
        assert!(a.held[stream] > *token);
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_lower_the_token() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let future = 4_000_000_000_000_000u64;
    redis::cmd("SET").arg("lease:features:raw:{0}:token").arg(future).exec(&mut connection).unwrap();
    let mut a = Member::new(&server, "a", 1);
    a.tend().unwrap();
    assert_eq!(a.held["raw:{0}"], future + 1);
}

#[test]
fn nothing_changed_is_left_untold_by_an_error() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut a = Member::new(&server, "a", 3);
    // The second stream's lease is a key of another type: taking stops there.
    redis::cmd("LPUSH").arg("lease:features:raw:{1}:token").arg("x").exec(&mut connection).unwrap();
    let error = a.tend().unwrap_err();
    assert!(matches!(error, ConsumerError::Refused(_)), "{error:?}");
    assert!(a.members.holds("raw:{0}"));
    assert!(a.held.is_empty());
    redis::cmd("DEL").arg("lease:features:raw:{1}:token").exec(&mut connection).unwrap();
    a.tend().unwrap();
    assert_eq!(a.held.len(), 3);
}

#[test]
fn the_rights_that_the_page_lists_are_enough_and_fewer_are_refused_in_words() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let rights = [
        "~members:features",
        "~lease:features:*",
        "+eval",
        "+time",
        "+get",
        "+set",
        "+del",
        "+exists",
        "+pexpire",
        "+zadd",
        "+zremrangebyscore",
        "+zrange",
        "+zrem",
        "+select",
    ];
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg("member").arg("on").arg(">x").arg(&rights);
    set.exec(&mut connection).unwrap();
    let url = format!("{}?user=member&pass=x", server.url().replace("unix:", "redis+unix:"));
    let mut member = Member::with_url(&url, "a", 2);
    member.tend().unwrap();
    assert_eq!(member.held.len(), 2);
    member.members.leave().unwrap();
    redis::cmd("ACL").arg(&["SETUSER", "member", "-eval"]).exec(&mut connection).unwrap();
    let error = Member::with_url(&url, "a", 2).tend().unwrap_err().to_string();
    assert!(error.contains("no permissions") && error.contains("docs/consumers.md"), "{error}");
}

#[test]
fn a_member_that_keeps_what_it_has_gives_nothing_to_one_that_joins() {
    let server = RedisServer::start().unwrap();
    let mut old = Member::new(&server, "b", 1);
    old.members = old.members.keeping();
    tend_until(&mut [&mut old], |members| counts(members) == [1]);
    assert!(old.members.held_until("raw:{0}").unwrap() > Instant::now());
    // By name the stream would be the newcomer's.
    let mut new = Member::new(&server, "a", 1);
    let end = Instant::now() + 3 * LEASE;
    tend_until(&mut [&mut old, &mut new], |_| Instant::now() > end);
    assert_eq!((old.held.len(), new.held.len()), (1, 0));
    old.members.leave().unwrap();
    tend_until(&mut [&mut new], |members| counts(members) == [1]);
}

#[test]
fn other_streams_are_divided_at_once_and_what_is_gone_stays_held_until_it_is_given_back() {
    let server = RedisServer::start().unwrap();
    let mut a = Member::new(&server, "a", 2);
    tend_until(&mut [&mut a], |all| counts(all) == [2]);
    a.members.change_streams(vec!["raw:{1}".into(), "raw:{7}".into()]);
    // One of the two is another's to be taken only when the one that is gone is given back.
    a.tend().unwrap();
    assert!(a.members.holds("raw:{0}") && a.members.holds("raw:{1}"));
    a.members.give_back("raw:{0}").unwrap();
    a.held.remove("raw:{0}");
    assert!(!a.members.holds("raw:{0}"));
    tend_until(&mut [&mut a], |all| counts(all) == [2]);
    assert!(a.members.holds("raw:{7}"));
    let free: bool = redis::Client::open(server.url())
        .and_then(|client| {
            redis::cmd("EXISTS").arg("lease:features:raw:{0}").query(&mut client.get_connection()?)
        })
        .map(|exists: bool| !exists)
        .unwrap();
    assert!(free);
    // What is not held need not be given back.
    a.members.give_back("raw:{0}").unwrap();
}
