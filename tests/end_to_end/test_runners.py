"""The whole pipeline, for real, under both runners: same bytes, nothing stale, nothing rerun in vain."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import SimpleITK as sitk
from mlflow import MlflowClient
from mlflow.entities import Run

from components.core.courier import Courier
from components.core.digest import digest_path
from components.core.imageset import ImageSet
from components.core.modeldir import model_facts
from pipelines.runners import Task

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
HEARTS = "data/hearts"
EVERY_STEP = {
    "prepare": 1,
    "train-egan": 4,
    "synthesize": 2,
    "refine": 2,
    "classify": 16,
    "sweep": 4,
    "gather": 2,
    "evaluate": 1,
    "register": 1,
}


class Workplace:
    """A copy of the checkout in which commands run on the smoke profile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True, text=True)
        for name in filter(None, tracked.stdout.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, folder / name)
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),  # before the checkout that is installed
            "GANFLOW_HOME": str(folder / "home"),
            "OMP_NUM_THREADS": "1",
        }
        self("git", "init", "-q")
        self("ganflow", "params", "cardiac", "--profile", "smoke", "--write")
        self("ganflow", "step", "cardiac", "simulate", f"out={HEARTS}")
        self.edit("params.yaml", "cardiac: out/dvc/cardiac/raw", f"cardiac: {HEARTS}")

    def __call__(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *options: str) -> list[dict]:
        """`ganflow run` on the raw data; the steps it went through."""
        self("ganflow", "run", "cardiac", "--data", HEARTS, *options)
        return json.loads((self.folder / "out" / "cardiac" / "steps.json").read_text())

    def repro(self, *options: str) -> list[str]:
        """`dvc repro`; names of the stages that ran, with repetition."""
        journals = self.folder / "journals"
        self.environment["GANFLOW_JOURNALS"] = str(journals)
        with Courier(journals):  # one for all stages: a courier of its own costs each of them seconds
            printed = self("dvc", "repro", *options)
        del self.environment["GANFLOW_JOURNALS"]
        lines = [line for line in printed.splitlines() if line.startswith("Running stage ")]
        return [line.split("'")[1].partition("@")[0] for line in lines]

    def runs(self, condition: str) -> list[Run]:
        """The pipeline's MLflow runs that fulfil a condition."""
        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        experiment = client.get_experiment_by_name("cardiac").experiment_id
        return client.search_runs([experiment], condition, max_results=1000)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))


def counts(names):
    return {name: list(names).count(name) for name in names}


def computed(steps):
    return counts([step["step"] for step in steps if step["state"] == "done"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("place"))
    place.stages = place.repro()
    place.steps = place.run()
    return place


def dvc_output(place, step):
    """Where `dvc repro` put what a step of `ganflow run` made."""
    work = place.folder / "out" / "dvc" / "cardiac"
    arguments = step["arguments"]
    fold = work / f"fold-{arguments.get('fold')}"
    return {
        "prepare": work / "images",
        "train-egan": fold / "generators" / str(arguments.get("label")),
        "synthesize": fold / "synthetic",
        "refine": fold / "refined",
        "classify": fold / "trials" / f"{arguments.get('network')}-{arguments.get('training_set')}",
        "sweep": fold / "sweeps" / str(arguments.get("network")),
        "gather": work / "gathered" / str(arguments.get("fold")),
        "evaluate": work / "report",
        "register": work / "registered",
    }[step["step"]]


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestBothRunners:
    """These run in order, on one workplace."""

    def test_every_step_gives_the_same_bytes_under_both(self, place):
        assert computed(place.steps) == EVERY_STEP
        assert len(place.stages) == 1 + sum(EVERY_STEP.values())
        for step in place.steps:
            assert digest_path(dvc_output(place, step)) == step["digest"], step

    def test_mlflow_shows_one_tree_with_a_run_for_every_task(self, place):
        (parent,) = place.runs("tags.`ganflow.profile` = 'default'")
        children = place.runs(f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
        assert parent.data.metrics.keys() >= {"accuracy/resnet50/none/mean", "ratio/xception/1"}
        assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
        assert len(children) == len(place.steps)
        outputs = {run.data.tags["ganflow.output"] for run in children}
        assert outputs == {step["digest"] for step in place.steps}
        titles = {Task(step["step"], step["arguments"]).title for step in place.steps}
        assert {run.info.run_name for run in children} == titles  # by which the live view finds a step's progress

    def test_mlflow_shows_a_run_for_every_stage_of_dvc(self, place):
        stages = {run.data.tags["DVC_STAGE"] for run in place.runs("tags.DVC_STAGE != ''")}
        assert len(stages) == len(place.stages)
        assert "train-egan@0-patient" in stages

    def test_lineage_leads_by_digests_from_the_classifier_to_the_prepared_images(self, place):
        found = place.runs("tags.`ganflow.argument.training_set` = 'simgan'")
        tags, chain = found[0].data.tags, []
        for name in ("generated", "synthetic", "generators", "data"):
            digest = tags[f"ganflow.input.{name}"].split(",")[0]
            # Two runners wrote the same bytes; either is an origin.
            writer, _ = place.runs(f"tags.`ganflow.output` = '{digest}'")
            tags = writer.data.tags
            chain.append(tags["ganflow.step"])
        assert chain == ["refine", "synthesize", "train-egan", "prepare"]
        training_set = found[0].inputs.dataset_inputs[0].dataset
        assert training_set.name.endswith("training part")

    def test_the_champions_work_from_the_registry_alone(self, place):
        # Not by the environment: a test before this one may have set MLflow's global address, which wins.
        mlflow.set_tracking_uri(f"sqlite:///{place.folder}/mlflow.db")
        inputs = {
            "generator": np.zeros((3, 64), np.float32),
            "refiner": np.zeros((3, 1, 32, 32), np.float32),
            "classifier": np.zeros((3, 1, 32, 32), np.float32),
        }
        shapes = {
            name: mlflow.pyfunc.load_model(f"models:/cardiac-{name}@champion").predict(batch).shape
            for name, batch in inputs.items()
        }
        assert shapes == {"generator": (3, 2, 1, 32, 32), "refiner": (3, 1, 32, 32), "classifier": (3, 2)}

    def test_no_patient_and_no_generated_image_crosses_a_fold(self, place):
        work = place.folder / "out" / "dvc" / "cardiac"
        images = ImageSet.load(work / "images")
        for fold in (0, 1):
            training = images.training(fold)
            assert set(training.groups.tolist()).isdisjoint(images.test(fold).groups.tolist())
            for kind in ("synthetic", "refined"):
                assert ImageSet.load(work / f"fold-{fold}" / kind).origin == training.digest()
            for model in work.glob(f"fold-{fold}/*/*/config.json"):
                assert model_facts(model.parent)["origin"] == training.digest()

    def test_a_second_run_computes_nothing(self, place):
        assert computed(place.run()) == {}
        assert place.repro() == []

    def test_a_parameter_of_simgan_reruns_what_hangs_on_it_and_nothing_else(self, place):
        dependent = {"refine": 2, "classify": 4, "gather": 2, "evaluate": 1, "register": 1}
        place.edit("params.yaml", "regularisation:", "regularisation: 0.4321 #")
        steps = place.run()
        assert computed(steps) == dependent
        rerun = [step for step in steps if step["step"] == "classify" and step["state"] == "done"]
        assert {step["arguments"]["training_set"] for step in rerun} == {"simgan"}
        stages = counts(place.repro())
        assert stages == {name.replace("classify", "classify-simgan"): count for name, count in dependent.items()}

    def test_a_changed_line_of_code_reruns_its_step(self, place):
        name = "components/evaluation/scores.py"
        (place.folder / name).write_text((place.folder / name).read_text() + "\n# changed\n")
        dependent = {"gather": 2, "evaluate": 1, "register": 1}
        assert computed(place.run()) == dependent
        assert counts(place.repro()) == dependent

    def test_one_byte_of_raw_data_reruns_everything(self, place):
        path = str(min((place.folder / HEARTS / "images").iterdir()))
        image = sitk.ReadImage(path)
        image[80, 80, 0] = image[80, 80, 0] ^ 0x40
        sitk.WriteImage(image, path)
        assert computed(place.run()) == EVERY_STEP
        stages = counts(place.repro())
        assert stages == {
            **EVERY_STEP,
            "classify": 8,
            "classify-egan": 4,
            "classify-simgan": 4,
        }
