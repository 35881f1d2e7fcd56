//! From the bytes of an ONNX file to something that scores a row: read by tract's own types, checked against the card, and
//! then either flat trees or a plan of tract's.
//!
//! tract has no `TreeEnsembleRegressor`, so a graph that is one (with nothing but `Identity` around it) is evaluated by
//! [`Trees`]; everything else goes to tract (`docs/decisions/tree-ensembles.md`). tract works out at load time what
//! depends on no input and follows links to other files, and its operators can make large values of small ones. So only
//! operators of a list are let through, each must depend on the row, nothing may be outside the file, and no value may be
//! larger than [`VALUES_MAX`].

use super::trees::{Tables, Trees};
use bus::ModelCard;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as TypeOf;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use tract_onnx::prelude::*;

/// Largest value between two operators of a graph, numbers.
const VALUES_MAX: usize = 1 << 22;
/// Most operators in a graph that is not one tree ensemble.
const OPERATORS_MAX: usize = 1_000;
/// `TensorProto.DataType.FLOAT`.
const ONNX_FLOAT: i32 = 1;
/// `TensorProto.DataLocation.EXTERNAL`.
const ONNX_EXTERNAL: i32 = 1;
/// Operators that tract may run: those of linear models and of networks of dense layers.
const OPERATORS: [&str; 19] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "MatMul",
    "Gemm",
    "Relu",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Softplus",
    "Sigmoid",
    "Tanh",
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Clip",
];

/// What scores a row.
#[derive(Clone, Debug)]
pub(super) enum Evaluator {
    /// Flat trees.
    Trees(Arc<Trees>),
    /// A plan of tract's.
    Plan(Arc<TypedRunnableModel>),
}

/// Reads a file and checks it against its card.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn read(card: &ModelCard, onnx: &[u8]) -> Result<Evaluator, String> {
    let mut bytes = onnx;
    let proto = tract_onnx::onnx()
        .proto_model_for_read(&mut bytes)
        .map_err(|_| "is no ONNX file, or a part of one")?;
    let graph = proto.graph.as_ref().ok_or("has no graph")?;
    check_input(card, graph)?;
    check_output(card, graph)?;
    match only_trees(card, graph) {
        Some(node) => Ok(Evaluator::Trees(Arc::new(trees(node, card.input.features.len())?))),
        None => plan(card, &proto, graph).map(Evaluator::Plan),
    }
}

/// The element type and the dimensions of a value; `None` for a dimension that the file leaves open.
fn shape_of(info: &ValueInfoProto) -> Option<(i32, Option<Vec<Option<i64>>>)> {
    let TypeOf::TensorType(tensor) = info.r#type.as_ref()?.value.as_ref()?;
    let number = |dimension: &Dimension| match dimension {
        Dimension::DimValue(value) => Some(*value),
        Dimension::DimParam(_) => None,
    };
    let dimensions = tensor
        .shape
        .as_ref()
        .map(|shape| shape.dim.iter().map(|dimension| dimension.value.as_ref().and_then(number)).collect());
    Some((tensor.elem_type, dimensions))
}

fn check_input(card: &ModelCard, graph: &GraphProto) -> Result<(), String> {
    let wanted = &card.input.name;
    let constants: HashSet<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<_> =
        graph.input.iter().filter(|input| !constants.contains(input.name.as_str())).collect();
    let [input] = &inputs[..] else {
        return Err(format!("has {} inputs; a model has one, {wanted:?}", inputs.len()));
    };
    if input.name != *wanted {
        return Err(format!("has the input {:?}, the card says {wanted:?}", shown(&input.name)));
    }
    let features = card.input.features.len();
    let expected = format!("f32 of shape [rows, {features}] by the card's features");
    let Some((kind, dimensions)) = shape_of(input) else {
        return Err(format!("input {wanted:?} is no {expected}"));
    };
    if kind != ONNX_FLOAT {
        return Err(format!("input {wanted:?} has element type {kind}; it must be {expected}"));
    }
    match dimensions.as_deref() {
        Some([rows, Some(columns)])
            if *columns == features as i64 && rows.is_none_or(|rows| rows == 1 || rows <= 0) =>
        {
            Ok(())
        }
        found => Err(format!("input {wanted:?} has shape {}; it must be {expected}", shown_shape(found))),
    }
}

fn check_output(card: &ModelCard, graph: &GraphProto) -> Result<(), String> {
    let wanted = &card.output.name;
    let output = graph.output.iter().find(|output| output.name == *wanted);
    let Some(output) = output else {
        let first = graph.output.first().map_or("none", |output| output.name.as_str());
        return Err(format!("has no output {wanted:?}; its first is {:?}", shown(first)));
    };
    match shape_of(output) {
        Some((kind, _)) if kind != ONNX_FLOAT => Err(format!(
            "output {wanted:?} has element type {kind}; it must be f32 of shape [rows, 1] or [rows]"
        )),
        Some((_, Some(dimensions))) if !matches!(&dimensions[..], [_] | [_, None | Some(1)]) => {
            let found = shown_shape(Some(&dimensions));
            Err(format!("output {wanted:?} has shape {found}; it must be [rows, 1] or [rows]"))
        }
        _ => Ok(()),
    }
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

fn shown_shape(dimensions: Option<&[Option<i64>]>) -> String {
    let Some(dimensions) = dimensions else { return "unknown".into() };
    let shown = |dimension: &Option<i64>| dimension.map_or("rows".into(), |value| value.to_string());
    let shown: Vec<_> = dimensions.iter().take(8).map(shown).collect();
    format!("[{}]", shown.join(", "))
}

/// The tree ensemble that the whole graph is, if it is one.
fn only_trees<'a>(card: &ModelCard, graph: &'a GraphProto) -> Option<&'a NodeProto> {
    let makers: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
        .collect();
    let through = |mut name: &'a str| {
        // As many steps as there are nodes: names may go round in a circle.
        for _ in 0..graph.node.len() {
            match makers.get(name) {
                Some(node) if node.op_type == "Identity" && node.input.len() == 1 => name = &node.input[0],
                _ => break,
            }
        }
        name
    };
    let output = graph.output.iter().find(|output| output.name == card.output.name)?;
    let node = makers.get(through(&output.name)).filter(|node| node.op_type == "TreeEnsembleRegressor")?;
    let [input] = &node.input[..] else { return None };
    (through(input) == card.input.name).then_some(*node)
}

fn trees(node: &NodeProto, features: usize) -> Result<Trees, String> {
    let find = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let whole = |name: &str| find(name).map(|found| found.ints.clone()).unwrap_or_default();
    let real = |name: &str| find(name).map(|found| found.floats.clone()).unwrap_or_default();
    let word = |name: &str, left_out: &str| {
        find(name).map_or(left_out.to_owned(), |found| String::from_utf8_lossy(&found.s).into_owned())
    };
    let doubles = |found: &&AttributeProto| found.name.ends_with("_as_tensor");
    if let Some(found) = node.attribute.iter().find(doubles) {
        return Err(format!(
            "TreeEnsembleRegressor: {} is not taken; write f32 attributes",
            shown(&found.name)
        ));
    }
    if find("n_targets").is_some_and(|found| found.i != 1) {
        return Err("TreeEnsembleRegressor: n_targets must be 1".into());
    }
    let (post, aggregate) = (word("post_transform", "NONE"), word("aggregate_function", "SUM"));
    if post != "NONE" {
        return Err(format!("TreeEnsembleRegressor: post_transform is {:?}; NONE is taken", shown(&post)));
    }
    if !matches!(aggregate.as_str(), "SUM" | "AVERAGE") {
        let found = shown(&aggregate);
        return Err(format!(
            "TreeEnsembleRegressor: aggregate_function is {found:?}; SUM and AVERAGE are taken"
        ));
    }
    let tables = Tables {
        tree_ids: whole("nodes_treeids"),
        node_ids: whole("nodes_nodeids"),
        feature_ids: whole("nodes_featureids"),
        modes: find("nodes_modes").map(|found| found.strings.clone()).unwrap_or_default(),
        values: real("nodes_values"),
        true_ids: whole("nodes_truenodeids"),
        false_ids: whole("nodes_falsenodeids"),
        missing_is_true: whole("nodes_missing_value_tracks_true"),
        leaf_tree_ids: whole("target_treeids"),
        leaf_node_ids: whole("target_nodeids"),
        leaf_targets: whole("target_ids"),
        leaf_weights: real("target_weights"),
        base_values: real("base_values"),
        averages: aggregate == "AVERAGE",
    };
    Trees::new(&tables, features).map_err(|error| format!("TreeEnsembleRegressor: {error}"))
}

/// What tract must not be given, whatever it would make of it.
fn check_for_tract(graph: &GraphProto) -> Result<(), String> {
    if graph.node.len() > OPERATORS_MAX {
        return Err(format!("has {} operators; at most {OPERATORS_MAX} are taken", graph.node.len()));
    }
    if graph.initializer.iter().any(|tensor| tensor.data_location == Some(ONNX_EXTERNAL))
        || !graph.sparse_initializer.is_empty()
    {
        return Err("has constants outside the file, or sparse ones; write them into it, dense".into());
    }
    let constants: HashSet<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().map(|input| input.name.as_str()).filter(|name| !constants.contains(name));
    let mut of_the_row: HashSet<_> = inputs.collect();
    for node in &graph.node {
        if !OPERATORS.contains(&node.op_type.as_str()) {
            let operator = shown(&node.op_type);
            return Err(format!(
                "has the operator {operator}, which is not served (docs/models.md lists those that are)"
            ));
        }
        if node.attribute.iter().any(|attribute| attribute.g.is_some() || attribute.t.is_some()) {
            return Err(format!("operator {} carries a graph or a constant", shown(&node.name)));
        }
        if !node.input.iter().any(|input| of_the_row.contains(input.as_str())) {
            return Err(format!(
                "operator {} does not depend on the row, or comes before what it depends on",
                shown(&node.name)
            ));
        }
        of_the_row.extend(node.output.iter().map(String::as_str));
    }
    Ok(())
}

fn plan(card: &ModelCard, proto: &ModelProto, graph: &GraphProto) -> Result<Arc<TypedRunnableModel>, String> {
    check_for_tract(graph)?;
    let planned = || -> TractResult<Result<Arc<TypedRunnableModel>, String>> {
        let mut model = tract_onnx::onnx().model_for_proto_model(proto)?;
        let features = card.input.features.len();
        model.set_input_fact(0, f32::fact([1, features]).into())?;
        let output = model.find_outlet_label(&card.output.name);
        let Some(output) = output else { return Ok(Err("has an output that nothing makes".into())) };
        model.select_output_outlets(&[output])?;
        model.analyse(true)?;
        let model = model.into_typed()?;
        for node in model.nodes() {
            for outlet in &node.outputs {
                let values = outlet.fact.shape.as_concrete().map(|shape| shape.iter().product::<usize>());
                if values.is_none_or(|values| values > VALUES_MAX) {
                    return Ok(Err(format!(
                        "operator {} makes more than {VALUES_MAX} numbers",
                        shown(&node.name)
                    )));
                }
            }
        }
        let fact = model.output_fact(0)?;
        if fact.datum_type != f32::datum_type() || !matches!(fact.shape.as_concrete(), Some([1] | [1, 1])) {
            return Ok(Err(format!(
                "output {:?} is {fact:?}; it must be f32 of shape [rows, 1] or [rows]",
                card.output.name
            )));
        }
        Ok(Ok(model.into_optimized()?.into_runnable()?))
    };
    // tract takes care, and yet a file that was made to be read wrongly must not end a process that trades.
    let planned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(planned));
    let planned = planned.map_err(|_| "makes tract fail")?;
    planned.map_err(|error| format!("is refused by tract: {error:#}"))?
}

/// Runs a plan for one row.
///
/// # Errors
/// What tract says.
pub(super) fn run(plan: &Arc<TypedRunnableModel>, row: &[f32]) -> Result<f32, String> {
    let run = || -> TractResult<f32> {
        let input = Tensor::from_shape(&[1, row.len()], row)?;
        let output = plan.run(tvec!(input.into()))?;
        output[0].cast_to_scalar::<f32>()
    };
    run().map_err(|error| error.to_string())
}
