"""The charts of the cardiac report, each with the data that `dvc plots` draws."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from components.evaluation.cardiac.findings import Findings
from components.evaluation.cardiac.fold import Network
from components.evaluation.cardiac.published import ACCURACY, NETWORK_NAMES, RATIOS, SET_NAMES
from components.evaluation.cardiac.scores import CURVES, Scores
from components.evaluation.charts import Chart, Look, Series
from components.evaluation.curves import Line, curve_chart, middles
from components.evaluation.histories import History, windowed
from components.evaluation.summary import Summary

UNMEASURED = Summary(math.nan, math.nan, ())

RATIO_LABEL = "Generated images per real image"
UNAUGMENTED = "Real images, not augmented"

MUTATION = "fitness_"
"""Prefix of the columns of an E-GAN history that hold a child's fitness; their order numbers the survivors."""

LIKENESS = {"sharpness_ratio": "Sharpness, real images = 1", "diversity_ratio": "Diversity, real images = 1"}
"""What the images are like while a network trains: columns of every adversarial training's history."""

EGAN_COLUMNS = {
    "discriminator_loss": "Discriminator loss",
    "fitness": "Fitness of the survivor",
    "quality": "Quality of the survivor",
    "diversity": "Diversity in the survivor’s fitness",
}


REFINER_COLUMNS = {
    "discriminator_loss": "Discriminator loss",
    "refiner_loss": "Refiner loss",
    "realism_loss": "Realism loss",
    "change": "Change",
}


def area_charts(findings: Findings) -> list[Chart]:
    """The area under the curve of the people compared, by training set; one chart a classifier."""
    every = [value for sets in findings.areas.values() for each in sets.values() for value in each.values]
    return [_area_chart(network, findings, _limits([*every, 0.5])) for network in findings.areas]


def accuracy_charts(scores: Scores) -> list[Chart]:
    """Tables 2 and 3 as pictures: ours, every fold, the paper's, and the majority line; one chart a classifier."""
    ours = [value for sets in scores.accuracy.values() for each in sets.values() for value in each.values]
    papers = [value for network in scores.accuracy for value in ACCURACY[network].values()]
    limits = _limits([*ours, *papers, scores.majority.mean])
    return [_accuracy_chart(network, scores, limits) for network in scores.accuracy]


def ratio_charts(scores: Scores, findings: Findings) -> list[Chart]:
    """Figure 7: the area of people, and accuracy, against the ratio of generated images; one chart a classifier of
    each, with a curve of E-GAN images and one of refined ones.
    """
    accuracies = [scores.ratio, scores.ratio_augmented, scores.ratio_refined]
    papers = [value for network in scores.ratio for value in ACCURACY[network].values()]
    limits = _limits([*_every_end(accuracies), *papers, scores.majority.mean])
    areas = [sets["none"] for sets in findings.scores["auc"].values() if sets["none"] is not None]
    area_limits = _limits([*_every_end(findings.ratio.values()), *areas])
    return [
        *(_area_ratio_chart(network, findings, area_limits) for network in findings.areas),
        *(_ratio_chart(network, scores, limits) for network in scores.ratio),
    ]


def egan_charts(histories: Mapping[str, Sequence[History]], windows: int) -> list[Chart]:
    """What the images are like, loss, fitness and its parts by generation; `histories` are by class, then fold."""

    def chart(column: str, title: str) -> Chart:
        lines = [Line(name, name, column, folds) for name, folds in histories.items()]
        return curve_chart(f"egan-{column}", title, "Generation", lines, windows)

    return [
        *(_beside_real(chart(column, title)) for column, title in LIKENESS.items()),
        *(chart(column, title) for column, title in EGAN_COLUMNS.items()),
    ]


def survivor_charts(histories: Mapping[str, Sequence[History]], windows: int) -> list[Chart]:
    """Share of each mutation among the survivors; one chart a class."""
    return [_survivor_chart(name, folds, windows) for name, folds in histories.items()]


def refiner_charts(histories: Sequence[History], inputs: Mapping[str, Sequence[float]], windows: int) -> list[Chart]:
    """What the images are like, losses and change while the refiner trains, by fold.

    Args:
        histories: their `LIKENESS` is to the refiner's input, which changes least from batch to batch.
        inputs: that of each fold's input to the real images, by column.
    """

    def chart(column: str, title: str, folds: Sequence[History], label: str = "") -> Chart:
        return curve_chart(f"simgan-{column}", title, "Step", [Line(column, label, column, folds)], windows)

    to_real = [
        {column: history[column] * inputs[column][fold] for column in LIKENESS} | {"step": history["step"]}
        for fold, history in enumerate(histories)
    ]
    return [
        *(_beside_real(chart(column, title, to_real, "Refined images")) for column, title in LIKENESS.items()),
        *(
            chart(column, title, histories)
            for column, title in REFINER_COLUMNS.items()
            if all(column in history for history in histories)
        ),
    ]


def classifier_charts(network: Network, histories: Mapping[str, Sequence[History]], windows: int) -> list[Chart]:
    """Training loss and accuracy, a line a training set; `histories` are by training set, then fold."""

    def chart(column: str, title: str, percent: bool) -> Chart:
        lines = [Line(name, SET_NAMES[name], column, folds) for name, folds in histories.items()]
        return curve_chart(f"{network}-{column}", f"{NETWORK_NAMES[network]}: {title}", "Step", lines, windows, percent)

    return [chart("loss", "training loss", False), chart("accuracy", "training accuracy (%)", True)]


def _area_chart(network: Network, findings: Findings, limits: tuple[float, float]) -> Chart:
    areas = findings.areas[network]
    ours = list(areas.values())
    by_training = zip(*(each.values for each in ours), strict=True)
    return Chart(
        f"auc-{network}",
        f"{NETWORK_NAMES[network]}: area under the ROC curve, of {'external ' if findings.external else ''}people",
        "training_set",
        "",
        [SET_NAMES[name] for name in areas],
        [
            _summary_series("ours", "Mean ± std over trainings", ours, "points", 0),
            *(
                Series(f"training_{n}", "" if n else "Each training", values, "faint")
                for n, values in enumerate(by_training)
            ),
            Series("chance", "Chance", [0.5] * len(areas), "reference"),
        ],
        limits=limits,
    )


def _accuracy_chart(network: Network, scores: Scores, limits: tuple[float, float]) -> Chart:
    sets = scores.accuracy[network]
    ours = list(sets.values())
    by_fold = zip(*(each.values for each in ours), strict=True)
    return Chart(
        f"accuracy-{network}",
        f"{NETWORK_NAMES[network]}: accuracy (%)",
        "training_set",
        "",
        [SET_NAMES[name] for name in sets],
        [
            _summary_series("ours", "Ours, mean ± std", ours, "points", 0),
            *(Series(f"fold_{n}", "" if n else "Each fold", values, "faint") for n, values in enumerate(by_fold)),
            Series("paper", "Fu et al. 2021", [ACCURACY[network].get(name, math.nan) for name in sets], "hollow", 1),
            _majority_series(scores.majority, len(sets)),
        ],
        percent=True,
        limits=limits,
    )


def _area_ratio_chart(network: Network, findings: Findings, limits: tuple[float, float]) -> Chart:
    egan, refined = (findings.ratio[name][network] for name in CURVES)
    ratios = sorted({*egan, *refined})
    area = findings.scores["auc"][network]["none"]
    return Chart(
        f"ratio-auc-{network}",
        f"{NETWORK_NAMES[network]}: area under the ROC curve, of people",
        "ratio",
        RATIO_LABEL,
        ratios,
        [
            *_ratio_series(egan, refined, ratios),
            Series("none", UNAUGMENTED, _at({0: math.nan if area is None else area}, ratios), "hollow", 2),
        ],
        limits=limits,
    )


def _ratio_chart(network: Network, scores: Scores, limits: tuple[float, float]) -> Chart:
    plain, egan, refined = (curves[network] for curves in (scores.ratio, scores.ratio_augmented, scores.ratio_refined))
    papers = {ratio: ACCURACY[network][name] for name, ratio in RATIOS.items()}
    ratios = sorted({*egan, *refined, *papers})
    return Chart(
        f"ratio-{network}",
        f"{NETWORK_NAMES[network]}: accuracy (%)",
        "ratio",
        RATIO_LABEL,
        ratios,
        [
            *_ratio_series(egan, refined, ratios),
            Series("none", UNAUGMENTED, _at({0: plain[0].mean}, ratios), "hollow", 2),
            Series("published", "Fu et al. 2021", _at(papers, ratios), "hollow", 3),
            _majority_series(scores.majority, len(ratios)),
        ],
        percent=True,
        limits=limits,
    )


def _ratio_series(egan: Mapping[int, Summary], refined: Mapping[int, Summary], ratios: Sequence[int]) -> list[Series]:
    """Both curves of Figure 7; where they begin they are one: the training set `classic`."""
    return [
        _summary_series(name, label, [curve.get(ratio, UNMEASURED) for ratio in ratios], "line", colour)
        for colour, (name, label, curve) in enumerate(
            (("egan", "E-GAN images", egan), ("simgan", "Refined (SimGAN) images", refined))
        )
    ]


def _at(values: Mapping[int, float], ratios: Sequence[int]) -> list[float]:
    return [values.get(ratio, math.nan) for ratio in ratios]


def _beside_real(chart: Chart) -> Chart:
    """The chart with a line where real images stand."""
    return replace(chart, series=[*chart.series, Series("real", "Real images", [1.0] * len(chart.x), "reference")])


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
    means, spreads = zip(
        *((math.nan, math.nan) if each.mean is None else (each.mean, each.std) for each in summaries), strict=True
    )
    return Series(name, label, means, look, colour, spreads)


def _majority_series(majority: Summary, count: int) -> Series:
    return Series("majority", "Always the commoner class", [majority.mean] * count, "reference")


def _every_end(curves: Iterable[Mapping[Network, Mapping[int, Summary]]]) -> list[float]:
    return [end for each in curves for curve in each.values() for point in curve.values() for end in _ends(point)]


def _ends(summary: Summary) -> list[float]:
    """One standard deviation to either side of the mean; nothing where there is none."""
    return [] if summary.mean is None else [summary.mean + sign * summary.std for sign in (-1, 1)]


def _limits(values: Iterable[float]) -> tuple[float, float]:
    """Whole steps of 5 % around fractions, so that charts beside each other share one axis."""
    values = list(values)
    return math.floor(min(values) * 20 - 0.2) / 20, math.ceil(max(values) * 20 + 0.2) / 20
