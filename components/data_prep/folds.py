"""Folds: patients, never images, are dealt out, so that no patient stands on both sides of a split."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold


def assign_folds(labels: np.ndarray, patients: np.ndarray, folds: Sequence[int], seed: int) -> np.ndarray:
    """The fold in whose test part each image stands.

    Every patient has one label, so the patients of each class go, largest first, to the fold that has the fewest
    images of that class; `seed` decides between equals.

    Args:
        labels: (N,) class of every image.
        patients: (N,) whom every image shows.
        folds: the folds' names, each class having at least as many patients.
        seed: another one deals differently.

    Returns:
        (N,) int64, a name of `folds` for every image.
    """
    assigned = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=len(folds), shuffle=True, random_state=seed)
    for fold, (_, test) in zip(folds, splitter.split(labels, labels, patients), strict=True):
        assigned[test] = fold
    return assigned
