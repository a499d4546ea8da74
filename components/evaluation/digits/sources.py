"""What the digits' evaluation is made from: real images, concept networks and trainings that belong together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.classification.concept import ConceptNetwork
from components.core.errors import UserError
from components.core.images import TEST_FOLD, ImageSet, load_model, model_facts
from components.evaluation.digits.trainings import Trainings, find_trainings


@dataclass(frozen=True)
class Sources:
    """The inputs of the evaluation, checked.

    Attributes:
        real: all digits.
        styles: those of one digit, its classes being writing styles.
        label: that digit.
        concept, style_concept: the networks that tell the classes of `real` and of `styles` apart.
    """

    real: ImageSet
    styles: ImageSet
    label: str
    concept: ConceptNetwork
    style_concept: ConceptNetwork
    trainings: Trainings

    @classmethod
    def find(cls, *, data: Path, styles: Path, concept: Path, style_concept: Path, generators: list[Path]) -> "Sources":
        """Load everything.

        Raises:
            UserError: something is absent, there twice, has seen held-out images, or is of other images.
        """
        real, styled = ImageSet.load(data), ImageSet.load(styles)
        trainings = find_trainings(generators, real.training(TEST_FOLD).digest())
        label = trainings["simple"]["gan"][0].label
        if not np.array_equal(styled.images, real.of_class(label).images):
            raise UserError(f"The writing styles in {styles} are not of the digit {label} of {data}; label them again.")
        for images, network, name in ((real, concept, "concept"), (styled, style_concept, "style concept")):
            if model_facts(network)["origin"] != images.training(TEST_FOLD).digest():
                raise UserError(f"The {name} network in {network} was trained on other images; train it again.")
            if len(images.test(TEST_FOLD)) < 2:
                raise UserError(f"Two held-out images at least are needed to judge by the {name} network; add some.")
        return cls(
            real=real,
            styles=styled,
            label=label,
            concept=load_model(concept, ConceptNetwork),
            style_concept=load_model(style_concept, ConceptNetwork),
            trainings=trainings,
        )
