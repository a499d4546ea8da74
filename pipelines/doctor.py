"""What a cluster has of what ganflow needs, by what is observed: the API, a probe's run, and what kubectl may read.

The probe (`pipelines.probe`) is a pipeline of one task in ganflow's own image. Its log is read through Kubeflow's API,
so nothing of the cluster's needs to be reached from here but that.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import kfp_server_api as api
from google.protobuf import json_format

from components.core.errors import UserError
from pipelines.cluster import FINAL, Away, Cluster
from pipelines.kubectl import Kubectl
from pipelines.placement import PipelineRules, share
from pipelines.probe import MARK

NAME = "ganflow-doctor"
"""Of the probe's pipeline, and of its experiments."""

POLL_SECONDS = 3.0
PATIENCE_SECONDS = 900
"""How long the probe may take: its image has gigabytes to be pulled."""

GRACE_SECONDS = 60
"""Less than that, and a large checkpoint is not written before a pod is killed."""

_STEP_5 = "infra/README.md, step 5"
_PATCH = (
    f"kubectl -n kubeflow patch deployment ml-pipeline --patch-file infra/kubernetes/api-server-patch.yaml ({_STEP_5})"
)
_STUCK = ("ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError")
"""What a container waits for that does not come by itself."""


@dataclass(frozen=True)
class Finding:
    """One line: what was seen, and what to do where it is not well.

    Attributes:
        state: "done", "failed", or "skipped" where nothing could be seen; as a task's in the view.
    """

    state: str
    text: str


def examine(cluster: Cluster, rules: PipelineRules, image: str, kubectl: Kubectl) -> Iterator[Finding]:
    """Look at a cluster; a finding comes as soon as it is made.

    Args:
        rules: what tasks share, by the placement.
        image: of the probe, pinned by digest.
        kubectl: of the namespace where tasks run.
    """
    served = "namespaces of several users" if cluster.health.get("multi_user") else "one namespace"
    yield _well(
        f"Kubeflow Pipelines {cluster.health.get('tag_name', 'of an unknown version')} at {cluster.host}, {served}"
    )
    try:
        run = cluster.try_out(NAME, specification(rules, image), rules.service_account)
        yield _plugin(run)
        yield _seen(f"the probe runs: {cluster.link(run.run_id)}")
        yield from _probe(cluster, run.run_id, rules, image, kubectl)
    except UserError as error:
        yield _unreadable(error)
        return
    yield from _nodes(run.run_id, kubectl)


def specification(rules: PipelineRules, image: str) -> dict[str, Any]:
    """The probe's pipeline, as a run is given it: placed as tasks are, but it starts without secrets, to name them."""
    from kfp import dsl

    variables = sorted(_variables(rules))

    @dsl.container_component
    def probe(report: dsl.Output[dsl.Artifact]):
        command = ["python3", "-m", "pipelines.probe"]
        return dsl.ContainerSpec(image=image, command=command, args=[report.path, *variables])

    @dsl.pipeline(name=NAME)
    def pipeline():
        task = probe().set_caching_options(False).set_retry(1, "1s", 1.0, f"{PATIENCE_SECONDS}s")
        task.set_cpu_request("100m").set_cpu_limit("1").set_memory_request("256Mi").set_memory_limit("1Gi")
        share(task, rules, optional_secrets=True)

    config = {"pipelineConfig": {"activeDeadlineSeconds": PATIENCE_SECONDS}}
    platform = json_format.ParseDict(config, pipeline.platform_spec.platforms["kubernetes"])
    return {
        "pipeline_spec": json_format.MessageToDict(pipeline.pipeline_spec),
        "platform_spec": {"platforms": {"kubernetes": json_format.MessageToDict(platform)}},
    }


def _plugin(run: api.V2beta1Run) -> Finding:
    plugin = (run.plugins_output or {}).get("mlflow")
    if plugin is None:
        return _ill(f"Kubeflow has no plugin for MLflow, so runs are logged nowhere: {_STEP_5}")
    if plugin.state != "PLUGIN_SUCCEEDED":
        return _ill(f"Kubeflow's plugin for MLflow: {plugin.state_message or plugin.state}; see {_STEP_5}")
    return _well("Kubeflow's plugin for MLflow made a run there")


def _probe(cluster: Cluster, run_id: str, rules: PipelineRules, image: str, kubectl: Kubectl) -> Iterator[Finding]:
    """What the probe's run shows."""
    run, stuck = _await(cluster, run_id, kubectl)
    if stuck or run.state not in FINAL:
        yield _ill(f"the probe does not start: {stuck or f'see {cluster.link(run_id)}'}; steps 3 and 4, or the quota")
        return
    logs = [cluster.pod_log(run_id, pod) for pod in _attempts(run)]
    reports = [report for log in logs if (report := _report(log))]
    if not reports:
        said = f"; it said: {logs[-1].strip().splitlines()[-1][-300:]}" if logs and logs[-1].strip() else ""
        failed = "told nothing" if logs else "never ran, a driver of Kubeflow's failed"
        yield _ill(f"the probe {failed}, see {cluster.link(run_id)}{said}")
        if run.state == "SUCCEEDED":  # by its second attempt, for the first one fails
            yield _retries(2)
        return
    last = reports[-1]
    yield _image(last, image, rules)
    yield _secrets(last, rules)
    yield _checkpoints(last, rules)
    yield _mlflow(last)
    yield _retries(len(logs))
    yield _time_to_stop(last)
    if len(reports) > 1:
        yield _outputs(run, cluster)


def _image(report: dict[str, Any], image: str, rules: PipelineRules) -> Finding:
    if report["user"] != rules.run_as_user:
        return _ill(f"tasks run as user {report['user']} instead of {rules.run_as_user}")
    return _well(f"{image} is pulled and runs as user {report['user']}")


def _secrets(report: dict[str, Any], rules: PipelineRules) -> Finding:
    lacking = {secret for name, secret in _variables(rules).items() if name in report["missing"]}
    if lacking:
        keys = ", ".join(report["missing"])
        return _ill(
            f"secret {' and '.join(sorted(lacking))} lacks what becomes {keys}: infra/kubernetes/apply-secrets.sh"
        )
    return _well(f"secrets: {', '.join(rules.secrets)}")


def _checkpoints(report: dict[str, Any], rules: PipelineRules) -> Finding:
    place = rules.environment.get("CHECKPOINT_URI")
    if not place:
        return _ill("infra/placement.yaml sets no CHECKPOINT_URI: a training whose pod goes begins anew")
    if report["checkpoints"]:
        return _ill(f"checkpoints at {place}: {report['checkpoints']}")
    return _well(f"checkpoints at {place}: written, read and removed")


def _mlflow(report: dict[str, Any]) -> Finding:
    if report["mlflow"]:
        return _ill(f"MLflow for tasks: {report['mlflow']}; see {_STEP_5}")
    return _well("MLflow answers tasks")


def _retries(attempts: int) -> Finding:
    if attempts < 2:
        return _ill(f"a task that fails is not tried again (submit again, it resumes); what mends it: {_PATCH}")
    return _well("a task that fails is tried again")


def _time_to_stop(report: dict[str, Any]) -> Finding:
    pod = report["pod"]
    if pod is None:
        return _unseen("time to write a checkpoint: a pod may not read itself")
    if not pod["hook"] or pod["grace_seconds"] < GRACE_SECONDS:
        return _ill(f"a task whose pod must go has two seconds to write its checkpoint; what mends it: {_PATCH}")
    return _well(f"a task whose pod must go has {pod['grace_seconds']} s to write its checkpoint")


def _outputs(run: api.V2beta1Run, cluster: Cluster) -> Finding:
    if run.state != "SUCCEEDED":
        return _ill(
            f"what tasks pass on is not kept (config map kfp-launcher, {_STEP_5}); see {cluster.link(run.run_id)}"
        )
    return _well("what tasks pass on is kept")


def _unreadable(error: UserError) -> Finding:
    """The API's own answer; one of its faults has a known cause."""
    if isinstance(error, Away) and "unexpected end of JSON input" in str(error):
        return _ill(
            f"Kubeflow cannot read its own runs: config.json lacks DBConfig.MySQLConfig.GroupConcatMaxLen; {_STEP_5}"
        )
    return _ill(str(error))


def _await(cluster: Cluster, run_id: str, kubectl: Kubectl) -> tuple[api.V2beta1Run, str]:
    """The probe's run when it has ended or was waited for in vain, and why its pod does not start, if kubectl says."""
    deadline, pods = time.monotonic() + PATIENCE_SECONDS, []
    while True:
        run = cluster.run(run_id)
        if run.state in FINAL:
            return run, ""
        if pods is not None:  # else kubectl is not asked again
            pods = kubectl.objects("pods", f"--selector=pipeline/runid={run_id}")
        statuses = [pod["status"] for pod in pods or ()]
        reasons = [reason for status in statuses for reason in _stuck(status)]
        late = time.monotonic() > deadline
        if late:  # a node may have been on its way
            reasons += [each["message"] for status in statuses for each in status.get("conditions", ()) if _unmet(each)]
        if late or reasons:
            return run, (reasons or [""])[0].rstrip(": .")
        time.sleep(POLL_SECONDS)


def _stuck(status: dict[str, Any]) -> Iterator[str]:
    """Why containers of a pod cannot start."""
    for container in status.get("initContainerStatuses", []) + status.get("containerStatuses", []):
        waits = container["state"].get("waiting", {})
        if waits.get("reason") in _STUCK:
            yield f"{waits['reason']}: {waits.get('message', '')}"


def _unmet(condition: dict[str, Any]) -> bool:
    return condition["type"] == "PodScheduled" and condition["status"] == "False"


def _attempts(run: api.V2beta1Run) -> list[str]:
    """The pods of the probe's attempts, in their order.

    The API has the ids of Argo's nodes, WORKFLOW-HASH; a pod's name has its template's between the two (Argo's
    workflow/util/pod_name.go), for a task with retries this one (Kubeflow's argocompiler/container.go).
    """
    details = (run.run_details and run.run_details.task_details) or []
    nodes = [child.pod_name for each in details if each.display_name == "executor" for child in each.child_tasks or ()]
    return ["-retry-system-container-impl-".join(node.rsplit("-", 1)) for node in nodes]


def _report(log: str) -> dict[str, Any] | None:
    """What the probe said in a pod's log."""
    lines = [line.removeprefix(MARK) for line in log.splitlines() if line.startswith(MARK)]
    return json.loads(lines[-1]) if lines else None


def _nodes(run_id: str, kubectl: Kubectl) -> Iterator[Finding]:
    """GPUs, their quota and who waits for them, where kubectl looks at the same cluster and may read them."""
    own = kubectl.objects("pods", f"--selector=pipeline/runid={run_id}")
    if not own:
        yield _unseen(f"GPUs, quota, queue: kubectl reads no pods of the probe in namespace {kubectl.namespace}")
        return
    nodes, quotas, pods = (kubectl.objects(kind) for kind in ("nodes", "resourcequotas", "pods"))
    if nodes is None:
        yield _unseen("GPUs: kubectl may not read nodes")
    else:
        counts = [_gpus(node["status"].get("allocatable", {})) for node in nodes]
        gpus = f"{sum(counts)} on {sum(map(bool, counts))} of {len(nodes)} nodes"
        yield _well(f"GPUs: {gpus}") if any(counts) else _unseen(f"GPUs: {gpus}; --placement cpu is what runs here")
    for quota in quotas or ():
        if limit := _gpus(quota["spec"].get("hard", {}), "requests."):
            used = _gpus(quota.get("status", {}).get("used", {}), "requests.")
            yield _well(f"quota {quota['metadata']['name']}: {used} of {limit} GPUs are taken")
    waiting = [pod for pod in pods or () if pod["status"]["phase"] == "Pending" and _asks_for_gpus(pod)]
    yield _well(f"queue: {len(waiting)} pods wait for a GPU")


def _asks_for_gpus(pod: dict[str, Any]) -> bool:
    return any(_gpus(each.get("resources", {}).get("requests", {})) for each in pod["spec"]["containers"])


def _gpus(amounts: dict[str, str], prefix: str = "") -> int:
    """How many GPUs, or slices of one, are among amounts of resources."""
    return sum(int(amount) for name, amount in amounts.items() if name.startswith(f"{prefix}nvidia.com/"))


def _variables(rules: PipelineRules) -> dict[str, str]:
    """The secret that each variable of a task comes from."""
    return {name: secret for secret, keys in rules.secrets.items() for name in keys.values()}


def _well(text: str) -> Finding:
    return Finding("done", text)


def _ill(text: str) -> Finding:
    return Finding("failed", text)


def _unseen(text: str) -> Finding:
    return Finding("skipped", text)


def _seen(text: str) -> Finding:
    return Finding("running", text)
