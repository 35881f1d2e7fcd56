//! A control plane under test, with a Redis of its own, and the command that speaks to it.
#![allow(dead_code)] // Each test binary uses its part.

use lab::redis_server::RedisServer;
use serde_json::Value;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for anything that is going to happen on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What the command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output, of a command that must have been done.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    pub(crate) fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Standard error, of a command that must have failed like this, and without a panic.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

/// The command in a folder, without a terminal and without what the environment of the test says.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for name in ["REDIS", "API", "TOKEN", "TOKEN_FILE", "CA", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
        command.env_remove(format!("FEEDPLANE_{name}"));
    }
    command
}

pub(crate) fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A control plane with its Redis.
pub(crate) struct Plane {
    process: Child,
    pub(crate) api: String,
    pub(crate) redis: Option<RedisServer>,
    folder: TempDir,
}

impl Plane {
    /// One that runs and has version 1 of `features`; nothing where it cannot run, which is said loudly.
    pub(crate) fn start(test: &str) -> Option<Plane> {
        Plane::start_with(test, |_| String::new())
    }

    /// One with these lines in its document, made for its folder. With `tls` in them it is spoken to with `ca.pem`,
    /// `client.pem` and `client.key` of the folder.
    pub(crate) fn start_with(test: &str, more: impl FnOnce(&Path) -> String) -> Option<Plane> {
        let program = Path::new(env!("CARGO_BIN_EXE_feedplane")).with_file_name("feedplane-controlplane");
        let mut why = None;
        if !program.exists() {
            why = Some("feedplane-controlplane is not built (cargo build -p feedplane-controlplane)");
        } else if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            why = Some("redis-server is not installed");
        }
        if let Some(why) = why {
            let _ = std::io::stderr().write_all(format!("\nSKIPPED: {test}: {why}\n").as_bytes());
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let more = more(folder.path());
        let scheme = if more.contains("tls:") { "https" } else { "http" };
        let at = |name: &str| folder.path().join(name).display().to_string();
        let document = format!(
            "listen: '127.0.0.1:{port}'\nredis: {}\nstore: {}\nfirst_token_file: {}\nseed: {{features: {}}}\n\
             health: {{listen: '127.0.0.1:0'}}\n{more}",
            redis.url(),
            at("versions.sqlite"),
            at("first-token"),
            at("features.yaml")
        );
        std::fs::write(folder.path().join("controlplane.yaml"), document).unwrap();
        let features = "redis: unix:///nowhere\nhealth: {listen: '127.0.0.1:0'}\nsets:\n  - {name: basic, bars: {time_ms: 1000}, \
                        publish: {every_ms: 1000}, features: [mid, spread]}\n";
        std::fs::write(folder.path().join("features.yaml"), features).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut start = Command::new(program);
        start.arg("--config").arg(folder.path().join("controlplane.yaml"));
        let process = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut plane =
            Plane { process, api: format!("{scheme}://127.0.0.1:{port}"), redis: Some(redis), folder };
        plane.wait("the seed", |plane| plane.run(&["get", "config", "features"]).code == Some(0));
        Some(plane)
    }

    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&Plane) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            let path = self.path("log");
            let log = || std::fs::read_to_string(&path).unwrap_or_default();
            assert!(self.process.try_wait().unwrap().is_none(), "it ended: {}", log());
            assert!(Instant::now() < end, "waited for {what}: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that is to speak to it, by the first token.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.folder.path(), arguments);
        command.env("FEEDPLANE_API", &self.api).env("FEEDPLANE_TOKEN_FILE", self.path("first-token"));
        if self.api.starts_with("https") {
            command.env("FEEDPLANE_CA", self.path("ca.pem"));
            command.env("FEEDPLANE_CLIENT_CERTIFICATE", self.path("client.pem"));
            command.env("FEEDPLANE_CLIENT_KEY", self.path("client.key"));
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// The same with another token.
    pub(crate) fn run_as(&self, token: &str, arguments: &[&str]) -> Said {
        said(self.command(arguments).env("FEEDPLANE_TOKEN", token).output().unwrap())
    }

    /// Writes a file of the test and gives its name.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        name.to_owned()
    }

    /// Kills it as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
