"""The digits pipeline: how much better are DCGAN's digits than a plain GAN's? (Liu et al. 2021)

prepare → concept network → writing styles → the styles' concept network; per experiment (all digits, one digit) and
replicate: train GAN and DCGAN → evaluate (Inception Scores IS_c and IS_s) → register.
"""

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.box import SIMPLE
from rich.table import Table

from components.classification.params import ConceptParams, StylesParams
from components.classification.step import label_styles, train_concept
from components.core.contract import Section, Step
from components.data_prep.step import AcquireParams, PrepareDigitsParams, acquire, prepare_digits
from components.evaluation.step import EvaluateDigitsParams, RegisterDigitsParams, evaluate_digits, register_digits
from components.gan_training.digits_step import train_dcgan, train_gan
from components.gan_training.params import DcganParams, GanParams
from pipelines.data import Source
from pipelines.pipeline import Pipeline, Place, by_name, constants, nowhere


class DigitsParams(Section):
    """The section `digits` of `params.yaml`."""

    experiments: tuple[Literal["all"], Annotated[str, Field(pattern=r"^[0-9]$")]] = Field(
        description="what the generators of experiment 1 and of experiment 2 learn to draw"
    )
    replicates: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, description="trainings of each generator")
    acquire: AcquireParams
    prepare: PrepareDigitsParams
    concept: ConceptParams
    styles: StylesParams
    gan: GanParams
    dcgan: DcganParams
    evaluate: EvaluateDigitsParams
    registry: RegisterDigitsParams


def steps(params: DigitsParams) -> dict[str, tuple[Step, Section]]:
    """Every step by name, with the section it receives."""
    return by_name(
        {
            acquire: params.acquire,
            prepare_digits: params.prepare,
            train_concept: params.concept,
            label_styles: params.styles,
            train_gan: params.gan,
            train_dcgan: params.dcgan,
            evaluate_digits: params.evaluate,
            register_digits: params.registry,
        }
    )


def settle(params: DigitsParams) -> DigitsParams:
    """Whether "auto" means MNIST or, where no network answers, the bundled digits."""
    from components.data_prep.mnist import is_available

    if params.acquire.source != "auto":
        return params
    source = "mnist" if is_available(params.acquire.mirrors) else "bundled"
    return params.model_copy(update={"acquire": params.acquire.model_copy(update={"source": source})})


def graph(params: DigitsParams, source: Source | None, place: Place = nowhere) -> Any:
    """The Kubeflow pipeline for these parameters, over a folder of idx files or what `acquire` brings."""
    # kfp is imported only where a graph is drawn; a step that DVC runs does without.
    from kfp import dsl

    from components.classification import component as classification
    from components.data_prep import component as data_prep
    from components.evaluation import component as evaluation
    from components.gan_training import component as gan_training

    fixed = {name: constants(step, section) for name, (step, section) in steps(params).items()}
    _, digit = params.experiments
    trainings = [
        {"label": label, "replicate": str(replicate)}  # kfp takes a loop's items for texts
        for replicate, label in product(params.replicates, params.experiments)
    ]

    given = source or Source("", "")

    @dsl.pipeline(name="digits", description=__doc__)
    def digits(data: str = given.uri, digest: str = given.digest) -> None:
        if source:
            images = data_prep.prepare_digits(**fixed["prepare-digits"], source=data, digest=digest).outputs["images"]
        else:
            raw = data_prep.acquire(**fixed["acquire"]).outputs["raw"]
            images = data_prep.prepare_digits(**fixed["prepare-digits"], raw=raw).outputs["images"]

        concept = classification.train_concept(**fixed["train-concept"], data=images, concepts="digits")
        concept = concept.outputs["network"]
        styles = classification.label_styles(**fixed["label-styles"], data=images, concept=concept, label=digit)
        styles = styles.outputs["styles"]
        style_concept = classification.train_concept(**fixed["train-concept"], data=styles, concepts="styles")
        style_concept = style_concept.outputs["network"]

        with dsl.ParallelFor(trainings, name="training") as each:
            here = {"data": images, "label": each.label, "replicate": each.replicate}
            dcgan = gan_training.train_dcgan(**fixed["train-dcgan"], **here)
            gan = gan_training.train_gan(**fixed["train-gan"], **here)

        def generators() -> dict[str, Any]:  # each use of a collection needs one of its own
            return {
                "gans": dsl.Collected(gan.outputs["generator"]),
                "dcgans": dsl.Collected(dcgan.outputs["generator"]),
            }

        report = evaluation.evaluate_digits(
            **fixed["evaluate-digits"],
            **generators(),
            data=images,
            styles=styles,
            concept=concept,
            style_concept=style_concept,
        ).outputs["report"]
        evaluation.register_digits(**fixed["register-digits"], **generators(), report=report).set_caching_options(False)
        place()

    return digits


def summary(metrics: Mapping[str, Any]) -> Table:
    """Inception Scores, a row a network, a column an experiment, and the ceiling of real images."""
    table = Table(title=f"Inception Score on {metrics['data']}", box=SIMPLE)
    table.add_column("network")
    table.add_column("all digits (IS_c)", justify="right")
    table.add_column("one digit (IS_s)", justify="right")
    for network, scores in metrics["inception_score"].items():
        cells = [f"{scores[each]['mean']:.2f} ± {scores[each]['std']:.2f}" for each in ("complex", "simple")]
        table.add_row(network, *cells)
    table.add_row("real images", *(f"{metrics['ceiling'][each]:.2f}" for each in ("complex", "simple")))
    return table


PIPELINE = Pipeline(
    name="digits",
    params=DigitsParams,
    steps=steps,
    graph=graph,
    summary=summary,
    models=("digit-generator",),
    settle=settle,
)
