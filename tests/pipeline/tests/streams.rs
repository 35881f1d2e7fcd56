//! The stream that these tests write is one that a reader accepts: nothing is missing without a word.

#![allow(clippy::unwrap_used)] // A test may.

use lab::redis_server::RedisServer;
use pipeline_tests::session::Session;
use pipeline_tests::{publish, python};
use venue::session::Protocol;
use venue::synthetic::{SessionEnd, SyntheticSpec};

/// A session of two channels in which every 97th packet is lost.
fn session(protocol: Protocol) -> Session {
    let spec = SyntheticSpec {
        protocol,
        channels: 2,
        symbols: 3,
        ..SyntheticSpec::new(SessionEnd::Messages(5_000), 11)
    };
    Session::synthetic(&spec, |packet| packet % 97 == 96).unwrap()
}

#[test]
fn a_session_written_as_the_data_plane_does_reads_without_a_break() {
    let Some(python) = python::interpreter() else { return };
    for protocol in [Protocol::Itch50, Protocol::Mdp3] {
        let session = session(protocol);
        let gaps: u64 =
            session.ticks.iter().filter_map(|tick| tick.as_gap()).map(|(from, to, _)| to - from + 1).sum();
        let ticks = session.ticks.iter().filter(|tick| tick.as_gap().is_none()).count();
        assert!(gaps > 0);
        let server = RedisServer::start().unwrap();
        publish::ticks(&server.url(), 1, &session.ticks).unwrap();
        let printed = python::run(&python, "reader.py", &[&server.url(), "--once", "--quiet"]).unwrap();
        assert_eq!(
            printed.err.trim(),
            format!("{ticks} ticks, {gaps} numbers declared missing, 0 missing without a word")
        );
    }
}
