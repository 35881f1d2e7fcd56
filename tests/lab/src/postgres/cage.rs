//! How a program of the server is run: inside the unpacked Debian, as nobody, and no longer than we live.
//!
//! The mounts are made in a mount namespace of the process's own, so nothing of them is ever seen outside, and
//! the kernel undoes them when the process ends.

use super::{NOBODY, is_root};
use anyhow::Result;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What must be mounted where, before a program is run in the unpacked Debian.
pub(super) struct Cage {
    root: CString,
    mounts: Vec<Mount>,
}

struct Mount {
    from: CString,
    at: CString,
    kind: Option<CString>,
    options: Option<CString>,
    flags: libc::c_ulong,
}

fn c_string(text: impl AsRef<OsStr>) -> Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

impl Cage {
    pub(super) fn new(root: &Path, folder: &Path, small_bytes: Option<u64>) -> Result<Cage> {
        let bind = |from: &Path, at: &str, flags| -> Result<Mount> {
            let (from, at) = (c_string(from)?, c_string(root.join(at))?);
            Ok(Mount { from, at, kind: None, options: None, flags: libc::MS_BIND | flags })
        };
        let mut mounts = vec![bind(Path::new("/dev"), "dev", libc::MS_REC)?, bind(folder, "server", 0)?];
        if let Some(bytes) = small_bytes {
            std::fs::create_dir_all(folder.join("small"))?;
            mounts.push(Mount {
                from: c_string("small")?,
                at: c_string(root.join("server/small"))?,
                kind: Some(c_string("tmpfs")?),
                options: Some(c_string(format!("size={bytes},uid={NOBODY},gid={NOBODY},mode=700"))?),
                flags: 0,
            });
        }
        Ok(Cage { root: c_string(root)?, mounts })
    }

    /// Makes the mounts in a namespace of the process's own and goes inside. Between fork and exec.
    fn enter(&self) -> std::io::Result<()> {
        let null = std::ptr::null::<libc::c_char>();
        // SAFETY: system calls with terminated strings that live as long as `self`.
        unsafe {
            succeed(libc::unshare(libc::CLONE_NEWNS))?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            succeed(libc::mount(null, c"/".as_ptr(), null, private, null.cast()))?;
            for Mount { from, at, kind, options, flags } in &self.mounts {
                let kind = kind.as_ref().map_or(null, |kind| kind.as_ptr());
                let options = options.as_ref().map_or(null, |options| options.as_ptr());
                succeed(libc::mount(from.as_ptr(), at.as_ptr(), kind, *flags, options.cast()))?;
            }
            succeed(libc::chroot(self.root.as_ptr()))?;
            succeed(libc::chdir(c"/".as_ptr()))
        }
    }
}

fn succeed(result: libc::c_int) -> std::io::Result<()> {
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Sets the command up: nothing of our environment, nobody instead of root, dead when we are.
pub(super) fn contain(command: &mut Command, cage: Option<Cage>) {
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").stdin(Stdio::null()).current_dir("/");
    let (parent, root) = (std::process::id(), is_root());
    // SAFETY: between fork and exec only system calls are made, all async-signal-safe, on prepared memory.
    unsafe {
        command.pre_exec(move || {
            if root {
                succeed(libc::unshare(libc::CLONE_NEWIPC))?;
                if let Some(cage) = &cage {
                    cage.enter()?;
                }
                succeed(libc::setgroups(0, std::ptr::null()))?;
                succeed(libc::setgid(NOBODY))?;
                succeed(libc::setuid(NOBODY))?;
            }
            // After the change of user, which would forget it.
            succeed(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The parent may have died before the call above.
            if libc::getppid() as u32 == parent { Ok(()) } else { Err(std::io::ErrorKind::NotFound.into()) }
        })
    };
}
