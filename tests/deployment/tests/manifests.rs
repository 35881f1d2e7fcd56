//! The manifests of `k8s/`: rendered, held against Kubernetes' own schemas, against each other, and against the code.

#![allow(clippy::unwrap_used)] // A test may.

use bus::config::{
    ArchiverDocument, ControlplaneDocument, DataplaneDocument, DocumentError, FeaturesDocument,
    FeedsDocument, GatewayDocument, StrategyDocument,
};
use deployment_tests::manifests::{Manifests, OVERLAYS, Pods, items, pairs, text};
use deployment_tests::tool_or_skip;
use deployment_tests::tools::{kubectl, on_path, python, read, repository, run};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Images that others make, and whose tags are in the base.
const OTHERS_IMAGES: [&str; 2] = ["redis", "timescale/timescaledb"];
/// The only one that may have rights on its node.
const PRIVILEGED: &str = "node";

/// Every overlay, or nothing where there is no `kubectl`.
fn each(check: impl Fn(&Manifests)) {
    tool_or_skip!(kubectl());
    for overlay in OVERLAYS {
        check(&Manifests::render(overlay).unwrap());
    }
}

fn each_container(manifests: &Manifests, check: impl Fn(&Pods<'_>, &Value, String)) {
    for pods in manifests.pods() {
        for container in pods.containers() {
            let called = format!("{}: {}", manifests.overlay, pods.called(container));
            check(&pods, container, called);
        }
    }
}

#[test]
fn every_overlay_renders_and_passes_kubernetes_own_schemas_strictly() {
    let python = tool_or_skip!(python());
    each(|manifests| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, &manifests.text).unwrap();
        let mut command = Command::new(python.with_file_name("kubernetes-validate"));
        let said = run(command.arg("--strict").arg(&file)).unwrap();
        let passed = said.matches(" passed for ").count();
        // Those of the Prometheus operator have no schema there: see below.
        let others = ["ServiceMonitor", "PrometheusRule"].map(|kind| manifests.of(kind).count());
        assert_eq!(passed + others.iter().sum::<usize>(), manifests.objects.len(), "{said}");
        assert!(passed > 40, "{said}");
    });
}

/// What `ServiceMonitor` and `PrometheusRule` have of the fields that stand here, by the operator's API reference
/// (monitoring.coreos.com/v1). Anything else is refused.
mod operator {
    #![allow(dead_code, missing_docs)] // Only their shape is asked for.

    use super::{BTreeMap, Deserialize};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Object<S> {
        pub(super) api_version: String,
        kind: String,
        metadata: Metadata,
        pub(super) spec: S,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Metadata {
        name: String,
        namespace: String,
        labels: BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct ServiceMonitor {
        pub(super) selector: Selector,
        pub(super) endpoints: Vec<Endpoint>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Selector {
        pub(super) match_labels: BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Endpoint {
        pub(super) port: String,
        interval: String,
        scrape_timeout: String,
        honor_labels: Option<bool>,
        relabelings: Option<Vec<Relabeling>>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Relabeling {
        target_label: String,
        replacement: String,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct PrometheusRule {
        pub(super) groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Group {
        name: String,
        interval: String,
        pub(super) rules: Vec<Rule>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Rule {
        alert: String,
        expr: String,
        r#for: Option<String>,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    }
}

#[test]
fn what_is_for_the_prometheus_operator_has_its_shape_and_finds_ports_that_are_there() {
    each(|manifests| {
        let mut monitors = 0;
        for object in manifests.of("ServiceMonitor") {
            let monitor: operator::Object<operator::ServiceMonitor> =
                serde_json::from_value(object.clone()).unwrap();
            assert_eq!(monitor.api_version, "monitoring.coreos.com/v1");
            let wanted: BTreeSet<(&str, &str)> = monitor
                .spec
                .selector
                .match_labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let services: Vec<&Value> = manifests
                .of("Service")
                .filter(|service| wanted.is_subset(&pairs(&service["metadata"]["labels"])))
                .collect();
            assert_eq!(services.len(), 1, "{object}");
            for endpoint in &monitor.spec.endpoints {
                let has =
                    items(&services[0]["spec"]["ports"]).iter().any(|port| port["name"] == *endpoint.port);
                assert!(has, "{object}");
            }
            monitors += monitor.spec.endpoints.len();
        }
        assert_eq!(monitors, 6, "every process is watched");
        let rules: Vec<_> = manifests.of("PrometheusRule").collect();
        let rule: operator::Object<operator::PrometheusRule> =
            serde_json::from_value(rules[0].clone()).unwrap();
        assert_eq!((rules.len(), rule.api_version.as_str()), (1, "monitoring.coreos.com/v1"));
        assert!(rule.spec.groups.iter().map(|group| group.rules.len()).sum::<usize>() > 30);
    });
}

#[test]
fn every_container_has_resources_probes_and_no_more_rights_than_it_needs() {
    each(|manifests| {
        each_container(manifests, |pods, container, called| {
            let resources = &container["resources"];
            for what in ["requests", "limits"] {
                for of in ["cpu", "memory"] {
                    assert!(resources[what][of].is_string(), "{called}: {what}.{of}");
                }
            }
            let is_first = items(&pods.template["spec"]["initContainers"]).contains(container);
            if !is_first && pods.kind != "CronJob" {
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    assert!(container[probe].is_object(), "{called}: {probe}");
                }
            }
            let rights = &container["securityContext"];
            assert_eq!(rights["readOnlyRootFilesystem"], true, "{called}");
            let spec = &pods.template["spec"];
            let is_root = rights["runAsUser"] == 0;
            if pods.name == PRIVILEGED && is_root {
                return;
            }
            assert_eq!(rights["allowPrivilegeEscalation"], false, "{called}");
            assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]), "{called}");
            assert!(rights["capabilities"]["add"].is_null() && rights["privileged"].is_null(), "{called}");
            let is_not_root = [&rights["runAsNonRoot"], &spec["securityContext"]["runAsNonRoot"]]
                .iter()
                .any(|&no| no == true);
            assert!(is_not_root, "{called}");
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{called}");
        });
        for pods in manifests.pods() {
            let spec = &pods.template["spec"];
            let called = format!("{}: {} {}", manifests.overlay, pods.kind, pods.name);
            let of_the_host = ["hostNetwork", "hostPID", "hostIPC"].iter().any(|what| spec[what] == true);
            let paths = items(&spec["volumes"]).iter().any(|volume| volume["hostPath"].is_object());
            assert!(pods.name == PRIVILEGED || (!of_the_host && !paths), "{called} has what is the host's");
        }
    });
}

#[test]
fn the_data_plane_has_the_four_capabilities_or_is_privileged_for_a_ptp_clock() {
    each(|manifests| {
        let pods = manifests.pods();
        let node = pods.iter().find(|pods| pods.name == PRIVILEGED).unwrap();
        for name in ["check", "dataplane"] {
            let container = node.containers().find(|container| container["name"] == name).unwrap();
            let rights = &container["securityContext"];
            let mounts = items(&container["volumeMounts"]);
            if mounts.iter().any(|mount| text(&mount["mountPath"]).starts_with("/dev/ptp")) {
                assert_eq!(rights["privileged"], true);
                // Kubernetes refuses these two together.
                assert!(rights["allowPrivilegeEscalation"].is_null(), "{rights}");
            } else {
                let added: BTreeSet<&str> = items(&rights["capabilities"]["add"]).iter().map(text).collect();
                assert_eq!(added, BTreeSet::from(["BPF", "NET_ADMIN", "NET_RAW", "IPC_LOCK"]));
                assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]));
            }
        }
    });
}

#[test]
fn the_data_planes_pod_is_guaranteed_and_its_cores_are_whole() {
    each(|manifests| {
        let pods = manifests.pods();
        let node = pods.iter().find(|pods| pods.name == PRIVILEGED).unwrap();
        for container in node.containers() {
            let resources = &container["resources"];
            assert_eq!(resources["requests"], resources["limits"], "{}", node.called(container));
            let cpu = text(&resources["limits"]["cpu"]);
            assert!(
                container["name"] != "dataplane" || cpu.parse::<u32>().is_ok(),
                "{cpu}: the kubelet gives no core"
            );
        }
    });
}

#[test]
fn every_name_that_is_referred_to_is_there() {
    let secrets = tool_or_skip!(made_secrets());
    each(|manifests| {
        let maps = manifests.config_maps();
        let claims = manifests.names("PersistentVolumeClaim");
        let accounts = manifests.names("ServiceAccount");
        let services = manifests.names("Service");
        for pods in manifests.pods() {
            let spec = &pods.template["spec"];
            let called = format!("{}: {} {}", manifests.overlay, pods.kind, pods.name);
            assert!(accounts.contains(text(&spec["serviceAccountName"])), "{called}: its account");
            assert_eq!(spec["automountServiceAccountToken"], false, "{called}: nobody needs a token");
            let mut volumes = BTreeSet::new();
            for volume in
                items(&spec["volumes"]).iter().chain(items(&pods.owner["spec"]["volumeClaimTemplates"]))
            {
                let name =
                    if volume["name"].is_string() { &volume["name"] } else { &volume["metadata"]["name"] };
                volumes.insert(text(name));
                if volume["configMap"].is_object() {
                    assert!(maps.contains_key(text(&volume["configMap"]["name"])), "{called}: {volume}");
                }
                if volume["secret"].is_object() {
                    assert!(
                        secrets.contains_key(text(&volume["secret"]["secretName"])),
                        "{called}: {volume}"
                    );
                }
                if volume["persistentVolumeClaim"].is_object() {
                    assert!(
                        claims.contains(text(&volume["persistentVolumeClaim"]["claimName"])),
                        "{called}: {volume}"
                    );
                }
            }
            let mut mounted = BTreeSet::new();
            for container in pods.containers() {
                let called = format!("{}: {}", manifests.overlay, pods.called(container));
                for mount in items(&container["volumeMounts"]) {
                    assert!(volumes.contains(text(&mount["name"])), "{called}: {mount}");
                    mounted.insert(text(&mount["name"]));
                }
                for variable in items(&container["env"]) {
                    let secret = &variable["valueFrom"]["secretKeyRef"];
                    let is_there = |keys: &BTreeMap<String, String>| keys.contains_key(text(&secret["key"]));
                    assert!(
                        secret.is_null() || secrets.get(text(&secret["name"])).is_some_and(is_there),
                        "{called}: {variable}"
                    );
                    let is_plain = text(&variable["value"]);
                    assert!(
                        !text(&variable["name"]).contains("PASSWORD") || is_plain.is_empty(),
                        "{called}: {variable}"
                    );
                }
                let ports: BTreeSet<&str> =
                    items(&container["ports"]).iter().map(|port| text(&port["name"])).collect();
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    let port = &container[probe]["httpGet"]["port"];
                    assert!(port.is_null() || ports.contains(text(port)), "{called}: {probe}");
                }
            }
            assert_eq!(volumes, mounted, "{called}: a volume that nobody mounts");
            if pods.kind == "StatefulSet" {
                assert!(services.contains(text(&pods.owner["spec"]["serviceName"])), "{called}: its service");
            }
            let selector = &pods.owner["spec"]["selector"];
            assert!(
                pods.kind == "CronJob" || pods.are_selected_by(selector),
                "{called}: it does not select its own pods"
            );
        }
        // What is made is used.
        let used: BTreeSet<&str> =
            manifests.pods().iter().map(|pods| text(&pods.template["spec"]["serviceAccountName"])).collect();
        assert_eq!(accounts, used, "{}: an account that nobody has", manifests.overlay);
        for name in maps.keys() {
            assert!(
                manifests.text.matches(name).count() > 1 || name.starts_with("dashboard-"),
                "nobody uses {name}"
            );
        }
        assert!(
            ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"]
                .iter()
                .all(|kind| manifests.of(kind).count() == 0)
        );
        assert_eq!(manifests.of("Secret").count(), 0, "Secrets are made elsewhere");
    });
}

#[test]
fn services_budgets_and_policies_select_pods_that_are_there_and_ports_that_they_have() {
    each(|manifests| {
        let pods = manifests.pods();
        let ports = |pods: &Pods<'_>| -> BTreeMap<String, u64> {
            let all = pods.containers().flat_map(|container| items(&container["ports"]));
            all.map(|port| (text(&port["name"]).to_owned(), port["containerPort"].as_u64().unwrap()))
                .collect()
        };
        for service in manifests.of("Service") {
            let selector = serde_json::json!({"matchLabels": service["spec"]["selector"]});
            let selected: Vec<_> = pods.iter().filter(|pods| pods.are_selected_by(&selector)).collect();
            assert_eq!(selected.len(), 1, "{service}");
            for port in items(&service["spec"]["ports"]) {
                assert!(ports(selected[0]).contains_key(text(&port["targetPort"])), "{service}");
            }
        }
        let mut guarded = BTreeSet::new();
        for budget in manifests.of("PodDisruptionBudget") {
            let selected: Vec<_> =
                pods.iter().filter(|pods| pods.are_selected_by(&budget["spec"]["selector"])).collect();
            assert_eq!(selected.len(), 1, "{budget}");
            guarded.insert(selected[0].name);
        }
        let evictable = pods.iter().filter(|pods| ["Deployment", "StatefulSet"].contains(&pods.kind));
        assert_eq!(guarded, evictable.map(|pods| pods.name).collect(), "each has a budget");
        for policy in manifests.of("NetworkPolicy") {
            let name = text(&policy["metadata"]["name"]);
            let selector = &policy["spec"]["podSelector"];
            let selected: Vec<_> = pods.iter().filter(|pods| pods.are_selected_by(selector)).collect();
            assert!(!selected.is_empty(), "{name} selects nobody");
            assert!(
                selected.iter().all(|pods| name == "default-deny"
                    || name == "names"
                    || pods.template["spec"]["hostNetwork"] != true),
                "{name} does not hold for the host's network"
            );
            let own: BTreeSet<u64> = selected.iter().flat_map(|pods| ports(pods).into_values()).collect();
            for port in items(&policy["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["ports"])) {
                assert!(own.contains(&port["port"].as_u64().unwrap()), "{name}: {port}");
            }
            for rule in items(&policy["spec"]["ingress"]).iter().chain(items(&policy["spec"]["egress"])) {
                assert!(
                    !items(&rule["from"]).is_empty() || !items(&rule["to"]).is_empty(),
                    "{name} is open to everybody"
                );
                for peer in items(&rule["from"]).iter().chain(items(&rule["to"])) {
                    let others = !peer["namespaceSelector"].is_null() || !peer["ipBlock"].is_null();
                    let is_there = pods.iter().any(|pods| pods.are_selected_by(&peer["podSelector"]));
                    assert!(others || is_there, "{name}: {peer}");
                }
            }
        }
        let deny = manifests
            .of("NetworkPolicy")
            .find(|policy| policy["metadata"]["name"] == "default-deny")
            .unwrap();
        assert_eq!(
            deny["spec"],
            serde_json::json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        );
    });
}

/// Who asks whom: a connection that a document names must be let out and let in.
#[test]
fn what_a_document_connects_to_is_let_through_by_the_policies() {
    each(|manifests| {
        let pods = manifests.pods();
        let policies: Vec<&Value> = manifests.of("NetworkPolicy").collect();
        let lets = |from: &Pods<'_>, to: &Pods<'_>, port: u64| {
            let allows = |of: &Pods<'_>, other: &Pods<'_>, rules: &str, peers: &str| {
                policies.iter().filter(|policy| of.are_selected_by(&policy["spec"]["podSelector"])).any(
                    |policy| {
                        items(&policy["spec"][rules]).iter().any(|rule| {
                            let has_port = items(&rule["ports"]).iter().any(|one| one["port"] == port);
                            has_port
                                && items(&rule[peers]).iter().any(|peer| {
                                    peer["podSelector"].is_object()
                                        && peer["namespaceSelector"].is_null()
                                        && other.are_selected_by(&peer["podSelector"])
                                })
                        })
                    },
                )
            };
            allows(from, to, "egress", "to") && allows(to, from, "ingress", "from")
        };
        let maps = manifests.config_maps();
        let mut connections = 0;
        for from in pods.iter().filter(|pods| pods.template["spec"]["hostNetwork"] != true) {
            let own = maps.iter().filter(|(name, _)| name.starts_with(&format!("{}-document", from.name)));
            let documents: String = own.flat_map(|(_, data)| data.values().map(text)).collect();
            for (to, port) in [("redis", 6379), ("timescaledb", 5432)] {
                let to = pods.iter().find(|pods| pods.name == to).unwrap();
                let asks = documents.contains(&format!("@{}:{port}", to.name));
                assert_eq!(asks, lets(from, to, port), "{}: {} to {}", manifests.overlay, from.name, to.name);
                connections += usize::from(asks);
            }
        }
        assert_eq!(connections, 6);
    });
}

#[test]
fn images_are_those_of_the_build_file_with_the_version_of_the_code() {
    let build_file = read("k8s/images/Containerfile").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    each(|manifests| {
        each_container(manifests, |_, container, called| {
            let (name, tag) =
                text(&container["image"]).rsplit_once(':').unwrap_or_else(|| panic!("{called}: no tag"));
            if OTHERS_IMAGES.contains(&name) {
                assert!(!tag.is_empty() && tag != "latest", "{called}: {tag}");
                return;
            }
            assert!(
                build_file.contains(&format!(" AS {name}\n")),
                "{called}: {name} is not in the Containerfile"
            );
            assert_eq!(tag, version, "{called}");
            let program = text(&container["command"][0]);
            let is_built = program.is_empty()
                || build_file.contains(&format!("bin/{program} "))
                || build_file.contains("bin/ ");
            assert!(is_built, "{called}: {program}");
        });
    });
}

fn parses(service: &str, document: &str) -> Result<(), DocumentError> {
    let bytes = document.as_bytes();
    match service {
        "dataplane" => DataplaneDocument::parse(bytes).map(drop),
        "feeds" => FeedsDocument::parse(bytes).map(drop),
        "features" => FeaturesDocument::parse(bytes).map(drop),
        "strategy" => StrategyDocument::parse(bytes).map(drop),
        "gateway" => GatewayDocument::parse(bytes).map(drop),
        "archiver" => ArchiverDocument::parse(bytes).map(drop),
        "controlplane" => ControlplaneDocument::parse(bytes).map(drop),
        // The trainer's own loader reads it in the tests of the images.
        "train" => Ok(()),
        other => panic!("{other}.yaml is whose document?"),
    }
}

#[test]
fn every_document_is_one_that_its_process_takes_and_stands_where_its_command_says() {
    each(|manifests| {
        let maps = manifests.config_maps();
        for (name, data) in maps.iter().filter(|(name, _)| name.contains("-document-")) {
            for (file, document) in *data {
                let service = file.strip_suffix(".yaml").unwrap();
                parses(service, text(document)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
            }
        }
        each_container(manifests, |pods, container, called| {
            let words: Vec<&str> =
                items(&container["command"]).iter().chain(items(&container["args"])).map(text).collect();
            let Some(at) = words.iter().position(|word| *word == "--config") else { return };
            let (folder, file) = words[at + 1].rsplit_once('/').unwrap();
            let mount =
                items(&container["volumeMounts"]).iter().find(|mount| mount["mountPath"] == folder).unwrap();
            let volume = items(&pods.template["spec"]["volumes"])
                .iter()
                .find(|volume| volume["name"] == mount["name"])
                .unwrap();
            assert!(maps[text(&volume["configMap"]["name"])].contains_key(file), "{called}: {file}");
        });
    });
}

/// The health ports of the documents are the containers' ports, and each process is said to be managed.
#[test]
fn ports_of_documents_are_ports_of_containers() {
    each(|manifests| {
        let maps = manifests.config_maps();
        each_container(manifests, |_, container, called| {
            let program = text(&container["command"][0]);
            let Some(service) = program.strip_prefix("feedplane-") else { return };
            let (_, data) =
                maps.iter().find(|(name, _)| name.starts_with(&format!("{service}-document-"))).unwrap();
            let document: Value = serde_saphyr::from_str(text(&data[&format!("{service}.yaml")])).unwrap();
            let ports: BTreeSet<u64> =
                items(&container["ports"]).iter().filter_map(|port| port["containerPort"].as_u64()).collect();
            let mut wanted = BTreeSet::new();
            for listen in [&document["health"]["listen"], &document["listen"]] {
                let Some((host, port)) = listen.as_str().and_then(|listen| listen.rsplit_once(':')) else {
                    continue;
                };
                assert_eq!(host, "0.0.0.0", "{called}: the kubelet and Prometheus come from outside");
                wanted.insert(port.parse().unwrap());
            }
            assert_eq!(ports, wanted, "{called}");
            let managed = items(&container["command"]).iter().any(|word| word == "--managed");
            assert_eq!(managed, !["dataplane", "controlplane"].contains(&service), "{called}");
        });
    });
}

/// Every Secret that `k8s/secrets.sh` makes: its keys and what is in them.
fn made_secrets() -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    on_path("openssl")?;
    let venues = tempfile::tempdir()?;
    std::fs::write(venues.path().join("sim"), "secret\n")?;
    let mut script = Command::new(repository().join("k8s/secrets.sh"));
    let made = run(script.args(["node7.example.com", "192.0.2.1"]).env("VENUES", venues.path()))?;
    let objects: Vec<Option<Value>> = serde_saphyr::from_multiple(&made)?;
    let mut secrets = BTreeMap::new();
    for object in objects.into_iter().flatten() {
        assert_eq!((&object["kind"], &object["apiVersion"]), (&Value::from("Secret"), &Value::from("v1")));
        let data = object["data"].as_object().cloned().unwrap_or_default();
        let data = data.into_iter().map(|(key, value)| (key, text(&value).to_owned())).collect();
        secrets.insert(text(&object["metadata"]["name"]).to_owned(), data);
    }
    Ok(secrets)
}

#[test]
fn secrets_are_new_each_time_and_pass_the_schema() {
    let (python, first) = (tool_or_skip!(python()), tool_or_skip!(made_secrets()));
    let second = made_secrets().unwrap();
    for (name, keys) in &first {
        assert!(!keys.is_empty(), "{name}");
        for (key, value) in keys {
            assert_eq!(value == &second[name][key], name == "venues", "{name}.{key}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.yaml");
    let made = run(Command::new(repository().join("k8s/secrets.sh")).arg("localhost")).unwrap();
    std::fs::write(&file, made).unwrap();
    let mut command = Command::new(python.with_file_name("kubernetes-validate"));
    let said = run(command.arg("--strict").arg(&file)).unwrap();
    assert_eq!(said.matches(" passed for ").count(), 5, "{said}");
}

#[test]
fn every_user_of_redis_that_a_document_names_has_a_password_and_rights() {
    let secrets = tool_or_skip!(made_secrets());
    let users = read("k8s/users.acl.in").unwrap();
    each(|manifests| {
        each_container(manifests, |_, container, called| {
            let Some(service) = text(&container["command"][0]).strip_prefix("feedplane-") else { return };
            let auth =
                items(&container["env"]).iter().find(|variable| variable["name"] == "REDISCLI_AUTH").unwrap();
            assert_eq!(auth["valueFrom"]["secretKeyRef"]["key"], service, "{called}");
            assert!(users.contains(&format!("\nuser {service} on #{service}# ")), "{called}");
            assert!(secrets["redis-passwords"].contains_key(service), "{called}");
            let documents = manifests.config_maps();
            let (_, data) =
                documents.iter().find(|(name, _)| name.starts_with(&format!("{service}-document-"))).unwrap();
            let document = text(&data[&format!("{service}.yaml")]);
            assert!(document.contains(&format!("redis://{service}@redis:6379")), "{called}");
        });
    });
}
