//! Models made on the spot, and those of the fixtures.

use bus::{FeatureSchema, FeatureSpec, ModelFiles, Sha256Sum};
use prost::Message;
use serde_json::{Value, json};
use std::path::PathBuf;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};

pub(crate) const FLOAT: i32 = 1;

/// A folder of fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models/fixtures").join(name)
}

/// The schema of a set with these values.
pub(crate) fn schema(set: &str, names: &[&str]) -> FeatureSchema {
    let spec = |name: &&str| FeatureSpec { name: (*name).into(), unit: "1".into() };
    FeatureSchema { set: set.into(), features: names.iter().map(spec).collect() }
}

/// A card for these bytes: a model of all values of a schema, in its order.
pub(crate) fn card(name: &str, version: u64, schema: &FeatureSchema, onnx: &[u8]) -> Value {
    let names: Vec<_> = schema.features.iter().map(|feature| &feature.name).collect();
    json!({
        "name": name,
        "version": version,
        "onnx_sha256": Sha256Sum::of(onnx).to_string(),
        "input": {
            "name": "features", "set": schema.set, "schema_id": format!("{:016x}", schema.id()), "features": names
        },
        "output": {"name": "score", "unit": "bps", "horizon_ms": 1000},
        "trained": {"data": {}, "metrics": {}, "seed": 1, "versions": {}}
    })
}

pub(crate) fn files(card: &Value, onnx: Vec<u8>) -> ModelFiles {
    ModelFiles::new(card.to_string().into_bytes(), onnx).unwrap()
}

pub(crate) fn value_info(name: &str, kind: i32, dimensions: &[i64]) -> ValueInfoProto {
    let dimension = |value: &i64| Dimension {
        // Below 0: left open.
        value: Some(if *value < 0 {
            dimension::Value::DimParam("rows".into())
        } else {
            dimension::Value::DimValue(*value)
        }),
        ..Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: dimensions.iter().map(dimension).collect() });
    let tensor = type_proto::Tensor { elem_type: kind, shape };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
}

pub(crate) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let domain = if operator.starts_with("Tree") { "ai.onnx.ml" } else { "" };
    NodeProto {
        op_type: operator.into(),
        domain: domain.into(),
        name: output.into(),
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// A graph of these nodes and constants, from `features` [rows, features] to `score` [rows, 1].
pub(crate) fn graph(features: usize, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: vec![value_info("features", FLOAT, &[-1, features as i64])],
        output: vec![value_info("score", FLOAT, &[-1, 1])],
        ..GraphProto::default()
    };
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    ModelProto {
        ir_version: 8,
        opset_import: vec![opset("", 15), opset("ai.onnx.ml", 3)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

pub(crate) fn bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

pub(crate) fn constant(name: &str, dimensions: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dimensions.to_vec(),
        data_type: FLOAT,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A model whose score is the sum of the features, each times its weight.
pub(crate) fn linear(weights: &[f32]) -> ModelProto {
    let weight = constant("weight", &[weights.len() as i64, 1], weights);
    graph(weights.len(), vec![node("MatMul", &["features", "weight"], "score")], vec![weight])
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, kind) = (name.into(), AttributeType::Ints.into());
    AttributeProto { name, r#type: kind, ints: values.to_vec(), ..AttributeProto::default() }
}

pub(crate) fn floats(name: &str, values: &[f32]) -> AttributeProto {
    let (name, kind) = (name.into(), AttributeType::Floats.into());
    AttributeProto { name, r#type: kind, floats: values.to_vec(), ..AttributeProto::default() }
}

pub(crate) fn words(name: &str, values: &[&str]) -> AttributeProto {
    let (name, kind) = (name.into(), AttributeType::Strings.into());
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    AttributeProto { name, r#type: kind, strings, ..AttributeProto::default() }
}

/// Trees that are all alike: the first feature up to 0 gives `below`, above `above`; each tree its part of it.
pub(crate) fn trees(features: usize, count: i64, below: f32, above: f32) -> ModelProto {
    let part = |value: f32| value / count as f32;
    let each = |one: &[i64]| (0..count).flat_map(|_| one.to_vec()).collect::<Vec<_>>();
    let of_tree = |size: usize| (0..count).flat_map(|tree| vec![tree; size]).collect::<Vec<_>>();
    let mut ensemble = node("TreeEnsembleRegressor", &["features"], "score");
    let modes: Vec<_> = (0..count).flat_map(|_| ["BRANCH_LEQ", "LEAF", "LEAF"]).collect();
    let weights: Vec<_> = (0..count).flat_map(|_| [part(below), part(above)]).collect();
    ensemble.attribute = vec![
        ints("nodes_treeids", &of_tree(3)),
        ints("nodes_nodeids", &each(&[0, 1, 2])),
        ints("nodes_featureids", &each(&[0, 0, 0])),
        words("nodes_modes", &modes),
        floats("nodes_values", &vec![0.0; 3 * count as usize]),
        ints("nodes_truenodeids", &each(&[1, 0, 0])),
        ints("nodes_falsenodeids", &each(&[2, 0, 0])),
        ints("target_treeids", &of_tree(2)),
        ints("target_nodeids", &each(&[1, 2])),
        ints("target_ids", &each(&[0, 0])),
        floats("target_weights", &weights),
    ];
    graph(features, vec![ensemble], Vec::new())
}
