"""What ends a run, each with the exit code that says what to do about it.

| code | meaning | try again? |
|---|---|---|
| 0 | a model was written, or `--dry-run` was through | |
| 1 | a fault of the program | no: report it |
| 2 | train.yaml or the command line is wrong, or the folder is in use | no: change it |
| 3 | the archive does not hold what is asked for | when it does |
| 4 | the database cannot be reached, or ended the connection | yes |
| 5 | `--require-better`, and the model is not better than the naive baselines | with other data |
"""

from __future__ import annotations

OK = 0
WRONG_DOCUMENT = 2
REFUSED = 3
UNREACHABLE = 4
NOT_BETTER = 5


class TrainerError(Exception):
    """Ends the run; the message says what to do."""

    code = 1


class WrongDocument(TrainerError):
    """train.yaml or the command line asks for what cannot be."""

    code = WRONG_DOCUMENT


class Refused(TrainerError):
    """The data does not allow an honest model."""

    code = REFUSED


class Unreachable(TrainerError):
    """The database cannot be asked."""

    code = UNREACHABLE
