"""What every pipeline promises under both runners."""

from unittest.mock import patch

from mlflow import MlflowClient
from workplace import computed

from components.core.storage import digest_path
from pipelines.runners import Task


class Promises:
    """Tests of a workplace on which `dvc repro`, then `ganflow run` (whose steps are `place.steps`), ran once.

    Attributes:
        metrics: some of those that the run of the whole pipeline shows.
        models: names of those it registers.
    """

    metrics: tuple[str, ...]
    models: tuple[str, ...]

    def dvc_output(self, place, step):
        """Where `dvc repro` put what a step of `ganflow run` made."""
        raise NotImplementedError

    def test_every_step_gives_the_same_bytes_under_both(self, place):
        for step in place.steps:
            assert digest_path(self.dvc_output(place, step)) == step["digest"], step

    def test_mlflow_shows_one_tree_with_a_run_for_every_task(self, place):
        (parent,) = place.runs("tags.`ganflow.profile` = 'default'")
        children = place.runs(f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
        assert parent.data.metrics.keys() >= set(self.metrics)
        assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
        assert len(children) == len(place.steps)
        assert {run.data.tags["ganflow.output"] for run in children} == {step["digest"] for step in place.steps}
        titles = {Task(step["step"], step["arguments"]).title for step in place.steps}
        assert {run.info.run_name for run in children} == titles  # by which the live view finds a step's progress

    def test_a_second_run_computes_nothing(self, place):
        register = place.steps[-1]["step"]
        assert computed(place.run()) == {register: 1}
        assert place.repro() == ["register"]

    def test_a_dry_run_for_the_cluster_knows_every_result(self, place):
        told = place("ganflow", "submit", place.pipeline, "--dry-run", "--data", place.raw)
        cached = len(place.steps) - 1
        assert f"{cached} of {cached} results are known here, {place.steps[-1]['step']} runs always" in told

    def test_a_second_run_against_another_server_registers_the_models_there(self, place):
        other = f"sqlite:///{place.folder}/other.db"
        with patch.dict(place.environment, MLFLOW_TRACKING_URI=other):
            told = place("ganflow", "run", place.pipeline, "--data", place.raw)
        assert "Nothing was recomputed" in told
        champions = {name: MlflowClient(other).get_model_version_by_alias(name, "champion") for name in self.models}
        assert {name: champion.version for name, champion in champions.items()} == dict.fromkeys(self.models, 1)
