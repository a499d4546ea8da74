"""infra/compose/compose.yaml: every service is hardened, checked and without a secret."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "infra" / "compose"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
ONCE = {name for name in SERVICES if name.startswith("migrate")}
"""Services that end."""

each_service = pytest.mark.parametrize("name", SERVICES)


@each_service
def test_service_is_not_root_and_cannot_become_it(name: str) -> None:
    service = SERVICES[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)


@each_service
def test_service_has_limits(name: str) -> None:
    assert {"mem_limit", "cpus", "pids_limit"} <= set(SERVICES[name])


@each_service
def test_service_has_a_health_check_unless_it_ends(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check == {"disable": True} if name in ONCE else check["test"] and check["retries"]


@each_service
def test_service_waits_until_what_it_needs_is_ready(name: str) -> None:
    for needed, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait["condition"] == ("service_completed_successfully" if needed in ONCE else "service_healthy")


@each_service
def test_image_is_pinned_by_digest_or_built_here(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r"@sha256:[0-9a-f]{64}$", service["image"]) or service["image"] == SERVICES["mlflow"]["image"]


@each_service
def test_secrets_come_from_the_file_and_their_absence_says_what_to_do(name: str) -> None:
    known = {line.split("=")[0] for line in (COMPOSE / ".env.example").read_text().splitlines()}
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|ACCESS_KEY", variable):
            found = re.fullmatch(r"\$\{(\w+):\?run infra/new-secrets.sh first\}", value)
            assert found and found[1] in known, variable


@each_service
def test_ports_are_open_on_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_image_is_built_from_a_file_that_exists() -> None:
    build = SERVICES["mlflow"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()


def test_server_answers_to_its_names_with_and_without_port() -> None:
    (option,) = [word for word in SERVICES["mlflow"]["command"] if word.startswith("--allowed-hosts=")]
    allowed = set(option.partition("=")[2].split(","))
    assert {"mlflow", "mlflow:5000", "localhost", "localhost:5000"} <= allowed


def test_server_has_users_and_hands_artifacts_through() -> None:
    command = SERVICES["mlflow"]["command"]
    assert {"--app-name=basic-auth", "--serve-artifacts"} <= set(command)
    assert any(word.startswith("--artifacts-destination=s3://") for word in command)


def test_kubernetes_runs_the_same_versions() -> None:
    manifests = "".join(path.read_text() for path in (COMPOSE.parent / "kubernetes").rglob("*.yaml"))
    for service in SERVICES.values():
        assert f"image: {service['image']}\n" in manifests
