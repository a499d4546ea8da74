"""People, not slices: a person's slices move together, so each person is scored once, by the mean over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.cardiac.fold import Fold, Network, TrainingSet
from components.evaluation.cardiac.scores import by_ratio, over_folds
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
from components.evaluation.summary import Summary, summarise

SHARES: Mapping[str, Shares] = {
    "auc": auc_shares,
    "balanced_accuracy": balanced_accuracy_shares,
    "accuracy": accuracy_shares,
}
"""A person's share in each score, by the score's name."""


@dataclass(frozen=True)
class People:
    """People whom the same classifiers answer for: a fold's test people, or the external ones.

    Attributes:
        labels: (people,) indices of the true classes.
        answers: by network and training set, (trainings, people, classes): mean probabilities over a person's slices.
        parts: training parts that the trainings are of: 1 for a fold's people, all folds for external ones.
    """

    labels: np.ndarray
    answers: Mapping[Network, Mapping[TrainingSet, np.ndarray]]
    parts: int = 1

    @classmethod
    def of(cls, *replicates: Fold) -> "People":
        """The test people of one fold; a network's results on one training set are its trainings, in their order."""
        found: dict[Network, dict[TrainingSet, list[np.ndarray]]] = {}
        for fold in replicates:
            for each in fold.classifications:
                answers = unit_means(np.array(each.probabilities), np.array(fold.people))
                found.setdefault(each.network, {}).setdefault(each.training_set, []).append(answers)
        first = replicates[0]
        return cls(_of_people(first.classifications[0].labels, first.people), _stacked(found))

    @classmethod
    def external(cls, trainings: Sequence[Fold]) -> "People | None":
        """The external test people, whom every fold's every training answers for; None where there are none."""
        first = trainings[0]
        if not first.external_people:
            return None
        found: dict[Network, dict[TrainingSet, list[np.ndarray]]] = {}
        for fold in trainings:
            for each in fold.classifications:
                answers = unit_means(np.array(each.external.probabilities), np.array(fold.external_people))
                found.setdefault(each.network, {}).setdefault(each.training_set, []).append(answers)
        labels = _of_people(first.classifications[0].external.labels, first.external_people)
        return cls(labels, _stacked(found), parts=len({fold.fold for fold in trainings}))

    def fit(self, score: str) -> bool:
        """Whether these people define a score: without all classes there is no ROC curve."""
        classes = next(iter(next(iter(self.answers.values())).values())).shape[-1]
        return score != "auc" or len(np.unique(self.labels)) == classes

    def block(self, network: Network, training_set: TrainingSet, score: str) -> Block:
        """Everybody's share in the score of a network on a training set."""
        return Block(SHARES[score](self.labels, self.answers[network][training_set]), self.labels, self.parts)


def gain(blocks: Sequence[People], training_set: TrainingSet, baseline: TrainingSet, score: str) -> Difference:
    """What `training_set` adds over `baseline`: paired by person and training, mean over networks and folds.

    Args:
        blocks: the folds' people, or the external ones alone.
    """
    found = []
    for people in blocks:
        if people.fit(score):
            differences = [
                people.block(network, training_set, score).shares - people.block(network, baseline, score).shares
                for network in people.answers
            ]
            found.append(Block(np.mean(differences, axis=0), people.labels, people.parts))
    return difference(found)


def score_people(blocks: Sequence[People], score: str) -> dict[Network, dict[TrainingSet, float | None]]:
    """The mean over folds and trainings of a score, None where no fold defines it.

    Of external people, too, it is the mean of the trainings' scores, not the score of their averaged answers: what is
    compared, and what one would ship, is a model, not a committee of four.
    """
    fit = [people for people in blocks if people.fit(score)]
    return {
        network: {
            name: float(np.mean([people.block(network, name, score).scores() for people in fit])) if fit else None
            for name in sets
        }
        for network, sets in blocks[0].answers.items()
    }


def training_scores(blocks: Sequence[People], score: str) -> dict[Network, dict[TrainingSet, Summary]]:
    """A score of every training of every block that defines it."""
    fit = [people for people in blocks if people.fit(score)]
    return {
        network: {
            name: summarise(float(each) for people in fit for each in people.block(network, name, score).scores())
            for name in sets
        }
        for network, sets in blocks[0].answers.items()
    }


def areas_by_ratio(trainings: Sequence[Fold], training_set: TrainingSet) -> dict[Network, dict[int, Summary]]:
    """Figure 7 by people: the area under the curve by the ratio of the set's images on top of classic augmentation."""
    found = [
        (fold.fold, each.network, each.ratio, _area(fold, each.probabilities))
        for fold in trainings
        for each in by_ratio(fold, "classic", training_set)
    ]
    return over_folds(found)


def _area(fold: Fold, probabilities: Sequence[Sequence[float]]) -> float | None:
    """Under the curve of the fold's people; None where a class is absent."""
    answers = unit_means(np.array(probabilities), np.array(fold.people))
    labels = _of_people(fold.classifications[0].labels, fold.people)
    if len(np.unique(labels)) < answers.shape[-1]:
        return None
    return float(Block(auc_shares(labels, answers)[None], labels).scores()[0])


def _of_people(labels: Sequence[int], people: Sequence[str]) -> np.ndarray:
    """Every person's label, in the order of their names."""
    _, first = np.unique(np.array(people), return_index=True)
    return np.array(labels)[first]


def _stacked(
    found: Mapping[Network, Mapping[TrainingSet, Sequence[np.ndarray]]],
) -> dict[Network, dict[TrainingSet, np.ndarray]]:
    return {network: {name: np.stack(each) for name, each in sets.items()} for network, sets in found.items()}
