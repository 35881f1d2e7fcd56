"""Scores of table (l) with ONNX Runtime, as a quant serves a model from Python; and the models themselves.

    onnx_scores.py make FOLDER TREES...    FOLDER/<trees>/model.onnx and card.json for each number, FOLDER/rows (f32)
    onnx_scores.py row FOLDER TREES...     one call for each row
    onnx_scores.py batch FOLDER TREES...   one call for all rows

Boosters of 63 leaves, at most 8 deep, on 20 made-up features. Prints one JSON line: for each model ns a score and the sum of all
scores. Needs the trainer's environment and its `src` on the path.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy
import onnxruntime

FEATURES, ROWS = 20, 1_000


def make(folder, trees):
    import lightgbm

    from feedplane_trainer import export

    random = numpy.random.default_rng(20140101)
    x = random.normal(size=(20_000, FEATURES)).astype(numpy.float32)
    y = x[:, 0] * x[:, 1] + numpy.sin(x[:, 2]) + 0.5 * random.normal(size=len(x))
    names = [f"f{at}" for at in range(FEATURES)]
    options = {"objective": "regression", "num_leaves": 63, "max_depth": 8, "learning_rate": 0.05, "seed": 1,
               "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(x, y, feature_name=names), max(trees))
    (folder / "rows").write_bytes(random.normal(size=(ROWS, FEATURES)).astype("<f4").tobytes())
    for count in trees:
        part = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=count))
        data = export.to_onnx(part, "bench")
        card = {
            "name": "bench", "version": count, "onnx_sha256": hashlib.sha256(data).hexdigest(),
            "input": {"name": export.INPUT, "set": "bench", "schema_id": "0" * 16, "features": names},
            "output": {"name": export.OUTPUT, "unit": "bps", "horizon_ms": 1},
            "trained": {"data": {}, "metrics": {}, "seed": 1, "versions": {}},
        }
        (folder / str(count)).mkdir()
        (folder / str(count) / "model.onnx").write_bytes(data)
        (folder / str(count) / "card.json").write_text(json.dumps(card))
    return {}


def measure(folder, trees, in_one):
    rows = numpy.frombuffer((folder / "rows").read_bytes(), "<f4").reshape(-1, FEATURES)
    calls = [rows] if in_one else [rows[at : at + 1] for at in range(len(rows))]
    result = {"ns": [], "sums": []}
    for count in trees:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = (folder / str(count) / "model.onnx").read_bytes()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for call in calls[:50]:
            session.run(None, {"features": call})
        began = time.perf_counter_ns()
        scores = [session.run(None, {"features": call})[0] for call in calls]
        result["ns"].append((time.perf_counter_ns() - began) / len(rows))
        result["sums"].append(float(numpy.concatenate(scores).sum(dtype=numpy.float64)))
    return result


def main():
    what, folder, trees = sys.argv[1], Path(sys.argv[2]), [int(count) for count in sys.argv[3:]]
    print(json.dumps(make(folder, trees) if what == "make" else measure(folder, trees, what == "batch")))


main()
