//! A service of the workspace as a process: started with its document, ended by a signal.
//!
//! The program is looked for beside the test's own: `make test` and every other build of the whole workspace put
//! it there. Who runs these tests alone (`cargo test -p`) tests the programs that were built last.

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a service to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running service; killed on drop, and by the kernel when the thread that started it ends.
pub struct Service {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Where a program of the workspace is.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Test programs are in `deps/`, the programs themselves one folder up.
    let built = own.parent().and_then(Path::parent).map(|folder| folder.join(name));
    built.filter(|path| path.exists()).with_context(|| {
        format!("there is no {name} beside {}: run `cargo build --workspace` first", own.display())
    })
}

impl Service {
    /// Starts `name` (`feedplane-features`, …) with `arguments`; its log goes to `folder`.
    ///
    /// # Errors
    /// It was not built or cannot be started.
    pub fn start(name: &str, arguments: &[&str], folder: &Path) -> Result<Service> {
        Service::start_with(name, arguments, &[], folder)
    }

    /// The same, with variables in its environment.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_with(
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> Result<Service> {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(program(name)?);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // SAFETY: between fork and exec one system call is made, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Service { name: name.to_owned(), child, log })
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails with the log when the service has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log()),
        }
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// It does not end, or ends with an error.
    pub fn stop(mut self) -> Result<()> {
        // SAFETY: the child is ours and not yet reaped, so the pid is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = self.wait()?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.name, self.log());
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} does not end:\n{}", self.name, self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
