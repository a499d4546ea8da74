"""Steps of all pipelines that end in a report: evaluate and register; for folds, gather each and collect them before.

Without a suffix, the cardiac pipeline's (paper 1); `_digits`, the digits pipeline's (paper 2); `_colour`, the
colour pipeline's (paper 3).
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.core.contract import ComputeSection, Run, Section, registering_step, step
from components.evaluation.cardiac.fold import Network, TrainingSet
from components.evaluation.colour.params import EvaluateColourParams, RegisterColourParams
from components.evaluation.digits.params import EvaluateDigitsParams, RegisterDigitsParams


class GatherParams(ComputeSection):
    """What to keep of a fold, and how its images are measured."""

    shown_images: int = Field(
        ge=1, le=16, description="images of each kind and class in the report's grids, and nearest pairs of each kind"
    )
    network: Network = Field(description="architecture of the classifier that is shipped")
    training_set: TrainingSet = Field(description="training set of the classifier that is shipped")


class EvaluateParams(Section):
    """How the report draws."""

    windows: int = Field(ge=2, le=1000, description="points of a training curve, each the mean of a part of it")


@step
def gather(
    params: GatherParams,
    run: Run,
    *,
    data: Path,
    generators: list[Path],
    synthetic: Path,
    refined: Path,
    classifications: list[Path],
    sweeps: list[Path],
    fold: int,
    replicate: int,
) -> None:
    """Collect one training's results on one fold: answers, samples, histories, models, all of that fold's descent.

    How good the generated images are is measured here, where they are.
    """
    import numpy as np

    from components.evaluation.cardiac.fold import MILESTONES
    from components.evaluation.cardiac.gathering import Sources
    from components.evaluation.cardiac.quality import save_quality

    sources = Sources.find(
        fold,
        replicate,
        data=data,
        generators=generators,
        synthetic=synthetic,
        refined=refined,
        classifications=classifications,
        sweeps=sweeps,
    )
    sources.check_descent()
    shipped = (params.network, params.training_set)
    sources.record(shipped).save(run.out)
    np.save(run.out / "samples.npy", sources.samples(params.shown_images))
    sources.copy_milestones(run.out / MILESTONES, max(1, params.shown_images // len(sources.real.classes)))
    sources.copy_histories(run.out / "histories")
    sources.copy_models(run.out / "models", shipped)
    save_quality(
        sources.real.training(fold),
        sources.real.test(fold),
        [sources.synthetic, sources.refined],
        run,
        params.threads,
        params.shown_images,
    )


class CollectParams(Section):
    """Nothing to choose."""


@step
def collect(params: CollectParams, run: Run, *, folds: list[Path], replicate: int) -> None:
    """Put what was gathered of one replicate's folds into one folder, each under its number."""
    from components.evaluation.cardiac.gathering import collect_folds

    collect_folds(folds, replicate, run.out)


@step
def evaluate(params: EvaluateParams, run: Run, *, replicates: list[Path]) -> None:
    """Score every classifier over all folds, and write the report, its metrics and the data of its plots."""
    from components.evaluation.cardiac.gathering import collected_folds
    from components.evaluation.cardiac.report import CardiacReport

    report = CardiacReport.read(collected_folds(replicates), params.windows)
    report.save(run.out)
    run.journal.metrics(report.headline_metrics(), step=0)
    run.journal.tags({"ganflow.verdict": report.verdict})
    run.journal.artifact(run.out / "report.html")
    run.journal.artifact(run.out / "metrics.json")


class RegisterParams(Section):
    """Which score decides between a registered model and its champion."""

    metric: Literal["auc", "accuracy", "balanced_accuracy"] = Field(
        description="the gate's, of the folds' own test people: external ones are for judging, not for choosing"
    )


@registering_step
def register(params: RegisterParams, run: Run, *, replicates: list[Path], report: Path) -> None:
    """Register generator, refiner and classifier; each becomes champion only where it beats the present one."""
    import json

    from components.evaluation.cardiac.gathering import collected_folds
    from components.evaluation.cardiac.shipping import shipments
    from components.evaluation.shipment import ship

    scores = json.loads((report / "metrics.json").read_text())["people"][params.metric]
    ship(shipments(collected_folds(replicates), scores), params.metric, run)


@step
def evaluate_digits(
    params: EvaluateDigitsParams,
    run: Run,
    *,
    data: Path,
    styles: Path,
    concept: Path,
    style_concept: Path,
    generators: list[Path],
) -> None:
    """Score what the generators draw, and write the report, its metrics and the data of its plots."""
    from components.evaluation.digits.report import DigitsReport
    from components.evaluation.digits.sources import Sources

    sources = Sources.find(
        data=data, styles=styles, concept=concept, style_concept=style_concept, generators=generators
    )
    report = DigitsReport.make(sources, params, run)
    report.save(run.out)
    run.journal.metrics(report.headline_metrics(), step=0)
    run.journal.artifact(run.out / "report.html")
    run.journal.artifact(run.out / "metrics.json")


@registering_step
def register_digits(params: RegisterDigitsParams, run: Run, *, generators: list[Path], report: Path) -> None:
    """Register the generator of all digits; it becomes champion only where its score beats the present one's."""
    import json

    from components.evaluation.digits.shipping import shipment
    from components.evaluation.shipment import ship

    scores = json.loads((report / "metrics.json").read_text())["inception_score"]
    ship([shipment(generators, params.network, scores)], "inception_score", run)


@step
def evaluate_colour(params: EvaluateColourParams, run: Run, *, data: Path, trainings: list[Path]) -> None:
    """Score what every variant renders, and write the report, its metrics and the data of its plots."""
    from components.evaluation.colour.report import ColourReport
    from components.evaluation.colour.sources import Sources

    report = ColourReport.make(Sources.find(data=data, trainings=trainings), params)
    report.save(run.out)
    run.journal.metrics(report.headline_metrics(), step=0)
    run.journal.artifact(run.out / "report.html")
    run.journal.artifact(run.out / "metrics.json")


@registering_step
def register_colour(params: RegisterColourParams, run: Run, *, trainings: list[Path], report: Path) -> None:
    """Register a variant's network; it becomes champion only where its variant's PSNR beats the present one's."""
    import json

    from components.evaluation.colour.shipping import shipment
    from components.evaluation.shipment import ship

    metrics = json.loads((report / "metrics.json").read_text())
    ship([shipment(trainings, params.variant, metrics)], "psnr", run)
