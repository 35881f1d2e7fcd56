//! What cannot be served, and the reason that is given.

use crate::support::*;
use bus::{FeatureSchema, ModelFiles};
use serde_json::Value;
use strategy::models::Model;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto};

fn pair() -> FeatureSchema {
    schema("fast", &["a", "b"])
}

/// Why a file is not served under a good card.
fn refusal(onnx: Vec<u8>) -> String {
    let card = card("m", 1, &pair(), &onnx);
    Model::new(&files(&card, onnx)).err().map(|error| error.to_string()).unwrap_or_default()
}

fn assert_refused(model: &ModelProto, expected: &str) {
    let error = refusal(bytes(model));
    assert!(error.contains(expected), "{error:?} should say {expected:?}");
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    assert_eq!(refusal(Vec::new()), "model.onnx has no graph");
    assert_eq!(refusal(b"PK\x03\x04 a zip".to_vec()), "model.onnx is no ONNX file, or a part of one");
    let whole = bytes(&trees(2, 50, -1.0, 1.0));
    assert_eq!(refusal(whole.clone()), "");
    for cut in [1, 7, whole.len() / 3, whole.len() - 1] {
        assert!(!refusal(whole[..cut].to_vec()).is_empty(), "cut at {cut}");
    }
}

#[test]
fn a_card_that_says_something_else_than_the_graph_is_refused() {
    let onnx = bytes(&trees(2, 1, -1.0, 1.0));
    for (pointer, value, expected) in [
        ("/input/name", Value::from("x"), "has the input \"features\", the card says \"x\""),
        ("/output/name", Value::from("y"), "has no output \"y\"; its first is \"score\""),
        (
            "/input/features",
            serde_json::json!(["a"]),
            "has shape [rows, 2]; it must be f32 of shape [rows, 1]",
        ),
    ] {
        let mut card = card("m", 1, &pair(), &onnx);
        *card.pointer_mut(pointer).unwrap() = value;
        let error = Model::new(&files(&card, onnx.clone())).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.word(), "graph");
    }
}

#[test]
fn an_input_or_output_of_another_shape_or_type_is_refused() {
    let with = |change: &dyn Fn(&mut Vec<ValueInfoProto>, &mut Vec<ValueInfoProto>)| {
        let mut model = trees(2, 1, -1.0, 1.0);
        let graph = model.graph.as_mut().unwrap();
        change(&mut graph.input, &mut graph.output);
        model
    };
    let input = |kind, dimensions: &'static [i64]| {
        with(&move |input, _| input[0] = value_info("features", kind, dimensions))
    };
    let output = |kind, dimensions: &'static [i64]| {
        with(&move |_, output| output[0] = value_info("score", kind, dimensions))
    };
    for (model, expected) in [
        (input(FLOAT, &[-1, 3]), "has shape [rows, 3]; it must be f32 of shape [rows, 2]"),
        (input(FLOAT, &[2]), "has shape [2]; it must be"),
        (input(FLOAT, &[16, 2]), "has shape [16, 2]; it must be"),
        (input(FLOAT, &[-1, -1]), "has shape [rows, rows]; it must be"),
        (input(11, &[-1, 2]), "has element type 11; it must be f32"),
        (output(11, &[-1, 1]), "output \"score\" has element type 11"),
        (output(FLOAT, &[-1, 2]), "output \"score\" has shape [rows, 2]"),
        (with(&|input, _| input.push(value_info("more", FLOAT, &[1]))), "has 2 inputs"),
        (with(&|input, _| input[0].r#type = None), "is no f32 of shape [rows, 2]"),
    ] {
        assert_refused(&model, expected);
    }
    for model in [input(FLOAT, &[1, 2]), output(FLOAT, &[-1]), output(FLOAT, &[1, 1])] {
        assert_eq!(refusal(bytes(&model)), "");
    }
}

/// Three trees of which the last is said to be the first.
fn apart() -> ModelProto {
    let mut model = trees(2, 3, -1.0, 1.0);
    let attributes = &mut model.graph.as_mut().unwrap().node[0].attribute;
    attributes[0].ints[6..].fill(0);
    model
}

/// One tree with a leaf that nothing leads to.
fn unreached() -> ModelProto {
    let mut model = trees(2, 1, -1.0, 1.0);
    for attribute in &mut model.graph.as_mut().unwrap().node[0].attribute {
        match attribute.name.as_str() {
            "nodes_nodeids" | "target_nodeids" => attribute.ints.push(3),
            name if name.starts_with("nodes_") && !attribute.ints.is_empty() => attribute.ints.push(0),
            "target_treeids" | "target_ids" => attribute.ints.push(0),
            "nodes_modes" => attribute.strings.push(b"LEAF".to_vec()),
            _ => attribute.floats.push(0.0),
        }
    }
    model
}

#[test]
fn trees_that_are_none_are_refused_with_their_node() {
    let with = |name: &str, change: &dyn Fn(&mut tract_onnx::pb::AttributeProto)| {
        let mut model = trees(2, 2, -1.0, 1.0);
        let attributes = &mut model.graph.as_mut().unwrap().node[0].attribute;
        change(attributes.iter_mut().find(|attribute| attribute.name == name).unwrap());
        model
    };
    let add = |attribute: tract_onnx::pb::AttributeProto| {
        let mut model = trees(2, 2, -1.0, 1.0);
        model.graph.as_mut().unwrap().node[0].attribute.push(attribute);
        model
    };
    let word = |name: &str, value: &str| {
        let mut attribute = words(name, &[]);
        attribute.s = value.as_bytes().to_vec();
        add(attribute)
    };
    let targets = tract_onnx::pb::AttributeProto { name: "n_targets".into(), i: 2, ..Default::default() };
    for (model, expected) in [
        (with("nodes_featureids", &|found| found.ints[3] = 2), "tree 1: node 0 asks for feature 2 of 2"),
        (with("nodes_featureids", &|found| found.ints[0] = -1), "tree 0: node 0 asks for feature -1 of 2"),
        (with("nodes_truenodeids", &|found| found.ints[0] = 9), "tree 0: node 0 leads to 9, which is none"),
        (with("nodes_truenodeids", &|found| found.ints[0] = 0), "is reached by two ways, or leads back"),
        (with("nodes_truenodeids", &|found| found.ints[0] = 2), "node 2 is reached by two ways"),
        (with("nodes_nodeids", &|found| found.ints[2] = 1), "tree 0: node 1 is there twice"),
        (with("nodes_treeids", &|found| found.ints[5] = 0), "tree 1: node 0 leads to 2, which is none"),
        (apart(), "nodes of tree 0 are not together"),
        (with("nodes_values", &|found| found.floats[0] = f32::NAN), "tree 0: node 0 compares with NaN"),
        (
            with("nodes_values", &|found| found.floats.truncate(5)),
            "nodes_values has 5 entries, nodes_treeids 6",
        ),
        (with("nodes_modes", &|found| found.strings[0] = b"BRANCH_EQ".to_vec()), "has mode \"BRANCH_EQ\""),
        (with("target_nodeids", &|found| found.ints[0] = 2), "tree 0: leaf 2 has two weights"),
        (with("target_nodeids", &|found| found.ints[0] = 7), "tree 0: leaf 1 has no target_weights"),
        (with("target_weights", &|found| found.floats[1] = f32::INFINITY), "has the weight inf"),
        (with("target_ids", &|found| found.ints[1] = 1), "is of target 1; there is one, 0"),
        (with("nodes_treeids", &|found| found.ints.clear()), "nodes_treeids has 0 nodes"),
        (unreached(), "tree 0: 1 of its nodes are not reached from the first"),
        (add(floats("base_values", &[0.5, 0.5])), "base_values has 2 entries"),
        (add(ints("nodes_values_as_tensor", &[])), "nodes_values_as_tensor is not taken"),
        (add(targets), "n_targets must be 1"),
        (word("post_transform", "LOGISTIC"), "post_transform is \"LOGISTIC\"; NONE is taken"),
        (word("aggregate_function", "MAX"), "aggregate_function is \"MAX\""),
    ] {
        assert_refused(&model, expected);
    }
}

#[test]
fn a_tree_as_deep_as_a_chain_is_refused() {
    let depth = 600;
    let mut model = trees(2, 1, -1.0, 1.0);
    let mut chain = node("TreeEnsembleRegressor", &["features"], "score");
    // Each branch leads to a leaf and to the next branch.
    let nodes: Vec<i64> = (0..=2 * depth).collect();
    let is_leaf = |id: &i64| id % 2 == 1 || *id == 2 * depth;
    let child = |id: &i64, which: i64| if is_leaf(id) { 0 } else { id + which };
    let leaves: Vec<i64> = nodes.iter().copied().filter(is_leaf).collect();
    let modes: Vec<_> = nodes.iter().map(|id| if is_leaf(id) { "LEAF" } else { "BRANCH_LEQ" }).collect();
    chain.attribute = vec![
        ints("nodes_treeids", &vec![0; nodes.len()]),
        ints("nodes_nodeids", &nodes),
        ints("nodes_featureids", &vec![0; nodes.len()]),
        words("nodes_modes", &modes),
        floats("nodes_values", &vec![0.0; nodes.len()]),
        ints("nodes_truenodeids", &nodes.iter().map(|id| child(id, 1)).collect::<Vec<_>>()),
        ints("nodes_falsenodeids", &nodes.iter().map(|id| child(id, 2)).collect::<Vec<_>>()),
        ints("target_treeids", &vec![0; leaves.len()]),
        ints("target_nodeids", &leaves),
        ints("target_ids", &vec![0; leaves.len()]),
        floats("target_weights", &vec![1.0; leaves.len()]),
    ];
    model.graph.as_mut().unwrap().node[0] = chain;
    assert_refused(&model, "tree 0: deeper than 512");
}

#[test]
fn what_tract_must_not_run_is_refused() {
    let weight = || constant("weight", &[2, 1], &[1.0, 2.0]);
    let of = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| graph(2, nodes, constants);
    let matmul = || node("MatMul", &["features", "weight"], "score");
    let outside = TensorProto { data_location: Some(1), ..weight() };
    let column = constant("column", &[1 << 12, 1], &vec![1.0; 1 << 12]);
    let wide = constant("wide", &[2, 1 << 12], &vec![1.0; 1 << 13]);
    for (model, expected) in [
        (
            of(vec![node("Loop", &["features"], "score")], vec![]),
            "has the operator Loop, which is not served",
        ),
        (of(vec![node("Scaler", &["features"], "score")], vec![]), "has the operator Scaler"),
        (of(vec![matmul()], vec![outside]), "has constants outside the file"),
        (
            of(vec![node("Add", &["weight", "weight"], "x"), matmul()], vec![weight()]),
            "does not depend on the row",
        ),
        (
            of(vec![node("Relu", &["x"], "score"), node("Relu", &["features"], "x")], vec![]),
            "comes before what it",
        ),
        (
            of(vec![node("Relu", &["features"], "score")], vec![]),
            "it must be f32 of shape [rows, 1] or [rows]",
        ),
        (of(vec![node("MatMul", &["features", "nothing"], "score")], vec![]), "Could not resolve inputs"),
        (
            of(
                vec![node("MatMul", &["features", "wide"], "x"), node("Add", &["x", "column"], "score")],
                vec![wide, column],
            ),
            "makes more than 4194304 numbers",
        ),
        (of(vec![node("Relu", &["features"], "other")], vec![]), "model.onnx"),
        (of((0..1_001).map(|_| node("Relu", &["features"], "x")).collect(), vec![]), "has 1001 operators"),
    ] {
        assert_refused(&model, expected);
    }
    assert_eq!(refusal(bytes(&of(vec![matmul()], vec![weight()]))), "");
    let mut unshaped = of(vec![matmul()], vec![weight()]);
    let output = &mut unshaped.graph.as_mut().unwrap().output[0];
    if let Some(tract_onnx::pb::type_proto::Value::TensorType(tensor)) =
        &mut output.r#type.as_mut().unwrap().value
    {
        tensor.shape = None::<TensorShapeProto>;
    }
    assert_eq!(refusal(bytes(&unshaped)), "", "a shape that is not said is worked out");
}

#[test]
fn a_model_for_another_schema_or_with_a_missing_feature_is_refused() {
    let onnx = bytes(&trees(2, 1, -1.0, 1.0));
    let model = Model::new(&files(&card("m", 1, &pair(), &onnx), onnx.clone())).unwrap();
    assert!(model.check_schemas(&[schema("other", &["a", "b"]), pair()]).is_ok());
    for (schemas, expected) in [
        (vec![], "no feature set is called \"fast\""),
        (vec![schema("fast", &["a", "c"])], "these are of schema"),
        (vec![schema("slow", &["a", "b"])], "no feature set is called \"fast\""),
    ] {
        let error = model.check_schemas(&schemas).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.word(), "schema");
    }
    let mut card = card("m", 1, &pair(), &onnx);
    card["input"]["features"] = serde_json::json!(["a", "volume"]);
    let model = Model::new(&files(&card, onnx)).unwrap();
    let error = model.check_schemas(&[pair()]).unwrap_err();
    assert!(error.to_string().contains("input.features[1]: \"volume\" is no feature"), "{error}");
}

/// A file that was made to be read wrongly is refused or served; nothing else happens.
#[test]
fn any_bytes_of_a_file_are_refused_or_served() {
    let networks = [bytes(&trees(2, 3, -1.0, 1.0)), bytes(&linear(&[0.5, 0.25]))];
    bolero::check!().with_type::<(bool, Vec<(u16, u8)>)>().for_each(|(network, changes)| {
        let mut onnx = networks[usize::from(*network)].clone();
        for (at, byte) in changes.iter().take(8) {
            let at = usize::from(*at) % onnx.len();
            onnx[at] = *byte;
        }
        let card = card("m", 1, &pair(), &onnx);
        let files = ModelFiles::new(card.to_string().into_bytes(), onnx).unwrap();
        if let Ok(mut model) = Model::new(&files) {
            let _ = model.score([0.5, -0.5].into_iter());
        }
    });
}
