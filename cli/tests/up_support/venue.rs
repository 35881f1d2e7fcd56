//! An exchange to trade on, in a process of its own, and the part of `up.yaml` that trades on it.
#![allow(dead_code)] // Each test binary uses its part.

use super::Folder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

/// Three strategies' worth of `up.yaml`; `PORT` is the venue's for orders.
pub(crate) const TRADING: &str = "
features: {}
archiver: {}
trading: active
strategy:
  risk:
    total: {position_max: 20000, exposure_max: 5000000, open_orders_max: 50, messages_per_second: 500,
            message_burst: 500, drawdown_max: 1000000}
    default: {collar_basis_points: 500, collar_price: '5', order_quantity_max: 500, order_notional_max: 100000,
              position_max: 3000, exposure_max: 1000000, open_orders_max: 10, messages_per_second: 200,
              message_burst: 200, duplicate_window_ms: 0, quote_age_max_ms: 5000, drawdown_max: 500000,
              multiplier: '1', tick_size: '0.01'}
    sessions:
      - {days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}
  strategies:
    - name: quoter
      venue: exchange
      instruments: [S1, S2]
      quoter: {half_spread_ticks: 1, skew_ticks: 1, size: 100, position_max: 1000, quiet_ms: 5000}
    - name: momentum
      venue: exchange
      instruments: [S3]
      ofi_momentum: {window_ms: 200, enter_ticks: 0.2, clip: 100, position: 300, cross_ticks: 2, hold_ms: 500}
gateway:
  sessions:
    - venue: exchange
      limits: {order_quantity_max: 1000, order_notional_max: 200000, open_orders_max: 50,
               messages_per_second: 1000, message_burst: 1000}
      reconnect: {first_ms: 50, most_ms: 200}
      ouch: {address: '127.0.0.1:PORT', user: up, password: secret}
";

/// A venue in a process of its own.
pub(crate) struct Venue {
    process: Child,
}

impl Venue {
    fn command(folder: &Folder, more: &[&str]) -> Command {
        let [a, b] = folder.ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
        command.args(["venue", "--udp", "--symbols", "3", "--rate", "1500", "--user", "up:secret"]);
        command.args(["--group-a", &a, "--group-b", &b]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The document by which its feed is received.
    pub(crate) fn write_feeds(folder: &Folder) {
        let mut command = Venue::command(folder, &["--duration", "1ms"]);
        command.arg("--feeds-out").arg(folder.path("feeds.yaml"));
        assert!(command.status().unwrap().success());
    }

    pub(crate) fn open(folder: &Folder, port: u16) -> Venue {
        let mut command =
            Venue::command(folder, &["--cancel-on-disconnect", "--order-port", &port.to_string()]);
        command.arg("--report").arg(folder.path("venue.json"));
        Venue { process: command.spawn().unwrap() }
    }

    /// Its report, which is written anew each second.
    pub(crate) fn report(folder: &Folder) -> Value {
        let text = std::fs::read(folder.path("venue.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Closes the market.
    pub(crate) fn close(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
