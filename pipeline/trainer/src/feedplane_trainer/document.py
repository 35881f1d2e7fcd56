"""train.yaml as types: what is read, what is predicted, how it is judged and how it is fitted.

Every field is explained where it stands. A field that is not known here is an error that names its path, as in all
documents of feedplane. Units are in the names.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from .errors import WrongDocument

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
# Bits of `q`, as docs/features.md has them.
QUALITY_BITS = {"bad_book": 1, "gap_in_window": 2, "warming_up": 4, "bad_time": 8}
Quality = Literal["bad_book", "gap_in_window", "warming_up", "bad_time"]
TIME_OF_DAY = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$")
DAY_NS = 86_400_000_000_000


class MidSection(Struct, forbid_unknown_fields=True, frozen=True):
    """Where the middle is taken from."""

    # A feature set that has it, of the same features stream.
    set: str
    # The value in that set, in price.
    value: str = "mid"


class SessionSection(Struct, forbid_unknown_fields=True, frozen=True):
    """The hours of a day that count. An end that is not after the start is on the next day."""

    # HH:MM or HH:MM:SS, UTC.
    start: str
    end: str

    def start_ns(self) -> int:
        """From midnight UTC, ns."""
        return _time_of_day_ns(self.start, "$.data.session.start")

    def length_ns(self) -> int:
        """From start to end, ns: above 0, at most a day."""
        length = (_time_of_day_ns(self.end, "$.data.session.end") - self.start_ns()) % DAY_NS
        return length or DAY_NS


class DataSection(Struct, forbid_unknown_fields=True, frozen=True):
    """What is read from the archive."""

    # Symbols, or publisher:instrument where a symbol is not unique.
    instruments: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    # The feature set whose records are the rows.
    set: str
    # From here (included) to there (not included), UTC.
    begin: datetime
    end: datetime
    # Values of the set, in the order in which the model will have them; all of the set, when left out.
    features: Annotated[list[str], Meta(min_length=1, max_length=1000)] | None = None
    # The middle; the value `mid` of the set itself, when left out.
    mid: MidSection | None = None
    # A record with one of these bits is no row. All, when left out: what the model will be asked in service.
    leave_out: list[Quality] = msgspec.field(default_factory=lambda: list(QUALITY_BITS))
    # A row with a missing value (NaN): left out, or kept and given to the model as it is. The card says which.
    missing: Literal["skip", "nan"] = "skip"
    # The hours that count; all, when left out.
    session: SessionSection | None = None
    # A longer time without a record of the middle ends the session. 1 to 86400000.
    silence_max_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 60_000
    # Fewer rows than these are no ground to judge a model on. At least 100.
    rows_min: Annotated[int, Meta(ge=100)] = 5_000
    # More records than these are not read: at the peak each takes some 450 bytes, and 16 for each feature.
    rows_max: Annotated[int, Meta(ge=100, le=100_000_000)] = 5_000_000

    def left_out_bits(self) -> int:
        """The bits of `quality` of which none may be set."""
        return sum(QUALITY_BITS[name] for name in set(self.leave_out))


class LabelSection(Struct, forbid_unknown_fields=True, frozen=True):
    """What is predicted."""

    # The change of the middle over so long. 1 to 86400000.
    horizon_ms: Annotated[int, Meta(ge=1, le=86_400_000)]


class ValidationSection(Struct, forbid_unknown_fields=True, frozen=True):
    """How the model is judged."""

    # Parts of the training time that are predicted from those before them. 2 to 50.
    folds: Annotated[int, Meta(ge=2, le=50)] = 5
    # Time between the end of the last label that is trained on and the first row that is predicted, besides the purge; as
    # long as the horizon, when left out.
    embargo_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    # The last part of the rows: never trained on, predicted once.
    final_fraction: Annotated[float, Meta(ge=0.05, le=0.5)] = 0.25


class ModelSection(Struct, forbid_unknown_fields=True, frozen=True):
    """How the trees are grown."""

    trees: Annotated[int, Meta(ge=1, le=5_000)] = 200
    leaves: Annotated[int, Meta(ge=2, le=256)] = 15
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.05
    # Rows in a leaf, at least.
    leaf_rows_min: Annotated[int, Meta(ge=1)] = 100
    # Shares of rows and features that a tree is grown on.
    row_fraction: Annotated[float, Meta(gt=0, le=1)] = 1.0
    feature_fraction: Annotated[float, Meta(gt=0, le=1)] = 1.0
    l2: Annotated[float, Meta(ge=0)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    # Threads of the training; the trees do not depend on it.
    threads: Annotated[int, Meta(ge=1, le=256)] = 1


class TrainDocument(Struct, forbid_unknown_fields=True, frozen=True):
    """train.yaml."""

    # PostgreSQL, as the archiver's document has it. A password is better left to PGPASSWORD or ~/.pgpass.
    database: str
    # Of the model, and its version: a version is never used for another model.
    name: Name
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    data: DataSection
    label: LabelSection
    validation: ValidationSection = ValidationSection()
    model: ModelSection = ModelSection()

    def horizon_ns(self) -> int:
        """The label's horizon, ns."""
        return self.label.horizon_ms * 1_000_000

    def embargo_ns(self) -> int:
        """The embargo, ns."""
        given = self.validation.embargo_ms
        return self.horizon_ns() if given is None else given * 1_000_000


def parse(text: bytes) -> TrainDocument:
    """Reads and checks a document.

    Raises:
        WrongDocument: with the path of the field and what is wrong with it.
    """
    try:
        document = msgspec.convert(yaml.safe_load(text), TrainDocument)
    except (msgspec.ValidationError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise WrongDocument(f"train.yaml: {error}") from error
    data = document.data
    if utc(data.begin) >= utc(data.end):
        raise WrongDocument(f"train.yaml: $.data.begin ({data.begin}) is not before $.data.end ({data.end})")
    for path, names in (("instruments", data.instruments), ("features", data.features or [])):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise WrongDocument(f"train.yaml: $.data.{path} names {', '.join(twice)} more than once")
    if data.session is not None:
        data.session.length_ns()
    return document


def load(path: Path) -> tuple[TrainDocument, bytes]:
    """The document of a file, and the file's bytes as they are.

    Raises:
        WrongDocument: it cannot be read or is wrong.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise WrongDocument(f"{path} cannot be read: {error.strerror}") from error
    return parse(text), text


def without_password(text: bytes) -> bytes:
    """The document as others may read it: a password in the database's address is replaced by dots."""
    text = re.sub(rb"(://[^:/@\s]*):[^@/\s]*@", rb"\1:...@", text)
    return re.sub(rb"(password=)[^&\s'\"]*", rb"\1...", text)


def utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _time_of_day_ns(text: str, path: str) -> int:
    found = TIME_OF_DAY.match(text)
    if not found:
        raise WrongDocument(f"train.yaml: {path}: '{text}' is not HH:MM or HH:MM:SS (in quotes), UTC")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000
