"""The cardiac pipeline: by how much do E-GAN and SimGAN images raise a classifier's accuracy? (Fu et al. 2021)

prepare → per fold and replicate: train E-GAN (per class) → synthesize → refine → classify (per network: four training
sets, the controls and the sweeps of Figure 7) → gather; per replicate: collect → evaluate → register.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from components.classification.params import SETS_OF, ClassifyParams, Images, Network, SweepParams, SweepRatios
from components.classification.step import classify, sweep
from components.core.contract import Section, Step
from components.core.errors import UserError
from components.data_prep.step import PrepareParams, SimulateParams, prepare, simulate
from components.evaluation.step import (
    CollectParams,
    EvaluateParams,
    GatherParams,
    RegisterParams,
    collect,
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
    """What the sweeps add to the classifiers' section."""

    images: list[Images] = Field(min_length=1, description="whose curves get points of their own")
    ratios: SweepRatios


class CardiacParams(Section):
    """The section `cardiac` of `params.yaml`."""

    replicates: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, description="trainings on each fold")
    controls: list[Literal["oracle", "repeat"]] = Field(
        description="training sets beside the paper's; oracle only on the simulated cohort, which has a reserve"
    )
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
    def _ratios_fit(self) -> "CardiacParams":
        for images in self.sweep.images:
            own = self.classify.ratios.of(SETS_OF[images])
            if set(self.sweep.ratios) == {own}:
                raise PydanticCustomError(
                    "sweep",
                    "sweep.ratios must have another ratio than classify.ratios.{training_set}, {ratio}",
                    {"training_set": SETS_OF[images], "ratio": own},
                )
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
            collect: CollectParams(),
            evaluate: params.evaluate,
            register: params.registry,
        }
    )


def graph(params: CardiacParams, source: Source | None, place: Place = nowhere) -> Any:
    """The Kubeflow pipeline for these parameters, over the raw data's folder or a simulated cohort.

    Raises:
        UserError: the simulated cohort has too few people for the control `oracle`.
    """
    # kfp is imported only where a graph is drawn; a step that DVC runs does without.
    from kfp import dsl

    from components.classification import component as classification
    from components.data_prep import component as data_prep
    from components.evaluation import component as evaluation
    from components.gan_training import component as gan_training
    from components.refinement import component as refinement

    fixed = {name: constants(step, section) for name, (step, section) in steps(params).items()}
    controls = [name for name in params.controls if name != "oracle" or source is None]
    if "oracle" in controls and params.simulate.reserve < params.classify.ratios.simgan:
        ratio = params.classify.ratios.simgan
        raise UserError(
            f"cardiac.simulate.reserve must be at least classify.ratios.simgan, {ratio}; raise it, or leave oracle out "
            "of cardiac.controls."
        )
    given = source or Source("", "")

    @dsl.pipeline(name="cardiac", description=__doc__)
    def cardiac(data: str = given.uri, digest: str = given.digest) -> None:
        if source:
            images = data_prep.prepare(**fixed["prepare"], source=data, digest=digest).outputs["images"]
        else:
            raw = data_prep.simulate(**fixed["simulate"]).outputs["raw"]
            images = data_prep.prepare(**fixed["prepare"], raw=raw).outputs["images"]

        with dsl.ParallelFor(params.replicates, name="replicate") as replicate:
            with dsl.ParallelFor(params.prepare.folds, name="fold") as fold:
                here = {"data": images, "fold": fold, "replicate": replicate}

                with dsl.ParallelFor(params.prepare.classes, name="class") as label:
                    egan = gan_training.train_egan(**fixed["train-egan"], **here, label=label)
                generators = dsl.Collected(egan.outputs["generator"])

                synthetic = gan_training.synthesize(**fixed["synthesize"], **here, generators=generators)
                synthetic = synthetic.outputs["images"]
                refined = refinement.refine(**fixed["refine"], **here, synthetic=synthetic).outputs["images"]

                # No loop over networks: to Kubeflow a loop is a graph with drivers of its own, which waits for all that
                # anything in it needs. What all runs have comes first, lest a control less rename the others' tasks.
                generated = {
                    "none": {},
                    "classic": {},
                    "egan": {"generated": synthetic},
                    "simgan": {"generated": refined},
                }
                trials = {
                    f"{network}_{name}": classification.classify(
                        **fixed["classify"], **here, network=network, training_set=name, **read
                    ).outputs["trial"]
                    for name, read in (generated | {name: {} for name in controls}).items()
                    for network in NETWORKS
                }
                sources = {"synthetic": synthetic, "refined": refined}
                sweeps = {
                    f"{network}_{name}_sweeps": classification.sweep(
                        **fixed["sweep"], **here, network=network, images=name, generated=sources[name]
                    ).outputs["points"]
                    for name in params.sweep.images
                    for network in NETWORKS
                }

                gathered = evaluation.gather(
                    **fixed["gather"],
                    **here,
                    generators=dsl.Collected(egan.outputs["generator"]),
                    synthetic=synthetic,
                    refined=refined,
                    **trials,
                    **sweeps,
                )

            folds = dsl.Collected(gathered.outputs["gathered"])
            collected = evaluation.collect(**fixed["collect"], replicate=replicate, folds=folds)

        replicates = dsl.Collected(collected.outputs["collected"])
        report = evaluation.evaluate(**fixed["evaluate"], replicates=replicates).outputs["report"]
        replicates = dsl.Collected(collected.outputs["collected"])
        evaluation.register(**fixed["register"], replicates=replicates, report=report).set_caching_options(False)
        place()

    return cardiac


def summary(metrics: Mapping[str, Any]) -> Table:
    """The verdict below areas of people and accuracies of images, a row a training set."""
    external = metrics.get("external", {})
    whom = "external people" if external else "the folds' test people"
    verdict = Text(metrics["primary"]["verdict"], style="bold", justify="left")
    table = Table("training set", title=f"AUC of {whom}, accuracy of test images", caption=verdict, box=SIMPLE)
    columns = []
    for network, accuracies in metrics["accuracy"].items():
        areas = {name: external[network][name]["auc"] for name in accuracies} if external else None
        areas = areas or metrics["people"]["auc"][network]
        table.add_column(f"{network} AUC", justify="right")
        table.add_column("accuracy, %", justify="right")
        columns.append(["–" if areas[name] is None else f"{areas[name]:.3f}" for name in accuracies])
        columns.append([f"{100 * each['mean']:.1f} ± {100 * each['std']:.1f}" for each in accuracies.values()])
    for name, *cells in zip(accuracies, *columns, strict=True):
        table.add_row(name, *cells)
    return table


PIPELINE = Pipeline(
    name="cardiac",
    params=CardiacParams,
    steps=steps,
    graph=graph,
    summary=summary,
    models=("cardiac-generator", "cardiac-refiner", "cardiac-classifier"),
)
