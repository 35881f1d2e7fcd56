//! `feedplane check`: whether this machine can do what a data plane asks of it, line by line, and what to do where it cannot.
//!
//! It asks the kernel and tries what can be tried without touching an interface; nothing is changed. What is wrong depends
//! on the document: without XDP rights a data plane on kernel sockets is well.

mod cpus;
mod finding;
mod interfaces;
mod kernel;
mod memory;
mod netdev;
mod times;

use crate::output::Output;
use anyhow::{Context, Result, bail};
use bus::config::{BackendChoice, DataplaneDocument, ReceiveSection};
use finding::Verdict;
use serde_json::json;
use std::path::PathBuf;

/// Checks whether this machine can run a data plane, and says what to do where it cannot.
///
/// Each line is ok, a warning (it runs, and worse than it could) or wrong. Ends with 1 when something is wrong for the
/// document. An init container runs it before the data plane, with the same rights.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data plane's document. Without it, all interfaces that have a device are looked at, and sockets instead of XDP
    /// would do.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What is asked of the machine.
struct Demands {
    receive: ReceiveSection,
    workers: usize,
    interfaces: Vec<String>,
    /// Whose core, and which.
    cores: Vec<(String, usize)>,
}

impl Demands {
    fn of(document: &DataplaneDocument) -> Demands {
        let mut interfaces = Vec::new();
        for worker in &document.workers {
            for name in [&worker.interface_a, &worker.interface_b] {
                if !interfaces.contains(name) {
                    interfaces.push(name.clone());
                }
            }
        }
        let workers = document.workers.iter().filter_map(|worker| Some((worker.name.clone(), worker.core?)));
        let publisher = document.publisher.core.map(|core| ("publisher".to_owned(), core));
        Demands {
            receive: document.receive.clone(),
            workers: document.workers.len(),
            interfaces,
            cores: workers.chain(publisher).collect(),
        }
    }

    fn of_no_document() -> Demands {
        let interfaces = interfaces::with_device();
        Demands { receive: ReceiveSection::default(), workers: 1, interfaces, cores: Vec::new() }
    }

    /// How bad it is when XDP cannot be had.
    fn without_xdp(&self) -> Verdict {
        match self.receive.backend {
            BackendChoice::Xdp => Verdict::Wrong,
            BackendChoice::Auto => Verdict::Warning,
            BackendChoice::Socket => Verdict::Ok,
        }
    }

    /// Memory for frames of all workers, bytes.
    fn frame_bytes(&self) -> u64 {
        const FRAME_BYTES: u64 = 4_096;
        if self.receive.backend == BackendChoice::Socket {
            return 0;
        }
        u64::from(self.receive.frames) * FRAME_BYTES * self.workers as u64
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let demands = match &args.config {
        Some(path) => {
            let document = DataplaneDocument::load(path).with_context(|| path.display().to_string())?;
            Demands::of(&document)
        }
        None => Demands::of_no_document(),
    };
    let mut findings = kernel::findings(&demands);
    findings.extend(memory::findings(&demands));
    findings.extend(cpus::findings(&demands));
    for name in &demands.interfaces {
        findings.extend(interfaces::findings(name, &demands));
    }
    findings.extend(times::findings(&demands));
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let answer = json!({"verdict": worst.word(), "findings": findings});
    args.output.put(&answer, |_| finding::lines(&findings))?;
    if worst == Verdict::Wrong {
        let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
        bail!("{wrong} of {} checks are wrong", findings.len());
    }
    Ok(())
}

/// A small file of the kernel's, without white space around it.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
