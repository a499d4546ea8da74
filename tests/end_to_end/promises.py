"""What every pipeline promises under both runners."""

from workplace import computed

from components.core.storage import digest_path
from pipelines.runners import Task


class Promises:
    """Tests of a workplace on which `dvc repro`, then `ganflow run` (whose steps are `place.steps`), ran once.

    Attributes:
        metrics: some of those that the run of the whole pipeline shows.
    """

    metrics: tuple[str, ...]

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
        assert computed(place.run()) == {}
        assert place.repro() == []

    def test_a_dry_run_for_the_cluster_knows_every_result(self, place):
        told = place("ganflow", "submit", place.pipeline, "--dry-run", "--data", place.raw)
        assert f"{len(place.steps)} of {len(place.steps)} results are known" in told
