//! What one part of a document does, out of what was read of the processes anyway: nobody is asked for it.

use crate::config::Shows;
use crate::live::scrape::{Figures, base, label};
use serde_json::{Value, json};

/// What the data plane's status says of a part, each with its worker.
pub(super) fn of_dataplane(status: &Value, shows: Shows, name: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for worker in items(&status["workers"]) {
        let called = worker["name"].as_str().unwrap_or_default();
        let of_worker = match shows {
            Shows::Channel => named(&worker["channels"], name).cloned().collect(),
            Shows::Filter => items(&worker["link"])
                .flat_map(|interface| {
                    named(&interface["filters"], name).map(|filter| {
                        json!({"interface": interface["interface"], "action": filter["action"],
                            "packets": filter["packets"]})
                    })
                })
                .collect(),
            Shows::Worker if called == name => vec![worker.clone()],
            Shows::Worker | Shows::Figures | Shows::Labelled(_) | Shows::Metric(_) => Vec::new(),
        };
        found.extend(of_worker.into_iter().map(|values| (called.to_owned(), values)));
    }
    found
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn named<'a>(list: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    items(list).filter(move |item| item["name"] == name)
}

/// Those of a process's figures that are of a part.
pub(super) fn of_process(figures: &Figures, shows: Shows, name: &str) -> Figures {
    let is_of = |figure: &str| match shows {
        Shows::Figures => true,
        Shows::Labelled(with) => label(figure, with) == Some(name),
        Shows::Metric(metric) => base(figure) == metric,
        Shows::Channel | Shows::Filter | Shows::Worker => false,
    };
    figures
        .iter()
        .filter(|(figure, _)| is_of(figure))
        .map(|(figure, value)| (figure.clone(), *value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::scrape::figures;

    #[test]
    fn a_feed_a_filter_and_a_worker_are_found_in_the_status_wherever_they_are_at_work() {
        let status = json!({"workers": [
            {"name": "w0", "channels": [{"name": "es", "gaps": 1}, {"name": "nq", "gaps": 2}], "link": [
                {"interface": "eth1", "filters": [{"name": "noise", "action": "drop", "packets": 3}]},
                {"interface": "eth2", "filters": [{"name": "noise", "action": "drop", "packets": 4}]}]},
            {"name": "w1", "channels": [{"name": "es", "gaps": 5}]},
        ]});
        let feed = of_dataplane(&status, Shows::Channel, "es");
        assert_eq!(
            feed,
            [
                ("w0".to_owned(), json!({"name": "es", "gaps": 1})),
                ("w1".to_owned(), json!({"name": "es", "gaps": 5}))
            ]
        );
        let filter = of_dataplane(&status, Shows::Filter, "noise");
        let packets =
            filter.iter().map(|(_, values)| (values["interface"].clone(), values["packets"].clone()));
        assert_eq!(packets.collect::<Vec<_>>(), [(json!("eth1"), json!(3)), (json!("eth2"), json!(4))]);
        assert_eq!(
            of_dataplane(&status, Shows::Worker, "w1"),
            [("w1".to_owned(), status["workers"][1].clone())]
        );
        assert_eq!(of_dataplane(&status, Shows::Channel, "none"), []);
        for foreign in
            [Value::Null, json!([]), json!({"workers": 7}), json!({"workers": [null, {"channels": {}}]})]
        {
            assert_eq!(of_dataplane(&foreign, Shows::Channel, "es"), []);
            assert_eq!(of_dataplane(&foreign, Shows::Filter, "es"), []);
        }
    }

    #[test]
    fn the_figures_of_a_part_are_those_with_its_name() {
        let all = figures(
            b"feedplane_gateway_line_up{venue=\"a\"} 1\nfeedplane_gateway_line_up{venue=\"b\"} 0\n\
              feedplane_strategy_denials{stream=\"s\",reason=\"price\"} 4\nfeedplane_strategy_lag_ms 2\n",
        );
        let names = |shows| of_process(&all, shows, "b").into_keys().collect::<Vec<_>>();
        assert_eq!(names(Shows::Labelled("venue")), ["feedplane_gateway_line_up{venue=\"b\"}"]);
        assert_eq!(
            names(Shows::Metric("feedplane_strategy_denials")),
            ["feedplane_strategy_denials{stream=\"s\",reason=\"price\"}"]
        );
        assert_eq!(names(Shows::Figures).len(), 4);
    }
}
