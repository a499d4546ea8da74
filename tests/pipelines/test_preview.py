"""What a dry run tells; tests/end_to_end hold whole runs against it."""

import pytest

from components.core.errors import UserError
from components.data_prep.step import prepare, simulate
from pipelines.data import Source, resolve
from pipelines.pipeline import find
from pipelines.preview import Preview


@pytest.fixture
def cardiac():
    pipeline = find("cardiac")
    return pipeline, pipeline.load("smoke")


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def planned(pipeline, params, source=None):
    return {task.title: task for task in Preview(pipeline, params, source).tasks}


def test_a_first_task_has_the_fingerprint_that_it_will_have_and_the_others_hang_on_it(cardiac, tmp_path):
    pipeline, params = cardiac
    tasks = planned(pipeline, params)
    assert tasks.pop("simulate").fingerprint == simulate(params.simulate, out=tmp_path / "raw")["fingerprint"]
    assert {task.hangs_on for task in tasks.values()} == {("simulate",)}
    assert len(tasks) == 46
    assert list(tmp_path.glob("*.db")) == []


def test_replicates_share_what_is_prepared_and_have_all_else_of_their_own(cardiac):
    pipeline, params = cardiac
    titles = planned(pipeline, params.model_copy(update={"replicates": [0, 3]}))
    shared = {title for title in titles if "replicate=" not in title}
    assert shared == {"simulate", "prepare", "evaluate", "register"}
    first, second = ({title for title in titles if f"replicate={number}" in title} for number in (0, 3))
    assert {title.replace("replicate=0", "replicate=3") for title in first} == second
    assert len(first) == 43


def test_only_the_simulated_cohort_has_an_oracle(cardiac):
    pipeline, params = cardiac
    titles = planned(pipeline, params), planned(pipeline, params, Source("s3://hearts", "5" * 64))
    assert [sum("oracle" in title for title in each) for each in titles] == [4, 0]
    assert [sum("=repeat" in title for title in each) for each in titles] == [4, 4]


def test_too_few_further_people_for_the_oracle_are_told_before_anything_runs(cardiac):
    pipeline, _ = cardiac
    params = pipeline.load("smoke", ["cardiac.simulate.reserve=1"])
    with pytest.raises(UserError, match=r"cardiac\.simulate\.reserve must be at least .*, 2; raise it"):
        pipeline.graph(params, None)
    pipeline.graph(params.model_copy(update={"controls": ["repeat"]}), None)


def test_own_data_give_the_first_fingerprint(cardiac, tmp_path):
    pipeline, params = cardiac
    raw, images = tmp_path / "raw", tmp_path / "images"
    simulate(params.simulate, out=raw)
    tasks = planned(pipeline, params, resolve(str(raw)))
    assert tasks.pop("prepare").fingerprint == prepare(params.prepare, raw=raw, out=images)["fingerprint"]
    assert tasks["train-egan fold=0 label=patient replicate=0"].line.endswith(": hangs on prepare")


def test_what_lies_elsewhere_has_another_digest_than_its_content(cardiac):
    tasks = planned(*cardiac, Source("s3://hearts", "5" * 64))
    assert {task.hangs_on for task in tasks.values()} == {("the data",)}


def test_a_tracking_server_that_is_away_is_told_once_and_asked_once(cardiac, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    preview = Preview(*cardiac, None)
    assert preview.problem.startswith("MLflow at http://127.0.0.1:9 cannot be used")
    assert preview.tasks[0].line.endswith("simulate: to be computed")
