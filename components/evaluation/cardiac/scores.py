"""Scores of classifiers over folds, image by image as in the paper: accuracy, and what it hides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, roc_auc_score

from components.evaluation.cardiac.fold import Classification, Fold, Network, Point, TrainingSet
from components.evaluation.summary import Summary, summarise

METRICS = ("accuracy", "balanced_accuracy", "auc")

CURVES: tuple[TrainingSet, ...] = ("egan", "simgan")
"""Of Figure 7: E-GAN images, and refined ones."""

Table = Mapping[Network, Mapping[TrainingSet, Summary]]


@dataclass(frozen=True)
class Scores:
    """Scores of every classifier on every training set.

    Attributes:
        accuracy, balanced_accuracy, auc: by network and training set; fractions, a fold's the mean over its trainings.
        majority: accuracy of always answering the training part's commonest class.
        ratio: Figure 7, accuracy by network and ratio, without classic augmentation: its beginning alone.
        ratio_augmented, ratio_refined: with it, of E-GAN images and of refined ones.
        confusion: counts[true class][answer], summed over the folds and their trainings.
    """

    accuracy: Table
    balanced_accuracy: Table
    auc: Table
    majority: Summary
    ratio: Mapping[Network, Mapping[int, Summary]]
    ratio_augmented: Mapping[Network, Mapping[int, Summary]]
    ratio_refined: Mapping[Network, Mapping[int, Summary]]
    confusion: Mapping[Network, Mapping[TrainingSet, list[list[int]]]]

    def as_json(self) -> dict[str, Any]:
        """The content of metrics.json; a ratio's value is its plain mean."""
        tree = asdict(self, dict_factory=_promised)
        for name in ("ratio", "ratio_augmented", "ratio_refined"):
            curves = tree[name].items()
            tree[name] = {network: {str(x): y["mean"] for x, y in curve.items()} for network, curve in curves}
        return tree


def score(folds: Sequence[Fold]) -> Scores:
    """Score trainings that hold the same classifiers and ratios, each fold's as many."""
    return Scores(
        accuracy=_table(folds, accuracy),
        balanced_accuracy=_table(folds, balanced_accuracy),
        auc=_table(folds, auc),
        majority=summarise(majority(first) for first, *_ in by_fold(folds).values()),
        ratio=_accuracy_by_ratio(folds, "none"),
        ratio_augmented=_accuracy_by_ratio(folds, "classic", "egan"),
        ratio_refined=_accuracy_by_ratio(folds, "classic", "simgan"),
        confusion=_confusion(folds),
    )


def by_fold(folds: Iterable[Fold]) -> dict[int, list[Fold]]:
    """The trainings of every fold, in their order."""
    found: dict[int, list[Fold]] = {}
    for fold in folds:
        found.setdefault(fold.fold, []).append(fold)
    return found


def accuracy(result: Classification) -> float:
    """Share of test images answered rightly."""
    return float(accuracy_score(result.labels, answers(result)))


def balanced_accuracy(result: Classification) -> float:
    """Mean over the classes present in the test part of the share answered rightly."""
    present = sorted(set(result.labels))
    return float(recall_score(result.labels, answers(result), labels=present, average="macro", zero_division=0))


def auc(result: Classification) -> float | None:
    """Area under the ROC curve (for more than two classes, the mean of each against the rest).

    None where a class is absent from the test part, which leaves it undefined.
    """
    probabilities = np.array(result.probabilities)
    classes = probabilities.shape[1]
    if len(set(result.labels)) < classes:
        return None
    scores = probabilities[:, 1] if classes == 2 else probabilities
    return float(roc_auc_score(result.labels, scores, multi_class="ovr"))


def answers(result: Classification) -> list[int]:
    """The likeliest class of each test image."""
    return np.argmax(result.probabilities, axis=1).tolist()


def commonest(fold: Fold) -> str:
    """The class that most training images have."""
    return max(fold.classes, key=lambda name: fold.counts["training"][name])


def majority(fold: Fold) -> float:
    """Accuracy on the test part of always answering the training part's commonest class."""
    test = fold.counts["test"]
    return test[commonest(fold)] / sum(test.values())


def _table(folds: Sequence[Fold], metric: Any) -> Table:
    """`metric` of every classification, summarised over the folds."""
    found = [
        (fold.fold, each.network, each.training_set, metric(each)) for fold in folds for each in fold.classifications
    ]
    return over_folds(found)


def by_ratio(fold: Fold, *sets: TrainingSet) -> list[Classification | Point]:
    """A curve of Figure 7: the points that the tables' own training sets are already, and those of the sweeps."""
    return [each for each in (*fold.classifications, *fold.points) if each.training_set in sets]


def _accuracy_by_ratio(folds: Sequence[Fold], *sets: TrainingSet) -> dict[Network, dict[int, Summary]]:
    found = [
        (fold.fold, each.network, each.ratio, each.accuracy if isinstance(each, Point) else accuracy(each))
        for fold in folds
        for each in by_ratio(fold, *sets)
    ]
    return over_folds(found)


def over_folds(found: Iterable[tuple[int, Network, Any, float | None]]) -> dict[Network, dict[Any, Summary]]:
    """Values by fold, network and what else tells them apart; mean over a fold's, summarised over the folds."""
    values: dict[Network, dict[Any, dict[int, list[float | None]]]] = {}
    for fold, network, key, value in found:
        values.setdefault(network, {}).setdefault(key, {}).setdefault(fold, []).append(value)
    return {
        network: {key: summarise(summarise(each).mean for each in folds.values()) for key, folds in table.items()}
        for network, table in values.items()
    }


def _confusion(folds: Sequence[Fold]) -> dict[Network, dict[TrainingSet, list[list[int]]]]:
    counts: dict[Network, dict[TrainingSet, np.ndarray]] = {}
    for fold in folds:
        for each in fold.classifications:
            matrix = confusion_matrix(each.labels, answers(each), labels=range(len(fold.classes)))
            sets = counts.setdefault(each.network, {})
            sets[each.training_set] = sets.get(each.training_set, 0) + matrix
    return {network: {name: each.tolist() for name, each in sets.items()} for network, sets in counts.items()}


def _promised(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """In metrics.json a summary's values are called what they are here: folds."""
    return {"folds" if name == "values" else name: value for name, value in fields}
