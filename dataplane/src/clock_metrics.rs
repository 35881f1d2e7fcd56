//! The clocks as metrics: whether arrival times can be believed. Made on the process's thread from what it last measured.

use bus::link::Clocks;
use metrics::gauge;

/// What a line's arrival time can be taken from.
const SOURCES: [&str; 3] = ["hardware", "xdp", "kernel"];

/// Brings the metrics to how the clocks stand.
pub fn show(clocks: &Clocks) {
    gauge!("feedplane_dataplane_utc_in_sync").set(f64::from(u8::from(clocks.utc_in_sync)));
    for clock in &clocks.clocks {
        let of = || (clock.worker.clone(), clock.line.clone(), clock.interface.clone());
        let (worker, line, interface) = of();
        gauge!("feedplane_dataplane_clock_age_ms", "worker" => worker, "line" => line, "interface" => interface)
            .set(clock.age_ms as f64);
        if let Some(offset_ns) = clock.minus_utc_ns {
            let (worker, line, interface) = of();
            gauge!("feedplane_dataplane_phc_offset_seconds",
                "worker" => worker, "line" => line, "interface" => interface)
            .set(offset_ns as f64 / 1e9);
        }
        for source in SOURCES {
            let (worker, line, interface) = of();
            gauge!("feedplane_dataplane_receive_time",
                "worker" => worker, "line" => line, "interface" => interface, "source" => source)
            .set(f64::from(u8::from(clock.source == source)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::link::NicClock;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn a_clock_shows_its_offset_its_age_and_what_times_are_taken_from() {
        let clock = NicClock {
            worker: "w0".into(),
            line: "a".into(),
            interface: "eth1".into(),
            minus_utc_ns: Some(37_000_000_500),
            source: "hardware".into(),
            age_ms: 12,
            ..NicClock::default()
        };
        let without =
            NicClock { line: "b".into(), minus_utc_ns: None, source: "kernel".into(), ..clock.clone() };
        let clocks = Clocks { utc_in_sync: true, clocks: vec![clock, without], ..Clocks::default() };
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || show(&clocks));
        let text = handle.render();
        for expected in [
            "feedplane_dataplane_utc_in_sync 1",
            r#"feedplane_dataplane_clock_age_ms{worker="w0",line="a",interface="eth1"} 12"#,
            r#"feedplane_dataplane_phc_offset_seconds{worker="w0",line="a",interface="eth1"} 37.0000005"#,
            r#"feedplane_dataplane_receive_time{worker="w0",line="a",interface="eth1",source="hardware"} 1"#,
            r#"feedplane_dataplane_receive_time{worker="w0",line="a",interface="eth1",source="kernel"} 0"#,
            r#"feedplane_dataplane_receive_time{worker="w0",line="b",interface="eth1",source="kernel"} 1"#,
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert_eq!(
            text.matches("phc_offset_seconds{").count(),
            1,
            "an offset that is not known is not shown\n{text}"
        );
    }
}
