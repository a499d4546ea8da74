"""What a step tells MLflow and whoever watches it. `courier` delivers it, `tracking` alone imports MLflow."""

from components.core.telemetry.journal import (
    DIRTY,
    WARNING,
    Journal,
    activities,
    environment_tags,
    is_alive,
    journals_dir,
    leaves,
    read_events,
    shown,
    tracking_uri,
)
from components.core.telemetry.progress import progress
