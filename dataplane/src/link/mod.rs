//! How packets of a worker's feeds find their way to it: entries of a steering map and group memberships
//! (XDP), or sockets. The ways are changed while packets flow: a new one is opened before an old one is
//! closed, so nothing wanted before and after is lost.

mod socket;
#[cfg(feature = "xdp")]
mod xdp;

use crate::nic;
use crate::plan::Route;
use crate::port::Port;
use crate::receiver::AnyReceiver;
use bus::config::{BackendChoice, Filter, ReceiveSection, WorkerSection};
use bus::link::Nic;
pub use socket::SocketLink;
use std::fmt;
#[cfg(feature = "xdp")]
pub use xdp::XdpLink;
#[cfg(feature = "xdp")]
pub(crate) use xdp::receiver_status;

/// The interfaces of a worker's lines.
#[derive(Clone, Debug)]
pub struct Interfaces {
    /// Names, by line.
    pub names: [String; 2],
    /// Indices, by line.
    pub indices: [u32; 2],
}

impl Interfaces {
    /// Looks the worker's interfaces up.
    ///
    /// # Errors
    /// Which one does not exist, and which do.
    pub fn find(worker: &WorkerSection) -> anyhow::Result<Interfaces> {
        let names = [worker.interface_a.clone(), worker.interface_b.clone()];
        let indices = [nic::index(&names[0])?, nic::index(&names[1])?];
        Ok(Interfaces { names, indices })
    }
}

/// The way in, by backend.
pub enum Link {
    /// Through steering programs.
    #[cfg(feature = "xdp")]
    Xdp(Box<XdpLink>),
    /// Through sockets.
    Socket(SocketLink),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A link with the receiver that it feeds.
pub struct Opened {
    /// The way in, kept by the process.
    pub link: Link,
    /// The receiver, to go to the worker.
    pub receiver: AnyReceiver,
    /// Packets that the receiver's queues hold at most.
    pub queue_packets: usize,
    /// Why the preferred backend is not the one in force, if so.
    pub fallback: Option<String>,
}

impl Link {
    /// Opens the backend that the configuration asks for.
    ///
    /// # Errors
    /// When the asked-for backend cannot be had; with `auto`, only when neither can.
    pub fn open(receive: &ReceiveSection, interfaces: &Interfaces) -> anyhow::Result<Opened> {
        match receive.backend {
            BackendChoice::Socket => Ok(SocketLink::open(receive, interfaces)),
            #[cfg(feature = "xdp")]
            BackendChoice::Xdp => XdpLink::open(receive, interfaces),
            #[cfg(feature = "xdp")]
            BackendChoice::Auto => XdpLink::open(receive, interfaces).or_else(|error| {
                let mut opened = SocketLink::open(receive, interfaces);
                opened.fallback = Some(format!("{error:#}"));
                Ok(opened)
            }),
            #[cfg(not(feature = "xdp"))]
            BackendChoice::Xdp => {
                anyhow::bail!(
                    "this build has no XDP (built without the `xdp` feature); use `backend: socket`"
                )
            }
            #[cfg(not(feature = "xdp"))]
            BackendChoice::Auto => {
                let mut opened = SocketLink::open(receive, interfaces);
                opened.fallback = Some("this build has no XDP (built without the `xdp` feature)".into());
                Ok(opened)
            }
        }
    }

    /// The backend's name.
    pub fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(_) => "xdp",
            Link::Socket(_) => "socket",
        }
    }

    /// Puts a newly loaded steering program in place of each running one; how many there are.
    ///
    /// # Errors
    /// What the kernel refused; the old program goes on then.
    pub fn replace_programs(&mut self) -> anyhow::Result<usize> {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(link) => link.replace_programs(),
            Link::Socket(_) => Ok(0),
        }
    }

    /// Whether there are filters with this backend.
    pub fn can_filter(&self) -> bool {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(_) => true,
            Link::Socket(_) => false,
        }
    }

    /// Brings the filters to these; those that stay as they are go on counting. Does nothing where there are none.
    ///
    /// # Errors
    /// What the kernel refused; some may be set then, and are put right by the next call.
    pub fn set_filters(&mut self, filters: &[Filter]) -> anyhow::Result<()> {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(link) => link.set_filters(filters),
            Link::Socket(_) => {
                let _ = filters;
                Ok(())
            }
        }
    }

    /// Puts the interface's steering program to work again, or takes it off. `None`: there is no program here.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn set_attached(&mut self, interface: &str, attached: bool) -> Option<anyhow::Result<()>> {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(link) => link.set_attached(interface, attached),
            Link::Socket(_) => {
                let _ = (interface, attached);
                None
            }
        }
    }

    /// Fills in what is known of an interface's program.
    pub fn describe(&self, nic: &mut Nic) {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(link) => link.describe(nic),
            Link::Socket(_) => {
                let _ = nic;
            }
        }
    }

    /// Modes and counters of what lies before the receiver; nothing for sockets.
    pub fn status(&self) -> serde_json::Value {
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(link) => link.status(),
            Link::Socket(_) => serde_json::Value::Array(Vec::new()),
        }
    }

    /// Opens the routes that are in `to` and not in `from`, then closes those that are only in `from`.
    ///
    /// # Errors
    /// The first thing that failed; what was opened by then stays open and is closed by the next change.
    pub fn change(&mut self, from: &[Route], to: &[Route], port: &mut Port) -> anyhow::Result<()> {
        let opened: Vec<Route> = to.iter().filter(|route| !from.contains(route)).copied().collect();
        let closed: Vec<Route> = from.iter().filter(|route| !to.contains(route)).copied().collect();
        match self {
            #[cfg(feature = "xdp")]
            Link::Xdp(link) => link.change(&opened, &closed, to),
            Link::Socket(link) => link.change(&opened, &closed, port),
        }
    }
}
