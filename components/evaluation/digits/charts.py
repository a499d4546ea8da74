"""The charts of the digits report, each with the data that `dvc plots` draws."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.evaluation.charts import Chart, Series
from components.evaluation.curves import Line, curve_chart
from components.evaluation.digits.judging import Judgement
from components.evaluation.digits.published import INCEPTION_SCORE, NETWORK_NAMES
from components.evaluation.digits.trainings import Experiment, Network
from components.evaluation.histories import History

BINS = 40
"""Of the distances to the nearest training image."""

COLOURS: dict[Network, int] = {"gan": 0, "dcgan": 1}
REAL_COLOUR = 2

LOSSES = {"discriminator_loss": "Discriminator", "generator_loss": "Generator"}
SIGNS = {"diversity_ratio": "Diversity ratio", "discriminator_margin": "Discriminator’s margin"}


def score_chart(experiment: Experiment, title: str, judgement: Judgement) -> Chart:
    """Table 3 as a picture: ours, the paper's, and the ceiling."""
    ours = [drawings.score.score for drawings in judgement.drawings.values()]
    return Chart(
        f"inception-score-{experiment}",
        f"Inception Score, {title}",
        "network",
        "",
        [NETWORK_NAMES[network] for network in judgement.drawings],
        [
            Series(
                "ours",
                "Ours, mean ± std",
                [each.mean for each in ours],
                "points",
                0,
                [each.std for each in ours],
            ),
            Series(
                "paper",
                "Liu et al. 2021",
                [INCEPTION_SCORE[network][experiment] for network in judgement.drawings],
                "hollow",
                1,
            ),
            Series("ceiling", "Real held-out images", [judgement.ceiling.score.mean] * len(ours), "reference"),
        ],
        limits=(1, len(judgement.concepts) + 0.5),
    )


def histogram_chart(experiment: Experiment, title: str, judgement: Judgement) -> Chart:
    """Shares of the concepts among the real held-out images and each generator's."""
    drawn = {network: drawings.histogram for network, drawings in judgement.drawings.items()}
    real = next(iter(drawn.values())).real
    return Chart(
        f"classes-{experiment}",
        f"Share of images (%), {title}",
        "concept",
        "Digit" if experiment == "complex" else "Writing style",
        [str(number) for number in range(len(judgement.concepts))],
        [
            Series("held_out", "Real held-out images", real, "bar", REAL_COLOUR),
            *(
                Series(network, NETWORK_NAMES[network], each.drawn, "bar", COLOURS[network])
                for network, each in drawn.items()
            ),
        ],
        percent=True,
    )


def nearest_chart(experiment: Experiment, title: str, judgement: Judgement) -> Chart:
    """How the distance to the nearest training image is distributed, for held-out and generated images."""
    distances = {network: drawings.nearest for network, drawings in judgement.drawings.items()}
    edges = np.linspace(0, max(each.max() for each in (judgement.nearest, *distances.values())), BINS + 1)

    def shares(values: np.ndarray) -> list[float]:
        return (np.histogram(values, edges)[0] / len(values)).tolist()

    return Chart(
        f"nearest-{experiment}",
        f"Share of images (%), {title}",
        "distance",
        "Distance to the nearest training image",
        ((edges[:-1] + edges[1:]) / 2).tolist(),
        [
            Series("held_out", "Real held-out images", shares(judgement.nearest), colour=REAL_COLOUR),
            *(
                Series(network, NETWORK_NAMES[network], shares(each), colour=COLOURS[network])
                for network, each in distances.items()
            ),
        ],
        percent=True,
    )


def training_chart(
    name: str, title: str, columns: Mapping[str, str], histories: Sequence[History], windows: int
) -> Chart:
    """Metrics of a network's trainings by iteration; `columns` are names by column."""
    lines: Sequence[Line] = [Line(column, label, column, histories) for column, label in columns.items()]
    return curve_chart(name, title, "Iteration", lines, windows)
