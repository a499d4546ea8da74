"""infra/README.md names files that exist and settings that the manifests have."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "infra" / "README.md").read_text()


def test_every_file_that_a_command_names_exists() -> None:
    named = {name for name in re.findall(r"(?<![\w$])infra/[\w./-]+\w", README) if not name.endswith(".env")}
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_secret_that_a_command_names_has_an_example() -> None:
    for name, key in re.findall(r"\$\(secret ([\w-]+) (\w+)\)", README):
        assert f"\n{key}=" in (ROOT / f"infra/kubernetes/secrets/{name}.env.example").read_text()


def test_command_puts_the_digest_into_an_overlay() -> None:
    (expressions,) = re.findall(r'sed -i "(.*)" infra/kubernetes/overlays/', README)
    patterns = [expression.split("|")[1] for expression in expressions.split("; ")]
    for overlay in (ROOT / "infra" / "kubernetes" / "overlays").glob("*/kustomization.yaml"):
        assert [len(re.findall(pattern, overlay.read_text())) for pattern in patterns] == [1, 1]
