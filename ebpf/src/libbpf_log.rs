//! Keeps what libbpf says while it loads, instead of letting it write to stderr: a probe that is meant to
//! fail must not frighten an operator, and one that is not needs the verifier's last words.

use libbpf_rs::{PrintLevel, set_print};
use std::cell::RefCell;
use std::sync::Once;

/// Enough for the end of a verifier's log, bytes.
const BYTES_MAX: usize = 1024;

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Starts afresh on this thread. The first call of the process takes over libbpf's printing.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_print(Some((PrintLevel::Info, keep)));
    });
    SAID.with_borrow_mut(String::clear);
}

/// What was said on this thread since [`capture`]: at most the last lines, on one line.
pub(crate) fn take() -> String {
    SAID.with_borrow_mut(std::mem::take).trim().replace('\n', " | ")
}

fn keep(_level: PrintLevel, text: String) {
    SAID.with_borrow_mut(|said| {
        said.push_str(&text);
        if said.len() > BYTES_MAX {
            let mut from = said.len() - BYTES_MAX;
            while !said.is_char_boundary(from) {
                from += 1;
            }
            said.drain(..from);
        }
    });
}
