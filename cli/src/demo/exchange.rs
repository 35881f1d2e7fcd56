//! The demo's exchange, and the desk that trades on it.

use super::world::World;
use super::{Args, impairments, loopback, outlet};
use anyhow::{Context, Result, bail, ensure};
use bus::config::{FeedsDocument, GatewayUp, StrategyUp};
use lab::network::Network;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use venue::exchange::{ExchangeSpec, FlowSpec};
use venue::live::{Live, LiveSpec};
use venue::live_report::LiveReport;
use venue::new_york;
use venue::order_entry::User;
use venue::session::Channel;

/// An exchange that listens. Its thread waits for the day to begin; dropped, it ends without one.
pub(super) struct Exchange {
    address: SocketAddr,
    channels: Vec<Channel>,
    begin: Sender<()>,
    thread: JoinHandle<Result<LiveReport>>,
}

impl Exchange {
    /// Where it takes orders.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Begins the day; the thread that runs it.
    pub(super) fn begin(self) -> JoinHandle<Result<LiveReport>> {
        // A thread that has ended says why when it is joined.
        let _ = self.begin.send(());
        self.thread
    }
}

/// Its channel, behind those of the made-up session.
pub(super) const CHANNEL: u16 = 1_000;
/// Publisher of its ticks: its instruments have numbers of their own. None of DBN's.
const PUBLISHER: u16 = 60_000;
const SYMBOLS: u16 = 4;
/// From the begin to the open, ns: the directory is known before anything trades.
const PRE_OPEN_NS: u64 = 500_000_000;
const USER: (&str, &str) = ("demo", "secret");
/// The gateway's session, and the `venue` of the strategies.
const VENUE: &str = "exchange";

/// Limits that let the strategies trade, and stop one of them. A strategy that quotes, one that takes, and rules: one
/// on a feature, one that asks for more than it may.
const STRATEGY: &str = "
risk:
  total: {position_max: 20000, exposure_max: 5000000, open_orders_max: 50, messages_per_second: 500,
          message_burst: 500, drawdown_max: 100000}
  default:
    collar_basis_points: 200
    collar_price: '5'
    order_quantity_max: 500
    order_notional_max: 100000
    position_max: 3000
    exposure_max: 1000000
    open_orders_max: 10
    messages_per_second: 200
    message_burst: 200
    duplicate_window_ms: 0
    quote_age_max_ms: 2000
    drawdown_max: 50000
    multiplier: '1'
    tick_size: '0.01'
  sessions:
    - days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday]
      open: '00:00'
      close: '24:00'
strategies:
  - name: quoter
    venue: exchange
    instruments: [S1, S2]
    quoter: {half_spread_ticks: 2, skew_ticks: 2, size: 100, position_max: 1000, quiet_ms: 2000}
  - name: momentum
    venue: exchange
    instruments: [S3]
    ofi_momentum: {window_ms: 200, enter_ticks: 0.5, clip: 100, position: 300, cross_ticks: 2, hold_ms: 500}
  - name: rules
    venue: exchange
    instruments: [S4]
    rules:
      rules:
        - {name: lean, when: 'imbalance > 0.3 && position < 500.0', cooldown_ms: 200, do: {buy: {quantity: 100, price: {cross: 1}, tif: ioc}}}
        - {name: back, when: 'imbalance < -0.3 && position > -500.0', cooldown_ms: 200, do: {sell: {quantity: 100, price: {cross: 1}, tif: ioc}}}
        - {name: too-much, when: 'good', fires: while_true, cooldown_ms: 2000, do: {buy: {quantity: 5000, price: {join: 0}}}}
";

/// Opens the exchange, which listens from now on, and tells the world who trades on it.
pub(super) fn open(args: &Args, seconds: u64, world: &mut World, stop: &Arc<AtomicBool>) -> Result<Exchange> {
    let mut exchange = ExchangeSpec::new(SYMBOLS, args.seed);
    exchange.flow = Some(FlowSpec::default().with_events_per_s(args.exchange_rate, exchange.activity()));
    exchange.pre_open_ns = PRE_OPEN_NS;
    exchange.duration_ns = Some(seconds * 1_000_000_000);
    exchange.begin_of_day_ns = new_york::since_midnight_ns();
    exchange.channel_id = CHANNEL;
    let group = |third, port| Some(SocketAddrV4::new(Ipv4Addr::new(239, 78, third, 1), port));
    exchange.destinations =
        if world.is_private() { [group(1, 33_001), group(2, 34_001)] } else { loopback([33_001, 34_001]) };
    let mut impairments = impairments(args, world.is_private());
    // A hole in a feed of orders leaves its books doubtful until they are cleared, and nobody trades on those.
    (impairments[1].loss, impairments[1].burst, impairments[1].corrupt) = (0.0, None, 0.0);
    let (name, password) = USER;
    let users = vec![User { cancel_on_disconnect: true, ..User::new(name, password)? }];
    let listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let spec = LiveSpec { exchange, impairments, listen, users };
    let live = start(spec, world.network(), Arc::clone(stop))?;
    let strategy: StrategyUp = serde_saphyr::from_str(STRATEGY).context("the demo's strategies")?;
    let gateway = format!(
        "sessions:
  - venue: {VENUE}
    limits: {{order_quantity_max: 1000, order_notional_max: 200000, open_orders_max: 50, messages_per_second: 1000,
             message_burst: 1000}}
    reconnect: {{first_ms: 50, most_ms: 200}}
    ouch: {{address: '{}', user: {name}, password: {password}}}",
        live.address
    );
    let gateway: GatewayUp = serde_saphyr::from_str(&gateway).context("the demo's gateway")?;
    world.trade(strategy, gateway);
    Ok(live)
}

/// Its sockets belong to the thread that runs it, in the network if there is one.
fn start(spec: LiveSpec, network: Option<Network>, stop: Arc<AtomicBool>) -> Result<Exchange> {
    let (begin, begun) = channel();
    let (tell, told) = channel();
    let run = move || -> Result<LiveReport> {
        let mut live = Live::new(&spec, None, outlet(network.as_ref())?)?;
        let _ = tell.send((live.address(), live.channels().to_vec()));
        begun.recv().context("the day did not begin")?;
        Ok(live.run(&stop, |_| {})?)
    };
    let thread = std::thread::Builder::new().name("exchange".into()).spawn(run)?;
    match told.recv() {
        Ok((address, channels)) => Ok(Exchange { address, channels, begin, thread }),
        Err(_) => match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Err(error) => Err(error),
            Ok(_) => bail!("the exchange ended before it began"),
        },
    }
}

/// Gives the exchange's feed a publisher of its own.
pub(super) fn publish_apart(feeds: &Path) -> Result<()> {
    let mut document = FeedsDocument::load(feeds)?;
    let mut of_exchange = document.feeds.iter_mut().filter(|feed| feed.channel_id == CHANNEL);
    let feed = of_exchange.next().context("the exchange has no feed")?;
    feed.publisher_id = PUBLISHER;
    ensure!(of_exchange.next().is_none(), "the exchange has two feeds");
    Ok(std::fs::write(feeds, serde_saphyr::to_string(&document)?)?)
}
