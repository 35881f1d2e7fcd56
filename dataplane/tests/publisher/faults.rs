//! Broken connections, and a Redis that answers and refuses.

use crate::proxy::{Fate, Proxy};
use crate::rig::*;
use dataplane::publisher::{Publisher, PublisherConfig, PublisherError};
use lab::redis_server::RedisServer;
use std::time::Duration;

const STREAM: &str = "raw_market_data";

/// A number that looks random, for the nth connection.
fn scatter(n: usize) -> usize {
    let mut x = n as u64 + 0x9e37_79b9_7f4a_7c15;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as usize
}

#[test]
fn connections_cut_anywhere_publish_everything_once() {
    let server = RedisServer::start().unwrap();
    let proxy = Proxy::start(&server.socket(), |n| match (n, scatter(n) % 2) {
        (0, _) => Fate::Pass,
        (_, 0) => Fate::CutRequests(2_000 + scatter(n + 1000) % 200_000),
        _ => Fate::CutAnswers(7_000 + scatter(n + 2000) % 2_000),
    });
    // The first connection passes; it is ended from the other side.
    let mut rig = Rig::start(&proxy.url());
    rig.send(&ticks(1, 1..=10));
    rig.published(10);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let _: i64 = redis::cmd("CLIENT")
        .arg("KILL")
        .arg("SKIPME")
        .arg("yes")
        .arg("TYPE")
        .arg("normal")
        .query(&mut connection)
        .unwrap();
    let mut sent = 10;
    while proxy.connections() < 60 {
        // Never more than finds room: what does not is declared lost, which is another test's.
        rig.wait_until("room", |stats| stats.published + 20_000 >= sent);
        rig.send(&ticks(1, sent + 1..=sent + 200));
        sent += 200;
        std::thread::sleep(Duration::from_micros(300));
    }
    let stats = rig.stop();
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, sent), 0);
    assert_eq!((stats.published, stats.lost, stats.rollbacks), (sent, 0, 0));
    assert!(stats.resent > 0, "{stats:#?}");
}

#[test]
fn a_write_whose_answer_was_lost_is_found_done_and_not_repeated() {
    let server = RedisServer::start().unwrap();
    // The opening's answers are about 5 KB; the first write's answers begin behind them.
    let opening = opening_answer_bytes(&server);
    let proxy =
        Proxy::start(
            &server.socket(),
            move |n| if n == 0 { Fate::CutAnswers(opening + 3) } else { Fate::Pass },
        );
    let mut rig = Rig::start(&proxy.url());
    rig.send(&ticks(1, 1..=300));
    let stats = rig.stop();
    assert_eq!((stats.published, stats.found_done, stats.resent), (300, 1, 0), "{stats:#?}");
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 300), 0);
}

fn opening_answer_bytes(server: &RedisServer) -> usize {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
        .write_all(
            b"CLIENT SETNAME x\r\nCLIENT ID\r\nINFO server\r\nCLIENT KILL ID 9223372036854775807\r\n\
              TYPE raw_market_data\r\nTYPE raw_market_data:positions\r\nHGETALL raw_market_data:positions\r\n",
        )
        .unwrap();
    let (mut total, mut buffer) = (0, [0u8; 8192]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        total += length;
    }
    total
}

#[test]
fn what_lay_unread_in_an_old_connection_is_not_carried_out_later() {
    let server = RedisServer::start().unwrap();
    let proxy =
        Proxy::start(&server.socket(), |n| if n == 0 { Fate::HoldRequests(2_000) } else { Fate::Pass });
    let mut rig = Rig::start(&proxy.url());
    rig.send(&ticks(1, 1..=300));
    let stats = rig.published(300);
    assert_eq!((stats.resent, stats.found_done), (1, 0));
    assert!(proxy.held() > 10_000);
    assert!(!proxy.release(), "the old connection must have been ended");
    rig.send(&ticks(1, 301..=400));
    rig.stop();
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 400), 0);
}

fn refusal(config: PublisherConfig) -> PublisherError {
    Publisher::start(config, Vec::new(), Vec::new()).err().unwrap()
}

#[test]
fn a_missing_or_wrong_password_is_said_at_the_start() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]).unwrap();
    let error = refusal(config(&server.url())).to_string();
    assert!(error.contains("NOAUTH") && error.contains("password in the URL"), "{error}");
    let error = refusal(config(&format!("{}?pass=wrong", server.url()))).to_string();
    assert!(error.contains("WRONGPASS") && !error.contains("pass=wrong"), "{error}");
    let mut rig = Rig::start(&format!("{}?pass=secret", server.url()));
    rig.send(&ticks(1, 1..=10));
    assert_eq!(rig.stop().published, 10);
}

#[test]
fn a_url_that_makes_no_sense_is_said_at_the_start() {
    for url in ["", "localhost", "http://localhost", "rediss://localhost", "redis://localhost/x"] {
        let error = refusal(config(url));
        assert!(matches!(error, PublisherError::Url { .. }), "{url}: {error}");
    }
}

#[test]
fn a_setting_out_of_range_is_said_at_the_start() {
    for (name, wrong) in [
        ("shards", PublisherConfig { shards: 0, ..PublisherConfig::default() }),
        ("shards", PublisherConfig { shards: 257, ..PublisherConfig::default() }),
        ("entries_max", PublisherConfig { entries_max: 0, ..PublisherConfig::default() }),
        ("batch_ticks_max", PublisherConfig { batch_ticks_max: 0, ..PublisherConfig::default() }),
    ] {
        let error = refusal(wrong).to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn a_key_of_another_kind_is_said_at_the_start() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let _: () = redis::cmd("SET").arg(STREAM).arg("x").query(&mut connection).unwrap();
    let error = refusal(config(&server.url())).to_string();
    assert!(error.contains("key raw_market_data holds a string"), "{error}");
}

#[test]
fn a_key_that_becomes_another_kind_while_it_runs_is_waited_for() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=10));
    rig.published(10);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut set = |command: &str, arguments: &[&str]| {
        let _: redis::Value = redis::cmd(command).arg(arguments).query(&mut connection).unwrap();
    };
    set("RENAME", &[STREAM, "kept"]);
    set("SET", &[STREAM, "x"]);
    rig.send(&ticks(1, 11..=20));
    rig.wait_until("refused", |stats| {
        stats.last_error.as_ref().is_some_and(|error| error.contains("holds a string"))
    });
    set("RENAME", &["kept", STREAM]);
    let stats = rig.stop();
    assert_eq!((stats.published, stats.lost), (20, 0));
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 20), 0);
}

#[test]
fn a_user_needs_the_permissions_that_the_error_names_and_no_more() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut user = |rules: &str| {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg("feed").arg("reset").arg("on").arg(">pw");
        for rule in rules.split_whitespace() {
            command.arg(rule);
        }
        let _: () = command.query(&mut connection).unwrap();
    };
    let keys = "~raw_market_data* ~instruments:*";
    let all = "+xadd +hset +hgetall +type +multi +exec +select +info +client|id +client|setname +client|kill";
    let url = format!("{}?user=feed&pass=pw", server.url());
    user(&format!("{keys} {}", all.replace("+client|kill", "")));
    let error = refusal(config(&url)).to_string();
    assert!(error.contains("NOPERM") && error.contains(all.split(' ').next_back().unwrap()), "{error}");
    user(&format!("{keys} {all}"));
    let mut rig = Rig::start(&url);
    rig.send(&ticks(1, 1..=10));
    rig.instruments.push(tick::Instrument::new(2, 1, 7)).unwrap();
    rig.wait_until("written", |stats| stats.instruments == 1);
    assert_eq!(rig.stop().published, 10);
}

#[test]
fn what_is_no_redis_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0u8; 512]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = refusal(config(&format!("unix://{}", path.display()))).to_string();
    assert!(error.contains("not a Redis reply"), "{error}");
}

#[test]
fn redis_over_tcp_is_the_same() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = port.to_string();
    let server = RedisServer::start_with(&["--port", &port, "--bind", "127.0.0.1"]).unwrap();
    let mut rig = Rig::start(&format!("redis://127.0.0.1:{port}/0"));
    rig.send(&ticks(1, 1..=20_000));
    assert_eq!(rig.stop().published, 20_000);
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 20_000), 0);
}
