//! A private PostgreSQL on a unix socket: no TCP port, in a folder of its own, killed on drop and by the kernel
//! when this process dies. TimescaleDB where `scripts/timescaledb.sh` has unpacked it and this process is
//! root; else a plain PostgreSQL that the machine has.
//!
//! ```no_run
//! use lab::postgres::PostgresServer;
//! if let Some(why) = lab::postgres::unavailable() {
//!     eprintln!("SKIPPED: {why}");
//!     return;
//! }
//! let mut server = PostgresServer::start().unwrap();
//! let _ = server.url(); // postgres:///postgres?host=/tmp/…&user=feedplane: libpq, psycopg and sqlx read it
//! server.kill().unwrap(); // SIGKILL to the whole server
//! server.start_again().unwrap(); // the same data, the same address
//! ```
//!
//! The user `feedplane` is superuser and needs no password; the extension is preloaded, and whoever wants it
//! says `CREATE EXTENSION timescaledb`. [`PostgresServer::start_in`] keeps the data in a folder of the caller's.
//!
//! The lab owns the folder in the temporary directory. One whose owner was killed is removed by the next server
//! that is started. Invariant: a server's processes, shared memory and mounts end with it: its mounts and its
//! System V memory are in namespaces that only it is in.

mod cage;

use anyhow::{Context, Result, bail};
use cage::{Cage, contain};
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for the server to answer (it may recover from a kill) or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whom the server runs as when this process is root, which PostgreSQL refuses to be: `nobody`.
const NOBODY: u32 = 65_534;
/// How the folders in the temporary directory begin.
const FOLDER: &str = "feedplane-postgres-";
/// Where the server's folder is seen inside the unpacked Debian.
const INSIDE: &str = "/server";
/// What the server is set to besides what a test asks for. Small: several may run at a time.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("max_connections", "32"),
    ("shared_buffers", "64MB"),
    ("max_wal_size", "1GB"),
    // Its files lie in the data folder then, not in /dev/shm, where a killed server would leave them.
    ("dynamic_shared_memory_type", "mmap"),
    ("jit", "off"),
];
const TIMESCALEDB_SETTINGS: &[(&str, &str)] = &[
    ("shared_preload_libraries", "timescaledb"),
    ("timescaledb.telemetry_level", "off"),
    ("timescaledb.max_background_workers", "4"),
    ("max_worker_processes", "16"),
];

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Without TimescaleDB, also where it could be had.
    pub plain: bool,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// A file system of so many bytes in memory, for a tablespace at [`PostgresServer::small_folder`]: what
    /// a full disk does can be tried there. It is empty again after a restart. With TimescaleDB only.
    pub small_bytes: Option<u64>,
}

/// A running (or stopped) private server. It dies with the thread that started it (the kernel counts the
/// thread, not the process, as the parent): start it on one that lives as long.
pub struct PostgresServer {
    folder: Folder,
    programs: Programs,
    options: PostgresOptions,
    child: Option<Child>,
}

enum Folder {
    Ours { folder: tempfile::TempDir, _lock: std::fs::File },
    Callers(PathBuf),
}

/// Where the programs are, and how they are run.
#[derive(Clone, Debug)]
enum Programs {
    /// In a Debian of its own.
    Unpacked { root: PathBuf },
    /// In a folder of this machine.
    Plain { bin: PathBuf },
}

/// Why no server can be had on this machine; nothing when one can.
pub fn unavailable() -> Option<String> {
    programs(false).err().map(|error| format!("{error:#}"))
}

/// Why no server with TimescaleDB can be had on this machine; nothing when one can.
pub fn timescaledb_unavailable() -> Option<String> {
    unpacked().err().map(|error| format!("{error:#}"))
}

/// Why no server without TimescaleDB can be had on this machine; nothing when one can.
pub fn plain_unavailable() -> Option<String> {
    plain().err().map(|error| format!("{error:#}"))
}

impl PostgresServer {
    /// Starts a server with TimescaleDB where it can be had, else a plain one.
    ///
    /// # Errors
    /// When there is no PostgreSQL here, or it does not start.
    pub fn start() -> Result<PostgresServer> {
        PostgresServer::start_with(PostgresOptions::default())
    }

    /// Starts a server that is as asked for.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with(options: PostgresOptions) -> Result<PostgresServer> {
        remove_left_behind();
        let folder = tempfile::Builder::new().prefix(FOLDER).tempdir()?;
        // Under its name it is locked from the first moment on: an unlocked one tells that its owner is gone.
        let unlocked = folder.path().join("unlocked");
        let lock = std::fs::File::create(&unlocked)?;
        lock.lock()?;
        std::fs::rename(unlocked, folder.path().join("lock"))?;
        PostgresServer::new(Folder::Ours { folder, _lock: lock }, options)
    }

    /// Starts a server whose data is in this folder and stays there; a new folder is initialised.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_in(folder: &Path, options: PostgresOptions) -> Result<PostgresServer> {
        std::fs::create_dir_all(folder)?;
        PostgresServer::new(Folder::Callers(folder.canonicalize()?), options)
    }

    fn new(folder: Folder, options: PostgresOptions) -> Result<PostgresServer> {
        let programs = programs(options.plain)?;
        let mut server = PostgresServer { folder, programs, options, child: None };
        server.initialise()?;
        server.start_again()?;
        Ok(server)
    }

    /// Whether the extension TimescaleDB can be created in it.
    pub fn has_timescaledb(&self) -> bool {
        matches!(self.programs, Programs::Unpacked { .. })
    }

    /// `postgres:///postgres?host=<folder>&user=feedplane`.
    pub fn url(&self) -> String {
        self.url_of("feedplane")
    }

    /// The same for another user of the database.
    pub fn url_of(&self, user: &str) -> String {
        format!("postgres:///postgres?host={}&user={user}", self.folder().display())
    }

    /// The server's folder: its socket, its data and its log (`postgres.log`).
    pub fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Ours { folder, .. } => folder.path(),
            Folder::Callers(folder) => folder,
        }
    }

    /// Changes a setting from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.options.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Where the small file system is, as the server sees it.
    pub fn small_folder(&self) -> String {
        format!("{INSIDE}/small")
    }

    /// The process id of the server's main process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs; one that has ended by itself can be started again.
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        if ended {
            self.child = None;
        }
        self.child.is_some()
    }

    /// Starts a stopped or killed server again, with the same data and address, and waits until it answers.
    ///
    /// # Errors
    /// As [`PostgresServer::start`]; also when it still runs.
    pub fn start_again(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("the server is running");
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = self.program("postgres")?;
        command.arg("-D").arg(self.seen("data")).arg("-k").arg(self.seen(""));
        let extension = if self.has_timescaledb() { TIMESCALEDB_SETTINGS } else { &[] };
        for (name, value) in SETTINGS.iter().chain(extension) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        for (name, value) in &self.options.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start postgres")?);
        self.wait_until_it_answers()
    }

    /// Stops it in the orderly way (its connections are ended), and waits.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.signal_and_reap(libc::SIGINT)
    }

    /// Kills all its processes at once (SIGKILL), and waits.
    ///
    /// # Errors
    /// When one does not end.
    pub fn kill(&mut self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let others = children_of(pid);
        self.signal_and_reap(libc::SIGKILL)?;
        // Without their parent they end by themselves; nobody may touch the data until they have.
        let end = Instant::now() + PATIENCE;
        for other in others {
            while is_postgres(other) {
                // SAFETY: a signal to a process of the server that was looked at just before.
                unsafe { libc::kill(other as i32, libc::SIGKILL) };
                if Instant::now() > end {
                    bail!("process {other} of the killed server does not end");
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn signal_and_reap(&mut self, signal: i32) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // SAFETY: the child is ours and not yet reaped, so the pid is its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        let end = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                bail!("postgres did not end on signal {signal}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn initialise(&self) -> Result<()> {
        if self.folder().join("data").exists() {
            return Ok(());
        }
        if is_root() {
            chown(self.folder(), Some(NOBODY), Some(NOBODY))?;
        }
        let mut command = self.program("initdb")?;
        command.arg("-D").arg(self.seen("data"));
        command.args(["-U", "feedplane", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output = command.output().context("cannot start initdb")?;
        if !output.status.success() {
            bail!("initdb ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// A path in the server's folder as the server sees it.
    fn seen(&self, name: &str) -> PathBuf {
        match &self.programs {
            Programs::Unpacked { .. } => Path::new(INSIDE).join(name),
            Programs::Plain { .. } => self.folder().join(name),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder().join("postgres.log")
    }

    fn program(&self, name: &str) -> Result<Command> {
        let cage = match &self.programs {
            Programs::Unpacked { root } => Some(Cage::new(root, self.folder(), self.options.small_bytes)?),
            Programs::Plain { .. } => None,
        };
        let mut command = Command::new(self.programs.bin().join(name));
        contain(&mut command, cage);
        Ok(command)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let socket = self.folder().join(".s.PGSQL.5432");
        while Instant::now() < end {
            if answers(&socket) {
                return Ok(());
            }
            if !self.is_running() {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                let from = log.len().saturating_sub(2_000);
                bail!("postgres ended: {}", log.get(from..).unwrap_or(&log));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("postgres does not answer on {}", socket.display())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let _ = match self.folder {
            Folder::Ours { .. } => self.kill(),
            Folder::Callers(_) => self.stop(),
        };
    }
}

impl Programs {
    fn bin(&self) -> PathBuf {
        match self {
            Programs::Unpacked { .. } => PathBuf::from("/usr/lib/postgresql/17/bin"),
            Programs::Plain { bin } => bin.clone(),
        }
    }
}

fn programs(plain_only: bool) -> Result<Programs> {
    if plain_only {
        return plain();
    }
    unpacked().or_else(|without| {
        let plain = plain().with_context(|| format!("no TimescaleDB: {without:#}"))?;
        // Past a test harness's capture of output: what runs now shows less than it could.
        let said = format!("no TimescaleDB, a plain PostgreSQL instead: {without:#}\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
        Ok(plain)
    })
}

/// The newest Debian that `scripts/timescaledb.sh` has unpacked, if a program can be run in it.
fn unpacked() -> Result<Programs> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("feedplane");
    let made = std::fs::read_dir(&cache).into_iter().flatten().filter_map(|entry| {
        let root = entry.ok()?.path();
        let name = root.file_name()?.to_str()?;
        let made = root.join("complete").metadata().ok()?.modified().ok()?;
        name.starts_with("timescaledb-").then_some((made, root))
    });
    let Some((_, root)) = made.max() else {
        bail!("TimescaleDB is not unpacked (scripts/setup.sh does it as root)")
    };
    if !is_root() {
        bail!("TimescaleDB is run in a folder of its own by chroot, which needs root");
    }
    let nothing = tempfile::tempdir()?;
    let programs = Programs::Unpacked { root: root.clone() };
    let mut command = Command::new(programs.bin().join("postgres"));
    command.arg("--version").stdout(Stdio::null());
    contain(&mut command, Some(Cage::new(&root, nothing.path(), None)?));
    let status = command.status().context("no program can be run by chroot here")?;
    if !status.success() {
        bail!("no program can be run by chroot here: {status}");
    }
    Ok(programs)
}

/// The PostgreSQL of this machine: the one on the path, else the newest of Debian's.
fn plain() -> Result<Programs> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            Some((folder.file_name()?.to_str()?.parse().ok()?, folder.join("bin")))
        })
        .collect();
    versions.sort();
    let bins = std::env::split_paths(&path).chain(versions.into_iter().rev().map(|(_, bin)| bin));
    for bin in bins {
        // A link leads to the folder where the program's libraries and templates are.
        if let (Ok(postgres), true) = (bin.join("postgres").canonicalize(), bin.join("initdb").exists())
            && let Some(bin) = postgres.parent()
        {
            return Ok(Programs::Plain { bin: bin.to_owned() });
        }
    }
    bail!("there is no PostgreSQL on this machine (Debian package postgresql)")
}

fn is_root() -> bool {
    // SAFETY: no argument, no failure.
    unsafe { libc::geteuid() == 0 }
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether the process lives (a zombie does not) and is one of a PostgreSQL.
fn is_postgres(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.contains("(postgres)") && !status.contains(") Z ")
}

/// Removes folders whose owner was killed: nobody holds their lock.
fn remove_left_behind() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let folder = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER));
        if !ours {
            continue;
        }
        if let Ok(lock) = std::fs::File::open(folder.join("lock"))
            && lock.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

/// Whether the server takes connections: the protocol's start-up message is answered with "authentication ok".
fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<[u8; 9]> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let parameters = b"\0\x03\0\0user\0feedplane\0database\0postgres\0\0";
        stream.write_all(&(parameters.len() as u32 + 4).to_be_bytes())?;
        stream.write_all(parameters)?;
        let mut answer = [0; 9];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer == *b"R\0\0\0\x08\0\0\0\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(server: &PostgresServer) -> PathBuf {
        server.folder().join(".s.PGSQL.5432")
    }

    #[test]
    fn a_server_answers_while_it_runs_and_leaves_nothing_behind() {
        if let Some(why) = unavailable() {
            eprintln!("SKIPPED: {why}");
            return;
        }
        let mut server = PostgresServer::start().unwrap();
        assert_eq!(server.has_timescaledb(), timescaledb_unavailable().is_none());
        let folder = server.folder().to_owned();
        assert!(answers(&socket(&server)));
        let children = children_of(server.pid().unwrap());
        assert!(!children.is_empty());
        server.kill().unwrap();
        assert!(!answers(&socket(&server)) && !children.into_iter().any(is_postgres));
        server.start_again().unwrap();
        assert!(server.is_running() && answers(&socket(&server)));
        server.stop().unwrap();
        server.start_again().unwrap();
        drop(server);
        assert!(!folder.exists());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("timescaledb-"), "{mounts}");
    }

    #[test]
    fn a_plain_server_keeps_its_data_in_the_callers_folder() {
        if let Some(why) = plain_unavailable() {
            eprintln!("SKIPPED: {why}");
            return;
        }
        let outer = tempfile::tempdir().unwrap();
        // As root the server is nobody, who must be able to reach the folder.
        std::fs::set_permissions(outer.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let folder = outer.path().join("archive");
        let options = PostgresOptions { plain: true, ..PostgresOptions::default() };
        drop(PostgresServer::start_in(&folder, options.clone()).unwrap());
        assert!(folder.join("data/PG_VERSION").exists());
        let server = PostgresServer::start_in(&folder, options).unwrap();
        assert!(!server.has_timescaledb() && answers(&socket(&server)));
    }

    #[test]
    fn a_server_that_cannot_start_says_why() {
        if let Some(why) = unavailable() {
            eprintln!("SKIPPED: {why}");
            return;
        }
        let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
        let error = PostgresServer::start_with(PostgresOptions { settings, ..PostgresOptions::default() });
        let error = error.err().unwrap().to_string();
        assert!(error.contains("no_such_setting"), "{error}");
    }

    #[test]
    fn folders_of_killed_owners_are_removed_and_others_are_not() {
        if let Some(why) = unavailable() {
            eprintln!("SKIPPED: {why}");
            return;
        }
        let mine = PostgresServer::start().unwrap();
        let left = tempfile::Builder::new().prefix(FOLDER).tempdir().unwrap().keep();
        std::fs::File::create(left.join("lock")).unwrap();
        if is_root() {
            chown(&left, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        remove_left_behind();
        assert!(!left.exists() && mine.folder().exists());
    }
}
