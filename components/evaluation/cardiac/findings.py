"""The paper's question, answered in words from the numbers: do generated images help a classifier?"""

from dataclasses import dataclass

from components.evaluation.cardiac.fold import Network, TrainingSet
from components.evaluation.cardiac.published import ACCURACY, NETWORK_NAMES, SET_NAMES
from components.evaluation.cardiac.scores import Scores, gain
from components.evaluation.page import percent, plus_minus, points
from components.evaluation.summary import Summary

GENERATED: tuple[TrainingSet, ...] = ("egan", "simgan")
COMPARISONS: tuple[tuple[TrainingSet, TrainingSet], ...] = (
    ("classic", "none"),
    ("egan", "none"),
    ("simgan", "none"),
    ("egan", "classic"),
    ("simgan", "classic"),
    ("simgan", "egan"),
)


@dataclass(frozen=True)
class Gain:
    """What a training set adds over another: paired by fold, mean over the classifiers; fractions.

    Attributes:
        published: the paper's difference in accuracy.
    """

    training_set: TrainingSet
    baseline: TrainingSet
    accuracy: Summary
    balanced_accuracy: Summary
    auc: Summary
    published: float

    @property
    def title(self) -> str:
        baseline = SET_NAMES[self.baseline]
        return f"{SET_NAMES[self.training_set]} over {baseline if self.baseline in GENERATED else baseline.lower()}"


@dataclass(frozen=True)
class Best:
    """The classifier and training set with the highest mean accuracy, balanced accuracy deciding a tie."""

    network: Network
    training_set: TrainingSet
    accuracy: Summary
    balanced_accuracy: Summary


def gains(scores: Scores) -> list[Gain]:
    """Every comparison of two training sets that is worth a line."""
    return [_gain(scores, chosen, baseline) for chosen, baseline in COMPARISONS]


def best(scores: Scores) -> Best:
    """The best of all classifiers and training sets."""
    every = [
        Best(network, name, accuracy, scores.balanced_accuracy[network][name])
        for network, sets in scores.accuracy.items()
        for name, accuracy in sets.items()
    ]
    return max(every, key=lambda each: (each.accuracy.mean, each.balanced_accuracy.mean))


def verdict(scores: Scores) -> str:
    """One sentence: what the better kind of generated image does, and whether that is more than noise."""
    gain = max((_gain(scores, name, "none") for name in GENERATED), key=lambda each: each.accuracy.mean)
    name = SET_NAMES[gain.training_set]
    if gain.accuracy.mean <= 0 and gain.balanced_accuracy.mean <= 0:
        return "No: generated images do not raise the classifiers’ accuracy here."
    if len(scores.majority.values) == 1:
        return f"Open: {name} images change accuracy, but one fold cannot say whether by chance."
    match _clear(gain.accuracy), _clear(gain.balanced_accuracy):
        case True, True:
            return f"Yes: {name} images raise accuracy and balanced accuracy by more than one standard deviation."
        case True, False:
            return f"Only accuracy: {name} images raise it clearly, balanced accuracy they do not."
        case False, True:
            return f"Only balanced accuracy: {name} images raise it clearly, accuracy they do not."
        case _:
            return f"Not shown: the change by {name} images is within one standard deviation over the folds."


def answer(scores: Scores) -> list[str]:
    """The verdict's numbers: what either kind of image changes, and where the best classifier stands."""
    return [_changes(scores), _standing(scores)]


def _changes(scores: Scores) -> str:
    changes = [
        f"{SET_NAMES[name]} images change accuracy by {plus_minus(gain.accuracy, 'points')} points "
        f"and balanced accuracy by {plus_minus(gain.balanced_accuracy, 'points')}"
        for name, gain in ((name, _gain(scores, name, "none")) for name in GENERATED)
    ]
    networks = " and ".join(NETWORK_NAMES[network] for network in scores.accuracy)
    count = len(scores.majority.values)
    folds = f"mean ± standard deviation over {count} folds" if count > 1 else "one fold"
    return f"Against the real images alone, {'; '.join(changes)} ({networks}, {folds})."


def _standing(scores: Scores) -> str:
    leader, line = best(scores), scores.majority.mean
    name = f"{NETWORK_NAMES[leader.network]} on “{SET_NAMES[leader.training_set]}”"
    accuracy = f"{percent(leader.accuracy.mean)} % accuracy"
    distance = leader.accuracy.mean - line
    if abs(distance) < 0.0005:
        standing = "exactly what always answering the commoner class gets: accuracy says nothing here"
    elif distance < 0:
        standing = f"{points(-distance)[1:]} points below always answering the commoner class ({percent(line)} %)"
    else:
        standing = f"{points(distance)[1:]} points above always answering the commoner class ({percent(line)} %)"
    balanced = percent(leader.balanced_accuracy.mean)
    return f"The most accurate is {name}: {accuracy}, {standing}; its balanced accuracy is {balanced} %."


def _gain(scores: Scores, chosen: TrainingSet, baseline: TrainingSet) -> Gain:
    tables = (scores.accuracy, scores.balanced_accuracy, scores.auc)
    published = [ACCURACY[network][chosen] - ACCURACY[network][baseline] for network in scores.accuracy]
    return Gain(chosen, baseline, *(gain(table, chosen, baseline) for table in tables), sum(published) / len(published))


def _clear(change: Summary) -> bool:
    """Whether a gain is more than one standard deviation over the folds."""
    return change.mean > change.std
