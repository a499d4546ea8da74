"""What a real Kubeflow answered; `recorded/README.md` says what is there."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recorded"


def recorded(name: str) -> Any:
    """A recorded answer, for the caller to change."""
    return json.loads(_text(name))


def recorded_version(version_id: str) -> Any:
    """A version of a pipeline that recorded runs are of."""
    versions = recorded("pipeline-versions")["pipeline_versions"]
    return next(each for each in versions if each["pipeline_version_id"] == version_id)


@cache
def _text(name: str) -> bytes:
    return gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes())
