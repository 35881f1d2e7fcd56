//! What lives: versions on their way to the processes, the trading state, what every process does, orders, the market.
//!
//! ```text
//! store ─► Distribution ─► config:<service>, data plane's socket     processes:* ─► Sampler ─► Status ─┐
//! store ◄► TradingDesk ◄─► trading_state                                                               ├─► Hub ─► clients
//! order_instructions, execution_reports ─► Desk ───────────────────────────────────────────────────────┤
//! raw_market_data, calculated_features ─► Market (only what somebody looks at) ────────────────────────┘
//! ```
//!
//! Who owns what: each part its own connection to Redis, so that none waits for another, and the trading desk for nobody. A
//! part that cannot do its work says so in the status and goes on trying. Invariant: nothing here is in the data's way.

pub mod distribute;
pub mod events;
pub mod link;
pub mod lookups;
pub mod market;
pub mod orders;
pub mod sampler;
pub mod scrape;
pub mod status;
pub mod trading;

pub use distribute::Distribution;
pub use events::{Hub, Topic, Topics};
pub use link::{BusError, BusLink};
pub use lookups::Lookups;
pub use market::{InstrumentKey, Market};
pub use orders::Desk;
pub use sampler::Sampler;
pub use status::{Convergence, ConvergenceProcess, PartLive, PartStatistics, Status};
pub use trading::{TradingDesk, TradingView};

use crate::config::Part;
use crate::link::Client;
use crate::store::{Store, now_ns};
use bus::config::ControlplaneDocument;
use sampler::Looked;
use std::sync::Arc;
use tokio::task::JoinSet;
use vitals::Stop;

/// Clients of the events at once: as many as there are connections, less what the API needs besides.
pub const EVENT_CLIENTS_MAX: usize = 1_000;

/// What lives. Cheap to copy.
#[derive(Clone)]
pub struct Live(Arc<Parts>);

struct Parts {
    hub: Arc<Hub>,
    trading: Arc<TradingDesk>,
    distribution: Arc<Distribution>,
    sampler: Arc<Sampler>,
    orders: Desk,
    market: Market,
    lookups: Lookups,
    dataplane: Option<Client>,
    /// Ended when the last copy is gone.
    _tasks: JoinSet<()>,
}

impl Live {
    /// Starts everything, on this runtime and on threads of its own that end when they are asked to stop.
    ///
    /// # Errors
    /// When an address cannot be understood, or there is no thread. A Redis or data plane that is not there is none: it is
    /// waited for.
    pub fn start(document: &ControlplaneDocument, store: Store, stop: Stop) -> anyhow::Result<Live> {
        let (url, shards) = (document.redis.as_str(), document.shards);
        let hub = Arc::new(Hub::new(EVENT_CLIENTS_MAX));
        let dataplane = || document.dataplane.as_ref().map(Client::new);
        let trading = Arc::new(TradingDesk::new(url, store.clone(), Arc::clone(&hub))?);
        let distribution = Arc::new(Distribution::new(url, store.clone(), dataplane(), Arc::clone(&hub))?);
        let orders = Desk::start(url, shards, Arc::clone(&hub), stop.clone())?;
        let market = Market::new(url, shards, stop);
        let sampler = Arc::new(Sampler::new(Looked {
            url: url.to_owned(),
            store: store.clone(),
            dataplane: dataplane(),
            trading: Arc::clone(&trading),
            distribution: Arc::clone(&distribution),
            orders: orders.clone(),
            market: market.clone(),
            hub: Arc::clone(&hub),
        })?);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&trading).watch());
        tasks.spawn(Arc::clone(&distribution).run());
        tasks.spawn(Arc::clone(&sampler).run());
        tasks.spawn(tell_audit(store, Arc::clone(&distribution), Arc::clone(&hub)));
        let lookups = Lookups::new(url, shards)?;
        let dataplane = dataplane();
        Ok(Live(Arc::new(Parts {
            hub,
            trading,
            distribution,
            sampler,
            orders,
            market,
            lookups,
            dataplane,
            _tasks: tasks,
        })))
    }

    /// A version was stored: it is distributed at once.
    pub fn changed(&self) {
        self.0.distribution.changed();
    }

    /// How far the newest version of a document has come.
    pub fn convergence(&self, service: &str) -> Convergence {
        self.0.sampler.convergence(service)
    }

    /// What a part of a document does.
    pub fn part(&self, part: &Part, name: &str) -> PartLive {
        let convergence = self.convergence(part.kind.service());
        PartLive { convergence, statistics: self.0.sampler.statistics(part, name) }
    }

    /// Where events come together.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// The trading state.
    pub fn trading(&self) -> &Arc<TradingDesk> {
        &self.0.trading
    }

    /// Who looks at everything.
    pub fn sampler(&self) -> &Arc<Sampler> {
        &self.0.sampler
    }

    /// Orders, denials, positions.
    pub fn orders(&self) -> &Desk {
        &self.0.orders
    }

    /// Book, tape and features of instruments.
    pub fn market(&self) -> &Market {
        &self.0.market
    }

    /// What is asked of Redis for one request.
    pub fn lookups(&self) -> &Lookups {
        &self.0.lookups
    }

    /// The data plane's socket; none when the document names none.
    pub fn dataplane(&self) -> Option<&Client> {
        self.0.dataplane.as_ref()
    }
}

/// Entries of the audit become events, and wake the distribution: a change may have made a version.
async fn tell_audit(store: Store, distribution: Arc<Distribution>, hub: Arc<Hub>) {
    let mut entries = store.audit_entries();
    loop {
        match entries.recv().await {
            Ok(entry) => {
                distribution.changed();
                hub.tell(Topic::Audit, &entry);
            }
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => distribution.changed(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}
