//! The manifests as `kubectl kustomize` renders them, and what the checks ask of them.

use crate::tools::{kubectl, repository, run};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The overlays that somebody applies.
pub const OVERLAYS: [&str; 2] = ["single-node", "cluster"];

/// What an overlay renders to.
pub struct Manifests {
    /// Its name, for what is said about it.
    pub overlay: &'static str,
    /// The text, for others' tools.
    pub text: String,
    /// The objects, in the order of the text.
    pub objects: Vec<Value>,
}

/// A template of pods, with who makes them.
pub struct Pods<'m> {
    /// `DaemonSet`, `Deployment`, `StatefulSet`, `CronJob`.
    pub kind: &'m str,
    /// The object's name.
    pub name: &'m str,
    /// The object itself.
    pub owner: &'m Value,
    /// `metadata` and `spec` of a pod.
    pub template: &'m Value,
}

/// A field's items; none when it is not there.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A field's text; empty when it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `metadata.labels` or a selector as pairs.
pub fn pairs(value: &Value) -> BTreeSet<(&str, &str)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), text(value))).collect()
}

impl Manifests {
    /// Renders an overlay.
    ///
    /// # Errors
    /// There is no `kubectl`, or it refuses.
    pub fn render(overlay: &'static str) -> Result<Manifests> {
        let folder = repository().join("k8s/overlays").join(overlay);
        let text = run(Command::new(kubectl()?).arg("kustomize").arg(folder))?;
        let objects = serde_saphyr::from_multiple(&text).context("what kubectl rendered")?;
        Ok(Manifests { overlay, text, objects })
    }

    /// The objects of a kind.
    pub fn of<'m>(&'m self, kind: &'m str) -> impl Iterator<Item = &'m Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// Their names.
    pub fn names<'m>(&'m self, kind: &'m str) -> BTreeSet<&'m str> {
        self.of(kind).map(|object| text(&object["metadata"]["name"])).collect()
    }

    /// The keys of each ConfigMap, by its name.
    pub fn config_maps(&self) -> BTreeMap<&str, &serde_json::Map<String, Value>> {
        self.of("ConfigMap")
            .filter_map(|map| Some((text(&map["metadata"]["name"]), map["data"].as_object()?)))
            .collect()
    }

    /// Everything that makes pods.
    pub fn pods(&self) -> Vec<Pods<'_>> {
        self.objects.iter().filter_map(Pods::of).collect()
    }
}

impl<'m> Pods<'m> {
    fn of(object: &'m Value) -> Option<Pods<'m>> {
        let kind = text(&object["kind"]);
        let template = match kind {
            "DaemonSet" | "Deployment" | "StatefulSet" => &object["spec"]["template"],
            "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
            _ => return None,
        };
        Some(Pods { kind, name: text(&object["metadata"]["name"]), owner: object, template })
    }

    /// All containers, those that run first included.
    pub fn containers(&self) -> impl Iterator<Item = &'m Value> {
        let spec = &self.template["spec"];
        items(&spec["initContainers"]).iter().chain(items(&spec["containers"]))
    }

    /// What it is called in messages.
    pub fn called(&self, container: &Value) -> String {
        format!("{} {}, container {}", self.kind, self.name, text(&container["name"]))
    }

    /// Whether a selector takes these pods.
    pub fn are_selected_by(&self, selector: &Value) -> bool {
        let labels = pairs(&self.template["metadata"]["labels"]);
        let matches_all = pairs(&selector["matchLabels"]).is_subset(&labels);
        matches_all
            && items(&selector["matchExpressions"]).iter().all(|expression| {
                assert_eq!(expression["operator"], "In", "only `In` is understood here: {expression}");
                let label = labels.iter().find(|(key, _)| *key == text(&expression["key"]));
                label.is_some_and(|(_, value)| {
                    items(&expression["values"]).iter().any(|one| text(one) == *value)
                })
            })
    }
}
