//! The table of metrics against the code, and what watches against the table.

#![allow(clippy::unwrap_used)] // A test may.

use dataplane::metrics::Metrics;
use deployment_tests::promql::{Names, names};
use deployment_tests::source::look;
use deployment_tests::table::{Kind, Metric, metrics};
use deployment_tests::tool_or_skip;
use deployment_tests::tools::{on_path, read, repository, run};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Labels that Prometheus gives to everything that it reads.
const OF_TARGETS: [&str; 5] = ["job", "instance", "namespace", "pod", "endpoint"];
/// What Prometheus makes itself.
const PROMETHEUS_OWN: [&str; 2] = ["up", "ALERTS"];

#[test]
fn every_metric_of_the_code_is_in_the_table_and_the_other_way_round() {
    let (table, found) = (metrics().unwrap(), look().unwrap());
    assert!(table.len() > 100, "the table has {} metrics; is it read?", table.len());
    let missing: Vec<_> = found.names.iter().filter(|(name, _)| !table.contains_key(*name)).collect();
    assert!(missing.is_empty(), "enter into docs/metrics.md: {missing:#?}");
    let gone: Vec<_> = table.keys().filter(|name| !found.names.contains_key(*name)).collect();
    assert!(gone.is_empty(), "in docs/metrics.md, and in no code: {gone:#?}");
}

#[test]
fn types_and_labels_in_the_table_are_those_of_the_code() {
    let (table, found) = (metrics().unwrap(), look().unwrap());
    assert!(
        found.made.len() > 50,
        "only {} metrics are made by literals; is the code read?",
        found.made.len()
    );
    let mut wrong = Vec::new();
    for (name, made) in &found.made {
        let Some(metric) = table.get(name) else { continue };
        let labels: BTreeSet<String> = metric.labels.iter().cloned().collect();
        if (metric.kind, &labels) != (made.kind, &made.labels) {
            let (kind, file) = (made.kind.word(), made.file.display());
            wrong.push(format!("{name}: the code says {kind} {:?} ({file})", made.labels));
        }
    }
    assert!(wrong.is_empty(), "correct docs/metrics.md:\n{}", wrong.join("\n"));
}

#[test]
fn a_name_says_its_unit_or_that_it_counts() {
    for (name, metric) in metrics().unwrap() {
        let counts = ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end));
        assert_eq!(metric.kind == Kind::Counter, counts, "{name} is a {}", metric.kind.word());
    }
}

/// The data plane makes its metrics out of its status, so they are looked at as Prometheus would.
#[test]
fn what_the_data_plane_shows_has_the_types_and_labels_of_the_table() {
    let line = json!({
        "malformed_by_reason": {"bad_length": 1}, "malformed_messages_by_reason": {"bad_value": 1},
        "lead_ns": {"count": 1, "p50": 1, "p99": 1, "max": 1},
    });
    let socket = json!({"interface": "eth1", "queue": 0, "mode": "copy", "rx_dropped": 1});
    let status = json!({
        "workers": [{
            "name": "w0", "core": null, "backend": "xdp", "wait": "park", "loop": {}, "handover": {},
            "receiver": {"bad_checksum": 1, "sockets": [socket]},
            "link": [{"interface": "eth1", "program": {"fragment": 1}, "nic": {"rx_fifo": 1},
                      "filters": [{"name": "noise", "action": "drop", "packets": 1}]}],
            "channels": [{"name": "es", "channel_id": 310, "a": line, "b": line}],
        }],
        "publisher": {"channels": [{"channel_id": 310, "declared": [1, 1, 1, 1]}], "latency": {"count": 1}},
        "documents": {"feeds": {"version": 1, "waiting_version": 2}},
    });
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || Metrics::new().show(&status));
    let text = handle.render();
    let shown = shown(&text);
    let table = metrics().unwrap();
    let found = look().unwrap();
    let is_of_status = |name: &String| found.names[name].contains(Path::new("dataplane/src/metrics.rs"));
    let of_dataplane: BTreeMap<&String, &Metric> =
        table.iter().filter(|(name, _)| is_of_status(name)).collect();
    for (name, metric) in &of_dataplane {
        let Some((kind, labels)) = shown.get(name.as_str()) else { panic!("{name} is not shown:\n{text}") };
        let expected: BTreeSet<&str> = metric.labels.iter().map(String::as_str).collect();
        assert_eq!((*kind, labels), (metric.kind.word(), &expected), "{name}");
    }
    for name in shown.keys() {
        assert!(of_dataplane.keys().any(|known| known == name), "{name} is not in the table");
    }
}

/// Type and labels of each metric in Prometheus's text.
fn shown(text: &str) -> BTreeMap<&str, (&str, BTreeSet<&str>)> {
    let mut shown = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            shown.insert(name, (kind, BTreeSet::new()));
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels = rest.split("\",").filter_map(|label| label.split('=').next());
            shown.get_mut(name).expect("a type comes first").1.extend(labels);
        }
    }
    shown
}

/// An expression, and where it stands.
struct Asked {
    place: String,
    expression: String,
}

fn rules() -> Value {
    serde_saphyr::from_str(&read("k8s/watching/rules.yaml").unwrap()).unwrap()
}

fn every_rule() -> Vec<Value> {
    let groups = rules()["spec"]["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = repository().join("k8s/watching/dashboards");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn expressions() -> Vec<Asked> {
    let mut asked: Vec<Asked> = every_rule()
        .iter()
        .map(|rule| Asked { place: rule["alert"].to_string(), expression: text(&rule["expr"]) })
        .collect();
    for (name, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("dashboard {name}, panel {}", panel["title"]);
                asked.push(Asked { place, expression: text(&target["expr"]) });
            }
        }
    }
    asked
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The labels that a metric has, those of Prometheus aside; none when there is no such metric.
fn labels_of(table: &BTreeMap<String, Metric>, name: &str) -> Option<BTreeSet<String>> {
    let labels = |metric: &Metric| metric.labels.iter().cloned().collect::<BTreeSet<String>>();
    if let Some(metric) = table.get(name) {
        let quantile = (metric.kind == Kind::Summary).then(|| "quantile".to_owned());
        return Some(labels(metric).into_iter().chain(quantile).collect());
    }
    let summary = ["_sum", "_count"].iter().find_map(|end| table.get(name.strip_suffix(end)?));
    summary.filter(|metric| metric.kind == Kind::Summary).map(labels)
}

#[test]
fn dashboards_and_rules_ask_only_for_metrics_and_labels_that_there_are() {
    let table = metrics().unwrap();
    let asked = expressions();
    assert!(asked.len() > 100, "only {} expressions; are the dashboards read?", asked.len());
    let mut wrong = Vec::new();
    for Asked { place, expression } in &asked {
        let Names { metrics, groupings } = names(expression);
        let mut there: BTreeSet<String> = OF_TARGETS.map(ToOwned::to_owned).into();
        for (name, matched) in &metrics {
            if PROMETHEUS_OWN.contains(&name.as_str()) {
                continue;
            }
            let Some(labels) = labels_of(&table, name) else {
                wrong.push(format!("{place}: there is no {name}"));
                continue;
            };
            for label in matched.iter().filter(|label| !labels.contains(*label)) {
                wrong.push(format!("{place}: {name} has no label {label}"));
            }
            there.extend(labels);
        }
        for label in groupings.iter().filter(|label| !there.contains(*label)) {
            wrong.push(format!("{place}: nothing here has a label {label}"));
        }
        if metrics.is_empty() {
            wrong.push(format!("{place}: {expression:?} asks for nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_an_alert_says_and_a_panel_calls_its_lines_are_labels_that_are_there() {
    for rule in every_rule() {
        let there = labels_left(&text(&rule["expr"]));
        let said = format!("{}{}", rule["annotations"]["summary"], rule["annotations"]["description"]);
        for (at, mark) in said.match_indices("$labels.") {
            let rest = &said[at + mark.len()..];
            let label = &rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap()];
            assert!(there.contains(label), "{} says {label:?}, of {there:?}", rule["alert"]);
        }
    }
    for (name, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let there = labels_left(&text(&target["expr"]));
                for label in text(&target["legendFormat"]).split("{{").skip(1) {
                    let label = label.split("}}").next().unwrap();
                    assert!(
                        there.contains(label),
                        "{name}, {}: {label:?} is not in {there:?}",
                        panel["title"]
                    );
                }
            }
        }
    }
}

/// The labels that a result can have: what it is grouped by, or everything of its metrics.
fn labels_left(expression: &str) -> BTreeSet<String> {
    let table = metrics().unwrap();
    let Names { metrics, groupings } = names(expression);
    if !groupings.is_empty() {
        return groupings;
    }
    let of_metrics = metrics.iter().filter_map(|(name, _)| labels_of(&table, name)).flatten();
    of_metrics.chain(OF_TARGETS.map(ToOwned::to_owned)).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_is_and_where_to_look() {
    let mut seen = BTreeSet::new();
    for rule in every_rule() {
        let name = text(&rule["alert"]);
        assert!(["critical", "warning"].contains(&text(&rule["labels"]["severity"]).as_str()), "{name}");
        for said in ["summary", "description"] {
            assert!(text(&rule["annotations"][said]).len() > 15, "{name} has no {said}");
        }
        assert!(seen.insert(name.clone()), "{name} is there twice");
    }
}

#[test]
fn alert_rules_fire_when_they_should_and_only_then() {
    let promtool = tool_or_skip!(on_path("promtool"));
    let folder = tempfile::tempdir().unwrap();
    let spec = serde_json::to_string(&rules()["spec"]).unwrap();
    std::fs::write(folder.path().join("rules-spec.yaml"), spec).unwrap();
    let cases = read("k8s/watching/rules-test.yaml").unwrap();
    std::fs::write(folder.path().join("rules-test.yaml"), &cases).unwrap();
    let tested =
        Command::new(&promtool).args(["test", "rules", "rules-test.yaml"]).current_dir(&folder).output();
    let tested = tested.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&tested.stdout), String::from_utf8_lossy(&tested.stderr));
    assert!(tested.status.success(), "{said}");
    for rule in every_rule() {
        let fires = format!("alertname=\"{}\"", text(&rule["alert"]));
        assert!(cases.contains(&fires), "no case of rules-test.yaml lets {fires} fire");
    }
}

#[test]
fn every_expression_of_a_dashboard_is_promql() {
    let promtool = tool_or_skip!(on_path("promtool"));
    let folder = tempfile::tempdir().unwrap();
    let rules: Vec<Value> = expressions()
        .iter()
        .enumerate()
        .map(|(number, asked)| {
            let expression = asked.expression.replace("$__rate_interval", "1m");
            json!({"record": format!("r{number}"), "expr": expression, "labels": {"place": asked.place}})
        })
        .collect();
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, json!({"groups": [{"name": "all", "rules": rules}]}).to_string()).unwrap();
    run(Command::new(promtool).args(["check", "rules", "--lint=none"]).arg(file)).unwrap();
}

#[test]
fn dashboards_have_ids_of_their_own_explain_every_panel_and_ask_for_variables_that_there_are() {
    let table = metrics().unwrap();
    let mut ids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(ids.insert(text(&dashboard["uid"])), "{name}: its uid is another's");
        let mut variables: BTreeSet<String> = ["datasource", "__rate_interval"].map(ToOwned::to_owned).into();
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            variables.insert(text(&variable["name"]));
            if let Some(query) = variable["query"]["query"].as_str() {
                let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
                let (metric, label) = inside.and_then(|inside| inside.split_once(", ")).unwrap();
                assert!(
                    labels_of(&table, metric).is_some_and(|labels| labels.contains(label)),
                    "{name}: {query}"
                );
            }
        }
        let mut panels = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(panels.insert(panel["id"].as_u64().unwrap()), "{name}: two panels have one id");
            let is_row = panel["type"] == "row";
            assert!(
                is_row || text(&panel["description"]).len() > 3,
                "{name}: {} is not explained",
                panel["title"]
            );
            let place = &panel["gridPos"];
            assert!(
                place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24,
                "{name}: {}",
                panel["title"]
            );
            for target in panel["targets"].as_array().into_iter().flatten() {
                for variable in text(&target["expr"]).split('$').skip(1) {
                    let end = variable.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap();
                    assert!(variables.contains(&variable[..end]), "{name}: ${}", &variable[..end]);
                }
            }
        }
    }
}
