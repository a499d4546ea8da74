"""The step that draws images with the trained E-GANs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.errors import UserError
from components.core.images import ImageSet, save_model
from components.core.storage import digest_path
from components.gan_training.cardiac_step import synthesize
from components.gan_training.networks.egan import Generator
from components.gan_training.params import SynthesizeParams

PARAMS = SynthesizeParams(threads=1, seed=0, ratio=2, redraws=4, batch_size=4)
CONFIG = {"latent_dim": 4, "channels": 1, "width": 8, "size": 16}
LEVELS = {"well": -0.5, "ill": 0.5}
"""The classes are told apart by their mean."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty images of two classes in two folds."""
    numbers = np.arange(20)
    labels = (numbers > 11).astype(np.int64)
    levels = np.array(list(LEVELS.values()))[labels, None, None, None]
    images = ImageSet(
        images=np.random.default_rng(0).normal(levels, 0.2, (20, 1, 16, 16)).clip(-1, 1).astype(np.float32),
        labels=labels,
        classes=tuple(LEVELS),
        groups=numbers.astype(np.str_),
        folds=numbers % 2,
    )
    images.save(tmp_path / "data")
    return tmp_path / "data"


def generator_of(label: str, origin: str, folder: Path, level: float | None = None) -> Path:
    """Draws its class's level, or another."""
    torch.manual_seed(0)
    generator = Generator(**CONFIG)
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    *_, last, _ = generator.layers
    last.bias.data[0] = np.arctanh(LEVELS[label] if level is None else level)  # the second is the grain's strength
    save_model(folder / label, generator, CONFIG, origin=origin, label=label)
    return folder / label


def test_every_class_gets_its_ratio_from_its_own_generator(data: Path, tmp_path: Path) -> None:
    part = ImageSet.load(data).training(0)
    generators = [generator_of(label, part.digest(), tmp_path) for label in part.classes]
    synthesize(PARAMS, data=data, generators=generators, fold=0, replicate=0, out=tmp_path / "out")
    drawn = ImageSet.load(tmp_path / "out")
    assert drawn.counts() == {name: 2 * count for name, count in part.counts().items()}
    assert drawn.origin == part.digest()


def test_a_generator_that_draws_the_other_class_is_told_and_counted(data: Path, tmp_path: Path, capsys) -> None:
    origin = ImageSet.load(data).training(0).digest()
    generators = [generator_of(label, origin, tmp_path, level=LEVELS["ill"]) for label in LEVELS]
    synthesize(PARAMS, data=data, generators=generators, fold=0, replicate=0, out=tmp_path / "out")
    counts = json.loads((tmp_path / "out" / "fidelity.json").read_text())
    assert counts["well"] == {"drawn": 60, "contradicting": 60, "left": 12}
    assert counts["ill"]["left"] == 0
    assert (
        "Of 60 images of well that were drawn, 60 look like another class; 12 of these stay" in capsys.readouterr().err
    )
    assert ImageSet.load(tmp_path / "out").counts() == {"well": 12, "ill": 8}


def test_the_same_images_are_drawn_and_drawn_again(data: Path, tmp_path: Path, monkeypatch) -> None:
    origin = ImageSet.load(data).training(0).digest()
    generators = [generator_of(label, origin, tmp_path, level=0.0) for label in LEVELS]
    for name in ("one", "other"):
        monkeypatch.setenv("GANFLOW_HOME", str(tmp_path / f"home-{name}"))
        synthesize(PARAMS, data=data, generators=generators, fold=0, replicate=0, out=tmp_path / name)
    assert json.loads((tmp_path / "one" / "fidelity.json").read_text())["well"]["contradicting"] > 0
    assert digest_path(tmp_path / "one") == digest_path(tmp_path / "other")


def test_a_class_without_a_generator_is_named(data: Path, tmp_path: Path) -> None:
    generator = generator_of("ill", ImageSet.load(data).training(0).digest(), tmp_path)
    with pytest.raises(UserError, match="No generator was given for well"):
        synthesize(PARAMS, data=data, generators=[generator], fold=0, replicate=0, out=tmp_path / "out")


def test_a_generator_of_another_fold_is_refused(data: Path, tmp_path: Path) -> None:
    generators = [generator_of(label, "of another fold", tmp_path) for label in ("well", "ill")]
    with pytest.raises(UserError, match="was not trained on fold 0"):
        synthesize(PARAMS, data=data, generators=generators, fold=0, replicate=0, out=tmp_path / "out")
