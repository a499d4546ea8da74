"""Linear probes: what a small classifier can tell of images by their features, and what they can teach it.

Every score is the mean over the classes of the area under the ROC curve of each against the rest.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from components.evaluation.statistics import Block, auc_shares, unit_means

PARTS = 5
"""Of the cross-validation, where there are enough people."""


def separability(features: np.ndarray, labels: np.ndarray, people: np.ndarray) -> float | None:
    """How well a linear probe tells classes of images apart, cross-validated over people; 0.5 is chance.

    Args:
        features: (N, F), scaled.
        labels: (N,) indices of the classes.
        people: (N,) whom each image shows.

    Returns:
        None where a class shows one person only.
    """
    parts = min(PARTS, *(len(np.unique(people[labels == label])) for label in np.unique(labels)))
    if parts < 2 or len(np.unique(labels)) < 2:
        return None
    scores = []
    for train, test in StratifiedGroupKFold(parts).split(features, labels, people):
        if len(np.unique(labels[train])) == len(np.unique(labels[test])) == len(np.unique(labels)):
            scores.append(_area(labels[test], _fitted(features[train], labels[train]).predict_proba(features[test])))
    return float(np.mean(scores)) if scores else None


def taught(
    features: np.ndarray, labels: np.ndarray, asked: np.ndarray, asked_labels: np.ndarray, people: np.ndarray
) -> float | None:
    """How well a linear probe that learned from some images tells the classes of other people.

    Args:
        features, labels: (N, F), scaled, and (N,): to learn from.
        asked, asked_labels: (M, F), scaled, and (M,).
        people: (M,) whom each image asked about shows; a person counts once, by the mean of the answers.

    Returns:
        None where a class is absent.
    """
    if not len(np.unique(labels)) == len(np.unique(asked_labels)) == len(np.unique([*labels, *asked_labels])) > 1:
        return None
    _, first = np.unique(people, return_index=True)
    answers = unit_means(_fitted(features, labels).predict_proba(asked), people)
    return _area(asked_labels[first], answers)


def _fitted(features: np.ndarray, labels: np.ndarray) -> LogisticRegression:
    # Features have a mean square of 1: divided by the root of their number, images have a length of about 1.
    return LogisticRegression(C=features.shape[1] ** -1.0, class_weight="balanced", max_iter=1000).fit(features, labels)


def _area(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(Block(auc_shares(labels, probabilities)[None], labels).scores()[0])
