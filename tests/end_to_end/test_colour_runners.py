"""The colour pipeline, for real, under both runners, on pictures made for it."""

import contextlib
import json
import os
import signal
import subprocess
import time
from typing import get_args

import numpy as np
import pytest
import requests
from PIL import Image
from ports import free_port
from promises import Promises
from workplace import Workplace, computed, counts

from components.gan_training.params import Variant
from components.rendering.picture import read_picture
from components.rendering.render import render
from components.rendering.renderer import Renderer

VARIANTS = len(get_args(Variant))
EVERY_STEP = {"prepare-photographs": 1, "train-colour": VARIANTS, "evaluate-colour": 1, "register-colour": 1}
STEPS = {
    "prepare": "prepare-photographs",
    "train": "train-colour",
    "evaluate": "evaluate-colour",
    "register": "register-colour",
}
"""By stage of dvc.yaml."""


def paint(place):
    """Photographs of a sort: coloured gradients with a disc."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((60, 80))
    for part, count in (("train", 6), ("test", 3)):
        folder = place.folder / place.raw / part
        folder.mkdir(parents=True)
        for number in range(count):
            first, second, disc = random.integers(0, 256, (3, 3))
            image = first + (second - first) * (columns / 79)[..., None]
            image[np.hypot(rows - 30, columns - 40) < 18] = disc
            Image.fromarray(image.astype(np.uint8)).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("place"), "colour", paint)
    place.stages = as_steps(place.repro())
    place.steps = place.run()
    return place


def as_steps(stages):
    """Which steps the stages run."""
    return counts(STEPS[stage] for stage in stages)


@contextlib.contextmanager
def serving(place):
    """Address of an MLflow server that answers for the champion."""
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", "models:/colour-renderer@champion"]
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--port", str(port)],
        env=place.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{place.folder}/mlflow.db"},
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        while not _answers(address):
            assert server.poll() is None
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _answers(address):
    try:
        return requests.get(f"{address}/ping", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestBothRunners(Promises):
    """These run in order, on one workplace."""

    metrics = ("psnr/hcegan/mean", "grey/ssim")
    models = ("colour-renderer",)

    def dvc_output(self, place, step):
        given = step["arguments"]
        training = f"{given.get('variant')}-{given.get('dataset')}-{given.get('replicate')}"
        return {
            "prepare-photographs": place.output("images"),
            "train-colour": place.output("trainings", training),
            "evaluate-colour": place.output("report"),
            "register-colour": place.output("registered"),
        }[step["step"]]

    def test_the_first_runs_computed_every_step(self, place):
        assert computed(place.steps) == place.stages == EVERY_STEP

    def test_the_numbers_of_every_variant_stand_beside_greys(self, place):
        metrics = json.loads(place.output("report", "metrics.json").read_text())
        assert list(metrics["psnr"]) == list(metrics["ssim"]) == list(get_args(Variant))
        assert metrics["grey"].keys() == {"psnr", "ssim"}

    def test_the_champion_colours_a_picture_from_the_registry_alone(self, place):
        place("ganflow", "colour", f"{place.raw}/test/0.png", "--out", "coloured")
        with Image.open(place.folder / "coloured" / "0-coloured.png") as picture:
            assert picture.size == (80, 60)

    def test_mlflow_serves_the_champion_and_it_colours_alike(self, place):
        with serving(place) as address:

            def predict(grey):
                answer = requests.post(f"{address}/invocations", json={"inputs": grey.tolist()}, timeout=30)
                return np.array(answer.json()["predictions"], np.float32)

            served = render(Renderer(predict, 32, 32), read_picture(place.folder / place.raw / "test" / "0.png"))
        with Image.open(place.folder / "coloured" / "0-coloured.png") as alone:
            assert np.array_equal(served, alone)

    def test_a_parameter_of_the_report_reruns_the_report_and_nothing_before_it(self, place):
        place.edit("params.yaml", "shown_size: 32", "shown_size: 24")
        dependent = {"evaluate-colour": 1, "register-colour": 1}
        assert computed(place.run()) == dependent
        assert as_steps(place.repro()) == dependent

    def test_one_byte_of_a_photograph_reruns_everything(self, place):
        path = place.folder / place.raw / "train" / "0.png"
        with Image.open(path) as image:
            pixels = np.array(image)
        pixels[30, 40] ^= 0x40
        Image.fromarray(pixels).save(path)
        assert computed(place.run()) == EVERY_STEP
        assert place.changed() == ["prepare", "register"]
