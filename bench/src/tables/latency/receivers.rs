//! The receivers of table (e): the data plane's process, and the Python reference.

use crate::book;
use crate::processes::{Dataplane, Python};
use crate::python;
use crate::world::{self, World};
use anyhow::Result;
use serde::Deserialize;
use serde_json::json;
use std::fs;

/// A receiver that can be started.
pub(super) trait Receiving {
    /// What its stream entries are, for the reader.
    const ENTRIES: &'static str;
    /// How it runs.
    type Running: Running;
    /// Starts it and waits until it receives.
    fn start(&self, world: &World) -> Result<Self::Running>;
}

/// A started receiver.
pub(super) trait Running {
    /// Ends it and says what there is to say of its run.
    fn finish(self) -> Result<String>;
}

/// The data plane's process.
pub(super) struct Feedplane {
    backend: &'static str,
}

impl Feedplane {
    pub(super) const XDP: Feedplane = Feedplane { backend: "xdp" };
    pub(super) const SOCKETS: Feedplane = Feedplane { backend: "socket" };
}

impl Receiving for Feedplane {
    const ENTRIES: &'static str = "ticks";
    type Running = Dataplane;

    fn start(&self, world: &World) -> Result<Dataplane> {
        fs::write(world.path("book.xml"), book::SCHEMA)?;
        let feed = json!({
            "name": "bench", "channel_id": 1, "publisher_id": 1, "protocol": "mdp3", "schema": "book.xml",
            "lines": world::lines(), "first_sequence": 1,
        });
        Dataplane::start(world, self.backend, &feed)
    }
}

impl Running for Dataplane {
    fn finish(self) -> Result<String> {
        Dataplane::finish(self).map(|ended| ended.says)
    }
}

/// The Python reference.
pub(super) struct Asyncio {
    /// Whether it sends what has gathered in one pipeline, instead of one by one.
    pub(super) pipelined: bool,
}

impl Receiving for Asyncio {
    const ENTRIES: &'static str = "fields";
    type Running = Python;

    fn start(&self, world: &World) -> Result<Python> {
        let mut command = python::reference_asyncio("mdp3_receiver")?;
        command.args(world::line_arguments());
        command.arg("--redis").arg(world.redis().socket());
        if self.pipelined {
            command.arg("--pipelined");
        }
        Python::start(world.network(), &mut command)
    }
}

#[derive(Deserialize)]
struct Summary {
    packets: u64,
    unpublished: u64,
}

impl Running for Python {
    fn finish(self) -> Result<String> {
        let summary: Summary = Python::finish(self)?;
        Ok(match summary.unpublished {
            0 => format!("{} packets taken from the sockets", summary.packets),
            waiting => {
                format!("{} packets taken from the sockets, {waiting} ticks never published", summary.packets)
            }
        })
    }
}
