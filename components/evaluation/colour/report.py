"""The colour report: what seven variants make of grey photographs, as one page, as metrics.json and as plots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.evaluation.charts import Chart
from components.evaluation.colour import published
from components.evaluation.colour.charts import colourfulness_chart, fidelity_chart, loss_charts
from components.evaluation.colour.findings import COLOURFUL, CONFIDENCE, answer, colour_judgement, verdict
from components.evaluation.colour.params import EvaluateColourParams, Variant
from components.evaluation.colour.published import COMPARISONS, NAMES
from components.evaluation.colour.scores import METRICS, Scores
from components.evaluation.colour.sheet import Row, sheet
from components.evaluation.colour.sources import Sources
from components.evaluation.colour.trainings import VARIANTS, subject
from components.evaluation.histories import failures
from components.evaluation.output import write_report
from components.evaluation.page import render


@dataclass(frozen=True)
class ColourReport:
    """Everything that is known of the seven variants.

    Attributes:
        scores: by data set, the largest first.
        total: of all data sets together.
        sheets: by data set.
        training: number of photographs trained on, by data set.
        failed: which trainings collapsed or were begun anew.
        charts: by section of the page.
    """

    sources: Sources
    params: EvaluateColourParams
    scores: Mapping[str, Scores]
    total: Scores
    sheets: Mapping[str, Sequence[Row]]
    training: Mapping[str, int]
    failed: Sequence[str]
    charts: Mapping[str, Sequence[Chart]]

    @classmethod
    def make(cls, sources: Sources, params: EvaluateColourParams) -> "ColourReport":
        """Score every rendering; nothing is drawn at random."""
        scores, sheets, training = {}, {}, {}
        for dataset, trainings in sources.trainings.items():
            pictures = sources.pictures(dataset)
            histories = {variant: [each.history() for each in several] for variant, several in trainings.items()}
            scores[dataset] = Scores.measure(pictures, histories)
            sheets[dataset] = sheet(pictures, scores[dataset], params.shown_images, params.shown_size)
            training[dataset] = pictures.training
        total = Scores.together(scores.values())
        return cls(
            sources=sources,
            params=params,
            scores=scores,
            total=total,
            sheets=sheets,
            training=training,
            failed=failures(
                {
                    f"{NAMES[each.variant]} of {subject(each.dataset)}, replicate {each.replicate},": each.history()
                    for trainings in sources.trainings.values()
                    for several in trainings.values()
                    for each in several
                }
            ),
            charts={
                "scores": [*(fidelity_chart(metric, total) for metric in METRICS), colourfulness_chart(total)],
                "losses": loss_charts(total, params.windows),
            },
        )

    def save(self, directory: Path) -> None:
        """Write report.html, metrics.json and plots/*.csv."""
        charts = (chart for section in self.charts.values() for chart in section)
        write_report(directory, self.html(), self.metrics(), charts)

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: over all data sets, then each by itself."""
        return {
            "data": self.sources.data.source,
            "replicates": self.total.replicates,
            **_metrics(self.total),
            "datasets": {dataset: _metrics(each) for dataset, each in self.scores.items()},
            "collapsed": list(self.failed),
            "published": [asdict(each) for each in COMPARISONS],
        }

    def headline_metrics(self) -> dict[str, float]:
        """`psnr/<variant>`, `ssim/<variant>` and `colourfulness/<variant>`, for whoever compares runs."""
        fidelity = self.total.fidelity
        means = {f"{metric}/{each}": fidelity[metric].summary(each).mean for metric in METRICS for each in VARIANTS}
        grey = {f"{metric}/grey": float(fidelity[metric].grey.mean()) for metric in METRICS}
        colours = {f"colourfulness/{each}": float(self.total.colourfulness[each].mean()) for each in VARIANTS}
        return means | grey | colours | {"colourfulness/original": float(self.total.original_colourfulness.mean())}

    def html(self) -> str:
        """The page."""
        return render(
            "colour.html.jinja",
            verdict=verdict(self.total),
            answer=answer(self.total),
            total=self.total,
            scores=self.scores,
            sheets=self.sheets,
            training=self.training,
            failed=self.failed,
            origins={name: trainings["pix2pix"][0].origin for name, trainings in self.sources.trainings.items()},
            source=self.sources.data.source or "photographs of unknown source",
            charts=self.charts,
            params=self.params,
            published=published,
            variants=VARIANTS,
            several=self.total.replicates > 1,
            confidence=CONFIDENCE,
            colourful=COLOURFUL,
            subject=subject,
            colour_judgement=colour_judgement,
        )


def _metrics(scores: Scores) -> dict[str, Any]:
    def by_variant(value: Callable[[Variant], Any]) -> dict[Variant, Any]:
        return {variant: value(variant) for variant in VARIANTS}

    fidelity = {
        metric: by_variant(
            lambda variant, measured=measured: {
                **asdict(measured.summary(variant)),
                "image_std": measured.image_std(variant),
            }
        )
        for metric, measured in scores.fidelity.items()
    }
    return {
        "images": scores.images,
        **fidelity,
        "grey": {metric: float(measured.grey.mean()) for metric, measured in scores.fidelity.items()},
        "colourfulness": by_variant(lambda variant: float(scores.colourfulness[variant].mean()))
        | {"original": float(scores.original_colourfulness.mean())},
        "stability": {variant: asdict(each) for variant, each in scores.stability.items()},
        "gains": {
            metric: [
                {
                    "variant": each.variant,
                    "over": each.over,
                    **asdict(measured.gain(each.variant, each.over)),
                    "share_better": measured.share_better(each.variant, each.over),
                }
                for each in COMPARISONS
            ]
            for metric, measured in scores.fidelity.items()
        },
    }
