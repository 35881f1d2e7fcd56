//! A service that is a program: started as a child, its output pumped into its log, asked how it is over
//! its endpoint.

use super::http::{self, Samples};
use super::journal::Journal;
use super::service::{Look, Runner};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the last lines of a program that ended may be under way. A grandchild that holds the pipe open
/// is not waited for longer.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// Where a program says how it is; read again at each start, because a corrected document may say another.
pub(super) type FindEndpoint = Box<dyn Fn() -> Result<Option<SocketAddr>> + Send>;

/// How a program is asked whether it does its work.
pub(super) enum Probe {
    /// At its endpoint of metrics and health.
    Endpoint(FindEndpoint),
    /// By a PING over this socket.
    Redis(PathBuf),
}

/// A program to run.
pub(super) struct Program {
    program: PathBuf,
    arguments: Vec<OsString>,
    probe: Probe,
    journal: Journal,
    endpoint: Option<SocketAddr>,
    running: Option<(Child, JoinHandle<()>)>,
}

impl Program {
    pub(super) fn new(program: PathBuf, arguments: Vec<OsString>, probe: Probe, journal: Journal) -> Program {
        Program { program, arguments, probe, journal, endpoint: None, running: None }
    }

    fn spawn(&self) -> Result<(Child, JoinHandle<()>)> {
        let (reader, writer) = std::io::pipe()?;
        let mut command = Command::new(&self.program);
        // Ctrl-C is for us, who end the services in order: so each is a process group of its own.
        command.args(&self.arguments).stdin(Stdio::null()).process_group(0);
        command.stdout(writer.try_clone()?).stderr(writer);
        let us = rustix::process::getpid();
        // SAFETY: between fork and exec two system calls are made, and nothing is allocated or locked.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // We may have died before the call above.
                if rustix::process::getppid() == Some(us) {
                    Ok(())
                } else {
                    Err(ErrorKind::NotConnected.into())
                }
            })
        };
        let pump = self.journal.pump(reader)?;
        let what = || format!("cannot start {} (is it installed, or built?)", self.program.display());
        Ok((command.spawn().with_context(what)?, pump))
    }
}

impl Runner for Program {
    fn start(&mut self) -> Result<u32> {
        if let Probe::Endpoint(find) = &self.probe {
            self.endpoint = find()?;
        }
        let running = self.running.insert(self.spawn()?);
        Ok(running.0.id())
    }

    fn ended(&mut self) -> Option<String> {
        let (child, _) = self.running.as_mut()?;
        let how = match child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => status.to_string(),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        let (_, pump) = self.running.take()?;
        hear_out(&pump);
        Some(self.journal.reason().map_or(how.clone(), |reason| format!("{how}: {reason}")))
    }

    fn look(&mut self) -> Look {
        match (&self.probe, self.endpoint) {
            (Probe::Redis(socket), _) => Look { ready: Some(ping(socket)), samples: None },
            (Probe::Endpoint(_), Some(endpoint)) => ask(endpoint),
            (Probe::Endpoint(_), None) => Look::default(),
        }
    }

    fn stop(&mut self, within: Duration) -> Result<()> {
        let Some((mut child, pump)) = self.running.take() else { return Ok(()) };
        let pid = Pid::from_child(&child);
        // One that has just ended by itself is only to be waited for.
        let _ = kill_process(pid, Signal::TERM);
        let end = Instant::now() + within;
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                hear_out(&pump);
                if !status.success() {
                    let reason = self.journal.reason().unwrap_or_default();
                    bail!("ended with {status}: {reason}");
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(pid, Signal::KILL);
        child.wait()?;
        hear_out(&pump);
        bail!("did not end within {} s and was killed", within.as_secs())
    }
}

/// Waits until what a program said last is in its log.
fn hear_out(pump: &JoinHandle<()>) {
    let end = Instant::now() + LAST_WORDS_WITHIN;
    while !pump.is_finished() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Readiness and metrics of a service.
fn ask(endpoint: SocketAddr) -> Look {
    let ready = match http::get(endpoint, "/readyz") {
        Ok((200, _)) => Ok(()),
        Ok((_, body)) => Err(reason_of(&body)),
        Err(error) => Err(format!("its endpoint {endpoint} does not answer: {error:#}")),
    };
    let samples = http::get(endpoint, "/metrics").ok().map(|(_, body)| Samples::parse(&body));
    Look { ready: Some(ready), samples }
}

/// The parts that are not good, with their reasons.
fn reason_of(body: &str) -> String {
    let told: Value = serde_json::from_str(body).unwrap_or_default();
    let parts = told["parts"].as_object().into_iter().flatten();
    let bad: Vec<String> = parts
        .filter_map(|(name, state)| {
            state.as_str().filter(|state| *state != "good").map(|state| (name, state))
        })
        .map(|(name, state)| format!("{name}: {state}"))
        .collect();
    if bad.is_empty() { "not ready".into() } else { bad.join("; ") }
}

fn ping(socket: &PathBuf) -> Result<(), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 128];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).trim_end().to_owned())
    };
    match ask() {
        Ok(answer) if answer == "+PONG" => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(format!("does not answer: {error}")),
    }
}
