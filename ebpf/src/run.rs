//! Running a program through the kernel's test run (`BPF_PROG_TEST_RUN`): once over a frame, to see what it
//! does with it, or many times over live frames, to generate traffic.

use crate::diagnose::Phase;
use crate::errors::Errno;
use crate::metadata::Metadata;
use libbpf_rs::libbpf_sys;
use std::os::fd::{AsRawFd, BorrowedFd};
use zerocopy::FromBytes;

const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// What the program decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Gone.
    Drop,
    /// On to the kernel.
    Pass,
    /// To the queue's socket.
    Redirect,
    /// Something that the steering program never returns.
    Other(u32),
}

/// What one run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The program's decision.
    pub verdict: Verdict,
    /// The metadata in front of the frame, when there is any.
    pub metadata: Option<Metadata>,
    /// The frame after the run.
    pub frame: Vec<u8>,
}

pub(crate) fn once(program: BorrowedFd<'_>, frame: &[u8]) -> Result<Outcome, Errno> {
    let mut out = vec![0u8; frame.len() + Metadata::BYTES];
    let mut options = options(frame);
    options.data_out = out.as_mut_ptr().cast();
    options.data_size_out = out.len() as u32;
    options.repeat = 1;
    run(program, &mut options)?;
    out.truncate(options.data_size_out as usize);
    // The kernel copies out from the start of the metadata.
    let front = out.len().saturating_sub(frame.len());
    let frame = out.split_off(front);
    let verdict = match options.retval {
        XDP_DROP => Verdict::Drop,
        XDP_PASS => Verdict::Pass,
        XDP_REDIRECT => Verdict::Redirect,
        other => Verdict::Other(other),
    };
    Ok(Outcome { verdict, metadata: Metadata::read_from_bytes(&out).ok(), frame })
}

pub(crate) fn live_frames(program: BorrowedFd<'_>, template: &[u8], repeat: u32) -> Result<(), Errno> {
    let mut options = options(template);
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    options.repeat = repeat.cast_signed();
    run(program, &mut options)
}

fn options(frame: &[u8]) -> libbpf_sys::bpf_test_run_opts {
    libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        ..Default::default()
    }
}

fn run(program: BorrowedFd<'_>, options: &mut libbpf_sys::bpf_test_run_opts) -> Result<(), Errno> {
    // SAFETY: the pointers in the options were taken from buffers of the given sizes that the callers keep
    // alive through the call.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), options) };
    if result < 0 { Err(Errno::of_return(Phase::TestRun, result)) } else { Ok(()) }
}
