"""The rows that a model is trained and judged on: features at t, label over (t, t + horizon], of all instruments in order of t."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from .archive import Archive, Instrument, Progress, Records, Schema
from .document import TrainDocument
from .errors import Refused
from .labels import Labelled, label

MID = "mid"


@dataclass(frozen=True)
class Dataset:
    """Rows in order of `time_ns`; arrays of one length."""

    schema: Schema
    # Columns of `features`.
    names: list[str]
    instruments: list[Instrument]
    # Place in `instruments`.
    instrument: NDArray[numpy.int32]
    # When a row is known and when its label is, ns since the epoch, UTC.
    time_ns: NDArray[numpy.int64]
    until_ns: NDArray[numpy.int64]
    # [rows, names]; NaN is "no value".
    features: NDArray[numpy.float32]
    # bps; NaN where there is no last move.
    label_bps: NDArray[numpy.float64]
    last_move_bps: NDArray[numpy.float64]
    # Records that were read, and those left out by reason.
    records: int
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.time_ns)


def read(document: TrainDocument, archive: Archive, progress: Progress) -> Dataset:
    """Reads and labels what the document asks for.

    Raises:
        Refused: the archive does not hold it, or too little of it.
    """
    data = document.data
    instruments = [archive.instrument(name) for name in data.instruments]
    plans = [(instrument, *archive.schema(instrument, data.set)) for instrument in instruments]
    schema = _one_schema(plans)
    names = data.features or schema.names
    schema.places(names)
    total = sum(count for _, _, count in plans)
    if total > data.rows_max:
        raise Refused(
            f"the window has {total} records of {data.set}, more than data.rows_max ({data.rows_max}): "
            "choose a shorter window or fewer instruments, or raise it where there is memory"
        )
    parts = []
    left_out: Counter[str] = Counter()
    for place, (instrument, _, count) in enumerate(plans):
        rows, mids = _read_one(document, archive, instrument, schema, names, count)
        gaps = archive.gaps(instrument, rows)
        values = rows.values[:, : len(names)]
        labelled = label(rows, mids, numpy.isnan(values).any(axis=1), gaps, data, document.horizon_ns())
        left_out.update(labelled.left_out)
        progress(f"{instrument.symbol}: {len(labelled.index)} of {len(rows)} records are rows, {len(gaps)} gaps")
        parts.append((place, labelled, values[labelled.index].astype(numpy.float32)))
    return _in_order(schema, names, instruments, parts, total, dict(left_out))


def _one_schema(plans: list[tuple[Instrument, Schema, int]]) -> Schema:
    schema = plans[0][1]
    for instrument, other, _ in plans:
        if other != schema:
            raise Refused(
                f"{plans[0][0].symbol} has records of the schema {schema.id_hex}, {instrument.symbol} of {other.id_hex}: "
                "a model is of one schema; train on one of them, or choose another window"
            )
    return schema


def _read_one(
    document: TrainDocument, archive: Archive, instrument: Instrument, schema: Schema, names: list[str], count: int
) -> tuple[Records, Records]:
    """The records with the asked values (and, from the set itself, the middle last), and those of the middle."""
    mid = document.data.mid
    if mid is None and MID not in schema.names:
        raise Refused(
            f"the set {schema.set} has no value mid, from which labels are made: name a set that has it in train.yaml, as "
            "`mid: {set: quotes}` under data"
        )
    if mid is not None and mid.set != schema.set:
        rows = archive.records(instrument, schema, names, count)
        mid_schema, mid_count = archive.schema(instrument, mid.set)
        if mid_count > document.data.rows_max:
            raise Refused(f"the window has {mid_count} records of {mid.set}, more than data.rows_max: choose a shorter window")
        return rows, archive.records(instrument, mid_schema, [mid.value], mid_count)
    rows = archive.records(instrument, schema, [*names, mid.value if mid else MID], count)
    return rows, rows.of_value(len(names))


def _in_order(
    schema: Schema,
    names: list[str],
    instruments: list[Instrument],
    parts: list[tuple[int, Labelled, NDArray[numpy.float32]]],
    records: int,
    left_out: dict[str, int],
) -> Dataset:
    def together(column: str) -> NDArray[numpy.float64]:
        return numpy.concatenate([getattr(labelled, column) for _, labelled, _ in parts])

    time_ns = together("time_ns")
    order = numpy.argsort(time_ns, kind="stable")
    places = numpy.concatenate([numpy.full(len(labelled.index), place, dtype=numpy.int32) for place, labelled, _ in parts])
    return Dataset(
        schema=schema,
        names=names,
        instruments=instruments,
        instrument=places[order],
        time_ns=time_ns[order],
        until_ns=together("until_ns")[order],
        features=numpy.concatenate([features for _, _, features in parts])[order],
        label_bps=together("label_bps")[order],
        last_move_bps=together("last_move_bps")[order],
        records=records,
        left_out=left_out,
    )
