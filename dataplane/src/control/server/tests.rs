//! The socket against peers that behave and that do not.

use super::*;
use bus::link::{Ask, Replaced};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::sync::Mutex;
use tempfile::TempDir;

/// A served socket, whose requests are all answered by how many there were.
struct Served {
    folder: TempDir,
    server: Option<Server>,
    answering: Option<JoinHandle<u32>>,
}

impl Served {
    fn new() -> Served {
        let folder = tempfile::tempdir().unwrap();
        let (server, asked) = Server::start(&folder.path().join("control.sock")).unwrap();
        let answering = std::thread::spawn(move || {
            let mut count = 0;
            while let Ok(asked) = asked.recv() {
                count += 1;
                let line = Answer::line(asked.request.id, Ok(Replaced { programs: count }));
                asked.answer(line);
            }
            count
        });
        Served { folder, server: Some(server), answering: Some(answering) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.path()).unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.server.take());
        self.answering.take().unwrap().join().unwrap();
        assert!(!self.path().exists(), "the socket goes with the server");
    }
}

fn hello(id: u64) -> Vec<u8> {
    Request { id, ask: Ask::Hello }.line().unwrap()
}

/// The next answer; `None` when the connection has ended.
fn answer(stream: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(1..) => Some(serde_json::from_str(&line).unwrap()),
        Ok(0) => None,
        // A peer that closes with something of ours unread says so with this.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn requests_are_answered_in_their_order() {
    let served = Served::new();
    let mut stream = served.connect();
    let all: Vec<u8> = (1..=100).flat_map(hello).collect();
    // In pieces that end anywhere.
    for piece in all.chunks(37) {
        stream.get_mut().write_all(piece).unwrap();
    }
    for id in 1..=100 {
        let answer = answer(&mut stream).unwrap();
        assert_eq!((&answer["id"], &answer["ok"]["programs"]), (&Value::from(id), &Value::from(id)));
    }
}

#[test]
fn what_is_no_request_is_answered_and_the_connection_goes_on() {
    let served = Served::new();
    let mut stream = served.connect();
    for (line, code) in [
        ("{}", "bad_request"),
        ("{\"v\": 1, \"id\": 4, \"do\": \"dance\"}", "unknown_request"),
        ("{\"v\": 9, \"id\": 4, \"do\": \"hello\"}", "unknown_version"),
        ("[1, 2]", "bad_request"),
    ] {
        stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).unwrap()["error"]["code"], code, "{line}");
    }
    stream.get_mut().write_all(&hello(5)).unwrap();
    assert_eq!(answer(&mut stream).unwrap()["id"], 5);
}

#[test]
fn a_line_that_is_no_json_or_too_long_ends_its_connection_and_no_other() {
    let served = Served::new();
    let mut other = served.connect();
    let long = vec![b' '; LINK_REQUEST_BYTES_MAX + 1];
    let long_with_end = [&long[..], b"\n"].concat();
    for bytes in [b"hello\n".to_vec(), b"\n".to_vec(), vec![0xff, b'\n'], long, long_with_end] {
        let mut stream = served.connect();
        // It may be closed before all is written.
        let _ = stream.get_mut().write_all(&bytes);
        if let Some(answer) = answer(&mut stream) {
            assert_eq!(answer["error"]["code"], "bad_request");
        }
        assert_eq!(answer(&mut stream), None);
    }
    other.get_mut().write_all(&hello(1)).unwrap();
    assert_eq!(answer(&mut other).unwrap()["id"], 1);
}

#[test]
fn the_largest_line_is_taken() {
    let served = Served::new();
    let mut stream = served.connect();
    let mut line = hello(3);
    line.splice(0..0, vec![b' '; LINK_REQUEST_BYTES_MAX - line.len()]);
    assert_eq!(line.len(), LINK_REQUEST_BYTES_MAX);
    stream.get_mut().write_all(&line).unwrap();
    assert_eq!(answer(&mut stream).unwrap()["id"], 3);
}

#[test]
fn one_connection_too_many_is_told_so_and_a_place_that_comes_free_is_given_again() {
    let served = Served::new();
    let mut all: Vec<_> = (0..LINK_CONNECTIONS_MAX).map(|_| served.connect()).collect();
    for stream in &mut all {
        stream.get_mut().write_all(&hello(1)).unwrap();
        answer(stream).unwrap();
    }
    let mut more = served.connect();
    assert_eq!(answer(&mut more).unwrap()["error"]["code"], "busy");
    assert_eq!(answer(&mut more), None);
    drop(all.pop());
    let again = Instant::now();
    loop {
        let mut stream = served.connect();
        // Refused, it may be closed already.
        let _ = stream.get_mut().write_all(&hello(2));
        if answer(&mut stream).is_some_and(|answer| answer["id"] == 2) {
            break;
        }
        assert!(again.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn any_bytes_leave_the_server_as_it_was() {
    let served = Served::new();
    let (path, other) = (served.path(), Mutex::new(served.connect()));
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.write_all(b"\n");
        let mut other = other.lock().unwrap();
        other.get_mut().write_all(&hello(1)).unwrap();
        assert_eq!(answer(&mut other).unwrap()["id"], 1);
    });
}

#[test]
fn the_socket_is_for_owner_and_group() {
    let served = Served::new();
    let mode = std::fs::metadata(served.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn a_socket_that_nobody_listens_on_is_replaced_and_no_other() {
    let served = Served::new();
    let taken = Server::start(&served.path()).unwrap_err();
    assert!(matches!(taken, ServerError::Taken(_)), "{taken}");
    let mut stream = served.connect();
    stream.get_mut().write_all(&hello(1)).unwrap();
    answer(&mut stream).expect("the first one goes on");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    // What a killed process leaves.
    drop(UnixListener::bind(&path).unwrap());
    drop(Server::start(&path).unwrap());

    std::fs::write(&path, "a file").unwrap();
    let no_socket = Server::start(&path).unwrap_err();
    assert!(matches!(no_socket, ServerError::NoSocket(_)), "{no_socket}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");

    let long = folder.path().join("x".repeat(108));
    assert!(matches!(Server::start(&long), Err(ServerError::System { .. })));
}
