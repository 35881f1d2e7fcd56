//! A private `redis-server` on a unix socket: no TCP port, nothing on disk unless asked, killed on drop
//! and by the kernel when this process dies. The lab owns the server's folder; it goes with it.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for the server to answer or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running (or stopped) private server. It dies with the thread that started it (the kernel counts the
/// thread, not the process, as the parent): start it on one that lives as long.
pub struct RedisServer {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not answer.
    pub fn start() -> Result<RedisServer> {
        RedisServer::start_with(&["--appendonly", "no"])
    }

    /// Starts a server whose data is on disk before it answers, so that a killed one comes back with
    /// everything that it acknowledged.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_durable() -> Result<RedisServer> {
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with further command-line arguments (`--maxmemory`, `4mb`, …).
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_with(arguments: &[&str]) -> Result<RedisServer> {
        let folder = tempfile::Builder::new().prefix("feedplane-redis-").tempdir()?;
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = RedisServer { folder, arguments, child: None };
        server.start_again()?;
        Ok(server)
    }

    /// `unix:///…/redis.sock`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// The server's folder, where its append-only file and log are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a stopped or killed server again, on the same socket and folder.
    ///
    /// # Errors
    /// As [`RedisServer::start`]; also when it still runs.
    pub fn start_again(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server is running");
        }
        let socket = self.socket();
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new("redis-server");
        command
            .args(["--port", "0", "--save", "", "--daemonize", "no", "--protected-mode", "no"])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(self.folder.path())
            .args(["--logfile", "redis.log"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let parent = std::process::id();
        // SAFETY: between fork and exec only two system calls are made, both async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // The parent may have died before the call above.
                if libc::getppid() as u32 == parent {
                    Ok(())
                } else {
                    Err(std::io::ErrorKind::NotFound.into())
                }
            })
        };
        self.child =
            Some(command.spawn().context("cannot start redis-server (Debian package redis-server)")?);
        self.wait_until_it_answers()
    }

    /// Stops it in the orderly way, and waits.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.signal_and_reap(libc::SIGTERM)
    }

    /// Kills it at once (SIGKILL), and waits.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.signal_and_reap(libc::SIGKILL)
    }

    /// Kills it and starts it with an empty data set.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn restart_empty(&mut self) -> Result<()> {
        self.kill()?;
        for name in ["appendonlydir", "dump.rdb", "appendonly.aof"] {
            let path = self.folder.path().join(name);
            let _ = std::fs::remove_dir_all(&path);
            let _ = std::fs::remove_file(&path);
        }
        self.start_again()
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        if let Some(child) = &self.child {
            // SAFETY: the child is ours and not yet reaped, so the pid is its own.
            unsafe { libc::kill(child.id() as i32, signal) };
        }
    }

    fn signal_and_reap(&mut self, signal: i32) -> Result<()> {
        self.signal(signal);
        self.signal(libc::SIGCONT);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let end = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                bail!("redis-server did not end on signal {signal}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if answers(&self.socket()) {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                let log = std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default();
                bail!("redis-server ended with {status}: {log}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("redis-server does not answer on {}", self.socket().display())
    }
}

/// Whether the server answers and has loaded its data. One that asks for a password answers, too.
fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer)?;
        Ok(answer[..length].to_vec())
    };
    ask().is_ok_and(|answer| answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH"))
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_while_it_runs_and_leaves_nothing_behind() {
        let mut server = RedisServer::start().unwrap();
        let folder = server.folder().to_owned();
        assert!(answers(&server.socket()));
        server.kill().unwrap();
        assert!(!answers(&server.socket()));
        server.start_again().unwrap();
        assert!(answers(&server.socket()));
        drop(server);
        assert!(!folder.exists());
    }

    #[test]
    fn a_frozen_server_is_stopped_all_the_same() {
        let mut server = RedisServer::start_durable().unwrap();
        server.pause();
        server.stop().unwrap();
    }

    #[test]
    fn a_server_that_cannot_start_says_why() {
        let error = RedisServer::start_with(&["--no-such-option", "1"]).err().unwrap().to_string();
        assert!(error.contains("ended with"), "{error}");
    }
}
