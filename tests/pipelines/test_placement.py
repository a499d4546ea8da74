"""`infra/placement.yaml`: mistakes told with their line, and what the compiled pipelines say of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from components.core.contract import TrainingSection
from components.core.errors import UserError
from pipelines.data import Source
from pipelines.package import pack, pinned
from pipelines.pipeline import CHECKOUT, NAMES, find
from pipelines.placement import FILE, load_placement

IMAGE = f"registry.example:5000/ganflow@sha256:{'5' * 64}"
SOURCES = {"cardiac": None, "digits": None, "colour": Source("s3://photographs", "5" * 64)}
PROFILES = ("cpu", "gpu", "spot")
ORIGINAL = (CHECKOUT / FILE).read_text()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Puts a placement file, the checkout's with one text replaced, into the current folder; returns the line."""

    def write(old, new):
        assert ORIGINAL.count(old) >= 1
        text = ORIGINAL.replace(old, new, 1)
        path = tmp_path / FILE
        path.parent.mkdir()
        path.write_text(text)
        monkeypatch.chdir(tmp_path)
        return text.count("\n", 0, ORIGINAL.index(old) + len(new)) + 1

    return write


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "type: nvidia.com/gpu",
            "type: nvidia.com/gpus",
            "profiles.gpu.training.accelerator.type: must be nvidia.com/gpu or a slice of one, such as "
            'nvidia.com/mig-1g.10gb, got "nvidia.com/gpus"',
        ),
        ("type: nvidia.com/gpu", "kind: gpu", "profiles.gpu.training.accelerator.kind: unknown parameter."),
        ("count: 1}", "count: 0}", "profiles.gpu.training.accelerator.count: must be ≥ 1, got 0"),
        (
            "memory: {request: 2Gi",
            "memory: {request: 2GB",
            'every.memory.request: must be a Kubernetes quantity above 0, such as 500m or 16Gi, got "2GB"',
        ),
        (
            "memory: {request: 2Gi, limit: 8Gi}",
            "memory: {request: 9Gi, limit: 8Gi}",
            "every.memory: request must not exceed limit.",
        ),
        ("  shm: 2Gi", "  smh: 2Gi", "training.smh: unknown parameter; did you mean 'shm'?"),
        (
            "timeout: 2h",
            "timeout: 2 hours",
            'every.timeout: must be a whole number and s, m, h or d, such as 90s or 12h, got "2 hours"',
        ),
        (
            "count: 50, backoff: 1m, factor: 1",
            "count: 50, backoff: 1m, factor: 2",
            "profiles.spot.training.retries: the last retry would wait for more than a day; lower count or factor.",
        ),
        ("  cpu: {}", "  cpu: {parallelism: 0}", "profiles.cpu.parallelism: must be ≥ 1, got 0"),
        ("run_as_user: 10001", "run_as_user: 0", "pipeline.run_as_user: must be ≥ 1, got 0"),
        (
            "operator: Equal, value: spot,",
            "operator: Equal,",
            "profiles.spot.training.tolerations.1: operator Equal needs a value, and Exists takes none.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(write, old, new, told):
    line = write(old, new)
    with pytest.raises(UserError) as error:
        load_placement("cpu")
    assert f"{FILE}:{line}: {told}" in str(error.value).splitlines()


def test_an_unknown_step_is_told_with_its_line(write):
    line = write("  evaluate-digits:", "  evaluate-digit:")
    with pytest.raises(UserError, match=rf"^{FILE}:{line}: there is no step 'evaluate-digit'; choose of simulate, "):
        load_placement("cpu")


def test_shared_memory_that_a_tasks_memory_cannot_hold_is_told_with_its_line(write):
    line = write("      shm: 8Gi", "      shm: 32Gi")
    told = f"{FILE}:{line}: train-egan in profile gpu: shm: shm counts as memory and must be below its limit."
    with pytest.raises(UserError, match=f"^{re.escape(told)}"):
        load_placement("gpu")


def test_a_step_without_what_every_task_needs_is_told(write):
    write("  timeout: 2h # of one attempt\n", "")
    with pytest.raises(UserError, match=r"simulate in profile cpu: timeout: is missing\."):
        load_placement("cpu")


def test_what_is_no_yaml_and_a_key_given_twice_are_told_with_their_line(write):
    line = write("  shm: 2Gi", "  timeout: 2d")
    with pytest.raises(UserError, match=rf'^{FILE}:{line + 1}: found duplicate key "timeout"'):
        load_placement("cpu")
    Path(FILE).write_text(ORIGINAL + "]")
    with pytest.raises(UserError, match=rf"^{FILE}:{ORIGINAL.count(chr(10)) + 1}: "):
        load_placement("cpu")


def test_an_unknown_profile_lists_the_known():
    with pytest.raises(UserError, match=r"^There is no placement 'tpu'; choose one of cpu, gpu, spot, one-pod\.$"):
        load_placement("tpu")


def test_the_more_particular_wins_and_the_profile_over_the_general(write):
    steps = "{refine: {timeout: 5h}, evaluate-digits: {timeout: 4h}}"
    write("  cpu: {}", f"  cpu:\n    every: {{timeout: 3h}}\n    steps: {steps}")
    steps = load_placement("cpu").steps
    timeouts = {name: steps[name].timeout for name in ("prepare", "train-egan", "refine", "evaluate-digits")}
    assert timeouts == {"prepare": "3h", "train-egan": "1d", "refine": "5h", "evaluate-digits": "4h"}
    assert steps["evaluate-digits"].cpu.limit == "4"  # what the general file says of that step stays


def limits(name, profile):
    """How many turns at once each loop of a compiled pipeline may have."""
    package = pack(find(name), SOURCES[name], "smoke", [], load_placement(profile), IMAGE)
    specification = next(yaml.safe_load_all(package.text))
    graphs = [specification["root"], *specification["components"].values()]
    tasks = [task for each in graphs for task in each.get("dag", {}).get("tasks", {}).values()]
    return [task.get("iteratorPolicy") for task in tasks if "parameterIterator" in task]


def test_every_loop_is_limited_as_the_profile_says_or_else_the_file_or_else_not(write):
    assert limits("cardiac", "gpu") == [None] * 3
    write("profiles:\n  cpu: {}", "parallelism: 3\nprofiles:\n  cpu: {parallelism: 2}")
    assert limits("cardiac", "gpu") == [{"parallelismLimit": 3}] * 3
    assert limits("cardiac", "cpu") == [{"parallelismLimit": 2}] * 3


@pytest.mark.parametrize("name", ["cardiac", "colour"])
def test_one_pod_is_one_task_with_a_disk_of_its_own_that_no_cache_answers(name):
    source = SOURCES[name]
    package = pack(find(name), source, "smoke", [], load_placement("one-pod"), IMAGE)
    specification, platform = yaml.safe_load_all(package.text)
    ((label, executor),) = specification["deploymentSpec"]["executors"].items()
    ((_, task),) = specification["root"]["dag"]["tasks"].items()
    assert (package.pipeline, specification["pipelineInfo"]["name"]) == (name, name)
    assert task["cachingOptions"] == {}
    assert task["retryPolicy"]["maxRetryCount"] == 2
    data = {key for key, value in task["inputs"]["parameters"].items() if "componentInputParameter" in value}
    assert data == ({"source", "digest"} if source else set())
    assert package.parameters == (source.parameters() if source else {})
    assert executor["container"]["resources"]["resourceMemoryLimit"] == "16Gi"
    configuration = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]
    assert configuration["activeDeadlineSeconds"] == "86400"
    assert {each["mountPath"] for each in configuration["emptyDirMounts"]} == {"/dev/shm", "/ganflow"}
    assert {"name": "GANFLOW_HOME", "value": "/ganflow"} in executor["container"]["env"]


def test_what_the_one_pod_cannot_hold_is_told_with_its_line(write):
    line = write(
        "      memory: {request: 8Gi, limit: 16Gi}\n      shm: 2Gi",
        "      memory: {request: 8Gi, limit: 16Gi}\n      shm: 16Gi",
    )
    with pytest.raises(UserError) as error:
        load_placement("one-pod")
    told = f"{FILE}:{line}: one-pod in profile one-pod: shm: shm counts as memory and must be below its limit."
    assert told in str(error.value).splitlines()


def test_what_a_graph_refuses_is_refused_for_one_pod_too():
    with pytest.raises(UserError, match="The colour pipeline brings no photographs of its own"):
        pack(find("colour"), None, "smoke", [], load_placement("one-pod"), IMAGE)


@pytest.mark.parametrize("image", [None, "", "ganflow", "ganflow:1.0", "ganflow@sha256:55", "a b@sha256:" + "5" * 64])
def test_an_image_without_its_digest_is_refused(image):
    with pytest.raises(UserError, match=r"by its digest, as NAME@sha256:…"):
        pinned(image)


PACK = f"""
import json
from pipelines.data import Source
from pipelines.package import pack
from pipelines.pipeline import find
from pipelines.placement import load_placement

packed = {{
    f"{{name}}-{{profile}}": pack(find(name), source, "smoke", [], load_placement(profile), {IMAGE!r}).text
    for name, source in {SOURCES}.items()
    for profile in {PROFILES}
}}
print(json.dumps(packed))
"""


@pytest.fixture(scope="module")
def packed():
    """The YAML of every pipeline under every placement.

    Made in a process of its own: kfp looks up every caller while it draws, and a test's process has many modules.
    """
    printed = subprocess.run([sys.executable, "-c", PACK], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return json.loads(printed.stdout)


@pytest.fixture(scope="module", params=[(name, profile) for name in NAMES for profile in PROFILES], ids="-".join)
def compiled(request, packed):
    """A pipeline under a placement: its steps, and of each task what both documents of the YAML say."""
    name, profile = request.param
    return find(name), profile, *yaml.safe_load_all(packed[f"{name}-{profile}"])


@pytest.fixture
def tasks(compiled):
    """Of every task: its step, its container, its Kubernetes configuration, its entry in the graph."""
    pipeline, _, specification, platform = compiled
    steps = {name: step for name, (step, _) in pipeline.steps(pipeline.load("smoke")).items()}
    configurations = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = specification["deploymentSpec"]["executors"]
    graphs = [specification["root"], *specification["components"].values()]
    entries = {
        entry["componentRef"]["name"]: entry
        for each in graphs
        for entry in each.get("dag", {}).get("tasks", {}).values()
    }
    return [
        (steps[re.sub(r"^exec-|-\d+$", "", label)], executor["container"], configurations[label], entries[component])
        for label, executor in executors.items()
        for component, each in specification["components"].items()
        if each.get("executorLabel") == label
    ]


class TestCompiled:
    """Over the parsed YAML of each pipeline under each profile."""

    def test_every_step_is_there_once_or_more(self, compiled, tasks):
        pipeline, *_ = compiled
        raw = {"simulate", "acquire"}
        assert {step.name for step, *_ in tasks} >= set(pipeline.steps(pipeline.load("smoke"))) - raw

    def test_every_image_is_pinned_and_the_task_knows_it(self, tasks):
        for _, container, _, _ in tasks:
            assert container["image"] == IMAGE
            assert {"name": "GANFLOW_IMAGE", "value": IMAGE} in container["env"]

    def test_every_configuration_is_one_that_kubeflow_reads(self, tasks):
        for _, _, configuration, _ in tasks:
            json_format.ParseDict(configuration, KubernetesExecutorConfig())

    def test_no_task_runs_as_root(self, tasks):
        for _, _, configuration, _ in tasks:
            expected = {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
            assert configuration["securityContext"] == expected

    def test_every_task_has_requests_and_limits(self, tasks):
        for _, container, _, _ in tasks:
            names = {f"resource{kind}{bound}" for kind in ("Cpu", "Memory") for bound in ("Request", "Limit")}
            assert names <= set(container["resources"])

    def test_trainings_and_they_alone_have_shared_memory_and_accelerators(self, compiled, tasks):
        _, profile, *_ = compiled
        for step, container, configuration, _ in tasks:
            trains = issubclass(step.section, TrainingSection)
            shm = {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory"}
            size = {"sizeLimit": "2Gi" if profile == "cpu" else "8Gi"}
            assert configuration.get("emptyDirMounts") == ([shm | size] if trains else None)
            gpu = container["resources"].get("accelerator", {})
            expected = ("nvidia.com/gpu", "1") if trains and profile != "cpu" else (None, None)
            assert (gpu.get("resourceType"), gpu.get("resourceCount")) == expected

    def test_placed_trainings_select_and_tolerate_their_nodes(self, compiled, tasks):
        _, profile, *_ = compiled
        taints = {"cpu": [], "gpu": ["nvidia.com/gpu"], "spot": ["nvidia.com/gpu", "karpenter.sh/capacity-type"]}
        labels = {"karpenter.sh/capacity-type": "spot"} if profile == "spot" else {}
        for step, _, configuration, _ in tasks:
            trains = issubclass(step.section, TrainingSection)
            tolerated = [each["key"] for each in configuration.get("tolerations", [])]
            assert tolerated == (taints[profile] if trains else [])
            assert configuration.get("nodeSelector", {}).get("labels", {}) == (labels if trains else {})

    def test_failed_tasks_are_retried_more_often_where_nodes_may_go(self, compiled, tasks):
        _, profile, *_ = compiled
        for step, _, configuration, entry in tasks:
            often = profile == "spot" and issubclass(step.section, TrainingSection)
            few = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 4.0}
            many = {"maxRetryCount": 50, "backoffDuration": "60s", "backoffFactor": 1.0}
            # Of all attempts together: kfp's hour would forbid to retry a training that failed later.
            assert entry["retryPolicy"] == (many if often else few) | {"backoffMaxDuration": "259200s"}
            assert int(configuration["activeDeadlineSeconds"]) in (7200, 86400)

    def test_credentials_come_from_secrets_and_none_stands_in_the_file(self, tasks):
        for _, container, configuration, _ in tasks:
            given = {key["envVar"] for secret in configuration["secretAsEnv"] for key in secret["keyToEnv"]}
            assert given >= {"MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"}
            assert {each["name"] for each in container["env"]} == {"GANFLOW_IMAGE", "CHECKPOINT_URI"}
            assert [each["secretName"] for each in configuration["imagePullSecret"]] == ["ganflow-registry"]

    def test_runs_of_a_pipeline_that_reads_data_must_say_which(self, compiled):
        pipeline, _, specification, _ = compiled
        inputs = specification["root"].get("inputDefinitions", {}).get("parameters", {})
        wanted = {"parameterType": "STRING"}
        assert inputs == ({"data": wanted, "digest": wanted} if SOURCES[pipeline.name] else {})
        assert "s3://photographs" not in yaml.dump(specification)

    def test_the_pipeline_has_a_deadline_and_leaves_no_pods_for_ever(self, compiled):
        *_, platform = compiled
        assert platform["platforms"]["kubernetes"]["pipelineConfig"] == {
            "activeDeadlineSeconds": 3 * 86400,
            "resourceTtlOnCompletion": 86400,
            "resourceTtlOnSuccess": 86400,
            "resourceTtlOnFailure": 86400,
        }


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_that_is_not_placed_says_nothing_of_it(name):
    pipeline = find(name)
    graph = pipeline.graph(pipeline.load("smoke"), SOURCES[name])
    assert not graph.platform_spec.platforms
    executors = json_format.MessageToDict(graph.pipeline_spec)["deploymentSpec"]["executors"]
    assert all(set(each["container"]) == {"image", "command", "args"} for each in executors.values())
