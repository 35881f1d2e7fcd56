//! The private databases in the run folder. Their data stays there for the next run.

use super::journal::{Journal, LOG_BYTES_MAX};
use super::program::{Probe, Program};
use super::service::{Look, Runner};
use anyhow::{Context, Result, ensure};
use lab::postgres::{PostgresOptions, PostgresServer};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest path of a unix socket, bytes (`sun_path` without its end).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Processes of a killed PostgreSQL end by themselves, as soon as they notice.
const LEFTOVERS_END_WITHIN: Duration = Duration::from_secs(20);

/// Where the private Redis listens.
pub(super) fn redis_socket(folder: &Path) -> PathBuf {
    folder.join("redis/redis.sock")
}

/// Its address.
pub(super) fn redis_url(folder: &Path) -> String {
    format!("unix://{}", redis_socket(folder).display())
}

/// A Redis that, when it is `durable`, has on disk what it has acknowledged, and else keeps nothing there.
pub(super) fn redis(folder: &Path, durable: bool, journal: Journal) -> Result<Program> {
    let socket = redis_socket(folder);
    let bytes = socket.as_os_str().len();
    ensure!(
        bytes <= SOCKET_PATH_BYTES_MAX,
        "{} has {bytes} bytes, and a socket's path at most {SOCKET_PATH_BYTES_MAX}; choose a shorter `folder`",
        socket.display()
    );
    let data = folder.join("redis");
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let fixed = ["--port", "0", "--save", "", "--daemonize", "no", "--logfile", "", "--appendonly"];
    let mut arguments: Vec<std::ffi::OsString> = fixed.map(Into::into).into();
    // `always`: with `everysec`, a slow disk makes it answer before it has written anything.
    arguments.extend(
        if durable { &["yes", "--appendfsync", "always"][..] } else { &["no"] }.iter().map(Into::into),
    );
    arguments.extend(["--dir".into(), data.into(), "--unixsocket".into(), socket.clone().into()]);
    Ok(Program::new("redis-server".into(), arguments, Probe::Redis(socket), journal))
}

/// The private PostgreSQL's address, as `lab::postgres` gives it.
pub(super) fn postgres_url(folder: &Path) -> String {
    format!("postgres:///postgres?host={}&user=feedplane", folder.join("postgres").display())
}

/// A PostgreSQL, with TimescaleDB where that is installed.
pub(super) struct Postgres {
    folder: PathBuf,
    server: Option<PostgresServer>,
    log: Tail,
}

impl Postgres {
    pub(super) fn new(folder: &Path, journal: Journal) -> Postgres {
        let folder = folder.join("postgres");
        let log = Tail { path: folder.join("postgres.log"), journal, read: 0 };
        Postgres { folder, server: None, log }
    }
}

impl Runner for Postgres {
    fn start(&mut self) -> Result<u32> {
        wait_for_leftovers(&self.folder.join("data"))?;
        self.log.skip_to_end();
        match &mut self.server {
            Some(server) => server.start_again()?,
            None => {
                let server = PostgresServer::start_in(&self.folder, PostgresOptions::default())?;
                self.server = Some(server);
            }
        }
        self.server.as_ref().and_then(PostgresServer::pid).context("ended at once")
    }

    fn ended(&mut self) -> Option<String> {
        let ended = self.server.as_mut().is_some_and(|server| !server.is_running());
        self.log.pass_on();
        ended.then(|| self.log.journal.reason().unwrap_or_else(|| "ended without a word".into()))
    }

    /// It answers from its start on, which waits for that.
    fn look(&mut self) -> Look {
        Look { ready: Some(Ok(())), samples: None }
    }

    fn stop(&mut self, _within: Duration) -> Result<()> {
        let stopped = self.server.take().map_or(Ok(()), |mut server| server.stop());
        self.log.pass_on();
        stopped
    }
}

/// A killed server's processes may outlive it for a moment. The new server cannot see them (their shared
/// memory is in a namespace of their own), and must not touch the data beside them.
fn wait_for_leftovers(data: &Path) -> Result<()> {
    let Ok(data) = data.metadata() else { return Ok(()) };
    let end = Instant::now() + LEFTOVERS_END_WITHIN;
    loop {
        let left = working_in(&data);
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "processes {left:?} of another PostgreSQL use its data; end them");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The PostgreSQL processes whose working directory this is: all of a server's have its data folder.
fn working_in(folder: &std::fs::Metadata) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let works_there = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let at = std::fs::metadata(format!("/proc/{pid}/cwd"));
        name.trim_end() == "postgres"
            && at.is_ok_and(|at| (at.dev(), at.ino()) == (folder.dev(), folder.ino()))
    };
    pids.filter(works_there).collect()
}

/// Follows the log that the server itself writes, and keeps it bounded.
struct Tail {
    path: PathBuf,
    journal: Journal,
    read: u64,
}

impl Tail {
    /// What an earlier run has said is not said again.
    fn skip_to_end(&mut self) {
        self.read = self.path.metadata().map_or(0, |metadata| metadata.len());
    }

    fn pass_on(&mut self) {
        // A log that cannot be read costs the view of it, not the server.
        let _ = self.try_pass_on();
    }

    fn try_pass_on(&mut self) -> Result<()> {
        let mut file = File::options().read(true).write(true).open(&self.path)?;
        if file.metadata()?.len() <= self.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            self.read += line.len() as u64;
            self.journal.heard(&line);
            line.clear();
        }
        if self.read > LOG_BYTES_MAX {
            // It appends, so that a cut file is written on from its beginning.
            std::fs::copy(&self.path, self.path.with_extension("log.1"))?;
            file.set_len(0)?;
            self.read = 0;
        }
        Ok(())
    }
}
