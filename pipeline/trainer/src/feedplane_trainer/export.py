"""From a LightGBM booster to ONNX: one `TreeEnsembleRegressor`, `f32` [rows, features] in, `f32` [rows, 1] out.

Written here and not by a converter because of two things that a model in service must have:

- Every split of a `f32` value is the booster's own. A booster compares with a `f64` threshold t; rounding t to the nearest
  `f32` sends values between the two to the other side. The largest `f32` that is not above t never does: for every `f32`
  x, x <= t if and only if x <= that number.
- The same booster gives the same bytes: no date, no host, no library version is in the file.

`scores` runs the file in ONNX Runtime, which shares nothing with the booster; `assert_equal` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .errors import Refused

INPUT = "features"
OUTPUT = "score"
# The versions that introduced what is used; older readers understand them, too.
IR_VERSION = 8
OPSET = 15
OPSET_ML = 3
# What a booster takes for 0 is not larger than this, either way (its `kZeroThreshold`).
ZERO = float(numpy.float32(1e-35))
# Most that a score of the file may differ from the booster's, bps; times the largest score where that is above 1. The file
# adds up leaves in f32, the booster in f64.
DIFFERENCE_MAX = 1e-5


def floor_f32(threshold: float) -> float:
    """The largest `f32` that the booster sends left at a threshold.

    It is the largest that is not above the threshold, but that a booster takes values of at most `ZERO` for 0.
    """
    if 0 <= threshold <= ZERO:
        return ZERO
    value = float(numpy.nextafter(numpy.float32(-ZERO), numpy.float32(-1))) if -ZERO <= threshold < 0 else threshold
    with numpy.errstate(over="ignore"):
        near = numpy.float32(value)
    if float(near) > value:
        near = numpy.nextafter(near, numpy.float32(-numpy.inf))
    return float(near)


@dataclass
class _Nodes:
    """The attributes of the operator, one entry for each node (and each leaf) of all trees."""

    nodes: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: []
            for name in (
                "nodes_treeids",
                "nodes_nodeids",
                "nodes_featureids",
                "nodes_modes",
                "nodes_values",
                "nodes_truenodeids",
                "nodes_falsenodeids",
                "nodes_missing_value_tracks_true",
                "target_treeids",
                "target_nodeids",
                "target_ids",
                "target_weights",
            )
        }
    )

    def append(self, **values: Any) -> None:
        for name, value in values.items():
            self.nodes[name].append(value)

    def tree(self, tree: int, root: dict[str, Any]) -> None:
        """Adds a tree in preorder, so that a left child always follows its parent."""
        number = 0
        waiting: list[tuple[dict[str, Any], int | None]] = [(root, None)]
        while waiting:
            node, right_of = waiting.pop()
            if right_of is not None:
                self.nodes["nodes_falsenodeids"][right_of] = number
            at = len(self.nodes["nodes_nodeids"])
            self.append(nodes_treeids=tree, nodes_nodeids=number)
            if "split_feature" in node:
                self._branch(node, number + 1)
                waiting += [(node["right_child"], at), (node["left_child"], None)]
            else:
                self._leaf(tree, number, float(node["leaf_value"]))
            number += 1

    def _branch(self, node: dict[str, Any], left: int) -> None:
        if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
            raise Refused(f"a split {node['decision_type']} of missing type {node['missing_type']} cannot be exported")
        threshold = float(node["threshold"])
        # Without a missing value in the training data a booster takes NaN for 0.
        nan_is_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
        self.append(
            nodes_featureids=node["split_feature"],
            nodes_modes="BRANCH_LEQ",
            nodes_values=floor_f32(threshold),
            nodes_truenodeids=left,
            nodes_falsenodeids=0,  # Known once the left side is written.
            nodes_missing_value_tracks_true=int(nan_is_left),
        )

    def _leaf(self, tree: int, number: int, value: float) -> None:
        self.append(
            nodes_featureids=0,
            nodes_modes="LEAF",
            nodes_values=0.0,
            nodes_truenodeids=0,
            nodes_falsenodeids=0,
            nodes_missing_value_tracks_true=0,
            target_treeids=tree,
            target_nodeids=number,
            target_ids=0,
            target_weights=value,
        )


def to_onnx(booster: lightgbm.Booster, name: str) -> bytes:
    """The booster as the bytes of an ONNX file.

    Raises:
        Refused: the booster has splits that have no equal in ONNX.
    """
    nodes = _Nodes()
    for tree, info in enumerate(booster.dump_model()["tree_info"]):
        nodes.tree(tree, info["tree_structure"])
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [OUTPUT],
        name="trees",
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        **nodes.nodes,
    )
    graph = helper.make_graph(
        [ensemble],
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", booster.num_feature()])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 1])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)],
        ir_version=IR_VERSION,
        producer_name="feedplane-trainer",
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def scores(model: bytes, features: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """The file's scores of rows [rows, features], bps, by ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {INPUT: numpy.ascontiguousarray(features)})[0].reshape(-1)


def assert_equal(model: bytes, booster: lightgbm.Booster, features: NDArray[numpy.float32]) -> float:
    """The largest difference between the file's scores and the booster's, bps.

    Raises:
        Refused: it is above what adding up in `f32` explains.
    """
    own = booster.predict(features.astype(numpy.float64), num_threads=1)
    difference = float(numpy.abs(scores(model, features) - own).max(initial=0.0))
    if difference > DIFFERENCE_MAX * max(1.0, float(numpy.abs(own).max(initial=0.0))):
        raise Refused(f"the ONNX file's scores differ from the booster's by up to {difference} bps: it is not written")
    return difference
