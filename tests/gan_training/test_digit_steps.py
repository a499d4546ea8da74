"""The steps that train the GAN and the DCGAN of paper 2."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.core.errors import UserError
from components.core.images import NO_FOLD, ImageSet, load_model, model_facts
from components.core.storage import digest_path
from components.gan_training.digits_step import train_dcgan, train_gan
from components.gan_training.networks import dcgan, gan

STEPS = {"gan": train_gan, "dcgan": train_dcgan}
GENERATORS = {"gan": gan.Generator, "dcgan": dcgan.Generator}
Train = Callable[..., Path]
both = pytest.mark.parametrize("kind", STEPS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 images of two classes and an empty one, 8 of them the test part."""
    rng = np.random.default_rng(0)
    numbers = np.arange(40)
    images = ImageSet(
        images=rng.integers(0, 256, (40, 1, 28, 28), dtype=np.uint8),
        labels=numbers % 2,
        classes=("0", "6", "9"),
        groups=np.full(40, ""),
        folds=np.where(numbers < 8, 0, NO_FOLD),
    )
    images.save(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def train(params: Callable[..., Any], data: Path, tmp_path: Path) -> Train:
    """Trains into `tmp_path / out` and returns that."""

    def run(kind: str, out: str = "out", label: str = "all", replicate: int = 0, **changes: Any) -> Path:
        STEPS[kind](params(kind, **changes), data=data, label=label, replicate=replicate, out=tmp_path / out)
        return tmp_path / out

    return run


@both
def test_the_generator_is_saved_with_its_descent(kind: str, train: Train, data: Path) -> None:
    out = train(kind, label="6")
    assert model_facts(out) == {
        "kind": kind,
        "label": "6",
        "replicate": 0,
        "origin": ImageSet.load(data).training(0).digest(),
    }
    generator = load_model(out, GENERATORS[kind])
    images = generator(torch.randn(3, generator.latent_dim))
    assert images.shape == (3, 1, 28, 28)


@both
def test_samples_are_kept_at_the_papers_milestones(kind: str, train: Train) -> None:
    milestones = train(kind) / "milestones"
    pictures = {path.name: np.load(path) for path in milestones.iterdir()}
    assert sorted(pictures) == ["000000.npy", "000001.npy", "000005.npy", "000010.npy"]
    assert all(each.dtype == np.uint8 and each.shape == (4, 1, 28, 28) for each in pictures.values())
    assert not np.array_equal(pictures["000000.npy"], pictures["000010.npy"])


@both
def test_the_history_has_a_row_for_every_iteration(kind: str, train: Train) -> None:
    with (train(kind) / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    assert {"discriminator_loss", "generator_loss", "diversity_ratio", "discriminator_margin"} <= rows[0].keys()


@both
def test_the_same_parameters_give_the_same_bytes(kind: str, train: Train) -> None:
    outputs = [train(kind, out=name) for name in ("first", "second")]
    assert digest_path(outputs[0]) == digest_path(outputs[1])


def test_replicates_differ_in_their_seed(train: Train) -> None:
    outputs = [train("gan", out=f"replicate-{number}", replicate=number) for number in range(2)]
    assert len({digest_path(out / "weights.safetensors") for out in outputs}) == 2
    assert [model_facts(out)["replicate"] for out in outputs] == [0, 1]


def test_the_label_decides_which_images_are_learnt(train: Train) -> None:
    outputs = [train("gan", out=label, label=label) for label in ("all", "0", "6")]
    assert len({digest_path(out / "weights.safetensors") for out in outputs}) == 3


@both
def test_fewer_images_than_a_batch_are_enough(kind: str, train: Train) -> None:
    train(kind, label="6", batch_size=50, iterations=2)


@pytest.mark.parametrize("label", ["7", "9"])
def test_a_label_without_images_is_refused(label: str, train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no images of class '{label}'; choose 'all' or one of 0, 6"):
        train("gan", label=label)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("gan", {"batch_size": 1}),
        ("gan", {"generator_widths": [4, 4]}),
        ("gan", {"discriminator_widths": [4, 0]}),
        ("gan", {"beta_1": 1.0}),
        ("dcgan", {"dropout": 1.0}),
        ("dcgan", {"momentum": 1.0}),
        ("dcgan", {"discriminator_steps": 0}),
        ("dcgan", {"generator_decay": -1.0}),
    ],
)
def test_parameters_out_of_range_are_refused(kind: str, change: dict[str, Any], params: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        params(kind, **change)
