from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy
import onnx
import pytest

from feedplane_trainer import export
from feedplane_trainer.document import ModelSection
from feedplane_trainer.errors import Refused
from feedplane_trainer.fit import fit

FIXTURE = Path(__file__).parent / "fixtures" / "model"


def rows(seed: int, missing: bool) -> tuple[numpy.ndarray, numpy.ndarray]:
    random = numpy.random.default_rng(seed)
    features = random.normal(size=(5_000, 5)).astype(numpy.float32)
    features[:, 3] = numpy.round(features[:, 3])
    label = features[:, 0] * 0.5 + (features[:, 1] > 0.3) * features[:, 3] + random.normal(size=len(features))
    if missing:
        features[::5, 1] = numpy.nan
    return features, label


@pytest.mark.parametrize("missing", [False, True])
def test_the_file_scores_as_the_booster_does_also_what_is_missing(missing: bool) -> None:
    features, label = rows(3, missing)
    booster = fit(features, label, list("abcde"), ModelSection(trees=200))
    model = export.to_onnx(booster, "test")
    assert export.assert_equal(model, booster, features) < 1e-5
    asked = features[:200].copy()
    asked[::3, 0] = numpy.nan
    asked[::4, 1] = numpy.nan
    asked[::5] = numpy.inf
    asked[::7] = -numpy.inf
    assert export.assert_equal(model, booster, asked) < 1e-5


def test_rows_on_a_threshold_go_the_boosters_way() -> None:
    # LightGBM's own thresholds lie halfway between two f32, or at one of them: every one is asked from both sides.
    features, label = rows(4, False)
    booster = fit(features, label, list("abcde"), ModelSection(trees=50))
    frame = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    asked = []
    while frame:
        node = frame.pop()
        if "split_feature" in node:
            frame += [node["left_child"], node["right_child"]]
            near = numpy.float32(node["threshold"])
            for value in (near, numpy.nextafter(near, numpy.float32(-9e9)), numpy.nextafter(near, numpy.float32(9e9))):
                row = features[len(asked) % len(features)].copy()
                row[node["split_feature"]] = value
                asked.append(row)
    assert len(asked) > 500
    assert export.assert_equal(export.to_onnx(booster, "test"), booster, numpy.array(asked)) < 1e-5


def test_the_largest_f32_that_is_not_above_a_threshold_decides_as_the_threshold_does() -> None:
    random = numpy.random.default_rng(1)
    for threshold in [*random.normal(size=500), 0.1, -0.1, 1e-34, -1e-34, 1e300]:
        floor = export.floor_f32(float(threshold))
        assert floor <= threshold
        with numpy.errstate(over="ignore"):
            above = numpy.nextafter(numpy.float32(floor), numpy.float32(numpy.inf))
        assert float(above) > threshold


def test_the_same_rows_and_seed_give_the_same_bytes_on_any_number_of_threads() -> None:
    features, label = rows(5, True)
    made = {
        export.to_onnx(fit(features, label, list("abcde"), ModelSection(trees=40, row_fraction=0.7, threads=threads)), "test")
        for threads in (1, 1, 2)
    }
    assert len(made) == 1
    other = fit(features, label, list("abcde"), ModelSection(trees=40, row_fraction=0.7, seed=2))
    assert export.to_onnx(other, "test") not in made


def test_rows_that_teach_nothing_give_one_leaf_and_still_a_model() -> None:
    features, label = rows(6, False)
    booster = fit(features[:20], label[:20], list("abcde"), ModelSection(trees=5))
    model = export.to_onnx(booster, "test")
    assert export.scores(model, features[:2]) == pytest.approx(float(label[:20].mean()))


def test_the_graph_is_one_operator_and_of_the_contracts_shape() -> None:
    model = onnx.load(FIXTURE / "model.onnx")
    assert [node.op_type for node in model.graph.node] == ["TreeEnsembleRegressor"]
    (given,), (score,) = model.graph.input, model.graph.output
    shape = [dimension.dim_param or dimension.dim_value for dimension in given.type.tensor_type.shape.dim]
    assert (given.name, shape) == ("features", ["rows", 3])
    assert score.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_a_file_that_scores_otherwise_is_not_written() -> None:
    features, label = rows(7, False)
    own = fit(features, label, list("abcde"), ModelSection())
    other = fit(features, -label, list("abcde"), ModelSection())
    with pytest.raises(Refused, match="differ from the booster's"):
        export.assert_equal(export.to_onnx(other, "test"), own, features)


def test_a_split_that_onnx_has_no_equal_for_is_refused() -> None:
    features, label = rows(8, False)
    parameters = {"verbosity": -1, "min_data_per_group": 1, "cat_smooth": 0}
    features[:, 3] = numpy.abs(features[:, 3])
    data = lightgbm.Dataset(features, label, params=parameters, categorical_feature=[3])
    booster = lightgbm.train(parameters, data, num_boost_round=5)
    with pytest.raises(Refused, match="cannot be exported"):
        export.to_onnx(booster, "test")


def test_the_kept_model_is_what_its_card_says_and_scores_what_was_kept() -> None:
    card = json.loads((FIXTURE / "card.json").read_bytes())
    model = (FIXTURE / "model.onnx").read_bytes()
    assert card["onnx_sha256"] == hashlib.sha256(model).hexdigest()
    with (FIXTURE / "check.csv").open() as file:
        head, *kept = csv.reader(file)
    assert head == [*card["input"]["features"], "score"]
    values = numpy.array(kept, dtype=numpy.float32)
    assert len(values) == 256
    assert export.scores(model, values[:, :-1]) == pytest.approx(values[:, -1], abs=1e-6)


def test_what_reads_the_model_again_keeps_and_sends_nothing(tmp_path: Path) -> None:
    """A release of ONNX Runtime that reports home begins with a file of its session in the folder for temporary files."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    program = f"import onnxruntime; onnxruntime.InferenceSession({str(FIXTURE / 'model.onnx')!r})"
    subprocess.run([sys.executable, "-B", "-c", program], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
