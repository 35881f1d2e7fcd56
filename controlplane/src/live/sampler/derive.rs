//! Rates, lags and latencies from the figures of two samples.

use super::Scraped;
use crate::live::scrape::{Figures, base, label};
use crate::live::status::{Lags, Rates};
use std::collections::BTreeMap;
use std::time::Duration;

/// Counters by process, and when they were read.
pub(super) type Samples = BTreeMap<(String, String), Scraped>;

/// The sum of a metric over its labels, as far as `of` wants them; none when it is not there.
fn sum(figures: &Figures, metric: &str, of: impl Fn(&str) -> bool) -> Option<f64> {
    let found = figures.iter().filter(|(name, _)| base(name) == metric && of(name));
    found.map(|(_, value)| *value).reduce(|sum, value| sum + value)
}

/// What a counter of a service has grown in a second, over its processes. One that began anew counts from 0.
fn rate(before: &Samples, now: &Samples, service: &str, metric: &str, of: fn(&str) -> bool) -> Option<f64> {
    let mut rate = None;
    for (process, scraped) in now.iter().filter(|((of_service, _), _)| of_service == service) {
        let Some(earlier) = before.get(process) else { continue };
        let Some(value) = sum(&scraped.figures, metric, of) else { continue };
        let earlier_value = sum(&earlier.figures, metric, of).unwrap_or(0.0);
        let between = scraped.at.saturating_duration_since(earlier.at);
        if between < Duration::from_millis(1) {
            continue;
        }
        let grown = if value >= earlier_value { value - earlier_value } else { value };
        rate = Some(rate.unwrap_or(0.0) + grown / between.as_secs_f64());
    }
    rate
}

pub(super) fn rates(before: &Samples, now: &Samples) -> Rates {
    let any = |_: &str| true;
    let new = |name: &str| label(name, "what") == Some("new");
    Rates {
        ticks_per_s: rate(before, now, "dataplane", "feedplane_dataplane_published_ticks_total", any),
        records_per_s: rate(before, now, "features", "feedplane_features_records_total", any),
        instructions_per_s: rate(before, now, "strategy", "feedplane_strategy_published_total", new),
        reports_per_s: rate(before, now, "gateway", "feedplane_gateway_reports_total", any),
        rows_per_s: rate(before, now, "archiver", "feedplane_archiver_rows_total", any),
    }
}

/// The most of a gauge over the processes of a service.
fn most(now: &Samples, service: &str, metric: &str) -> Option<f64> {
    let figures = now.iter().filter(|((of, _), _)| of == service).flat_map(|(_, scraped)| &scraped.figures);
    figures.filter(|(name, _)| base(name) == metric).map(|(_, value)| *value).reduce(f64::max)
}

pub(super) fn lags(now: &Samples) -> Lags {
    Lags {
        features: most(now, "features", "feedplane_features_lag_ms"),
        strategy: most(now, "strategy", "feedplane_strategy_lag_ms"),
        archiver: most(now, "archiver", "feedplane_archiver_lag_ms"),
    }
}

/// Upper bounds and cumulative counts of a histogram.
pub(super) type Buckets = Vec<(f64, f64)>;

/// The buckets of one histogram without other labels, in a page of metrics.
pub(super) fn buckets(page: &[u8], metric: &str) -> Buckets {
    let mut buckets = Buckets::new();
    for line in String::from_utf8_lossy(page).lines() {
        let Some(rest) = line.strip_prefix(metric).and_then(|rest| rest.strip_prefix("{le=\"")) else {
            continue;
        };
        let Some((bound, rest)) = rest.split_once("\"}") else { continue };
        let bound = if bound == "+Inf" { Ok(f64::INFINITY) } else { bound.parse() };
        if let (Ok(bound), Ok(count)) = (bound, rest.trim().parse()) {
            buckets.push((bound, count));
        }
        if buckets.len() == 256 {
            break;
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}

/// The bound that a share of what came between two looks is within; of all when nothing came.
fn quantile(before: Option<&Buckets>, now: &Buckets, share: f64) -> Option<f64> {
    let between: Buckets = match before {
        Some(before) if before.len() == now.len() => {
            now.iter().zip(before).map(|((bound, count), (_, earlier))| (*bound, count - earlier)).collect()
        }
        _ => now.clone(),
    };
    let all = between.last().map(|(_, count)| *count).filter(|count| *count > 0.0);
    let (buckets, all) = match all {
        Some(all) => (&between, all),
        None => (now, now.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?),
    };
    let found = buckets.iter().find(|(_, count)| *count >= all * share).map(|(bound, _)| *bound);
    found.filter(|bound| bound.is_finite())
}

pub(super) fn latencies(before: &Samples, now: &Samples) -> BTreeMap<&'static str, f64> {
    let mut latencies = BTreeMap::new();
    let mut note = |name, ns: Option<f64>| {
        if let Some(ns) = ns {
            let most: &mut f64 = latencies.entry(name).or_insert(ns);
            *most = most.max(ns);
        }
    };
    for (process, scraped) in now {
        let earlier = before.get(process).map(|earlier| &earlier.publish);
        for (name, share) in [("publish_p50", 0.5), ("publish_p99", 0.99)] {
            note(name, quantile(earlier, &scraped.publish, share).map(|seconds| seconds * 1e9));
        }
        let of = |metric: &str, quantile: &str| {
            let found = scraped.figures.iter().filter(|(name, _)| base(name) == metric);
            let found = found.filter(|(name, _)| label(name, "quantile") == Some(quantile));
            found.map(|(_, us)| us * 1e3).reduce(f64::max)
        };
        note("instruction_to_send_p50", of("feedplane_gateway_instruction_to_send_us", "0.5"));
        note("instruction_to_send_p99", of("feedplane_gateway_instruction_to_send_us", "0.99"));
        note("journal_sync_p50", of("feedplane_gateway_journal_sync_us", "0.5"));
        note("journal_sync_p99", of("feedplane_gateway_journal_sync_us", "0.99"));
    }
    latencies
}

/// Which figures are shown.
pub(super) fn shown(service: &str, figures: &Figures) -> Figures {
    let wanted = |name: &str| {
        let quantile = label(name, "quantile").is_none_or(|quantile| matches!(quantile, "0.5" | "0.99"));
        let detail = ["channel", "line", "queue", "interface"];
        quantile && (service != "dataplane" || detail.iter().all(|detail| label(name, detail).is_none()))
    };
    figures.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::scrape::figures;
    use std::time::Instant;

    fn samples(at: Instant, service: &str, page: &str) -> Samples {
        let publish = buckets(page.as_bytes(), super::super::PUBLISH_BUCKETS);
        let scraped = Scraped { at, figures: figures(page.as_bytes()), publish };
        BTreeMap::from([((service.to_owned(), "m".to_owned()), scraped)])
    }

    #[test]
    fn a_rate_is_what_a_counter_grew_and_one_that_began_anew_counts_from_nothing() {
        let began = Instant::now();
        let page = |a: u32, b: u32| {
            format!(
                "feedplane_strategy_published_total{{stream=\"s\",what=\"new\"}} {a}\nfeedplane_strategy_published_total{{stream=\"s\",what=\"again\"}} {b}\n"
            )
        };
        let before = samples(began, "strategy", &page(100, 5));
        let later = began + Duration::from_secs(2);
        let now = samples(later, "strategy", &page(300, 9));
        assert_eq!(rates(&before, &now).instructions_per_s, Some(100.0));
        let anew = samples(later, "strategy", &page(10, 0));
        assert_eq!(rates(&before, &anew).instructions_per_s, Some(5.0));
        assert_eq!(rates(&Samples::new(), &now), Rates::default());
    }

    #[test]
    fn a_lag_is_that_of_the_shard_that_is_furthest_behind() {
        let page = "feedplane_features_lag_ms{stream=\"a\"} 3\nfeedplane_features_lag_ms{stream=\"b\"} 7.5\n";
        let lags = lags(&samples(Instant::now(), "features", page));
        assert_eq!((lags.features, lags.strategy), (Some(7.5), None));
    }

    #[test]
    fn latencies_are_of_the_last_second_and_of_all_in_a_quiet_one() {
        let page = |counts: [u32; 3]| {
            let name = "feedplane_dataplane_publish_latency_seconds_bucket";
            let [a, b, c] = counts;
            format!("{name}{{le=\"0.001\"}} {a}\n{name}{{le=\"0.01\"}} {b}\n{name}{{le=\"+Inf\"}} {c}\n")
        };
        let now = Instant::now();
        let before = samples(now, "dataplane", &page([100, 100, 100]));
        let busy = samples(now, "dataplane", &page([100, 110, 110]));
        assert_eq!(latencies(&before, &busy)["publish_p50"], 0.01e9);
        assert_eq!(latencies(&before, &before)["publish_p50"], 0.001e9);
        let beyond = samples(now, "dataplane", &page([100, 100, 110]));
        assert!(!latencies(&before, &beyond).contains_key("publish_p99"));
    }

    #[test]
    fn figures_of_channels_and_odd_quantiles_are_left_out() {
        let page = b"feedplane_dataplane_gaps_total{worker=\"w\",channel=\"1\",feed=\"f\"} 1\n\
            feedplane_dataplane_busy_rounds_total{worker=\"w\"} 2\nfeedplane_gateway_x_us{quantile=\"0.9\"} 1\n\
            feedplane_gateway_x_us{quantile=\"0.99\"} 1\n";
        let all = figures(page);
        let names: Vec<String> = shown("dataplane", &all).into_keys().collect();
        assert_eq!(
            names,
            [
                "feedplane_dataplane_busy_rounds_total{worker=\"w\"}",
                "feedplane_gateway_x_us{quantile=\"0.99\"}"
            ]
        );
        assert_eq!(shown("gateway", &all).len(), 3);
    }
}
