//! `feedplane top` on a terminal: it draws, follows its size, and gives it back as it was, however it ends.
#![allow(clippy::unwrap_used)]

mod control_support;

use control_support::{PATIENCE, Plane};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A terminal whose other end is this test.
struct Terminal {
    keyboard: File,
    theirs: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new() -> Terminal {
        let (mut ours, mut theirs) = (0, 0);
        let size = libc::winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the two numbers are written, the size is read, and nothing else is handed over.
        let opened = unsafe {
            libc::openpty(
                &raw mut ours,
                &raw mut theirs,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just given us both descriptors, and nobody else knows them.
        let (ours, theirs) = unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut screen, all) = (ours.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut piece = [0; 4_096];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                all.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Terminal { keyboard: ours, theirs, seen }
    }

    /// Starts `top` as the one that this terminal belongs to.
    fn top(&self, plane: &Plane) -> Child {
        let mut top = plane.command(&["top"]);
        let end = || self.theirs.try_clone().unwrap();
        top.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: between fork and exec two system calls are made, and nothing is allocated or locked.
        unsafe {
            top.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        top.spawn().unwrap()
    }

    fn settings(&self) -> [u32; 4] {
        // SAFETY: the structure is plain data, which the kernel fills in.
        let settings = unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.theirs.as_raw_fd(), &raw mut settings), 0);
            settings
        };
        [settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag]
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the kernel reads the size during the call.
        let set = unsafe { libc::ioctl(self.keyboard.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0);
    }

    fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// What was drawn since the last look.
    fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    fn wait_for(&self, what: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned();
            if seen.contains(what) {
                return;
            }
            assert!(Instant::now() < end, "waited for {what:?}; it drew {seen:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn the_terminal_is_drawn_on_and_given_back_however_it_ends() {
    let Some(plane) = Plane::start("the_terminal_is_drawn_on_and_given_back") else { return };
    for end in ["key", "signal"] {
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let mut top = terminal.top(&plane);
        terminal.wait_for("HALTED");
        assert_ne!(terminal.settings(), before, "keys are read one by one");
        terminal.press(b"2");
        terminal.wait_for("lead");
        terminal.forget();
        // A smaller one is drawn anew, whole.
        terminal.resize(20, 60);
        terminal.wait_for("HALTED");
        terminal.press(b"4 \x1b[B");
        terminal.wait_for("held");
        if end == "key" {
            terminal.press(b"q");
        } else {
            let pid = rustix::process::Pid::from_child(&top);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        assert!(top.wait().unwrap().success(), "by a {end}");
        assert_eq!(terminal.settings(), before, "by a {end}");
        // Back to the screen as it was, with its cursor.
        terminal.wait_for("\u{1b}[?1049l");
        terminal.wait_for("\u{1b}[?25h");
    }
}
