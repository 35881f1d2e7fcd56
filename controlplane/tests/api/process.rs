//! The control plane as a process of its own, and a client that speaks plain HTTP to it.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running process. Killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Process {
    /// Starts one in this folder, whose store and first token it makes or finds.
    pub(crate) fn start(folder: &Path, more: Value) -> Process {
        let store = folder.join("store.sqlite");
        let token = folder.join("token");
        let mut document = json!({"listen": "127.0.0.1:0", "store": store, "redis": "unix:///nonexistent/redis.sock",
            "first_token_file": token, "health": {"listen": "127.0.0.1:0"},
            "limits": {"requests_per_second": 100_000, "address_requests_per_second": 100_000,
                "wrong_tokens_per_minute": 100_000}});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = folder.join("controlplane.yaml");
        std::fs::write(&config, document.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_feedplane-controlplane"))
            .arg("--config")
            .arg(&config)
            .args(["--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("it ended: {}", seen.join("\n")) };
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if said["fields"]["message"] == "running" {
                break said["fields"]["address"].as_str().unwrap().parse().unwrap();
            }
            seen.push(line);
        };
        // Read on, so that it never waits for its log.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(token).unwrap().trim().to_owned();
        Process { child, address, token }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// One request on a connection of its own; nothing when the process died over it.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, Value)> {
        call(self.address, &self.token, method, path, headers, body)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn call(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<(u16, Value)> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    over(stream, token, method, path, headers, body)
}

/// One request over a connection, which ends with it.
pub(crate) fn over(
    mut stream: impl Read + Write,
    token: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<(u16, Value)> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n"
    );
    if !body.is_empty() {
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A TLS peer may end without saying so.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length =
        head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    if length.is_some_and(|length: usize| length != body.len()) {
        return None;
    }
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}
