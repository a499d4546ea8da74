"""Real processes, really killed: every trainer resumes and ends with the same bytes."""

import os
import random
import shutil
import time

import numpy as np
import pytest
from forks import processes
from trainers import execute

from components.core.images import NO_FOLD, TEST_FOLD, ImageSet
from components.core.storage import digest_path
from components.data_prep.step import acquire, prepare, prepare_digits, simulate
from components.gan_training.cardiac_step import synthesize, train_egan
from pipelines.pipeline import find

KILLS = {"fp32": 5, "bf16": 2}
LENGTHS = {
    "cardiac.egan": "generations=60",
    "cardiac.simgan": "updates=120",
    "cardiac.classify": "updates=30",
    "digits.gan": "iterations=250",
    "digits.dcgan": "iterations=50",
    "digits.concept": "updates=80",
    "colour.train": "updates=50",
}
"""By section of params.yaml."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A fold's images and synthetic images, small; digits; photographs."""
    folder = tmp_path_factory.mktemp("inputs")
    os.environ |= {"GANFLOW_HOME": str(folder / "home"), "GANFLOW_JOURNALS": str(folder / "journals")}
    params = find("cardiac").load("smoke")
    simulate(params.simulate, out=folder / "raw")
    prepare(params.prepare, raw=folder / "raw", out=folder / "images")
    generators = [folder / "generators" / label for label in params.prepare.classes]
    for label, out in zip(params.prepare.classes, generators, strict=True):
        train_egan(params.egan, data=folder / "images", fold=0, replicate=0, label=label, out=out)
    synthesize(
        params.synthesize, data=folder / "images", generators=generators, fold=0, replicate=0, out=folder / "synthetic"
    )
    params = find("digits").load("smoke", ["digits.acquire.source=bundled"])
    acquire(params.acquire, out=folder / "raw-digits")
    prepare_digits(params.prepare, raw=folder / "raw-digits", out=folder / "digits")
    photographs().save(folder / "photographs")
    return folder


def photographs():
    """Ten pictures of noise, two of them for the test."""
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 36, 36), dtype=np.uint8)
    folds = np.where(np.arange(10) < 8, NO_FOLD, TEST_FOLD)
    return ImageSet(images, np.zeros(10, np.int64), ("photographs",), np.full(10, ""), folds)


def arguments(name, folder):
    fold, digits = {"data": folder / "images", "fold": 0, "replicate": 0}, {"data": folder / "digits"}
    return {
        "egan": fold | {"label": "patient"},
        "simgan": fold | {"synthetic": folder / "synthetic"},
        "classify": fold | {"network": "resnet50", "training_set": "egan", "generated": folder / "synthetic"},
        "gan": digits | {"label": "6", "replicate": 0},
        "dcgan": digits | {"label": "all", "replicate": 0},
        "concept": digits | {"concepts": "digits"},
        "train": {"data": folder / "photographs", "variant": "hcegan", "dataset": "all", "replicate": 0},
    }[name]


@pytest.mark.slow
@pytest.mark.parametrize("precision", KILLS)
@pytest.mark.parametrize("section", LENGTHS)
def test_a_trainer_killed_at_random_moments_ends_with_the_same_bytes(section, precision, inputs, tmp_path):
    kill_and_compare(section, precision, inputs, tmp_path, KILLS[precision])


def kill_and_compare(section, precision, inputs, tmp_path, planned):
    """Train in `tmp_path` once undisturbed and once killed as often as planned; the bytes must be the same."""
    pipeline, name = section.split(".")
    settings = [
        f"{section}.{LENGTHS[section]}",
        f"{section}.checkpoint_seconds=0.02",
        f"{section}.precision={precision}",
    ]
    params = getattr(find(pipeline).load("smoke", settings), name).model_dump_json()

    def start(out):
        given = arguments(name, inputs) | {"out": tmp_path / out}
        process = processes.Process(target=execute, args=(name, params, given, tmp_path / f"home-{out}"))
        process.start()
        return process

    begin = time.monotonic()
    left_alone = start("alone")
    left_alone.join()
    duration = time.monotonic() - begin
    assert left_alone.exitcode == 0

    kills = 0
    while True:
        process = start("killed")
        if kills < planned:
            process.join(timeout=random.uniform(0, duration / 3))
            kills += process.is_alive()
            process.kill()
        process.join()
        if process.exitcode == 0 and kills == planned:
            break
        if process.exitcode == 0:  # it outran the kills, as the machine is less busy now: kill another one, sooner
            shutil.rmtree(tmp_path / "killed")
            kills, duration = 0, duration / 2
    assert digest_path(tmp_path / "killed") == digest_path(tmp_path / "alone")
    assert not list((tmp_path / "home-killed" / "checkpoints").iterdir())
