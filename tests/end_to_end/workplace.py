"""A copy of the checkout in which whole pipelines run, for real, under both runners."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from components.core.contract import read_yaml
from components.core.telemetry.courier import Courier

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


class Workplace:
    """Commands run on one pipeline's smoke profile, on raw data that a step of it brings.

    Args:
        folder: to copy the checkout into.
        pipeline: its name.
        bring: writes the raw data into the folder `raw` of the workplace.
    """

    def __init__(self, folder: Path, pipeline: str, bring: Callable[["Workplace"], object]) -> None:
        self.folder, self.pipeline = folder, pipeline
        self.raw = "data/raw"
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True, text=True)
        for name in filter(None, tracked.stdout.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, folder / name)
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),  # before the checkout that is installed
            "GANFLOW_HOME": str(folder / "home"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",  # a test before may have set another
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # a hundred processes import what lies here
        }
        self("git", "init", "-q")
        self("ganflow", "params", pipeline, "--profile", "smoke", "--write")
        bring(self)
        default = read_yaml(folder / "params.yaml")["data"][pipeline]
        self.edit("params.yaml", f"  {pipeline}: {default}", f"  {pipeline}: {self.raw}")

    def __call__(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *options: str) -> list[dict]:
        """`ganflow run` on the raw data; the steps it went through."""
        self("ganflow", "run", self.pipeline, "--data", self.raw, *options)
        return json.loads((self.folder / "out" / self.pipeline / "steps.json").read_text())

    def repro(self, stage: str = "*") -> list[str]:
        """`dvc repro` of the pipeline, or up to a stage; the stages that ran, each as often as it did."""
        journals = self.folder / "journals"
        self.environment["GANFLOW_JOURNALS"] = str(journals)
        with Courier(journals):  # one for all stages: a courier of its own costs each of them seconds
            printed = self("dvc", "repro", "--glob", f"{self.pipeline}-{stage}")
        del self.environment["GANFLOW_JOURNALS"]
        lines = [line for line in printed.splitlines() if line.startswith("Running stage ")]
        return self._own(line.split("'")[1] for line in lines)

    def changed(self) -> list[str]:
        """The pipeline's stages whose own inputs changed since `dvc repro`, named as that names them."""
        return self._own(json.loads(self("dvc", "status", "--json")))

    def output(self, *parts: str) -> Path:
        """A folder that `dvc repro` writes."""
        return self.folder.joinpath("out", "dvc", self.pipeline, *parts)

    def runs(self, condition: str) -> list[Run]:
        """The pipeline's MLflow runs that fulfil a condition."""
        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        experiment = client.get_experiment_by_name(self.pipeline).experiment_id
        return client.search_runs([experiment], condition, max_results=1000)

    def _own(self, stages: Iterable[str]) -> list[str]:
        """The pipeline's among stages, without its name and what tells those of a matrix apart."""
        prefix = f"{self.pipeline}-"
        return [name.partition("@")[0].removeprefix(prefix) for name in stages if name.startswith(prefix)]

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    def append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a") as stream:
            stream.write(line)


def counts(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs."""
    names = list(names)
    return {name: names.count(name) for name in names}


def computed(steps: list[dict]) -> dict[str, int]:
    """How often each step of a run was computed, not taken from the cache."""
    return counts(step["step"] for step in steps if step["state"] == "done")
