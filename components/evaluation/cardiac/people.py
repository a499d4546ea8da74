"""People, not slices: a person's slices move together, so each person is scored once, by the mean over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.cardiac.fold import Fold, Network, TrainingSet
from components.evaluation.statistics import (
    Block,
    Difference,
    Shares,
    accuracy_shares,
    auc_shares,
    balanced_accuracy_shares,
    difference,
    unit_means,
)

SHARES: Mapping[str, Shares] = {
    "auc": auc_shares,
    "balanced_accuracy": balanced_accuracy_shares,
    "accuracy": accuracy_shares,
}
"""A person's share in each score, by the score's name."""


@dataclass(frozen=True)
class People:
    """A fold's test people, and what its classifiers answer for them.

    Attributes:
        labels: (people,) indices of the true classes.
        answers: by network and training set, (trainings, people, classes): mean probabilities over a person's slices.
    """

    labels: np.ndarray
    answers: Mapping[Network, Mapping[TrainingSet, np.ndarray]]

    @classmethod
    def of(cls, fold: Fold) -> "People":
        """The people of a fold; a network's results on one training set are its trainings, in their order."""
        names = np.array(fold.people)
        _, first = np.unique(names, return_index=True)
        found: dict[Network, dict[TrainingSet, list[np.ndarray]]] = {}
        for each in fold.classifications:
            answers = unit_means(np.array(each.probabilities), names)
            found.setdefault(each.network, {}).setdefault(each.training_set, []).append(answers)
        return cls(
            labels=np.array(fold.classifications[0].labels)[first],
            answers={network: {name: np.stack(each) for name, each in sets.items()} for network, sets in found.items()},
        )

    def fit(self, score: str) -> bool:
        """Whether these people define a score: without all classes there is no ROC curve."""
        classes = next(iter(next(iter(self.answers.values())).values())).shape[-1]
        return score != "auc" or len(np.unique(self.labels)) == classes

    def block(self, network: Network, training_set: TrainingSet, score: str) -> Block:
        """Everybody's share in the score of a network on a training set."""
        return Block(SHARES[score](self.labels, self.answers[network][training_set]), self.labels)


def gain(folds: Sequence[People], training_set: TrainingSet, baseline: TrainingSet, score: str) -> Difference:
    """What `training_set` adds over `baseline`: paired by person and training, mean over networks and folds."""
    blocks = []
    for people in folds:
        if people.fit(score):
            differences = [
                people.block(network, training_set, score).shares - people.block(network, baseline, score).shares
                for network in people.answers
            ]
            blocks.append(Block(np.mean(differences, axis=0), people.labels))
    return difference(blocks)


def score_people(folds: Sequence[People], score: str) -> dict[Network, dict[TrainingSet, float | None]]:
    """The mean over folds and trainings of a score, None where no fold defines it."""
    fit = [people for people in folds if people.fit(score)]
    return {
        network: {
            name: float(np.mean([people.block(network, name, score).scores() for people in fit])) if fit else None
            for name in sets
        }
        for network, sets in folds[0].answers.items()
    }
