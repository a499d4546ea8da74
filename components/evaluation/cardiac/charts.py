"""The charts of the cardiac report, each with the data that `dvc plots` draws."""

import math
from collections.abc import Iterable, Mapping, Sequence

from components.evaluation.cardiac.fold import Network
from components.evaluation.cardiac.published import ACCURACY, NETWORK_NAMES, SET_NAMES
from components.evaluation.cardiac.scores import Scores
from components.evaluation.charts import Chart, Look, Series
from components.evaluation.curves import Line, curve_chart, middles
from components.evaluation.histories import History, windowed
from components.evaluation.summary import Summary

UNMEASURED = Summary(math.nan, math.nan, ())

MUTATION = "fitness_"
"""Prefix of the columns of an E-GAN history that hold a child's fitness; their order numbers the survivors."""

EGAN_COLUMNS = {
    "discriminator_loss": "Discriminator loss",
    "fitness": "Fitness of the survivor",
    "quality": "Quality of the survivor",
    "diversity": "Diversity of the survivor",
}


REFINER_COLUMNS = {
    "discriminator_loss": "Discriminator loss",
    "refiner_loss": "Refiner loss",
    "realism_loss": "Realism loss",
    "change": "Change",
    "sharpness_ratio": "Sharpness, of the input's",
}


def accuracy_charts(scores: Scores) -> list[Chart]:
    """Tables 2 and 3 as pictures: ours, every fold, the paper's, and the majority line; one chart a classifier."""
    ours = [value for sets in scores.accuracy.values() for each in sets.values() for value in each.values]
    papers = [value for network in scores.accuracy for value in ACCURACY[network].values()]
    limits = _limits([*ours, *papers, scores.majority.mean])
    return [_accuracy_chart(network, scores, limits) for network in scores.accuracy]


def ratio_charts(scores: Scores) -> list[Chart]:
    """Figure 7: accuracy against the ratio of synthetic images; one chart a classifier."""
    curves = [*scores.ratio.values(), *scores.ratio_augmented.values()]
    ends = [each.mean + sign * each.std for curve in curves for each in curve.values() for sign in (-1, 1)]
    limits = _limits([*ends, scores.majority.mean])
    return [_ratio_chart(network, scores, limits) for network in scores.ratio]


def egan_charts(histories: Mapping[str, Sequence[History]], windows: int) -> list[Chart]:
    """Loss, fitness, quality and diversity by generation, a line a class; `histories` are by class, then fold."""
    return [
        curve_chart(
            f"egan-{column}",
            title,
            "Generation",
            [Line(name, name, column, folds) for name, folds in histories.items()],
            windows,
        )
        for column, title in EGAN_COLUMNS.items()
    ]


def survivor_charts(histories: Mapping[str, Sequence[History]], windows: int) -> list[Chart]:
    """Share of each mutation among the survivors; one chart a class."""
    return [_survivor_chart(name, folds, windows) for name, folds in histories.items()]


def refiner_charts(histories: Sequence[History], windows: int) -> list[Chart]:
    """Losses, change and sharpness while the refiner trains, as far as every fold measured them, by fold."""
    return [
        curve_chart(f"simgan-{column}", title, "Step", [Line(column, "", column, histories)], windows)
        for column, title in REFINER_COLUMNS.items()
        if all(column in history for history in histories)
    ]


def classifier_charts(network: Network, histories: Mapping[str, Sequence[History]], windows: int) -> list[Chart]:
    """Training loss and accuracy, a line a training set; `histories` are by training set, then fold."""

    def chart(column: str, title: str, percent: bool) -> Chart:
        lines = [Line(name, SET_NAMES[name], column, folds) for name, folds in histories.items()]
        return curve_chart(f"{network}-{column}", f"{NETWORK_NAMES[network]}: {title}", "Step", lines, windows, percent)

    return [chart("loss", "training loss", False), chart("accuracy", "training accuracy (%)", True)]


def _accuracy_chart(network: Network, scores: Scores, limits: tuple[float, float]) -> Chart:
    ours = [scores.accuracy[network][name] for name in SET_NAMES]
    by_fold = zip(*(each.values for each in ours), strict=True)
    return Chart(
        f"accuracy-{network}",
        f"{NETWORK_NAMES[network]}: accuracy (%)",
        "training_set",
        "",
        list(SET_NAMES.values()),
        [
            _summary_series("ours", "Ours, mean ± std", ours, "points", 0),
            *(Series(f"fold_{n}", "" if n else "Each fold", values, "faint") for n, values in enumerate(by_fold)),
            Series("paper", "Fu et al. 2021", [ACCURACY[network][name] for name in SET_NAMES], "hollow", 1),
            _majority_series(scores.majority, len(SET_NAMES)),
        ],
        percent=True,
        limits=limits,
    )


def _ratio_chart(network: Network, scores: Scores, limits: tuple[float, float]) -> Chart:
    both = (scores.ratio[network], scores.ratio_augmented[network])
    ratios = sorted(set().union(*both))
    plain, augmented = ([curve.get(ratio, UNMEASURED) for ratio in ratios] for curve in both)
    return Chart(
        f"ratio-{network}",
        f"{NETWORK_NAMES[network]}: accuracy (%)",
        "ratio",
        "E-GAN images per real image",
        ratios,
        [
            _summary_series("plain", "Without classic augmentation", plain, "line", 0),
            _summary_series("classic", "With classic augmentation", augmented, "line", 1),
            _majority_series(scores.majority, len(ratios)),
        ],
        percent=True,
        limits=limits,
    )


def _survivor_chart(class_name: str, folds: Sequence[History], windows: int) -> Chart:
    names = [column.removeprefix(MUTATION) for column in folds[0] if column.startswith(MUTATION)]
    shares = [
        windowed([(fold["survivor"] == index).astype(float) for fold in folds], windows).mean(axis=0)
        for index in range(len(names))
    ]
    return Chart(
        f"survivors-{class_name}",
        f"Class “{class_name}”: share of the survivors (%)",
        "generation",
        "Generation",
        middles(folds, windows),
        [
            Series(name, name.replace("_", " ").capitalize(), share.tolist(), "share", colour)
            for colour, (name, share) in enumerate(zip(names, shares, strict=True))
        ],
        percent=True,
        limits=(0, 1),
    )


def _summary_series(name: str, label: str, summaries: Sequence[Summary], look: Look, colour: int) -> Series:
    """Means, with standard deviations."""
    means, spreads = [each.mean for each in summaries], [each.std for each in summaries]
    return Series(name, label, means, look, colour, spreads)


def _majority_series(majority: Summary, count: int) -> Series:
    return Series("majority", "Always the commoner class", [majority.mean] * count, "reference")


def _limits(values: Iterable[float]) -> tuple[float, float]:
    """Whole steps of 5 % around fractions, so that charts beside each other share one axis."""
    values = list(values)
    return math.floor(min(values) * 20 - 0.2) / 20, math.ceil(max(values) * 20 + 0.2) / 20
