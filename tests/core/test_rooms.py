"""The faces of the core's rooms, and the steps, cost no step the import of what it does not use."""

import subprocess
import sys
from pathlib import Path

import pytest

COMPONENTS = Path(__file__).parents[2] / "components"

HEAVY = ("torch", "mlflow", "boto3", "kfp", "dvc", "sklearn", "matplotlib")

ROOMS = [f"components.core.{room}" for room in ("contract", "images", "storage", "telemetry")]
STEPS = [f"components.{path.parent.name}.{path.stem}" for path in sorted(COMPONENTS.glob("*/*step.py"))]


@pytest.mark.parametrize("module", ROOMS + STEPS)
def test_importing_it_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
