"""The step that trains one variant of the colour GAN on one data set."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.core.contract import check
from components.core.errors import UserError
from components.core.images import NO_FOLD, TEST_FOLD, ImageSet, as_levels, load_model, model_facts, to_grey
from components.core.storage import digest_path
from components.core.telemetry import Record
from components.core.training import as_floats, centre_crop
from components.gan_training.colour_step import train_colour
from components.gan_training.networks.pix2pix import Generator
from components.gan_training.params import ColourParams

Train = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """20 photographs of 40 pixels, of two classes and an empty one; 5 of them are the test part, all of class "dog"."""
    rng = np.random.default_rng(0)
    numbers = np.arange(20)
    images = ImageSet(
        images=rng.integers(0, 256, (20, 3, 40, 40), dtype=np.uint8),
        labels=(numbers >= 12).astype(np.int64),
        classes=("dog", "bird", "fish"),
        groups=np.array([f"{number}.jpg" for number in numbers]),
        folds=np.where(numbers < 5, TEST_FOLD, NO_FOLD),
    )
    images.save(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def train(colour_params: Callable[..., ColourParams], data: Path, tmp_path: Path) -> Train:
    """Trains into `tmp_path / out` and returns that."""

    def run(
        variant: str = "hcegan", dataset: str = "all", replicate: int = 0, out: str = "out", **changes: Any
    ) -> Path:
        given = {"data": data, "variant": variant, "dataset": dataset, "replicate": replicate}
        train_colour(colour_params(**changes), **given, out=tmp_path / out)
        return tmp_path / out

    return run


def test_the_generator_is_saved_with_its_descent(train: Train, data: Path) -> None:
    assert model_facts(train("sa2", dataset="dog", replicate=3)) == {
        "origin": ImageSet.load(data).of_class("dog").training(TEST_FOLD).digest(),
        "kind": "sa2",
        "dataset": "dog",
        "replicate": 3,
    }


def test_the_test_images_are_rendered_in_their_order(train: Train, data: Path) -> None:
    out = train()
    rendered = np.load(out / "rendered.npy")
    assert rendered.dtype == np.uint8
    assert rendered.shape == (5, 3, 32, 32)
    originals = torch.from_numpy(np.array(ImageSet.load(data).test(TEST_FOLD).images))
    with torch.no_grad():
        expected = load_model(out, Generator)(to_grey(as_floats(centre_crop(originals, 32))))
    assert np.abs(as_levels(expected.numpy()).astype(int) - rendered).max() <= 1


def test_the_history_has_a_row_for_every_update(train: Train) -> None:
    with (train() / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    expected = {"discriminator_loss", "generator_loss", "l1_loss", "vanishing", "discriminator_margin"}
    assert expected <= rows[0].keys()
    assert {row["vanishing"] for row in rows} <= {"0.0", "1.0"}


def test_epochs_bound_the_updates(train: Train) -> None:
    history = (train(epochs=2.0, updates=1000) / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 8  # 15 images in batches of 4, twice


def test_sample_sheets_show_grey_rendered_and_original(train: Train, tmp_path: Path) -> None:
    from PIL import Image

    train(samples=2)
    sheets = sorted((tmp_path / "journals").rglob("samples/*.png"))
    assert [sheet.stem for sheet in sheets] == [f"{update:06d}" for update in range(11)]
    picture = np.asarray(Image.open(sheets[0]))
    assert picture.shape == (2 * 32, 3 * 32, 3)
    grey, original = picture[:, :32].astype(int), picture[:, 64:]
    assert (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(original @ [0.299, 0.587, 0.114] - grey[..., 0]).max() <= 1


def test_the_data_set_is_logged(train: Train, tmp_path: Path) -> None:
    train(dataset="dog")
    (journal,) = (tmp_path / "journals").glob("*/journal.db")
    logged = [event.content for event in Record(journal.parent).events("dataset")]
    assert [(event["name"], event["counts"]["dog"]) for event in logged] == [("dog, training part", 7)]


@pytest.mark.parametrize("variant", ["pix2pix", "hcegan"])
def test_the_same_parameters_give_the_same_bytes(variant: str, train: Train) -> None:
    outputs = [train(variant, out=name) for name in ("first", "second")]
    assert digest_path(outputs[0]) == digest_path(outputs[1])


def test_replicates_differ(train: Train) -> None:
    outputs = [train(replicate=number, out=str(number)) for number in range(2)]
    assert len({digest_path(out / "weights.safetensors") for out in outputs}) == 2


def test_an_unknown_variant_is_refused(train: Train) -> None:
    with pytest.raises(UserError, match="variant"):
        train("pix3pix")


def test_a_data_set_without_images_is_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images of class 'fish'; choose 'all' or one of dog, bird"):
        train(dataset="fish")
    assert not (tmp_path / "out").exists()


def test_a_data_set_without_test_images_is_refused(train: Train) -> None:
    with pytest.raises(UserError, match="'bird' has no test photographs"):
        train(dataset="bird")


def test_a_crop_larger_than_the_photographs_is_refused(train: Train) -> None:
    with pytest.raises(UserError, match="Crops of 64 pixels do not fit into photographs of 40"):
        train(crop=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 36}, "crop must be a multiple of 2 to the power of depth, 8"),
        ({"crop": 16}, "crop: must be ≥ 32"),
        ({"depth": 1}, "depth: must be ≥ 2"),
        ({"dropout": 1.0}, "dropout: must be < 1"),
        ({"learning_rate": 0.0}, "learning_rate: must be > 0"),
        ({"beta_1": 1.0}, "beta_1: must be < 1"),
        ({"l1_weight": -1.0}, "l1_weight: must be ≥ 0"),
        ({"largest_attention": 0}, "largest_attention: must be ≥ 1"),
        ({"samples": 0}, "samples: must be ≥ 1"),
    ],
)
def test_parameters_out_of_range_are_refused(
    change: dict[str, Any], message: str, colour_params: Callable[..., ColourParams]
) -> None:
    values = colour_params().model_dump() | change
    with pytest.raises(UserError, match=message):
        check(values, ColourParams, "colour.train")
