"""Real models in a real registry."""

import numpy as np
import pytest
import torch
from PIL import Image

from components.core.errors import UserError
from components.core.telemetry import Journal
from components.core.telemetry.courier import Courier
from components.core.telemetry.tracking import register_model
from components.gan_training.networks.pix2pix import Generator
from components.rendering.render import render_files
from components.rendering.renderer import load_renderer

SIDE = 16


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a registry whose champion colours pictures of 16×16."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GANFLOW_PARENT_RUN"):
            patch.delenv(name, raising=False)
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        torch.manual_seed(0)
        network = Generator(width=4, depth=3, dropout=0.0, attention=None, attention_from=0)
        journals = home / "journals"
        patch.setenv("GANFLOW_JOURNALS", str(journals))
        with Courier(journals), Journal.open("register-colour", {}, {}, "f" * 64, {}) as journal:
            for name, module, example in (
                ("colour-renderer", network, torch.zeros(2, 1, SIDE, SIDE)),
                ("classifier", torch.nn.Linear(4, 2), torch.zeros(2, 4)),
            ):
                register_model(journal, name, module, example, metric="psnr", value=20.0, tags={})
        yield home


@pytest.mark.slow
def test_the_champion_renders_a_picture_file(home, tmp_path, capfd):
    levels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    (written,) = render_files([tmp_path / "a.png"], "models:/colour-renderer@champion", tmp_path / "out")
    assert Image.open(written).size == (60, 40)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_model_in_a_folder_is_the_registered_one(home, tmp_path):
    champion = load_renderer("models:/colour-renderer@champion")
    (folder,) = (path.parent for path in home.rglob("MLmodel") if "16, 16" in path.read_text())
    same = load_renderer(str(folder))
    grey = np.random.default_rng(0).random((1, 1, SIDE, SIDE), dtype=np.float32)
    assert (champion.rows, champion.columns) == (same.rows, same.columns) == (SIDE, SIDE)
    assert (champion.predict(grey) == same.predict(grey)).all()


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["models:/none@champion", "models:/colour-renderer@none", "models:/colour-renderer/9"])
def test_a_model_that_is_not_registered_is_told(home, uri):
    with pytest.raises(UserError, match=r"^There is no model models:/.* in sqlite:.*; run `ganflow run colour` first"):
        load_renderer(uri)


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(UserError, match=r"^There is no model /.*; run `ganflow run colour` first"):
        load_renderer(str(tmp_path))


@pytest.mark.slow
def test_a_model_of_something_else_is_told(home):
    with pytest.raises(UserError, match=r"classifier@champion takes arrays of shape .*not grey pictures"):
        load_renderer("models:/classifier@champion")
