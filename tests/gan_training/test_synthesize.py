"""The step that draws images with the trained E-GANs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.errors import UserError
from components.core.images import ImageSet, save_model
from components.gan_training.cardiac_step import synthesize
from components.gan_training.networks.egan import Generator
from components.gan_training.params import SynthesizeParams

PARAMS = SynthesizeParams(threads=1, seed=0, ratio=2, batch_size=4)
CONFIG = {"latent_dim": 4, "channels": 1, "width": 8, "size": 16}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten images of two classes in two folds."""
    numbers = np.arange(10)
    images = ImageSet(
        images=np.zeros((10, 1, 16, 16), dtype=np.float32),
        labels=(numbers > 5).astype(np.int64),
        classes=("well", "ill"),
        groups=numbers.astype(np.str_),
        folds=numbers % 2,
    )
    images.save(tmp_path / "data")
    return tmp_path / "data"


def generator_of(label: str, origin: str, folder: Path) -> Path:
    torch.manual_seed(0)
    generator = Generator(**CONFIG)
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.3)  # of an untrained one many images are blank
    save_model(folder / label, generator, CONFIG, origin=origin, label=label)
    return folder / label


def test_every_class_gets_its_ratio_from_its_own_generator(data: Path, tmp_path: Path) -> None:
    part = ImageSet.load(data).training(0)
    generators = [generator_of(label, part.digest(), tmp_path) for label in part.classes]
    synthesize(PARAMS, data=data, generators=generators, fold=0, out=tmp_path / "out")
    drawn = ImageSet.load(tmp_path / "out")
    assert drawn.counts() == {name: 2 * count for name, count in part.counts().items()}
    assert drawn.origin == part.digest()


def test_a_class_without_a_generator_is_named(data: Path, tmp_path: Path) -> None:
    generator = generator_of("ill", ImageSet.load(data).training(0).digest(), tmp_path)
    with pytest.raises(UserError, match="No generator was given for well"):
        synthesize(PARAMS, data=data, generators=[generator], fold=0, out=tmp_path / "out")


def test_a_generator_of_another_fold_is_refused(data: Path, tmp_path: Path) -> None:
    generators = [generator_of(label, "of another fold", tmp_path) for label in ("well", "ill")]
    with pytest.raises(UserError, match="was not trained on fold 0"):
        synthesize(PARAMS, data=data, generators=generators, fold=0, out=tmp_path / "out")
