"""The tasks of a compiled pipeline are those that a local run reaches."""

import pytest
from google.protobuf import json_format
from kfp import dsl

from pipelines.data import Source
from pipelines.pipeline import NAMES, find
from pipelines.plan import plan
from pipelines.preview import Preview


@pytest.mark.parametrize("name", NAMES)
def test_a_version_plans_the_tasks_that_a_local_run_reaches(name):
    pipeline = find(name)
    source = Source("s3://photographs", "0" * 32) if name == "colour" else None
    params = pipeline.load("smoke") if source else pipeline.settle(pipeline.load("smoke"))
    specification = json_format.MessageToDict(pipeline.graph(params, source).pipeline_spec)
    titles = [each.task("waiting").title for each in plan(specification)]
    assert sorted(titles) == sorted(each.title for each in Preview(pipeline, params, source).tasks)
    assert len(set(titles)) == len(titles)


def test_a_loop_may_go_over_several_values_at_once():
    @dsl.component(base_image="none")
    def train(fold: int, replicate: int):
        """Stands for a step."""

    @dsl.pipeline
    def pipeline():
        with dsl.ParallelFor([{"fold": 0, "replicate": 7}, {"fold": 1, "replicate": 8}]) as item:
            train(fold=item.fold, replicate=item.replicate)

    planned = plan(json_format.MessageToDict(pipeline.pipeline_spec))
    assert [each.task("waiting").title for each in planned] == ["train fold=0 replicate=7", "train fold=1 replicate=8"]
    assert planned[1].node == "root.for-loop-2.iteration-iterations(1:1).iteration-item.train"
