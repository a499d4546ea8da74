"""The colour pipeline: do a hinge-cross-entropy loss and self-attention make pix2pix colour better? (Li et al. 2023)

prepare → per variant, data set and replicate: train → evaluate (PSNR, SSIM, stability) → register.
"""

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, get_args

from pydantic import Field
from rich.box import SIMPLE
from rich.table import Table

from components.core.contract import Section, Step
from components.core.errors import UserError
from components.data_prep.step import PreparePhotographsParams, prepare_photographs
from components.evaluation.step import EvaluateColourParams, RegisterColourParams, evaluate_colour, register_colour
from components.gan_training.colour_step import train_colour
from components.gan_training.params import ColourParams, Variant
from pipelines.data import Source
from pipelines.pipeline import Pipeline, Place, by_name, constants, nowhere

VARIANTS = list(get_args(Variant))


class ColourPipelineParams(Section):
    """The section `colour` of `params.yaml`."""

    datasets: list[str] = Field(min_length=1, description="classes to train on, each by itself; all: on all together")
    replicates: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, description="trainings of each variant")
    prepare: PreparePhotographsParams
    train: ColourParams
    evaluate: EvaluateColourParams
    registry: RegisterColourParams


def steps(params: ColourPipelineParams) -> dict[str, tuple[Step, Section]]:
    """Every step by name, with the section it receives."""
    return by_name(
        {
            prepare_photographs: params.prepare,
            train_colour: params.train,
            evaluate_colour: params.evaluate,
            register_colour: params.registry,
        }
    )


def graph(params: ColourPipelineParams, source: Source | None, place: Place = nowhere) -> Any:
    """The Kubeflow pipeline for these parameters, over a folder of photographs.

    Raises:
        UserError: there is none.
    """
    # kfp is imported only where a graph is drawn; a step that DVC runs does without.
    from kfp import dsl

    from components.data_prep import component as data_prep
    from components.evaluation import component as evaluation
    from components.gan_training import component as gan_training

    if source is None:
        raise UserError("The colour pipeline brings no photographs of its own; give --data a folder of them.")
    fixed = {name: constants(step, section) for name, (step, section) in steps(params).items()}
    trainings = [
        {"variant": variant, "dataset": dataset, "replicate": str(replicate)}  # kfp takes a loop's items for texts
        for replicate, dataset, variant in product(params.replicates, params.datasets, VARIANTS)
    ]

    @dsl.pipeline(name="colour", description=__doc__)
    def colour(data: str = source.uri, digest: str = source.digest) -> None:
        images = data_prep.prepare_photographs(**fixed["prepare-photographs"], source=data, digest=digest).outputs[
            "images"
        ]

        with dsl.ParallelFor(trainings, name="training") as each:
            trained = gan_training.train_colour(
                **fixed["train-colour"],
                data=images,
                variant=each.variant,
                dataset=each.dataset,
                replicate=each.replicate,
            )

        report = evaluation.evaluate_colour(
            **fixed["evaluate-colour"], data=images, trainings=dsl.Collected(trained.outputs["training"])
        ).outputs["report"]
        evaluation.register_colour(
            **fixed["register-colour"], trainings=dsl.Collected(trained.outputs["training"]), report=report
        ).set_caching_options(False)
        place()

    return colour


def summary(metrics: Mapping[str, Any]) -> Table:
    """PSNR and SSIM, a row a variant, with grey as the baseline."""
    table = Table(title="Colours against the originals", box=SIMPLE)
    table.add_column("variant")
    for name in ("PSNR, dB", "SSIM", "colourfulness"):
        table.add_column(name, justify="right")
    for variant, psnr in metrics["psnr"].items():
        ssim = metrics["ssim"][variant]
        table.add_row(
            variant,
            f"{psnr['mean']:.2f} ± {psnr['std']:.2f}",
            f"{ssim['mean']:.3f} ± {ssim['std']:.3f}",
            f"{metrics['colourfulness'][variant]:.1f}",
        )
    table.add_row("grey", f"{metrics['grey']['psnr']:.2f}", f"{metrics['grey']['ssim']:.3f}", "0.0")
    return table


PIPELINE = Pipeline(
    name="colour",
    params=ColourPipelineParams,
    steps=steps,
    graph=graph,
    summary=summary,
    models=("colour-renderer",),
)
