"""Gradient boosted regression trees, set so that the same rows and seed give the same trees.

Source: Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017. Nothing is sampled unless
the document asks for it, histograms are added up in one order whatever the number of threads (`deterministic`,
`force_row_wise`), and there is no early stopping: a number of trees found on the rows that judge the model would be one
more thing fitted to them.
"""

from __future__ import annotations

import lightgbm
import numpy
from numpy.typing import NDArray

from .document import ModelSection


def fit(
    features: NDArray[numpy.float32], labels_bps: NDArray[numpy.float64], names: list[str], model: ModelSection
) -> lightgbm.Booster:
    """Trees that predict `labels_bps` from rows [rows, features].

    The features are `f32` because that is what the graph takes in service: a tree must not split between two values that
    are one there.
    """
    parameters = {
        "objective": "regression",
        "num_leaves": model.leaves,
        "learning_rate": model.learning_rate,
        "min_data_in_leaf": model.leaf_rows_min,
        "bagging_fraction": model.row_fraction,
        "bagging_freq": 1 if model.row_fraction < 1 else 0,
        "feature_fraction": model.feature_fraction,
        "lambda_l2": model.l2,
        "seed": model.seed,
        "num_threads": model.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(features, label=labels_bps, feature_name=names, params={"verbosity": -1})
    return lightgbm.train(parameters, data, num_boost_round=model.trees)
