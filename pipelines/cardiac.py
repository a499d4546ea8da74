"""The cardiac pipeline: by how much do E-GAN and SimGAN images raise a classifier's accuracy? (Fu et al. 2021)

prepare → per fold: train E-GAN (per class) → synthesize → refine → classify (per network: four training sets and the
sweep of Figure 7) → gather → evaluate → register.
"""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import model_validator
from pydantic_core import PydanticCustomError
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from components.classification.params import ClassifyParams, Network, SweepParams, SweepRatios
from components.classification.step import classify, sweep
from components.core.contract import Section, Step
from components.data_prep.step import PrepareParams, SimulateParams, prepare, simulate
from components.evaluation.step import (
    EvaluateParams,
    GatherParams,
    RegisterParams,
    evaluate,
    gather,
    register,
)
from components.gan_training.cardiac_step import synthesize, train_egan
from components.gan_training.params import EganParams, SynthesizeParams
from components.refinement.step import SimganParams, refine
from pipelines.data import Source
from pipelines.pipeline import Pipeline, Place, by_name, constants, nowhere

NETWORKS = list(get_args(Network))


class Sweep(Section):
    """What the sweep adds to the classifiers' section."""

    ratios: SweepRatios


class CardiacParams(Section):
    """The section `cardiac` of `params.yaml`."""

    simulate: SimulateParams
    prepare: PrepareParams
    egan: EganParams
    synthesize: SynthesizeParams
    simgan: SimganParams
    classify: ClassifyParams
    sweep: Sweep
    gather: GatherParams
    evaluate: EvaluateParams
    registry: RegisterParams

    @model_validator(mode="after")
    def _enough_is_synthesized(self) -> "CardiacParams":
        largest = max(*self.sweep.ratios, self.classify.ratios.egan, self.classify.ratios.simgan)
        if self.synthesize.ratio < largest:
            raise PydanticCustomError(
                "ratio", "synthesize.ratio must be at least the largest ratio in use, {largest}", {"largest": largest}
            )
        return self


def steps(params: CardiacParams) -> dict[str, tuple[Step, Section]]:
    """Every step by name, with the section it receives."""
    sweep_params = SweepParams(**params.classify.model_dump(), sweep_ratios=params.sweep.ratios)
    return by_name(
        {
            simulate: params.simulate,
            prepare: params.prepare,
            train_egan: params.egan,
            synthesize: params.synthesize,
            refine: params.simgan,
            classify: params.classify,
            sweep: sweep_params,
            gather: params.gather,
            evaluate: params.evaluate,
            register: params.registry,
        }
    )


def graph(params: CardiacParams, source: Source | None, place: Place = nowhere) -> Any:
    """The Kubeflow pipeline for these parameters, over the raw data's folder or a simulated cohort."""
    # kfp is imported only where a graph is drawn; a step that DVC runs does without.
    from kfp import dsl

    from components.classification import component as classification
    from components.data_prep import component as data_prep
    from components.evaluation import component as evaluation
    from components.gan_training import component as gan_training
    from components.refinement import component as refinement

    fixed = {name: constants(step, section) for name, (step, section) in steps(params).items()}

    given = source or Source("", "")

    @dsl.pipeline(name="cardiac", description=__doc__)
    def cardiac(data: str = given.uri, digest: str = given.digest) -> None:
        if source:
            images = data_prep.prepare(**fixed["prepare"], source=data, digest=digest).outputs["images"]
        else:
            raw = data_prep.simulate(**fixed["simulate"]).outputs["raw"]
            images = data_prep.prepare(**fixed["prepare"], raw=raw).outputs["images"]

        with dsl.ParallelFor(params.prepare.folds, name="fold") as fold:
            here = {"data": images, "fold": fold}

            with dsl.ParallelFor(params.prepare.classes, name="class") as label:
                egan = gan_training.train_egan(**fixed["train-egan"], **here, label=label)
            generators = dsl.Collected(egan.outputs["generator"])

            synthetic = gan_training.synthesize(**fixed["synthesize"], **here, generators=generators).outputs["images"]
            refined = refinement.refine(**fixed["refine"], **here, synthetic=synthetic).outputs["images"]

            with dsl.ParallelFor(NETWORKS, name="network") as network:
                trial = {**fixed["classify"], **here, "network": network}
                none = classification.classify(**trial, training_set="none")
                classic = classification.classify(**trial, training_set="classic")
                egan_set = classification.classify(**trial, training_set="egan", generated=synthetic)
                simgan_set = classification.classify(**trial, training_set="simgan", generated=refined)
                curve = classification.sweep(**fixed["sweep"], **here, network=network, generated=synthetic)

            gathered = evaluation.gather(
                **fixed["gather"],
                **here,
                generators=dsl.Collected(egan.outputs["generator"]),
                synthetic=synthetic,
                refined=refined,
                none=dsl.Collected(none.outputs["trial"]),
                classic=dsl.Collected(classic.outputs["trial"]),
                egan=dsl.Collected(egan_set.outputs["trial"]),
                simgan=dsl.Collected(simgan_set.outputs["trial"]),
                sweeps=dsl.Collected(curve.outputs["points"]),
            )

        folds = dsl.Collected(gathered.outputs["gathered"])
        report = evaluation.evaluate(**fixed["evaluate"], folds=folds).outputs["report"]
        folds = dsl.Collected(gathered.outputs["gathered"])
        evaluation.register(**fixed["register"], folds=folds, report=report).set_caching_options(False)
        place()

    return cardiac


def summary(metrics: Mapping[str, Any]) -> Table:
    """The verdict below mean accuracies and their standard deviations, a row a classifier, a column a training set."""
    verdict = Text(metrics["primary"]["verdict"], style="bold", justify="left")
    table = Table("classifier", title="Accuracy on the test parts, %", caption=verdict, box=SIMPLE)
    for network, scores in metrics["accuracy"].items():
        if len(table.columns) == 1:
            for name in scores:
                table.add_column(name, justify="right", no_wrap=True)
        cells = [f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}" for score in scores.values()]
        table.add_row(network, *cells)
    return table


PIPELINE = Pipeline(
    name="cardiac",
    params=CardiacParams,
    steps=steps,
    graph=graph,
    summary=summary,
    models=("cardiac-generator", "cardiac-refiner", "cardiac-classifier"),
)
