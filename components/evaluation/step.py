"""Steps: gather what one fold gave; evaluate all folds and write the report."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.core.params import Section
from components.core.step import Run, step
from components.evaluation.fold import Network, TrainingSet


class GatherParams(Section):
    """What to keep of a fold."""

    shown_images: int = Field(ge=1, le=16, description="images of each kind and class in the report's grids")
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
) -> None:
    """Collect one fold's results, samples, histories and models, after checking that they descend from that fold."""
    import numpy as np

    from components.evaluation.gathering import Sources

    sources = Sources.find(
        fold,
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
    sources.copy_histories(run.out / "histories")
    sources.copy_models(run.out / "models", shipped)


@step
def evaluate(params: EvaluateParams, run: Run, *, folds: list[Path]) -> None:
    """Score every classifier over all folds, and write the report, its metrics and the data of its plots."""
    from components.evaluation.cardiac_report import CardiacReport

    report = CardiacReport.read(folds, params.windows)
    report.save(run.out)
    run.journal.metrics(report.headline_metrics(), step=0)
    run.journal.artifact(run.out / "report.html")
    run.journal.artifact(run.out / "metrics.json")


class RegisterParams(Section):
    """Which score decides between a registered model and its champion."""

    metric: Literal["accuracy", "balanced_accuracy"] = Field(description="the gate's, mean over the folds")


@step
def register(params: RegisterParams, run: Run, *, folds: list[Path], report: Path) -> None:
    """Register generator, refiner and classifier; each becomes champion only where it beats the present one."""
    import json

    from components.core.tracking import register_model
    from components.evaluation.shipping import shipments

    metrics = json.loads((report / "metrics.json").read_text())[params.metric]
    registered = {}
    for shipment in shipments(folds, metrics):
        register_model(
            run.journal,
            shipment.name,
            shipment.network,
            shipment.example,
            metric=params.metric,
            value=shipment.value,
            tags=shipment.tags,
        )
        registered[shipment.name] = {params.metric: shipment.value, **shipment.tags}
    (run.out / "registered.json").write_text(json.dumps(registered, indent=1) + "\n")
