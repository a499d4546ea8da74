"""Delivery to real MLflow stores and servers, by real couriers, through real kills; and the model registry."""

import contextlib
import http.server
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from deliveries import all_runs, deliver, left, open_journal, points, the_run, wait_until
from mlflow import MlflowClient
from ports import free_port

from components.core.errors import UserError
from components.core.telemetry import Journal
from components.core.telemetry.courier import Courier
from components.core.telemetry.tracking import end_killed, open_pipeline_run, register_model

pytestmark = pytest.mark.usefixtures("home")

DIE_IN_THE_MIDDLE = """
import itertools, os, signal
from sqlalchemy import Engine, event

statements = itertools.count()

@event.listens_for(Engine, "after_cursor_execute")
def die(*_):
    if next(statements) == 50:
        os.kill(os.getpid(), signal.SIGKILL)
"""

OPEN_A_STORE = """
import sys
from components.core.telemetry.tracking import Store
with Store(sys.argv[1]).client() as client:
    assert client.get_experiment("0")
"""


def test_everything_a_step_logs_is_in_mlflow(home: Path, journals: Path):
    (home / "notes.txt").write_text("kept")
    with open_journal(inputs={"images": "a" * 64}) as journal:
        journal.history([{"loss": 1.0 / (step + 1), "score": float("nan")} for step in range(1500)], first=0)
        journal.metrics({"loss": 7.0}, 1500)
        journal.image("samples/step-1", np.zeros((4, 4)))
        journal.artifact(home / "notes.txt", folder="texts")
        journal.dataset("cohort", "0123456789abcdef0123456789abcdef.dir", "s3://bucket/cohort", {"images": 300})
        journal.output("d" * 64)
    deliver(journals)
    run, client = the_run(), MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    assert (run.info.run_name, run.info.status) == ("train-egan fold=0", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == "ganflow"
    assert run.data.params == {"gamma": "0.5", "fold": "0"}
    assert run.data.tags["ganflow.fingerprint"] == "f" * 64
    assert run.data.tags["ganflow.input.images"] == "a" * 64
    assert run.data.tags["ganflow.output"] == "d" * 64
    assert sorted(points(run, "loss")) == [*((step, 1.0 / (step + 1)) for step in range(1500)), (1500, 7.0)]
    assert len(points(run, "score")) == 1500
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("cohort", "0123456789abcdef0123456789abcdef.dir")
    assert [each.path for each in client.list_artifacts(run.info.run_id, "samples")] == ["samples/step-1.png"]
    assert Path(client.download_artifacts(run.info.run_id, "texts/notes.txt")).read_text() == "kept"
    assert left(journals) == []


def test_an_error_shows_in_mlflow(journals: Path):
    with pytest.raises(UserError), open_journal():
        raise UserError("The cohort is empty.")
    deliver(journals)
    assert the_run().info.status == "FAILED"
    assert the_run().data.tags["ganflow.error"] == "The cohort is empty."


def test_a_living_step_is_delivered_as_it_goes_and_the_machines_load_with_it(
    journals: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("components.core.telemetry.courier._SAMPLE_SECONDS", 0.1)
    with Courier(journals), open_journal() as journal:
        journal.metrics({"loss": 1.0}, 0)
        wait_until(lambda: all_runs() and points(the_run(), "loss"))
        assert the_run().info.status == "RUNNING"
        wait_until(lambda: points(the_run(), "system/cpu_utilization_percentage"))


def test_what_a_dead_courier_did_is_not_doubled(journals: Path, home: Path):
    with open_journal() as journal:
        journal.history([{"loss": float(step)} for step in range(2500)], first=0)
    shutil.copytree(journal.folder, home / "before")
    deliver(journals)
    shutil.copytree(home / "before", journal.folder)  # a courier that died before it noted anything
    deliver(journals)
    assert sorted(points(the_run(), "loss")) == [(step, float(step)) for step in range(2500)]


def test_a_run_id_in_the_environment_beats_the_parent(journals: Path, monkeypatch: pytest.MonkeyPatch):
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    given, parent = (client.create_run("0", run_name=name).info.run_id for name in ("given", "parent"))
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setenv("GANFLOW_PARENT_RUN", parent)
    with open_journal() as journal:
        journal.metrics({"loss": 1.0}, 0)
    deliver(journals)
    assert {run.info.run_id for run in all_runs()} == {given, parent}
    run = client.get_run(given)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert "mlflow.parentRunId" not in run.data.tags


def test_a_task_of_kubeflow_logs_its_arguments_in_the_words_of_its_plugin(
    journals: Path, monkeypatch: pytest.MonkeyPatch
):
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("KFP_MLFLOW_CONFIG", "{}")
    with open_journal(arguments={"fold": 0, "treatment": "gan", "klass": "mâle"}):
        pass
    deliver(journals)
    for name, value in {"fold": "0", "treatment": '"gan"', "klass": '"mâle"'}.items():
        client.log_param(run_id, name, value)  # as the plugin does; another value would be refused
    assert the_run().data.params["gamma"] == "0.5"
    assert the_run().data.tags["ganflow.argument.treatment"] == "gan"


def test_a_task_of_a_kubeflow_loop_hangs_below_its_pipeline_run(journals: Path, monkeypatch: pytest.MonkeyPatch):
    client, ids = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]), [""]
    for name in ("cardiac", "for-loop-1", "for-loop-2", "train-egan"):
        tags = {"mlflow.parentRunId": ids[-1]} if ids[-1] else {"kfp.pipeline_run_id": "4acb91e3"}
        ids.append(client.create_run("0", run_name=name, tags=tags).info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", ids[-1])
    with open_journal():
        pass
    deliver(journals)
    assert client.get_run(ids[-1]).data.tags["mlflow.parentRunId"] == ids[1]
    assert client.get_run(ids[-2]).data.tags["mlflow.parentRunId"] == ids[2]


def test_what_mlflow_refuses_does_not_hold_up_the_rest(journals: Path, monkeypatch: pytest.MonkeyPatch):
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run_id = client.create_run("0").info.run_id
    client.log_param(run_id, "gamma", "another")  # a parameter cannot be changed
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with open_journal() as journal:
        journal.metrics({"loss": 1.0}, 0)
    deliver(journals)
    assert the_run().data.metrics == {"loss": 1.0}
    assert left(journals) == []


def test_a_run_that_is_gone_holds_up_nobody(journals: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with open_journal() as lost:
        pass
    monkeypatch.delenv("MLFLOW_RUN_ID")
    with open_journal() as journal:
        journal.metrics({"loss": 1.0}, 0)
    deliver(journals)
    assert the_run().data.metrics == {"loss": 1.0}
    assert left(journals) == [lost.folder]


def test_a_pipeline_run_is_one_tree(home: Path, journals: Path, monkeypatch: pytest.MonkeyPatch):
    (home / "report.html").write_text("<p>done</p>")
    with Courier(journals):
        params, tags = {"egan": {"gamma": 0.5}}, {"ganflow.pipeline": "cardiac"}
        parent = open_pipeline_run("cardiac", "cardiac smoke", params, tags)
        for name, value in parent.environment().items():
            monkeypatch.setenv(name, value)
        for fold in range(2):
            with open_journal(arguments={"fold": fold}):
                pass
        parent.finish("FINISHED", {"accuracy": 0.9}, {"ganflow.best": "simgan"}, [home / "report.html"])
    runs = {run.info.run_name: run for run in all_runs()}
    top = runs.pop("cardiac smoke")
    assert (top.info.run_id, top.info.status, top.data.metrics) == (parent.run_id, "FINISHED", {"accuracy": 0.9})
    assert top.data.params == {"egan.gamma": "0.5"}
    assert (top.data.tags["ganflow.pipeline"], top.data.tags["ganflow.best"]) == ("cardiac", "simgan")
    assert set(runs) == {"train-egan fold=0", "train-egan fold=1"}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.run_id}
    assert {run.info.experiment_id for run in runs.values()} == {parent.experiment_id}


@pytest.fixture
def plugins_tree():
    """MLflow's runs of a pipeline that was cancelled, as Kubeflow's plugin leaves them: name → id."""
    client, ended = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]), 1_795_272_050_000
    ids: dict[str, str] = {}

    def run(name: str, parent: str | None, status: str | None = None, end: int = ended, **tags: str) -> None:
        own = tags | ({"mlflow.parentRunId": ids[parent]} if parent else {})
        ids[name] = client.create_run("0", run_name=name, tags=own).info.run_id
        if status:
            client.set_terminated(ids[name], status, end)

    run("cardiac", None, "FAILED")
    run("prepare", "cardiac", "FINISHED", ended - 9000)
    run("collapsed", "cardiac", "FAILED", ended - 5000)
    run("sentence", "cardiac", "FAILED", **{"ganflow.error": "images/3.mha: is cut short."})
    run("evaluate", "cardiac", "FAILED")
    run("for-loop-1", "cardiac", "FINISHED", ended - 8000)
    run("train-egan", "for-loop-1")
    run("for-loop-2", "for-loop-1", "FINISHED", ended - 8000)
    run("synthesize", "for-loop-2")
    return ids, ended


def test_what_a_cancelled_pipeline_run_left_open_is_killed_below_loops_too(plugins_tree: tuple[dict[str, str], int]):
    ids, ended = plugins_tree
    assert end_killed(os.environ["MLFLOW_TRACKING_URI"], ids["cardiac"], ended) == 4
    runs = {run.info.run_name: run.info for run in all_runs()}
    killed = {name for name, info in runs.items() if info.status == "KILLED"}
    assert killed == {"cardiac", "evaluate", "train-egan", "synthesize"}
    assert {runs[name].end_time for name in killed} == {ended}
    assert {name for name, info in runs.items() if info.status == "FAILED"} == {"collapsed", "sentence"}


def test_of_a_pipeline_run_that_was_not_cancelled_only_open_runs_are_killed(plugins_tree: tuple[dict[str, str], int]):
    ids, _ = plugins_tree
    assert end_killed(os.environ["MLFLOW_TRACKING_URI"], ids["cardiac"]) == 2
    assert {run.info.run_name for run in all_runs() if run.info.status == "KILLED"} == {"train-egan", "synthesize"}


STEP = """
import sys, time
from components.core.telemetry import Journal
with Journal.open("train-egan", {}, {"number": int(sys.argv[1])}, "f" * 64, {}) as journal:
    for step in range(int(sys.argv[2])):
        journal.metrics({"loss": float(step)}, step)
    print("logged", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def start_step(number: int, steps: int, seconds: float) -> subprocess.Popen[str]:
    """A step in a process of its own; every fourth shares journals and so a courier."""
    environment = {name: value for name, value in os.environ.items() if name != "GANFLOW_JOURNALS"}
    environment["GANFLOW_HOME"] += f"/{number % 4}"
    command = [sys.executable, "-c", STEP, str(number), str(steps), str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_killed_step_is_told_as_killed_with_all_its_metrics():
    step = start_step(number=0, steps=40, seconds=60)
    with step:
        assert step.stdout.readline() == "logged\n"
        step.send_signal(signal.SIGKILL)
    wait_until(lambda: all_runs() and the_run().info.status == "KILLED")
    assert sorted(points(the_run(), "loss")) == [(each, float(each)) for each in range(40)]


@pytest.mark.slow
def test_sixteen_steps_in_parallel_lose_nothing_on_sqlite(home: Path):
    (home / "mlflow.db").unlink()  # so that the four couriers race for making the tables, too
    steps = [start_step(number, steps=300, seconds=0) for number in range(16)]
    for step in steps:
        with step:
            assert step.stdout.readline() == "logged\n"
    wait_until(lambda: Counter(run.info.status for run in all_runs()) == {"FINISHED": 16})
    runs = all_runs()
    assert sorted(int(run.data.params["number"]) for run in runs) == list(range(16))
    for run in runs:
        assert sorted(points(run, "loss")) == [(each, float(each)) for each in range(300)]


@contextlib.contextmanager
def mlflow_server(home: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # seven more processes to start
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen([*command, *store], env=quick, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(port))
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port() -> int:
    """The same for a server that goes and comes back."""
    return free_port()


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back_gets_every_metric(
    home: Path, journals: Path, port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    steps = itertools.count()

    def train(journal: Journal, count: int) -> None:
        for step in itertools.islice(steps, count):
            journal.metrics({"loss": float(step)}, step)

    with contextlib.ExitStack() as later, Courier(journals):
        with open_journal() as journal:
            with mlflow_server(home, port):
                train(journal, 200)
                journal.image("early", np.zeros((4, 4)))
                wait_until(lambda: all_runs() and len(points(the_run(), "loss")) == 200)
                train(journal, 200)
            train(journal, 200)  # nobody answers, and these steps are done all the same
            time.sleep(2)  # let the courier knock in vain
            later.enter_context(mlflow_server(home, port))
            train(journal, 200)
            journal.image("late", np.zeros((4, 4)))
        wait_until(lambda: left(journals) == [])
        assert the_run().info.status == "FINISHED"
        assert sorted(points(the_run(), "loss")) == [(each, float(each)) for each in range(800)]
        client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        assert {each.path for each in client.list_artifacts(the_run().info.run_id)} == {"early.png", "late.png"}


def test_a_server_that_is_away_leaves_the_journal_for_the_next_courier(
    journals: Path, port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("components.core.telemetry.courier.GRACE_SECONDS", 0.5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with Courier(journals), open_journal() as journal:
        journal.metrics({"loss": 1.0}, 0)
    assert left(journals) == [journal.folder]


def test_a_pipeline_run_fails_fast_where_no_server_answers(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    with pytest.raises(UserError, match=f"MLflow at http://127.0.0.1:{port} cannot be used; start it") as error:
        open_pipeline_run("cardiac", "cardiac", {}, {})
    assert "secret" not in str(error.value)


def test_a_pipeline_run_fails_fast_where_the_store_cannot_be_made(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db/mlflow.db")
    with pytest.raises(UserError, match="cannot be opened; set MLFLOW_TRACKING_URI"):
        open_pipeline_run("cardiac", "cardiac", {}, {})


def test_a_store_whose_making_is_killed_is_made_by_the_next(home: Path):
    (home / "mlflow.db").unlink()
    opening = [OPEN_A_STORE, f"sqlite:///{home}/mlflow.db"]
    killed = subprocess.run([sys.executable, "-c", DIE_IN_THE_MIDDLE + opening[0], opening[1]])
    assert killed.returncode == -signal.SIGKILL
    subprocess.run([sys.executable, "-c", *opening], check=True)


def test_what_a_former_courier_left_behind_is_delivered(journals: Path):
    with open_journal() as journal:
        pass
    for path in journal.folder.iterdir():
        os.utime(path, (0, 0))
    deliver(journals)
    assert the_run().info.status == "FINISHED"


def test_a_pipeline_run_fails_fast_where_the_password_is_wrong(monkeypatch: pytest.MonkeyPatch):
    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(UserError, match="refuses the user or the password; set MLFLOW_TRACKING_USERNAME"):
            open_pipeline_run("cardiac", "cardiac", {}, {})
        server.shutdown()


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers)


def register(network: torch.nn.Module, value: float, **change):
    """Register in a step of its own, whose journal somebody else delivers."""
    with open_journal() as journal:
        given = {"metric": "accuracy", "value": value, "tags": {"ganflow.fingerprint": "f" * 64}} | change
        return register_model(journal, "classifier", network, torch.zeros(1, 1, 8, 8), **given)


def changed(network: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        network[0].bias += 1
    return network


@pytest.mark.slow
def test_the_champion_is_loaded_and_predicts_from_numpy_in_any_batch_size(journals: Path, network: torch.nn.Module):
    with Courier(journals):
        register(network, 0.8)
    network.eval()
    images = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    expected = network(torch.from_numpy(images)).detach().numpy()
    model = mlflow.pyfunc.load_model("models:/classifier@champion")
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 1, 8, 8)
    assert model.input_example.shape[1:] == (1, 8, 8)
    for count in (1, 2, 5):
        assert np.allclose(model.predict(images[:count]), expected[:count], atol=1e-6)
    same = mlflow.pytorch.load_model("models:/classifier@champion")
    assert np.allclose(same(torch.from_numpy(images)).detach().numpy(), expected, atol=1e-6)


@pytest.mark.slow
def test_the_registry_keeps_the_best_as_champion_and_nothing_twice(journals: Path, network: torch.nn.Module):
    with Courier(journals):
        first = register(network, 0.8)
        again = register(network, 0.8)
        worse = register(changed(network), 0.7)
        better = register(changed(network), 0.9)
    assert (first.version, first.champion, first.previous) == (1, True, None)
    assert again == first
    assert (worse.version, worse.champion, worse.previous) == (2, False, 1)
    assert (better.version, better.champion, better.previous) == (3, True, 1)
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    aliases = client.get_registered_model("classifier").aliases
    assert {name: int(version) for name, version in aliases.items()} == {"challenger": 3, "champion": 3}
    version = client.get_model_version("classifier", "3")
    told = {"ganflow.metric": "accuracy", "ganflow.value": "0.9", "ganflow.previous_champion": "1"}
    assert told.items() <= version.tags.items()
    assert version.tags["ganflow.fingerprint"] == "f" * 64
    runs = {run.info.run_id: run for run in all_runs()}
    assert len(runs) == 4  # the registering steps' own
    assert all(run.info.status == "FINISHED" for run in runs.values())
    (model,) = runs[version.run_id].outputs.model_outputs
    assert version.source == f"models:/{model.model_id}"


@pytest.mark.slow
def test_another_metrics_value_does_not_pass_the_gate(journals: Path, network: torch.nn.Module):
    with Courier(journals):
        register(network, 0.8)
        other = register(changed(network), 0.9, metric="auc")
    assert not other.champion
