"""One training's results on one fold in one folder: what `gather` writes, and what `evaluate` and `register` read.

fold.json        a `Fold`
samples.npy      (kinds, classes, k, C, H, W) float32 in [-1, 1], kinds in the order of `KINDS`
milestones/      <update>.npy: the same images (classes, k, C, H, W), uint8, while the refiner trains
quality.json     how good the generated images are, a `Quality`; pairs.npy beside it (both: `quality.py`)
histories/       egan-<class>.csv, simgan.csv, <network>-<training set>.csv
models/          generator-<class>/, refiner/, classifier/: model directories
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Network = Literal["resnet50", "xception"]
TrainingSet = Literal["none", "classic", "egan", "simgan", "oracle", "repeat"]

KINDS = ("real", "synthetic", "refined")
MILESTONES = "milestones"


class Record(BaseModel):
    """A JSON object that steps hand on; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True)


class Answers(Record):
    """A classifier's answers for N images.

    Attributes:
        labels: (N,) indices of the true classes.
        probabilities: (N, classes).
    """

    labels: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]


class Classification(Answers):
    """One classifier's answers on a fold's test part.

    Attributes:
        ratio: other images per real one in the training set.
        images: number of training images.
        external: its answers for the external test people's images, of whom there may be none.
    """

    network: Network
    training_set: TrainingSet
    fold: int
    ratio: int
    images: int
    external: Answers


class Point(Record):
    """One point of Figure 7: a fold's test part, after training with `ratio` × as many generated images as real ones.

    Attributes:
        training_set: whose curve it lies on: "egan", or of the refined images "simgan".
        probabilities: (N, classes), of the same test images as every `Classification`'s.
    """

    network: Network
    training_set: TrainingSet
    fold: int
    ratio: int
    images: int
    accuracy: float
    balanced_accuracy: float
    probabilities: tuple[tuple[float, ...], ...]


class Drawn(Record):
    """What became of one class's images where they were drawn.

    Attributes:
        drawn: images, with those drawn again.
        contradicting: of these: networks that learned from other training people say that they show another class.
        left: images that stay although they contradict their label.
    """

    drawn: int
    contradicting: int
    left: int


class Fold(Record):
    """One training's results on one fold, in an order that hangs on their content alone.

    Attributes:
        replicate: which training it is.
        origin: digest of the training part that everything here descends from.
        counts: images by part ("training", "test", "external", "synthetic", "refined") and class.
        drawn: what became of the synthetic images, by class.
        people: whom each test image shows, (N,) names.
        external_people: whom each external image shows.
        selection: how the E-GAN chose survivors, "fitness" or "random".
        shipped: network and training set of the classifier in `models/`.
    """

    fold: int
    replicate: int
    origin: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    drawn: dict[str, Drawn]
    people: tuple[str, ...]
    external_people: tuple[str, ...]
    selection: str
    shipped: tuple[Network, TrainingSet]
    classifications: tuple[Classification, ...]
    points: tuple[Point, ...]

    def save(self, directory: Path) -> None:
        (directory / "fold.json").write_text(self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> "Fold":
        return cls.model_validate_json((directory / "fold.json").read_text())
