//! A scripted venue behind a scripted line, a private Redis, gateways on threads.

use bus::config::GatewayDocument;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, TimeInForce, TradingMode, TradingState};
use gateway::line::{Event, Events, Line, LineError, LineStart, OrderName, Outgoing, Told, What, WireRef};
use gateway::service::Gateway;
use lab::redis_server::RedisServer;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tick::Price;
use vitals::Stop;

/// Longest wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const REPORTS: &str = "execution_reports";

pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

pub(crate) fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

/// The venue of all lines of a test: what it was sent, and what it said today.
#[derive(Default)]
pub(crate) struct Venue {
    pub(crate) sent: Vec<(String, Outgoing)>,
    pub(crate) told: Vec<Told>,
    pub(crate) settled: Vec<OrderId>,
    /// Whether it answers what it is sent.
    pub(crate) answers: bool,
    /// Whether it can be reached.
    pub(crate) reachable: bool,
    line: Option<(String, Arc<dyn Events>)>,
}

pub(crate) type SharedVenue = Arc<Mutex<Venue>>;

impl Venue {
    pub(crate) fn shared() -> SharedVenue {
        Arc::new(Mutex::new(Venue { answers: true, reachable: true, ..Venue::default() }))
    }

    pub(crate) fn tell(&mut self, order: OrderName, what: What) {
        let told = Told { number: self.told.len() as u64 + 1, order, what, venue_time_ns: 0 };
        self.told.push(told.clone());
        if let Some((_, events)) = &self.line {
            events.push(Event::Told(told));
        }
    }

    /// What line `name` has to say when it is logged on.
    fn logon(&mut self, name: &str, events: Arc<dyn Events>, from: u64) {
        // A second logon ends the first connection.
        if let Some((_, before)) = self.line.take() {
            before.push(Event::Down { why: "replaced by another logon".into() });
        }
        events.push(Event::Up { session: "S1".into() });
        for told in self.told.iter().filter(|told| told.number >= from) {
            events.push(Event::Told(told.clone()));
        }
        events.push(Event::CaughtUp);
        self.line = Some((name.to_owned(), events));
    }

    /// Cuts the connection.
    pub(crate) fn cut(&mut self) {
        if let Some((_, events)) = self.line.take() {
            events.push(Event::Down { why: "cut".into() });
        }
    }

    /// Connects the line that was cut again.
    pub(crate) fn reconnect(&mut self, lines: &Lines) {
        let (name, events) = lines.0.lock().unwrap().last().cloned().unwrap();
        let from = self.told.len() as u64 + 1;
        self.logon(&name, events, from);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.sent.iter().map(|(_, outgoing)| outgoing.id.to_string()).collect()
    }

    pub(crate) fn orders(&self) -> usize {
        self.sent.iter().filter(|(_, o)| !matches!(o.action, OrderAction::Cancel { .. })).count()
    }

    pub(crate) fn cancels(&self) -> Vec<String> {
        let of = self.sent.iter().filter_map(|(_, outgoing)| match outgoing.action {
            OrderAction::Cancel { of } => Some(of.to_string()),
            _ => None,
        });
        of.collect()
    }
}

/// A line that was started: the gateway's name, and where its events go.
type Started = (String, Arc<dyn Events>);

/// The lines that were started.
#[derive(Clone, Default)]
pub(crate) struct Lines(pub(crate) Arc<Mutex<Vec<Started>>>);

struct FakeLine {
    name: String,
    venue: SharedVenue,
    next: WireRef,
}

impl Line for FakeLine {
    fn assign(&mut self) -> WireRef {
        self.next += 1;
        self.next - 1
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError> {
        if outgoing.symbol == "UNSPEAKABLE" {
            return Err(LineError::Unspeakable { what: "symbol", why: "too long".into() });
        }
        Ok(())
    }

    fn send(&mut self, outgoing: &Outgoing) -> Result<(), LineError> {
        let mut venue = self.venue.lock().unwrap();
        let Some((_, events)) = venue.line.clone().filter(|(name, _)| *name == self.name) else {
            return Err(LineError::Down { venue: "sim".into() });
        };
        venue.sent.push((self.name.clone(), outgoing.clone()));
        let bytes = outgoing.id.to_string().into_bytes();
        events.push(Event::Wire { sent: true, time_ns: now_ns(), bytes });
        if venue.answers {
            let order = OrderName::Wire(outgoing.wire_ref);
            let (order, what) = match outgoing.action {
                OrderAction::New { quantity, .. } => {
                    (order, What::Accepted { venue_order: "V".into(), leaves: quantity })
                }
                OrderAction::Replace { quantity, price, .. } => (
                    order,
                    What::Replaced {
                        venue_order: "V".into(),
                        quantity: Some(quantity),
                        leaves: quantity,
                        price: Some(price),
                    },
                ),
                OrderAction::Cancel { of } => {
                    let reason = "U".to_owned();
                    (OrderName::Id(of), What::Cancelled { quantity: None, reason, by: None })
                }
            };
            venue.tell(order, what);
        }
        Ok(())
    }

    fn settle(&mut self, in_doubt: &[Outgoing]) -> Result<(), LineError> {
        let mut venue = self.venue.lock().unwrap();
        for outgoing in in_doubt {
            venue.settled.push(outgoing.id);
            let what = if venue.sent.iter().any(|(_, sent)| sent.id == outgoing.id) {
                What::Stands { filled: 0, leaves: 100, venue_order: "V".into() }
            } else {
                What::NeverArrived
            };
            venue.tell(OrderName::Id(outgoing.id), what);
        }
        Ok(())
    }

    fn stop(&mut self) {
        let mut venue = self.venue.lock().unwrap();
        if venue.line.as_ref().is_some_and(|(name, _)| *name == self.name) {
            venue.line = None;
        }
    }
}

/// A gateway on a thread.
pub(crate) struct Running {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn stop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) struct Rig {
    pub(crate) server: RedisServer,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) venue: SharedVenue,
    pub(crate) lines: Lines,
    /// More of the session's section, and of the document.
    pub(crate) session: String,
    connection: Option<redis::Connection>,
}

impl Rig {
    /// With trading active.
    pub(crate) fn new() -> Rig {
        let mut rig = Rig {
            server: RedisServer::start().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            venue: Venue::shared(),
            lines: Lines::default(),
            session: String::new(),
            connection: None,
        };
        rig.trade(TradingMode::Active);
        rig
    }

    pub(crate) fn connection(&mut self) -> &mut redis::Connection {
        if self.connection.is_none() {
            self.connection = Some(redis::Client::open(self.server.url()).unwrap().get_connection().unwrap());
        }
        self.connection.as_mut().unwrap()
    }

    pub(crate) fn connect_again(&mut self) {
        self.connection = None;
    }

    pub(crate) fn trade(&mut self, mode: TradingMode) {
        let state = TradingState { mode, by: "test".into(), reason: "drill".into(), time_ns: now_ns() };
        let mut add = redis::cmd("XADD");
        add.arg("trading_state").arg("*");
        state.for_each_field(|name, value| {
            add.arg(name).arg(value);
        });
        add.query::<()>(self.connection()).unwrap();
    }

    pub(crate) fn start(&self, member: &str) -> Running {
        let text = format!(
            "redis: {}\nmember: {member}\nlease_ms: 600\njournal: {}\nhealth: {{listen: '127.0.0.1:0'}}\n\
             instruction_age_max_ms: 2000\nsessions:\n  - venue: sim\n    limits: {{order_quantity_max: 1000, \
             order_notional_max: 1000000, open_orders_max: 50, messages_per_second: 1000, message_burst: 50}}\n    \
             ouch: {{address: '127.0.0.1:9', user: a, password: b}}\n{}",
            self.server.url(),
            self.folder.path().display(),
            self.session
        );
        let document = GatewayDocument::parse(text.as_bytes()).unwrap();
        let (venue, lines, name) = (Arc::clone(&self.venue), self.lines.clone(), member.to_owned());
        let start_line = move |_: &_, start: LineStart| {
            let mut at_venue = venue.lock().unwrap();
            lines.0.lock().unwrap().push((name.clone(), Arc::clone(&start.events)));
            if at_venue.reachable {
                at_venue.logon(&name, start.events, start.resume.next_number);
            }
            let line =
                FakeLine { name: name.clone(), venue: Arc::clone(&venue), next: start.resume.next_wire_ref };
            Ok(Box::new(line) as Box<dyn Line>)
        };
        let gateway = Gateway::new(document, Arc::new(start_line), None).unwrap();
        let stop = Stop::default();
        let asked = stop.clone();
        let thread = std::thread::spawn(move || gateway.run(&asked).unwrap());
        Running { stop, thread: Some(thread) }
    }

    pub(crate) fn instruct(&mut self, name: &str, action: OrderAction) {
        self.instruct_as(&instruction(name, action));
    }

    pub(crate) fn instruct_as(&mut self, instruction: &Instruction) {
        let mut fields = Vec::new();
        instruction.for_each_field(|name, value| fields.push((name.to_owned(), value.to_vec())));
        self.add(&fields);
    }

    pub(crate) fn add(&mut self, fields: &[(String, Vec<u8>)]) {
        let mut add = redis::cmd("XADD");
        add.arg("order_instructions").arg("*");
        for (name, value) in fields {
            add.arg(name).arg(value);
        }
        add.query::<()>(self.connection()).unwrap();
    }

    pub(crate) fn reports(&mut self) -> Vec<Report> {
        let mut range = redis::cmd("XRANGE");
        range.arg(REPORTS).arg("-").arg("+");
        let reply: redis::Value = range.query(self.connection()).unwrap();
        let records = bus::records_of_range(&reply).unwrap();
        records.into_iter().map(|record| Report::parse(record.fields.unwrap()).unwrap()).collect()
    }

    /// Waits until the reports are so, and sees to it that they are numbered without a hole.
    pub(crate) fn wait_for(&mut self, what: &str, mut done: impl FnMut(&[Report]) -> bool) -> Vec<Report> {
        let end = Instant::now() + PATIENCE;
        loop {
            let reports = self.reports();
            for (at, report) in reports.iter().enumerate() {
                assert_eq!(report.number, at as u64 + 1, "a hole in the numbers, or a report twice");
            }
            if done(&reports) {
                return reports;
            }
            assert!(Instant::now() < end, "{what} does not come about: {reports:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a report of this kind about this id.
    pub(crate) fn report(&mut self, kind: bus::ReportKind, name: &str) -> Report {
        let wanted = |report: &Report| report.kind == kind && report.id == Some(id(name));
        let found = self.wait_for(&format!("{kind:?} of {name}"), |reports| reports.iter().any(wanted));
        found.into_iter().find(wanted).unwrap()
    }

    pub(crate) fn venue<T>(&self, look: impl FnOnce(&mut Venue) -> T) -> T {
        look(&mut self.venue.lock().unwrap())
    }
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn instruction(name: &str, action: OrderAction) -> Instruction {
    Instruction {
        id: id(name),
        action,
        venue: "sim".into(),
        publisher_id: 2,
        instrument_id: 7,
        symbol: "AAPL".into(),
        strategy: "quoter".into(),
        cause_ns: 5,
        created_ns: now_ns(),
    }
}

pub(crate) fn buy(quantity: u64) -> OrderAction {
    OrderAction::New {
        side: OrderSide::Buy,
        quantity,
        price: Some(Price(100_000_000_000)),
        time_in_force: TimeInForce::Day,
    }
}

pub(crate) fn cancel(of: &str) -> OrderAction {
    OrderAction::Cancel { of: id(of) }
}
