"""The model folder: `model.onnx`, `card.json`, `metrics.json`, `report.html`, `train.yaml` and `check.csv`.

It appears whole or not at all: everything is written beside it and renamed at the end. The same content gives the same
bytes: no time of day and no path is in it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from . import __version__, export
from .archive import Schema
from .document import TrainDocument
from .errors import WrongDocument

# Rows whose scores are kept, so that any other reader of the file can be held against them.
CHECK_ROWS = 256
LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxruntime", "polars", "scipy")


def card(
    document: TrainDocument,
    schema: Schema,
    names: list[str],
    onnx: bytes,
    data: dict[str, Any],
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """`card.json` as docs/learning.md has it. `data` and `metrics` are what the model was trained on and how well it does."""
    versions = {"feedplane-trainer": __version__, "python": platform.python_version()}
    versions |= {library: metadata.version(library) for library in LIBRARIES}
    return {
        "name": document.name,
        "version": document.version,
        "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
        "input": {
            "name": export.INPUT,
            "set": schema.set,
            "schema_id": schema.id_hex,
            "features": names,
            "missing": document.data.missing,
        },
        "output": {"name": export.OUTPUT, "unit": "bps", "horizon_ms": document.label.horizon_ms},
        "trained": {"data": data, "metrics": metrics, "seed": document.model.seed, "versions": versions},
    }


def check_rows(onnx: bytes, names: list[str], features: NDArray[numpy.float32]) -> bytes:
    """Some rows with their scores, as CSV: each feature and the score (bps) as the shortest decimal of its `f32`."""
    if len(features) > CHECK_ROWS:
        features = features[numpy.linspace(0, len(features) - 1, CHECK_ROWS).astype(numpy.int64)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "score"])
    for row, score in zip(features, export.scores(onnx, features), strict=True):
        writer.writerow([str(value) for value in (*row, score)])
    return text.getvalue().encode()


def as_json(value: Any) -> bytes:
    """Readable JSON; what is not a finite number is null, because JSON has none."""
    return (json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def must_be_free(folder: Path) -> None:
    """Fails when there is something at the folder's place.

    Raises:
        WrongDocument: there is.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongDocument(f"{folder} is there already, and not empty: choose another folder, or remove it")
    if not folder.parent.is_dir():
        raise WrongDocument(f"{folder.parent} is no folder: make it first")


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Puts the files there, all or none.

    Raises:
        WrongDocument: something is there already, or it cannot be written.
    """
    must_be_free(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            (work / name).write_bytes(content)
        work.chmod(0o755)
        work.replace(folder)
    except OSError as error:
        raise WrongDocument(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
