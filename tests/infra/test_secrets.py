"""No file below infra/ holds a secret's value, and the scripts make those that Git ignores."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

KUBECTL = """#!/bin/sh
echo "$*" >>"$CALLS"
case $* in
*--dry-run=client*) echo "$6/$4" ;;
apply*) cat >>"$APPLIED" ;;
"get namespace $PRESENT "*) echo "namespace/$PRESENT" ;;
esac
"""
"""It notes what it is called with, and what is applied; one namespace is there."""

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
EXAMPLES = sorted(INFRA.rglob("*.env.example"))
KEPT = [path for path in INFRA.rglob("*") if path.is_file() and path.suffix != ".env" and path.name != ".env"]

SECRET = re.compile("password|secret|token|access_key", re.IGNORECASE)
LOOKS_SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}"  # a key of AWS
    r"|-----BEGIN"  # a private key, or a certificate
    r"|://[^/\s:@$]+:[^/\s@$]+@"  # an address with a password
    r"|(?<!sha256:)\b[0-9a-fA-F]{32,}\b"  # random hexadecimal digits, and no digest
)


def values(node: object, name: str = "") -> list[tuple[str, str]]:
    """Every text in parsed YAML or JSON, with the key that it stands under."""
    if isinstance(node, dict):
        pair = "value" in node and isinstance(node.get("name"), str)  # a container's variable
        return [
            found
            for key, each in node.items()
            for found in values(each, node["name"] if pair and key == "value" else key)
        ]
    if isinstance(node, list):
        return [found for each in node for found in values(each, name)]
    return [(name, node)] if isinstance(node, str) else []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_leave_secrets_empty(path: Path) -> None:
    pairs = [line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert [name for name, value in pairs if SECRET.search(name)]
    assert not [name for name, value in pairs if SECRET.search(name) and value]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_no_file_has_what_looks_like_a_secret(path: Path) -> None:
    assert not LOOKS_SECRET.findall(path.read_text())


@pytest.mark.parametrize(
    "path", [path for path in KEPT if path.suffix in (".yaml", ".json")], ids=lambda path: path.name
)
def test_no_setting_holds_a_secret(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        for name, value in values(document):
            # The name of a secret, of its key, or of the variable that it is put into.
            reference = name.endswith(("Name", "Key", "_secrets")) or re.match(r"\$\{|[A-Z_]+$", value)
            assert reference or not SECRET.search(name), f"{name}: {value}"


def test_git_ignores_the_files_with_secrets() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no Git checkout")
    made = [str(path).removesuffix(".example") for path in EXAMPLES]
    ignored = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, check=True, capture_output=True, text=True)
    assert ignored.stdout.split() == made
    assert not subprocess.run(["git", "ls-files", "*.env"], cwd=ROOT, check=True, capture_output=True).stdout


def test_script_fills_what_is_empty_and_nothing_else(tmp_path: Path) -> None:
    infra = shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns("*.env"))
    subprocess.run([infra / "new-secrets.sh"], check=True, capture_output=True)
    made = {example: (infra / example.relative_to(INFRA)).with_suffix("") for example in EXAMPLES}

    random = []
    for example, path in made.items():
        assert path.stat().st_mode & 0o777 == 0o600
        for before, after in zip(example.read_text().splitlines(), path.read_text().splitlines(), strict=True):
            if before.endswith("="):
                random.append(after.removeprefix(before))
            else:
                assert after == before
    assert len(set(random)) == len(random) and all(re.fullmatch("[0-9a-f]{40}", each) for each in random)

    texts = [path.read_text() for path in made.values()]
    subprocess.run([infra / "new-secrets.sh"], check=True, capture_output=True)
    assert [path.read_text() for path in made.values()] == texts


def test_secrets_are_applied_and_a_namespace_that_is_there_keeps_its_labels(tmp_path: Path) -> None:
    infra = shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns("*.env"))
    calls, applied, kubectl = tmp_path / "calls", tmp_path / "applied", tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "APPLIED": str(applied)}
    subprocess.run([infra / "kubernetes" / "apply-secrets.sh"], check=True, env=variables | {"PRESENT": "ganflow"})

    assert [each for each in calls.read_text().splitlines() if "create namespace" in each] == [
        "create namespace kubeflow --save-config"
    ]
    assert applied.read_text().split() == [
        "ganflow/mlflow-database",
        "ganflow/mlflow-server",
        "ganflow/ganflow-s3",
        "kubeflow/ganflow-s3",
        "kubeflow/kfp-mlflow-credentials",
    ]
