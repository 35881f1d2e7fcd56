"""feedplane-trainer: from the archive to a model folder. What it does and why is in docs/training.md."""

__version__ = "0.1.0"
