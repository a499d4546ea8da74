"""The charts of the colour report, each with the data that `dvc plots` draws."""

from collections.abc import Sequence

from components.evaluation.charts import Chart, Series
from components.evaluation.colour.params import Variant
from components.evaluation.colour.published import NAMES, SHORT_NAMES
from components.evaluation.colour.scores import METRICS, Metric, Scores
from components.evaluation.colour.trainings import VARIANTS
from components.evaluation.curves import Line, curve_chart
from components.evaluation.summary import Summary, summarise

FAMILIES: dict[str, tuple[Variant, ...]] = {
    "attention": ("pix2pix", "sa", "sa1", "sa2"),
    "loss": ("pix2pix", "hinge_mse", "hinge_bce", "hcegan"),
}
"""Variants whose curves share a chart: those of Tables 1 and 3, and those of Table 2 with both together."""

FAMILY_TITLES = {"attention": "attention", "loss": "hinge"}

LOSSES = {
    "discriminator_loss": "Discriminator’s loss",
    "generator_loss": "Generator’s adversarial loss",
    "l1_loss": "Distance from the original (L1)",
}


def fidelity_chart(metric: Metric, scores: Scores) -> Chart:
    """A metric by variant, and grey's."""
    measured = scores.fidelity[metric]
    title = f"{METRICS[metric]} (dB)" if metric == "psnr" else METRICS[metric]
    summaries = [measured.summary(variant) for variant in VARIANTS]
    return _by_variant(metric, title, summaries, "Grey", measured.grey.mean())


def colourfulness_chart(scores: Scores) -> Chart:
    """Colourfulness by variant, and the originals'."""
    summaries = [summarise(scores.colourfulness[variant].mean(axis=1).tolist()) for variant in VARIANTS]
    reference = scores.original_colourfulness.mean()
    return _by_variant("colourfulness", "Colourfulness", summaries, "Originals", reference)


def loss_charts(scores: Scores, windows: int) -> list[Chart]:
    """Each loss by step, in a chart for each family of variants."""
    return [
        curve_chart(
            f"{column}-{family}",
            f"{title}: {FAMILY_TITLES[family]}",
            "Step",
            [Line(variant, NAMES[variant], column, scores.histories[variant]) for variant in variants],
            windows,
        )
        for column, title in LOSSES.items()
        for family, variants in FAMILIES.items()
    ]


def _by_variant(name: str, title: str, values: Sequence[Summary], reference: str, level: float) -> Chart:
    return Chart(
        name,
        title,
        "variant",
        "",
        [SHORT_NAMES[variant] for variant in VARIANTS],
        [
            Series(
                "ours",
                "Ours, mean ± std" if len(values[0].values) > 1 else "Ours",
                [each.mean for each in values],
                "points",
                0,
                [each.std for each in values],
            ),
            Series(reference.lower(), reference, [float(level)] * len(values), "reference"),
        ],
    )
