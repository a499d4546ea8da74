"""The trainings of the digits pipeline: found, checked, and what they recorded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from components.core.errors import UserError
from components.core.images import ALL, load_model, model_facts
from components.evaluation.histories import History, read_history
from components.gan_training.networks import dcgan, gan

Network = Literal["gan", "dcgan"]
Experiment = Literal["complex", "simple"]
"""Experiment 1, on all digits, and experiment 2, on a single one."""

NETWORKS: tuple[Network, ...] = get_args(Network)
EXPERIMENTS: tuple[Experiment, ...] = get_args(Experiment)

GENERATORS = {"gan": gan.Generator, "dcgan": dcgan.Generator}


@dataclass(frozen=True)
class Training:
    """One GAN's training.

    Attributes:
        label: the class of its images, `ALL` for every one.
        replicate: its number.
        origin: digest of the training part that its images are from.
    """

    folder: Path
    network: Network
    label: str
    replicate: int
    origin: str

    @classmethod
    def read(cls, folder: Path) -> "Training":
        facts = model_facts(folder)
        return cls(folder, facts["kind"], facts["label"], facts["replicate"], facts["origin"])

    def __str__(self) -> str:
        return _name((self.network, self.label, self.replicate))

    def generator(self) -> gan.Generator | dcgan.Generator:
        """In evaluation mode."""
        return load_model(self.folder, GENERATORS[self.network])

    def history(self) -> History:
        return read_history(self.folder / "history.csv")

    def milestones(self) -> dict[int, np.ndarray]:
        """Images (k, C, H, W), uint8, from noise that stayed the same, by iteration."""
        return {int(path.stem): np.load(path) for path in sorted((self.folder / "milestones").glob("*.npy"))}


Trainings = Mapping[Experiment, Mapping[Network, Sequence[Training]]]
"""Each network's in the order of the replicates."""


def find_trainings(folders: Iterable[Path], origin: str) -> Trainings:
    """Each network's trainings on all digits, and on the same single one; the order of folders is forgotten.

    Args:
        folders: what `train_gan` and `train_dcgan` wrote.
        origin: digest of the training part that all must descend from.

    Raises:
        UserError: one is absent, there twice, or of other images.
    """
    found = [Training.read(folder) for folder in folders]
    label = _single_label(found)
    replicates = sorted({each.replicate for each in found})
    counts = Counter((each.network, each.label, each.replicate) for each in found)
    if missing := [_name(key) for key in product(NETWORKS, (ALL, label), replicates) if not counts[key]]:
        raise UserError(f"The evaluation lacks the training of {', '.join(missing)}; run it.")
    if twice := [_name(key) for key, count in counts.items() if count > 1]:
        raise UserError(f"The evaluation was given the training of {', '.join(twice)} twice; give each once.")
    if leaks := [str(each) for each in found if each.origin != origin]:
        raise UserError(
            f"Not trained on the training part of these data: {', '.join(leaks)}; "
            "train again on it, else the held-out images leak."
        )
    by_key = {(each.network, each.label, each.replicate): each for each in found}
    labels: dict[Experiment, str] = {"complex": ALL, "simple": label}
    return {
        experiment: {network: [by_key[network, name, number] for number in replicates] for network in NETWORKS}
        for experiment, name in labels.items()
    }


def _name(key: tuple[Network, str, int]) -> str:
    network, label, replicate = key
    return f"{network} on {label} (replicate {replicate})"


def _single_label(trainings: Iterable[Training]) -> str:
    """The label of experiment 2."""
    labels = sorted({each.label for each in trainings} - {ALL})
    if len(labels) != 1:
        raise UserError(
            f"Experiment 2 is about one digit, but was given trainings on {', '.join(labels) or 'none'}; "
            "give a GAN's and a DCGAN's on the same."
        )
    return labels[0]
