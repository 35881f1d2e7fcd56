//! The command against servers that are no control plane, or a broken one: it says what is wrong, and ends.
#![allow(clippy::unwrap_used)]

mod control_support;

use control_support::{Said, command, said};
use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers each connection with these bytes, then again and again with `more` as long as anybody reads, up to 64 MiB.
fn server(answer: Vec<u8>, more: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut vec![0; 64 << 10]);
            let mut sent = stream.write_all(&answer);
            let mut bytes = 0;
            while sent.is_ok() && !more.is_empty() && bytes < 64 << 20 {
                sent = stream.write_all(&more);
                bytes += more.len();
            }
        }
    });
    format!("http://{address}")
}

fn run(api: &str, arguments: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let mut all = arguments.to_vec();
    all.extend(["--api", api]);
    let said = said(command(folder.path(), &all).env("FEEDPLANE_TOKEN", "fp_a_secret").output().unwrap());
    assert!(!said.err.contains("panicked") && !said.err.contains("fp_a_secret"), "{said:?}");
    said
}

fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn an_answer_that_is_none_is_named() {
    let head = |kind: &str, length: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n")
    };
    let cases: [(Vec<u8>, &str); 10] = [
        (Vec::new(), "cannot be"),
        (b"SSH-2.0-OpenSSH_9\r\n".to_vec(), "cannot be"),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), "cannot be"),
        ([head("application/json", 100).as_bytes(), b"{\"items\": ["].concat(), "cannot be"),
        ([head("text/html", 6).as_bytes(), b"<html>"].concat(), "is this feedplane's control plane"),
        ([head("application/json", 9).as_bytes(), b"{\"items\":"].concat(), "no JSON"),
        ([head("application/json", 4).as_bytes(), b"\xff\xfe\xfd\xfc"].concat(), "no JSON"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes(), "cannot be"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://example.org/\r\ncontent-length: 0\r\n\r\n".to_vec(), "302"),
        (json(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))), "no JSON"),
    ];
    for (answer, expected) in cases {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let said = run(&server(answer, Vec::new()), &["get"]);
        assert!(matches!(said.code, Some(1 | 6)) && said.err.contains(expected), "{shown:?}: {said:?}");
    }
}

#[test]
fn an_endless_answer_is_cut() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[".to_vec();
    let said = run(&server(head, vec![b' '; 1 << 20]), &["get"]);
    assert!(said.err.contains("larger than"), "{said:?}");
    said.failed(1);
}

#[test]
fn values_of_the_wrong_kind_are_shown_or_named_and_never_reach_the_terminal_raw() {
    let odd = [
        "null",
        "5",
        "\"text\"",
        "[]",
        "{}",
        "{\"items\": 5}",
        "{\"items\": [5, null, [], {}]}",
        "{\"items\": [{\"name\": \"\\u001b[2Jevil\\nline\", \"config\": []}], \"version\": \"x\"}",
        "{\"items\": [{}], \"next_cursor\": 5}",
    ];
    for body in odd {
        let api = server(json(body), Vec::new());
        for command in [
            &["get"][..],
            &["get", "feeds"],
            &["get", "orders"],
            &["status"],
            &["whoami"],
            &["history", "feeds"],
        ] {
            let said = run(&api, command);
            assert_eq!(said.code, Some(0), "{body} {command:?}: {said:?}");
            assert!(!said.out.contains('\u{1b}'), "{said:?}");
        }
        for command in [
            &["trading"][..],
            &["resume", "--reason", "x", "--yes"],
            &["rollback", "feeds", "--to", "1", "--reason", "x", "--yes"],
            &["diff", "feeds"],
            &["top"],
            &["token", "create", "x", "--role", "viewer"],
        ] {
            let said = run(&api, command);
            assert!(said.code != Some(0) && !said.err.is_empty(), "{body} {command:?}: {said:?}");
        }
        // Nothing is claimed that the answer does not say.
        let said = run(&api, &["halt", "--reason", "x"]);
        assert!(said.code != Some(0) && said.out.is_empty(), "{body}: {said:?}");
    }
}

#[test]
fn pages_that_never_end_are_noticed() {
    let api = server(json("{\"items\": [{\"name\": \"x\"}], \"next_cursor\": \"again\"}"), Vec::new());
    let said = run(&api, &["get", "feeds"]);
    assert!(said.err.contains("next_cursor, which does not move"), "{said:?}");
    said.failed(1);
}

#[test]
fn a_problem_in_any_shape_has_its_exit_code() {
    let problem = |status: u16, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    };
    let bodies = [
        "",
        "null",
        "[]",
        "{\"detail\": 5, \"errors\": \"x\"}",
        "{\"detail\": \"\\u001b[2J\", \"errors\": [null, {\"path\": [], \"message\": {}}]}",
    ];
    for (status, code) in [(400, 3), (401, 5), (403, 5), (412, 4), (422, 3), (429, 1), (500, 1), (503, 6)] {
        for body in bodies {
            let err = run(&server(problem(status, body), Vec::new()), &["whoami"]).failed(code);
            assert!(!err.contains('\u{1b}') && err.len() > 12, "{status} {body}: {err:?}");
        }
    }
}
