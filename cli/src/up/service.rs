//! One supervised service: a thread that starts it, looks after it and starts it again when it ends.
//!
//! The kernel ends a child with the *thread* that started it. So each service has a thread of its own, which
//! lives until the service is to end; when this process dies, however, every service dies with it.

use super::backoff::Backoff;
use super::http::Samples;
use anyhow::{Context, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vitals::Stop;

/// How often an end or a wish to stop is looked for.
const TURN: Duration = Duration::from_millis(20);
/// How often a service is asked how it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A service is started at the latest by then, whether or not those that it needs are ready: it waits for
/// them by itself.
const AFTER_PATIENCE: Duration = Duration::from_secs(20);

/// What a service is, to its supervisor.
pub(super) trait Runner: Send + 'static {
    /// Starts it; its process id.
    fn start(&mut self) -> Result<u32>;
    /// How it ended, if it has.
    fn ended(&mut self) -> Option<String>;
    /// How it is, asked for now.
    fn look(&mut self) -> Look;
    /// Ends it in order, by force when that takes longer than `within`.
    fn stop(&mut self, within: Duration) -> Result<()>;
}

/// How a service says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Whether it does its work, or why not; nothing when it cannot be asked.
    pub(super) ready: Option<Result<(), String>>,
    pub(super) samples: Option<Samples>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// For those that it needs.
    Waiting,
    Starting,
    Running,
    /// It has ended and is started again soon.
    BackingOff,
    Stopping,
    Stopped,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::BackingOff => "ended",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }
}

/// What is known of a service at the moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) pid: Option<u32>,
    /// Since when it is in this phase.
    pub(crate) since: Instant,
    pub(crate) restarts: u32,
    /// How the last run ended, or why it could not be started, or why it was not ended in order.
    pub(crate) why: Option<String>,
    pub(crate) ready: Option<Result<(), String>>,
    /// What it counts, and when that was read: now, and the time before.
    pub(crate) now: Option<(Instant, Samples)>,
    pub(crate) before: Option<(Instant, Samples)>,
}

impl State {
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Running && matches!(self.ready, Some(Ok(())))
    }

    /// Growth of a counter, per second.
    pub(crate) fn rate(&self, metric: &str) -> Option<f64> {
        let ((then, before), (at, now)) = (self.before.as_ref()?, self.now.as_ref()?);
        let grown = now.sum(metric)? - before.sum(metric).unwrap_or(0.0);
        // A service that was started again counts anew.
        Some(grown.max(0.0) / at.duration_since(*then).as_secs_f64().max(1e-3))
    }
}

/// A service under supervision.
pub(super) struct Service {
    pub(super) name: &'static str,
    state: Arc<Mutex<State>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the supervision. The service itself is started when those it comes `after` are ready.
    pub(super) fn start(
        name: &'static str,
        mut runner: impl Runner,
        after: &[&Service],
        stop_within: Duration,
    ) -> Result<Service> {
        let state = Arc::new(Mutex::new(State {
            phase: Phase::Waiting,
            pid: None,
            since: Instant::now(),
            restarts: 0,
            why: None,
            ready: None,
            now: None,
            before: None,
        }));
        let stop = Stop::default();
        let after = after.iter().map(|service| Arc::clone(&service.state)).collect();
        let keeper = Keeper { state: Arc::clone(&state), stop: stop.clone(), stop_within };
        let thread = std::thread::Builder::new()
            .name(format!("keep-{name}"))
            .spawn(move || keeper.keep(&mut runner, after))
            .with_context(|| format!("a thread for {name}"))?;
        Ok(Service { name, state, stop, thread: Some(thread) })
    }

    pub(super) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// Ends the service and its supervision.
    pub(super) fn stop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            lock(&self.state).why = Some("its supervisor panicked".into());
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's half.
struct Keeper {
    state: Arc<Mutex<State>>,
    stop: Stop,
    stop_within: Duration,
}

impl Keeper {
    fn keep(&self, runner: &mut impl Runner, after: Vec<Arc<Mutex<State>>>) {
        let patience = Instant::now() + AFTER_PATIENCE;
        let ready = || after.iter().all(|other| lock(other).is_ready());
        while !self.stop.is_asked() && !ready() && Instant::now() < patience {
            std::thread::sleep(TURN);
        }
        let mut backoff = Backoff::new();
        while !self.stop.is_asked() {
            self.enter(Phase::Starting, None);
            let started = Instant::now();
            let why = match runner.start() {
                Ok(pid) => {
                    self.enter(Phase::Running, Some(pid));
                    match self.attend(runner) {
                        Some(how) => how,
                        None => break,
                    }
                }
                Err(error) => format!("{error:#}"),
            };
            lock(&self.state).why = Some(why);
            self.enter(Phase::BackingOff, None);
            self.pause(backoff.after(started.elapsed()));
            if !self.stop.is_asked() {
                lock(&self.state).restarts += 1;
            }
        }
        let pid = lock(&self.state).pid;
        self.enter(Phase::Stopping, pid);
        if let Err(error) = runner.stop(self.stop_within) {
            lock(&self.state).why = Some(format!("{error:#}"));
        }
        self.enter(Phase::Stopped, None);
    }

    /// Looks after a running service; how it ended, or nothing when it is to be stopped.
    fn attend(&self, runner: &mut impl Runner) -> Option<String> {
        let mut due = Instant::now();
        while !self.stop.is_asked() {
            if let Some(how) = runner.ended() {
                return Some(how);
            }
            if Instant::now() >= due {
                due = Instant::now() + LOOK_EVERY;
                let look = runner.look();
                let mut state = lock(&self.state);
                state.ready = look.ready;
                if let Some(samples) = look.samples {
                    state.before = state.now.replace((Instant::now(), samples));
                }
            }
            std::thread::sleep(TURN);
        }
        None
    }

    fn enter(&self, phase: Phase, pid: Option<u32>) {
        let mut state = lock(&self.state);
        state.phase = phase;
        state.pid = pid;
        state.since = Instant::now();
        if phase != Phase::Stopping {
            state.ready = None;
        }
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.stop.is_asked() && Instant::now() < end {
            std::thread::sleep(TURN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::program::{Probe, Program};
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn script(folder: &Path, text: &str, endpoint: Option<SocketAddr>) -> Program {
        let probe = Probe::Endpoint(Box::new(move || Ok(endpoint)));
        let arguments = vec!["-c".into(), text.into()];
        Program::new("/bin/sh".into(), arguments, probe, Journal::new(folder, "script", None))
    }

    fn service(folder: &Path, text: &str) -> Service {
        Service::start("script", script(folder, text, None), &[], Duration::from_millis(500)).unwrap()
    }

    fn wait(service: &Service, what: &str, done: impl Fn(&State) -> bool) -> State {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = service.state();
            if done(&state) {
                return state;
            }
            assert!(Instant::now() < end, "waited for {what}: {state:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("script.log")).unwrap_or_default()
    }

    fn lives(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_service_that_is_killed_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = service(folder.path(), "echo up; exec sleep 1000");
        let first = wait(&service, "its start", |state| state.pid.is_some() && log(folder.path()) == "up\n")
            .pid
            .unwrap();
        kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let again =
            wait(&service, "its restart", |state| state.restarts == 1 && state.phase == Phase::Running);
        assert!(again.pid.unwrap() != first);
        assert!(again.why.unwrap().contains("SIGKILL"));
        wait(&service, "its second start in the same log", |_| log(folder.path()) == "up\nup\n");
        service.stop();
        assert!(!lives(again.pid.unwrap()));
    }

    #[test]
    fn one_that_cannot_run_is_tried_again_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "echo '2026 ERROR line 3: unknown field' >&2; echo bye; exit 3");
        let state =
            wait(&service, "two tries", |state| state.restarts >= 2 && state.phase == Phase::BackingOff);
        assert_eq!(state.why.unwrap(), "exit status: 3: line 3: unknown field");
    }

    #[test]
    fn a_program_that_is_not_there_and_a_document_that_is_bad_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let journal = || Journal::new(folder.path(), "x", None);
        let good = Probe::Endpoint(Box::new(|| Ok(None)));
        let bad = Probe::Endpoint(Box::new(|| anyhow::bail!("x.yaml: line 2: unknown field")));
        let absent = Program::new("/no/such/program".into(), Vec::new(), good, journal());
        let refused = Program::new("/bin/true".into(), Vec::new(), bad, journal());
        for (program, expected) in [(absent, "/no/such/program"), (refused, "x.yaml: line 2")] {
            let service = Service::start("x", program, &[], PATIENCE).unwrap();
            let state = wait(&service, "a try", |state| state.why.is_some());
            assert!(state.why.as_ref().unwrap().contains(expected), "{state:?}");
        }
    }

    #[test]
    fn a_service_is_asked_to_end_and_has_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let text = "trap 'echo stored; exit 0' TERM; echo up; while :; do sleep 0.01; done";
        let mut service = Service::start("x", script(folder.path(), text, None), &[], PATIENCE).unwrap();
        wait(&service, "its trap", |_| log(folder.path()).contains("up"));
        service.stop();
        let state = service.state();
        assert_eq!((state.phase, state.why), (Phase::Stopped, None));
        assert!(log(folder.path()).ends_with("stored\n"));
    }

    #[test]
    fn a_service_that_does_not_end_is_killed_and_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = service(folder.path(), "trap '' TERM; echo up; while :; do sleep 0.01; done");
        let is_up = |state: &State| state.pid.is_some() && log(folder.path()).contains("up");
        let pid = wait(&service, "its trap", is_up).pid.unwrap();
        service.stop();
        assert!(service.state().why.unwrap().contains("was killed") && !lives(pid));
    }

    /// Answers every request alike until the test ends.
    fn endpoint(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn a_service_says_over_its_endpoint_whether_it_is_ready_and_what_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let start = |answer| {
            let program = script(folder.path(), "exec sleep 1000", Some(endpoint(answer)));
            Service::start("x", program, &[], PATIENCE).unwrap()
        };
        let bad = start("HTTP/1.0 503 No\r\n\r\n{\"parts\":{\"a\":\"good\",\"redis\":\"refused\"}}");
        let state = wait(&bad, "a look", |state| state.ready.is_some());
        assert_eq!(state.ready, Some(Err("redis: refused".into())));
        let good = start("HTTP/1.0 200 OK\r\n\r\nthings_total 5\n");
        let state = wait(&good, "two looks", |state| state.before.is_some());
        assert!(state.is_ready());
        assert_eq!(state.rate("things_total"), Some(0.0));
    }

    #[test]
    fn a_service_comes_after_those_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "exec sleep 1000", Some(endpoint("HTTP/1.0 503 No\r\n\r\n")));
        let mut needed = Service::start("needed", program, &[], PATIENCE).unwrap();
        let program = script(folder.path(), "exec sleep 1000", None);
        let mut second = Service::start("second", program, &[&needed], PATIENCE).unwrap();
        wait(&needed, "a look", |state| state.ready.is_some());
        assert_eq!(second.state().phase, Phase::Waiting);
        // One that waits can be ended, too.
        second.stop();
        needed.stop();
        assert_eq!(second.state().phase, Phase::Stopped);
    }
}
