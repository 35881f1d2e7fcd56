"""The original design, faithfully small: what feedplane is compared with. See README.md."""
